//! Long lists, worked off in parts: workers to be aborted, and answers to a resume.
//!
//! One frame of a peer can name a hundred thousand calls. What it says counts at once: jobs that are killed, or whose
//! caller has gone, run no more. But all that follows from it, done at once, would hold up everybody else of the node,
//! and would take many times as much memory as the frame.

use std::collections::{VecDeque, vec_deque};

use super::{Caller, Job, JobKey, JobOutput, Server, ServerOutput};
use crate::message::{Message, Sent};
use crate::name::{CallRef, JobId};
use crate::peer::ConnectionId;
use crate::phase::ServerAddress;
use crate::pool::Pool;
use crate::reply_stream::ReplyStream;

/// What is left of a list of one caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    caller: Caller,
    list: List,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum List {
    /// Jobs that have ended, whose workers do not know of it yet.
    Ended(VecDeque<(CallRef, JobId)>),
    /// Calls whose jobs run: what each has sent may be lost, and what its caller has said.
    Open(VecDeque<CallRef>),
    /// Calls that are open on this connection, and were lost with an earlier one.
    Lost(ConnectionId, VecDeque<CallRef>),
    /// Calls to a server that this node does not run.
    Unserved(ServerAddress, VecDeque<CallRef>),
}

impl Part {
    /// The same of a caller that is numbered otherwise.
    pub(super) fn renamed(&self, rename: impl Fn(Caller) -> Caller) -> Self {
        Self { caller: rename(self.caller), list: self.list.clone() }
    }

    /// Numbers its connection otherwise.
    pub(super) fn renumber(&mut self, renumber: impl Fn(Caller, ConnectionId) -> ConnectionId) {
        if let List::Lost(connection, _) = &mut self.list {
            *connection = renumber(self.caller, *connection);
        }
    }
}

impl List {
    fn is_empty(&self) -> bool {
        match self {
            Self::Ended(jobs) => jobs.is_empty(),
            Self::Open(calls) | Self::Lost(_, calls) | Self::Unserved(_, calls) => calls.is_empty(),
        }
    }
}

impl<P: Pool> Server<P> {
    /// Whether there is more to be done of what was asked.
    pub fn is_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// The jobs that have ended, and whose workers are yet to be aborted.
    pub fn ending(&self) -> impl Iterator<Item = JobKey> {
        self.behind.iter().flat_map(|Part { caller, list }| {
            let jobs = if let List::Ended(jobs) = list { Some(jobs) } else { None };
            jobs.into_iter().flatten().map(|&(call, id)| self.key(*caller, call, id))
        })
    }

    /// Does a part of what is left of it. To be called after [`ServerOutput::More`], once others have had their turn.
    pub fn go_on(&mut self) {
        let Some(Part { caller, mut list }) = self.behind.pop_front() else { return };
        let most = self.limits.part_calls_max;
        match &mut list {
            List::Ended(jobs) => {
                for (call, id) in part_of(jobs, most) {
                    let key = self.key(caller, call, id);
                    self.outputs.push_back(ServerOutput::Job(JobOutput::Abort(key)));
                }
            }
            List::Open(calls) => {
                for call in part_of(calls, most) {
                    self.tell_sent(caller, call);
                }
            }
            List::Lost(connection, calls) => {
                let lost = part_of(calls, most).map(|call| ServerOutput::Lost(caller, *connection, call));
                self.outputs.extend(lost);
            }
            List::Unserved(server, calls) => {
                for call in part_of(calls, most) {
                    self.answer(caller, Message::NoSuchServer(*server, call));
                }
            }
        }
        if !list.is_empty() {
            self.behind.push_front(Part { caller, list });
        }
        if self.is_behind() {
            self.outputs.push_back(ServerOutput::More);
        }
    }

    /// Ends the jobs of these calls: they run no more, and hold nothing of the node's totals. Gives the calls that have
    /// none.
    pub(super) fn end_jobs(&mut self, caller: Caller, calls: Vec<CallRef>) -> Vec<CallRef> {
        let (mut ended, mut unmet) = (VecDeque::new(), Vec::new());
        for call in calls {
            match self.remove(caller, call) {
                Some(job) => ended.push_back((call, job.id)),
                None => unmet.push(call),
            }
        }
        self.begin(caller, List::Ended(ended));
        unmet
    }

