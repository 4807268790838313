"""What a connection finds that follows another one, in the same life of ours or in the next."""

from harness import check, equal

TWO = {"jobs": 2}


async def two_jobs(scene):
    session = await scene.connect()
    session.cast(1, "hold")
    session.cast(2, "hold")
    await scene.node.status(**TWO)
    return session


def freed(scene):
    scene.node.say("free")


@check("jobs outlive their connection, and a resume ends those that it does not list")
async def listed(scene):
    session = await scene.again(await two_jobs(scene))
    await scene.node.status(**TWO)
    session.say("Resume", calls=[1])
    await scene.node.status(jobs=1)
    freed(scene)
    await session.last(1, b"free")
    await session.quiet()


@check("a resume answers for calls that are not known, and not for those that run")
async def unknown(scene):
    session = await scene.again(await two_jobs(scene))
    session.say("Resume", calls=[1, 2, 77, 300])
    await session.exits(77, "ConnectionLost", "")
    await session.exits(300, "ConnectionLost", "")
    await session.quiet()
    await scene.node.status(**TWO)


@check("an empty resume ends all jobs")
async def empty(scene):
    session = await scene.again(await two_jobs(scene))
    session.say("Resume", calls=[])
    await scene.node.status(jobs=0)
    await session.quiet()


@check("without a resume all jobs go on")
async def none(scene):
    session = await scene.again(await two_jobs(scene))
    await session.settled()
    freed(scene)
    answered = {(await session.hears("Reply", b"free", last=True)).call for _ in range(2)}
    equal(answered, {1, 2}, "the calls answered")


@check("a late resume ends also what was cast before it on the same connection")
async def late(scene):
    session = await scene.again(await two_jobs(scene))
    session.cast(3, "hold")
    session.cast(4, "hold")
    await scene.node.status(jobs=4)
    session.say("Resume", calls=[1, 4])
    await scene.node.status(jobs=2)
    freed(scene)
    answered = {(await session.hears("Reply", b"free", last=True)).call for _ in range(2)}
    equal(answered, {1, 4}, "the calls answered")


@check("a resume on a first connection is answered likewise")
async def first(scene):
    session = await scene.connect()
    session.say("Resume", calls=[5])
    await session.exits(5, "ConnectionLost", "")
    await session.settled()


@check("a reply that was made meanwhile comes before what the resume is answered with")
async def made_meanwhile(scene):
    session = await two_jobs(scene)
    session.link.drop()
    await scene.node.status(py="Away")
    freed(scene)
    await scene.node.status(jobs=0)
    session = await scene.connect()
    session.say("Resume", calls=[1, 2])
    kinds = [await session.recv() for _ in range(4)]
    equal([(one.kind, one.call) for one in kinds[2:]], [("Exit", 1), ("Exit", 2)], "what the resume is answered with")
    equal({one.call for one in kinds[:2] if one.kind == "Reply"}, {1, 2}, "the calls answered before")


@check("after a resume a job says how many replies it has sent")
async def sent(scene):
    session = await scene.connect()
    session.cast(1, "hold", b"..")
    for number in range(2):
        await session.hears("Reply", b"held", call=1, number=number, last=False)
    session.cast(2, "hold")
    await scene.node.status(**TWO)
    session = await scene.again(session)
    session.say("Resume", calls=[1, 2])
    await session.hears("Sent", call=1, replies=2, question=None)
    await session.quiet()
    freed(scene)


@check("after a resume a question stands, and may still be answered")
async def question(scene):
    session = await scene.connect()
    session.cast(1, "ask")
    await session.hears("Question", call=1, number=0)
    session = await scene.again(session)
    session.say("Resume", calls=[1])
    await session.hears("Sent", call=1, replies=1, question=0)
    session.say("Response", b"yes", call=1, number=0, bulk=None)
    await session.last(1, b"yesyes", number=1)


@check("after a resume a stream is asked for again if it was not answered")
async def init(scene):
    session = await scene.connect()
    session.cast(1, "count", b"1")
    await session.hears("StreamInit", call=1)
    session = await scene.again(session)
    session.say("Resume", calls=[1])
    await session.hears("StreamInit", call=1)
    session.say("StreamStart", call=1)
    await session.hears("Item", b"0", call=1, number=0)
    await session.hears("Reply", b"all", call=1, number=1)
    await session.exits(1, "Done", "count", replies=2)


@check("after a resume what was said of a stream may be said again")
async def said_again(scene):
    session = await scene.connect()
    session.cast(1, "count", b"8")
    await session.hears("StreamInit", call=1)
    session.say("StreamStart", call=1)
    for number in range(5):
        await session.hears("Item", call=1, number=number)
    session = await scene.again(session)
    session.say("Resume", calls=[1])
    session.say("StreamStart", call=1)
    session.say("Ack", call=1, items=5)
    await session.hears("Sent", call=1, replies=5, question=None)
    for number in range(5, 8):
        await session.hears("Item", call=1, number=number)


@check("a resume forgets the monitors from before")
async def monitors(scene):
    session = await scene.connect()
    session.say("Monitor", monitor=1)
    session.say("Monitor", monitor=2)
    await session.settled()
    session = await scene.again(session)
    session.say("Resume", calls=[])
    session.say("Monitor", monitor=2)
    await session.settled()
    scene.node.say("leave")
    await session.hears("Draining")
    await session.hears("Cast", function=0xFFFFFFFF)
    await session.hears("Down", monitor=2, reason="Shutdown")
    await session.closes("Shutdown")


@check("a later life of ours ends the jobs of the one before, without a word")
async def next_life(scene):
    await two_jobs(scene)
    scene.life += 1
    session = await scene.connect()
    await scene.node.status(jobs=0)
    session.cast(1, "echo", b"a call of the same number")
    await session.last(1, b"a call of the same number")
    await session.quiet()


@check("who leaves in good order has no jobs any more")
async def left(scene):
    session = await two_jobs(scene)
    session.link.leave("Shutdown")
    await scene.node.status(jobs=0)
    session = await scene.connect()
    session.say("Resume", calls=[1])
    await session.exits(1, "ConnectionLost", "")
