//! L3: one rehearsal, as large as what is left of the budget allows, presented as a level.

use std::path::Path;
use std::time::Duration;

use super::budget::REHEARSAL_MIN;
use super::show::Show;
use super::verification::Options;
use crate::history::judge::{Example, Finding, Judgement, judge};
use crate::rehearse::report::Report;
use crate::rehearse::{self, Workload};
use crate::verdict::case::WitnessCount;
use crate::verdict::conclusion::Conclusion;
use crate::verdict::level::{Breach, Figure, Level, LevelReport, Met};
use crate::verdict::trace::{Place, Trace, TraceEvent};

/// Rehearses, and tells it.
pub(super) fn rehearse(given: Duration, options: &Options, show: &mut Show) -> (LevelReport, Option<Report>) {
    let command = format!("{} rehearse", options.service.called());
    let none = |why: String| (LevelReport::not_run(Level::Rehearse, why, &command), None);
    let Some(program) = &options.program else {
        return none("left out, as --no-rehearsal says".to_owned());
    };
    if given < REHEARSAL_MIN {
        let (left, least) = (given.as_secs(), REHEARSAL_MIN.as_secs());
        return none(format!("cut short: a rehearsal needs {least} s, and {left} s were left of the budget"));
    }
    let size = if given < FULL_MIN { Size::SMALL } else { Size::FULL };
    show.clear();
    let ended = match block_on(&size.options(program, options), options.service.workload.as_deref()) {
        Ok(report) => report,
        Err(why) => return none(format!("it could not begin: {why}")),
    };
    let mut level = level(&ended);
    if given < FULL_MIN {
        let Size { nodes, rate, .. } = size;
        level.doubts.push(format!("cut short: {nodes} nodes at {rate} casts/s, in the time that was left"));
        level.verdict = level.verdict.max(Conclusion::CouldNotTell);
    }
    (level, Some(ended))
}

fn block_on(options: &rehearse::Options, workload: Option<&dyn Workload>) -> Result<Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let ended = runtime.block_on(rehearse::rehearse(options, workload, judge));
    // A judge that was interrupted is not waited for.
    runtime.shutdown_background();
    ended.map_err(|error| error.to_string())
}

/// How large a rehearsal is.
struct Size {
    nodes: u8,
    rate: u32,
    dwell_ms: u64,
}

impl Size {
    /// The defaults of `rexi-migrate rehearse`.
    const FULL: Self = Self { nodes: 5, rate: 6_000, dwell_ms: 1_000 };
    /// What has every case in it still.
    const SMALL: Self = Self { nodes: 3, rate: 2_000, dwell_ms: 400 };

    fn options(&self, program: &Path, of: &Options) -> rehearse::Options {
        let seed = of.seed;
        let &Self { nodes, rate, dwell_ms } = self;
        rehearse::Options {
            nodes,
            rate,
            rate_is_due: false,
            seed,
            train: of.service.train.clone(),
            kill_share: 0.4,
            dwell: Duration::from_millis(dwell_ms),
            program: program.to_owned(),
            programs: of.programs.clone(),
            keep: None,
            under: of.service.under.clone(),
            node_args: Vec::new(),
            soak: None,
            operate: false,
            quiet: of.quiet,
            command: format!(
                "{} rehearse --nodes {nodes} --rate {rate} --seed {seed} --dwell-ms {dwell_ms}",
                of.service.called()
            ),
        }
    }
}

