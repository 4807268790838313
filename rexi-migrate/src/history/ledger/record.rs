//! A record's 32 bytes, little-endian, format 1.
//!
//! `at_us` u64 · `kind` u8 · three small fields u8 · `node` u16 · `check` u16 · number of `call`, `monitor` or
//! `gather`, or a time u64 · u64: caller's `incarnation`, two sets of nodes, or one and a limit. A field that a kind
//! does not have is zero, and must be: a decoder that ignores bytes cannot tell damage. The check covers all other
//! bytes.

use std::fmt;

use rexi_proto::{Incarnation, Phase, ServerAddress};

use super::entry::{
    CallId, CallNumber, Content, Ending, Entry, GatherEnd, GatherForm, MonitorNumber, NodeIndex, NodeSet, Outcome,
    Record, Work,
};

/// The size of every record, in bytes.
pub const RECORD_BYTES: usize = 32;

/// What is wrong with a record that is there in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The check does not fit the bytes.
    Check,
    /// No record is of this kind.
    Kind(u8),
    /// A field has a code that is not defined.
    Code(u8),
    /// A field that this kind does not have is not zero.
    Spare,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check => f.write_str("its checksum does not match its bytes"),
            Self::Kind(kind) => write!(f, "{kind} is not a kind of record"),
            Self::Code(code) => write!(f, "a field has the undefined code {code}"),
            Self::Spare => f.write_str("a field that its kind does not have is not zero"),
        }
    }
}

impl Record {
    /// The record as it lies in a file.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let raw = Raw::from_entry(&self.entry);
        let mut bytes = [0; RECORD_BYTES];
        bytes[0..8].copy_from_slice(&self.at_us.to_le_bytes());
        bytes[8] = raw.kind;
        bytes[9..12].copy_from_slice(&raw.small);
        bytes[12..14].copy_from_slice(&raw.node.to_le_bytes());
        bytes[16..24].copy_from_slice(&raw.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&raw.second.to_le_bytes());
        Self::seal(&mut bytes);
        bytes
    }

    /// Puts the check that fits the bytes into its place among them.
    pub fn seal(bytes: &mut [u8; RECORD_BYTES]) {
        bytes[14..16].fill(0);
        let check = check(bytes);
        bytes[14..16].copy_from_slice(&check.to_le_bytes());
    }

    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Result<Self, Damage> {
        let mut unchecked = *bytes;
        unchecked[14..16].fill(0);
        if check(&unchecked).to_le_bytes() != bytes[14..16] {
            return Err(Damage::Check);
        }
        let raw = Raw {
            kind: bytes[8],
            small: [bytes[9], bytes[10], bytes[11]],
            node: u16::from_le_bytes([bytes[12], bytes[13]]),
            number: word(bytes, 2),
            second: word(bytes, 3),
        };
        let entry = raw.to_entry()?;
        if Raw::from_entry(&entry) == raw { Ok(Self { at_us: word(bytes, 0), entry }) } else { Err(Damage::Spare) }
    }
}

/// The fields of a record before they have a meaning.
#[derive(Default, PartialEq, Eq)]
struct Raw {
    kind: u8,
    small: [u8; 3],
    node: u16,
    number: u64,
    /// A caller's incarnation, or two halves: the lower one first.
    second: u64,
}

