//! A hello as one frame, and back.

use bytes::BytesMut;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{Hello, Standing};
use crate::compat::Kind;
use crate::error::DecodeError;
use crate::function::Release;
use crate::limits::HELLO_BYTES_MAX;
use crate::migration::{Forms, MIGRATIONS_MAX, MigrationKey, SERVER_PER_NODE};
use crate::name::{Incarnation, NodeName};
use crate::phase::Phase;
use crate::record::RecordWord;
#[cfg(feature = "schema")]
use crate::record::Words;
use crate::table::FunctionTable;
use crate::train::{RELEASE_BYTES_MAX, TRAIN_NAME_BYTES_MAX, Train};
use crate::version::{VersionRange, WireVersion};
use crate::wire::{FrameReader, FrameWriter};

impl Hello {
    /// Appends the hello to `out` as one frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let (release, stop) = (self.release.to_string(), self.stop.to_string());
        let follows = self.follows.map(|follows| follows.to_string());
        let named = |standing: &Standing| standing.holdouts.len().min(HOLDOUTS_MAX);
        let record = self.record_extension();
        let extensions = record.iter().map(|bytes| (RECORD_EXTENSION, &bytes[..])).collect();
        let layout = Layout {
            release: &release,
            stop: &stop,
            follows: follows.as_deref(),
            extensions,
            ..self.layout(|standing| standing.holdouts[..named(standing)].iter().map(NodeName::as_str).collect())
        };
        let start = out.len();
        let mut frame = FrameWriter::open(out, Kind::Hello as u8, HELLO_BYTES_MAX);
        frame.header(&layout);
        frame.close(start).expect("all names are bounded, so a hello is");
    }

    /// All but the release's texts and the extensions.
    pub(super) fn layout<'a>(&'a self, holdouts: impl Fn(&'a Standing) -> Vec<&'a str>) -> Layout<'a> {
        let standing = |standing: &'a Standing| StandingLayout {
            key: standing.key.as_str(),
            phase: standing.phase as u8,
            epoch: standing.epoch,
            ceiling: standing.ceiling as u8,
            takes: standing.takes.bits(),
            holdouts: holdouts(standing),
        };
        Layout {
            magic: MAGIC,
            cluster: &self.cluster,
            node: self.node.as_str(),
            incarnation: self.incarnation.0,
            last_met: self.last_met.map(|life| life.0),
            release: "",
            stop: "",
            follows: None,
            wire_oldest: self.wire.oldest.0,
            wire_newest: self.wire.newest.0,
            migrations: self.migrations.iter().map(standing).collect(),
            functions: self.functions.names().collect(),
            capabilities: self.capabilities,
            frame_bytes_max: self.frame_bytes_max,
            payload_bytes_max: self.payload_bytes_max,
            extensions: Vec::new(),
        }
    }

    /// What the extension of the record holds: nothing where the node has none yet; `None` where it keeps none.
    fn record_extension(&self) -> Option<Vec<u8>> {
        match &self.record {
            RecordWord::Unkept => None,
            RecordWord::Awaited => Some(Vec::new()),
            RecordWord::Known(words) => Some(postcard::to_allocvec(words).expect("a vector takes what is written")),
        }
    }

    /// Reads a hello out of the first frame of a connection, its length prefix taken off.
    ///
    /// # Errors
    /// [`DecodeError`] where the frame is not a canonical hello, or describes a node that cannot be.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let (&first, body) = frame.split_first().ok_or_else(|| malformed("it is empty"))?;
        if first != Kind::Hello as u8 || !body.starts_with(&MAGIC) {
            return Err(malformed("it does not open with rexi's magic, so the peer speaks another protocol"));
        }
        let layout: Layout<'_> = FrameReader::new(Kind::Hello, body).only()?;
        if !Train::is_name(layout.cluster) {
            let bytes = layout.cluster.len();
            return Err(malformed(format!(
                "its cluster's name, of {bytes} bytes, is none (1 to {TRAIN_NAME_BYTES_MAX} plain bytes)"
            )));
        }
        let stop = |text: &str| {
            let release = text.parse::<Release>().ok().filter(|release| release.to_string() == text);
            release.ok_or_else(|| malformed(format!("{text:?} is not a release as a train names it, such as 1.1")))
        };
        let hello = Self {
            cluster: layout.cluster.into(),
            node: name(layout.node)?,
            incarnation: Incarnation(layout.incarnation),
            last_met: layout.last_met.map(Incarnation),
            release: release(layout.release)?,
            stop: stop(layout.stop)?,
            follows: layout.follows.map(stop).transpose()?,
            wire: VersionRange::new(WireVersion(layout.wire_oldest), WireVersion(layout.wire_newest)),
            migrations: layout.migrations.into_iter().map(Standing::read).collect::<Result<_, _>>()?,
            functions: functions(&layout.functions)?,
            record: record(&layout.extensions)?,
            capabilities: layout.capabilities,
            frame_bytes_max: layout.frame_bytes_max,
            payload_bytes_max: layout.payload_bytes_max,
        };
        hello.check_bounds()?;
        Ok(hello)
    }

    fn check_bounds(&self) -> Result<(), DecodeError> {
        if !self.wire.is_valid() {
            return out_of_bounds("oldest wire version", self.wire.oldest.0.into(), "1 up to the newest");
        }
        if self.frame_bytes_max < FRAME_BYTES_MAX_LEAST {
            return out_of_bounds("frame_bytes_max", self.frame_bytes_max.into(), "at least 1024");
        }
        if self.migrations.len() > MIGRATIONS_MAX {
            return out_of_bounds("number of migrations", self.migrations.len() as u64, "at most 16");
        }
        if self.migrations.first().is_none_or(|standing| standing.key != *SERVER_PER_NODE.key()) {
            return Err(malformed("its first migration is not rexi's own"));
        }
        for (place, standing) in self.migrations.iter().enumerate() {
            if self.migrations[..place].iter().any(|other| other.key == standing.key) {
                return Err(malformed(format!("it names the migration {} twice", standing.key)));
            }
            if standing.holdouts.len() > HOLDOUTS_MAX {
                return out_of_bounds("number of holdouts", standing.holdouts.len() as u64, "at most 4");
            }
            if !standing.takes.contains(standing.phase.says()) {
                return out_of_bounds("phase", standing.phase as u64, "one that says a form that the node takes");
            }
        }
        Ok(())
    }
}

