//! Every version reads every version's frames: golden ones and generated ones, through the real encoder and decoder.
//!
//! A frame names its version, so one of another version is refused, and one of the same is read as what it is and
//! written again as the same bytes. A frame that is cut short, or followed by a byte, is refused; so is a kind that the
//! version does not have. Nothing is ever read as another value.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rexi_proto::{
    DecodeError, EncodeError, FunctionTable, Incarnation, LENGTH_BYTES, Limits, Message, Mutants, Peer, PeerConfig,
    PeerId, Phase, Session, WIRE_VERSIONS, WireVersion, decode_by, emitted, encode_by,
};

use super::lock::{FrameLock, Lock, LockError};
use super::sample::carried;
use crate::columns::{table, wrapped};
use crate::verdict::invariant::Invariant;

#[path = "../../../rexi-proto/tests/wire_golden/golden.rs"]
#[expect(dead_code, reason = "the hellos of the list have no version and are no part of the matrix")]
mod golden;

/// What became of all frames.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    /// By the kind's name, then by the versions of writer and reader.
    pub cells: BTreeMap<String, BTreeMap<(u16, u16), Cell>>,
    /// Frames that fared otherwise than they must; the first 20.
    pub wrong: Vec<Wrong>,
}

/// What became of the frames of one kind between two versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Read as what they are.
    pub same: u64,
    /// Refused with a typed error, as they must be.
    pub refused: u64,
    /// Neither.
    pub wrong: u64,
}

/// A frame that fared otherwise than it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What that breaks.
    pub breaks: Invariant,
    /// What happened, in words.
    pub what: String,
}

/// Frames that are reported when they fare otherwise than they must.
const WRONG_MAX: usize = 20;

/// A frame, and where it comes from.
#[derive(Clone, Copy)]
struct Frame<'a> {
    layout: &'a FrameLock,
    bytes: &'a [u8],
    golden: bool,
}

/// Lets every version read `generated` frames of each kind of every version, and all golden ones, by a codec that may
/// be broken on purpose.
///
/// # Errors
/// [`LockError::NoSchema`].
pub fn matrix(generated: usize, seed: u64, mutants: Mutants) -> Result<Matrix, LockError> {
    matrix_of(&mutants, generated, seed)
}

pub(super) fn matrix_of(codec: &impl Codec, generated: usize, seed: u64) -> Result<Matrix, LockError> {
    let lock = Lock::of_this_build()?;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut trial = Trial { codec, matrix: Matrix::default() };
    for writer in WIRE_VERSIONS {
        for (&kind, layout) in &lock.versions[&writer.to_string()] {
            let drawn = (0..generated).map(|_| {
                let mut bytes = vec![first_byte(kind, writer)];
                bytes.extend(carried(&layout.layout, &mut rng).encode(&layout.layout));
                (bytes, false)
            });
            let golden = golden_frames(first_byte(kind, writer)).map(|bytes| (bytes, true));
            for (bytes, golden) in golden.chain(drawn) {
                for reader in WIRE_VERSIONS {
                    trial.read(Frame { layout, bytes: &bytes, golden }, (writer, reader));
                }
            }
        }
        trial.unknown_kinds(writer, &lock.versions[&writer.to_string()]);
    }
    Ok(trial.matrix)
}

/// What is under trial: what turns frames into messages and back, and a peer that receives a frame.
pub(super) trait Codec {
    fn decode(&self, version: WireVersion, bytes: &[u8]) -> Result<Message, DecodeError>;

    fn encode(&self, version: WireVersion, message: &Message) -> Result<Vec<u8>, EncodeError>;

    /// How often a connected peer has counted the frame as one that it does not know, and what it answers.
    fn hear(&self, version: WireVersion, bytes: &[u8]) -> (u64, Option<Result<Message, DecodeError>>);
}

/// The codec of this build, broken on purpose where a mutant says so.
impl Codec for Mutants {
    fn decode(&self, version: WireVersion, bytes: &[u8]) -> Result<Message, DecodeError> {
        decode_by(version, bytes, *self)
    }

    fn encode(&self, version: WireVersion, message: &Message) -> Result<Vec<u8>, EncodeError> {
        let mut out = BytesMut::new();
        encode_by(version, message, u32::MAX, &mut out, *self)?;
        Ok(out[LENGTH_BYTES..].to_vec())
    }

