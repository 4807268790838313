//! What breaks no invariant for certain and still keeps a run from being called safe.

use std::time::Duration;

use super::count::{RanOn, is_orphan, ran_on};
use super::finding::in_words;
use super::join::{Call, Fate, Job, Joined, node_name};
use super::{gather, monitor};
use crate::history::ledger::Work;

pub(super) fn doubts(joined: &Joined<'_>) -> Vec<String> {
    let of_calls = [left_open(joined), jobs_ran_on(joined), monitor::silence(joined)];
    of_calls.into_iter().flatten().chain(stood_still(joined)).collect()
}

/// Processes that stood still for so long that something came late because of it, or for a long time at once. What came
/// late because of it is not a breach, and a cluster of which a part stood still cannot show that nothing else was
/// wrong.
fn stood_still(joined: &Joined<'_>) -> Vec<String> {
    (0..joined.processes.len()).filter_map(|index| stood_still_one(joined, index)).collect()
}

fn stood_still_one(joined: &Joined<'_>, index: usize) -> Option<String> {
    let process = &joined.processes[index];
    let node = process.header.index;
    // What the run stopped on purpose, and what came late of it, keeps nothing in doubt.
    let longest = process.standing.longest_by(|stretch| joined.unplanned_us(node, stretch))?;
    let calls = &joined.calls[process.calls.clone()];
    let by_plan = |other, from_us, to_us| joined.disturbed_us(&[node, other], from_us, to_us) > 0;
    let by_clock = |job: &&Job| {
        let RanOn { from_us, us, .. } = ran_on(joined, job);
        joined.outlives_max_us.is_some_and(|max| us > max)
            && !by_plan(job.id.caller, from_us, from_us.saturating_add(us))
    };
    let stood = |call: &&Call| {
        joined.fate(call) == Fate::StoodStill && !by_plan(call.to, call.cast_us, call.timed_out_us.unwrap_or(u64::MAX))
    };
    let jobs = joined.jobs[process.jobs.clone()].iter().filter(|job| !is_orphan(joined, job)).filter(by_clock);
    let late: Vec<String> = [
        (calls.iter().filter(stood).count(), "call", "calls"),
        (gather::excused(joined, index), "gather", "gathers"),
        (jobs.count(), "job", "jobs"),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .map(|(count, one, many)| counted(count, one, many))
    .collect();
    if late.is_empty() && joined.unplanned_us(node, &longest) < STOOD_STILL_US {
        return None;
    }
    let what = if late.is_empty() { String::new() } else { format!("; late of that: {}", late.join(", ")) };
    Some(format!(
        "{} stood still for {} in all and for {} of {} at once, stopped or without a core{what}",
        joined.name(process),
        in_words(process.standing.stood_us()),
        in_words(longest.stood_us),
        in_words(longest.to_us - longest.from_us)
    ))
}

/// Calls that ran nowhere and had heard nothing for long when their caller's process died: it can never be told whether
/// they would have been lost.
fn left_open(joined: &Joined<'_>) -> Option<String> {
    let limit = joined.doubtful_us?;
    let open_us = |call: &Call| {
        let by = &joined.processes[call.by];
        let away_us = joined.had_no_process_us(call.to, call.cast_us, by.gone_us);
        let disturbed_us = joined.disturbed_us(&[by.header.index, call.to], call.cast_us, by.gone_us);
        Joined::awake_us([by], call.cast_us, by.gone_us).saturating_sub(away_us).saturating_sub(disturbed_us)
    };
    let doubtful = |call: &&Call| {
        call.work != Work::Hold && call.jobs == 0 && joined.fate(call) == Fate::CallerDied && open_us(call) > limit
    };
    let open: Vec<&Call> = joined.calls.iter().filter(doubtful).collect();
    let first = open.first()?;
    Some(format!(
        "{} of no job had heard nothing for more than {} when their caller's process died: call {} ({}) of {} to {} \
         after {}",
        counted(open.len(), "call", "calls"),
        in_words(limit),
        first.number.0,
        first.work,
        joined.name(&joined.processes[first.by]),
        node_name(first.to),
        in_words(open_us(first))
    ))
}

/// Jobs that ran on for longer than any should, and for less than the protocol forbids.
fn jobs_ran_on(joined: &Joined<'_>) -> Option<String> {
    let limit = joined.doubtful_us?;
    let undisturbed_us = |job: &Job| {
        let RanOn { from_us, us, awake_us } = ran_on(joined, job);
        let ends = [job.id.caller, joined.processes[job.on].header.index];
        awake_us.saturating_sub(joined.disturbed_us(&ends, from_us, from_us.saturating_add(us)))
    };
    // Cheap first: there are millions of jobs, and hardly one that ran on.
    let doubtful =
        |job: &&Job| ran_on(joined, job).awake_us > limit && undisturbed_us(job) > limit && !is_orphan(joined, job);
    let late: Vec<&Job> = joined.jobs.iter().filter(doubtful).collect();
    let worst = late.iter().max_by_key(|job| ran_on(joined, job).awake_us)?;
    let caller = worst.by.map_or_else(|| node_name(worst.id.caller), |by| joined.name(&joined.processes[by]));
    let longest = ran_on(joined, worst);
    let until_us = longest.from_us.saturating_add(longest.us);
    // Until the caller's node has a process again, nobody can say that the caller is gone.
    let slow_start = match joined.had_no_process_us(worst.id.caller, longest.from_us, until_us) {
        0 => String::new(),
        us => format!("; for {} of that, {} had no process", in_words(us), node_name(worst.id.caller)),
    };
    Some(format!(
        "{} ran on for more than {} after its kill or its caller's death, the longest for {} ms: call {} ({}) of \
         {caller} on {}{slow_start}",
        counted(late.len(), "job", "jobs"),
        in_words(limit),
        longest.awake_us.div_ceil(1_000),
        worst.id.call.0,
        worst.work,
        joined.name(&joined.processes[worst.on])
    ))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// How long at once a process may stand still without a word in the report: nothing in a run waits for less than this
/// before it is in doubt.
const STOOD_STILL: Duration = Duration::from_secs(5);

const STOOD_STILL_US: u64 = STOOD_STILL.as_secs() * 1_000_000;
