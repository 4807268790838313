//! A node in its present life, built of the real state machines as a shell builds it: a rollout, a singleton behind its
//! queue, a peer for each other node, workers.
//!
//! What the state machines want done, `outputs.rs` does. Carrying bytes is left to whoever has the network. Parts are
//! shared between copies until one of them is touched, and a node knows which of them were.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rexi_proto::{
    BulkId, Caller, CloseCode, ConnectionId, DownReason, Form, Forms, FunctionTable, Hello, Incarnation, JobKey,
    Limits, Migration, NodeName, Peer, PeerConfig, PeerId, Phase, PhaseNow, Pool, Presence, Profile, Rollout, Saying,
    Server, ServerAddress, ServerRequest, Stage, Unlimited, WireVersion,
};

use super::build::Build;
use crate::name::node_name;
use crate::path::UpgradePath;

/// One node.
#[derive(Clone, Debug)]
pub struct NodeModel<P: Pool = Unlimited> {
    /// Its number among all.
    pub index: usize,
    /// The place of its release among those of the search.
    pub release: usize,
    /// The releases of the search.
    pub train: UpgradePath,
    /// The functions that it takes.
    pub functions: FunctionTable,
    /// Its present life.
    pub life: Incarnation,
    /// That life is over, and the next has not begun.
    pub down: bool,
    /// When it has started.
    pub started: Duration,
    /// Its bounds.
    pub limits: Arc<Limits>,
    /// Its phase, and what it knows of the others'.
    pub rollout: Arc<Rollout>,
    /// The ceiling of each migration that its operator has set and it has accepted.
    pub ceilings: Vec<Option<Phase>>,
    /// Where its release has one.
    pub singleton: Option<Arc<Server<P>>>,
    /// What its singleton has yet to take.
    pub queue: VecDeque<(Caller, ServerRequest)>,
    /// By node; none for itself.
    pub peers: Vec<Option<Arc<Peer<u16, P>>>>,
    /// What runs.
    pub jobs: Vec<Job>,
    /// By node, what it has learnt of each as the observer knows; nothing, where its driver does not ask.
    pub seen: Vec<Seen>,
    /// Whether each peer bears the number of its node; otherwise all bear [`PEER`].
    pub(super) numbered: bool,
    /// Whether its driver says when the next part of a list is due.
    pub(super) in_turns: bool,
    /// The phases that its peers know of.
    pub(super) told: Arc<[PhaseNow]>,
    pub(super) touched: Touched,
}

/// What a node has learnt of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The latest life, and changes of its phases, of a hello that it has read, and the place of that life's release.
    pub hello: Option<(Incarnation, u64, usize)>,
}

/// A worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// What its server knows it by.
    pub key: JobKey,
    /// Who asked.
    pub member: usize,
    /// The place of its call among the observer's.
    pub call: usize,
    /// It waits for its caller.
    pub waits: bool,
    /// Its worker has ended by itself, and is yet to be aborted: its server had ended it before.
    pub over: bool,
}

/// The parts of a node that were touched; of the peers, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Touched {
    rollout: bool,
    pub(super) singleton: bool,
    peers: u8,
}

/// A connection that a node's state wants closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// To whom.
    pub member: usize,
    /// Why.
    pub code: CloseCode,
    /// Why, in words.
    pub reason: String,
}

/// What a writer has taken.
#[derive(Clone, Debug)]
pub struct Written {
    /// The version of the connection.
    pub version: WireVersion,
    /// Frames for the lane.
    pub lane: BytesMut,
    /// Payloads beside it.
    pub bulk: Vec<(BulkId, Bytes)>,
}

