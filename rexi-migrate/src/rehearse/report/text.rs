//! The report as text: tables of steps, outcomes and cases, then the verdict with what it rests on.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::{Report, StepRow};
use crate::history::judge::{Example, Finding, Judgement, StepRow as StepCounts};
use crate::history::ledger::Outcome;
use crate::rehearse::workload::Account;
use crate::screen::grouped;
use crate::verdict::conclusion::Conclusion;

impl Report {
    /// The report as text: the tables, then the verdict. About 180 columns wide.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.step_table());
        if let Some(judged) = self.judgement.as_ref().filter(|judged| judged.counts.casts > 0) {
            let _ = write!(text, "\n{}\n\n{}\n", outcome_table(judged), case_table(judged));
            if !judged.gathers.is_empty() {
                let _ = write!(text, "\n{}\n", gather_table(judged));
            }
        }
        let _ = write!(text, "\n{}", self.verdict_text());
        text
    }

    fn step_table(&self) -> Table {
        let mut header = vec!["step", "node", "release", "how", "ready\nms", "in\nflight", "casts/s"];
        if self.judgement.is_some() {
            header.extend(["casts", "answered", "told", "killed", "lost", "caller\ndied", "twice", "orphans"]);
            header.extend(["streams", "asked", "gathers"]);
        }
        let columns = header.len();
        let mut table = table(&header);
        // A row for each step, and perhaps one for what was outside all of them.
        let counts = self.judgement.as_ref().map_or(&[][..], |judged| &judged.steps);
        for (index, row) in self.steps.iter().enumerate() {
            table.add_row(row.cells(counts.get(index)));
        }
        for outside in counts.iter().skip(self.steps.len()) {
            let mut cells = vec![String::new(), outside.name.clone()];
            cells.resize(7, String::new());
            cells.extend(count_cells(outside));
            table.add_row(cells);
        }
        align_right(&mut table, std::iter::once(0).chain(4..columns));
        table
    }

    fn verdict_text(&self) -> String {
        let mut text = match self.verdict {
            Conclusion::Safe => "SAFE".to_owned(),
            Conclusion::Unsafe => "UNSAFE".to_owned(),
            Conclusion::CouldNotTell => "COULD NOT TELL".to_owned(),
        };
        if let Some(stopped) = &self.stopped {
            let done = self.steps.iter().filter(|row| row.error.is_none()).count();
            let _ = write!(text, ": {stopped} (after {done} of {} steps)", self.steps_planned);
        }
        if let Some(judged) = &self.judgement {
            let sums = (judged.counts.casts > 0).then(|| sums(judged) + &self.cases(judged));
            // Zeroes mean nothing where the evidence does not suffice.
            let so_far = self.stopped.is_some() || self.verdict == Conclusion::CouldNotTell;
            match sums {
                Some(sums) if so_far => _ = write!(text, "\nAs far as the ledgers go: {sums}"),
                Some(sums) => _ = write!(text, ": {sums}"),
                None => {}
            }
            let begun_us = self.steps.first().map_or(0, |row| row.started_us);
            for finding in judged.findings() {
                finding_lines(&mut text, finding, begun_us);
            }
            for doubt in &judged.doubts {
                let _ = write!(text, "\n  - doubt: {doubt}");
            }
            let ran_on = grouped(judged.counts.orphan_max_us.div_ceil(1_000));
            if judged.counts.casts > 0 {
                let _ = write!(text, "\n{}\n{}", shares(judged), talk(judged));
            }
            let _ =
                write!(text, "\nThe longest time that a job ran on after its kill or its caller's death: {ran_on} ms.");
        }
        // A load that no longer hears anything makes no casts: that is not the machine's fault.
        if let Some(doubt) = self.load.doubt().filter(|_| self.verdict != Conclusion::Unsafe) {
            let _ = write!(text, "\n  - doubt: {doubt}");
        }
        if let Some(account) = &self.workload {
            text += &account_lines(account);
        }
        let (reached, asked) = (grouped(self.load.reached()), grouped(self.load.rate.into()));
        let rate = if self.load.asked > 0 {
            format!(", {reached} of {asked} casts/s while the load was on")
        } else {
            String::new()
        };
        let seconds = self.elapsed_ms / 1000;
        let _ = write!(
            text,
            "\nRestarts by kill -9: {}; {seconds} s{rate}. Seed {}; rerun: {}",
            self.kills, self.seed, self.command
        );
        text
    }

    /// The cases that the run had to meet. Nothing for a run that was stopped: the nodes it had to kill then are not a
    /// case.
    fn cases(&self, judged: &Judgement) -> String {
        let needed = judged.witnesses.iter().filter(|row| row.required > 0 && self.stopped.is_none());
        let met: Vec<String> =
            needed.map(|row| format!("{} {}", grouped(row.count), row.witness.words(row.count))).collect();
        if met.is_empty() { String::new() } else { format!("; {}", met.join(", ")) }
    }
}

