//! Judges a rehearsal by the ledgers of all its processes: was a cast lost, did a job run twice or outlive its kill?
//!
//! In goes [`Evidence`], out comes a [`Judgement`]; nothing is read or timed here. `judge/join.rs` brings the records
//! of a call and of its jobs together, `judge/talk.rs` what they said before their end. `judge/count.rs` counts and
//! finds what breaks an invariant of docs/safety.md, as do `stray_end.rs` for ends without a cause, `monitor.rs`,
//! `stream.rs`, `question.rs` and `gather.rs` for what their names say; `standing.rs` knows who was late since it stood
//! still. `doubt.rs` finds what breaks none and is not as it should be, `witness.rs` counts the cases that a run must
//! have met, `steps.rs` splits it by step.
//!
//! A broken invariant makes the run unsafe, whatever else is missing. Without one, any doubt makes it one that could
//! not tell: evidence that is missing or contradicts itself, or a required case that never occurred.

mod count;
mod doubt;
mod finding;
mod gather;
mod join;
mod monitor;
mod question;
mod standing;
mod steps;
mod stray_end;
mod stream;
mod talk;
mod witness;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::ledger::{GatherEnd, LedgerError, NodeIndex, Outcome, ProcessLedger};
use join::Joined;

pub use count::Counts;
pub use finding::{EXAMPLES_MAX, Example, Finding, FindingKind};
pub use steps::StepRow;
pub use witness::{Requirement, Witness, WitnessCount};

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

/// What the ledgers show.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What is missing from the evidence or from the run. Given with every verdict; it decides one without findings.
    pub doubts: Vec<String>,
    /// The numbers of the whole run.
    pub counts: Counts,
    /// How often a call ended in each outcome, first answers only.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// How often a gather ended in each way.
    pub gathers: BTreeMap<GatherEnd, u64>,
    /// How often each case occurred that a run must have met.
    pub witnesses: Vec<WitnessCount>,
    /// The run by step, by the time of the cast, in the order of the steps' times.
    pub steps: Vec<StepRow>,
}

/// Whether the run was safe.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", content = "because", rename_all = "snake_case")]
pub enum Verdict {
    /// No invariant was broken, the evidence is whole, and every required case occurred.
    Safe,
    /// Invariants were broken.
    Unsafe(Vec<Finding>),
    /// No invariant was seen broken, but the run proves nothing, for these reasons.
    CouldNotTell(Vec<String>),
}

impl Judgement {
    /// What broke an invariant; empty unless the verdict is [`Verdict::Unsafe`].
    pub fn findings(&self) -> &[Finding] {
        match &self.verdict {
            Verdict::Unsafe(findings) => findings,
            Verdict::Safe | Verdict::CouldNotTell(_) => &[],
        }
    }

    /// How often a case occurred.
    pub fn witnessed(&self, witness: Witness) -> u64 {
        self.witnesses.iter().find(|row| row.witness == witness).map_or(0, |row| row.count)
    }
}

/// Judges a run. Takes time and memory in proportion to the records: about 200 bytes a call beside the ledgers.
pub fn judge(input: &Evidence) -> Judgement {
    let joined = Joined::new(input);
    let (counts, findings) = count::count(&joined);
    let witnesses = witness::witness(&joined, &input.required);
    let mut doubts = joined.doubts.clone();
    doubts.extend(doubt::doubts(&joined));
    if joined.calls.is_empty() {
        doubts.push("no ledger has a cast: there was no load".to_owned());
    }
    doubts.extend(witnesses.iter().filter_map(WitnessCount::doubt));
    let verdict = match (findings.is_empty(), doubts.is_empty()) {
        (false, _) => Verdict::Unsafe(findings),
        (true, false) => Verdict::CouldNotTell(doubts.clone()),
        (true, true) => Verdict::Safe,
    };
    let (outcomes, gathers) = (count::outcomes(&joined), gather::ends(&joined));
    Judgement { verdict, doubts, counts, outcomes, gathers, witnesses, steps: steps::table(&joined, &input.steps) }
}

#[cfg(test)]
mod tests;
