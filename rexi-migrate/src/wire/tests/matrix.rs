//! Each way in which a frame may fare otherwise than it must, in a codec that errs in this way alone: that is found,
//! and nothing else.

use rexi_proto::{DecodeError, EncodeError, Message, Mutants, WireVersion, emitted};

use super::super::matrix::{Codec, Matrix, matrix_of};
use crate::verdict::invariant::Invariant;

type Read = Result<Message, DecodeError>;
type Written = Result<Vec<u8>, EncodeError>;
type Heard = (u64, Option<Read>);

/// The codec of this build, except for what a test puts in its place.
struct Erring {
    decode: fn(WireVersion, &[u8], Read) -> Read,
    encode: fn(WireVersion, &Message, Written) -> Written,
    hear: fn(Heard) -> Heard,
}

const SOUND: Erring = Erring { decode: |_, _, read| read, encode: |_, _, written| written, hear: |heard| heard };

impl Codec for Erring {
    fn decode(&self, version: WireVersion, bytes: &[u8]) -> Read {
        (self.decode)(version, bytes, Mutants::default().decode(version, bytes))
    }

    fn encode(&self, version: WireVersion, message: &Message) -> Written {
        (self.encode)(version, message, Mutants::default().encode(version, message))
    }

    fn hear(&self, version: WireVersion, bytes: &[u8]) -> Heard {
        (self.hear)(Mutants::default().hear(version, bytes))
    }
}

fn tried(codec: &Erring) -> Matrix {
    matrix_of(codec, 2, 7).expect("the layouts can be told")
}

fn sound(version: WireVersion, bytes: &[u8]) -> Read {
    Mutants::default().decode(version, bytes)
}

/// What breaks, what is said of it, and the codec.
const WAYS: [(Invariant, &str, Erring); 10] = [
    // A frame that lacks its last byte is filled up.
    (
        Invariant::S8,
        "bytes are read as",
        Erring {
            decode: |version, bytes, read| read.or_else(|error| sound(version, &[bytes, &[0]].concat()).or(Err(error))),
            ..SOUND
        },
    ),
    // A byte behind the frame is ignored.
    (
        Invariant::S8,
        "with a byte behind it, it is read as",
        Erring {
            decode: |version, bytes, read| match read {
                Err(DecodeError::TrailingBytes { bytes: 1, .. }) => sound(version, &bytes[..bytes.len() - 1]),
                read => read,
            },
            ..SOUND
        },
    ),
    // What all have read is refused.
    (
        Invariant::S8,
        "was read by every release so far, and is refused",
        Erring {
            decode: |version, _, read| match read {
                Ok(Message::Ping(_)) => Err(DecodeError::UnknownKind { kind: 0, version }),
                read => read,
            },
            ..SOUND
        },
    ),
    (
        Invariant::S8,
        "cannot be written again",
        Erring {
            encode: |version, message, written| match (message.kind(), written) {
                (kind, Ok(_)) if emitted(kind, version) => Err(EncodeError::NotEmitted { kind, version }),
                (_, written) => written,
            },
            ..SOUND
        },
    ),
    (
        Invariant::S8,
        "is written again as",
        Erring {
            encode: |_, _, written| {
                written.map(|mut bytes| {
                    bytes.push(0);
                    bytes
                })
            },
            ..SOUND
        },
    ),
    // The bits of the version are not looked at.
    (
        Invariant::S8,
        "gives Ok",
        Erring {
            decode: |_, bytes, read| match (read, bytes) {
                (Err(DecodeError::OtherVersion { .. }), &[first, ..]) => sound(WireVersion((first >> 6).into()), bytes),
                (read, _) => read,
            },
            ..SOUND
        },
    ),
    (
        Invariant::S9,
        "which does not emit it",
        Erring { encode: |_, _, written| written.or_else(|_| Ok(Vec::new())), ..SOUND },
    ),
    // A kind that is unknown is taken for another error.
    (
        Invariant::S8,
        "is not in v",
        Erring {
            decode: |_, _, read| match read {
                Err(DecodeError::UnknownKind { kind, .. }) => Err(DecodeError::TrailingBytes { kind, bytes: 1 }),
                read => read,
            },
            ..SOUND
        },
    ),
    (Invariant::S10, "and not counted", Erring { hear: |(_, answer)| (0, answer), ..SOUND }),
    (Invariant::S10, "and answered with", Erring { hear: |(counted, _)| (counted, None), ..SOUND }),
];

#[test]
fn each_way_to_be_wrong_is_found_where_it_is_the_only_one() {
    for (breaks, what, codec) in WAYS {
        let found = tried(&codec);
        assert!(!found.wrong.is_empty(), "nobody finds a codec that errs: {what}");
        for wrong in &found.wrong {
            assert!(wrong.breaks == breaks && wrong.what.contains(what), "{what}: {wrong:?}");
        }
        assert!(found.cells.values().flat_map(|cells| cells.values()).any(|cell| cell.wrong > 0), "{found}");
    }
    assert!(tried(&SOUND).wrong.is_empty());
}
