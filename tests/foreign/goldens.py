"""The codec against the golden bytes of the core's own tests, which are read where they stand."""

import re

from codec import (
    ALL_64, KINDS, Malformed, Message, NotSent, decode, decode_hello, encode, encode_hello, shape,
)  # fmt: skip
from harness import ROOT, check, equal

GOLDEN_FILE = ROOT / "rexi-proto/tests/wire_golden/golden.rs"
SHAPES_FILE = ROOT / "rexi-server/src/typed/shape/tests.rs"
VERSIONS = 1, 2, 3


def table(name):
    """The texts of a constant of the file: a list, or a list of pairs where they come in two."""
    text = GOLDEN_FILE.read_text()
    body = re.search(rf"const {name}: .*?= &\[(.*?)\n\];", text, re.DOTALL)[1]
    return re.findall(r'"([^"]*)"', body)


def golden():
    texts = table("GOLDEN")
    return dict(zip(texts[::2], texts[1::2]))


def kebab(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def examples():
    """The messages that the golden bytes are of, without their servers."""
    bulk = {"id": 7, "bytes": 40_000}
    first = {"id": 0, "bytes": 33_000}
    trace = {"trace_id": 1 << 63 | 5, "span_id": 129, "flags": 1}
    cast = {"call": 1, "milliseconds_left": None, "nonce": 0, "trace": None, "function": 1, "bulk": None}
    full = {"call": 300, "milliseconds_left": 1_500, "nonce": ALL_64, "trace": trace, "function": 300, "bulk": bulk}
    call, calls = {"call": 300}, {"calls": [1, 300, ALL_64]}
    small, large = {"call": 300, "number": 2, "bulk": None}, {"call": 300, "number": 200, "bulk": first}
    yield "cast", "Cast", cast, b"hi"
    yield "cast-full", "Cast", full, None
    yield "kill", "Kill", call, None
    yield "kill-all", "KillAll", calls, None
    yield "reply", "Reply", {**small, "last": False}, b"yes"
    yield "reply-last", "Reply", {"call": 300, "number": 0, "last": True, "bulk": None}, b""
    yield "reply-bulk", "Reply", {**large, "last": True}, None
    yield "no-such-server", "NoSuchServer", call, None
    yield "no-such-function", "NoSuchFunction", call, None
    yield "ping", "Ping", call, None
    yield "monitor", "Monitor", {"monitor": 3}, None
    yield "demonitor", "Demonitor", {"monitor": 3}, None
    yield "resume", "Resume", calls, None
    yield "resume-empty", "Resume", {"calls": []}, None
    yield "draining", "Draining", {}, None
    yield "unsupported", "Unsupported", {"kind": 77}, None
    yield "stream-init", "StreamInit", call, None
    yield "item", "Item", small, b"row"
    yield "item-bulk", "Item", large, None
    yield "items", "Items", {"call": 300, "number": 2, "items": [b"row", b"", b"a row"]}, None
    yield "question", "Question", small, b"go?"
    yield "stream-start", "StreamStart", call, None
    yield "stream-cancel", "StreamCancel", call, None
    yield "ack", "Ack", {"call": 300, "items": 200}, None
    yield "response", "Response", small, b"go"
    yield "response-bulk", "Response", {"call": 300, "number": 2, "bulk": bulk}, None
    yield "sent", "Sent", {"call": 300, "replies": 200, "question": 199}, None
    texts = {"Failed": "no", "Panicked": "at 3", "WrongType": "no key"}
    for reason in KINDS["Exit"].header.fields["reason"].variants:
        said = (reason, texts[reason]) if reason in texts else reason
        yield f"exit-{kebab(reason)}", "Exit", {"call": 300, "replies": 2, "function": "f", "reason": said}, None
    for reason in KINDS["Down"].header.fields["reason"].variants:
        yield f"down-{kebab(reason)}", "Down", {"monitor": 3, "reason": reason}, None
    for phase in KINDS["Announce"].header.fields["phase"].variants:
        yield f"announce-{phase}", "Announce", {"migration": 0, "epoch": 2, "phase": phase}, None


def of_version(version):
    """Each example by the name that the file has for it."""
    for name, kind, fields, payload in examples():
        if KINDS[kind].addressed:
            for server in ("singleton", "per-node"):
                yield f"v{version} {name} {server}", Message(kind, fields, server, payload)
        else:
            yield f"v{version} {name}", Message(kind, fields, None, payload)


@check("every golden frame is written as it stands", once=True)
async def written(_):
    known, met = golden(), 0
    for version in VERSIONS:
        for name, message in of_version(version):
            try:
                frame = encode(version, message)
            except NotSent:
                equal(known.get(name), None, f"{name} is golden")
                continue
            equal(frame.hex(), known.get(name), name)
            met += 1
    equal(met, len(known), "golden frames met")
    return f"{met} frames"


@check("every golden frame is read, and none that is cut or longer", once=True)
async def read(_):
    for version in VERSIONS:
        messages = dict(of_version(version))
        for name, text in golden().items():
            if not name.startswith(f"v{version} "):
                continue
            frame, message = bytes.fromhex(text)[4:], messages[name]
            equal(encode(version, decode(version, frame)).hex(), text, name)
            header = len(frame) - len(message.payload or b"")
            damaged = [frame[:end] for end in range(header)]
            if message.payload is None:
                damaged.append(frame + b"\0")
            for bytes_of in damaged:
                refused(version, bytes_of, name)


def refused(version, frame, name):
    try:
        decode(version, frame)
    except Malformed:
        return
    raise AssertionError(f"{name}: {frame.hex()} was read")


@check("what a version lacks is refused as the core refuses it", once=True)
async def lacking(_):
    found = set()
    for version in VERSIONS:
        for name, message in of_version(version):
            try:
                encode(version, message)
            except NotSent as why:
                found.add(f"{name}: {why}")
    equal(found, set(table("REFUSED")), "refused")
    return f"{len(found)} messages"


@check("bytes that are longer than they need to be are refused", once=True)
async def needless(_):
    for version, text in [(1, "428500"), (1, "4c018500"), (1, "4c810005"), (2, "82800005"), (2, "820205"),
                          (2, "8100010002"), (2, "840100020000"), (2, "8501000017"), (2, "9801000400"),
                          (1, "42ffffffffffffffffff02")]:  # fmt: skip
        refused(version, bytes.fromhex(text), text)


def golden_hello():
    old, new = "rexi.server-per-node", "inventory.reads"
    switch = {"key": old, "phase": 2, "epoch": 3, "ceiling": 2, "takes": 3, "holdouts": ["n3"]}
    reads = {"key": new, "phase": 1, "epoch": 0, "ceiling": 1, "takes": 3, "holdouts": []}
    return {
        "magic": b"REXI",
        "cluster": "inventory",
        "node": "n1.example",
        "incarnation": 1_700_000_000_000_000,
        "last_met": 1_600_000_000_000_000,
        "release": "1.2.1",
        "stop": "1.2",
        "follows": "1.1",
        "wire_oldest": 2,
        "wire_newest": 2,
        "migrations": [switch, reads],
        "functions": ["get", "put"],
        "capabilities": 5,
        "frame_bytes_max": 1 << 20,
        "payload_bytes_max": 4 << 20,
        "extensions": [],
    }


@check("the golden hello is written and read as it stands", once=True)
async def hello(_):
    golden_bytes = bytes.fromhex("".join(table("HELLO")))
    equal(encode_hello(golden_hello()).hex(), golden_bytes.hex(), "the hello")
    equal(decode_hello(golden_bytes[4:]), golden_hello(), "the hello, read")
    later = {**golden_hello(), "extensions": [(9, b"\xff"), (200, b"\0")]}
    equal(decode_hello(encode_hello(later)[4:])["extensions"], later["extensions"], "extensions")


@check("the golden shapes of typed payloads are found", once=True)
async def shapes(_):
    text = re.search(r"const GOLDEN: .*?= \[(.*?)\];", SHAPES_FILE.read_text(), re.DOTALL)[1]
    known = [int(number.replace("_", ""), 16) for number in re.findall(r"0x[0-9a-f_]+", text)]
    u8, text, i32 = ("u8",), ("str",), ("i32",)
    values = [
        ("bool",),
        ("u32",),
        text,
        ("none",),
        ("some", u8),
        ("tuple", u8, text),
        ("seq", u8, u8),
        ("map", (text, ("u64",))),
        ("struct", "Point", ("x", i32), ("y", i32)),
        ("unit_variant", "Color", 0, "Red"),
        ("newtype_variant", "Color", 1, "Named", text),
        ("struct_variant", "Color", 2, "Mixed", ("red", u8), ("green", u8)),
    ]
    found = [int.from_bytes(shape(value), "little") for value in values]
    equal([f"{one:08x}" for one in found], [f"{one:08x}" for one in known], "shapes")
    return f"{len(found)} shapes"
