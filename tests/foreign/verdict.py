"""Whether two nodes may speak, from their hellos alone, by the rules of docs/wire.md."""

from collections import namedtuple

Release = namedtuple("Release", "number follows wire phase takes")

# The releases of the tests' train: what each takes of the servers, and the highest phase of each.
RELEASES = {
    one.number: one
    for one in [
        Release("1.0", None, (1, 1), 0, 1),
        Release("1.1", "1.0", (1, 2), 1, 3),
        Release("1.2", "1.1", (2, 2), 2, 3),
        Release("2.0", "1.2", (2, 3), 3, 2),
    ]
}
SERVERS = "rexi.server-per-node"
OLD, NEW = 1, 2


def standing(release, **changes):
    """Where a node of that release stands in the migration of servers, in its highest phase."""
    phase = release.phase
    whole = {"key": SERVERS, "phase": phase, "epoch": 0, "ceiling": phase, "takes": release.takes, "holdouts": []}
    return {**whole, **changes}


def says(phase):
    return OLD if phase < 2 else NEW


def order(stop):
    return tuple(int(part) for part in stop.split("."))


def stands(hello, key, other):
    """Where a node stands in a migration, also in one that it does not name."""
    for one in hello["migrations"]:
        if one["key"] == key:
            return one
    done = order(hello["stop"]) > order(other["stop"])
    phase, takes = (3, NEW) if done else (0, OLD)
    return {"key": key, "phase": phase, "ceiling": phase, "takes": takes, "holdouts": []}


def speaks(one, other):
    """The wire version of the two, or the name of the rule that keeps them apart."""
    if one["node"] == other["node"]:
        return "SameName"
    if one["cluster"] != other["cluster"]:
        return "OtherCluster"
    if one["stop"] != other["stop"] and one["stop"] != other["follows"] and other["stop"] != one["follows"]:
        return "NotNeighbours"
    newest = min(one["wire_newest"], other["wire_newest"])
    if newest < max(one["wire_oldest"], other["wire_oldest"]):
        return "NoCommonWire"
    keys = {standing["key"] for hello in (one, other) for standing in hello["migrations"]}
    pairs = [(one, other), (other, one)]
    for key in keys:
        for sender, receiver in pairs:
            if not stands(receiver, key, sender)["takes"] & says(stands(sender, key, receiver)["phase"]):
                return "NotTaken"
    for remover, witness in pairs:
        for seen in witness["migrations"]:
            removed = not stands(remover, seen["key"], witness)["takes"] & OLD
            has_removed = not seen["takes"] & OLD
            if removed and not has_removed and any(name != remover["node"] for name in seen["holdouts"]):
                return "OldFormInUse"
    return newest
