//! The state of a few nodes and of every connection between them, built of the real state machines.
//!
//! Nodes and connections are shared between states until a step touches them, and printed anew then.

use std::sync::Arc;

use rexi_proto::{
    Hello, Incarnation, Limits, Peer, PeerConfig, Phase, Presence, Profile, Rollout, ServerAddress, Session,
};

use super::super::state::NOW;
use super::bounds::Bounds;
use crate::model::{PEER, name};
use crate::search::{Broken, Fingerprint};

/// A few nodes, and what is between them.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) nodes: Vec<Arc<Node>>,
    /// Every connection of which an end is open; of a pair, the older first.
    pub(super) wires: Vec<Arc<Wire>>,
    pub(super) used: Used,
    /// What the last step broke.
    pub(super) broken: Option<Box<Broken>>,
    /// The cases that the last step met.
    pub(super) met: u64,
    pub(super) print: Fingerprint,
}

/// How much of each budget was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Used {
    pub(super) dials: u8,
    pub(super) restarts: u8,
    pub(super) lowers: u8,
    pub(super) cuts: u8,
}

/// One node in its present life.
#[derive(Clone, Debug, Hash)]
pub(super) struct Node {
    /// The place of its release in [`Profile::train`].
    pub(super) release: usize,
    pub(super) life: Incarnation,
    pub(super) rollout: Rollout,
    /// The ceiling that its operator has set and it has accepted.
    pub(super) ceiling: Option<Phase>,
    /// By node; none for itself.
    pub(super) peers: Vec<Option<Peer<u8>>>,
    /// What an observer has seen it learn of each node.
    pub(super) seen: Vec<Seen>,
}

/// What a node has learnt of another, as an observer notes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    /// The latest life and epoch of a hello that it has read, and the release of that life.
    pub(super) hello: Option<(Incarnation, u64, usize)>,
    /// The latest life that it was attached to.
    pub(super) attached: Option<Incarnation>,
}

/// A connection, or what is left of one.
#[derive(Clone, Debug, Hash)]
pub(super) struct Wire {
    /// The lower node and the higher.
    pub(super) between: [usize; 2],
    pub(super) ends: [End; 2],
    /// Nothing gets through any longer.
    pub(super) cut: bool,
}

/// One end, and what is on its way to it.
#[derive(Clone, Debug, Hash)]
pub(super) struct End {
    pub(super) stage: Stage,
    /// Frames on their way to it.
    pub(super) lane: Vec<u8>,
    /// The other end is closed, or the connection is cut; it has yet to learn of that.
    pub(super) lost: bool,
}

/// How far an end has come.
#[derive(Clone, Debug, Hash)]
pub(super) enum Stage {
    /// Its own hello, and that of the other end, which is on its way; and the nodes that its own node knew to send to
    /// the singleton when its hello was made, in which life.
    Opening(Box<[Hello; 2]>, Vec<(usize, Incarnation)>),
    /// The hellos agree; with the same nodes.
    Agreed(Session, Vec<(usize, Incarnation)>),
    /// It is the connection to its peer.
    Attached,
    /// It is gone.
    Closed,
}

impl Node {
    /// A node that has just started.
    pub(super) fn start(bounds: &Bounds, index: usize, release: usize, life: Incarnation) -> Self {
        let profile = Profile::train()[release].clone();
        let (hosts, limits, mutants) = (profile.hosts(), Limits::default(), bounds.mutants);
        let rollout = Rollout::new(name(index), profile, (0..bounds.nodes).map(name)).with_mutants(mutants);
        let (phase, phase_epoch) = (rollout.phase(), rollout.epoch());
        let peer = Peer::new(PEER, PeerConfig { hosts, phase, phase_epoch, limits, mutants }, NOW);
        let peers = (0..bounds.nodes).map(|member| (member != index).then(|| peer.clone())).collect();
        Self { release, life, rollout, ceiling: None, peers, seen: vec![Seen::default(); bounds.nodes] }
    }

    pub(super) fn peer(&self, member: usize) -> &Peer<u8> {
        self.peers[member].as_ref().expect("a node has a peer for each other")
    }

    /// Whether it sends to the singletons of others.
    pub(super) fn needs_singleton(&self) -> bool {
        self.rollout.phase().cast_target() == ServerAddress::Singleton
    }

    pub(super) fn hello(&self) -> Hello {
        self.rollout.hello(self.life, &Limits::default())
    }

    pub(super) fn is_up(&self, member: usize) -> bool {
        matches!(self.peer(member).presence(), Presence::Up(..))
    }
}

impl End {
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Closed)
    }

    pub(super) fn is_attached(&self) -> bool {
        matches!(self.stage, Stage::Attached)
    }
}

impl Wire {
    pub(super) fn is_between(&self, one: usize, other: usize) -> bool {
        self.between == [one.min(other), one.max(other)]
    }

    pub(super) fn is_open(&self) -> bool {
        self.ends.iter().any(End::is_open)
    }

    /// The node of a side, and that of the other.
    pub(super) fn of(&self, side: usize) -> (usize, usize) {
        (self.between[side], self.between[1 - side])
    }

    /// Whether both ends are attached, and so of the present lives of both nodes, and what they say gets there.
    pub(super) fn is_attached(&self) -> bool {
        !self.cut && self.ends.iter().all(End::is_attached)
    }
}

impl State {
    /// Whether both ends of a connection of the two are attached.
    pub(super) fn is_connected(&self, one: usize, other: usize) -> bool {
        self.wires.iter().any(|wire| wire.is_between(one, other) && wire.is_attached())
    }

    /// Whether no frame is on its way between the two.
    pub(super) fn is_quiet(&self, one: usize, other: usize) -> bool {
        let silent = |end: &End| end.lane.is_empty() || !end.is_open();
        self.wires.iter().all(|wire| !wire.is_between(one, other) || wire.ends.iter().all(silent))
    }

    /// The attached end of `index` to `member`: its connection and its side.
    pub(super) fn attached(&self, index: usize, member: usize) -> Option<(usize, usize)> {
        let side = usize::from(index > member);
        let at = self.wires.iter().position(|wire| wire.is_between(index, member) && wire.ends[side].is_attached());
        at.map(|at| (at, side))
    }
}
