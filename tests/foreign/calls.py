"""Casts, replies, exits, kills and monitors, as their caller sees them."""

from cluster import OWN
from harness import check, equal

ALL = {"jobs": 0}


@check("a cast is answered by its last reply")
async def replied(scene):
    session = await scene.connect()
    session.cast(1, "echo", b"hi")
    await session.last(1, b"hi")
    session.cast(2, "echo")
    await session.last(2, b"")
    await session.quiet()


@check("a call runs on the server that it was cast to")
async def server(scene):
    session = await scene.connect()
    session.cast(1, "server")
    await session.last(1, session.server.encode())


@check("replies are numbered, and a ping is none")
async def numbered(scene):
    session = await scene.connect()
    session.cast(300, "replies")
    await session.hears("Reply", b"one", call=300, number=0, last=False)
    await session.hears("Reply", b"two", call=300, number=1, last=False)
    await session.hears("Ping", call=300)
    await session.last(300, b"three", number=2)


@check("an end without a reply is an exit")
async def exits(scene):
    session = await scene.connect()
    session.cast(1, "quiet")
    await session.exits(1, "Done", "quiet")
    session.cast(2, "fail", "nö".encode())
    await session.exits(2, ("Failed", "nö"), "fail")
    session.cast(3, "panic", b"at 3")
    await session.exits(3, ("Panicked", "at 3"), "panic")


@check("the text of a failure is cut at 4,096 bytes")
async def cut(scene):
    session = await scene.connect()
    session.cast(1, "fail", b"x" * 5_000)
    await session.exits(1, ("Failed", "x" * 4_096), "fail")


@check("for short frames the text of a failure is cut to half of what they hold")
async def cut_to_frame(scene):
    session = await scene.connect(frame_bytes_max=1_024)
    for call, length in [(1, 448), (2, 449), (3, 5_000)]:
        session.cast(call, "fail", b"x" * length)
        await session.exits(call, ("Failed", "x" * 448), "fail")


@check("a number without a function is answered")
async def no_function(scene):
    session = await scene.connect()
    for call, number in [(1, len(session.functions)), (2, 0xFFFFFFFF)]:
        session.cast(call, number)
        await session.hears("NoSuchFunction", call=call)


@check("a cast carries its limit, nonce and trace")
async def carried(scene):
    session = await scene.connect()
    trace = {"trace_id": 0xABC << 64, "span_id": 0xDEF, "flags": 1}
    session.cast(1, "seen", milliseconds_left=60_000, nonce=1 << 63, trace=trace)
    await session.last(1, f"{OWN} limited {1 << 63} {0xABC << 64:x} def 1".encode())
    session.cast(2, "seen")
    await session.last(2, f"{OWN} unlimited 0 ".encode())


@check("a job ends when its caller's limit has passed")
async def time_passed(scene):
    session = await scene.connect()
    session.cast(1, "forever", milliseconds_left=100)
    await session.exits(1, "TimePassed", "forever")
    await scene.node.status(**ALL)


@check("a second cast of an open call is refused, and the first goes on")
async def duplicate(scene):
    session = await scene.connect()
    session.cast(1, "hold")
    session.cast(1, "echo")
    await session.exits(1, "DuplicateRef", "echo")
    scene.node.say("free")
    await session.last(1, b"free")


@check("a killed job ends without a word")
async def killed(scene):
    session = await scene.connect()
    session.cast(1, "forever")
    await scene.node.status(jobs=1)
    session.say("Kill", call=1)
    await scene.node.status(**ALL)
    await session.quiet()


@check("kills in one frame end all of their jobs", modes=["v2, introduce", "v2, switch", "v3"])
async def kill_all(scene):
    session = await scene.connect()
    for call in range(5):
        session.cast(call, "forever")
    await scene.node.status(jobs=5)
    session.say("KillAll", calls=[0, 2, 3, 77])
    await scene.node.status(jobs=2)
    session.say("KillAll", calls=[])
    await session.settled()
    await scene.node.status(jobs=2)


@check("a cast that follows its kill ends as killed")
async def tombstone(scene):
    session = await scene.connect()
    session.say("Kill", call=1)
    session.cast(1, "echo", b"too late")
    await session.exits(1, "Killed", "echo")
    session.cast(2, "echo", b"another")
    await session.last(2, b"another")
    await scene.node.status(**ALL)


@check("a kill of a call that is not known gets no answer")
async def unknown_kill(scene):
    session = await scene.connect()
    session.say("Kill", call=77)
    await session.settled()
    await session.quiet()


@check("of the kills that met no job the last 256 are known")
async def tombstones(scene):
    session = await scene.connect()
    for call in range(257):
        session.say("Kill", call=call)
    session.cast(0, "echo", b"forgotten")
    await session.last(0, b"forgotten")
    session.cast(1, "echo")
    await session.exits(1, "Killed", "echo")


@check("a monitor hears once that its server ends")
async def monitor(scene):
    session = await scene.connect()
    session.say("Monitor", monitor=3)
    session.say("Monitor", monitor=4)
    session.say("Demonitor", monitor=4)
    await session.settled()
    scene.node.say("leave")
    await session.hears("Draining")
    mark = await session.hears("Cast", function=0xFFFFFFFF)
    session.say("NoSuchFunction", call=mark.call)
    await session.hears("Down", monitor=3, reason="Shutdown")
    await session.closes("Shutdown")


@check("one monitor too many is answered")
async def monitors(scene):
    session = await scene.connect()
    for monitor in range(1_001):
        session.say("Monitor", monitor=monitor)
    await session.hears("Down", monitor=1_000, reason="TooManyMonitors")
    await session.settled()


@check("a server that is not there is told of, to a cast, a resume and a monitor", once=True)
async def no_server(scene):
    # A node that has removed the singleton speaks v2 with its neighbour, which may name it.
    session = await scene.connect(release="1.2")
    equal(session.version, 2, "the wire version")
    number = session.functions["echo"]
    fields = {"milliseconds_left": None, "nonce": 0, "trace": None, "bulk": None}
    session.say("Cast", b"hi", server="singleton", call=1, function=number, **fields)
    message = await session.hears("NoSuchServer", call=1)
    equal(message.server, "singleton", "the server meant")
    session.say("Resume", server="singleton", calls=[2, 3])
    await session.hears("NoSuchServer", call=2)
    await session.hears("NoSuchServer", call=3)
    session.say("Monitor", server="singleton", monitor=1)
    await session.hears("Down", monitor=1, reason="NoServer")
    for kind in ("Kill", "StreamStart", "StreamCancel"):
        session.say(kind, server="singleton", call=1)
    await session.settled()


@check("both servers of a node run side by side", once=True, release="1.1")
async def both_servers(scene):
    session = await scene.connect(release="1.1")
    equal(session.server, "singleton", "where who introduces casts to")
    for call, of in [(1, "singleton"), (2, "per-node")]:
        session.server = of
        session.cast(call, "server")
        await session.last(call, of.encode())
