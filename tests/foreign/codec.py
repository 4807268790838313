"""Bytes to frames and back, as docs/wire.md has them; written from that page and from nothing else.

A layout is a value that can `write` and `read`. Reading takes the canonical form alone, as a node does.
"""

from dataclasses import dataclass, field


class Malformed(Exception):
    """Bytes that no node could have written."""


class NotSent(Exception):
    """A message that the version has no place for: "not emitted" or "no address"."""


class Reader:
    """Bytes that are read from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Malformed("it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def varint(self, bits):
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= bits:
                raise Malformed("a varint is too long")
        if value >> bits:
            raise Malformed("a varint is too large")
        if byte == 0 and shift > 7:
            raise Malformed("a varint has needless bytes")
        return value


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


class Uint:
    """u16 to u128: a varint."""

    def __init__(self, bits):
        self.bits = bits

    def write(self, value):
        assert 0 <= value < 1 << self.bits, f"{value} has more than {self.bits} bits"
        return varint(value)

    def read(self, reader):
        return reader.varint(self.bits)


class Byte:
    """u8."""

    def write(self, value):
        return bytes([value])

    def read(self, reader):
        return reader.take(1)[0]


class Bool:
    def write(self, value):
        return bytes([int(value)])

    def read(self, reader):
        byte = reader.take(1)[0]
        if byte > 1:
            raise Malformed(f"{byte} is no bool")
        return byte == 1


class Raw:
    """Bytes with their length before them."""

    def write(self, value):
        return varint(len(value)) + value

    def read(self, reader):
        return reader.take(reader.varint(64))


class Str(Raw):
    def write(self, value):
        return super().write(value.encode())

    def read(self, reader):
        try:
            return super().read(reader).decode()
        except UnicodeDecodeError as error:
            raise Malformed(str(error)) from error


class Magic:
    """Four bytes without a length."""

    def write(self, value):
        return value

    def read(self, reader):
        return reader.take(4)


class Opt:
    def __init__(self, of):
        self.of = of

    def write(self, value):
        return b"\0" if value is None else b"\1" + self.of.write(value)

    def read(self, reader):
        tag = reader.take(1)[0]
        if tag > 1:
            raise Malformed(f"{tag} is no option")
        return self.of.read(reader) if tag else None


class Seq:
    def __init__(self, of):
        self.of = of

    def write(self, values):
        return varint(len(values)) + b"".join(map(self.of.write, values))

    def read(self, reader):
        return [self.of.read(reader) for _ in range(reader.varint(64))]


class Struct:
    """Named fields, as a dict."""

    def __init__(self, **fields):
        self.fields = fields

    def write(self, values):
        assert set(values) == set(self.fields), f"{sorted(values)} instead of {sorted(self.fields)}"
        return b"".join(layout.write(values[name]) for name, layout in self.fields.items())

    def read(self, reader):
        return {name: layout.read(reader) for name, layout in self.fields.items()}


class Pair:
    """Two fields without names, as a tuple."""

    def __init__(self, first, second):
        self.parts = first, second

    def write(self, values):
        return b"".join(part.write(value) for part, value in zip(self.parts, values))

    def read(self, reader):
        return tuple(part.read(reader) for part in self.parts)


class Enum:
    """A variant's name, or a name and its text where it has one."""

    def __init__(self, *variants, texts=()):
        self.variants, self.texts = variants, texts

    def write(self, value):
        name, *text = (value,) if isinstance(value, str) else value
        return varint(self.variants.index(name)) + b"".join(map(Str().write, text))

    def read(self, reader):
        place = reader.varint(32)
        if place >= len(self.variants):
            raise Malformed(f"there is no variant {place}")
        name = self.variants[place]
        return (name, Str().read(reader)) if name in self.texts else name


U16, U32, U64, U128 = Uint(16), Uint(32), Uint(64), Uint(128)
BULK = Struct(id=U64, bytes=U32)
TRACE = Struct(trace_id=U128, span_id=U64, flags=Byte())
SERVER = Enum("singleton", "per-node")
PHASE = Enum("singleton", "introduce", "switch", "remove")
REASON = Enum(
    "Done", "Failed", "Panicked", "DuplicateRef", "TooManyJobs", "TimePassed", "Draining", "ConnectionLost",
    "ReplyDropped", "ReplyTooLarge", "Killed", "ServerEnded", "StreamTimeout", "InvalidStreamMessage",
    "MismatchedAck", "TooManyStreams", "TooManyBytes", "WrongType", "TooManyJobsInAll", "TooManyBytesInAll",
    "TooManyStreamsInAll", "ReplyDroppedInAll", "NotAllowed",
    texts=("Failed", "Panicked", "WrongType"),
)  # fmt: skip
DOWN_REASON = Enum("NoConnect", "NoServer", "NoConnection", "Restarted", "Shutdown", "TooManyMonitors")