impl Standing {
    fn read(layout: StandingLayout<'_>) -> Result<Self, DecodeError> {
        let phase = |code: u8| {
            let known = Phase::ALL.get(usize::from(code)).copied();
            known.ok_or_else(|| malformed(format!("{code} is not a phase")))
        };
        Ok(Self {
            key: MigrationKey::new(layout.key).map_err(|e| malformed(e.to_string()))?,
            phase: phase(layout.phase)?,
            epoch: layout.epoch,
            ceiling: phase(layout.ceiling)?,
            takes: Forms::from_bits(layout.takes).ok_or_else(|| malformed("unknown forms"))?,
            holdouts: layout.holdouts.into_iter().map(name).collect::<Result<_, _>>()?,
        })
    }
}

fn name(name: &str) -> Result<NodeName, DecodeError> {
    NodeName::new(name).map_err(|e| malformed(e.to_string()))
}

/// A release, in no more bytes than a train's may have.
fn release(text: &str) -> Result<Version, DecodeError> {
    if text.len() > RELEASE_BYTES_MAX {
        return out_of_bounds("bytes of the release", text.len() as u64, "at most 255");
    }
    text.parse().map_err(|e: semver::Error| malformed(format!("release: {e}")))
}

fn functions(names: &[&str]) -> Result<FunctionTable, DecodeError> {
    if !FunctionTable::is_ordered(names) {
        return Err(malformed("its functions are not in the order of their names, each once"));
    }
    FunctionTable::new(names.iter().copied()).map_err(|e| malformed(e.to_string()))
}

fn record(extensions: &[(u16, &[u8])]) -> Result<RecordWord, DecodeError> {
    let mut of_record = extensions.iter().filter(|(id, _)| *id == RECORD_EXTENSION).map(|(_, bytes)| *bytes);
    match (of_record.next(), of_record.next()) {
        (None, _) => Ok(RecordWord::Unkept),
        (_, Some(_)) => Err(malformed("it speaks of the record twice")),
        (Some([]), None) => Ok(RecordWord::Awaited),
        (Some(bytes), None) => FrameReader::new(Kind::Hello, bytes).only_with_maps().map(RecordWord::Known),
    }
}

fn malformed(reason: impl Into<String>) -> DecodeError {
    DecodeError::Malformed { kind: Kind::Hello as u8, reason: reason.into() }
}

fn out_of_bounds<T>(field: &'static str, value: u64, allowed: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::OutOfBounds { kind: Kind::Hello as u8, field, value, allowed })
}

/// Shows the layout of a hello, and behind it that of its word of the record.
#[cfg(feature = "schema")]
pub(crate) fn show(visitor: &mut impl crate::schema::LayoutVisitor) {
    visitor.header::<Layout<'_>>(Kind::Hello);
    visitor.header::<Words>(Kind::Hello);
}

/// What a node says of its cluster's record, among the extensions.
const RECORD_EXTENSION: u16 = 1;

/// Opens every hello, so that a stranger's bytes are named as such.
const MAGIC: [u8; 4] = *b"REXI";

/// Names that a hello may list for a migration, so that it stays below its own bound. Two would do for the verdict: one
/// that is not the peer's own.
const HOLDOUTS_MAX: usize = 4;

/// Below this no peer could even answer.
const FRAME_BYTES_MAX_LEAST: u32 = 1_024;

/// New fields go into `extensions` as (id, bytes).
#[derive(Serialize, Deserialize)]
pub(super) struct Layout<'a> {
    magic: [u8; 4],
    cluster: &'a str,
    node: &'a str,
    incarnation: u64,
    last_met: Option<u64>,
    pub(super) release: &'a str,
    pub(super) stop: &'a str,
    pub(super) follows: Option<&'a str>,
    wire_oldest: u16,
    wire_newest: u16,
    #[serde(borrow)]
    migrations: Vec<StandingLayout<'a>>,
    #[serde(borrow)]
    pub(super) functions: Vec<&'a str>,
    capabilities: u64,
    frame_bytes_max: u32,
    payload_bytes_max: u32,
    #[serde(borrow)]
    pub(super) extensions: Vec<(u16, &'a [u8])>,
}

#[derive(Serialize, Deserialize)]
struct StandingLayout<'a> {
    key: &'a str,
    phase: u8,
    epoch: u64,
    ceiling: u8,
    takes: u8,
    #[serde(borrow)]
    holdouts: Vec<&'a str>,
}
