//! The end of a rehearsal in words and figures: a table of its steps, the verdict, and the same as JSON.
//!
//! In: the rows that the run wrote and what the judge found in the ledgers. Out: text for the terminal, a file for
//! machines (`format_version` 1), the exit code. Judges nothing itself.

use std::fmt::Write as _;
use std::process::ExitCode;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::train::{Release, Train};

/// What a rehearsal says in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It went through, the ledgers show no breach, and they witness the cases that matter.
    Safe,
    /// A breach, or a step that did not go through.
    Unsafe,
    /// Not enough evidence for either.
    CouldNotTell,
}

impl Verdict {
    /// The process's exit code: 0, 1 or 3; 2 is for wrong usage.
    pub fn code(self) -> u8 {
        match self {
            Self::Safe => 0,
            Self::Unsafe => 1,
            Self::CouldNotTell => 3,
        }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        Self::from(verdict.code())
    }
}

/// What the ledgers hold of a step, or of the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Casts made.
    pub casts: u64,
    /// Casts that ended in a reply or an exit.
    pub answered: u64,
    /// Casts that were killed.
    pub killed: u64,
    /// Casts whose caller was told that they will have no answer: a down, a refusal, a full buffer.
    pub told: u64,
    /// Casts that ended in nothing.
    pub lost: u64,
    /// Jobs that ran twice.
    pub twice: u64,
    /// Jobs that outlived their caller or their kill.
    pub orphans: u64,
}

/// A case that a run must have met, or its safety proves nothing (SAFETY.md §1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// What it is, such as "kills across the switch".
    pub name: String,
    /// How often it was met.
    pub count: u64,
}

