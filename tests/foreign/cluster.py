"""The cluster that a check is played in: a real node in a process of its own, and us as its peer `py`."""

import asyncio
import socket
import subprocess
import time

from codec import WELCOME, decode_hello, encode_hello
from harness import MODES, ONCE, equal, holds, within
from link import FRAME_BYTES_MAX, PAYLOAD_BYTES_MAX, Certificates, Session, dial, listen
from verdict import RELEASES, speaks, standing

OWN = "py"
NAMES = [OWN, "other", "n1", "zz", "stranger"]
# What we take when the node casts to us.
FUNCTIONS = ["echo", "forever", "gap", "items", "question"]
MINUTE = 60_000_000


class Process:
    """A node's process, whose lines are kept until they are waited for."""

    def __init__(self, process, name):
        self.process, self.name = process, name
        self.lines, self.more, self.log = [], asyncio.Event(), []
        self.readers = [
            asyncio.ensure_future(self.read(process.stdout, self.note)),
            asyncio.ensure_future(self.read(process.stderr, self.log.append)),
        ]

    async def read(self, stream, note):
        while line := await stream.readline():
            note(line.decode().rstrip())

    def note(self, line):
        self.lines.append(line)
        self.more.set()

    def say(self, line):
        self.process.stdin.write(f"{line}\n".encode())

    async def hears(self, start):
        """The rest of the first line that begins so; that line is taken out."""

        async def found():
            while True:
                for line in self.lines:
                    if line.startswith(start):
                        self.lines.remove(line)
                        return line[len(start) :].strip()
                self.more.clear()
                await self.more.wait()

        try:
            return await within(f"{self.name} to say {start!r}", found())
        except AssertionError as error:
            raise AssertionError(f"{error}; it has said {self.lines}") from None

    async def status(self, **wanted):
        """Waits until the node's status is so, field by field."""
        until = time.monotonic() + 15
        while True:
            self.say("status")
            fields = dict(field.split("=") for field in (await self.hears("status")).split())
            if all(fields.get(name) == str(value) for name, value in wanted.items()):
                return fields
            holds(time.monotonic() < until, f"{self.name} has {fields} instead of {wanted}")
            await asyncio.sleep(0.02)

    async def end(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await asyncio.gather(*self.readers)


class Scene:
    program = None
    certificates = None

    @classmethod
    def prepare(cls, program, folder):
        subprocess.run([program, "certificates", folder, *NAMES], check=True, stderr=subprocess.DEVNULL)
        cls.program, cls.certificates = program, Certificates(folder)

    def __init__(self, check):
        self.mode = check.mode
        settings = {"node": "n1", "members": [OWN], **check.settings}
        self.node_name, self.members = settings["node"], settings["members"]
        node_release, self.release, self.version, self.server = MODES.get(check.mode, MODES["v3"])
        self.node_release = settings.get("release", node_release)
        self.node = None
        self.address = None
        self.opened = []
        self.sockets = {}
        # The life that we are in; a later one is this and more.
        self.life = time.time_ns() // 1_000

    async def start(self):
        """Starts the node, which knows us at an address at which nothing answers."""
        for name in self.members:
            self.sockets[name] = one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind(("127.0.0.1", 0))
            one.setblocking(False)
        peers = [f"{name}=127.0.0.1:{one.getsockname()[1]}" for name, one in self.sockets.items()]
        arguments = ["node", self.certificates.folder, self.node_name, self.node_release, *peers]
        process = await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.node = Process(process, self.node_name)
        host, port = (await self.node.hears("listens")).split(":")
        self.address = host, int(port)
        return self.node

    def hello(self, release=None, release_text=None, **changes):
        stop = RELEASES[release or self.release]
        return {
            "magic": b"REXI",
            "cluster": "tests",
            "node": OWN,
            "incarnation": self.life,
            "last_met": None,
            "release": release_text or f"{stop.number}.0",
            "stop": stop.number,
            "follows": stop.follows,
            "wire_oldest": stop.wire[0],
            "wire_newest": stop.wire[1],
            "migrations": [standing(stop)],
            "functions": FUNCTIONS,
            "capabilities": 0,
            "frame_bytes_max": FRAME_BYTES_MAX,
            "payload_bytes_max": PAYLOAD_BYTES_MAX,
            "extensions": [],
            **changes,
        }

    async def open(self, data=b"", certificate=OWN, server_name="n1"):
        """Dials the node and opens the lane with these bytes."""
        if self.node is None:
            await self.start()
        transport, link = await dial(self.certificates, certificate, self.address, server_name)
        self.opened.append(transport)
        names = self.certificates.names(link.peer_certificate)
        equal(names, [self.node_name], "the names in the node's certificate")
        if data:
            link.say(data)
        return link

    async def greet(self, certificate=OWN, **changes):
        """Dials and says hello: the link, our hello and the node's."""
        ours = self.hello(**changes)
        link = await self.open(encode_hello(ours), certificate)
        theirs = decode_hello(await link.frame("the node's hello"))
        equal(theirs["node"], self.node_name, "the hello's node")
        return link, ours, theirs

    async def connect(self, **changes):
        """Dials, does the handshake, and gives the session."""
        link, ours, theirs = await self.greet(**changes)
        return await self.agree(link, ours, theirs)

    async def agree(self, link, ours, theirs):
        """The welcome, from whoever is to say it, and what the two agree on."""
        if ours["node"] < theirs["node"]:
            link.say(WELCOME)
        else:
            equal(await link.frame("the welcome"), b"\0", "the welcome")
        version = speaks(ours, theirs)
        holds(isinstance(version, int), f"our verdict is {version}")
        if self.mode != ONCE:
            equal(version, self.version, "the wire version")
        server = "per-node" if ours["migrations"][0]["phase"] >= 2 else "singleton"
        return Session(link, version, server, ours, theirs)

    async def again(self, session, **changes):
        """Drops the session's connection and makes another one, in the same life."""
        session.link.drop()
        await self.node.status(**{OWN: "Away"})
        return await self.connect(**changes)

    async def listen(self, certificate=OWN):
        """Takes what the node dials, at the address that it knows us at."""
        transport, arrived = await listen(self.certificates, certificate, self.sockets[OWN])
        self.opened.append(transport)
        return arrived

    async def end(self):
        for transport in self.opened:
            transport.close()
        if self.node is not None:
            await self.node.end()
        for one in self.sockets.values():
            one.close()
        return "\n".join(self.node.log[-12:]) if self.node is not None else ""