CALL = Struct(call=U64)
CALLS = Struct(calls=Seq(U64))
MONITOR = Struct(monitor=U64)
NUMBERED = Struct(call=U64, number=U64, bulk=Opt(BULK))


@dataclass(frozen=True)
class Kind:
    number: int
    header: Struct
    addressed: bool = False
    accepted: int = 1
    emitted: int | None = 1
    retired: int | None = None

    def lives(self, since, version):
        return since is not None and version >= since and (self.retired is None or version < self.retired)


KINDS = {
    "Cast": Kind(
        1,
        Struct(
            call=U64,
            milliseconds_left=Opt(U32),
            nonce=U64,
            trace=Opt(TRACE),
            function=U32,
            bulk=Opt(BULK),
        ),
        addressed=True,
    ),
    "Kill": Kind(2, CALL, addressed=True),
    "KillAll": Kind(3, CALLS, addressed=True, accepted=2, emitted=2),
    "Reply": Kind(4, Struct(call=U64, number=U64, last=Bool(), bulk=Opt(BULK))),
    "Exit": Kind(5, Struct(call=U64, replies=U64, function=Str(), reason=REASON)),
    "NoSuchServer": Kind(6, CALL, addressed=True, accepted=2, emitted=2, retired=3),
    "NoSuchFunction": Kind(7, CALL),
    "Ping": Kind(8, CALL),
    "Monitor": Kind(9, MONITOR, addressed=True),
    "Demonitor": Kind(10, MONITOR, addressed=True),
    "Down": Kind(11, Struct(monitor=U64, reason=DOWN_REASON)),
    "Resume": Kind(12, CALLS, addressed=True),
    "Announce": Kind(13, Struct(migration=Byte(), epoch=U64, phase=PHASE)),
    "Draining": Kind(14, Struct()),
    "Unsupported": Kind(15, Struct(kind=Byte())),
    "StreamInit": Kind(16, CALL),
    "Item": Kind(17, NUMBERED),
    "Question": Kind(18, NUMBERED),
    "StreamStart": Kind(19, CALL, addressed=True),
    "StreamCancel": Kind(20, CALL, addressed=True),
    "Ack": Kind(21, Struct(call=U64, items=U64), addressed=True),
    "Response": Kind(22, NUMBERED, addressed=True),
    "Sent": Kind(23, Struct(call=U64, replies=U64, question=Opt(U64))),
    "TaggedReply": Kind(
        24,
        Struct(
            call=U64,
            number=U64,
            form=Enum("plain", "last", "item", "question"),
            bulk=Opt(BULK),
        ),
        emitted=None,
    ),
    "Items": Kind(25, Struct(call=U64, number=U64, items=Seq(Raw()))),
}
BY_NUMBER = {kind.number: name for name, kind in KINDS.items()}


@dataclass
class Message:
    """A message: its kind, its header's fields, the server that it is for, and the payload that stands in its frame."""

    kind: str
    fields: dict = field(default_factory=dict)
    server: str | None = None
    payload: bytes | None = None

    def __getattr__(self, name):
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None


def has_payload(kind, fields):
    return "bulk" in KINDS[kind].header.fields and fields["bulk"] is None


def framed(first, body):
    return (1 + len(body)).to_bytes(4, "little") + bytes([first]) + body


def encode(version, message, although_not_emitted=False):
    """The frame, with its length before it."""
    kind = KINDS[message.kind]
    if not kind.lives(kind.accepted if although_not_emitted else kind.emitted, version):
        raise NotSent("not emitted")
    body = b""
    if kind.addressed:
        if (version, message.server) in ((1, "per-node"), (3, "singleton")):
            raise NotSent("no address")
        body = SERVER.write(message.server) if version == 2 else b""
    body += kind.header.write(message.fields)
    if has_payload(message.kind, message.fields):
        body += message.payload or b""
    return framed(kind.number | (version & 3) << 6, body)


