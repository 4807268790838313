"""One QUIC connection as docs/wire.md has it: the ordered lane in frames, and payloads on streams of their own."""

import asyncio
import ssl
from dataclasses import dataclass

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography import x509

from codec import Frames, Message, decode, encode
from harness import equal, holds, within

ALPN = "rexi/1"
CLOSE_CODES = {
    0x100: "Shutdown",
    0x101: "Refused",
    0x102: "BadHandshake",
    0x103: "BadFrame",
    0x104: "Replaced",
    0x105: "NotTrusted",
    0x106: "TooSlow",
    0x107: "TryAgain",
    0x108: "ProtocolBroken",
}
# What a node may say when it connects, whatever else is going on.
ASIDE = "Announce", "Resume"
# How long nothing must come where nothing is to come.
QUIET = 0.25
# What a node has by default, and what our hellos say.
INLINE_BYTES_MAX = 32 << 10
PAYLOAD_BYTES_MAX = 4 << 20
FRAME_BYTES_MAX = 1 << 20


@dataclass
class Closed:
    """How the other side, or we, closed a connection."""

    code: str
    reason: str
    at: float


@dataclass
class Certificates:
    """Where the authority's certificate is, and those of the nodes that it has issued."""

    folder: object

    def configuration(self, name, is_client, server_name=None):
        configuration = QuicConfiguration(
            alpn_protocols=[ALPN],
            idle_timeout=8,
            is_client=is_client,
            max_data=5 * (128 << 10),
            max_stream_data=128 << 10,
            server_name=server_name,
            verify_mode=ssl.CERT_NONE,
        )
        configuration.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return configuration

    def names(self, certificate):
        """The DNS names that the authority vouches for. Raises where it has not signed the certificate."""
        authority = x509.load_pem_x509_certificate((self.folder / "ca.pem").read_bytes())
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return names.value.get_values_for_type(x509.DNSName)


class Link(QuicConnectionProtocol):
    def __init__(self, quic, stream_handler=None):
        super().__init__(quic, stream_handler)
        self.frames = asyncio.Queue()
        self.cutter = Frames()
        self.bulks = {}
        self.arriving = {}
        self.lane = 0
        self.lane_ended = self._loop.create_future()
        self.closed = self._loop.create_future()
        self.reset_streams = {}
        self.datagrams = 0
        self.muted = False
        self.next_bulk = 0

    def datagram_received(self, data, addr):
        if self.muted:
            return
        self.datagrams += 1
        super().datagram_received(data, addr)
        self.note_close()

    def transmit(self):
        # A scene that has ended has closed its sockets, whatever timers there are.
        if self.muted or self._transport.is_closing():
            self._transmit_task = None
        else:
            super().transmit()

    def note_close(self):
        # aioquic tells of a close once it has drained, which is too late to see when it came.
        event = self._quic._close_event
        if event is not None and not self.closed.done():
            code = CLOSE_CODES.get(event.error_code, hex(event.error_code))
            self.closed.set_result(Closed(code, event.reason_phrase, self._loop.time()))

    def quic_event_received(self, event):
        if isinstance(event, events.StreamDataReceived):
            if event.stream_id & 2:
                self.take_bulk(event)
            else:
                for frame in self.cutter.feed(event.data):
                    self.frames.put_nowait(frame)
                if event.end_stream and not self.lane_ended.done():
                    self.lane_ended.set_result(self._loop.time())
        elif isinstance(event, events.StreamReset):
            self.reset_streams[event.stream_id] = event.error_code
        elif isinstance(event, events.ConnectionTerminated):
            self.note_close()

    def take_bulk(self, event):
        data = self.arriving[event.stream_id] = self.arriving.get(event.stream_id, b"") + event.data
        if event.end_stream:
            number, body = int.from_bytes(self.arriving.pop(event.stream_id)[:8], "little"), data[8:]
            self.bulk(number).set_result(body)

    def bulk(self, number):
        if number not in self.bulks:
            self.bulks[number] = self._loop.create_future()
        return self.bulks[number]

    def say(self, data, end=False):
        self._quic.send_stream_data(self.lane, data, end_stream=end)
        self.transmit()

    def open_bulk(self, data, end=True):
        """Opens a stream beside the lane with these bytes. Gives its number, for more of them."""
        stream = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self.go_on(stream, data, end)
        return stream

    def go_on(self, stream, data, end=True):
        self._quic.send_stream_data(stream, data, end_stream=end)
        self.transmit()

    def reset(self, stream, code=7):
        self._quic.reset_stream(stream, code)
        self.transmit()

    def refuse_lane(self, code=7):
        self._quic.stop_stream(self.lane, code)
        self.transmit()

    async def frame(self, what="a frame"):
        """The next frame; fails where the connection ends instead."""
        next_frame = asyncio.ensure_future(self.frames.get())
        await within(what, asyncio.wait({next_frame, self.closed}, return_when=asyncio.FIRST_COMPLETED))
        if next_frame.done():
            return next_frame.result()
        next_frame.cancel()
        raise AssertionError(f"{self.closed.result()} came instead of {what}")

    async def closes(self, code):
        """Waits until the connection is closed with that code, and gives the close."""
        closed = await within(f"the close as {code}", asyncio.shield(self.closed))
        equal(closed.code, code, f"the close, {closed.reason!r},")
        return closed

    def leave(self, code, reason=""):
        number = {name: number for number, name in CLOSE_CODES.items()}[code]
        self.close(number, reason)
        self.note_close()

    def drop(self):
        """Ends the connection so that the other side sees it at once, and does not take it for more than that."""
        self.leave("Replaced", "dropped")

    @property
    def peer_certificate(self):
        return self._quic.tls._peer_certificate