/// What the judge found in the ledgers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The judge's verdict.
    pub verdict: Verdict,
    /// Each breach, or each reason why nothing can be told.
    pub findings: Vec<String>,
    /// Of the whole run.
    pub totals: Counts,
    /// The cases met.
    pub witnesses: Vec<Witness>,
    /// Of each step, in the order of [`StepRow::number`]; empty where the judge could not tell them apart.
    pub steps: Vec<Counts>,
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
    /// What the ledgers say; nothing where the run did not reach its end.
    pub judgement: Option<Judged>,
    /// The verdict of the run.
    pub verdict: Verdict,
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

    /// The report as text: the table, then the verdict.
    pub fn to_text(&self) -> String {
        format!("{}\n\n{}", self.table(), self.verdict_text())
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        let judged = self.judgement.as_ref().filter(|judged| judged.steps.len() == self.steps.len());
        let mut header = vec!["step", "node", "release", "how", "ready ms", "casts/s", "in flight"];
        if judged.is_some() {
            header.extend(["casts", "answered", "killed", "told", "lost", "twice", "orphans"]);
        }
        let columns = header.len();
        table.set_header(header);
        for (index, row) in self.steps.iter().enumerate() {
            let mut cells = row.cells();
            if let Some(counts) = judged.map(|judged| judged.steps[index]) {
                cells.extend(counts.cells());
            }
            table.add_row(cells);
        }
        for column in std::iter::once(0).chain(4..columns) {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn verdict_text(&self) -> String {
        let mut text = match self.verdict {
            Verdict::Safe => "SAFE".to_owned(),
            Verdict::Unsafe => "UNSAFE".to_owned(),
            Verdict::CouldNotTell => "COULD NOT TELL".to_owned(),
        };
        if let Some(judged) = &self.judgement {
            let Counts { casts, lost, twice, orphans, .. } = judged.totals;
            // Zeroes are no finding where the evidence does not suffice.
            let so_far = if judged.verdict == Verdict::CouldNotTell { " (so far as the ledgers go)" } else { "" };
            if casts > 0 {
                let _ =
                    write!(text, "{so_far}: {lost} lost, {twice} executed twice, {orphans} orphans in {casts} casts");
            }
            let seen: Vec<String> = judged.witnesses.iter().map(|w| format!("{} {}", w.count, w.name)).collect();
            if !seen.is_empty() {
                let _ = write!(text, "; witnessed: {}", seen.join(", "));
            }
        }
        if let Some(stopped) = &self.stopped {
            let done = self.steps.iter().filter(|row| row.error.is_none()).count();
            let _ = write!(text, ": {stopped} (after {done} of {} steps)", self.steps_planned);
        }
        for finding in self.judgement.iter().flat_map(|judged| &judged.findings) {
            let _ = write!(text, "\n  - {finding}");
        }
        let seconds = self.elapsed_ms / 1000;
        let _ = write!(
            text,
            "\n{} kill -9s in {seconds} s. Seed {}; the same again: {}",
            self.kills, self.seed, self.command
        );
        text
    }
}

impl StepRow {
    /// The releases as the table shows them: `1.0 -> 1.1`, one of them, or nothing.
    pub fn releases(&self) -> String {
        let known: Vec<String> = [&self.from, &self.to].into_iter().flatten().map(Release::to_string).collect();
        known.join(" -> ")
    }

    fn cells(&self) -> Vec<String> {
        let how = if self.error.is_some() { format!("{} FAILED", self.how) } else { self.how.clone() };
        vec![
            self.number.to_string(),
            self.node.clone(),
            self.releases(),
            how,
            self.ready_ms.map_or_else(String::new, |ms| ms.to_string()),
            self.casts_per_s.map_or_else(String::new, |rate| rate.to_string()),
            self.in_flight.to_string(),
        ]
    }
}

impl Counts {
    fn cells(self) -> [String; 7] {
        [self.casts, self.answered, self.killed, self.told, self.lost, self.twice, self.orphans]
            .map(|count| count.to_string())
    }
}

/// Version of the JSON report. Raised where a field changes its meaning or goes.
pub const FORMAT_VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let step = |number: usize, error: Option<&str>| StepRow {
            number,
            node: format!("n{number}"),
            from: "1.0".parse().ok(),
            to: "1.1".parse().ok(),
            how: "kill -9".to_owned(),
            started_us: 1,
            ended_us: 2,
            ready_ms: Some(345),
            casts_per_s: Some(6000),
            in_flight: 17,
            error: error.map(str::to_owned),
        };
        let counts = Counts { casts: 600, answered: 500, killed: 60, told: 40, ..Counts::default() };
        let witness = Witness { name: "kills across the switch".into(), count: 12 };
        Report {
            format_version: FORMAT_VERSION,
            command: "rexi-migrate rehearse --seed 9".to_owned(),
            seed: 9,
            nodes: 2,
            rate: 6000,
            train: "1.0,1.1".parse().expect("a train"),
            elapsed_ms: 9100,
            kills: 2,
            steps: vec![step(1, None), step(2, None)],
            steps_planned: 2,
            stopped: None,
            judgement: Some(Judged {
                verdict: Verdict::Safe,
                findings: vec![],
                totals: counts,
                witnesses: vec![witness],
                steps: vec![counts, counts],
            }),
            verdict: Verdict::Safe,
            exit_code: 0,
        }
    }

    #[test]
    fn the_text_says_what_was_done_and_what_it_proves() {
        let text = report().to_text();
        for part in [
            "1.0 -> 1.1",
            "orphans",
            "345",
            "SAFE: 0 lost, 0 executed twice, 0 orphans in 600 casts; witnessed: 12 kills across the switch",
            "Seed 9; the same again: rexi-migrate rehearse --seed 9",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn a_run_that_was_stopped_says_where_and_why() {
        let mut report = report();
        report.steps[1].error = Some("1.2 may not meet 1.0".into());
        (report.stopped, report.judgement) = (Some("1.2 may not meet 1.0".into()), None);
        (report.verdict, report.exit_code, report.steps_planned) = (Verdict::Unsafe, 1, 30);
        let text = report.to_text();
        assert!(text.contains("UNSAFE: 1.2 may not meet 1.0 (after 1 of 30 steps)"), "{text}");
        assert!(text.contains("kill -9 FAILED"), "{text}");
        assert!(!text.contains("orphans"), "{text}");
    }

    #[test]
    fn zeroes_without_enough_evidence_are_not_shown_as_a_finding() {
        let mut report = report();
        report.verdict = Verdict::CouldNotTell;
        let judged = report.judgement.as_mut().expect("judged");
        judged.verdict = Verdict::CouldNotTell;
        judged.findings = vec!["no kill across the switch was witnessed".into()];
        let text = report.to_text();
        assert!(text.contains("COULD NOT TELL (so far as the ledgers go): 0 lost"), "{text}");
        assert!(text.contains("  - no kill across the switch was witnessed"), "{text}");
        report.judgement.as_mut().expect("judged").totals = Counts::default();
        assert!(!report.to_text().contains("0 lost"));
    }

    #[test]
    fn the_json_keeps_its_names() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json()).expect("JSON");
        assert_eq!(json["format_version"], 1);
        assert_eq!(json["train"], serde_json::json!(["1.0", "1.1"]));
        assert_eq!(json["steps"][0]["from"], "1.0");
        assert_eq!(json["judgement"]["totals"]["casts"], 600);
        assert_eq!((&json["verdict"], &json["exit_code"]), (&"safe".into(), &0.into()));
    }
}
