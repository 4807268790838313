//! The end of a rehearsal in words and figures: a table of its steps, the verdict, and the same as JSON.
//!
//! In: the rows that the run wrote and what the judge found in the ledgers. Out: text for the terminal
//! (`report/text.rs`), a file for machines (`format_version` 1), the exit code. Judges nothing itself.

mod soak;
mod text;

use serde::Serialize;

use crate::history::judge::Judgement;
use crate::path::UpgradePath;
use crate::rehearse::operate::Operations;
use crate::rehearse::soak::SoakOutcome;
use crate::rehearse::workload::Account;
use crate::screen::grouped;
use crate::verdict::conclusion::Conclusion;
use rexi_proto::Release;

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

/// The load, of all nodes together. Between them the counters of a process that was killed lack a fifth of a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Casts a second that it aimed at.
    pub rate: u32,
    /// Whether a run that does not reach the rate proves nothing.
    pub due: bool,
    /// Casts that the rate asked for while the load was on.
    pub asked: u64,
    /// Casts that were made.
    pub casts: u64,
}

impl Load {
    /// Casts a second that it reached while it was on.
    pub fn reached(&self) -> u64 {
        let reached = u128::from(self.rate) * u128::from(self.casts) / u128::from(self.asked.max(1));
        u64::try_from(reached).unwrap_or(u64::MAX)
    }

    /// Why the run proves nothing, where it is due to reach its rate and did not.
    pub fn doubt(&self) -> Option<String> {
        let short = self.due && self.asked > 0 && self.reached() * 100 < u64::from(self.rate) * REACHED_PERCENT_MIN;
        let (rate, reached) = (grouped(self.rate.into()), grouped(self.reached()));
        short.then(|| format!("asked for {rate} casts/s, reached {reached}: the machine is too slow for this rate"))
    }
}

/// How much of the rate that was asked for a run has to reach, in percent.
const REACHED_PERCENT_MIN: u64 = 90;

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
    /// What was asked of the load, and what came of it.
    pub load: Load,
    /// The releases.
    pub train: UpgradePath,
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
    /// What the clients of the service have come to, if one was rehearsed.
    pub workload: Option<Account>,
    /// What came of its soak, if it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak: Option<SoakOutcome>,
    /// What its operators have done, if its nodes keep a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<Operations>,
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

/// How a step stops a node with SIGKILL.
pub(crate) const KILL_NINE: &str = "kill -9";

/// Version of the JSON report. Raised where a field changes its meaning or goes.
pub const FORMAT_VERSION: u32 = 1;

#[cfg(test)]
mod tests;
