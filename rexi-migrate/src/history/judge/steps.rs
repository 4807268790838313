//! The run by step: a call belongs to the step in which it was cast, so that a step is charged with what it caused.

use serde::Serialize;

use super::count::is_orphan;
use super::join::{Fate, Joined};
use crate::history::evidence::StepWindow;
use crate::history::ledger::Work;

/// The numbers of one step. The fates of its calls add up to `casts`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepRow {
    /// The step.
    pub name: String,
    /// Its first microsecond since 1970; 0 in the row of calls outside every step.
    pub from_us: u64,
    /// The first microsecond after it; 0 in the row of calls outside every step.
    pub to_us: u64,
    /// Casts made.
    pub casts: u64,
    /// Casts a second; 0 in the row of calls outside every step.
    pub casts_per_second: f64,
    /// Calls that got a reply or an exit.
    pub answered: u64,
    /// Calls whose caller was told that they were not served.
    pub told: u64,
    /// Calls that their caller killed before an answer came.
    pub killed: u64,
    /// Calls whose caller was told nothing.
    pub lost: u64,
    /// Calls whose caller died before anything came.
    pub caller_died: u64,
    /// Calls that were given up while an end of them stood still: see `Counts::stood_still`.
    pub stood_still: u64,
    /// Calls with more than one job.
    pub twice: u64,
    /// Jobs never seen to end; one without a known call counts in the step in which it started.
    pub orphans: u64,
    /// Of the casts: for a stream.
    pub streams: u64,
    /// Of the casts: for a job that asks its caller.
    pub questions: u64,
    /// Gathers begun.
    pub gathers: u64,
}

/// A row for each step, by time, and one last row for what was outside every step, if anything was.
pub(super) fn table(joined: &Joined<'_>, steps: &[StepWindow]) -> Vec<StepRow> {
    let mut rows: Vec<StepRow> = steps
        .iter()
        .map(|step| StepRow { name: step.name.clone(), from_us: step.from_us, to_us: step.to_us, ..StepRow::default() })
        .collect();
    rows.sort_by_key(|row| (row.from_us, row.to_us));
    rows.push(StepRow { name: "outside every step".to_owned(), ..StepRow::default() });
    for call in &joined.calls {
        let row = row_at(&mut rows, call.cast_us);
        row.casts += 1;
        row.twice += u64::from(call.jobs > 1);
        row.streams += u64::from(call.work == Work::Stream);
        row.questions += u64::from(call.work == Work::Question);
        *match joined.fate(call) {
            Fate::Answered => &mut row.answered,
            Fate::Told => &mut row.told,
            Fate::Killed => &mut row.killed,
            Fate::Lost => &mut row.lost,
            Fate::CallerDied => &mut row.caller_died,
            Fate::StoodStill => &mut row.stood_still,
        } += 1;
    }
    for job in joined.jobs.iter().filter(|job| is_orphan(joined, job)) {
        let at_us = job.call.map_or(job.started_us, |call| joined.calls[call].cast_us);
        row_at(&mut rows, at_us).orphans += 1;
    }
    for gather in &joined.gathers {
        row_at(&mut rows, gather.begun_us).gathers += 1;
    }
    for row in &mut rows {
        let micros = row.to_us.saturating_sub(row.from_us);
        if micros > 0 {
            row.casts_per_second = row.casts as f64 * 1e6 / micros as f64;
        }
    }
    let outside = rows.pop().filter(|row| row.casts > 0 || row.orphans > 0 || row.gathers > 0);
    rows.extend(outside);
    rows
}

/// The last step that contains the time, or the row for what is outside, which is the last one.
fn row_at(rows: &mut [StepRow], at_us: u64) -> &mut StepRow {
    let outside = rows.len() - 1;
    let begun = rows[..outside].partition_point(|row| row.from_us <= at_us);
    let row = rows[..begun].iter().rposition(|row| at_us < row.to_us).unwrap_or(outside);
    &mut rows[row]
}
