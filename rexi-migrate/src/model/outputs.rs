//! What the state machines of a node want done: it is done here, and nowhere else.
//!
//! Workers start and end, requests are queued, mailboxes get their answers in the observer's sight, peers are told of a
//! new phase. Closing connections is left to whoever has the network.

use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{Caller, JobKey, JobOutput, Output, Peer, Pool, Server, ServerOutput};

use super::case::Case;
use super::node::{Close, Job, NodeModel, PEER, member_id, member_of, name};
use super::observer::Observer;
use super::rule::Rule;

impl<P: Pool + Clone> NodeModel<P> {
    /// Does all that its parts want done, and gives the connections that are to be closed: then there may be more.
    pub fn drain(&mut self, now: Duration, notes: &mut Observer) -> Vec<Close> {
        let mut closes = Vec::new();
        loop {
            let mut quiet = true;
            for member in self.touched_peers() {
                while let Some(output) = self.peer_mut(member).poll_output() {
                    quiet = false;
                    self.handle_output(member, output, notes, &mut closes);
                }
            }
            while self.touched.singleton
                && let Some(output) = self.singleton_mut().and_then(Server::poll_output)
            {
                quiet = false;
                self.handle_server_output(output, notes);
            }
            quiet &= !self.tell_phases(now, notes);
            if quiet {
                return closes;
            }
        }
    }

    /// Does one thing that the peer of a member wants done.
    pub fn handle_output(&mut self, member: usize, output: Output<u16>, notes: &mut Observer, closes: &mut Vec<Close>) {
        match output {
            Output::Job(output) => self.handle_job_output(member, output, notes),
            Output::Singleton(caller, request) if self.singleton.is_some() => {
                let peer = if self.numbered { caller.peer } else { member_id(member) };
                self.queue.push_back((Caller { peer, ..caller }, request));
            }
            Output::Singleton(_, request) => notes.no_singleton(self.index, member, &request),
            Output::Deliver(mailbox, call, answer) => {
                for answer in answer.one_by_one() {
                    notes.answered((self.index, self.life), mailbox, call, &answer);
                }
            }
            Output::MonitorDown(mailbox, monitor, reason) => {
                notes.down((self.index, self.life), mailbox, monitor, reason);
            }
            Output::Announced(life, number, now) => {
                let read = self.seen.get(member).and_then(|seen| seen.hello);
                if read.is_some_and(|(of, at, _)| (life, now.epoch) < (of, at)) {
                    notes.saw(Case::EarlierWord);
                }
                self.rollout_mut().handle_announce(&name(member), life, number, now);
            }
            Output::Unsupported(kind) => notes.unsupported(self.index, member, kind),
            Output::Close(code, reason) => closes.push(Close { member, code, reason }),
            Output::More if !self.in_turns => self.go_on(Some(member)),
            _ => {}
        }
    }

    fn handle_server_output(&mut self, output: ServerOutput, notes: &mut Observer) {
        match output {
            ServerOutput::Job(output) => {
                let (JobOutput::Spawn(job, _) | JobOutput::Abort(job) | JobOutput::Wake(job)) = &output;
                self.handle_job_output(member_of(job.caller), output, notes);
            }
            ServerOutput::Answer(caller, message) => {
                self.with_caller(caller, notes, |peer, caller| peer.answer(caller, message));
            }
            ServerOutput::Lost(caller, connection, call) => {
                self.with_caller(caller, notes, |peer, caller| peer.answer_lost(caller, connection, call));
            }
            ServerOutput::More if self.in_turns => {}
            ServerOutput::More => self.go_on(None),
        }
    }

    /// Does something with the peer that a caller of the singleton is, which knows itself by another number.
    fn with_caller(&mut self, caller: Caller, notes: &mut Observer, act: impl FnOnce(&mut Peer<u16, P>, Caller)) {
        let (member, peer) = (member_of(caller), if self.numbered { caller.peer } else { PEER });
        if self.peers[member].is_none() {
            let what = format!("{} answers {caller:?}, which is not a member", name(self.index));
            return notes.breaks(Rule::AnswerToNoCall, what);
        }
        act(self.peer_mut(member), Caller { peer, ..caller });
    }

    fn handle_job_output(&mut self, member: usize, output: JobOutput, notes: &mut Observer) {
        match output {
            JobOutput::Spawn(job, cast) => self.spawn(member, job, &cast.body, notes),
            JobOutput::Abort(job) => self.abort(member, job, notes),
            JobOutput::Wake(job) => self.wake(member, job, notes),
        }
    }

    fn spawn(&mut self, member: usize, key: JobKey, body: &Bytes, notes: &mut Observer) {
        if let Some(call) = notes.spawned(self.index, member, key, body) {
            self.jobs.push(Job { key, member, call, waits: false, over: false });
        }
    }

    fn abort(&mut self, member: usize, key: JobKey, notes: &mut Observer) {
        match self.jobs.iter().position(|job| (job.member, job.key) == (member, key)) {
            Some(at) => notes.aborted(self.jobs.remove(at).call),
            None => {
                let what = format!("{} aborts {key:?}, which does not run", name(self.index));
                notes.breaks(Rule::AbortOfNoJob, what);
            }
        }
    }

    fn wake(&mut self, member: usize, key: JobKey, notes: &mut Observer) {
        match self.jobs.iter_mut().find(|job| (job.member, job.key) == (member, key)) {
            Some(job) => job.waits = false,
            None => {
                let what = format!("{} wakes {key:?}, which does not run", name(self.index));
                notes.breaks(Rule::WakeOfNoJob, what);
            }
        }
    }
}
