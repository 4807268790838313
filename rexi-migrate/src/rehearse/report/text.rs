//! The report as text: tables of steps, outcomes and cases, then the verdict with what it rests on.

use std::fmt::Write as _;

use comfy_table::{ColumnConstraint, Table};

use super::soak::{fault_table, sentences, usage_table};
use super::{Report, StepRow};
use crate::columns::{align_right, hanging, rerun, table, wrapped};
use crate::history::judge::{Finding, Judgement, StepRow as StepCounts};
use crate::history::ledger::Outcome;
use crate::screen::grouped;
use crate::verdict::conclusion::Conclusion;

impl Report {
    /// The report as text of 80 columns: the tables, then the verdict.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.step_table());
        if let Some(soak) = &self.soak {
            let _ = write!(text, "\n{}\n\n{}\n", fault_table(soak), usage_table(soak));
        }
        if let Some(judged) = self.judgement.as_ref().filter(|judged| judged.counts.casts > 0) {
            let _ = write!(text, "\n{}\n", self.fate_table(judged));
            let _ = write!(text, "\n{}\n\n{}\n", outcome_table(judged), case_table(judged));
            if !judged.gathers.is_empty() {
                let _ = write!(text, "\n{}\n", gather_table(judged));
            }
        }
        let _ = write!(text, "\n{}", self.verdict_text());
        text
    }

    /// What was done.
    fn step_table(&self) -> Table {
        let mut table = table(["step", "node", "release", "how", "ready\nms", "in\nflight", "casts/s"]);
        let counts = self.judgement.as_ref().map_or(&[][..], |judged| &judged.steps);
        for (index, row) in self.steps.iter().enumerate() {
            table.add_row(row.cells(counts.get(index)));
        }
        // What is wrapped, if something must be, is how.
        for (index, column) in table.column_iter_mut().enumerate() {
            if index != HOW {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        align_right(&mut table, [0, 4, 5, 6]);
        table
    }

    /// What became of the casts: a row for each step, and perhaps one for what was outside all of them. A column
    /// other than `casts`, `answered` and `lost` is shown only where it counts anything.
    fn fate_table(&self, judged: &Judgement) -> Table {
        let is_shown = |fate: &&Fate| fate.always || judged.steps.iter().any(|row| (fate.count)(row) > 0);
        let fates: Vec<&Fate> = FATES.iter().filter(is_shown).collect();
        let mut table = table(["step"].into_iter().chain(fates.iter().map(|fate| fate.head)));
        for (index, row) in judged.steps.iter().enumerate() {
            let step = self.steps.get(index).map_or_else(|| row.name.clone(), |step| step.number.to_string());
            table.add_row(std::iter::once(step).chain(fates.iter().map(|fate| grouped((fate.count)(row)))));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        align_right(&mut table, 0..=fates.len());
        table
    }

    /// The verdict in a few words, then what it rests on.
    fn verdict_text(&self) -> String {
        let mut verdict = self.verdict.words().to_owned();
        let sums = self.judgement.as_ref().filter(|judged| judged.counts.casts > 0).map(sums);
        // Zeroes mean nothing where the evidence does not suffice.
        let so_far = self.stopped.is_some() || self.verdict == Conclusion::CouldNotTell;
        if let Some(stopped) = &self.stopped {
            let done = self.steps.iter().filter(|row| row.error.is_none()).count();
            let _ = write!(verdict, ": {stopped} (after {done} of {} steps)", self.steps_planned);
        } else if let Some(sums) = sums.as_ref().filter(|_| !so_far) {
            let _ = write!(verdict, ": {sums}");
        }
        let mut text = Lines(wrapped("", "  ", &verdict));
        if let Some(sums) = sums.filter(|_| so_far) {
            text.say(&format!("As far as the ledgers go: {sums}"));
        }
        if let Some(judged) = &self.judgement {
            self.judgement_lines(&mut text, judged);
        }
        // A load that no longer hears anything makes no casts: that is not the machine's fault.
        if let Some(doubt) = self.load.doubt().filter(|_| self.verdict != Conclusion::Unsafe) {
            text.doubt(&doubt);
        }
        if let Some(soak) = &self.soak {
            sentences(soak).iter().for_each(|sentence| text.say(sentence));
            soak.doubts.iter().for_each(|doubt| text.doubt(doubt));
        }
        if let Some(done) = &self.operations {
            text.say(&done.told());
            done.breaches.iter().for_each(|breach| text.point(breach));
        }
        if let Some(account) = &self.workload {
            text.say(&format!("{}: {}", account.name, account.summary));
            account.breaches.iter().for_each(|breach| text.point(breach));
            account.doubts.iter().for_each(|doubt| text.doubt(doubt));
        }
        let (reached, asked) = (grouped(self.load.reached()), grouped(self.load.rate.into()));
        let rate = if self.load.asked > 0 {
            format!(", {reached} of {asked} casts/s while the load was on")
        } else {
            String::new()
        };
        let seconds = self.elapsed_ms / 1000;
        text.say(&format!("Seed {}; restarts by kill -9: {}; {seconds} s{rate}.", self.seed, self.kills));
        text.0 + "\n" + &rerun(&self.command)
    }

    fn judgement_lines(&self, text: &mut Lines, judged: &Judgement) {
        let begun_us = self.steps.first().map_or(0, |row| row.started_us);
        judged.findings().iter().for_each(|finding| text.finding(finding, begun_us));
        judged.doubts.iter().for_each(|doubt| text.doubt(doubt));
        if judged.counts.casts > 0 {
            if let Some(met) = self.cases(judged) {
                text.say(&format!("It met {met}."));
            }
            text.say(&shares(judged));
            text.say(&talk(judged));
        }
        let ran_on = grouped(judged.counts.orphan_max_us.div_ceil(1_000));
        text.say(&format!("The longest time that a job ran on after its kill or its caller's death: {ran_on} ms."));
    }

    /// The cases that the run had to meet. Nothing for a run that was stopped: the nodes it had to kill then are not a
    /// case.
    fn cases(&self, judged: &Judgement) -> Option<String> {
        let needed = judged.witnesses.iter().filter(|row| row.required > 0 && self.stopped.is_none());
        let met: Vec<String> =
            needed.map(|row| format!("{} {}", grouped(row.count), row.witness.words(row.count))).collect();
        (!met.is_empty()).then(|| met.join(", "))
    }
}

/// Lines below a verdict, each of which is wrapped.
struct Lines(String);

impl Lines {
    fn add(&mut self, line: &str) {
        self.0.push('\n');
        self.0.push_str(line);
    }

    fn say(&mut self, text: &str) {
        self.add(&wrapped("", "  ", text));
    }

    fn point(&mut self, text: &str) {
        self.add(&hanging("  - ", text));
    }

    fn doubt(&mut self, text: &str) {
        self.point(&format!("doubt: {text}"));
    }

    fn finding(&mut self, finding: &Finding, begun_us: u64) {
        let Finding { invariant, sentence, count, examples, .. } = finding;
        self.point(&format!("{invariant}: {} {sentence}", grouped(*count)));
        for example in examples {
            self.add(&wrapped("      ", "        ", &example.line(begun_us)));
        }
        let more = count.saturating_sub(examples.len() as u64);
        if more > 0 {
            self.add(&format!("      and {} more", grouped(more)));
        }
    }
}

/// One column of what became of casts.
struct Fate {
    head: &'static str,
    /// Whether it is shown though it counts nothing.
    always: bool,
    count: fn(&StepCounts) -> u64,
}

impl Fate {
    const fn new(head: &'static str, count: fn(&StepCounts) -> u64) -> Self {
        Self { head, always: false, count }
    }

    const fn always(head: &'static str, count: fn(&StepCounts) -> u64) -> Self {
        Self { head, always: true, count }
    }
}

const FATES: [Fate; 8] = [
    Fate::always("casts", |row| row.casts),
    Fate::always("answered", |row| row.answered),
    Fate::new("told", |row| row.told),
    Fate::new("killed", |row| row.killed),
    Fate::new("caller\ndied", |row| row.caller_died),
    Fate::always("lost", |row| row.lost),
    Fate::new("twice", |row| row.twice),
    Fate::new("or-\nphans", |row| row.orphans),
];

/// The column of `how`.
const HOW: usize = 3;

impl StepRow {
    fn cells(&self, counts: Option<&StepCounts>) -> Vec<String> {
        let how = if self.error.is_some() { format!("{} FAILED", self.how) } else { self.how.clone() };
        // A rate over a moment says nothing.
        let exact = counts.filter(|counts| counts.to_us.saturating_sub(counts.from_us) >= RATE_WINDOW_MIN_US);
        let rate = exact.map_or_else(
            || self.casts_per_s.map_or_else(String::new, grouped),
            |counts| grouped(counts.casts_per_second.round() as u64),
        );
        vec![
            self.number.to_string(),
            self.node.clone(),
            self.releases(),
            how,
            self.ready_ms.map_or_else(String::new, grouped),
            grouped(self.in_flight),
            rate,
        ]
    }
}

fn outcome_table(judged: &Judgement) -> Table {
    let mut table = table(["calls", "ended in"]);
    for (outcome, &count) in &judged.outcomes {
        table.add_row([grouped(count), outcome.to_string()]);
    }
    align_right(&mut table, [0]);
    table
}

fn gather_table(judged: &Judgement) -> Table {
    let mut table = table(["gathers", "ended in"]);
    for (how, &count) in &judged.gathers {
        table.add_row([grouped(count), how.to_string()]);
    }
    align_right(&mut table, [0]);
    table
}

fn case_table(judged: &Judgement) -> Table {
    let mut table = table(["met", "needed", "case"]);
    for row in &judged.witnesses {
        let required = if row.required > 0 { grouped(row.required) } else { String::new() };
        table.add_row([grouped(row.count), required, row.witness.sentence().to_owned()]);
    }
    align_right(&mut table, [0, 1]);
    table
}

/// The numbers that the verdict rests on, in one line.
fn sums(judged: &Judgement) -> String {
    let counts = &judged.counts;
    format!(
        "{} lost, {} executed twice, {} in {} by {}",
        grouped(counts.lost),
        grouped(counts.executed_twice),
        counted(counts.orphans, "orphan", "orphans"),
        counted(counts.casts, "cast", "casts"),
        counted(counts.processes, "process", "processes")
    )
}

/// What became of the casts, as shares of all.
fn shares(judged: &Judgement) -> String {
    let counts = &judged.counts;
    let refused = judged.outcomes.get(&Outcome::Draining).copied().unwrap_or(0);
    let share = |count: u64| format!("{:.1} %", count as f64 * 100.0 / counts.casts as f64);
    format!(
        "Of the casts, {} were answered, {} told that they were not served ({} refused by a draining node), {} killed.",
        share(counts.answered),
        share(counts.told),
        share(refused),
        share(counts.killed)
    )
}

/// What became of streams, questions and gathers.
fn talk(judged: &Judgement) -> String {
    let counts = &judged.counts;
    let astray = counts.questions_astray;
    format!(
        "{} of {} ({}) broken; {} of {} astray; {} of {} reached their quorum, {} late or contradicted.",
        grouped(counts.streams_broken),
        counted(counts.streams, "stream", "streams"),
        counted(counts.items, "item", "items"),
        grouped(astray),
        counted(counts.questions, "question", "questions"),
        grouped(counts.quorums),
        counted(counts.gathers, "gather", "gathers"),
        grouped(counts.gathers_broken)
    )
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// The shortest step whose casts a second are told, in microseconds.
const RATE_WINDOW_MIN_US: u64 = 100_000;
