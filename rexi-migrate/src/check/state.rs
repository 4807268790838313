//! The state of the whole cluster, built of the real state machines: nodes, connections, and what an observer notes.
//!
//! Nodes and connections are shared between states until a step touches them. Every [`Peer`] of a node bears the same
//! [`PeerId`], so that a peer's state does not depend on which node it stands for; the singleton's callers are numbered
//! by node. Time stands still at zero except where a stability period runs out.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rexi_proto::{
    BulkId, CallRef, Caller, Hello, Incarnation, JobKey, LENGTH_BYTES, NodeName, Peer, PeerConfig, PeerId, Presence,
    Profile, Request, Rollout, Server, ServerAddress,
};

use super::scope::Scope;
use crate::search::{Broken, Fingerprint};

/// A cluster.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) nodes: Vec<Arc<Node>>,
    /// One for each two nodes; see [`pair`].
    pub(super) pairs: Vec<Arc<Pair>>,
    pub(super) calls: Vec<Call>,
    pub(super) watches: Vec<Watch>,
    pub(super) used: Used,
    /// What the last step broke.
    pub(super) broken: Option<Box<Broken>>,
    /// The cases that the last step met.
    pub(super) met: u64,
    pub(super) print: Fingerprint,
}

/// One node in its present life.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its place in the scope's train.
    pub(super) at: usize,
    /// The place of its release in [`Profile::train`].
    pub(super) release: usize,
    pub(super) incarnation: Incarnation,
    pub(super) rollout: Arc<Rollout>,
    /// Members that it believes to send to the singleton, a bit each.
    pub(super) holdouts: u8,
    /// Whether its operator holds it at its lowest phase.
    pub(super) lowered: bool,
    pub(super) singleton: Option<Arc<Server>>,
    pub(super) queue: VecDeque<(Caller, Request)>,
    /// By node; none for itself.
    pub(super) peers: Vec<Option<Arc<Peer<u8>>>>,
    pub(super) jobs: Vec<Job>,
    pub(super) prints: NodePrints,
}

/// What a node's parts are known by; of those that name nodes, under each turn of the names.
#[derive(Clone, Debug, Default)]
pub(super) struct NodePrints {
    pub(super) whole: Vec<Fingerprint>,
    pub(super) rollout: Arc<Vec<Fingerprint>>,
    pub(super) singleton: Arc<Vec<Fingerprint>>,
    pub(super) peers: Vec<Fingerprint>,
}

/// A worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) key: JobKey,
    /// Who asked.
    pub(super) member: usize,
    /// The place of its call among [`State::calls`].
    pub(super) call: usize,
    /// It waits for its caller.
    pub(super) waits: bool,
}

/// What is between two nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub(super) stage: Stage,
    /// Bytes on their way: from the lower node to the higher, and back.
    pub(super) lanes: [Vec<u8>; 2],
    /// Payloads on their way, in the same order of sides; they may come in any order.
    pub(super) bulks: [Vec<(BulkId, Bytes)>; 2],
    /// What was on its way over connections that have ended, where it may still arrive.
    pub(super) late: [Vec<Late>; 2],
    /// Without hellos; as it stands, and with its sides exchanged.
    pub(super) prints: [Fingerprint; 2],
}

/// What was on its way when its connection was lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Late {
    Frame(Vec<u8>),
    Payload(BulkId, Bytes),
}

/// How far a connection has come. Sides are 0 for the lower node and 1 for the higher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none.
    #[default]
    Down,
    /// A side's hello is on its way.
    Dialed(usize, Box<Hello>),
    /// The other side has connected on it, and its hello is on its way back.
    Accepted(usize, Box<[Hello; 2]>),
    /// Both are connected.
    Up,
}

/// The record of one cast; its place is its mailbox and stands in its payloads. One that is over and of which nothing
/// is left anywhere is [`Call::OVER`], and its place is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) over: bool,
    pub(super) by: usize,
    pub(super) life: Incarnation,
    pub(super) to: usize,
    pub(super) call: CallRef,
    /// It sends items.
    pub(super) stream: bool,
    pub(super) killed: bool,
    /// Its mailbox has got its last answer.
    pub(super) answered: bool,
    /// The server that has run it.
    pub(super) ran_at: Option<ServerAddress>,
    /// The connection has been lost since it was made.
    pub(super) lossy: bool,
    /// The release of its target when it was made, while it waits in the buffer.
    pub(super) buffered_for: Option<usize>,
    /// Replies that its job has sent, and that its mailbox has got.
    pub(super) sent: u8,
    pub(super) got: u8,
    /// Its mailbox was asked for a stream; it has started it; items it has yet to acknowledge.
    pub(super) asked: bool,
    pub(super) started: bool,
    pub(super) unacked: u8,
}

/// The record of one monitor; its place is its mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watch {
    pub(super) by: usize,
    pub(super) life: Incarnation,
    pub(super) to: usize,
    pub(super) of: Incarnation,
    pub(super) downs: u8,
}

/// How much of each budget was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Used {
    pub(super) jobs: u8,
    pub(super) streams: u8,
    pub(super) rollbacks: u8,
    pub(super) crashes: u8,
    pub(super) cuts: u8,
    pub(super) flips: u8,
    pub(super) expiries: u8,
    pub(super) stragglers: u8,
}

