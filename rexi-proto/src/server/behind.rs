//! Long lists, worked off in parts: kills, the jobs of a caller whose life is over, answers to a resume.
//!
//! One frame of a peer can name a hundred thousand calls. All that follows from it, done at once, would hold up
//! everybody else of the node, and would take many times as much memory as the frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Caller, Job, JobOutput, Server, ServerOutput};
use crate::message::{Exit, ExitReason, Message};
use crate::name::{CallRef, Incarnation, PeerId};
use crate::pool::Pool;

/// What is left of a list, last first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Kills of the caller.
    Kills(Caller, Vec<CallRef>),
    /// Calls of the caller that were lost with its connection, of which it is to be told.
    Lost(Caller, Vec<CallRef>),
    /// Jobs that nobody waits for any more. They keep their shares until their workers are aborted.
    Ended(BTreeMap<(Caller, CallRef), Job>),
}

impl Part {
    fn is_done(&self) -> bool {
        match self {
            Self::Kills(_, calls) | Self::Lost(_, calls) => calls.is_empty(),
            Self::Ended(jobs) => jobs.is_empty(),
        }
    }
}

impl<P: Pool> Server<P> {
    /// Whether there is more to be done of what was asked.
    pub fn is_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Does a part of what is left of it. To be called after [`ServerOutput::More`], once others have had their turn.
    pub fn go_on(&mut self) {
        let Some(mut part) = self.behind.pop_front() else { return };
        match &mut part {
            Part::Kills(caller, calls) => {
                for call in calls.drain(calls.len().saturating_sub(PART_CALLS_MAX)..).rev() {
                    self.handle_kill(*caller, call);
                }
            }
            Part::Lost(caller, calls) => {
                for call in calls.drain(calls.len().saturating_sub(PART_CALLS_MAX)..).rev() {
                    let reason = ExitReason::ConnectionLost;
                    self.answer(*caller, Message::Exit(Exit { call, replies: 0, function: Arc::default(), reason }));
                }
            }
            Part::Ended(jobs) => {
                for ((caller, call), job) in std::iter::from_fn(|| jobs.pop_first()).take(PART_CALLS_MAX) {
                    self.release(caller, &job);
                    let key = self.key(caller, call, job.id);
                    self.outputs.push_back(ServerOutput::Job(JobOutput::Abort(key)));
                }
            }
        }
        if !part.is_done() {
            self.behind.push_front(part);
        }
        if self.is_behind() {
            self.outputs.push_back(ServerOutput::More);
        }
    }

    /// Begins with a list.
    pub(super) fn begin(&mut self, part: Part) {
        self.behind.push_back(part);
        self.go_on();
    }

    /// Takes the jobs of a caller out of those that run.
    pub(super) fn take_jobs(&mut self, caller: Caller) -> BTreeMap<(Caller, CallRef), Job> {
        let next = match caller.incarnation.0.checked_add(1) {
            Some(life) => Caller { incarnation: Incarnation(life), ..caller },
            None => Caller { peer: PeerId(caller.peer.0.saturating_add(1)), incarnation: Incarnation(0) },
        };
        let mut jobs = self.jobs.split_off(&(caller, CallRef(0)));
        let mut others = jobs.split_off(&(next, CallRef(0)));
        self.jobs.append(&mut others);
        jobs
    }

    /// How many jobs keep their shares and no longer run.
    pub(super) fn ended_jobs(&self) -> usize {
        let ended = |part: &Part| if let Part::Ended(jobs) = part { jobs.len() } else { 0 };
        self.behind.iter().map(ended).sum()
    }
}

