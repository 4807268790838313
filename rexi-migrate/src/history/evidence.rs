//! What a judgement rests on: the ledger of every process and how it ended, the steps, and the cases to be met.

use std::collections::BTreeMap;
use std::time::Duration;

use rexi_proto::Release;
use serde::Serialize;

use crate::history::ledger::{LedgerError, NodeIndex, NodeSet, ProcessLedger};
use crate::verdict::case::Requirement;

/// Everything that a judgement rests on.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Every node process of the run, in any order. One that is left out makes the judgement worthless.
    pub processes: Vec<ProcessRecord>,
    /// The steps of the run, in any order.
    pub steps: Vec<StepWindow>,
    /// The cases that the run's plan should have produced.
    pub required: Vec<Requirement>,
    /// How long a job may run on after its kill or its caller's death; `None` measures without a limit.
    pub outlives_max: Option<Duration>,
    /// From when on a job that runs on so is a doubt, and so is a call that had heard nothing for as long when its
    /// caller's process died; `None` doubts neither.
    pub doubtful_after: Option<Duration>,
    /// The service's functions that a node of each release calls, among which calls take turns (`CallNumber::turn`).
    pub functions: BTreeMap<Release, Vec<String>>,
    /// Whether a plan drove the nodes in one virtual time: callers kill what they like, and leave with calls open; and
    /// nothing is late because a machine was slow, so what would be in doubt for that is found.
    pub simulated: bool,
    /// What the run itself did to its nodes while they were to go on, in any order; no two at one time.
    pub disturbances: Vec<Disturbance>,
}

/// A time in which the run held up some of its nodes on purpose. What is late because of it is no doubt; a breach stays
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// The nodes that were held up.
    pub nodes: NodeSet,
    /// When it began, in microseconds since 1970.
    pub from_us: u64,
    /// When all was well again.
    pub to_us: u64,
    /// Whether the processes of these nodes were stopped.
    pub stopped: bool,
}

/// One node process: what it wrote down, and how it ended.
#[derive(Debug)]
pub struct ProcessRecord {
    /// The node, as the orchestrator knows it: known even where there is no ledger.
    pub node: NodeIndex,
    /// Its ledger, or why there is none.
    pub ledger: Result<ProcessLedger, LedgerError>,
    /// How it ended.
    pub end: ProcessEnd,
}

/// How a process ended. Times are microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessEnd {
    /// It was killed with signal 9.
    KilledNine {
        /// When the signal was sent.
        at_us: u64,
    },
    /// It was asked to drain, and exited as it should.
    Drained {
        /// When it was asked, so that the jobs and calls it had then count as in flight.
        at_us: u64,
    },
    /// It still ran when the load had stopped and all was quiet.
    LiveAtEnd,
    /// It ended without being asked to.
    Crashed {
        /// When this was noticed.
        at_us: u64,
    },
}

impl ProcessEnd {
    /// When it was killed, asked to drain, or noticed gone.
    pub(crate) fn at_us(self) -> Option<u64> {
        match self {
            Self::KilledNine { at_us } | Self::Drained { at_us } | Self::Crashed { at_us } => Some(at_us),
            Self::LiveAtEnd => None,
        }
    }
}

/// One step of the run, such as the restart of a node. Half open: a time of `to_us` is in the next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepWindow {
    /// The step's name in the report.
    pub name: String,
    /// Its first microsecond since 1970.
    pub from_us: u64,
    /// The first microsecond after it.
    pub to_us: u64,
}
