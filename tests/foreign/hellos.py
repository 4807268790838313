"""Hellos: who may speak, in which version, and who is who."""

import asyncio

from cluster import MINUTE, OWN
from codec import WELCOME, decode_hello, encode_hello, framed
from harness import check, equal, holds
from verdict import RELEASES, SERVERS, speaks, standing

VERDICT_GRACE = 1
HANDSHAKE_LIMIT = 3
HOUR = 60 * MINUTE
HELLO_BYTES_MAX = 64 << 10
TWO = [OWN, "other"]


def now():
    return asyncio.get_running_loop().time()


async def refused(scene, link, since, code="Refused"):
    """Refused, once we have had the time to find the same verdict."""
    closed = await link.closes(code)
    took = closed.at - since
    holds(VERDICT_GRACE - 0.15 < took < VERDICT_GRACE + 3, f"closed after {took:.2f} s")
    return closed.reason


@check("the node's hello says what its release does")
async def content(scene):
    session = await scene.connect()
    theirs, stop = session.theirs, RELEASES[scene.node_release]
    equal(theirs["cluster"], "tests", "the cluster")
    equal((theirs["release"], theirs["stop"], theirs["follows"]), (f"{stop.number}.0", stop.number, stop.follows),
          "the releases")  # fmt: skip
    equal((theirs["wire_oldest"], theirs["wire_newest"]), stop.wire, "the versions")
    stands = theirs["migrations"][0]
    equal((stands["key"], stands["takes"], stands["ceiling"]), (SERVERS, stop.takes, stop.phase), "where it stands")
    equal((stands["holdouts"], len(theirs["migrations"])), ([], 1), "its holdouts and migrations")
    equal((theirs["frame_bytes_max"], theirs["payload_bytes_max"]), (1 << 20, 4 << 20), "its bounds")
    equal((theirs["capabilities"], theirs["extensions"], theirs["last_met"]), (0, [], None), "what it leaves out")
    equal(theirs["functions"], sorted(theirs["functions"], key=str.encode), "the functions' order")


@check("extensions and capabilities that nobody knows are passed over")
async def extensions(scene):
    session = await scene.connect(capabilities=1 << 40, extensions=[(2, b"new"), (65_535, b"")])
    await session.settled()


def of_pair(node_release, release):
    @check(f"a node of {node_release} and we of {release} come to the same verdict", once=True, release=node_release)
    async def verdict(scene):
        since = now()
        link, ours, theirs = await scene.greet(release=release)
        found = speaks(ours, theirs)
        if isinstance(found, int):
            session = await scene.agree(link, ours, theirs)
            await session.settled()
            return f"v{found}"
        await refused(scene, link, since)
        return found


for _node_release in RELEASES:
    for _release in RELEASES:
        of_pair(_node_release, _release)


@check("who says what the node does not take is refused", once=True, release="2.0")
async def not_taken(scene):
    since = now()
    link, ours, theirs = await scene.greet(migrations=[standing(RELEASES["1.2"], phase=1)], release="1.2")
    equal(speaks(ours, theirs), "NotTaken", "our verdict")
    await refused(scene, link, since)


@check("who has removed a form is refused for as long as the node says it", once=True, release="1.2")
async def still_said(scene):
    # The node takes both forms and says the old one, which we have removed.
    since = now()
    link, ours, theirs = await scene.greet(release="2.0")
    equal(speaks(ours, theirs), "NotTaken", "our verdict while the node says the old form")
    await refused(scene, link, since)
    # It has noted what we said, and says the new form now.
    link, ours, theirs = await scene.greet(release="2.0")
    equal(speaks(ours, theirs), 2, "our verdict")
    await scene.agree(link, ours, theirs)


@check("a holdout that we name keeps a node apart that has removed the form", once=True, release="2.0")
async def named_holdout(scene):
    since = now()
    named = [standing(RELEASES["1.2"], holdouts=["n7"])]
    link, ours, theirs = await scene.greet(release="1.2", migrations=named)
    equal(speaks(ours, theirs), "OldFormInUse", "our verdict")
    holds("n7" in await refused(scene, link, since), "the reason names it")
    named = [standing(RELEASES["1.2"], holdouts=["n1"])]
    link, ours, theirs = await scene.greet(release="1.2", migrations=named)
    equal(speaks(ours, theirs), 2, "our verdict where it is the node itself")
    await scene.agree(link, ours, theirs)