/// What the clients of a service have come to.
fn account_lines(account: &Account) -> String {
    let mut text = format!("\n{}: {}", account.name, account.summary);
    for breach in &account.breaches {
        let _ = write!(text, "\n  - {breach}");
    }
    for doubt in &account.doubts {
        let _ = write!(text, "\n  - doubt: {doubt}");
    }
    text
}

impl StepRow {
    fn cells(&self, counts: Option<&StepCounts>) -> Vec<String> {
        let how = if self.error.is_some() { format!("{} FAILED", self.how) } else { self.how.clone() };
        // A rate over a moment says nothing.
        let exact = counts.filter(|counts| counts.to_us.saturating_sub(counts.from_us) >= RATE_WINDOW_MIN_US);
        let rate = exact.map_or_else(
            || self.casts_per_s.map_or_else(String::new, grouped),
            |counts| grouped(counts.casts_per_second.round() as u64),
        );
        let mut cells = vec![
            self.number.to_string(),
            self.node.clone(),
            self.releases(),
            how,
            self.ready_ms.map_or_else(String::new, grouped),
            grouped(self.in_flight),
            rate,
        ];
        cells.extend(counts.into_iter().flat_map(count_cells));
        cells
    }
}

fn count_cells(row: &StepCounts) -> impl Iterator<Item = String> {
    let fates = [row.casts, row.answered, row.told, row.killed, row.lost, row.caller_died, row.twice, row.orphans];
    fates.into_iter().chain([row.streams, row.questions, row.gathers]).map(grouped)
}

fn outcome_table(judged: &Judgement) -> Table {
    let mut table = table(&["calls", "ended in"]);
    for (outcome, &count) in &judged.outcomes {
        table.add_row([grouped(count), outcome.to_string()]);
    }
    align_right(&mut table, [0]);
    table
}

fn gather_table(judged: &Judgement) -> Table {
    let mut table = table(&["gathers", "ended in"]);
    for (how, &count) in &judged.gathers {
        table.add_row([grouped(count), how.to_string()]);
    }
    align_right(&mut table, [0]);
    table
}

fn case_table(judged: &Judgement) -> Table {
    let mut table = table(&["met", "needed", "case"]);
    for row in &judged.witnesses {
        let required = if row.required > 0 { grouped(row.required) } else { String::new() };
        table.add_row([grouped(row.count), required, row.witness.sentence().to_owned()]);
    }
    align_right(&mut table, [0, 1]);
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    table
}

fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
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

fn finding_lines(text: &mut String, finding: &Finding, begun_us: u64) {
    let Finding { invariant, sentence, count, examples, .. } = finding;
    let _ = write!(text, "\n  - {invariant}: {} {sentence}", grouped(*count));
    for example in examples {
        let _ = write!(text, "\n      {}", example_line(example, begun_us));
    }
    let more = count.saturating_sub(examples.len() as u64);
    if more > 0 {
        let _ = write!(text, "\n      and {} more", grouped(more));
    }
}

/// A case in one line; its times are seconds since the run began, in order.
fn example_line(example: &Example, begun_us: u64) -> String {
    let mut parts = Vec::new();
    if let Some(id) = &example.call {
        let work = example.work.map_or_else(String::new, |work| format!(" ({work})"));
        parts.push(format!("call {}{work}", id.call.0));
    }
    let end = |name: &Option<String>, release: &Option<String>| {
        let words: Vec<&str> = [name, release].into_iter().flatten().map(String::as_str).collect();
        (!words.is_empty()).then(|| words.join(" "))
    };
    parts.extend(end(&example.caller, &example.caller_release).map(|caller| format!("of {caller}")));
    parts.extend(end(&example.target, &example.target_release).map(|target| format!("on {target}")));
    let mut line = parts.join(" ");
    let mut times: Vec<(u64, String)> = Vec::new();
    let mut time = |at: Option<u64>, what: String| times.extend(at.map(|at| (at, what)));
    time(example.cast_us, "cast".to_owned());
    for (index, at) in example.started_us.iter().enumerate() {
        let server = example.servers.get(index).map_or_else(String::new, |server| format!(" on {server}"));
        time(Some(*at), format!("started{server}"));
    }
    time(example.killed_us, "killed".to_owned());
    time(example.ended_us, "ended".to_owned());
    time(example.answered_us, example.outcome.map_or_else(|| "answered".to_owned(), |outcome| outcome.to_string()));
    times.sort_by_key(|(at, _)| *at);
    for (at, what) in times {
        let seconds = (at as f64 - begun_us as f64) / 1e6;
        let _ = write!(line, ", {what} at {seconds:.6}");
    }
    if let Some(note) = &example.note {
        let _ = write!(line, ", {note}");
    }
    line
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// The shortest step whose casts a second are told, in microseconds.
const RATE_WINDOW_MIN_US: u64 = 100_000;
