//! The record: what is settled for a whole cluster, the same bytes on every member's disk.
//!
//! It says which releases may run, how far each migration may go, and who is a member. It moves by one
//! [`ClusterChange`] at a time, which an operator asks for and every member says yes to.
//!
//! ```text
//!   operator ── command ──► Driver (driver.rs) ── ask ──► Keeper (keeper.rs), one a member ── write ──► disk
//!                              ▲                            │                                 │
//!                              └───────── answer ───────────┴──────────── written ◄───────────┘
//! ```
//!
//! A yes binds at once: while it stands, the member runs no release below the floor that it has said yes to. A change
//! is decided once all have said yes; what one that has not has closed can be no more. So whoever comes after a crash
//! reads what the members keep, and the way on is determined.

mod change;
mod intent;
mod kept;
mod text;
mod ask;
mod keeper;
mod meet;
mod outcome;
mod seen;
mod step;
mod driver;
mod question;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::ask::{Answer, Facts, KeeperAsk, No};
pub use self::change::{ClusterChange, Illegal, Loss};
pub use self::driver::Driver;
pub use self::intent::{Intent, SeenLife};
pub use self::keeper::{Keeper, KeeperOutput};
pub use self::kept::{Bar, Brake, Fence, Kept};
pub use self::meet::{Apart, Meeting, RecordWord, Words};
pub use self::outcome::{CommandOutcome, OperatorCommand};
pub use self::question::{MemberAsk, Question, RECORD_SAID_BYTES_MAX, RecordReply};
pub use self::text::{KEPT_BYTES_MAX, KeptError};
use crate::function::Release;
use crate::migration::MigrationKey;
use crate::name::NodeName;
use crate::phase::Phase;

/// What is settled for a whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// The cluster's name, as in every hello.
    pub cluster: Arc<str>,
    /// What the cluster began with: two clusters of one name differ here.
    pub origin: Digest,
    /// How many changes there have been. The first is 1.
    pub epoch: u64,
    /// Which attempt at its epoch the change was.
    pub attempt: u64,
    /// The lowest release that may run.
    pub floor: Release,
    /// The highest: the floor itself, or the release after it.
    pub top: Release,
    /// How far each migration may go; one that is not named goes as far as its release allows.
    pub ceilings: BTreeMap<MigrationKey, Phase>,
    /// Who the members are.
    pub members: BTreeSet<NodeName>,
    /// Members that were forgotten, each with the epoch that forgot it: what it has kept from before is void.
    pub forgotten: BTreeMap<NodeName, u64>,
    /// The number of the last brake of each member that was lifted.
    pub lifted: BTreeMap<NodeName, u64>,
    /// The operator who asked for the last change.
    pub by: Arc<str>,
    /// When, in seconds since 1970, by the clock of who carried it. For people: the order is the epoch.
    pub at: u64,
    /// What has become it.
    pub intent: Digest,
    /// The digest of the record before; of nothing, in the first.
    pub previous: Digest,
}

impl ClusterRecord {
    /// What the record is known by: of all that it says.
    pub fn digest(&self) -> Digest {
        let mut text = String::new();
        self.render(&mut text);
        Digest::of(&text)
    }

    /// Whether it is void where a member has it that was forgotten at an epoch: it is from before, or of that epoch and
    /// another.
    pub fn is_void(&self, node: &NodeName, forgotten_at: u64) -> bool {
        let knows = self.forgotten.get(node) == Some(&forgotten_at);
        self.epoch < forgotten_at || self.epoch == forgotten_at && !knows
    }

    /// Whether a name is that of a member that was forgotten, and is none again.
    pub fn leaves_out(&self, node: &NodeName) -> bool {
        self.forgotten.contains_key(node) && !self.members.contains(node)
    }

    /// Whether a release may run by it.
    pub fn admits(&self, release: Release) -> bool {
        self.floor.is_patched_by(release) || self.top.is_patched_by(release)
    }
}

/// SHA-256 of a text, or of other bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of a text, or of other bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// One that was counted elsewhere.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads what [`Display`](fmt::Display) writes; `None` where the text is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 64 || !text.bytes().all(is_hex) {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// By its first bytes, as people tell digests apart.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether a text can name an operator: 1 to 64 bytes of a-z, 0-9, '-', '.' and '_'.
pub fn is_operator(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    (1..=OPERATOR_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_part)
}

/// Names, one after the other, for people.
fn named<'a>(nodes: impl IntoIterator<Item = &'a NodeName>) -> String {
    nodes.into_iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ")
}

/// Ceilings as they are given: the phase of each migration, with commas between.
pub(crate) fn ceilings_told(ceilings: &BTreeMap<MigrationKey, Phase>) -> String {
    ceilings.iter().map(|(key, phase)| format!("{key}={phase}")).collect::<Vec<_>>().join(",")
}

/// Bytes of an operator's name.
pub const OPERATOR_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests;