@check("another cluster is refused")
async def other_cluster(scene):
    since = now()
    link, ours, theirs = await scene.greet(cluster="elsewhere")
    equal(speaks(ours, theirs), "OtherCluster", "our verdict")
    holds("cluster" in await refused(scene, link, since), "the reason names it")


@check("who bears the node's own name is refused", once=True)
async def same_name(scene):
    since = now()
    link, ours, theirs = await scene.greet(certificate="n1", node="n1")
    equal(speaks(ours, theirs), "SameName", "our verdict")
    await refused(scene, link, since)


@check("who goes before the second is over is let go at once", once=True)
async def goes_before(scene):
    link, *_ = await scene.greet(cluster="elsewhere")
    link.drop()
    session = await scene.connect()
    await session.settled()


@check("any name is taken in TLS, and none", once=True)
async def server_names(scene):
    for name in ("another.example", None):
        link = await scene.open(encode_hello(scene.hello()), server_name=name)
        decode_hello(await link.frame("the node's hello"))
        equal(await link.frame("the welcome"), b"\0", "the welcome")
        link.drop()
        await scene.node.status(py="Away")


@check("a certificate that does not name the hello's node is not trusted, and hears no hello")
async def other_certificate(scene):
    link = await scene.open(encode_hello(scene.hello()), certificate="other")
    await link.closes("NotTrusted")
    holds(link.frames.empty(), "a hello came")


@check("who is no member is not trusted")
async def no_member(scene):
    link = await scene.open(encode_hello(scene.hello(node="stranger")), certificate="stranger")
    await link.closes("NotTrusted")


@check("a hello that no node could say ends the handshake")
async def malformed(scene):
    stop = RELEASES[scene.release]
    others = [{"key": f"m{number}", "phase": 0, "ceiling": 0, "takes": 1} for number in range(16)]
    many = [standing(stop)] + [standing(stop, **other) for other in others]
    hellos = {
        "magic": {"magic": b"REXJ"},
        "cluster": {"cluster": "A"},
        "no cluster": {"cluster": ""},
        "node": {"node": "Py"},
        "release": {"release": "1.0"},
        "long release": {"release": f"1.0.0-{'a' * 250}"},
        "stop": {"stop": "1.0.0"},
        "no version": {"wire_oldest": 0},
        "versions": {"wire_oldest": 3, "wire_newest": 2},
        "no migration": {"migrations": []},
        "other migration first": {"migrations": [standing(stop, key="mine")]},
        "17 migrations": {"migrations": many},
        "twice": {"migrations": [standing(stop)] * 2},
        "phase": {"migrations": [standing(stop, phase=4)]},
        "forms": {"migrations": [standing(stop, takes=4)]},
        "phase not taken": {"migrations": [standing(stop, takes=0)]},
        "holdouts": {"migrations": [standing(stop, holdouts=[f"n{number}" for number in range(5)])]},
        "order": {"functions": ["b", "a"]},
        "double": {"functions": ["a", "a"]},
        "short frames": {"frame_bytes_max": 1_023},
    }
    for name, changes in hellos.items():
        link = await scene.open(encode_hello({**scene.hello(), **changes}))
        closed = await link.closes("BadHandshake")
        holds(closed.reason, name)
    for data in (bytes(4), (HELLO_BYTES_MAX + 1).to_bytes(4, "little"), framed(1, b"REXI"), WELCOME):
        link = await scene.open(data)
        await link.closes("BadHandshake")
    longest = f"{scene.release}.0-{'a' * 249}"
    session = await scene.connect(migrations=many[:16], extensions=[(2, bytes(50_000))], release_text=longest)
    await session.settled()
    return f"{len(hellos) + 4} hellos"


@check("who is silent is closed after 3 s")
async def silent(scene):
    hello = encode_hello(scene.hello())
    since = now()
    for said in (b"", hello[:-1]):
        link = await scene.open(said)
        since = now()
        closed = await link.closes("BadHandshake")
        took = closed.at - since
        holds(HANDSHAKE_LIMIT - 0.5 < took < HANDSHAKE_LIMIT + 3, f"closed after {took:.2f} s")


