"""Payloads on QUIC streams of their own, and typed payloads."""

import asyncio

from codec import shape, varint
from harness import check, equal, holds
from link import INLINE_BYTES_MAX, PAYLOAD_BYTES_MAX, QUIET

WINDOW = 128 << 10
BULK_STREAMS_MAX = 4
BULK_FRAMES_MAX = 1_024
RESETS_MAX = 1_000


def body(length, seed=0):
    return bytes((seed + place * 31) % 251 for place in range(length))


def stream(bulk, payload):
    return bulk["id"].to_bytes(8, "little") + payload


async def echoed(session, call, payload):
    reply = await session.hears("Reply", call=call, number=0, last=True)
    holds(await session.payload_of(reply) == payload, "the payload came back as it was")
    return reply


@check("a payload beside the lane is joined with its frame, whichever comes first")
async def joined(scene):
    session = await scene.connect()
    for call, frame_first in [(1, True), (2, False)]:
        payload = body(100_000, call)
        bulk = session.next_bulk(len(payload))
        if not frame_first:
            session.link.open_bulk(stream(bulk, payload))
            await asyncio.sleep(QUIET)
        session.cast(call, "echo", bulk=bulk)
        if frame_first:
            await session.quiet()
            session.link.open_bulk(stream(bulk, payload))
        reply = await echoed(session, call, payload)
        equal(reply.bulk["id"], call - 1, "the node's number")


@check("payloads travel beside the lane from 32 KiB and a byte on")
async def threshold(scene):
    session = await scene.connect()
    for call, length in [(1, INLINE_BYTES_MAX), (2, INLINE_BYTES_MAX + 1)]:
        session.cast(call, "big", str(length).encode())
        reply = await echoed(session, call, b"x" * length)
        equal(reply.bulk is None, length == INLINE_BYTES_MAX, f"{length} bytes in the frame")


@check("a payload may also be small, or empty, beside the lane")
async def small(scene):
    session = await scene.connect()
    for call, payload in [(1, b"hi"), (2, b"")]:
        session.cast_bulk(call, "echo", payload)
        await session.last(call, payload)


@check("who takes short frames gets payloads beside them")
async def short_frames(scene):
    session = await scene.connect(frame_bytes_max=1_024)
    for call, length in [(1, 512), (2, 513)]:
        session.cast(call, "big", str(length).encode())
        reply = await echoed(session, call, b"x" * length)
        equal(reply.bulk is None, length == 512, f"{length} bytes in the frame")


@check("a reply above what we take becomes an exit")
async def too_large(scene):
    session = await scene.connect(payload_bytes_max=1_000)
    session.cast(1, "big", b"1000")
    await session.last(1, b"x" * 1_000)
    session.cast(2, "big", b"1001")
    await session.exits(2, "ReplyTooLarge", "")


@check("a payload of 4 MiB goes there and back")
async def largest(scene):
    session = await scene.connect()
    payload = body(PAYLOAD_BYTES_MAX)
    session.cast_bulk(1, "echo", payload)
    await echoed(session, 1, payload)


@check("beyond a window one payload is read at a time")
async def one_at_a_time(scene):
    session = await scene.connect()
    first, second = body(WINDOW + 50_000, 1), body(WINDOW + 50_000, 2)
    bulk = session.next_bulk(len(first))
    session.cast(1, "echo", bulk=bulk)
    whole = stream(bulk, first)
    opened = session.link.open_bulk(whole[: WINDOW + 20_000], end=False)
    await asyncio.sleep(QUIET)
    session.cast_bulk(2, "echo", second)
    await session.quiet(0.5)
    # A small one passes them.
    session.cast_bulk(3, "echo", b"small")
    await session.last(3, b"small")
    session.link.go_on(opened, whole[WINDOW + 20_000 :])
    for _ in range(2):
        reply = await session.hears("Reply", number=0, last=True)
        holds(await session.payload_of(reply) == {1: first, 2: second}[reply.call], "the payload came back as it was")


@check("a cast that is killed before its payload comes does not run")
async def killed_before(scene):
    session = await scene.connect()
    bulk = session.next_bulk(3)
    session.cast(1, "forever", bulk=bulk)
    session.say("Kill", call=1)
    await session.settled()
    session.link.open_bulk(stream(bulk, b"abc"))
    await session.quiet()
    await scene.node.status(jobs=0)
    session.cast(1, "echo")
    await session.exits(1, "Killed", "echo")


@check("a stream that is reset brings nothing, and the connection goes on")
async def reset(scene):
    session = await scene.connect()
    bulk = session.next_bulk(100)
    session.cast(1, "echo", bulk=bulk)
    opened = session.link.open_bulk(stream(bulk, b"part"), end=False)
    await asyncio.sleep(QUIET)
    session.link.reset(opened)
    await session.settled()
    await session.quiet()
    # Its frame waits still, for a stream of the same number.
    session.link.open_bulk(stream(bulk, b"y" * 100))
    await session.last(1, b"y" * 100)


