"""What a check is, and how all of them are run: side by side, each under a limit, one line for each."""

import asyncio
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# How long a check may take, and how long it waits for one thing, in seconds: as much as a busy machine could need.
CHECK_LIMIT = 90
WAIT_LIMIT = 20

# A check is run on a node of each of these: what it is called, the node's release, ours, and the wire version and the
# server that the two then have.
MODES = {
    "v1": ("1.0", "1.0", 1, "singleton"),
    "v2, introduce": ("1.1", "1.1", 2, "singleton"),
    "v2, switch": ("1.2", "1.2", 2, "per-node"),
    "v3": ("2.0", "2.0", 3, "per-node"),
}
ONCE = "once"

CHECKS = []


@dataclass
class Check:
    name: str
    mode: str
    run: object
    settings: dict


def check(name, once=False, modes=tuple(MODES), **settings):
    """Notes a function as a check: it takes a scene, and fails by raising. `settings` are the scene's."""

    def note(function):
        for mode in (ONCE,) if once else modes:
            CHECKS.append(Check(name, mode, function, settings))
        return function

    return note


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} instead of {expected!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


async def within(what, awaitable, limit=WAIT_LIMIT):
    try:
        return await asyncio.wait_for(awaitable, limit)
    except asyncio.TimeoutError:
        raise AssertionError(f"waited {limit} s for {what}") from None


async def run_one(one, make_scene):
    began = time.monotonic()
    scene = make_scene(one)
    try:
        said = await within("its end", one.run(scene), CHECK_LIMIT)
        ok = True
    except Exception as error:
        ok, said = False, f"{type(error).__name__}: {error}"
        if not isinstance(error, AssertionError):
            said += "\n" + traceback.format_exc()
    finally:
        log = await scene.end()
    if not ok and log:
        said += "\n" + log
    return ok, said, time.monotonic() - began


async def run_all(wanted, make_scene, side_by_side):
    """Runs the checks whose "mode: name" holds a wanted text, prints each, and gives how many failed."""
    chosen = [one for one in CHECKS if not wanted or any(part in f"{one.mode}: {one.name}" for part in wanted)]
    places, began = asyncio.Semaphore(side_by_side), time.monotonic()

    async def placed(one):
        async with places:
            return await run_one(one, make_scene)

    tasks = [asyncio.ensure_future(placed(one)) for one in chosen]
    counts = {}
    for one, task in zip(chosen, tasks):
        ok, said, took = await task
        line = f"{'ok    ' if ok else 'FAILED'} {one.mode}: {one.name} ({took:.1f} s)"
        print(line + (f": {said}" if said else ""), flush=True)
        passed, of_mode = counts.get(one.mode, (0, 0))
        counts[one.mode] = passed + ok, of_mode + 1
    for mode, (passed, of_mode) in counts.items():
        print(f"{mode}: {passed} of {of_mode}")
    failed = len(chosen) - sum(passed for passed, _ in counts.values())
    print(f"foreign: {len(chosen) - failed} of {len(chosen)} checks passed in {time.monotonic() - began:.0f} s")
    return failed if chosen else 1
