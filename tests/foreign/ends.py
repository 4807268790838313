"""How a connection ends, and what does not end it."""

import asyncio

from codec import WELCOME, encode_hello, framed
from harness import check, equal, holds
from link import FRAME_BYTES_MAX

CLOSE_GRACE = 3
IDLE_TIMEOUT = 8


def first(session, kind):
    return kind | (session.version & 3) << 6


@check("a frame of an unknown kind is answered, and the connection goes on")
async def unknown_kind(scene):
    session = await scene.connect()
    # Zero is a hello's, but not with a version above it.
    for kind in (0, 26, 63):
        session.link.say(framed(first(session, kind), b"whatever"))
        await session.hears("Unsupported", kind=kind)
    await session.settled()


@check("a kind that the version lacks is unknown to it", modes=["v1", "v3"])
async def lacking(scene):
    session = await scene.connect()
    kind = {1: 3, 3: 6}[session.version]
    session.link.say(framed(first(session, kind), b"\1\1"))
    await session.hears("Unsupported", kind=kind)
    await session.settled()


@check("an answer that says unsupported does nothing")
async def unsupported(scene):
    session = await scene.connect()
    session.say("Unsupported", kind=63)
    await session.settled()
    await session.quiet()


async def bad_frame(scene, make):
    session = await scene.connect()
    session.link.say(make(session))
    await session.closes("BadFrame")


@check("a second hello, or a welcome, ends the connection")
async def second_hello(scene):
    await bad_frame(scene, lambda session: encode_hello(session.ours))
    await scene.node.status(py="Away")
    await bad_frame(scene, lambda session: WELCOME)


@check("a frame of another version ends the connection")
async def other_version(scene):
    def kill(session):
        return framed(2 | (session.version % 3 + 1) << 6, b"\1")

    await bad_frame(scene, kill)


@check("a length of nothing, or beyond the limit, ends the connection at once")
async def lengths(scene):
    await bad_frame(scene, lambda session: bytes(4))
    await scene.node.status(py="Away")
    await bad_frame(scene, lambda session: (FRAME_BYTES_MAX + 1).to_bytes(4, "little"))


@check("a frame of the longest length is read")
async def longest(scene):
    session = await scene.connect()
    length = FRAME_BYTES_MAX - 1 - len(session.cast_bytes(1, "echo")) + 5
    frame = session.cast_bytes(1, "echo", b"z" * length)
    equal(int.from_bytes(frame[:4], "little"), FRAME_BYTES_MAX, "the frame's length")
    session.link.say(frame)
    reply = await session.hears("Reply", call=1, last=True)
    equal(len(await session.payload_of(reply)), length, "the reply's length")


@check("bytes that are not canonical end the connection")
async def not_canonical(scene):
    # A ping of call 5 with a needless byte, one with a byte behind it, one that is cut.
    for body in (b"\x85\0", b"\5\0", b"\x85"):
        await bad_frame(scene, lambda session, body=body: framed(first(session, 8), body))
        await scene.node.status(py="Away")


@check("a frame may come in pieces, and several in one")
async def pieces(scene):
    session = await scene.connect()
    frame = session.cast_bytes(1, "echo", b"slowly")
    for at in range(len(frame)):
        session.link.say(frame[at : at + 1])
        await asyncio.sleep(0.005)
    await session.last(1, b"slowly")
    session.link.say(b"".join(session.cast_bytes(call, "echo", b"at once") for call in (2, 3)))
    answered = {(await session.hears("Reply", b"at once", last=True)).call for _ in range(2)}
    equal(answered, {2, 3}, "the calls answered")


@check("a lane that is finished is closed after 3 s as a shutdown, hears nothing more, and ends nothing")
async def finished(scene):
    session = await scene.connect()
    session.cast(1, "hold")
    session.cast(2, "forever")
    await scene.node.status(jobs=2)
    began = asyncio.get_running_loop().time()
    session.link.say(b"", end=True)
    await asyncio.sleep(CLOSE_GRACE / 2)
    scene.node.say("free")
    closed = await session.closes("Shutdown")
    took = closed.at - began
    holds(CLOSE_GRACE - 0.2 < took < CLOSE_GRACE + 3, f"closed after {took:.2f} s")
    session.nothing_came()
    # Nobody wrote what was said meanwhile, and the resume tells of it.
    session = await scene.connect()
    session.say("Resume", calls=[1, 2])
    await session.exits(1, "ConnectionLost", "")
    await scene.node.status(jobs=1)


@check("a lane that is finished and closed is lost, and ends nothing")
async def finished_and_closed(scene):
    session = await scene.connect()
    session.cast(1, "hold")
    await scene.node.status(jobs=1)
    session.link.say(b"", end=True)
    session.link.drop()
    await scene.node.status(py="Away", jobs=1)
    session = await scene.connect()
    session.say("Resume", calls=[1])
    scene.node.say("free")
    await session.last(1, b"free")


@check("a lane that is reset, or stopped, ends its connection and no job")
async def reset(scene):
    session = await scene.connect()
    session.cast(1, "hold")
    await scene.node.status(jobs=1)
    session.link.reset(session.link.lane)
    await session.closes("ProtocolBroken")
    await scene.node.status(py="Away", jobs=1)
    session = await scene.connect()
    session.cast(2, "forever")
    await scene.node.status(jobs=2)
    session.link.refuse_lane()
    session.cast(3, "echo")
    await session.closes("ProtocolBroken")
    await scene.node.status(py="Away", jobs=2)


@check("a close of any other code is a loss, and ends nothing")
async def lost(scene):
    for code in ("TryAgain", "Replaced", "ProtocolBroken"):
        session = await scene.connect()
        if code == "TryAgain":
            session.cast(1, "hold")
        await scene.node.status(jobs=1)
        session.link.leave(code)
        await scene.node.status(py="Away", jobs=1)


@check("a silent node is known to be there, and one that has fallen silent is lost after 8 s", once=True)
async def silence(scene):
    session = await scene.connect()
    session.cast(1, "forever")
    await scene.node.status(jobs=1)
    await asyncio.sleep(0.5)
    before = session.link.datagrams
    await asyncio.sleep(5)
    came = session.link.datagrams - before
    holds(2 <= came <= 12, f"{came} datagrams came within 5 s of silence")
    began = asyncio.get_running_loop().time()
    session.link.muted = True
    await scene.node.status(py="Away", jobs=1)
    took = asyncio.get_running_loop().time() - began
    # It had heard of us up to 2 s before.
    holds(IDLE_TIMEOUT - 2.5 < took < IDLE_TIMEOUT + 3, f"lost after {took:.1f} s")


@check("the transport's bounds are those of the page", once=True)
async def transport(scene):
    session = await scene.connect()
    found, window = session.link._quic, 128 << 10
    equal(found._remote_max_streams_bidi, 1, "bidirectional streams")
    equal(found._remote_max_streams_uni, 4, "unidirectional streams")
    equal(found._remote_max_stream_data_bidi_remote, window, "the lane's window")
    equal(found._remote_max_stream_data_uni, window, "a bulk stream's window")
    equal(found._remote_max_data, 5 * window, "the connection's window")
    equal(found._remote_max_idle_timeout, IDLE_TIMEOUT, "seconds of silence")
    equal(found._remote_max_datagram_frame_size, None, "datagrams")