/// What is done of a list before others have their turn: some tens of microseconds.
const PART_CALLS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::message::DownReason;
    use crate::phase::{ServerAddress, Servers};
    use crate::pool::{NodePool, Total};
    use crate::server::ServerRequest;
    use crate::server::tests::{CALLER, cast, kill, messages, outputs, resume, server, spawn, told};

    const MANY: u64 = 200;

    /// How many jobs are to be aborted now, and whether there is more to be done.
    fn aborts(server: &mut Server) -> (usize, bool) {
        let outputs = outputs(server);
        let more = outputs.last() == Some(&ServerOutput::More);
        let aborts = outputs.iter().filter(|output| matches!(output, ServerOutput::Job(JobOutput::Abort(_))));
        (aborts.count(), more)
    }

    #[test]
    fn a_long_list_of_kills_is_done_in_parts_and_a_short_one_at_once() {
        for request in [kill(&Vec::from_iter(0..MANY)), ServerRequest::Forget] {
            let mut server = server(2_000, 9);
            for call in 0..MANY {
                spawn(&mut server, call);
            }
            server.handle_request(CALLER, request);
            let mut parts = vec![aborts(&mut server)];
            while server.is_behind() {
                assert!(server.jobs() > 0, "those that are not aborted yet");
                server.go_on();
                parts.push(aborts(&mut server));
            }
            assert_eq!(parts, [(64, true), (64, true), (64, true), (8, false)]);
            assert_eq!((server.jobs(), server.job_bytes()), (0, 0));
            server.go_on();
            assert_eq!(outputs(&mut server), []);
        }
        let mut server = server(9, 9);
        for call in 0..2 {
            spawn(&mut server, call);
        }
        server.handle_request(CALLER, kill(&[0, 1]));
        assert_eq!(aborts(&mut server), (2, false));
    }

    #[test]
    fn the_end_of_a_caller_is_that_of_its_jobs_though_not_all_are_aborted_yet() {
        let mut server = server(2_000, 9);
        let jobs: Vec<_> = (0..MANY).map(|call| spawn(&mut server, call)).collect();
        let of_others = [Caller { peer: PeerId(0), ..CALLER }, Caller { incarnation: Incarnation(8), ..CALLER }];
        of_others.iter().for_each(|&other| server.handle_request(other, cast(1)));
        outputs(&mut server);
        server.handle_request(CALLER, ServerRequest::Forget);
        outputs(&mut server);
        assert!(jobs.iter().all(|&job| !server.handle_ping(job)), "no worker is heard any more");
        assert_eq!(server.calls().map(|(caller, _)| caller).collect::<Vec<_>>(), of_others);
        // The same caller may be back before all are gone: its jobs are others.
        let back = spawn(&mut server, 7);
        while server.is_behind() {
            server.go_on();
        }
        assert!(!outputs(&mut server).contains(&ServerOutput::Job(JobOutput::Abort(back))));
        assert_eq!(server.jobs(), 3);
    }

    #[test]
    fn what_is_left_to_be_aborted_keeps_its_share_and_a_servers_end_aborts_it() {
        let limits = Limits { jobs_max: 200, jobs_total_max: 200, ..Limits::default() };
        let pool = NodePool::new(&limits, 1, Servers::PER_NODE);
        let free = pool.left(Total::Jobs);
        let mut server = Server::with_pool(ServerAddress::PerNode, &limits, pool);
        (0..MANY).for_each(|call| server.handle_request(CALLER, cast(call)));
        while server.poll_output().is_some() {}
        server.handle_request(CALLER, ServerRequest::Forget);
        assert!(server.pool.left(Total::Jobs) < free);
        server.end(DownReason::Shutdown);
        let aborted = std::iter::from_fn(|| server.poll_output())
            .filter(|output| matches!(output, ServerOutput::Job(JobOutput::Abort(_))));
        assert_eq!(aborted.count(), 200);
        assert_eq!((server.jobs(), server.pool.left(Total::Jobs)), (0, free));
    }

    #[test]
    fn the_answers_to_a_resume_are_made_in_parts_and_in_order() {
        let (mut server, calls) = (server(9, 9), Vec::from_iter(0..MANY));
        let mut told = told(&mut server, resume(&calls));
        assert_eq!(told.len(), 64);
        while server.is_behind() {
            server.go_on();
            told.extend(messages(&mut server));
        }
        let called = told.iter().map(|message| if let Message::Exit(exit) = message { exit.call.0 } else { MANY });
        assert!(called.eq(calls));
    }
}
