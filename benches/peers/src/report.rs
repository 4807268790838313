//! The tables as markdown: medians over rounds with their spread, and relations that are taken within each round.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cell::{Metric, Row};
use crate::cli::{Run, Runtime};
use crate::round::{Line, Table, key};
use crate::systems::System;
use crate::work::STREAM_WINDOW_BYTES;
use clap::ValueEnum;

/// A median and its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of the values that are there.
    pub(crate) fn of(values: impl IntoIterator<Item = Option<f64>>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().flatten().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, min, max })
    }

    fn text(self) -> String {
        if self.min == self.max {
            number(self.median)
        } else {
            format!("{} ({}..{})", number(self.median), number(self.min), number(self.max))
        }
    }
}

/// The whole page.
pub(crate) fn markdown(run: &Run, tables: &[Table]) -> String {
    let mut page = head(run);
    for table in tables {
        one(&mut page, table, run);
    }
    foot(&mut page);
    page
}

fn head(run: &Run) -> String {
    let mut page = "# Performance\n\n".to_owned();
    let rounds = if run.rounds == 1 { "one round".to_owned() } else { format!("{} rounds", run.rounds) };
    let _ = write!(
        page,
        "What rexi-server costs beside other RPC systems, on the same work. Written by `benches/peers`.\n\n\
         Measured on {}, {}, {}, rustc {}; {rounds} of {} s for each cell. To repeat it, on an otherwise idle \
         machine:\n\n```sh\n{}\n```\n\n",
        date(),
        machine(),
        std::env::consts::OS,
        rustc(),
        run.seconds,
        command(run),
    );
    page.push_str(
        "Client and server are two processes on loopback. Figures are medians over the rounds, with the lowest and the \
         highest. Two systems are compared by their ratio within each round, where the machine was the same for both; \
         the median of these ratios is given. Figures of one machine hold for that machine: **compare ratios.**\n\n",
    );
    page
}

fn one(page: &mut String, table: &Table, run: &Run) {
    let runtime = match table.runtime {
        Runtime::Ct => "",
        Runtime::Mt => ", two workers in each process",
    };
    let _ = write!(page, "## {}{runtime}\n\n", table.work.title());
    let metrics = table.metrics();
    let related: Vec<_> = metrics.iter().copied().filter(|metric| relates(*metric, &metrics)).collect();
    let has_relations = table.lines.iter().any(|line| reference(table, line).is_some());
    let related = if has_relations { related } else { Vec::new() };
    let whose = if table.work.play().is_some() { "rexi" } else { "per-node" };
    let mut titles: Vec<_> = metrics.iter().map(|metric| metric.title().to_owned()).collect();
    titles.extend(related.iter().map(|metric| format!("{whose}'s {}, × this", metric.title())));
    let _ = writeln!(page, "| | {} |", titles.join(" | "));
    let _ = writeln!(page, "|---|{}", "---|".repeat(titles.len()));
    for line in &table.lines {
        let own = metrics.iter().map(|&metric| Spread::of(line.values(metric)));
        let relations = related.iter().map(|&metric| Spread::of(relation(reference(table, line)?, line, metric)));
        let cells: Vec<_> = own.chain(relations).map(|spread| spread.map_or("–".to_owned(), Spread::text)).collect();
        let _ = writeln!(page, "| {} | {} |", line.row.label(), cells.join(" | "));
    }
    for system in missing(table, run) {
        let _ = writeln!(page, "| {} | {} |", system.0, vec![system.1; titles.len()].join(" | "));
    }
    failures(page, table);
    page.push('\n');
}

/// Systems without a line in a table of systems, and why.
fn missing(table: &Table, run: &Run) -> Vec<(&'static str, &'static str)> {
    if table.work.play().is_none() {
        return Vec::new();
    }
    let missing = System::value_variants().iter().filter(|&&system| table.line(Row::System(system)).is_none());
    let asked = |system| run.systems.is_empty() || run.systems.contains(&system);
    let why = |&system: &System| (system.key(), if asked(system) { "has none" } else { "not measured" });
    missing.map(why).collect()
}