def decode(version, frame):
    """The message in a frame whose length was taken off."""
    if not frame:
        raise Malformed("it is empty")
    if frame[0] >> 6 != version & 3:
        raise Malformed(f"{frame[0]:#04x} is not of v{version}")
    name = BY_NUMBER.get(frame[0] & 0x3F)
    if name is None or not KINDS[name].lives(KINDS[name].accepted, version):
        raise Malformed(f"v{version} has no kind {frame[0] & 0x3F}")
    reader = Reader(frame[1:])
    message = Message(name)
    if KINDS[name].addressed:
        always = "singleton" if version == 1 else "per-node"
        message.server = SERVER.read(reader) if version == 2 else always
    message.fields = KINDS[name].header.read(reader)
    if has_payload(name, message.fields):
        message.payload = reader.rest()
    if reader.at < len(reader.data):
        raise Malformed(f"{name} has bytes behind it")
    return message


class Frames:
    """Cuts the bytes of a lane into frames."""

    def __init__(self):
        self.data = b""

    def feed(self, data):
        self.data += data
        while len(self.data) >= 4:
            end = 4 + int.from_bytes(self.data[:4], "little")
            if len(self.data) < end:
                return
            frame, self.data = self.data[4:end], self.data[end:]
            yield frame


STANDING = Struct(key=Str(), phase=Byte(), epoch=U64, ceiling=Byte(), takes=Byte(), holdouts=Seq(Str()))
HELLO = Struct(
    magic=Magic(),
    cluster=Str(),
    node=Str(),
    incarnation=U64,
    last_met=Opt(U64),
    release=Str(),
    stop=Str(),
    follows=Opt(Str()),
    wire_oldest=U16,
    wire_newest=U16,
    migrations=Seq(STANDING),
    functions=Seq(Str()),
    capabilities=U64,
    frame_bytes_max=U32,
    payload_bytes_max=U32,
    extensions=Seq(Pair(U16, Raw())),
)
WELCOME = framed(0, b"")


def encode_hello(hello):
    return framed(0, HELLO.write(hello))


def decode_hello(frame):
    if frame[:1] != b"\0":
        raise Malformed("it is no hello")
    reader = Reader(frame[1:])
    hello = HELLO.read(reader)
    if hello["magic"] != b"REXI" or reader.at < len(reader.data):
        raise Malformed("it is no hello of this protocol")
    return hello


# What a typed payload opens with: 64-bit FNV-1a of how the value is built.
TAGS = {
    name: number
    for number, name in enumerate(
        "bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes none some unit unit_struct newtype_struct "
        "seq tuple tuple_struct map struct unit_variant newtype_variant tuple_variant struct_variant".split(),
        start=1,
    )
}
ALL_64 = (1 << 64) - 1


class Fnv:
    def __init__(self, tag):
        self.value = 0xCBF29CE484222325
        self.bytes(bytes([TAGS[tag]]))

    def bytes(self, data):
        for byte in data:
            self.value = (self.value ^ byte) * 0x100000001B3 & ALL_64
        return self

    def number(self, number):
        return self.bytes(number.to_bytes(8, "little"))

    def name(self, name):
        return self.bytes(name.encode() + b"\xff")


def spread(value):
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & ALL_64
    value = (value ^ value >> 27) * 0x94D049BB133111EB & ALL_64
    return value ^ value >> 31


def hashed(value):
    """The hash of a value, which is told as a tuple: its tag, then the names and parts that the page's table has."""
    tag, *parts = value
    fnv = Fnv(tag)
    if tag in ("seq", "map"):
        elements = [hashed(part) if tag == "seq" else entry(part) for part in parts]
        return fnv.number(len(parts)).number(sum(map(spread, elements)) & ALL_64).value
    if tag.endswith("_variant"):
        name, index, variant, *parts = parts
        fnv.name(name).number(index).name(variant)
    elif tag in ("unit_struct", "newtype_struct", "tuple_struct", "struct"):
        name, *parts = parts
        fnv.name(name)
    if tag in ("some", "newtype_struct", "newtype_variant"):
        return fnv.number(hashed(parts[0])).value
    if tag in ("tuple", "tuple_struct", "tuple_variant", "struct", "struct_variant"):
        fnv.number(len(parts))
        for part in parts:
            name, part = part if tag in ("struct", "struct_variant") else ("", part)
            fnv.name(name).number(hashed(part))
    return fnv.value


def entry(pair):
    key, value = pair
    fnv = Fnv("map")
    fnv.value = hashed(key)
    return fnv.number(hashed(value)).value


def shape(value):
    """The four bytes before a typed payload."""
    whole = hashed(value)
    return ((whole ^ whole >> 32) & 0xFFFFFFFF).to_bytes(4, "little")