    fn hear(&self, version: WireVersion, bytes: &[u8]) -> (u64, Option<Result<Message, DecodeError>>) {
        let phase = if version == WireVersion::V1 { Phase::Singleton } else { Phase::Switch };
        let (limits, functions) = (Limits::default(), FunctionTable::default());
        let session = Session::with_twin(Incarnation(1), version, phase, functions.clone(), &limits);
        let config = PeerConfig { mutants: *self, ..PeerConfig::in_phase(phase, functions, limits) };
        let mut peer = Peer::<u32>::new(PeerId(1), config, Duration::ZERO);
        let connection = peer.handle_connected(Duration::ZERO, session);
        let length = u32::try_from(bytes.len()).expect("a frame of one byte or two");
        peer.handle_bytes(Duration::ZERO, connection, &[&length.to_le_bytes()[..], bytes].concat());
        let mut answer = BytesMut::new();
        peer.take_outgoing(Duration::ZERO, connection, &mut answer);
        let answered = answer.get(LENGTH_BYTES..).map(|frame| self.decode(version, frame));
        (peer.stats().unknown_frames, answered)
    }
}

/// All frames so far, and by which codec.
struct Trial<'a, C> {
    codec: &'a C,
    matrix: Matrix,
}

impl Matrix {
    /// Frames in all.
    pub fn frames(&self) -> u64 {
        self.sum(|cell| cell.same + cell.refused + cell.wrong)
    }

    /// Frames that were read as what they are.
    pub fn same(&self) -> u64 {
        self.sum(|cell| cell.same)
    }

    /// Frames that were refused as they must be.
    pub fn refused(&self) -> u64 {
        self.sum(|cell| cell.refused)
    }

    fn sum(&self, of: impl Fn(&Cell) -> u64) -> u64 {
        self.cells.values().flat_map(BTreeMap::values).map(of).sum()
    }
}

impl<C: Codec> Trial<'_, C> {
    fn read(&mut self, frame: Frame<'_>, (writer, reader): (WireVersion, WireVersion)) {
        let fared = if writer == reader { self.own(frame, reader) } else { self.foreign(frame, writer, reader) };
        self.note(&frame.layout.kind, (writer, reader), frame.bytes, fared);
    }

    /// A frame of the reader's own version: the same value, or a typed error where a field has no such value; and
    /// nothing but an error once a byte is missing or follows.
    fn own(&self, frame: Frame<'_>, version: WireVersion) -> Result<bool, Wrong> {
        let Frame { layout, bytes, golden } = frame;
        let payload = layout.layout.payload;
        for short in (0..bytes.len()).filter(|_| !payload) {
            if let Ok(read) = self.codec.decode(version, &bytes[..short]) {
                return Err(misread(format!("its first {short} bytes are read as {read:?}")));
            }
        }
        let longer = [bytes, &[0]].concat();
        if let (false, Ok(read)) = (payload, self.codec.decode(version, &longer)) {
            return Err(misread(format!("with a byte behind it, it is read as {read:?}")));
        }
        let message = match self.codec.decode(version, bytes) {
            Ok(message) => message,
            Err(error) if golden => {
                return Err(misread(format!("was read by every release so far, and is refused: {error}")));
            }
            Err(_) => return Ok(false),
        };
        if !emitted(message.kind(), version) {
            return Ok(true);
        }
        let again = self.codec.encode(version, &message);
        let again = again.map_err(|error| misread(format!("cannot be written again: {error}")))?;
        // What nobody emits is read as its emitted twin, and written so.
        let twin = message.kind() as u8 != bytes[0] & !VERSION_BITS;
        if twin || again == bytes { Ok(true) } else { Err(misread(format!("is written again as {again:02x?}"))) }
    }

    /// A frame of another version is refused for that; and what a version does not emit is not written in it.
    fn foreign(&self, frame: Frame<'_>, writer: WireVersion, reader: WireVersion) -> Result<bool, Wrong> {
        match self.codec.decode(reader, frame.bytes) {
            Err(DecodeError::OtherVersion { .. }) => {}
            other => return Err(misread(format!("gives {other:?}"))),
        }
        if let Ok(message) = self.codec.decode(writer, frame.bytes)
            && !emitted(message.kind(), reader)
            && self.codec.encode(reader, &message).is_ok()
        {
            let what = format!("is written in {reader}, which does not emit it");
            return Err(Wrong { breaks: Invariant::S9, what });
        }
        Ok(false)
    }

    /// Kinds that the version does not have, each with an empty body and with one byte.
    fn unknown_kinds(&mut self, version: WireVersion, known: &BTreeMap<u8, FrameLock>) {
        for kind in (0..KINDS).filter(|kind| !known.contains_key(kind)) {
            for bytes in [vec![first_byte(kind, version)], vec![first_byte(kind, version), 0]] {
                let fared = match self.codec.decode(version, &bytes) {
                    Err(DecodeError::UnknownKind { .. }) => self.heard(version, kind, &bytes).map(|()| false),
                    other => Err(misread(format!("kind {kind} is not in {version}, and gives {other:?}"))),
                };
                self.note("(not in the version)", (version, version), &bytes, fared);
            }
        }
    }

    /// Gives a connected peer a frame of a kind that it does not know: it is counted and answered.
    fn heard(&self, version: WireVersion, kind: u8, bytes: &[u8]) -> Result<(), Wrong> {
        let (counted, answered) = self.codec.hear(version, bytes);
        if counted != 1 {
            let what = format!("kind {kind} is unknown in {version}, and not counted");
            return Err(Wrong { breaks: Invariant::S10, what });
        }
        match answered {
            Some(Ok(Message::Unsupported(unknown))) if unknown == kind => Ok(()),
            other => {
                let what = format!("kind {kind} is unknown in {version}, and answered with {other:?}");
                Err(Wrong { breaks: Invariant::S10, what })
            }
        }
    }

    fn note(&mut self, kind: &str, (w, r): (WireVersion, WireVersion), bytes: &[u8], fared: Result<bool, Wrong>) {
        let cell = self.matrix.cells.entry(kind.to_owned()).or_default().entry((w.0, r.0)).or_default();
        match fared {
            Ok(true) => cell.same += 1,
            Ok(false) => cell.refused += 1,
            Err(Wrong { breaks, what }) => {
                cell.wrong += 1;
                if self.matrix.wrong.len() < WRONG_MAX {
                    let what = format!("{kind} of {w} read by {r}: {what}; bytes {bytes:02x?}");
                    self.matrix.wrong.push(Wrong { breaks, what });
                }
            }
        }
    }
}

