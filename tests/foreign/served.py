"""Calls that the node makes to us: what it sends, and what it makes of our answers."""

import asyncio

from cluster import FUNCTIONS
from harness import check, equal, holds
from link import INLINE_BYTES_MAX

HELD_ANSWERS_MAX = 4_096


async def called(scene, function="echo", argument="hi", session=None, label="a"):
    """The node casts to us: the session, and the number of the call."""
    session = session or await scene.connect()
    # The node may have to raise its phase first, and says so.
    await session.settled()
    scene.node.say(f"cast {label} py {function} {argument}")
    cast = await session.hears("Cast", function=FUNCTIONS.index(function), nonce=0, trace=None)
    equal(cast.server, session.server, "the server that it is cast to")
    return session, cast


def reply(session, call, payload, number=0, last=True, **fields):
    session.say("Reply", payload, call=call, number=number, last=last, **{"bulk": None, **fields})


@check("a cast of the node has our number of the function, and takes our reply")
async def cast(scene):
    session, cast = await called(scene)
    equal(cast.payload, b"hi", "the argument")
    reply(session, cast.call, b"one", last=False)
    session.say("Ping", call=cast.call)
    reply(session, cast.call, b"two", number=1)
    equal([await scene.node.hears("a") for _ in range(3)], ["reply one", "Ping", "last two"], "the answers")


@check("the node takes every exit for what it is")
async def exits(scene):
    session = await scene.connect()
    for place, (reason, told) in enumerate([("Done", "Done"), (("Failed", "no"), 'Failed("no")'), ("Killed", "Killed"),
                                            ("NotAllowed", "NotAllowed"), ("TooManyJobs", "TooManyJobs")]):  # fmt: skip
        label = f"e{place}"
        _, cast = await called(scene, session=session, label=label)
        session.say("Exit", call=cast.call, replies=0, function="echo", reason=reason)
        equal(await scene.node.hears(label), f'exit {told} of "echo"', "the end")
    _, cast = await called(scene, session=session, label="n")
    session.say("NoSuchFunction", call=cast.call)
    equal(await scene.node.hears("n"), "NoSuchFunction", "the end")


@check("a function that our hello does not list is told of without a frame")
async def unlisted(scene):
    session = await scene.connect()
    scene.node.say("cast a py nowhere hi")
    equal(await scene.node.hears("a"), "NoSuchFunction", "the end")
    await session.settled()
    await session.quiet()


@check("the node kills with a kill, and with one frame for several where the version has it")
async def kills(scene):
    session = await scene.connect()
    calls = []
    for label in "abc":
        _, cast = await called(scene, "forever", session=session, label=label)
        calls.append(cast.call)
    scene.node.say("kill a")
    killed = await kills_of(scene, session, 1)
    equal(killed, {calls[0]}, "the call killed")
    scene.node.say("kill b c")
    equal(await kills_of(scene, session, 2), set(calls[1:]), "the calls killed")
    await session.settled()
    await session.quiet()


async def kills_of(scene, session, count):
    """The calls that the next kills name: of each server that a kill goes to, and of the one of the cast at least."""
    # In switch a kill goes to both servers.
    servers = {"singleton", "per-node"} if scene.mode == "v2, switch" else {session.server}
    named = {server: set() for server in servers}
    while any(len(calls) < count for calls in named.values()):
        message = await session.recv("a kill")
        several = count > 1 and scene.version > 1
        equal(message.kind, "KillAll" if several else "Kill", "the kind")
        named[message.server] |= set(message.calls) if several else {message.call}
    equal(len({frozenset(calls) for calls in named.values()}), 1, "what each server is told")
    return named[session.server]


@check("a gap in our replies ends the call, and kills its job")
async def gap(scene):
    session, cast = await called(scene)
    reply(session, cast.call, b"second", number=1)
    equal(await scene.node.hears("a"), 'exit ConnectionLost of ""', "the end")
    equal(await kills_of(scene, session, 1), {cast.call}, "the call killed")


@check("an exit as done that counts more replies than came is a gap, and another exit is not")
async def gap_at_end(scene):
    session = await scene.connect()
    for label, reason, told in [("a", "Done", 'ConnectionLost of "gap"'), ("b", "TimePassed", 'TimePassed of "gap"')]:
        _, cast = await called(scene, "gap", session=session, label=label)
        session.say("Exit", call=cast.call, replies=1, function="gap", reason=reason)
        equal(await scene.node.hears(label), f"exit {told}", "the end")


