//! Judges a rehearsal or a simulation by all its ledgers: was a cast lost, did a job run twice or outlive its kill?
//!
//! In goes [`Evidence`], out comes a [`Judgement`]; nothing is read or timed here. `judge/join.rs` brings the records
//! of a call and of its jobs together, `judge/talk.rs` what they said before their end. `judge/count.rs` counts and
//! finds what breaks an invariant of docs/safety.md, as do `stray_end.rs` for ends without a cause, `monitor.rs`,
//! `stream.rs`, `question.rs` and `gather.rs` for what their names say; `standing.rs` knows which process was late
//! because it stood still. `doubt.rs` finds what breaks none and is still not as it should be (`disturbed.rs` knows
//! what the run did on purpose), `witness.rs` counts the cases that a run must have met, `steps.rs` splits it by step,
//! `sum.rs` adds up the judgements of a run that was judged from rest to rest.
//!
//! A broken invariant makes the run unsafe, whatever else is missing. Without one, any doubt makes it one that could
//! not tell: evidence that is missing or contradicts itself, or a required case that never occurred.

mod count;
mod disturbed;
mod doubt;
mod finding;
mod gather;
mod gathers;
mod join;
mod monitor;
mod phases;
mod question;
mod standing;
mod steps;
mod sum;
mod stray_end;
mod stream;
mod talk;
mod witness;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::history::evidence::Evidence;
use crate::history::ledger::{GatherEnd, Outcome};
use crate::verdict::case::{Witness, WitnessCount};
use crate::verdict::conclusion::Conclusion;
use join::Joined;

pub use count::Counts;
pub use finding::{EXAMPLES_MAX, Example, Finding, FindingKind};
pub use steps::StepRow;
pub use sum::Sum;

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

impl From<&Verdict> for Conclusion {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Safe => Self::Safe,
            Verdict::Unsafe(_) => Self::Unsafe,
            Verdict::CouldNotTell(_) => Self::CouldNotTell,
        }
    }
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

/// Judges a run. Takes time and memory in proportion to the records: about 200 bytes a call besides the ledgers.
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
