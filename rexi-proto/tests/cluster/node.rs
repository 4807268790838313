//! One node as a shell would build it: a rollout, a singleton behind its queue, a peer per member, workers.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use rexi_proto::{
    Caller, CloseCode, DownReason, Incarnation, JobKey, JobOutput, Limits, Mutants, NodeName, NodePool, Output, Peer,
    PeerConfig, PeerId, Phase, Pool, Profile, Request, Rollout, Server, ServerAddress, ServerOutput, Total,
};

use super::ledger::{Ledger, Life};
use super::notes::Place;

/// A node in one of its lives.
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) release: usize,
    pub(crate) incarnation: Incarnation,
    pub(crate) started: Duration,
    pub(crate) rollout: Rollout,
    pub(crate) limits: Limits,
    pool: SharedPool,
    whole_pool: NodePool,
    pub(crate) singleton: Option<Server<SharedPool>>,
    pub(crate) queue: VecDeque<(Caller, Request)>,
    pub(crate) peers: BTreeMap<usize, Peer<u32, SharedPool>>,
    pub(crate) jobs: BTreeMap<JobKey, u32>,
    pub(crate) next_ref: u64,
    /// The operator's ceiling, as it was accepted.
    pub(crate) ceiling: Option<Phase>,
    /// The life and the release in which each member has last said hello.
    pub(crate) met: BTreeMap<usize, (Incarnation, usize)>,
    told_epoch: u64,
    told_phase: Phase,
}

/// What a node's peers and its singleton share.
#[derive(Clone, Debug)]
pub(crate) struct SharedPool(Rc<RefCell<NodePool>>);

impl Pool for SharedPool {
    fn floor(&self, total: Total) -> usize {
        self.0.borrow().floor(total)
    }

    fn take(&mut self, total: Total, amount: usize) -> bool {
        self.0.borrow_mut().take(total, amount)
    }

    fn give(&mut self, total: Total, amount: usize) {
        self.0.borrow_mut().give(total, amount);
    }
}

/// Connections that a node's state wants closed: with which member, and why.
pub(crate) type Closes = Vec<(usize, CloseCode)>;

pub(crate) fn name(index: usize) -> NodeName {
    NodeName::new(format!("n{index}")).expect("a name")
}

impl Node {
    pub(crate) fn start(
        index: usize,
        members: usize,
        release: usize,
        incarnation: Incarnation,
        started: Duration,
        (limits, mutants): (Limits, Mutants),
    ) -> Self {
        let profile = Profile::train()[release].clone();
        let hosts = profile.hosts();
        let rollout = Rollout::new(name(index), profile, (0..members).map(name)).with_mutants(mutants);
        let config =
            PeerConfig { hosts, phase: rollout.phase(), phase_epoch: rollout.epoch(), limits: limits.clone(), mutants };
        let whole_pool = NodePool::new(&limits, members, hosts);
        let pool = SharedPool(Rc::new(RefCell::new(whole_pool.clone())));
        let peer = |i: usize| (i, Peer::with_pool(PeerId(i as u32), config.clone(), pool.clone(), Duration::ZERO));
        let singleton = hosts.contains(ServerAddress::Singleton);
        Self {
            index,
            release,
            incarnation,
            started,
            singleton: singleton
                .then(|| Server::with_pool(ServerAddress::Singleton, &limits, pool.clone()).with_mutants(mutants)),
            queue: VecDeque::new(),
            peers: (0..members).filter(|&i| i != index).map(peer).collect(),
            pool,
            whole_pool,
            jobs: BTreeMap::new(),
            next_ref: 0,
            ceiling: None,
            met: BTreeMap::new(),
            told_epoch: rollout.epoch(),
            told_phase: rollout.phase(),
            rollout,
            limits,
        }
    }