@check("answers to a call that is not open do nothing")
async def stray(scene):
    session = await scene.connect()
    reply(session, 4_711, b"stray")
    session.say("Exit", call=4_711, replies=0, function="", reason="Done")
    session.say("StreamInit", call=4_711)
    session.say("Sent", call=4_711, replies=3, question=None)
    session.say("Down", monitor=4_711, reason="Shutdown")
    await session.settled()
    await session.quiet()


@check("the node drives our stream")
async def stream(scene):
    session, cast = await called(scene, "items")
    session.say("StreamInit", call=cast.call)
    await session.hears("StreamStart", call=cast.call)
    for number in range(7):
        session.say("Item", str(number).encode(), call=cast.call, number=number, bulk=None)
        await session.hears("Ack", call=cast.call, items=number + 1)
        equal(await scene.node.hears("a item"), f"{number} true", "the item")
    session.say("Items", call=cast.call, number=7, items=[b"7", b"8", b"9"])
    for number in range(7, 10):
        await session.hears("Ack", call=cast.call, items=number + 1)
        equal(await scene.node.hears("a item"), f"{number} true", "an item among others")
    # Asked again, it says all of it again.
    session.say("StreamInit", call=cast.call)
    await session.hears("StreamStart", call=cast.call)
    await session.hears("Ack", call=cast.call, items=10)
    reply(session, cast.call, b"all", number=10)
    equal(await scene.node.hears("a last"), "all", "the last one")


@check("the node responds to our question")
async def question(scene):
    session, cast = await called(scene, "question")
    session.say("Question", b"yes or no?", call=cast.call, number=0, bulk=None)
    await session.hears("Response", b"yes", call=cast.call, number=0, bulk=None)
    reply(session, cast.call, b"thanks", number=1)
    equal(await scene.node.hears("a question"), "0 yes or no? true", "the question")
    equal(await scene.node.hears("a last"), "thanks", "the last one")


@check("replies in tagged frames mean the same")
async def tagged(scene):
    session, cast = await called(scene, "items")
    fields = {"call": cast.call, "bulk": None, "although_not_emitted": True}
    session.say("TaggedReply", b"plain", number=0, form="plain", **fields)
    session.say("StreamInit", call=cast.call)
    await session.hears("StreamStart", call=cast.call)
    session.say("TaggedReply", b"item", number=1, form="item", **fields)
    await session.hears("Ack", call=cast.call, items=1)
    session.say("TaggedReply", b"why?", number=2, form="question", **fields)
    await session.hears("Response", b"yes", call=cast.call, number=2)
    session.say("TaggedReply", b"last", number=3, form="last", **fields)
    told = [await scene.node.hears("a") for _ in range(5)]
    equal(told, ["reply plain", "init true", "item item true", "question 2 why? true", "last last"], "the answers")


@check("a large argument of the node comes beside the lane, and its answers may")
async def large(scene):
    session, cast = await called(scene, argument=f"*{INLINE_BYTES_MAX + 1}")
    equal(await session.payload_of(cast), b"x" * (INLINE_BYTES_MAX + 1), "the argument")
    bulk = session.next_bulk(70_000)
    reply(session, cast.call, None, bulk=bulk)
    await session.settled()
    session.link.open_bulk(bulk["id"].to_bytes(8, "little") + b"y" * 70_000)
    equal(await scene.node.hears("a last"), "*70000", "the reply")


@check("answers behind a payload wait for it, and 4,096 at most")
async def held(scene):
    session, cast = await called(scene)
    bulk = session.next_bulk(3)
    reply(session, cast.call, None, last=False, bulk=bulk)
    for number in range(1, HELD_ANSWERS_MAX):
        reply(session, cast.call, b"", number=number, last=False)
    await session.settled()
    reply(session, cast.call, b"", number=HELD_ANSWERS_MAX, last=False)
    equal(await scene.node.hears("a"), 'exit ConnectionLost of ""', "the end")
    equal(await kills_of(scene, session, 1), {cast.call}, "the call killed")
    # Nothing but the call has ended.
    session.link.open_bulk(bulk["id"].to_bytes(8, "little") + b"abc")
    await session.settled()


@check("after a reconnect the node resumes what it has open, before all else")
async def resumes(scene):
    session = await scene.connect()
    calls = [(await called(scene, "forever", session=session, label=label))[1].call for label in "ab"]
    session = await scene.again(session)
    # One for each server that we run, with the calls that it has there.
    named = {}
    for _ in range(1 if scene.mode in ("v1", "v3") else 2):
        message = await session.hears("Resume")
        named[message.server] = message.calls
    equal(named.pop(session.server), calls, "the calls resumed")
    equal([open for open in named.values() if open], [], "the calls of the other server")
    session.say("Exit", call=calls[0], replies=0, function="", reason="ConnectionLost")
    equal(await scene.node.hears("a"), 'exit ConnectionLost of ""', "the end")
    reply(session, calls[1], b"kept")
    equal(await scene.node.hears("b"), "last kept", "the end")


