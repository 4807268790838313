//! The end of a rehearsal in words and figures: a table of its steps, the verdict, and the same as JSON.
//!
//! In: the rows that the run wrote and what the judge found in the ledgers. Out: text for the terminal
//! (`report/text.rs`), a file for machines (`format_version` 1), the exit code. Judges nothing itself.

mod text;

use std::process::ExitCode;

use serde::Serialize;

use crate::judge::{Judgement, Verdict};
use crate::kv::KvCounts;
use crate::train::{Release, Train};

pub(crate) use text::grouped;

/// What a rehearsal means: the worse of what its steps and its ledgers say, so in the order from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// It went through, the ledgers show no breach, and they witness the cases that matter.
    Safe,
    /// Not enough evidence for either.
    CouldNotTell,
    /// A breach, or a step that did not go through.
    Unsafe,
}

impl Conclusion {
    /// The process's exit code: 0, 1 or 3; 2 is for wrong usage.
    pub fn code(self) -> u8 {
        match self {
            Self::Safe => 0,
            Self::Unsafe => 1,
            Self::CouldNotTell => 3,
        }
    }
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

impl From<Conclusion> for ExitCode {
    fn from(conclusion: Conclusion) -> Self {
        Self::from(conclusion.code())
    }
}

/// One step as it went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRow {
    /// From 1.
    pub number: usize,
    /// The node, or "all".
    pub node: String,
    /// The release before; none at the start, or where the step changes no release.
    pub from: Option<Release>,
    /// The release after.
    pub to: Option<Release>,
    /// What was done: "start", "drain", "kill -9", "await switch", "ceiling introduce" and the like.
    pub how: String,
    /// When it began, in microseconds since 1970.
    pub started_us: u64,
    /// When it and its dwell were over, in microseconds since 1970.
    pub ended_us: u64,
    /// Milliseconds from the start of the process, or the change of the phase, until ready.
    pub ready_ms: Option<u64>,
    /// Casts a second, of all nodes, over the whole step; none where it was too short for the counters to tell.
    pub casts_per_s: Option<u64>,
    /// Calls in flight, of all nodes, when the step began.
    pub in_flight: u64,
    /// Why it did not go through, if so.
    pub error: Option<String>,
}

/// All that a rehearsal leaves behind.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this format: [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The command line that repeats the run.
    pub command: String,
    /// The seed of plan and load.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// Casts a second that were asked for, of all nodes together.
    pub rate: u32,
    /// The releases.
    pub train: Train,
    /// How long the run took, in milliseconds.
    pub elapsed_ms: u64,
    /// How many processes were ended by SIGKILL, as planned.
    pub kills: usize,
    /// Every step that began.
    pub steps: Vec<StepRow>,
    /// How many steps were planned.
    pub steps_planned: usize,
    /// What stopped the run before its end, if something did.
    pub stopped: Option<String>,
    /// What the ledgers say; nothing where the run ended before its upgrade began, or was broken off from outside.
    pub judgement: Option<Judgement>,
    /// What the clients of the key-value store have come to, if that was the workload.
    pub kv: Option<KvCounts>,
    /// What the run means.
    pub verdict: Conclusion,
    /// The exit code that belongs to it.
    pub exit_code: u8,
}

impl Report {
    /// The report as JSON, indented, with a line's end.
    ///
    /// # Panics
    /// Never: a report is plain data.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report is plain data");
        text.push('\n');
        text
    }

    /// Casts a second, of all nodes, while the load ran: from the first readiness to the last step. `None` where the
    /// ledgers or the end of the run are missing.
    pub fn casts_per_s(&self) -> Option<u64> {
        let (first, last) = (self.steps.first()?, self.steps.last()?);
        let judged = self.judgement.as_ref().filter(|judged| judged.counts.casts > 0 && self.stopped.is_none())?;
        let loaded_us = first.started_us + first.ready_ms? * 1000;
        let micros = last.started_us.checked_sub(loaded_us).filter(|micros| *micros > 0)?;
        u64::try_from(u128::from(judged.counts.casts) * 1_000_000 / u128::from(micros)).ok()
    }
}

impl StepRow {
    /// The releases as the table shows them: `1.0 -> 1.1`, one of them, or nothing.
    pub fn releases(&self) -> String {
        let known: Vec<String> = [&self.from, &self.to].into_iter().flatten().map(Release::to_string).collect();
        known.join(" -> ")
    }

    /// The step in one line, such as `3 n2 1.0 -> 1.1 drain`.
    pub fn title(&self) -> String {
        format!("{} {}", self.number, self.action())
    }

    /// What the step does, such as `n2 1.0 -> 1.1 drain`.
    pub fn action(&self) -> String {
        format!("{} {} {}", self.node, self.releases(), self.how).replace("  ", " ")
    }
}

/// Version of the JSON report. Raised where a field changes its meaning or goes.
pub const FORMAT_VERSION: u32 = 1;

#[cfg(test)]
mod tests;
