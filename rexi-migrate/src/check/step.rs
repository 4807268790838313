//! One step of the cluster: what it touches is copied, changed and printed anew; everything else stays shared with the
//! previous state.
//!
//! The parts: work of callers and jobs in `work.rs`, the network and lives of nodes in `network.rs`, what the state
//! machines want done in `shell.rs`.

use std::sync::Arc;

use rexi_proto::{CallRef, Kind, Peer, PeerId, Phase, Rollout, Server};

use super::action::Action;
use super::model::Cluster;
use super::oracle::Oracle;
use super::scope::NODES_MAX;
use super::state::{Call, Node, Pair, Stage, State, member_id, name, pair};
use super::turns::print_pair;
use super::witness::Case;
use crate::search::{Broken, Fingerprint};

/// A state on its way to the next.
pub(super) struct Stepper<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) state: State,
    touched: Touched,
    /// The epoch and phase that each node's peers know of.
    pub(super) told: [(u64, Option<Phase>); NODES_MAX],
}

/// What is to be printed anew; a bit each.
#[derive(Clone, Copy, Default)]
struct Touched {
    nodes: u8,
    rollouts: u8,
    singletons: u8,
    peers: [u8; NODES_MAX],
    pairs: u16,
}

impl<'a> Stepper<'a> {
    pub(super) fn new(cluster: &'a Cluster, state: &State) -> Self {
        let mut told = [(0, None); NODES_MAX];
        for (told, node) in told.iter_mut().zip(&state.nodes) {
            *told = (node.rollout.epoch(), Some(node.rollout.phase()));
        }
        let state = State { met: 0, broken: None, ..state.clone() };
        Self { cluster, state, touched: Touched::default(), told }
    }

    pub(super) fn apply(&mut self, action: Action) {
        match action {
            Action::Cast(from, to, stream) => self.cast(from, to, stream),
            Action::Kill(call) => self.kill(&[call]),
            Action::KillAll(from, to) => {
                let state = &self.state;
                let open = |call: &Call| state.is_open(call) && (call.by, call.to) == (from, to);
                let calls: Vec<usize> = (0..state.calls.len()).filter(|&at| open(&state.calls[at])).collect();
                self.kill(&calls);
            }
            Action::End(call) => self.end(call),
            Action::Item(call) => self.item(call),
            Action::Start(call) => self.start_stream(call),
            Action::Ack(call) => self.ack(call),
            Action::Watch(from, to) => self.watch(from, to),
            Action::Deliver(from, to) => self.deliver(from, to),
            Action::Take(node) => self.take(node),
            Action::Connect(one, other) => self.connect(one, other),
            Action::Dial(from, to) => self.dial(from, to),
            Action::Accept(from, to) => self.accept(from, to),
            Action::Complete(from, to) => self.complete(from, to),
            Action::Cut(one, other) => {
                self.state.used.cuts += 1;
                self.sever(one, other);
            }
            Action::Notice(at, of) => self.disconnect(at, of),
            Action::Restart(node, to, stop) => self.restart(node, to, stop),
            Action::Lower(node) => self.lower(node),
            Action::Lift(node) => self.lift(node),
            Action::Expire(at, of) => self.expire(at, of),
            Action::Payload(from, to, number) => self.deliver_payload(from, to, number),
            Action::Straggle(at, of, straggler) => self.straggle(at, of, straggler),
        }
    }

    /// The finished state.
    pub(super) fn seal(mut self) -> State {
        self.collect();
        self.forget_past();
        let Touched { nodes, rollouts, singletons, peers, pairs } = self.touched;
        let cluster = self.cluster;
        for index in bits(nodes.into()) {
            let node = Arc::make_mut(&mut self.state.nodes[index]);
            for member in bits(peers[index].into()) {
                let print = Fingerprint::of(node.peer(member));
                node.prints.peers[member] = print;
                if let Some(peer) = &mut node.peers[member] {
                    cluster.shared.peers.share(print, peer);
                }
            }
            if rollouts & 1 << index != 0 {
                node.note_holdouts();
                cluster.turns.print_rollout(node);
            }
            if singletons & 1 << index != 0 {
                cluster.turns.print_singleton(node);
            }
            cluster.turns.print_node(index, node);
            let print = node.prints.whole[0];
            cluster.shared.nodes.share(print, &mut self.state.nodes[index]);
        }
        for at in bits(pairs) {
            let pair = Arc::make_mut(&mut self.state.pairs[at]);
            pair.prints = print_pair(pair);
            // Hellos are not in the print.
            if matches!(pair.stage, Stage::Down | Stage::Up) {
                let print = pair.prints[0];
                cluster.shared.pairs.share(print, &mut self.state.pairs[at]);
            }
        }
        self.state.print = cluster.turns.print(&self.state);
        self.state
    }

    pub(super) fn node(&mut self, index: usize) -> &mut Node {
        self.touched.nodes |= 1 << index;
        Arc::make_mut(&mut self.state.nodes[index])
    }

