//! The callee's side: jobs, kills, exits. A singleton and a per-node server are both a [`Server`]; the first takes the
//! requests of every peer, the second those of one.
//!
//! In: requests of peers, replies and ends of workers. Out: workers to spawn and to abort, answers to send. A job's key
//! holds its caller's incarnation, so that nothing of an earlier life meets a later one. Starting workers and finding
//! functions is left to the shell. Source: rexi_server.erl; REXI.md R3, R8, R12 to R14, R31.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::limits::Limits;
use crate::message::{Body, DownReason, Exit, ExitReason, Message, Reply, Trace};
use crate::name::{CallRef, Incarnation, JobId, MonitorRef, PeerId};
use crate::phase::ServerAddress;
use std::sync::Arc;

/// Who asked: a peer in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller {
    /// The peer.
    pub peer: PeerId,
    /// Its life.
    pub incarnation: Incarnation,
}

/// What a peer asks of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Run a function.
    Cast(CastRequest),
    /// End these calls' jobs, silently.
    Kill(Vec<CallRef>),
    /// These are all the calls that the peer has open with this server.
    Resume(Vec<CallRef>),
    /// Tell the peer when this server ends.
    Monitor(MonitorRef),
    /// No longer tell it.
    Demonitor(MonitorRef),
    /// The peer's life is over: end all its jobs, silently.
    Forget,
}

/// A cast whose payload is complete.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CastRequest {
    /// The caller's number for it.
    pub call: CallRef,
    /// The function's registered name.
    pub function: Arc<str>,
    /// Time that remained when it arrived.
    pub time_left: Option<Duration>,
    /// The caller's id of the wider request; 0 for none.
    pub nonce: u64,
    /// W3C trace context.
    pub trace: Option<Trace>,
    /// The encoded argument.
    pub body: Bytes,
}

/// A job: which server runs it, for whom, and the server's own number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// The server that accepted it.
    pub server: ServerAddress,
    /// Who asked.
    pub caller: Caller,
    /// The caller's number for it.
    pub call: CallRef,
    /// The server's number for it.
    pub id: JobId,
}

/// What a server wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerOutput {
    /// Start a worker for this job.
    Spawn(JobKey, CastRequest),
    /// Abort this job's worker; nothing is to be heard of it.
    Abort(JobKey),
    /// Send this to the peer, if it still is in that life.
    Answer(Caller, Message),
}

/// How a worker came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// With a last reply.
    Reply(Bytes),
    /// Without one.
    Exit(ExitReason),
    /// There is no such function.
    NoSuchFunction,
}

/// One server's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    address: ServerAddress,
    jobs: BTreeMap<(Caller, CallRef), Job>,
    jobs_by_peer: BTreeMap<PeerId, usize>,
    next_job: u64,
    /// Kills that met no job, oldest first: a cast that comes after its kill must not start (SAFETY.md M26).
    tombstones: VecDeque<(Caller, CallRef)>,
    monitors: BTreeSet<(Caller, MonitorRef)>,
    draining: bool,
    /// Why the server ended, once it has.
    ended: Option<DownReason>,
    jobs_max: usize,
    tombstones_max: usize,
    payload_bytes_max: usize,
    outputs: VecDeque<ServerOutput>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Job {
    id: JobId,
    function: Arc<str>,
    /// Replies sent so far.
    replies: u64,
}

impl Server {
    /// A server without jobs.
    pub fn new(address: ServerAddress, limits: &Limits) -> Self {
        Self {
            address,
            jobs: BTreeMap::new(),
            jobs_by_peer: BTreeMap::new(),
            next_job: 0,
            tombstones: VecDeque::new(),
            monitors: BTreeSet::new(),
            draining: false,
            ended: None,
            jobs_max: limits.jobs_max,
            tombstones_max: limits.tombstones_max,
            payload_bytes_max: limits.payload_bytes_max as usize,
            outputs: VecDeque::new(),
        }
    }

    /// Takes a peer's request.
    pub fn handle_request(&mut self, caller: Caller, request: Request) {
        match request {
            Request::Cast(cast) => self.handle_cast(caller, cast),
            Request::Kill(calls) => calls.into_iter().for_each(|call| self.handle_kill(caller, call)),
            Request::Resume(calls) => self.handle_resume(caller, &calls),
            Request::Monitor(monitor) => match self.ended {
                Some(reason) => self.answer(caller, Message::Down(monitor, reason)),
                None => {
                    self.monitors.insert((caller, monitor));
                }
            },
            Request::Demonitor(monitor) => {
                self.monitors.remove(&(caller, monitor));
            }
            Request::Forget => self.forget(caller),
        }
    }

    /// Takes a worker's reply that is not its last. `false`: the job is over, and the worker should end. A reply above
    /// the limit is the end of its job.
    pub fn handle_reply(&mut self, job: JobKey, body: Bytes) -> bool {
        if body.len() > self.payload_bytes_max {
            if self.running(job).is_some() {
                self.handle_end(job, Ending::Exit(ExitReason::ReplyTooLarge));
                self.outputs.push_back(ServerOutput::Abort(job));
            }
            return false;
        }
        let Some(running) = self.running(job) else { return false };
        let number = running.replies;
        running.replies += 1;
        let reply = Reply { call: job.call, number, last: false, body: Body::Inline(body) };
        self.answer(job.caller, Message::Reply(reply));
        true
    }

    /// Takes a worker's sign of life. `false`: the job is over, and the worker should end.
    pub fn handle_ping(&mut self, job: JobKey) -> bool {
        let runs = self.running(job).is_some();
        if runs {
            self.answer(job.caller, Message::Ping(job.call));
        }
        runs
    }

