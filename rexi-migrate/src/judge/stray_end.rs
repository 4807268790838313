//! Jobs that wait for their kill and were ended by something else: by a kill that was meant for another one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ProcessEnd;
use super::finding::{Example, FindingKind, Findings, in_words, of_job};
use super::join::{Call, Job, Joined};
use crate::ledger::{Ending, NodeIndex, Outcome};

/// What a job may have ended of without a kill, beside the ends of the processes.
pub(super) struct StrayEnds<'a> {
    joined: &'a Joined<'a>,
    /// By calling process and node: when its calls there were told that the peer or the connection was gone, in order.
    breaks: BTreeMap<(usize, NodeIndex), Vec<u64>>,
}

impl<'a> StrayEnds<'a> {
    pub(super) fn new(joined: &'a Joined<'a>) -> Self {
        let mut breaks: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for call in &joined.calls {
            let Some(answer) = call.answer else { continue };
            if matches!(answer.outcome, Outcome::Down | Outcome::ConnectionLost) {
                breaks.entry((call.by, call.to)).or_default().push(answer.at_us);
            }
        }
        breaks.values_mut().for_each(|times| times.sort_unstable());
        Self { joined, breaks }
    }

    /// Finds a job that was dropped before its kill, or without one, though nothing else accounts for its end.
    pub(super) fn find(&self, job: &Job, found: &mut Findings) {
        let (Some(call), Some((Ending::Dropped, ended_us))) = (job.call, job.end) else { return };
        let call = &self.joined.calls[call];
        let killed_us = call.kill.map(|kill| kill.at_us);
        let stray = job.work.ends_by_kill()
            && call.answer.is_none()
            && killed_us.is_none_or(|killed| ended_us < killed)
            && !self.ended_with_a_process(call, job, ended_us)
            && !self.broke(call, ended_us);
        if stray {
            found.add(FindingKind::EndedUnkilled, || Example {
                note: killed_us.map(|killed| format!("ended {} before its kill", in_words(killed - ended_us))),
                ..of_job(self.joined, job)
            });
        }
    }

    /// Whether the process at either end was leaving by then, so that the job went with it. When a process that ended
    /// by itself began to do so is not known.
    fn ended_with_a_process(&self, call: &Call, job: &Job, ended_us: u64) -> bool {
        let caller = &self.joined.processes[call.by];
        // A torn tail may have been the kill, if the job ended no earlier than the record before it was made.
        let torn = caller.torn && caller.records.last().is_none_or(|last| last.at_us <= ended_us);
        torn || [caller, &self.joined.processes[job.on]].into_iter().any(|process| {
            matches!(process.end, ProcessEnd::Crashed { .. }) || process.end.at_us().is_some_and(|at| at <= ended_us)
        })
    }

    /// Whether the caller heard at about that time that the connection had broken: this call may have been killed just
    /// before it would have heard so too.
    fn broke(&self, call: &Call, ended_us: u64) -> bool {
        let about_us = u64::try_from(ABOUT.as_micros()).unwrap_or(u64::MAX);
        let times = self.breaks.get(&(call.by, call.to)).map_or(&[][..], Vec::as_slice);
        let first = times.partition_point(|&at| at < ended_us.saturating_sub(about_us));
        times.get(first).is_some_and(|&at| at <= ended_us.saturating_add(about_us))
    }
}

/// How far apart the two ends of a connection may notice its end.
const ABOUT: Duration = Duration::from_secs(1);