    /// Ends all jobs of a caller, whose life is over: it is told nothing more.
    pub(super) fn end_all_jobs(&mut self, caller: Caller) {
        let is_told = |part: &Part| part.caller == caller && !matches!(part.list, List::Ended(_));
        self.behind.retain(|part| !is_told(part));
        let jobs = self.take_jobs(caller);
        let ended = jobs.iter().map(|&((_, call), ref job)| (call, job.id)).collect();
        if let Some(mut share) = self.shares.remove(&caller.peer) {
            jobs.iter().for_each(|(_, job)| share.remove_job(job.bytes, job.stream, &mut self.pool));
            if share != Default::default() {
                self.shares.insert(caller.peer, share);
            }
        }
        self.begin(caller, List::Ended(ended));
    }

    /// Tells the caller what these jobs have sent, and what they ask.
    pub(super) fn tell_open(&mut self, caller: Caller, calls: Vec<CallRef>) {
        self.begin(caller, List::Open(calls.into()));
    }

    /// Tells the caller that these calls were lost with its connection.
    pub(super) fn tell_lost(&mut self, caller: Caller, connection: ConnectionId, calls: Vec<CallRef>) {
        self.begin(caller, List::Lost(connection, calls.into()));
    }

    /// Tells the caller that these calls are to a server that this node does not run.
    pub(crate) fn tell_unserved(&mut self, caller: Caller, server: ServerAddress, calls: Vec<CallRef>) {
        self.begin(caller, List::Unserved(server, calls.into()));
    }

    fn begin(&mut self, caller: Caller, list: List) {
        if list.is_empty() {
            return;
        }
        let was_behind = self.is_behind();
        self.behind.push_back(Part { caller, list });
        if !was_behind {
            self.go_on();
        }
    }

    fn tell_sent(&mut self, caller: Caller, call: CallRef) {
        let Some(&Job { replies, stream, ref question, .. }) = self.jobs.get(&(caller, call)) else { return };
        let question = question.as_deref().and_then(|(number, response)| response.is_none().then_some(*number));
        if replies > 0 {
            self.answer(caller, Message::Sent(Sent { call, replies, question }));
        }
        if stream == ReplyStream::Asked {
            self.answer(caller, Message::StreamInit(call));
        }
    }

    /// Takes the jobs of a caller out of those that run.
    fn take_jobs(&mut self, caller: Caller) -> Vec<((Caller, CallRef), Job)> {
        let of_caller = (caller, CallRef(0))..=(caller, CallRef(u64::MAX));
        if self.jobs.len() == self.jobs.range(of_caller).count() {
            return self.jobs.take_all();
        }
        self.jobs.take_out(|(of, _), _| *of == caller)
    }
}