impl<P: Pool + Clone> NodeModel<P> {
    /// A node that has just started.
    pub fn start(index: usize, release: usize, life: Incarnation, build: &Build<P>) -> Self {
        let Build { nodes, train, functions, limits, pool, numbered, in_turns, mutants } = build;
        let (profile, functions) = (train.at(release).clone(), functions[release].clone());
        let ceilings = vec![None; profile.migrations().len()];
        let hosts = profile.hosts();
        let rollout = Rollout::new(name(index), profile, (0..*nodes).map(name)).with_mutants(*mutants);
        let server = || Server::with_pool(ServerAddress::Singleton, limits, pool.clone()).with_mutants(*mutants);
        let (told, bounds) = (rollout.phases(), Limits::clone(limits));
        let config = PeerConfig {
            hosts,
            phases: Arc::clone(&told),
            functions: functions.clone(),
            limits: bounds,
            mutants: *mutants,
        };
        let peer = |id| Arc::new(Peer::with_pool(id, config.clone(), pool.clone(), Duration::ZERO));
        let any = peer(PEER);
        let peer = |member| if *numbered { peer(member_id(member)) } else { Arc::clone(&any) };
        Self {
            index,
            release,
            train: train.clone(),
            functions,
            life,
            down: false,
            started: Duration::ZERO,
            limits: Arc::clone(limits),
            rollout: Arc::new(rollout),
            ceilings,
            singleton: hosts.contains(ServerAddress::Singleton).then(|| Arc::new(server())),
            queue: VecDeque::new(),
            peers: (0..*nodes).map(|member| (member != index).then(|| peer(member))).collect(),
            jobs: Vec::new(),
            seen: Vec::new(),
            numbered: *numbered,
            in_turns: *in_turns,
            told,
            touched: Touched { rollout: true, singleton: true, peers: !(1 << index) },
        }
    }

    /// What is between it and another.
    pub fn peer(&self, member: usize) -> &Peer<u16, P> {
        self.peers[member].as_ref().expect("a node has a peer for each other")
    }

    /// Whether it believes to be connected.
    pub fn is_up(&self, member: usize) -> bool {
        matches!(self.peer(member).presence(), Presence::Up(..))
    }

    /// What its release can do.
    pub fn profile(&self) -> &Profile {
        self.rollout.profile()
    }

    /// Where its release stands first: a path may go there and back.
    pub fn stop(&self) -> usize {
        let same = |&release: &usize| self.train.at(release) == self.profile();
        (0..self.release).find(same).unwrap_or(self.release)
    }

    /// Whether it says the old form of the migration of this number.
    pub fn says_old(&self, migration: usize) -> bool {
        self.rollout.phase_at(migration).says() == Form::Old
    }

    /// The forms that its release takes of the migration of this number.
    pub fn takes(&self, migration: usize) -> Forms {
        self.profile().stage_at(migration).takes()
    }

    /// The numbers of all migrations.
    pub fn migrations(&self) -> std::ops::Range<usize> {
        0..self.ceilings.len()
    }

    /// Whether its operator holds the migration of this number by a ceiling.
    pub fn is_held(&self, migration: usize) -> bool {
        self.ceilings[migration].is_some()
    }

    /// Whether its release can move in the migration of this number while it runs.
    pub fn can_flip(&self, migration: usize) -> bool {
        self.profile().stage_at(migration).moves()
    }

    /// Whether each of its phases is as high as its release allows.
    pub fn is_raised(&self) -> bool {
        self.migrations().all(|number| self.rollout.phase_at(number) == self.profile().stage_at(number).highest())
    }

    /// Its phases in words: "switch", or each with its migration where there are several.
    pub fn phases_in_words(&self) -> String {
        let several = self.ceilings.len() > 1;
        let word = |(number, (migration, _)): (usize, (&Migration, Stage))| {
            let phase = self.rollout.phase_at(number);
            if several { format!("{migration} {phase}") } else { phase.to_string() }
        };
        self.profile().migrations().enumerate().map(word).collect::<Vec<_>>().join(", ")
    }

    /// What it says when it connects.
    pub fn hello(&self) -> Hello {
        self.rollout.hello(self.life, &self.functions, &self.limits)
    }