@check("an earlier life is not trusted while the later one is connected")
async def second_process(scene):
    session = await scene.connect()
    link = await scene.open(encode_hello(scene.hello(incarnation=scene.life - 1)))
    await link.closes("NotTrusted")
    await session.settled()


@check("once the later life is gone, the earlier one goes on above it")
async def outlived(scene):
    for leaves in ("Replaced", "Shutdown"):
        ahead = scene.life + HOUR
        session = await scene.connect(incarnation=ahead)
        session.link.leave(leaves)
        await scene.node.status(py="Away")
        since = now()
        link, _, theirs = await scene.greet()
        equal(theirs["last_met"], ahead, "last_met")
        await refused(scene, link, since, "TryAgain")
        # The page's rule: last_met and one.
        scene.life = theirs["last_met"] + 1
        session = await scene.connect()
        equal(session.theirs["last_met"], ahead, "last_met, which is earlier than we are now")
        await session.settled()
        session.link.drop()
        await scene.node.status(py="Away")


@check("a node that we have met in a later life goes on above that")
async def outlives(scene):
    session = await scene.connect()
    session.link.drop()
    await scene.node.status(py="Away")
    life = session.theirs["incarnation"]
    met = life + HOUR
    link, *_ = await scene.greet(last_met=met)
    since = now()
    await refused(scene, link, since, "TryAgain")
    session = await scene.connect(last_met=met)
    equal(session.theirs["incarnation"], met + 1, "the node's life")
    # One that is not later changes nothing.
    session = await scene.again(session, last_met=met)
    equal(session.theirs["incarnation"], met + 1, "the node's life")


@check("a start that lies more than a day ahead is not trusted, and forgotten")
async def ahead(scene):
    for life in (scene.life + 25 * HOUR, (1 << 64) - 1):
        link = await scene.open(encode_hello(scene.hello(incarnation=life)))
        await link.closes("NotTrusted")
    session = await scene.connect()
    equal(session.theirs["last_met"], None, "last_met")
    session.link.drop()
    await scene.node.status(py="Away")
    session = await scene.connect(incarnation=scene.life + 23 * HOUR)
    await session.settled()


@check("an announcement is checked against nothing, and noted if it is newer", once=True)
async def announced(scene):
    session = await scene.connect()
    # A phase that our own hello rules out, of a migration that we have not, and one that is not newer.
    for number, epoch, phase in [(0, 1, "singleton"), (9, 1, "switch"), (0, 1, "remove"), (0, 0, "remove")]:
        session.say("Announce", migration=number, epoch=epoch, phase=phase)
    await session.settled()
    await session.quiet()
    # The refusal of another cluster notes nothing, and leaves the time to read the node's hello.
    _, _, theirs = await scene.greet(cluster="elsewhere")
    equal(theirs["migrations"][0]["holdouts"], [OWN], "the node's holdouts")
    session.say("Announce", migration=0, epoch=2, phase="remove")
    await session.settled()
    _, _, theirs = await scene.greet(cluster="elsewhere")
    equal(theirs["migrations"][0]["holdouts"], [], "the node's holdouts")


@check("a node that may go on says so first on the connection", once=True, release="1.2")
async def announces(scene):
    session = await scene.connect(release="1.2")
    stands = session.theirs["migrations"][0]
    equal((stands["phase"], stands["epoch"]), (1, 0), "the phase in its hello")
    await session.settled()
    equal(session.announced(), [{"migration": 0, "epoch": 1, "phase": "switch"}], "its announcements")
    session = await scene.again(session, release="1.2")
    equal((session.theirs["migrations"][0]["phase"], session.announced()), (2, []), "what it says now")


@check("a node that has not met all members stays in its lowest phase", once=True, release="1.2", members=TWO)
async def stays(scene):
    session = await scene.connect(release="1.2")
    await session.settled()
    await session.quiet()
    equal(session.announced(), [], "its announcements")
    other = await scene.connect(release="1.2", node="other", certificate="other")
    await other.settled()
    await session.settled()
    equal(session.announced(), [{"migration": 0, "epoch": 1, "phase": "switch"}], "its announcements")