async def dial(certificates, own, address, server_name=None):
    """Connects as far as TLS goes, from a port of its own."""
    configuration = certificates.configuration(own, True, server_name)
    loop = asyncio.get_running_loop()
    quic = QuicConnection(configuration=configuration)
    transport, link = await loop.create_datagram_endpoint(lambda: Link(quic), local_addr=("127.0.0.1", 0))
    link.connect(address)
    connected = asyncio.ensure_future(link.wait_connected())
    try:
        await within("TLS", connected)
    except ConnectionError as error:
        link.note_close()
        raise AssertionError(f"no connection: {quic._close_event}") from error
    return transport, link


async def listen(certificates, own, socket):
    """Takes connections at that socket: the transport, and a queue of links."""
    arrived = asyncio.Queue()

    def create(quic, stream_handler=None):
        # aioquic leaves out the question for the other side's certificate, but for its own tests.
        begin = quic._initialize

        def initialize(*arguments):
            begin(*arguments)
            quic.tls._request_client_certificate = True

        quic._initialize = initialize
        link = Link(quic)
        arrived.put_nowait(link)
        return link

    configuration = certificates.configuration(own, False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: QuicServer(configuration=configuration, create_protocol=create), sock=socket
    )
    return transport, arrived


class Session:
    """A link after its handshake: messages in the version that both have, to the server that casts go to."""

    def __init__(self, link, version, server, ours, theirs):
        self.link, self.version, self.server = link, version, server
        self.ours, self.theirs = ours, theirs
        self.functions = {name: number for number, name in enumerate(theirs["functions"])}
        self.aside, self.items = [], []
        self.echoes = 1_000_000

    def say(self, kind, payload=None, /, although_not_emitted=False, **fields):
        self.link.say(self.bytes_of(kind, payload, although_not_emitted, **fields))

    def bytes_of(self, kind, payload=None, /, although_not_emitted=False, server=None, **fields):
        message = Message(kind, fields, server or self.server, payload)
        return encode(self.version, message, although_not_emitted)

    def cast_bytes(self, call, function, payload=b"", **fields):
        number = self.functions[function] if isinstance(function, str) else function
        others = {"milliseconds_left": None, "nonce": 0, "trace": None, "bulk": None, **fields}
        return self.bytes_of("Cast", payload, call=call, function=number, **others)

    def cast(self, call, function, payload=b"", **fields):
        self.link.say(self.cast_bytes(call, function, payload, **fields))

    def cast_bulk(self, call, function, payload):
        """Casts with a payload beside the lane."""
        bulk = self.next_bulk(len(payload))
        self.cast(call, function, bulk=bulk)
        self.link.open_bulk(bulk["id"].to_bytes(8, "little") + payload)

    def next_bulk(self, length):
        self.link.next_bulk += 1
        return {"id": self.link.next_bulk - 1, "bytes": length}

    async def recv(self, what="a message", aside=ASIDE):
        """The next message that is not put aside: what a node says by itself when it connects. Items of one frame are
        as many messages."""
        while True:
            if self.items:
                return self.items.pop(0)
            message = decode(self.version, await self.link.frame(what))
            if message.kind == "Items":
                for number, item in enumerate(message.items, message.number):
                    fields = {"call": message.call, "number": number, "bulk": None}
                    self.items.append(Message("Item", fields, None, item))
                continue
            if message.kind not in aside:
                return message
            self.aside.append(message)

    async def hears(self, kind, payload=None, /, **fields):
        """The next message, which is to be this one; of its fields, those that are given."""
        what = f"{kind} {fields}"
        message = await self.recv(what, [other for other in ASIDE if other != kind])
        found = {name: message.fields.get(name) for name in fields}
        if (message.kind, found) != (kind, fields) or payload is not None and message.payload != payload:
            raise AssertionError(f"{message} instead of {what} with {payload!r}")
        return message

    async def payload_of(self, message):
        """What a message carries, in its frame or beside it."""
        if message.bulk is None:
            return message.payload
        body = await within("the payload", asyncio.shield(self.link.bulk(message.bulk["id"])))
        equal(len(body), message.bulk["bytes"], "the payload's length")
        return body

    async def last(self, call, payload, number=0):
        """The next message is the last reply to that call."""
        return await self.hears("Reply", payload, call=call, number=number, last=True, bulk=None)

    async def exits(self, call, reason, function, replies=0):
        return await self.hears("Exit", call=call, reason=reason, function=function, replies=replies)

    async def settled(self):
        """Once this returns, the node has read all that was said, and nothing else has come of it."""
        self.echoes += 1
        self.cast(self.echoes, "echo", b"read?")
        await self.last(self.echoes, b"read?")

    async def quiet(self, seconds=QUIET):
        """Nothing comes for a while."""
        await asyncio.sleep(seconds)
        self.nothing_came()
        holds(not self.link.closed.done(), "the connection was closed")

    def nothing_came(self):
        while not self.link.frames.empty():
            message = decode(self.version, self.link.frames.get_nowait())
            holds(message.kind in ASIDE, f"{message} came where nothing was to come")
            self.aside.append(message)

    def announced(self):
        return [message.fields for message in self.aside if message.kind == "Announce"]

    async def closes(self, code):
        return await self.link.closes(code)
