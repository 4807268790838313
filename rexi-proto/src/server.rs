//! The callee's side: jobs, kills, exits. A singleton and a per-node server are both a [`Server`]; the first takes the
//! requests of every peer, the second those of one.
//!
//! In: requests of peers, replies and ends of workers. Out: workers to spawn, to wake and to abort, answers to send. A
//! job's key holds its caller's incarnation, so that nothing of an earlier life meets a later one. Starting workers and
//! finding functions is left to the shell. Source: rexi_server.erl; R3, R8, R12 to R14 and R31 of docs/rexi.md.

mod behind;
mod search;
mod share;
mod streams;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::guards::Guards;
use crate::in_order::InOrder;
use crate::limits::Limits;
use crate::message::{Body, Cast, DownReason, Exit, ExitReason, Message, Reply, ReplyForm};
use crate::mutant::Mutants;
use crate::name::{CallRef, Incarnation, JobId, MonitorRef, PeerId};
use crate::peer::ConnectionId;
use crate::phase::ServerAddress;
use crate::pool::{Pool, Unlimited};
use crate::reply_stream::{ReplyStream, StreamSignal, StreamTimeouts};

use behind::Part;
use share::Share;

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
pub enum ServerRequest {
    /// Run a function.
    Cast(Cast<Bytes, Arc<str>>),
    /// End these calls' jobs, silently.
    Kill(Vec<CallRef>),
    /// These are all the calls that the peer has open with this server: it says so on this connection.
    Resume(ConnectionId, Vec<CallRef>),
    /// What the caller of this job says of its stream.
    Stream(CallRef, StreamSignal),
    /// The response to the question that this reply of the job was.
    Response(CallRef, u64, Bytes),
    /// Tell the peer when this server ends.
    Monitor(MonitorRef),
    /// No longer tell it.
    Demonitor(MonitorRef),
    /// The peer's life is over: end all its jobs, silently.
    Forget,
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

/// What a server wants done for a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobOutput {
    /// Start a worker for it.
    Spawn(JobKey, Cast<Bytes, Arc<str>>),
    /// Abort its worker, which ends without an answer.
    Abort(JobKey),
    /// Let its worker ask again: what it waits for may be there.
    Wake(JobKey),
}

/// What a server wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerOutput {
    /// See to this job's worker.
    Job(JobOutput),
    /// Send this to the peer, if it still is in that life.
    Answer(Caller, Message),
    /// Tell the peer that this call was lost with its connection, if this one is still in use: on a later one its cast
    /// may be here by now.
    Lost(Caller, ConnectionId, CallRef),
    /// Call [`Server::go_on`], once others have had their turn.
    More,
}

/// How a worker came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobEnding {
    /// With a last reply.
    Reply(Bytes),
    /// Without one.
    Exit(ExitReason),
    /// There is no such function.
    NoSuchFunction,
}

/// What became of an item that a job wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemStep {
    /// It was sent.
    Sent,
    /// The job has to wait for its caller, and is woken.
    Wait,
    /// The job is over.
    Over,
}

/// What became of a job's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuestionStep {
    /// Its caller has responded.
    Response(Bytes),
    /// The job has to wait for its caller, and is woken.
    Wait,
    /// The job is over.
    Over,
}

/// One server's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server<P = Unlimited> {
    address: ServerAddress,
    jobs: InOrder<(Caller, CallRef), Job>,
    shares: BTreeMap<PeerId, Share>,
    next_job: u64,
    /// Kills that met no job, oldest first: a cast that comes after its kill must not start (M26 of docs/safety.md).
    tombstones: VecDeque<(Caller, CallRef)>,
    monitors: BTreeSet<(Caller, MonitorRef)>,
    draining: bool,
    /// Why the server ended, once it has.
    ended: Option<DownReason>,
    timeouts: StreamTimeouts,
    limits: Limits,
    pool: P,
    guards: Guards,
    /// Lists that are being worked off.
    behind: VecDeque<Part>,
    outputs: VecDeque<ServerOutput>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Job {
    id: JobId,
    function: Arc<str>,
    /// Bytes of its argument.
    bytes: usize,
    /// Replies sent so far.
    replies: u64,
    stream: ReplyStream,
    /// The question that it waits with, by its number, and the response once it has come.
    question: Option<Box<(u64, Option<Bytes>)>>,
}

