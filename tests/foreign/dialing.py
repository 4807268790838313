"""Who dials, who welcomes, and what becomes of two connections."""

import asyncio

from cluster import OWN
from codec import WELCOME, decode_hello, encode_hello, framed
from harness import check, equal, holds, within
from link import Session
from verdict import speaks

AFTER = {"node": "zz"}
HANDSHAKE_LIMIT = 3


async def dialed(arrived):
    """The next dial of the node that comes to a hello: the link, and the hello. Of those before it the node has let go,
    since nothing answered."""
    while True:
        link = await within("the node to dial", arrived.get())
        try:
            return link, await link.frame("the node's hello")
        except AssertionError:
            holds(link.closed.done(), "a dial without a hello")


async def answered(scene, arrived, welcome=WELCOME):
    """Takes what the node dials, with a hello of ours: the link and both hellos."""
    link, hello = await dialed(arrived)
    theirs = decode_hello(hello)
    equal(scene.certificates.names(link.peer_certificate), [scene.node_name], "the names in its certificate")
    ours = scene.hello()
    link.say(encode_hello(ours))
    if OWN < scene.node_name:
        link.say(welcome)
    else:
        equal(await link.frame("the welcome"), b"\0", "the welcome")
    return link, ours, theirs


def session_of(scene, link, ours, theirs):
    return Session(link, speaks(ours, theirs), scene.server, ours, theirs)


@check("a node dials its member, says hello first, and welcomes where its name is the first")
async def dials(scene):
    await scene.start()
    arrived = await scene.listen()
    session = session_of(scene, *await answered(scene, arrived))
    session.cast(1, "echo", b"dialed")
    await session.last(1, b"dialed")


@check("a node whose name is the second waits for our welcome, dialed or dialing", **AFTER)
async def welcomes(scene):
    session = await scene.connect()
    await session.settled()
    session.link.drop()
    arrived = await scene.listen()
    session = session_of(scene, *await answered(scene, arrived))
    session.cast(1, "echo", b"dialed")
    await session.last(1, b"dialed")


@check("nothing is taken for a welcome but a welcome", once=True, **AFTER)
async def no_welcome(scene):
    for said in (framed(0x41, b"\1"), framed(0, b"\0"), encode_hello(scene.hello())):
        link, *_ = await scene.greet()
        link.say(said)
        await link.closes("BadHandshake")
    link, *_ = await scene.greet()
    closed = await link.closes("BadHandshake")
    return closed.reason


@check("a node that answers in another's name is not trusted by who dials it", once=True)
async def wrong_node(scene):
    await scene.start()
    arrived = await scene.listen()
    link, _ = await dialed(arrived)
    link.say(encode_hello(scene.hello(node="other")))
    await link.closes("NotTrusted")


@check("a node hangs up in TLS where the certificate is not of whom it dials", once=True)
async def wrong_certificate(scene):
    await scene.start()
    arrived = await scene.listen("other")
    while True:
        link = await within("the node to dial", arrived.get())
        closed = await within("its end", asyncio.shield(link.closed))
        holds(link.frames.empty(), "a hello came")
        # TLS's alert "bad certificate"; dials that came to nothing before are of no interest.
        if closed.code == hex(0x100 + 42):
            return


@check("of two handshakes at once the first is taken, and the other is replaced")
async def crossing(scene):
    first = await scene.connect()
    # The close overtakes the node's hello.
    link = await scene.open(encode_hello(scene.hello()))
    await link.closes("Replaced")
    await first.settled()


@check("a later connection of the same life takes over once the first is 3 s old")
async def takes_over(scene):
    first = await scene.connect()
    first.cast(1, "hold")
    await scene.node.status(jobs=1)
    await asyncio.sleep(HANDSHAKE_LIMIT + 0.3)
    second = await scene.connect()
    await first.closes("Replaced")
    second.say("Resume", calls=[1])
    scene.node.say("free")
    await second.last(1, b"free")


@check("a later life takes over at once")
async def later_life(scene):
    first = await scene.connect()
    scene.life += 1
    second = await scene.connect()
    await first.closes("Replaced")
    await second.settled()


@check("where we decide, the node takes the connection that we welcome it on", **AFTER)
async def we_decide(scene):
    first = await scene.connect()
    link, ours, theirs = await scene.greet()
    await first.settled()
    second = await scene.agree(link, ours, theirs)
    await first.closes("Replaced")
    await second.settled()


@check("the node gives up its own dial when ours comes first", once=True)
async def gives_up(scene):
    await scene.start()
    arrived = await scene.listen()
    link, _ = await dialed(arrived)
    session = await scene.connect()
    closed = await link.closes("Replaced")
    await session.settled()
    return closed.reason


@check("the node dials again after a loss, at most a second apart", once=True)
async def dials_again(scene):
    await scene.start()
    arrived = await scene.listen()
    times = []
    for _ in range(9):
        link, _ = await dialed(arrived)
        times.append(asyncio.get_running_loop().time())
        link.leave("TryAgain")
    gaps = [later - sooner for sooner, later in zip(times, times[1:])]
    holds(all(gap < 2.5 for gap in gaps), f"gaps of {gaps}")
    holds(gaps[-1] > 0.4, f"the last gap was {gaps[-1]:.2f} s")
    return " ".join(f"{gap:.2f}" for gap in gaps) + " s apart"


@check("a node that leaves does not dial again", once=True)
async def leaves(scene):
    await scene.start()
    arrived = await scene.listen()
    session = session_of(scene, *await answered(scene, arrived))
    scene.node.say("leave")
    await session.hears("Draining")
    mark = await session.hears("Cast", function=0xFFFFFFFF)
    session.say("NoSuchFunction", call=mark.call)
    await session.closes("Shutdown")
    equal(await scene.node.hears("left"), "0", "jobs that had to be ended")
    holds(arrived.empty(), "the node dialed again")