    /// What it says to a member when it connects.
    pub fn hello_to(&self, member: usize) -> Hello {
        self.rollout.hello_to(&name(member), self.is_up(member), self.life, &self.functions, &self.limits)
    }

    /// The latest life of a member that has said hello to it.
    pub fn met(&self, member: usize) -> Option<Incarnation> {
        self.rollout.last_met(&name(member))
    }

    /// The life that it says to be to a member.
    pub fn life_to(&self, member: usize) -> Incarnation {
        self.rollout.life_to(&name(member), self.life)
    }

    /// The numbers of all others.
    pub fn members(&self) -> impl Iterator<Item = usize> + use<P> {
        let index = self.index;
        (0..self.peers.len()).filter(move |&member| member != index)
    }

    /// The peer of a member, to be changed.
    pub fn peer_mut(&mut self, member: usize) -> &mut Peer<u16, P> {
        self.touched.peers |= 1 << member;
        Arc::make_mut(self.peers[member].as_mut().expect("a node has a peer for each other"))
    }

    /// The rollout, to be changed.
    pub fn rollout_mut(&mut self) -> &mut Rollout {
        self.touched.rollout = true;
        Arc::make_mut(&mut self.rollout)
    }

    /// The singleton, to be changed.
    pub fn singleton_mut(&mut self) -> Option<&mut Server<P>> {
        self.touched.singleton = true;
        self.singleton.as_mut().map(Arc::make_mut)
    }

    /// The members whose peers were touched.
    pub fn touched_peers(&self) -> impl Iterator<Item = usize> + use<P> {
        let touched = self.touched.peers;
        (0..self.peers.len()).filter(move |member| touched & 1 << member != 0)
    }

    /// Whether the rollout was touched.
    pub fn has_touched_rollout(&self) -> bool {
        self.touched.rollout
    }

    /// Whether the singleton was touched.
    pub fn has_touched_singleton(&self) -> bool {
        self.touched.singleton
    }

    /// Whether a part was touched.
    pub fn is_touched(&self) -> bool {
        self.touched != Touched::default()
    }

    /// From now on, nothing was touched; of a node that has just started, everything was.
    pub fn forget_touched(&mut self) {
        self.touched = Touched::default();
    }

    /// Does something with the server that runs a member's job.
    pub fn with_server<T>(&mut self, member: usize, job: JobKey, take: impl FnOnce(&mut Server<P>) -> T) -> T {
        match job.server {
            ServerAddress::Singleton => take(self.singleton_mut().expect("it runs a job")),
            ServerAddress::PerNode => self.peer_mut(member).with_server(take),
        }
    }

    /// Whether the peer of a member is behind with a list.
    pub fn is_peer_behind(&self, member: usize) -> bool {
        self.peer(member).is_behind()
    }

    /// Whether the singleton is.
    pub fn is_singleton_behind(&self) -> bool {
        self.singleton.as_ref().is_some_and(|singleton| singleton.is_behind())
    }

    /// Whether anything of the node is.
    pub fn is_behind(&self) -> bool {
        self.is_singleton_behind() || self.members().any(|member| self.is_peer_behind(member))
    }

    /// Does the next part of a list, of the peer of a member, or of the singleton.
    pub fn go_on(&mut self, member: Option<usize>) {
        match member {
            Some(member) => self.peer_mut(member).go_on(),
            None => self.singleton_mut().into_iter().for_each(Server::go_on),
        }
    }

    /// Whether a job has ended without its worker's knowing.
    pub fn is_ending(&self, member: usize, job: JobKey) -> bool {
        match job.server {
            ServerAddress::Singleton => self.singleton.iter().any(|singleton| singleton.ending().any(|of| of == job)),
            ServerAddress::PerNode => self.peer(member).ending_jobs().any(|of| of == job),
        }
    }