@check("the node takes it for a loss if we have sent more than it has")
async def missed(scene):
    session, cast = await called(scene, "gap")
    session = await scene.again(session)
    await resumed(scene, session)
    session.say("Sent", call=cast.call, replies=1, question=None)
    equal(await scene.node.hears("a"), 'exit ConnectionLost of ""', "the end")
    equal(await kills_of(scene, session, 1), {cast.call}, "the call killed")


async def resumed(scene, session):
    for _ in range(1 if scene.mode in ("v1", "v3") else 2):
        await session.hears("Resume")


@check("a response of an earlier connection is taken for lost")
async def response_lost(scene):
    session, cast = await called(scene, "question")
    session.say("Question", b"?", call=cast.call, number=0, bulk=None)
    await session.hears("Response", call=cast.call, number=0)
    equal(await scene.node.hears("a question"), "0 ? true", "the question")
    session = await scene.again(session)
    await resumed(scene, session)
    session.say("Sent", call=cast.call, replies=1, question=0)
    equal(await scene.node.hears("a"), 'exit ConnectionLost of ""', "the end")


@check("to a later life of ours the node resumes nothing")
async def next_life(scene):
    session, _ = await called(scene, "forever")
    session.link.drop()
    await scene.node.status(py="Away")
    scene.life += 1
    session = await scene.connect()
    equal(await scene.node.hears("a"), "Down(Restarted)", "the end")
    await session.quiet()


@check("who leaves in good order ends the node's calls to it")
async def shutdown(scene):
    session, _ = await called(scene, "forever")
    session.link.leave("Shutdown", "leaving")
    equal(await scene.node.hears("a"), "Down(Shutdown)", "the end")


@check("what was cast while we were away comes once we are back")
async def buffered(scene):
    session = await scene.connect()
    session.link.drop()
    await scene.node.status(py="Away")
    scene.node.say("cast a py echo waited")
    await scene.node.status(calls=1)
    session = await scene.connect()
    # It was never sent, so no resume names it.
    await resumed_with_none(scene, session)
    cast = await session.hears("Cast", b"waited")
    reply(session, cast.call, b"here")
    equal(await scene.node.hears("a last"), "here", "the reply")


async def resumed_with_none(scene, session):
    for _ in range(1 if scene.mode in ("v1", "v3") else 2):
        await session.hears("Resume", calls=[])


@check("the node monitors our server")
async def monitor(scene):
    session = await scene.connect()
    await session.settled()
    scene.node.say("monitor py")
    watched = await session.hears("Monitor")
    equal(watched.server, session.server, "the server watched")
    session.say("Down", monitor=watched.monitor, reason="Shutdown")
    equal(await scene.node.hears("monitor down"), "Shutdown", "the reason")


@check("once we drain the node refuses casts to us by itself, and goes on with what runs")
async def draining(scene):
    session, cast = await called(scene)
    session.say("Draining")
    await session.settled()
    scene.node.say("cast b py echo late")
    equal(await scene.node.hears("b"), 'exit Draining of "echo"', "the end")
    reply(session, cast.call, b"done")
    equal(await scene.node.hears("a last"), "done", "the reply")
    await session.quiet()
    # In another life of ours it casts again.
    session.link.leave("Shutdown")
    await scene.node.status(py="Away")
    scene.life += 1
    session, _ = await called(scene, label="c")


@check("a node that leaves says so, marks the place, refuses casts, ends its lane, and closes")
async def leaves(scene):
    session = await scene.connect()
    session.cast(1, "hold")
    await scene.node.status(jobs=1)
    scene.node.say("leave")
    await session.hears("Draining")
    mark = await session.hears("Cast", b"", function=0xFFFFFFFF, bulk=None)
    session.cast(2, "echo", b"late")
    await session.exits(2, "Draining", "echo")
    # What was said to jobs that run is heard.
    scene.node.say("free")
    await session.last(1, b"free")
    session.say("NoSuchFunction", call=mark.call)
    await asyncio.wait_for(session.link.lane_ended, 10)
    await session.closes("Shutdown")
    holds((await scene.node.hears("left")) == "0", "no job had to be ended")
