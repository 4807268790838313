"""Runs a second implementation of docs/wire.md against real nodes: `run.py NODE_PROGRAM [PART_OF_A_NAME...]`.

Written from that page alone, so that what the page lacks or has wrong shows here. One line a check, and a summary; ends
with 1 if a check fails. Without the program, or with `-`, only the codec is tried.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import goldens  # noqa: F401
from harness import run_all

SIDE_BY_SIDE = 6


class NoScene:
    """What a check of the codec needs: nothing."""

    def __init__(self, check):
        pass

    async def end(self):
        return ""


def main(program, wanted):
    if program == "-":
        return asyncio.run(run_all(wanted, NoScene, SIDE_BY_SIDE))
    import bulks, calls, dialing, ends, hellos, resume, served, streams  # noqa: E401, F401, I001
    from cluster import Scene

    with tempfile.TemporaryDirectory() as folder:
        Scene.prepare(program, Path(folder))
        return asyncio.run(run_all(wanted, Scene, SIDE_BY_SIDE))


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1] if len(sys.argv) > 1 else "-", sys.argv[2:]) else 0)
