//! Gathers: each ended by its limit, and a quorum that was claimed is borne out by the jobs of those who voted.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::finding::{Example, FindingKind, Findings, in_words, wrong};
use super::gathers::{Ended, Gather};
use super::join::{Job, Joined, node_name};
use crate::history::ledger::{CallId, Ending, GatherEnd, NodeIndex, NodeSet, Work};

/// Finds what is wrong with gathers.
pub(super) fn find(joined: &Joined<'_>, found: &mut Findings) {
    for gather in &joined.gathers {
        if let Some(Late { note, excused: false }) = late(joined, gather) {
            found.add(FindingKind::GatherLate, || of_gather(joined, gather, Some(note)));
        }
        if let Some(note) = gather.end.and_then(|end| contradiction(joined, gather, end)) {
            found.add(FindingKind::QuorumContradicted, || of_gather(joined, gather, Some(note)));
        }
        let odd = gather.end.and_then(|end| end.odd);
        if let Some((outcome, kind)) = odd.and_then(|outcome| Some((outcome, wrong(Work::Vote, outcome)?))) {
            let example = || Example { outcome: Some(outcome), ..of_gather(joined, gather, None) };
            found.add(kind, example);
        }
        let mut nodes: HashMap<NodeIndex, u32> = HashMap::new();
        gather.jobs.iter().for_each(|&job| *nodes.entry(node_of(joined, &joined.jobs[job])).or_default() += 1);
        if let Some((&node, _)) = nodes.iter().find(|(_, jobs)| **jobs > 1) {
            let note = Some(format!("on {}", node_name(node)));
            found.add(FindingKind::ExecutedTwice, || of_gather(joined, gather, note));
        }
    }
}

/// A gather that did not end in time.
struct Late {
    note: String,
    /// Whether it is late by the clock alone, since its process stood still.
    excused: bool,
}

/// Why a gather counts as one that did not end in time.
fn late(joined: &Joined<'_>, gather: &Gather) -> Option<Late> {
    let process = &joined.processes[gather.by];
    let limit_us = gather.limit_us.saturating_add(SLACK_US);
    let took = |until_us: u64| until_us.saturating_sub(gather.begun_us);
    let excused = |until_us| Joined::awake_us([process], gather.begun_us, until_us) <= limit_us;
    let never = |excused| Late { note: "it never ended".to_owned(), excused };
    match gather.end {
        Some(end) if took(end.at_us) > limit_us => {
            Some(Late { note: format!("it took {}", in_words(took(end.at_us))), excused: excused(end.at_us) })
        }
        // Only a process that is about to end may give up.
        Some(Ended { how: GatherEnd::GivenUp, at_us, .. }) if process.end.at_us().is_none_or(|asked| at_us < asked) => {
            Some(Late { note: "it ended without a result".to_owned(), excused: false })
        }
        None if !joined.leaves_open(process) => Some(never(false)),
        None if took(process.gone_us) > limit_us => Some(never(excused(process.gone_us))),
        _ => None,
    }
}

/// How many gathers ended late only because their process, an index, stood still, and not by the run's own doing.
pub(super) fn excused(joined: &Joined<'_>, by: usize) -> usize {
    let of_process = joined.gathers.iter().filter(|gather| gather.by == by);
    let by_plan = |gather: &&Gather| {
        let node = joined.processes[by].header.index;
        let until_us = gather.end.map_or(joined.processes[by].gone_us, |end| end.at_us);
        joined.disturbed_us(&[node], gather.begun_us, until_us) > 0
    };
    let late = |gather: &&Gather| late(joined, gather).is_some_and(|late| late.excused);
    of_process.filter(|gather| late(gather) && !by_plan(gather)).count()
}

/// In what a gather's end is not what the ledgers show.
fn contradiction(joined: &Joined<'_>, gather: &Gather, end: Ended) -> Option<String> {
    let voted = NodeSet(end.votes.0 | end.wrong.0);
    if end.how == GatherEnd::Reached && voted.len() < gather.need {
        return Some(format!("{} votes of {} that were needed", voted.len(), gather.need));
    }
    if let Some(node) = end.wrong.nodes().next() {
        return Some(format!("the vote of {} has another value", node_name(node)));
    }
    let gave = |node| {
        let mut jobs = gather.jobs.iter().map(|&job| &joined.jobs[job]).filter(|job| node_of(joined, job) == node);
        jobs.any(|job| job.end.is_some_and(|(how, at_us)| how == Ending::Done && at_us <= end.at_us))
    };
    let unborne = |&node: &NodeIndex| !gather.members.has(node) || !joined.unread.contains(&node) && !gave(node);
    voted.nodes().find(unborne).map(|node| format!("no job of {} gave the value that it counts", node_name(node)))
}

/// Gathers that got their quorum though a member was not there when they began, or went while they ran.
pub(super) fn over_a_node_that_was_down(joined: &Joined<'_>) -> u64 {
    let down = joined.restarts();
    let met = |gather: &&Gather| {
        let Some(end) = gather.end.filter(|end| end.how == GatherEnd::Reached) else { return false };
        let asked = |node| gather.members.has(node);
        down.iter().any(|gap| asked(gap.node) && gap.gone_us <= end.at_us && gather.begun_us <= gap.back_us)
    };
    joined.gathers.iter().filter(met).count() as u64
}

/// How often gathers ended in each way.
pub(super) fn ends(joined: &Joined<'_>) -> BTreeMap<GatherEnd, u64> {
    let mut ends = BTreeMap::new();
    joined.gathers.iter().filter_map(|gather| gather.end).for_each(|end| *ends.entry(end.how).or_default() += 1);
    ends
}

fn node_of(joined: &Joined<'_>, job: &Job) -> NodeIndex {
    joined.processes[job.on].header.index
}

fn of_gather(joined: &Joined<'_>, gather: &Gather, note: Option<String>) -> Example {
    let caller = joined.processes[gather.by].header;
    let jobs = || gather.jobs.iter().map(|&job| &joined.jobs[job]);
    Example {
        call: Some(CallId { caller: caller.index, incarnation: caller.incarnation, call: gather.number }),
        work: Some(Work::Vote),
        caller: Some(caller.node.to_string()),
        caller_release: Some(caller.release.to_string()),
        servers: jobs().map(|job| format!("{} of {}", job.server, node_name(node_of(joined, job)))).collect(),
        cast_us: Some(gather.begun_us),
        started_us: jobs().map(|job| job.started_us).collect(),
        answered_us: gather.end.map(|end| end.at_us),
        note,
        ..Example::default()
    }
}

/// How long after its limit a gather may end on a busy machine.
pub(super) const SLACK: Duration = Duration::from_secs(5);

const SLACK_US: u64 = SLACK.as_secs() * 1_000_000;