@check("more than 1,000 streams that are reset end the connection", once=True)
async def resets(scene):
    session = await scene.connect()
    for _ in range(RESETS_MAX):
        session.link.reset(session.link.open_bulk(b"part", end=False))
        # Not more than may be open at once.
        await session.settled()
    session.link.reset(session.link.open_bulk(b"part", end=False))
    await session.closes("ProtocolBroken")


@check("a stream without its number ends the connection")
async def no_number(scene):
    session = await scene.connect()
    session.link.open_bulk(b"1234567")
    await session.closes("BadFrame")


@check("a stream above the limit ends the connection")
async def above_limit(scene):
    session = await scene.connect()
    bulk = session.next_bulk(PAYLOAD_BYTES_MAX)
    session.cast(1, "echo", bulk=bulk)
    session.link.open_bulk(stream(bulk, bytes(PAYLOAD_BYTES_MAX + 1)))
    await session.closes("BadFrame")


@check("a frame that names more than the limit ends the connection")
async def names_too_much(scene):
    session = await scene.connect()
    session.cast(1, "echo", bulk=session.next_bulk(PAYLOAD_BYTES_MAX + 1))
    await session.closes("ProtocolBroken")


@check("a payload of another length than its frame says ends the connection")
async def other_length(scene):
    for said, sent in [(4, 3), (3, 4)]:
        session = await scene.connect()
        bulk = session.next_bulk(said)
        session.cast(1, "echo", bulk=bulk)
        session.link.open_bulk(stream(bulk, b"x" * sent))
        await session.closes("ProtocolBroken")
        await scene.node.status(py="Away")


@check("a number that two bear at once ends the connection, and one that is free again does not")
async def twice(scene):
    session = await scene.connect()
    for call in (7, 8):
        session.cast(call, "echo", bulk={"id": 9, "bytes": 4})
        session.link.open_bulk(stream({"id": 9}, b"once"))
        await session.last(call, b"once")
    for call in (1, 2):
        session.cast(call, "echo", bulk={"id": 9, "bytes": 4})
    await session.closes("ProtocolBroken")
    await scene.node.status(py="Away")
    session = await scene.connect()
    for _ in range(2):
        session.link.open_bulk(stream({"id": 9}, b"body"))
    await session.closes("ProtocolBroken")


@check("as many frames may wait for payloads as bulk_frames_max says")
async def waiting_frames(scene):
    session = await scene.connect()
    for call in range(BULK_FRAMES_MAX):
        session.cast(call, "echo", bulk=session.next_bulk(2))
    await session.settled()
    session.cast(BULK_FRAMES_MAX, "echo", bulk=session.next_bulk(2))
    await session.closes("ProtocolBroken")


@check("payloads that no frame has named are kept up to their bound, and others wait")
async def unnamed(scene):
    session = await scene.connect()
    bulks = [session.next_bulk(2) for _ in range(BULK_STREAMS_MAX + 1)]
    for bulk in bulks:
        session.link.open_bulk(stream(bulk, b"ab"))
    await session.quiet()
    for call, bulk in enumerate(bulks):
        session.cast(call, "echo", bulk=bulk)
    answered = {(await session.hears("Reply", b"ab", last=True)).call for _ in bulks}
    equal(answered, set(range(len(bulks))), "the calls answered")


def answered(value):
    """What a typed function that did not fail replies with."""
    return "newtype_variant", "Result", 0, "Ok", value


@check("a typed payload opens with its shape")
async def typed(scene):
    session = await scene.connect()
    number = shape(("u32",))
    session.cast(1, "double", number + varint(300))
    await session.last(1, shape(answered(("u32",))) + b"\0" + varint(600))
    point = ("struct", "Point", ("x", ("i32",)), ("y", ("i32",)))
    # A signed number is a zigzag: 3 is 6, -3 is 5.
    session.cast(2, "mirror", shape(point) + varint(6) + varint(5))
    await session.last(2, shape(answered(("some", point))) + b"\0\1" + varint(5) + varint(6))
    session.cast(3, "mirror", shape(point) + b"\0\0")
    await session.last(3, shape(answered(("none",))) + b"\0\0")
    session.cast(4, "mirror", shape(point) + varint(1) + b"\0")
    failed = ("newtype_variant", "Result", 1, "Err", ("str",))
    await session.last(4, shape(failed) + b"\1" + varint(8) + b"too left")


@check("a payload of another shape is refused by name")
async def other_shape(scene):
    session = await scene.connect()
    for call, payload in [(1, shape(("i32",)) + varint(300)), (2, varint(300)), (3, shape(("u32",)) + b"\x85\0")]:
        session.cast(call, "double", payload)
        exited = await session.hears("Exit", call=call, function="double", replies=0)
        equal(exited.reason[0], "WrongType", "the reason")