/// A rehearsal as a level. The verdict stays the rehearsal's own: a step that did not go through has no row among the
/// invariants, and yet is just as unsafe.
pub(super) fn level(report: &Report) -> LevelReport {
    let checked = format!("{} real processes under load through {}", report.nodes, report.train);
    let mut level = LevelReport::new(Level::Rehearse, checked, &report.command);
    level.doubts.extend(report.stopped.iter().map(|why| format!("it was stopped: {why}")));
    let mut figure = |name: &str, value: u64, unit| level.figures.push(Figure::new(name, value as f64, unit));
    figure("nodes", report.nodes as u64, "");
    figure("steps that went through", report.steps.iter().filter(|row| row.error.is_none()).count() as u64, "");
    figure("steps planned", report.steps_planned as u64, "");
    figure("restarts by kill -9", report.kills as u64, "");
    if report.load.asked > 0 {
        figure("rate under load", report.load.reached(), "casts/s");
    }
    if let Some(judged) = &report.judgement {
        let counts = &judged.counts;
        for (name, value, unit) in [
            ("processes", counts.processes, ""),
            ("records of their ledgers", counts.records, ""),
            ("casts", counts.casts, ""),
            ("answered", counts.answered, ""),
            ("told that they were not served", counts.told, ""),
            ("killed", counts.killed, ""),
            ("of callers that died", counts.caller_died, ""),
            ("lost", counts.lost, ""),
            ("run twice", counts.executed_twice, ""),
            ("jobs", counts.jobs, ""),
            ("orphans", counts.orphans, ""),
            ("streams", counts.streams, ""),
            ("items of streams", counts.items, ""),
            ("questions answered", counts.questions, ""),
            ("gathers", counts.gathers, ""),
            ("longest time that a job ran on", counts.orphan_max_us.div_ceil(1_000), "ms"),
        ] {
            figure(name, value, unit);
        }
        tell(judged, report, &mut level);
    }
    let mut level = level.concluded(Duration::from_millis(report.elapsed_ms));
    level.verdict = level.verdict.max(report.verdict);
    level
}

fn tell(judged: &Judgement, report: &Report, level: &mut LevelReport) {
    let begun_us = report.steps.first().map_or(0, |row| row.started_us);
    // The nodes that a stopped run had to kill are not a case, and no case is required of it.
    let asked = report.stopped.is_none();
    let row = |row: &WitnessCount| Met::from(WitnessCount { required: if asked { row.required } else { 0 }, ..*row });
    level.witnesses = judged.witnesses.iter().map(row).collect();
    // What was not met is found again when the level is closed.
    let unmet = |doubt: &str| level.witnesses.iter().any(|met| met.count < met.required && doubt.contains(&met.what));
    let doubts: Vec<String> = judged.doubts.iter().filter(|doubt| !unmet(doubt)).cloned().collect();
    level.doubts.extend(doubts);
    level.breaches = judged.findings().iter().map(|finding| breach(finding, begun_us, &report.command)).collect();
}

fn breach(finding: &Finding, begun_us: u64, command: &str) -> Breach {
    Breach {
        trace: finding.examples.first().map(|example| trace(example, begun_us)),
        command: command.to_owned(),
        ..finding.into()
    }
}

/// The first case of a finding: its caller, the node that it was for, and what the ledgers have of it.
fn trace(example: &Example, begun_us: u64) -> Trace {
    let lane = |name: &Option<String>, release: &Option<String>, unknown: &str| {
        let words: Vec<&str> = [name, release].into_iter().flatten().map(String::as_str).collect();
        if words.is_empty() { unknown.to_owned() } else { words.join(" ") }
    };
    let caller = lane(&example.caller, &example.caller_release, "caller");
    let target = lane(&example.target, &example.target_release, "node");
    let mut events: Vec<(u64, TraceEvent)> = Vec::new();
    let mut event = |at: Option<u64>, place: Place, what: String| {
        events.extend(at.map(|at| {
            let since = Duration::from_micros(at.saturating_sub(begun_us));
            (at, TraceEvent::new(place, what).at(since))
        }));
    };
    let work = example.work.map_or_else(String::new, |work| format!(" ({work})"));
    event(example.cast_us, Place::At(0), format!("casts{work}"));
    for (index, at) in example.started_us.iter().enumerate() {
        let server = example.servers.get(index).map_or_else(String::new, |server| format!(" on the {server}"));
        event(Some(*at), Place::At(1), format!("a job starts{server}"));
    }
    event(example.killed_us, Place::At(0), "kills it".to_owned());
    event(example.ended_us, Place::At(1), "the job ends".to_owned());
    let answer = example.outcome.map_or_else(|| "is answered".to_owned(), |outcome| format!("is told: {outcome}"));
    event(example.answered_us, Place::At(0), answer);
    events.sort_by_key(|(at, _)| *at);
    let mut events: Vec<TraceEvent> = events.into_iter().map(|(_, event)| event).collect();
    if let Some(note) = &example.note {
        events.push(TraceEvent::new(Place::Everywhere, note.clone()));
    }
    if let Some(last) = events.pop() {
        events.push(last.breach());
    }
    Trace { lanes: vec![caller, target], events }
}

/// What the full size needs to have left.
const FULL_MIN: Duration = Duration::from_secs(100);
