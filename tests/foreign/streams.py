"""Reply streams and questions, as their caller sees them."""

from harness import check

WINDOW = 5


async def asked(scene, items=12):
    """A session with a job that asks for its stream."""
    session = await scene.connect()
    session.cast(1, "count", str(items).encode())
    await session.hears("StreamInit", call=1)
    return session


async def items(session, numbers):
    for number in numbers:
        await session.hears("Item", str(number).encode(), call=1, number=number, bulk=None)


@check("a stream waits for its start, keeps to its window, and ends with a plain reply")
async def whole(scene):
    session = await asked(scene)
    await session.quiet()
    session.say("StreamStart", call=1)
    await items(session, range(WINDOW))
    await session.quiet()
    session.say("Ack", call=1, items=1)
    await items(session, [WINDOW])
    await session.quiet()
    # Totals: what was said before is in it.
    session.say("Ack", call=1, items=6)
    await items(session, range(6, 11))
    session.say("Ack", call=1, items=6)
    session.say("StreamStart", call=1)
    await session.quiet()
    session.say("Ack", call=1, items=11)
    await items(session, [11])
    # The last one wants no acknowledgement, and ends nothing by itself.
    await session.hears("Reply", b"all", call=1, number=12, last=False)
    await session.exits(1, "Done", "count", replies=13)


@check("a stream that is cancelled ends as done")
async def cancelled(scene):
    session = await asked(scene)
    session.say("StreamCancel", call=1)
    await session.exits(1, "Done", "count")
    session = await scene.again(session)
    session.cast(1, "count", b"9")
    await session.hears("StreamInit", call=1)
    session.say("StreamStart", call=1)
    await items(session, range(WINDOW))
    session.say("StreamCancel", call=1)
    await session.exits(1, "Done", "count", replies=WINDOW)


@check("more acknowledgements than items end the job")
async def mismatched(scene):
    session = await asked(scene)
    session.say("StreamStart", call=1)
    await items(session, range(WINDOW))
    session.say("Ack", call=1, items=WINDOW + 1)
    await session.exits(1, "MismatchedAck", "count", replies=WINDOW)


@check("an acknowledgement before the start ends the job")
async def early_ack(scene):
    session = await asked(scene)
    session.say("Ack", call=1, items=0)
    await session.exits(1, "InvalidStreamMessage", "count")


@check("a start of what was not asked for ends the job")
async def unasked_start(scene):
    session = await scene.connect()
    for call, kind, fields in [(1, "StreamStart", {}), (2, "Ack", {"items": 0})]:
        session.cast(call, "forever")
        session.say(kind, call=call, **fields)
        await session.exits(call, "InvalidStreamMessage", "forever")
    session.cast(3, "forever")
    session.say("StreamCancel", call=3)
    await session.exits(3, "Done", "forever")


@check("what is said of a stream to a job that is over does nothing")
async def over(scene):
    session = await scene.connect()
    for kind, fields in [("StreamStart", {}), ("StreamCancel", {}), ("Ack", {"items": 3})]:
        session.say(kind, call=77, **fields)
    session.say("Response", b"late", call=77, number=0, bulk=None)
    await session.settled()
    await session.quiet()


@check("a question gets its response, and no other number is taken for it")
async def question(scene):
    session = await scene.connect()
    session.cast(1, "ask")
    await session.hears("Question", b"a word?", call=1, number=0, bulk=None)
    session.say("Response", b"no", call=1, number=1, bulk=None)
    await session.quiet()
    session.say("Response", b"yes", call=1, number=0, bulk=None)
    await session.last(1, b"yesyes", number=1)