    /// What was taken out of the pool and not given back.
    pub(crate) fn lent(&self) -> Option<String> {
        let pool = self.pool.0.borrow();
        (*pool != self.whole_pool).then(|| format!("{pool:?} of {:?}", self.whole_pool))
    }

    pub(crate) fn life(&self) -> Life {
        (self.index, self.incarnation)
    }

    /// Tells all peers of a change of phase.
    pub(crate) fn sync_phase(&mut self, now: Duration, ledger: &mut Ledger) {
        let (epoch, phase) = (self.rollout.epoch(), self.rollout.phase());
        if epoch != self.told_epoch {
            self.told_epoch = epoch;
            let before = std::mem::replace(&mut self.told_phase, phase);
            self.judge_raise(before, ledger);
            ledger.note(Place::On(self.index), || format!("its phase is {phase} now"));
            ledger.saw("phase changed");
            if self.jobs_of_mine(ledger) {
                ledger.saw("phase changed with calls open");
            }
            self.peers.values_mut().for_each(|peer| peer.set_phase(now, epoch, phase));
        }
    }

    /// A phase that casts elsewhere than the one before is entered only where all members are known to serve there.
    pub(crate) fn judge_raise(&self, before: Phase, ledger: &mut Ledger) {
        let (phase, members) = (self.rollout.phase(), self.peers.keys());
        if phase <= before || phase.cast_target() == before.cast_target() {
            return;
        }
        let ready = |member: &usize| {
            let release = self.met.get(member).map(|&(_, release)| release);
            release.is_some_and(|release| Profile::train()[release].hosts().contains(phase.cast_target()))
        };
        if let Some(member) = members.copied().find(|member| !ready(member)) {
            ledger.violate("S6", &format!("{} is raised to {phase}, and {member} is not known to serve", self.index));
        }
    }

    fn jobs_of_mine(&self, ledger: &Ledger) -> bool {
        let mine = |c: &super::ledger::Call| c.by == self.life() && c.spawned > 0 && c.last.is_none() && !c.killed;
        ledger.calls.iter().any(mine)
    }

    /// Does all that the peers and the singleton want done, but for the singleton's queue.
    pub(crate) fn drain(&mut self, now: Duration, ledger: &mut Ledger) -> Closes {
        let mut closes = Vec::new();
        loop {
            let mut quiet = true;
            for member in self.peers.keys().copied().collect::<Vec<_>>() {
                while let Some(output) = self.peers.get_mut(&member).expect("it is a key").poll_output() {
                    quiet = false;
                    self.handle_output(member, output, ledger, &mut closes);
                }
            }
            while let Some(output) = self.singleton.as_mut().and_then(Server::poll_output) {
                quiet = false;
                self.handle_server_output(output, ledger);
            }
            self.sync_phase(now, ledger);
            if quiet {
                return closes;
            }
        }
    }