/// Takes what is done of a list at once.
fn part_of<T>(list: &mut VecDeque<T>, most: usize) -> vec_deque::Drain<'_, T> {
    list.drain(..list.len().min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::message::DownReason;
    use crate::name::{Incarnation, PeerId};
    use crate::phase::Servers;
    use crate::pool::{NodePool, Total};
    use crate::server::tests::{CALLER, cast, kill, messages, outputs, resume, server, spawn, told};
    use crate::server::{JobEnding, ServerRequest};

    const MANY: u64 = 600;

    /// As many as by default.
    const PART: usize = 64;

    fn busy() -> (Server, Vec<crate::server::JobKey>) {
        let mut server = server(2_000, 9);
        let jobs = (0..MANY).map(|call| spawn(&mut server, call)).collect();
        (server, jobs)
    }

    /// How many jobs are to be aborted now, and whether there is more to be done.
    fn aborts(server: &mut Server) -> (usize, bool) {
        let outputs = outputs(server);
        let more = outputs.last() == Some(&ServerOutput::More);
        let aborts = outputs.iter().filter(|output| matches!(output, ServerOutput::Job(JobOutput::Abort(_))));
        (aborts.count(), more)
    }

    #[test]
    fn the_ends_of_many_jobs_count_at_once_and_are_worked_off_in_parts() {
        for request in [kill(&Vec::from_iter(0..MANY)), resume(&[]), ServerRequest::Forget] {
            let (mut server, jobs) = busy();
            server.handle_request(CALLER, request);
            assert_eq!((server.jobs(), server.job_bytes()), (0, 0));
            assert!(jobs.iter().all(|&job| !server.handle_ping(job)), "no worker is heard any more");
            let mut parts = vec![aborts(&mut server)];
            while server.is_behind() {
                server.go_on();
                parts.push(aborts(&mut server));
            }
            let (last, others) = parts.split_last().expect("there is one");
            assert!(others.iter().all(|&part| part == (PART, true)), "{parts:?}");
            assert_eq!((others.len(), *last), (9, (24, false)));
            server.go_on();
            assert_eq!(outputs(&mut server), []);
        }
        let mut server = server(9, 9);
        for call in 0..2 {
            spawn(&mut server, call);
        }
        server.handle_request(CALLER, kill(&[0, 1]));
        assert_eq!(aborts(&mut server), (2, false), "few are done at once");
    }

    #[test]
    fn a_list_waits_for_the_one_before_it_and_what_is_asked_meanwhile_is_answered() {
        let (mut server, _) = busy();
        server.handle_request(CALLER, kill(&Vec::from_iter(0..300)));
        assert_eq!(aborts(&mut server), (PART, true));
        // However many short lists come meanwhile, they do no part of it.
        for call in 300..MANY {
            server.handle_request(CALLER, kill(&[call]));
        }
        assert_eq!(outputs(&mut server), []);
        let refused = told(&mut server, cast(1_000));
        assert_eq!((refused, server.jobs()), (vec![], 1), "there is a place for it");
        let mut aborted = 0;
        while server.is_behind() {
            server.go_on();
            aborted += aborts(&mut server).0;
        }
        assert_eq!(aborted, 600 - PART);
    }

    #[test]
    fn the_end_of_a_caller_is_that_of_its_jobs_alone_and_it_is_told_nothing_more() {
        let (mut server, _) = busy();
        let of_others = [Caller { peer: PeerId(0), ..CALLER }, Caller { incarnation: Incarnation(8), ..CALLER }];
        of_others.iter().for_each(|&other| server.handle_request(other, cast(1)));
        server.handle_request(CALLER, resume(&Vec::from_iter(MANY - 1..3 * MANY)));
        outputs(&mut server);
        server.handle_request(CALLER, ServerRequest::Forget);
        assert_eq!(server.calls().map(|(caller, _)| caller).collect::<Vec<_>>(), of_others);
        // The same caller may be back before all is done: its jobs are others.
        let back = spawn(&mut server, 7);
        while server.is_behind() {
            server.go_on();
            let outputs = outputs(&mut server);
            assert!(!outputs.contains(&ServerOutput::Job(JobOutput::Abort(back))));
            assert!(!outputs.iter().any(|output| matches!(output, ServerOutput::Answer(..))), "{outputs:?}");
        }
        assert_eq!(server.jobs(), 3);
        server.handle_end(back, JobEnding::Reply(bytes::Bytes::new()));
        assert_eq!(messages(&mut server).len(), 1);
    }

    #[test]
    fn what_has_ended_holds_nothing_of_the_totals_and_a_servers_end_aborts_it() {
        let limits = Limits { jobs_max: 600, jobs_total_max: 600, ..Limits::default() };
        let pool = NodePool::new(&limits, 1, Servers::PER_NODE);
        let free = pool.left(Total::Jobs);
        for request in [kill(&Vec::from_iter(0..MANY)), ServerRequest::Forget] {
            let mut server = Server::with_pool(ServerAddress::PerNode, &limits, pool.clone());
            (0..MANY).for_each(|call| server.handle_request(CALLER, cast(call)));
            while server.poll_output().is_some() {}
            assert!(server.pool.left(Total::Jobs) < free);
            server.handle_request(CALLER, request);
            assert_eq!(server.pool.left(Total::Jobs), free);
            server.end(DownReason::Shutdown);
            let aborted = std::iter::from_fn(|| server.poll_output())
                .filter(|output| matches!(output, ServerOutput::Job(JobOutput::Abort(_))));
            assert_eq!(aborted.count(), 600);
        }
    }

    #[test]
    fn the_answers_to_a_resume_are_made_in_parts_and_in_order() {
        let (mut server, jobs) = busy();
        for &job in &jobs {
            server.handle_reply(job, bytes::Bytes::new());
        }
        outputs(&mut server);
        let calls = Vec::from_iter(0..2 * MANY);
        let mut told = told(&mut server, resume(&calls));
        assert_eq!(told.len(), PART);
        while server.is_behind() {
            server.go_on();
            told.extend(messages(&mut server));
        }
        let called = told.iter().map(|message| match message {
            Message::Sent(sent) if sent.call.0 < MANY => sent.call.0,
            Message::Exit(exit) if exit.call.0 >= MANY => exit.call.0,
            other => panic!("{other:?}"),
        });
        assert!(called.eq(calls));
    }
}