impl Raw {
    fn from_entry(entry: &Entry) -> Self {
        let of = |kind, small, node: NodeIndex, number| Self { kind, small, node: node.0, number, second: 0 };
        let job = |kind, small, id: &CallId| Self { second: id.incarnation.0, ..of(kind, small, id.caller, id.call.0) };
        const NOBODY: NodeIndex = NodeIndex(0);
        match *entry {
            Entry::Cast { call, to, work, phase } => of(CAST, [work.code(), phase_code(phase), 0], to, call.0),
            Entry::Answered { call, outcome } => of(ANSWERED, [outcome.code(), 0, 0], NOBODY, call.0),
            Entry::Killed { call, phase } => of(KILLED, [phase_code(phase), 0, 0], NOBODY, call.0),
            Entry::Started { id, server, work } => job(STARTED, [work.code(), server_code(server), 0], &id),
            Entry::Ended { id, how } => job(ENDED, [how.code(), 0, 0], &id),
            Entry::PhaseChanged { migration, phase } => of(PHASE_CHANGED, [phase_code(phase), migration, 0], NOBODY, 0),
            Entry::Quiet => of(QUIET, [0; 3], NOBODY, 0),
            Entry::Drained => of(DRAINED, [0; 3], NOBODY, 0),
            Entry::Monitored { monitor, on } => of(MONITORED, [0; 3], on, monitor.0),
            Entry::MonitorDown { monitor, reason } => of(MONITOR_DOWN, [reason, 0, 0], NOBODY, monitor.0),
            Entry::Demonitored { monitor } => of(DEMONITORED, [0; 3], NOBODY, monitor.0),
            Entry::StreamStarted { call, items, window } => {
                let [low, high] = items.to_le_bytes();
                of(STREAM_STARTED, [low, high, window], NOBODY, call.0)
            }
            Entry::StreamCancelled { call } => of(STREAM_CANCELLED, [0; 3], NOBODY, call.0),
            Entry::ItemSent { id, index } => {
                let [low, high] = index.to_le_bytes();
                job(ITEM_SENT, [low, high, 0], &id)
            }
            Entry::ItemReceived { call, index, content, kib } => {
                let [low, high] = index.to_le_bytes();
                of(ITEM_RECEIVED, [low, high, content.code()], NodeIndex(kib), call.0)
            }
            Entry::Asked { id, index } => job(ASKED, [index, 0, 0], &id),
            Entry::Responded { call, index, content } => of(RESPONDED, [index, content.code(), 0], NOBODY, call.0),
            Entry::ResponseHeard { id, index, content } => job(RESPONSE_HEARD, [index, content.code(), 0], &id),
            Entry::GatherBegun { gather, form, need, members, limit_ms } => {
                let second = halves(members.0, limit_ms);
                Self { second, ..of(GATHER_BEGUN, [form.code(), need, 0], NOBODY, gather.0) }
            }
            Entry::GatherEnded { gather, how, votes, wrong, odd } => {
                let (second, odd) = (halves(votes.0, wrong.0), odd.map_or(0, Outcome::code));
                Self { second, ..of(GATHER_ENDED, [how.code(), odd, 0], NOBODY, gather.0) }
            }
            Entry::Beat { waited_us } => of(BEAT, [0; 3], NOBODY, waited_us),
            Entry::Away { node } => of(AWAY, [0; 3], node, 0),
        }
    }