fn failures(page: &mut String, table: &Table) {
    for line in &table.lines {
        let failed: Vec<_> = line.rounds.iter().filter_map(|round| round.as_ref().err()).collect();
        if let Some(last) = failed.last() {
            let _ = write!(
                page,
                "\n{} of {} rounds of {} failed: {last}\n",
                failed.len(),
                line.rounds.len(),
                line.row.label()
            );
        }
    }
}

/// The first metric of a table, and processor time.
fn relates(metric: Metric, metrics: &[Metric]) -> bool {
    metrics.first() == Some(&metric) || metric == Metric::CpuMicros
}

fn reference<'a>(table: &'a Table, line: &Line) -> Option<&'a Line> {
    table.line(line.row.reference()?)
}

/// What the reference has, by what the line has, round by round.
pub(crate) fn relation(reference: &Line, line: &Line, metric: Metric) -> Vec<Option<f64>> {
    let rounds = reference.values(metric).into_iter().zip(line.values(metric));
    rounds.map(|(reference, own)| Some(reference? / own?)).collect()
}

fn foot(page: &mut String) {
    page.push_str("## What was measured\n\n");
    for system in System::value_variants() {
        let _ = writeln!(page, "- **{}**: {}.", system.key(), system.description());
    }
    let _ = write!(
        page,
        "\nUnless a title says two workers, each process has one thread; callers run on one core, servers on another. \
         *CPU µs each* is the processor time of all processes, user and kernel, per call or item. Bytes are those of \
         the payload; an echo's are counted once. Small calls beside large ones, and those of the node with little to \
         do, follow an open schedule: one is due every 2 ms, and is measured from when it was due. The nodes that \
         flood are processes of their own, which share the callers' core with it and give way to it. \
         rexi's streams have a window of {} KiB here; its default is 5 items. Majorities are those of three server \
         processes, which share a core. *singleton* is release 1.0, *dual* 1.2 raised to `switch`, *per-node* 2.0. \
         Where several nodes call, the p99 is that of the worst node. Idle peers: what 48 more of them add to the \
         resident memory; each node of the caller's process has a socket and an endpoint of its own. Bytes of a job: \
         what waiting jobs add to the resident memory, which comes in pages, so ten jobs say little.\n",
        STREAM_WINDOW_BYTES >> 10,
    );
}

/// A figure with three digits at least, and thousands apart.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 100.0 || value == 0.0 {
        thousands(value)
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The command that was given, with its defaults.
fn command(run: &Run) -> String {
    let mut command = "cargo run --release --manifest-path benches/peers/Cargo.toml -- run".to_owned();
    let _ = write!(command, " --rounds {} --seconds {}", run.rounds, run.seconds);
    let list = |values: Vec<String>| values.join(",");
    if !run.work.is_empty() {
        let _ = write!(command, " --work {}", list(run.work.iter().map(key).collect()));
    }
    if !run.systems.is_empty() {
        let _ = write!(command, " --systems {}", list(run.systems.iter().map(key).collect()));
    }
    let _ = write!(command, " --runtime {}", list(run.runtime.iter().map(key).collect()));
    for (flag, path) in [("--out", &run.out), ("--svg", &run.svg)] {
        // No path of this machine.
        if let Some(path) = path.as_ref().filter(|path| path.is_relative()) {
            let _ = write!(command, " {flag} {}", path.display());
        }
    }
    command
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    format!("{cores} cores of {}", model.trim_start_matches([' ', '\t', ':']))
}

fn rustc() -> String {
    let version = std::process::Command::new("rustc").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    version.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
}

/// Today, as UTC has it. The calendar is that of Howard Hinnant's `civil_from_days`.
fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_a_median_and_its_extremes() {
        let spread =
            Spread::of([Some(3.0), None, Some(1.0), Some(2.0), Some(f64::INFINITY)]).expect("there are values");
        assert_eq!(spread, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([Some(1.0), Some(2.0)]).map(|spread| spread.median), Some(1.5));
        assert_eq!(Spread::of([None]), None);
    }

    #[test]
    fn numbers_have_three_digits_and_thousands_apart() {
        let numbers = [0.0, 1.234, 12.34, 123.4, 1_234_567.0, -1_234.0].map(number);
        assert_eq!(numbers, ["0", "1.23", "12.3", "123", "1,234,567", "-1,234"]);
    }

    #[test]
    fn days_are_days_of_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_783), (2026, 11, 26));
    }
}