impl Call {
    pub(super) const OVER: Self = Self {
        over: true,
        by: 0,
        life: Incarnation(0),
        to: 0,
        call: CallRef(0),
        stream: false,
        killed: false,
        answered: false,
        ran_at: None,
        lossy: false,
        buffered_for: None,
        sent: 0,
        got: 0,
        asked: false,
        started: false,
        unacked: 0,
    };
}

/// The place of the pair of `a` and `b`, which differ, and the side of `a`.
pub(super) fn pair(a: usize, b: usize) -> (usize, usize) {
    let (low, high) = (a.min(b), a.max(b));
    (high * (high - 1) / 2 + low, usize::from(a > b))
}

/// The name of a node.
pub(super) fn name(node: usize) -> NodeName {
    NodeName::new(crate::name::node_name(node)).expect("a letter and a digit make a name")
}

/// The number that every peer of a node bears.
pub(super) const PEER: PeerId = PeerId(0);

/// The number of a node as a caller of singletons.
pub(super) fn member_id(node: usize) -> PeerId {
    PeerId(u32::try_from(node).expect("there are few nodes"))
}

impl Node {
    /// A node that has just started, the place of its release in the scope's train given.
    pub(super) fn start(scope: &Scope, node: usize, at: usize, release: usize, incarnation: Incarnation) -> Self {
        let profile = Profile::train()[release].clone();
        let (hosts, limits) = (profile.hosts(), scope.limits());
        let mutants = scope.mutants;
        let rollout = Rollout::new(name(node), profile, (0..scope.nodes).map(name)).with_mutants(mutants);
        let singleton = || Server::new(ServerAddress::Singleton, &limits).with_mutants(mutants);
        let singleton = hosts.contains(ServerAddress::Singleton).then(singleton);
        let (phase, phase_epoch) = (rollout.phase(), rollout.epoch());
        let peer = Arc::new(Peer::new(PEER, PeerConfig { hosts, phase, phase_epoch, limits, mutants }, NOW));
        Self {
            at,
            release,
            incarnation,
            rollout: Arc::new(rollout),
            holdouts: 0,
            lowered: false,
            singleton: singleton.map(Arc::new),
            queue: VecDeque::new(),
            peers: (0..scope.nodes).map(|member| (member != node).then(|| Arc::clone(&peer))).collect(),
            jobs: Vec::new(),
            prints: NodePrints { peers: vec![Fingerprint::default(); scope.nodes], ..NodePrints::default() },
        }
    }

    pub(super) fn peer(&self, member: usize) -> &Peer<u8> {
        self.peers[member].as_ref().expect("a node has a peer for each other")
    }

    /// Whether this end believes to be connected.
    pub(super) fn is_up(&self, member: usize) -> bool {
        matches!(self.peer(member).presence(), Presence::Up(..))
    }

    pub(super) fn profile(&self) -> &Profile {
        self.rollout.profile()
    }
}

impl State {
    /// Whether what `from` sends to `to` gets there.
    pub(super) fn is_live(&self, from: usize, to: usize) -> bool {
        let (at, side) = pair(from, to);
        match &self.pairs[at].stage {
            Stage::Up => true,
            Stage::Accepted(dialer, _) => *dialer != side,
            Stage::Down | Stage::Dialed(..) => false,
        }
    }

    pub(super) fn is_connected(&self, a: usize, b: usize) -> bool {
        self.pairs[pair(a, b).0].stage == Stage::Up
    }

    pub(super) fn all_connected(&self) -> bool {
        self.pairs.iter().all(|pair| pair.stage == Stage::Up)
    }

    /// Whether nothing is on its way over the connection of two nodes, from one to the other.
    pub(super) fn is_silent(&self, from: usize, to: usize) -> bool {
        let (at, side) = pair(from, to);
        self.pairs[at].lanes[side].is_empty() && self.pairs[at].bulks[side].is_empty()
    }

    pub(super) fn lane(&self, from: usize, to: usize) -> &[u8] {
        let (at, side) = pair(from, to);
        &self.pairs[at].lanes[side]
    }

    /// Whether the caller of a call is in another life, or has none.
    pub(super) fn is_orphan(&self, call: &Call) -> bool {
        self.nodes[call.by].incarnation != call.life
    }

    /// Whether the caller still waits for an answer.
    pub(super) fn is_open(&self, call: &Call) -> bool {
        !call.over && !call.killed && !call.answered && !self.is_orphan(call)
    }

    /// The node and the worker of a call, if one runs.
    pub(super) fn job_of(&self, call: usize) -> Option<(usize, Job)> {
        let node = self.calls[call].to;
        self.nodes[node].jobs.iter().find(|job| job.call == call).map(|&job| (node, job))
    }

    /// The kinds of the frames on their way.
    pub(super) fn kinds_on_lane(&self, from: usize, to: usize) -> impl Iterator<Item = u8> {
        frames(self.lane(from, to)).filter_map(Self::kind)
    }

    /// The kind of a frame.
    pub(super) fn kind(frame: &[u8]) -> Option<u8> {
        frame.get(LENGTH_BYTES).map(|first| first & KIND_BITS)
    }
}

/// The frames of a lane, their lengths with them.
pub(super) fn frames(mut lane: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(*lane.first_chunk()?) as usize;
        let (frame, rest) = lane.split_at_checked(LENGTH_BYTES + length)?;
        lane = rest;
        Some(frame)
    })
}

/// The lower bits of a frame's first byte, which say its kind.
const KIND_BITS: u8 = 0b0011_1111;

/// The time at which all happens.
pub(super) const NOW: std::time::Duration = std::time::Duration::ZERO;