/// Read as what it is not, or not at all.
fn misread(what: String) -> Wrong {
    Wrong { breaks: Invariant::S8, what }
}

fn golden_frames(first: u8) -> impl Iterator<Item = Vec<u8>> {
    let bytes = |hex: &str| -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("golden bytes are hex digits");
        (2 * LENGTH_BYTES..hex.len()).step_by(2).map(byte).collect()
    };
    golden::GOLDEN.iter().map(move |(_, hex)| bytes(hex)).filter(move |frame| frame.first() == Some(&first))
}

fn first_byte(kind: u8, version: WireVersion) -> u8 {
    kind | (version.0 << 6).to_le_bytes()[0]
}

/// The bits of a frame's first byte that name its version; the others are its kind.
const VERSION_BITS: u8 = 0b1100_0000;

/// Kinds that six bits can name.
const KINDS: u8 = 64;

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A table for each version that writes, since one for all pairs is too wide.
        for writer in WIRE_VERSIONS.iter().map(|version| version.0) {
            let readers = || WIRE_VERSIONS.iter().map(|version| version.0);
            let heads = readers().map(|reader| format!("v{writer} > v{reader}"));
            let mut table = table(std::iter::once("kind".to_owned()).chain(heads));
            for (kind, cells) in &self.cells {
                let cell = |reader| cells.get(&(writer, reader)).map_or_else(String::new, Cell::to_string);
                let row: Vec<String> = readers().map(cell).collect();
                if row.iter().any(|cell| !cell.is_empty()) {
                    table.add_row(std::iter::once(kind.clone()).chain(row));
                }
            }
            writeln!(f, "{table}")?;
        }
        self.wrong
            .iter()
            .try_for_each(|wrong| writeln!(f, "{}", wrapped("", "  ", &format!("WRONG: {}", wrong.what))))?;
        let wrong = self.sum(|cell| cell.wrong);
        write!(
            f,
            "{} frames: {} read as they are, {} refused, {wrong} wrong",
            self.frames(),
            self.same(),
            self.refused()
        )
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.same, "same"), (self.refused, "refused"), (self.wrong, "WRONG")];
        let parts: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        f.write_str(&parts.join(", "))
    }
}
