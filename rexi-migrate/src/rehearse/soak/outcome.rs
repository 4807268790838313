//! What came of a soak, in figures: each fault, each kind of fault, the calm between them, what processes took.
//!
//! Nothing but data, for the report.

use serde::Serialize;

use super::fault::{Fault, FaultKind};
use super::usage::{LifeUsage, Trend};
use crate::verdict::conclusion::Conclusion;

/// One fault as it went. Times are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultRow {
    /// From 1.
    pub number: usize,
    /// What it was.
    pub kind: FaultKind,
    /// Who was concerned: a node, two, or all.
    pub whom: String,
    /// All of it in words.
    pub what: String,
    /// When it began.
    pub began_us: u64,
    /// When it was over; of a kill: when the node was started again.
    pub healed_us: Option<u64>,
    /// When all was well again, as far as the run waited for it.
    pub recovered_us: Option<u64>,
    /// Milliseconds from its end until every node was ready and connected with every other.
    pub ready_ms: Option<u64>,
    /// Milliseconds from its end until a job had answered on each way between those that it concerned.
    pub answered_ms: Option<u64>,
    /// Casts from its beginning until all was well again.
    pub casts: u64,
    /// Of these: casts whose caller was told that they were not served.
    pub told: u64,
    #[serde(skip)]
    pub(crate) fault: Fault,
}

impl FaultRow {
    pub(super) fn new(number: usize, fault: Fault, began_us: u64) -> Self {
        Self {
            number,
            kind: fault.kind,
            whom: fault.whom(),
            what: fault.to_string(),
            began_us,
            healed_us: None,
            recovered_us: None,
            ready_ms: None,
            answered_ms: None,
            casts: 0,
            told: 0,
            fault,
        }
    }
}

/// All faults of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindRow {
    /// The kind.
    pub kind: FaultKind,
    /// How many there were.
    pub times: usize,
    /// The longest, in milliseconds.
    pub longest_ms: u64,
    /// The longest time until all nodes were ready, in milliseconds.
    pub ready_ms_max: u64,
    /// The median of the times until calls were answered again, in milliseconds.
    pub answered_ms_median: u64,
    /// The longest of these.
    pub answered_ms_max: u64,
    /// Casts from the beginnings of these faults until all was well again.
    pub casts: u64,
    /// Of these: casts whose caller was told that they were not served.
    pub told: u64,
}

/// The time in which nothing was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calm {
    /// How long it was, in milliseconds.
    pub ms: u64,
    /// Casts made.
    pub casts: u64,
    /// Of these: casts whose caller was told that they were not served.
    pub told: u64,
}

impl Calm {
    /// Casts a second.
    pub fn rate(&self) -> u64 {
        self.casts.saturating_mul(1_000) / self.ms.max(1)
    }
}

/// What came of a soak.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SoakOutcome {
    /// How long it was to last, in seconds; a script has no such time.
    pub asked_s: u64,
    /// How long it lasted, its rests included, in milliseconds.
    pub lasted_ms: u64,
    /// In how many slices it was judged.
    pub slices: usize,
    /// How long the judge took for all of them, in milliseconds.
    pub judged_ms: u64,
    /// How long it took for one of them at most, in milliseconds.
    pub judged_ms_max: u64,
    /// How large the ledgers of a slice were at most, in bytes.
    pub ledger_bytes_max: u64,
    /// The most memory of the process that judges, in KiB.
    pub tool_rss_kib_max: u64,
    /// Datagrams that the relay passed on.
    pub datagrams_passed: u64,
    /// Datagrams that it lost, as it was to.
    pub datagrams_dropped: u64,
    /// The machine's highest load average, over a minute.
    pub load_average_max: f64,
    /// Within how long after a fault all had to be well, in milliseconds.
    pub recovery_ms_limit: u64,
    /// The faults, by kind.
    pub kinds: Vec<KindRow>,
    /// The calm in between.
    pub calm: Calm,
    /// How what the node takes that is never killed has changed, where that can be said.
    pub witness: Option<Trend>,
    /// What each process took.
    pub lives: Vec<LifeUsage>,
    /// Every fault, in order.
    pub faults: Vec<FaultRow>,
    /// Why the run proves less than it should, if so.
    pub doubts: Vec<String>,
}

impl SoakOutcome {
    /// What it means for the run, beside what the ledgers say.
    pub fn conclusion(&self) -> Conclusion {
        if self.doubts.is_empty() { Conclusion::Safe } else { Conclusion::CouldNotTell }
    }
}