    /// The singleton takes the first request of its queue, unless it is behind with the one before; whether there was
    /// one.
    pub fn take(&mut self) -> bool {
        if self.is_singleton_behind() {
            return false;
        }
        let Some((caller, request)) = self.queue.pop_front() else { return false };
        if let Some(singleton) = self.singleton_mut() {
            singleton.handle_request(caller, request);
        }
        true
    }

    /// Forgets what only tells of a peer's past ([`Peer::forget_past`]), earlier connections included.
    pub fn forget_past_of(&mut self, member: usize, may_come: bool) {
        let current = self.peer(member).connection();
        for (caller, request) in &mut self.queue {
            if let ServerRequest::Resume(connection, _) = request
                && member_of(*caller) == member
            {
                *connection = connection.forgotten(current);
            }
        }
        if self.singleton.as_ref().is_some_and(|singleton| singleton.is_behind()) {
            let of = |caller| member_of(caller) == member;
            let renumber = |caller, connection: ConnectionId| {
                if of(caller) { connection.forgotten(current) } else { connection }
            };
            self.singleton_mut().into_iter().for_each(|singleton| singleton.renumber(renumber));
        }
        self.peer_mut(member).forget_past(|_| may_come);
    }

    /// It takes no new casts, and is still there.
    pub fn refuse_casts(&mut self) {
        self.members().for_each(|member| self.peer_mut(member).drain());
        if let Some(singleton) = self.singleton_mut() {
            singleton.drain();
        }
    }

    /// It leaves in good order: its servers end, and all that is to be said of that waits to be drained and written.
    pub fn leave(&mut self) {
        loop {
            while self.take() {}
            if !self.is_singleton_behind() {
                break;
            }
            self.go_on(None);
        }
        self.refuse_casts();
        if let Some(singleton) = self.singleton_mut() {
            singleton.end(DownReason::Shutdown);
        }
        self.members().for_each(|member| self.peer_mut(member).end_server());
    }

    /// The writer takes what is encoded for a member.
    pub fn write(&mut self, now: Duration, member: usize) -> Option<Written> {
        if !self.peer(member).wants_write() {
            return None;
        }
        let Presence::Up(session, _) = self.peer(member).presence() else { return None };
        let (version, mut lane) = (session.wire, BytesMut::new());
        let peer = self.peer_mut(member);
        let bulk = peer.take_outgoing(now, peer.connection(), &mut lane).unwrap_or_default();
        Some(Written { version, lane, bulk })
    }

    /// It learns that its connection to a member is gone.
    pub fn disconnect(&mut self, now: Duration, member: usize) {
        let peer = self.peer_mut(member);
        peer.handle_disconnected(now, peer.connection());
    }
}

/// What a node says of the migration of this number, in words: "sends to the singleton".
pub fn saying<P: Pool>(node: &NodeModel<P>, migration: usize) -> String {
    let (of, _) = node.rollout.profile().migrations().nth(migration).expect("the train has it");
    let form = node.rollout.phase_at(migration).says();
    Saying { migration: of.key().clone(), form }.said().to_string()
}

/// The name of a node.
pub fn name(node: usize) -> NodeName {
    // Every step asks for names. Each thread has its own, so that none waits for another to count its copies.
    thread_local! {
        static KNOWN: [NodeName; 8] = std::array::from_fn(named);
    }
    KNOWN.with(|known| known.get(node).cloned()).unwrap_or_else(|| named(node))
}

fn named(node: usize) -> NodeName {
    NodeName::new(node_name(node)).expect("a letter and a digit make a name")
}

/// The number that every peer of a node bears where none bears its own.
pub const PEER: PeerId = PeerId(0);

/// The number of a node as a caller of singletons.
pub fn member_id(node: usize) -> PeerId {
    PeerId(u32::try_from(node).expect("there are few nodes"))
}

/// Who calls a singleton.
pub(super) fn member_of(caller: Caller) -> usize {
    caller.peer.0 as usize
}