    /// Puts a node that has just started into its place.
    pub(super) fn place(&mut self, index: usize, node: Node) {
        self.told[index] = (node.rollout.epoch(), Some(node.rollout.phase()));
        self.state.nodes[index] = Arc::new(node);
        self.touched.nodes |= 1 << index;
        self.touched.rollouts |= 1 << index;
        self.touched.singletons |= 1 << index;
        self.touched.peers[index] =
            (0..self.state.nodes.len()).filter(|&at| at != index).fold(0, |all, at| all | 1 << at);
    }

    pub(super) fn peer(&mut self, index: usize, member: usize) -> &mut Peer<u8> {
        self.touched.peers[index] |= 1 << member;
        let peer = self.node(index).peers[member].as_mut().expect("a node has a peer for each other");
        Arc::make_mut(peer)
    }

    pub(super) fn rollout(&mut self, index: usize) -> &mut Rollout {
        self.touched.rollouts |= 1 << index;
        Arc::make_mut(&mut self.node(index).rollout)
    }

    pub(super) fn singleton(&mut self, index: usize) -> Option<&mut Server> {
        self.touched.singletons |= 1 << index;
        self.node(index).singleton.as_mut().map(Arc::make_mut)
    }

    pub(super) fn pair(&mut self, one: usize, other: usize) -> &mut Pair {
        let at = pair(one, other).0;
        self.touched.pairs |= 1 << at;
        Arc::make_mut(&mut self.state.pairs[at])
    }

    /// The members whose state at this node was touched.
    pub(super) fn touched_peers(&self, index: usize) -> impl Iterator<Item = usize> + use<> {
        bits(self.touched.peers[index].into())
    }

    pub(super) fn has_touched_singleton(&self, index: usize) -> bool {
        self.touched.singletons & 1 << index != 0
    }

    pub(super) fn saw(&mut self, case: Case) {
        self.state.met |= case.bit();
    }

    /// Notes what the step breaks; the first counts.
    pub(super) fn breaks(&mut self, oracle: Oracle, what: impl Into<String>) {
        if self.cluster.oracles.has(oracle) {
            let (invariant, what) = (oracle.invariant(), what.into());
            self.state.broken.get_or_insert_with(|| Box::new(Broken { invariant, what }));
        }
    }

    /// Lets go of the records of calls of which nothing is left.
    fn collect(&mut self) {
        for at in 0..self.state.calls.len() {
            if self.is_past(at) {
                self.state.calls[at] = Call::OVER;
            }
        }
        while self.state.calls.last().is_some_and(|call| call.over) {
            self.state.calls.pop();
        }
    }

    /// Whether a call is over, and nothing on its way or in a buffer can be of it.
    fn is_past(&self, at: usize) -> bool {
        let (state, call) = (&self.state, &self.state.calls[at]);
        if call.over {
            return false;
        }
        let waits = |node: usize, member: usize| state.nodes[node].peer(member).stats().buffered > 0;
        !state.is_open(call)
            && state.job_of(at).is_none()
            && state.is_silent(call.by, call.to)
            && state.is_silent(call.to, call.by)
            && !state.queues(call.to, call.by)
            && !waits(call.by, call.to)
            && !waits(call.to, call.by)
    }

    /// Rids what was touched of all that only tells of the past.
    fn forget_past(&mut self) {
        for index in bits(self.touched.nodes.into()) {
            for member in bits(self.touched.peers[index].into()) {
                let may_come = self.casts_on_way(member, index);
                self.peer(index, member).forget_past(|_| may_come);
            }
            if self.has_touched_singleton(index) {
                let nodes = 0..self.state.nodes.len();
                let may_come: Vec<bool> = nodes
                    .map(|by| by != index && (self.casts_on_way(by, index) || self.state.queues(index, by)))
                    .collect();
                let come = |peer: PeerId, _: CallRef| may_come.get(peer.0 as usize).copied().unwrap_or(false);
                if let Some(singleton) = self.singleton(index) {
                    singleton.forget_past(|caller, call| come(caller.peer, call));
                }
            }
        }
    }

    fn casts_on_way(&self, from: usize, to: usize) -> bool {
        self.state.kinds_on_lane(from, to).any(|kind| kind == Kind::Cast as u8)
    }
}

impl Node {
    /// Notes whom this node believes to send to the singleton.
    pub(super) fn note_holdouts(&mut self) {
        let hello = self.rollout.hello(self.incarnation, &rexi_proto::Limits::default());
        let is_holdout = |&member: &usize| hello.holdouts.contains(&name(member));
        self.holdouts = (0..self.peers.len()).filter(is_holdout).fold(0, |all, member| all | 1 << member);
    }
}

impl State {
    /// Whether a node's singleton has a request of `by` in its queue.
    pub(super) fn queues(&self, node: usize, by: usize) -> bool {
        self.nodes[node].queue.iter().any(|(caller, _)| caller.peer == member_id(by))
    }
}

/// The places of the bits that are set.
fn bits(mut set: u16) -> impl Iterator<Item = usize> + use<> {
    std::iter::from_fn(move || {
        let at = set.trailing_zeros();
        (set != 0).then(|| {
            set &= set - 1;
            at as usize
        })
    })
}