    fn handle_output(&mut self, member: usize, output: Output<u32>, ledger: &mut Ledger, closes: &mut Closes) {
        match output {
            Output::Job(output) => self.handle_job_output(output, ledger),
            Output::Singleton(caller, request) if self.singleton.is_some() => self.queue.push_back((caller, request)),
            Output::Singleton(_, request) => {
                ledger.violate("S6", &format!("a request to a singleton that is not there: {request:?}"));
            }
            Output::Deliver(mailbox, call, answer) => {
                match &answer {
                    rexi_proto::Answer::Dropped => ledger.saw("a cast was dropped"),
                    rexi_proto::Answer::DroppedInAll => ledger.saw("a cast was dropped from buffers full in all"),
                    rexi_proto::Answer::Exit { reason: rexi_proto::ExitReason::TooManyJobsInAll, .. } => {
                        ledger.saw("a job was refused by the node's total");
                    }
                    rexi_proto::Answer::Exit { reason: rexi_proto::ExitReason::TooManyStreamsInAll, .. } => {
                        ledger.saw("a stream was refused by the node's total");
                    }
                    rexi_proto::Answer::TooLarge => ledger.saw("an argument was too large for its peer"),
                    rexi_proto::Answer::Down(_) => ledger.saw("a call ended in a down"),
                    rexi_proto::Answer::Incompatible(_) => ledger.saw("a call ended in a refusal"),
                    rexi_proto::Answer::Exit { reason: rexi_proto::ExitReason::ReplyDropped, .. } => {
                        ledger.saw("a reply was dropped");
                    }
                    rexi_proto::Answer::Exit { reason: rexi_proto::ExitReason::Draining, .. } => {
                        ledger.saw("a cast met a node that leaves");
                    }
                    rexi_proto::Answer::Exit { reason: rexi_proto::ExitReason::ConnectionLost, .. } => {
                        ledger.saw("a call was lost with its connection");
                    }
                    _ => {}
                }
                ledger.answer(self.life(), mailbox, call, &answer);
            }
            Output::MonitorDown(mailbox, monitor, reason) => {
                if reason == DownReason::NoServer {
                    ledger.violate("S6", "a monitor of a member that is there met no server");
                }
                ledger.down(self.life(), mailbox, monitor);
            }
            Output::Announced(life, epoch, phase) => self.rollout.handle_announce(&name(member), life, epoch, phase),
            Output::Unsupported(_) => ledger.saw("an unknown frame was answered"),
            Output::Close(code, _) => closes.push((member, code)),
            _ => {}
        }
    }

    fn handle_server_output(&mut self, output: ServerOutput, ledger: &mut Ledger) {
        match output {
            ServerOutput::Job(output) => self.handle_job_output(output, ledger),
            ServerOutput::Answer(caller, message) => match self.peers.get_mut(&(caller.peer.0 as usize)) {
                Some(peer) => peer.answer(caller, message),
                None => ledger.violate("S7", &format!("an answer to {caller:?}, which is no member")),
            },
        }
    }

    fn handle_job_output(&mut self, output: JobOutput, ledger: &mut Ledger) {
        match output {
            JobOutput::Spawn(job, cast) => self.spawn(job, &cast.body, ledger),
            JobOutput::Abort(job) => self.abort(job, ledger),
            JobOutput::Wake(job) => self.wake(job, ledger),
        }
    }

    fn spawn(&mut self, job: JobKey, body: &bytes::Bytes, ledger: &mut Ledger) {
        let mailbox = ledger.spawn(self.index, self.release, job.server, job.caller, body);
        self.jobs.insert(job, mailbox);
    }

    fn abort(&mut self, job: JobKey, ledger: &mut Ledger) {
        ledger.note(Place::On(self.index), || format!("the {} aborts the job of c{}", job.server, job.call.0));
        match self.jobs.remove(&job) {
            Some(_) => ledger.saw("a job was aborted"),
            None => ledger.violate("S4", &format!("an abort of what does not run: {job:?}")),
        }
    }

    fn wake(&mut self, job: JobKey, ledger: &mut Ledger) {
        if !self.jobs.contains_key(&job) {
            ledger.violate("S4", &format!("a wake-up of what does not run: {job:?}"));
        }
    }

    /// Does something with the server that runs a job.
    pub(crate) fn with_server<T>(&mut self, job: JobKey, take: impl FnOnce(&mut Server<SharedPool>) -> T) -> T {
        match job.server {
            ServerAddress::Singleton => take(self.singleton.as_mut().expect("it runs a job")),
            ServerAddress::PerNode => {
                let peer = self.peers.get_mut(&(job.caller.peer.0 as usize));
                peer.expect("callers are members").with_server(take)
            }
        }
    }

    /// Lets the singleton take requests off its queue.
    pub(crate) fn step_singleton(&mut self, steps: usize) {
        for _ in 0..steps {
            let (Some(singleton), Some((caller, request))) = (&mut self.singleton, self.queue.pop_front()) else {
                return;
            };
            singleton.handle_request(caller, request);
        }
    }
}
