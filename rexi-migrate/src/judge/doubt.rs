//! What breaks no invariant for certain and still keeps a run from being called safe.

use super::count::{is_orphan, ran_on_us};
use super::finding::in_words;
use super::join::{Call, Fate, Job, Joined, node_name};
use super::monitor;
use crate::ledger::Work;

pub(super) fn doubts(joined: &Joined<'_>) -> Vec<String> {
    [left_open(joined), ran_on(joined), monitor::silent(joined).doubt()].into_iter().flatten().collect()
}

/// Calls that ran nowhere and had heard nothing for long when their caller's process died: it can never be told whether
/// they would have been lost.
fn left_open(joined: &Joined<'_>) -> Option<String> {
    let limit = joined.doubtful_us?;
    let open_us = |call: &Call| joined.processes[call.by].gone_us.saturating_sub(call.cast_us);
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
fn ran_on(joined: &Joined<'_>) -> Option<String> {
    let limit = joined.doubtful_us?;
    let doubtful = |job: &&Job| ran_on_us(joined, job) > limit && !is_orphan(joined, job);
    let late: Vec<&Job> = joined.jobs.iter().filter(doubtful).collect();
    let worst = late.iter().max_by_key(|job| ran_on_us(joined, job))?;
    let caller = worst.by.map_or_else(|| node_name(worst.id.caller), |by| joined.name(&joined.processes[by]));
    Some(format!(
        "{} ran on for more than {} after its kill or its caller's death, the longest for {} ms: call {} ({}) of \
         {caller} on {}",
        counted(late.len(), "job", "jobs"),
        in_words(limit),
        ran_on_us(joined, worst).div_ceil(1_000),
        worst.id.call.0,
        worst.work,
        joined.name(&joined.processes[worst.on])
    ))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
