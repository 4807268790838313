//! Rounds: each plays every cell once, in an order that turns from round to round.

use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::cell::{Figure, Metric, Row};
use crate::cli::{Run, Runtime};
use crate::cluster::{Certificates, without_paths};
use crate::failure::Failure;
use crate::systems::System;
use crate::work::Work;
use crate::{chart, report};

/// The table of some work on some runtime.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) work: Work,
    pub(crate) runtime: Runtime,
    pub(crate) lines: Vec<Line>,
}

/// A row with what came of it, round by round.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) row: Row,
    pub(crate) rounds: Vec<Result<Vec<Figure>, String>>,
}

/// A cell of a round as it goes into the JSON file.
#[derive(Serialize)]
struct Played<'a> {
    work: String,
    runtime: String,
    row: String,
    round: usize,
    figures: &'a [Figure],
    failed: Option<&'a str>,
}

impl Line {
    /// The values of a metric, by round; none for a round that has failed.
    pub(crate) fn values(&self, metric: Metric) -> Vec<Option<f64>> {
        let of_round = |figures: &Vec<Figure>| Some(figures.iter().find(|figure| figure.metric == metric)?.value);
        self.rounds.iter().map(|round| round.as_ref().ok().and_then(of_round)).collect()
    }

    /// The metrics that its rounds have, the most telling first.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let round = self.rounds.iter().find_map(|round| round.as_ref().ok());
        round.map(|figures| figures.iter().map(|figure| figure.metric).collect()).unwrap_or_default()
    }
}

impl Table {
    pub(crate) fn line(&self, row: Row) -> Option<&Line> {
        self.lines.iter().find(|line| line.row == row)
    }

    /// The metrics of its lines, the most telling first.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for metric in self.lines.iter().flat_map(Line::metrics) {
            if !metrics.contains(&metric) {
                metrics.push(metric);
            }
        }
        metrics
    }
}

/// Plays all rounds and writes what is asked for.
pub(crate) fn run(run: &Run) -> Result<ExitCode, Failure> {
    let mut tables = plan(run);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(play_all(run, &mut tables))?;
    let text = report::markdown(run, &tables);
    match &run.out {
        Some(path) => std::fs::write(path, text)?,
        None => print!("{text}"),
    }
    if let Some(path) = &run.svg {
        std::fs::write(path, chart::svg(&tables))?;
    }
    if let Some(path) = &run.json {
        std::fs::write(path, serde_json::to_vec_pretty(&played(&tables))?)?;
    }
    let failed = tables.iter().flat_map(|table| &table.lines).flat_map(|line| &line.rounds).any(Result::is_err);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn plan(run: &Run) -> Vec<Table> {
    let all = |chosen: &[Work]| if chosen.is_empty() { Work::value_variants().to_vec() } else { chosen.to_vec() };
    let systems = if run.systems.is_empty() { System::value_variants() } else { &run.systems };
    let tables = all(&run.work).into_iter().flat_map(|work| run.runtime.iter().map(move |&runtime| (work, runtime)));
    let tables = tables.filter(|&(work, runtime)| runtime == Runtime::Ct || work.has_threads());
    let tables = tables.map(|(work, runtime)| {
        let rows = Row::all(work, systems).into_iter();
        Table { work, runtime, lines: rows.map(|row| Line { row, rounds: Vec::new() }).collect() }
    });
    tables.filter(|table| !table.lines.is_empty()).collect()
}

async fn play_all(run: &Run, tables: &mut [Table]) -> Result<(), Failure> {
    let certificates = Certificates::new()?;
    let time = Duration::from_secs_f64(run.seconds);
    for round in 0..run.rounds as usize {
        for table in &mut *tables {
            let (work, runtime, count) = (table.work, table.runtime, table.lines.len());
            for place in 0..count {
                let line = &mut table.lines[(place + round) % count];
                let played = tokio::time::timeout(CELL_LIMIT, line.row.play(work, runtime, &certificates, time)).await;
                let played = played.unwrap_or_else(|_| Err(Failure::new(format!("not over within {CELL_LIMIT:?}"))));
                let played = played.map_err(|failure| without_paths(failure.text()));
                tell(round, work, runtime, line.row, &played);
                line.rounds.push(played);
            }
        }
    }
    Ok(())
}

fn tell(round: usize, work: Work, runtime: Runtime, row: Row, played: &Result<Vec<Figure>, String>) {
    let said = match played {
        Ok(figures) => {
            let figure = |figure: &Figure| format!("{} {}", report::number(figure.value), figure.metric.title());
            figures.iter().map(figure).collect::<Vec<_>>().join(", ")
        }
        Err(failed) => format!("FAILED: {failed}"),
    };
    eprintln!("round {}: {} {}: {}: {said}", round + 1, key(&work), key(&runtime), row.label());
}

fn played(tables: &[Table]) -> Vec<Played<'_>> {
    let mut all = Vec::new();
    for table in tables {
        for line in &table.lines {
            for (round, played) in line.rounds.iter().enumerate() {
                let (figures, failed) = match played {
                    Ok(figures) => (figures.as_slice(), None),
                    Err(failed) => (&[][..], Some(failed.as_str())),
                };
                let (work, runtime, row) = (key(&table.work), key(&table.runtime), line.row.label());
                all.push(Played { work, runtime, row, round: round + 1, figures, failed });
            }
        }
    }
    all
}

/// A value as the command line names it.
pub(crate) fn key(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// A cell that has not ended by then has hung, whatever its processes say.
const CELL_LIMIT: Duration = Duration::from_secs(150);
