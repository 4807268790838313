//! Jobs that wait for their kill and were ended by something else: by a kill that was meant for another job.

use std::collections::BTreeMap;
use std::time::Duration;

use super::finding::{Example, FindingKind, Findings, in_words, of_job};
use super::join::{Call, Job, Joined};
use crate::history::evidence::ProcessEnd;
use crate::history::ledger::{Ending, Entry, NodeIndex, Outcome, Work};

/// What may have ended a job without a kill, besides the ends of the processes.
pub(super) struct StrayEnds<'a> {
    joined: &'a Joined<'a>,
    /// By process and node: when the process noticed that its connection there was gone, or a call there was told so,
    /// in order.
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
        for (index, process) in joined.processes.iter().enumerate() {
            for record in process.records {
                let Entry::Away { node } = record.entry else { continue };
                breaks.entry((index, node)).or_default().push(record.at_us);
            }
        }
        breaks.values_mut().for_each(|times| times.sort_unstable());
        Self { joined, breaks }
    }

    /// Finds a job that was dropped before its kill, or without one, though nothing else accounts for its end.
    pub(super) fn find(&self, job: &Job, found: &mut Findings) {
        let (Some(index), Some((Ending::Dropped, ended_us))) = (job.call, job.end) else { return };
        let call = &self.joined.calls[index];
        let killed_us = call.kill.map(|kill| kill.at_us);
        let stray = job.work.ends_by_kill()
            && call.answer.is_none()
            && killed_us.is_none_or(|killed| ended_us < killed)
            && !self.was_cancelled(index, ended_us)
            && !self.ended_with_a_process(call, job, ended_us)
            && !self.may_not_have_heard(call, job, ended_us)
            && !self.broke(call, job, ended_us);
        if stray {
            found.add(FindingKind::EndedUnkilled, || Example {
                note: killed_us.map(|killed| format!("ended {} before its kill", in_words(killed - ended_us))),
                ..of_job(self.joined, job)
            });
        }
    }

    /// Whether its caller had cancelled the stream by then.
    fn was_cancelled(&self, call: usize, ended_us: u64) -> bool {
        self.joined.talks.get(&call).and_then(|talk| talk.cancelled_us).is_some_and(|at_us| at_us <= ended_us)
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

    /// Whether the job of a stream, which its server may end too (a full buffer, a caller that acknowledges nothing),
    /// ended so shortly before its caller's process died that its caller may not have learned of it.
    fn may_not_have_heard(&self, call: &Call, job: &Job, ended_us: u64) -> bool {
        let ends = [&self.joined.processes[call.by], &self.joined.processes[job.on]];
        let gone_us = ends[0].gone_us;
        job.work == Work::Stream && ends[0].died() && Joined::awake_us(ends, ended_us, gone_us) <= ABOUT_US
    }

    /// Whether one of its ends noticed that the connection had broken while the job ran, or about when it ended: this
    /// call may have been killed just before it would have heard so too.
    fn broke(&self, call: &Call, job: &Job, ended_us: u64) -> bool {
        let (caller, runner) = (&self.joined.processes[call.by], &self.joined.processes[job.on]);
        let noticed = |by: usize, node: NodeIndex| {
            let times = self.breaks.get(&(by, node)).map_or(&[][..], Vec::as_slice);
            let later = &times[times.partition_point(|&at| at < job.started_us)..];
            later.first().is_some_and(|&at| Joined::awake_us([caller, runner], ended_us, at) <= ABOUT_US)
        };
        noticed(call.by, runner.header.index) || noticed(job.on, caller.header.index)
    }
}

/// How far apart the two ends of a connection may notice its end.
const ABOUT: Duration = Duration::from_secs(1);

const ABOUT_US: u64 = ABOUT.as_secs() * 1_000_000;