    fn to_entry(&self) -> Result<Entry, Damage> {
        let [a, b, c] = self.small;
        let (call, monitor) = (CallNumber(self.number), MonitorNumber(self.number));
        let node = NodeIndex(self.node);
        let id = CallId { caller: node, incarnation: Incarnation(self.second), call };
        let work = || Work::from_code(a).ok_or(Damage::Code(a));
        Ok(match self.kind {
            CAST => Entry::Cast { call, to: node, work: work()?, phase: phase_of(b)? },
            ANSWERED => Entry::Answered { call, outcome: Outcome::from_code(a).ok_or(Damage::Code(a))? },
            KILLED => Entry::Killed { call, phase: phase_of(a)? },
            STARTED => Entry::Started { id, server: server_of(b)?, work: work()? },
            ENDED => Entry::Ended { id, how: Ending::from_code(a).ok_or(Damage::Code(a))? },
            PHASE_CHANGED => Entry::PhaseChanged { migration: b, phase: phase_of(a)? },
            QUIET => Entry::Quiet,
            DRAINED => Entry::Drained,
            MONITORED => Entry::Monitored { monitor, on: node },
            MONITOR_DOWN => Entry::MonitorDown { monitor, reason: a },
            DEMONITORED => Entry::Demonitored { monitor },
            STREAM_STARTED => Entry::StreamStarted { call, items: u16::from_le_bytes([a, b]), window: c },
            STREAM_CANCELLED => Entry::StreamCancelled { call },
            ITEM_SENT => Entry::ItemSent { id, index: u16::from_le_bytes([a, b]) },
            ITEM_RECEIVED => {
                let (index, content) = (u16::from_le_bytes([a, b]), content_of(c)?);
                Entry::ItemReceived { call, index, content, kib: self.node }
            }
            ASKED => Entry::Asked { id, index: a },
            RESPONDED => Entry::Responded { call, index: a, content: content_of(b)? },
            RESPONSE_HEARD => Entry::ResponseHeard { id, index: a, content: content_of(b)? },
            GATHER_BEGUN => Entry::GatherBegun {
                gather: call,
                form: GatherForm::from_code(a).ok_or(Damage::Code(a))?,
                need: b,
                members: NodeSet(lower(self.second)),
                limit_ms: lower(self.second >> 32),
            },
            GATHER_ENDED => Entry::GatherEnded {
                gather: call,
                how: GatherEnd::from_code(a).ok_or(Damage::Code(a))?,
                votes: NodeSet(lower(self.second)),
                wrong: NodeSet(lower(self.second >> 32)),
                odd: if b == 0 { None } else { Some(Outcome::from_code(b).ok_or(Damage::Code(b))?) },
            },
            BEAT => Entry::Beat { waited_us: self.number },
            AWAY => Entry::Away { node },
            kind => return Err(Damage::Kind(kind)),
        })
    }
}

fn content_of(code: u8) -> Result<Content, Damage> {
    Content::from_code(code).ok_or(Damage::Code(code))
}

fn halves(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn lower(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Each step is a bijection, so two inputs that differ in one word differ before the fold to 16 bits.
pub(super) fn check(bytes: &[u8]) -> u16 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        state ^= state >> 32;
    }
    let [a, b, c, d, ..] = state.to_le_bytes();
    u16::from_le_bytes([a, b]) ^ u16::from_le_bytes([c, d])
}

fn word(bytes: &[u8; RECORD_BYTES], index: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
    u64::from_le_bytes(word)
}

const fn phase_code(phase: Phase) -> u8 {
    match phase {
        Phase::Singleton => 1,
        Phase::Introduce => 2,
        Phase::Switch => 3,
        Phase::Remove => 4,
    }
}

fn phase_of(code: u8) -> Result<Phase, Damage> {
    Phase::ALL.into_iter().find(|&phase| phase_code(phase) == code).ok_or(Damage::Code(code))
}

const fn server_code(server: ServerAddress) -> u8 {
    match server {
        ServerAddress::Singleton => 1,
        ServerAddress::PerNode => 2,
    }
}

fn server_of(code: u8) -> Result<ServerAddress, Damage> {
    [ServerAddress::Singleton, ServerAddress::PerNode]
        .into_iter()
        .find(|&server| server_code(server) == code)
        .ok_or(Damage::Code(code))
}

// Frozen: a kind is added with the next number, never changed.
const CAST: u8 = 1;
const ANSWERED: u8 = 2;
const KILLED: u8 = 3;
const STARTED: u8 = 4;
const ENDED: u8 = 5;
const PHASE_CHANGED: u8 = 6;
const QUIET: u8 = 7;
const DRAINED: u8 = 8;
const MONITORED: u8 = 9;
const MONITOR_DOWN: u8 = 10;
const DEMONITORED: u8 = 11;
const STREAM_STARTED: u8 = 12;
const STREAM_CANCELLED: u8 = 13;
const ITEM_SENT: u8 = 14;
const ITEM_RECEIVED: u8 = 15;
const ASKED: u8 = 16;
const RESPONDED: u8 = 17;
const RESPONSE_HEARD: u8 = 18;
const GATHER_BEGUN: u8 = 19;
const GATHER_ENDED: u8 = 20;
const BEAT: u8 = 21;
const AWAY: u8 = 22;