impl Server {
    /// A server without jobs, on a node on which nothing is bounded in all.
    pub fn new(address: ServerAddress, limits: &Limits) -> Self {
        Self::with_pool(address, limits, Unlimited)
    }
}

impl<P: Pool> Server<P> {
    /// A server without jobs, which takes out of `pool` what its peers hold beyond their floors.
    pub fn with_pool(address: ServerAddress, limits: &Limits, pool: P) -> Self {
        Self {
            address,
            jobs: InOrder::default(),
            shares: BTreeMap::new(),
            next_job: 0,
            tombstones: VecDeque::new(),
            monitors: BTreeSet::new(),
            draining: false,
            ended: None,
            timeouts: StreamTimeouts::default(),
            limits: limits.clone(),
            pool,
            guards: Guards::default(),
            behind: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The same server, broken on purpose; by none in a release.
    #[must_use]
    pub fn with_mutants(self, mutants: Mutants) -> Self {
        Self { guards: Guards::without(mutants), ..self }
    }

    /// Takes a peer's request.
    pub fn handle_request(&mut self, caller: Caller, request: ServerRequest) {
        match request {
            ServerRequest::Cast(cast) => self.handle_cast(caller, cast),
            ServerRequest::Kill(calls) => self.handle_kills(caller, calls),
            ServerRequest::Resume(connection, calls) => self.handle_resume(caller, connection, &calls),
            ServerRequest::Monitor(monitor) => match self.ended {
                Some(reason) => self.answer(caller, Message::Down(monitor, reason)),
                None => self.handle_monitor(caller, monitor),
            },
            ServerRequest::Stream(call, signal) => self.handle_signal(caller, call, signal),
            ServerRequest::Response(call, number, body) => self.handle_response(caller, call, number, body),
            ServerRequest::Demonitor(monitor) => {
                self.monitors.remove(&(caller, monitor));
            }
            ServerRequest::Forget => {
                if self.guards.callers_end_ends_jobs() {
                    self.forget(caller);
                }
            }
        }
    }

    /// Takes a worker's reply that is not its last. `false`: the job is over, and the worker should end. A reply above
    /// the limit is the end of its job.
    pub fn handle_reply(&mut self, job: JobKey, body: Bytes) -> bool {
        self.send(job, ReplyForm::Plain, body).is_some()
    }

    /// Takes a worker's sign of life. `false`: the job is over, and the worker should end.
    pub fn handle_ping(&mut self, job: JobKey) -> bool {
        let runs = self.runs(job);
        if runs {
            self.answer(job.caller, Message::Ping(job.call));
        }
        runs
    }

    /// Whether this very job runs: it was accepted, and has neither ended nor been killed.
    pub fn runs(&self, job: JobKey) -> bool {
        self.jobs.get(&(job.caller, job.call)).is_some_and(|running| running.id == job.id)
    }

    /// Takes a worker's end. The end of a job that was killed before is silent.
    pub fn handle_end(&mut self, job: JobKey, ending: JobEnding) {
        if let Some(answer) = self.end_of(job, ending) {
            self.answer(job.caller, answer);
        }
    }

    /// Ends a job, and gives what its caller is told; `None` where it was killed before.
    pub(crate) fn end_of(&mut self, job: JobKey, ending: JobEnding) -> Option<Message> {
        let ended = self.jobs.remove_if(&(job.caller, job.call), |running| running.id == job.id)?;
        self.shrink_share(job.caller, &ended);
        let Job { function, replies, .. } = ended;
        let (call, payload_bytes_max) = (job.call, self.limits.payload_bytes_max as usize);
        let exit = |reason| Message::Exit(Exit { call, replies, function, reason });
        Some(match ending {
            JobEnding::Reply(body) if body.len() > payload_bytes_max => exit(ExitReason::ReplyTooLarge),
            JobEnding::Reply(body) => {
                Message::Reply(Reply { call, number: replies, form: ReplyForm::Last, body: Body::Inline(body) })
            }
            JobEnding::Exit(reason) => exit(reason),
            JobEnding::NoSuchFunction => Message::NoSuchFunction(call),
        })
    }

    /// Ends one job whose caller can no longer be told.
    pub fn abandon(&mut self, caller: Caller, call: CallRef) {
        if let Some(job) = self.remove(caller, call) {
            self.outputs.push_back(ServerOutput::Job(JobOutput::Abort(self.key(caller, call, job.id))));
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
        while self.is_behind() {
            self.go_on();
        }
        for ((caller, call), job) in self.jobs.take_all() {
            self.outputs.push_back(ServerOutput::Job(JobOutput::Abort(self.key(caller, call, job.id))));
            let exit = Exit { call, replies: job.replies, function: job.function, reason: ExitReason::ServerEnded };
            self.answer(caller, Message::Exit(exit));
        }
        for share in std::mem::take(&mut self.shares).into_values() {
            share.release(&mut self.pool);
        }
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

    /// Bytes of their arguments.
    pub fn job_bytes(&self) -> usize {
        self.shares.values().map(|share| share.bytes).sum()
    }

    /// Streams that are asked for or open.
    pub fn streams(&self) -> usize {
        self.shares.values().map(|share| share.streams).sum()
    }

    /// Streams whose callers did not drive them in time, since the start.
    pub fn stream_timeouts(&self) -> StreamTimeouts {
        self.timeouts
    }

    /// The calls whose jobs run now, by caller.
    pub fn calls(&self) -> impl Iterator<Item = (Caller, CallRef)> {
        self.jobs.keys().copied()
    }

    /// Sends a reply and gives its number. One above the limit is the end of its job.
    fn send(&mut self, job: JobKey, form: ReplyForm, body: Bytes) -> Option<u64> {
        let payload_bytes_max = self.limits.payload_bytes_max as usize;
        let running = self.running(job)?;
        if body.len() > payload_bytes_max {
            self.end_job(job, ExitReason::ReplyTooLarge);
            return None;
        }
        let number = running.replies;
        running.replies += 1;
        self.answer(job.caller, Message::Reply(Reply { call: job.call, number, form, body: Body::Inline(body) }));
        Some(number)
    }

    fn handle_monitor(&mut self, caller: Caller, monitor: MonitorRef) {
        let of_caller = (caller, MonitorRef(0))..=(caller, MonitorRef(u64::MAX));
        if self.monitors.range(of_caller).count() >= self.limits.monitors_max {
            self.answer(caller, Message::Down(monitor, DownReason::TooManyMonitors));
        } else {
            self.monitors.insert((caller, monitor));
        }
    }

    /// Ends a job whose worker does not know of it yet.
    fn end_job(&mut self, job: JobKey, reason: ExitReason) {
        self.handle_end(job, JobEnding::Exit(reason));
        self.outputs.push_back(ServerOutput::Job(JobOutput::Abort(job)));
    }

    fn handle_cast(&mut self, caller: Caller, cast: Cast<Bytes, Arc<str>>) {
        match self.accept(caller, cast) {
            Ok(spawn) => self.outputs.push_back(ServerOutput::Job(spawn)),
            Err(refusal) => self.answer(caller, refusal),
        }
    }

    /// Takes a cast: its job, whose worker is to be started, or what its caller is told instead.
    pub(crate) fn accept(&mut self, caller: Caller, cast: Cast<Bytes, Arc<str>>) -> Result<JobOutput, Message> {
        if let Err(reason) = self.admit(caller, &cast) {
            return Err(Message::Exit(Exit { call: cast.call, replies: 0, function: cast.function, reason }));
        }
        let id = JobId(self.next_job);
        self.next_job += 1;
        let (function, bytes) = (Arc::clone(&cast.function), cast.body.len());
        let job = Job { id, function, bytes, replies: 0, stream: ReplyStream::Unopened, question: None };
        self.jobs.insert((caller, cast.call), job);
        Ok(JobOutput::Spawn(self.key(caller, cast.call, id), cast))
    }

    /// Whether this cast may start a job; if so, its caller's share has grown by it.
    fn admit(&mut self, caller: Caller, cast: &Cast<Bytes, Arc<str>>) -> Result<(), ExitReason> {
        let place = (caller, cast.call);
        let share = self.shares.entry(caller.peer).or_default();
        let admitted = if self.draining {
            Err(ExitReason::Draining)
        } else if self.jobs.contains_key(&place) {
            Err(ExitReason::DuplicateRef)
        } else if self.tombstones.contains(&place) {
            Err(ExitReason::Killed)
        } else if share.jobs >= self.limits.jobs_max {
            Err(ExitReason::TooManyJobs)
        } else if share.bytes + cast.body.len() > self.limits.job_bytes_max {
            Err(ExitReason::TooManyBytes)
        } else {
            share.add_job(cast.body.len(), &mut self.pool)
        };
        if *share == Share::default() {
            self.shares.remove(&caller.peer);
        }
        admitted
    }

    fn handle_kills(&mut self, caller: Caller, calls: Vec<CallRef>) {
        for &call in &calls {
            for (of, call) in self.guards.killed_beside(&self.jobs, caller, call) {
                self.abandon(of, call);
            }
        }
        for call in self.end_jobs(caller, calls) {
            if self.tombstones.len() >= self.limits.tombstones_max {
                self.guards.drop_oldest(&mut self.tombstones);
            }
            // A bound of zero has no room to be made.
            if self.tombstones.len() < self.limits.tombstones_max && self.guards.kill_leaves_tombstone() {
                self.tombstones.push_back((caller, call));
            }
        }
    }

    /// Both ends agree on what is open again: jobs whose kill was lost end, calls whose cast or reply was lost are
    /// told.
    fn handle_resume(&mut self, caller: Caller, connection: ConnectionId, calls: &[CallRef]) {
        // What the peer still watches it says again right behind this; what it no longer does, its demonitor was lost.
        self.monitors.retain(|(of, _)| *of != caller);
        let open: BTreeSet<CallRef> = calls.iter().copied().collect();
        let jobs = self.jobs_of(caller);
        self.end_jobs(caller, self.guards.killed_meanwhile(&jobs, &open).copied().collect());
        self.tell_open(caller, jobs.intersection(&open).copied().collect());
        let lost = self.guards.lost_meanwhile(&open, &jobs).copied().collect();
        self.tell_lost(caller, connection, lost);
    }

    fn forget(&mut self, caller: Caller) {
        self.end_all_jobs(caller);
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
        self.shrink_share(caller, &job);
        Some(job)
    }

    /// That job of this caller has ended.
    fn shrink_share(&mut self, caller: Caller, job: &Job) {
        if let Some(share) = self.shares.get_mut(&caller.peer) {
            share.remove_job(job.bytes, job.stream, &mut self.pool);
            if *share == Share::default() {
                self.shares.remove(&caller.peer);
            }
        }
    }

    fn answer(&mut self, caller: Caller, message: Message) {
        self.outputs.push_back(ServerOutput::Answer(caller, message));
    }

    fn key(&self, caller: Caller, call: CallRef, id: JobId) -> JobKey {
        JobKey { server: self.address, caller, call, id }
    }
}

#[cfg(test)]
pub(crate) mod tests;