    /// Takes a worker's end. The end of a job that was killed before is silent.
    pub fn handle_end(&mut self, job: JobKey, ending: Ending) {
        if self.running(job).is_none() {
            return;
        }
        let Some(Job { function, replies, .. }) = self.remove(job.caller, job.call) else { return };
        let call = job.call;
        let exit = |reason| Message::Exit(Exit { call, replies, function, reason });
        let message = match ending {
            Ending::Reply(body) if body.len() > self.payload_bytes_max => exit(ExitReason::ReplyTooLarge),
            Ending::Reply(body) => {
                Message::Reply(Reply { call, number: replies, last: true, body: Body::Inline(body) })
            }
            Ending::Exit(reason) => exit(reason),
            Ending::NoSuchFunction => Message::NoSuchFunction(call),
        };
        self.answer(job.caller, message);
    }

    /// Ends one job because its caller can no longer hear of it.
    pub fn abandon(&mut self, caller: Caller, call: CallRef) {
        if let Some(job) = self.remove(caller, call) {
            self.outputs.push_back(ServerOutput::Abort(self.key(caller, call, job.id)));
        }
    }

    /// From now on refuses casts with a typed exit. Jobs go on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Ends the server: its jobs are aborted and answered, its monitors told.
    pub fn end(&mut self, reason: DownReason) {
        self.draining = true;
        self.ended = Some(reason);
        for ((caller, call), job) in std::mem::take(&mut self.jobs) {
            self.outputs.push_back(ServerOutput::Abort(self.key(caller, call, job.id)));
            let exit = Exit { call, replies: job.replies, function: job.function, reason: ExitReason::ServerEnded };
            self.answer(caller, Message::Exit(exit));
        }
        self.jobs_by_peer.clear();
        for (caller, monitor) in std::mem::take(&mut self.monitors) {
            self.answer(caller, Message::Down(monitor, reason));
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<ServerOutput> {
        self.outputs.pop_front()
    }

    /// Jobs that run now.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// The calls whose jobs run now, by caller.
    pub fn calls(&self) -> impl Iterator<Item = (Caller, CallRef)> {
        self.jobs.keys().copied()
    }

    fn handle_cast(&mut self, caller: Caller, cast: CastRequest) {
        let place = (caller, cast.call);
        let refusal = if self.draining {
            Some(ExitReason::Draining)
        } else if self.jobs.contains_key(&place) {
            Some(ExitReason::DuplicateRef)
        } else if self.tombstones.contains(&place) {
            Some(ExitReason::Killed)
        } else if self.jobs_by_peer.get(&caller.peer).is_some_and(|&jobs| jobs >= self.jobs_max) {
            Some(ExitReason::TooManyJobs)
        } else {
            None
        };
        if let Some(reason) = refusal {
            let exit = Exit { call: cast.call, replies: 0, function: cast.function, reason };
            return self.answer(caller, Message::Exit(exit));
        }
        let id = JobId(self.next_job);
        self.next_job += 1;
        self.jobs.insert(place, Job { id, function: Arc::clone(&cast.function), replies: 0 });
        *self.jobs_by_peer.entry(caller.peer).or_default() += 1;
        self.outputs.push_back(ServerOutput::Spawn(self.key(caller, cast.call, id), cast));
    }

    fn handle_kill(&mut self, caller: Caller, call: CallRef) {
        if self.jobs.contains_key(&(caller, call)) {
            return self.abandon(caller, call);
        }
        if self.tombstones.len() >= self.tombstones_max {
            self.tombstones.pop_front();
        }
        self.tombstones.push_back((caller, call));
    }

    /// Both ends agree on what is open again: jobs whose kill was lost end, calls whose cast or reply was lost are
    /// told.
    fn handle_resume(&mut self, caller: Caller, calls: &[CallRef]) {
        // What the peer still watches it says again right behind this; what it no longer does, its demonitor was lost.
        self.monitors.retain(|(of, _)| *of != caller);
        let open: BTreeSet<CallRef> = calls.iter().copied().collect();
        let jobs = self.jobs_of(caller);
        for &call in jobs.difference(&open) {
            self.abandon(caller, call);
        }
        for &call in open.difference(&jobs) {
            let exit = Exit { call, replies: 0, function: Arc::default(), reason: ExitReason::ConnectionLost };
            self.answer(caller, Message::Exit(exit));
        }
    }

    fn forget(&mut self, caller: Caller) {
        for call in self.jobs_of(caller) {
            self.abandon(caller, call);
        }
        self.tombstones.retain(|(of, _)| *of != caller);
        self.monitors.retain(|(of, _)| *of != caller);
    }

    /// This very job, if it runs, and not a later one of the same call.
    fn running(&mut self, job: JobKey) -> Option<&mut Job> {
        self.jobs.get_mut(&(job.caller, job.call)).filter(|running| running.id == job.id)
    }

    fn jobs_of(&self, caller: Caller) -> BTreeSet<CallRef> {
        let of_caller = (caller, CallRef(0))..=(caller, CallRef(u64::MAX));
        self.jobs.range(of_caller).map(|(&(_, call), _)| call).collect()
    }

    fn remove(&mut self, caller: Caller, call: CallRef) -> Option<Job> {
        let job = self.jobs.remove(&(caller, call))?;
        if let Some(jobs) = self.jobs_by_peer.get_mut(&caller.peer) {
            *jobs -= 1;
            if *jobs == 0 {
                self.jobs_by_peer.remove(&caller.peer);
            }
        }
        Some(job)
    }

    fn answer(&mut self, caller: Caller, message: Message) {
        self.outputs.push_back(ServerOutput::Answer(caller, message));
    }

    fn key(&self, caller: Caller, call: CallRef, id: JobId) -> JobKey {
        JobKey { server: self.address, caller, call, id }
    }
}

#[cfg(test)]
mod tests;
