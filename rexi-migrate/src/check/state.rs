//! The state of the whole cluster, built of the model's nodes: what is between each two, and what an observer notes.
//!
//! Nodes and connections are shared between states until a step touches them. A peer's state does not depend on which
//! node it stands for; the singleton's callers are numbered by node. Time stands still at zero except where a stability
//! period runs out.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use rexi_proto::{BulkId, Hello};

use crate::model::{Job, NodeModel, Observer, Way, frames, kind, member_id};
use crate::search::{Broken, Fingerprint};

/// A cluster.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) nodes: Vec<Arc<Printed>>,
    /// One for each two nodes; see [`pair`].
    pub(super) pairs: Vec<Arc<Pair>>,
    /// Of what is not past, and of the cases that the last step met.
    pub(super) notes: Observer,
    pub(super) used: Used,
    /// What the last step broke.
    pub(super) broken: Option<Box<Broken>>,
    pub(super) print: Fingerprint,
}

/// A node with what it is known by. Only a step changes it, which then prints it anew.
#[derive(Clone, Debug)]
pub(super) struct Printed {
    pub(super) node: NodeModel,
    /// Members that it believes to send to the singleton, a bit each.
    pub(super) holdouts: Vec<u8>,
    pub(super) prints: NodePrints,
}

impl Deref for Printed {
    type Target = NodeModel;

    fn deref(&self) -> &NodeModel {
        &self.node
    }
}

/// What a node's parts are known by; of those that name nodes, under each turn of the names.
#[derive(Clone, Debug, Default)]
pub(super) struct NodePrints {
    pub(super) whole: Vec<Fingerprint>,
    pub(super) rollout: Arc<Vec<Fingerprint>>,
    pub(super) singleton: Arc<Vec<Fingerprint>>,
    pub(super) peers: Vec<Fingerprint>,
}

/// What is between two nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub(super) stage: Stage,
    /// What is on its way from the lower node to the higher, and back.
    pub(super) ways: [Way; 2],
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

/// The place of the pair of `a` and `b`, which differ, and the side of `a`.
pub(super) fn pair(a: usize, b: usize) -> (usize, usize) {
    let (low, high) = (a.min(b), a.max(b));
    (high * (high - 1) / 2 + low, usize::from(a > b))
}

impl Printed {
    /// A node that nobody has printed yet.
    pub(super) fn new(node: NodeModel) -> Self {
        let peers = vec![Fingerprint::default(); node.peers.len()];
        Self { holdouts: vec![0; node.ceilings.len()], prints: NodePrints { peers, ..NodePrints::default() }, node }
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

    /// What is on its way over the connection of two nodes, from one to the other.
    pub(super) fn way(&self, from: usize, to: usize) -> &Way {
        let (at, side) = pair(from, to);
        &self.pairs[at].ways[side]
    }

    /// The node and the worker of a call, if one runs.
    pub(super) fn job_of(&self, call: usize) -> Option<(usize, Job)> {
        let node = self.notes.calls[call].to;
        self.nodes[node].jobs.iter().find(|job| job.call == call).map(|&job| (node, job))
    }

    /// Whether a cast is on its way.
    pub(super) fn casts_on_way(&self, from: usize, to: usize) -> bool {
        frames(&self.way(from, to).lane).any(|frame| kind(frame) == Some(rexi_proto::Kind::Cast as u8))
    }

    /// Whether a node is behind with a list that may be of `by`.
    pub(super) fn is_behind(&self, node: usize, by: usize) -> bool {
        self.nodes[node].is_singleton_behind() || self.nodes[node].is_peer_behind(by)
    }

    /// Whether a node's singleton has a request of `by` in its queue.
    pub(super) fn queues(&self, node: usize, by: usize) -> bool {
        self.nodes[node].queue.iter().any(|(caller, _)| caller.peer == member_id(by))
    }
}

/// The time at which all happens.
pub(super) const NOW: std::time::Duration = std::time::Duration::ZERO;
