//! One step between nodes that say hello, and what the state machines then want done.
//!
//! The handshake's own steps are in `handshake.rs`. A writer takes what is encoded at once: what it would hold back is
//! lost with its connection, as what is on its way is by a cut.

use std::sync::Arc;

use bytes::BytesMut;
use rexi_proto::{Incarnation, LimitingFactor, Output, Peer, Phase, PhaseError};

use super::super::state::NOW;
use super::action::Action;
use super::model::Hellos;
use super::oracle::Oracle;
use super::state::{Node, Stage, State, Wire};
use super::witness::Case;
use crate::model::{Close, Observer, frames, name};
use crate::search::Broken;

/// A state on its way to the next.
pub(super) struct Stepper<'a> {
    pub(super) model: &'a Hellos,
    pub(super) state: State,
    /// The epoch and phase that each node's peers know of.
    told: Vec<(u64, Phase)>,
    /// Peers that were touched, a bit for each member of each node.
    touched: Vec<u8>,
}

impl<'a> Stepper<'a> {
    pub(super) fn new(model: &'a Hellos, state: &State) -> Self {
        let told = state.nodes.iter().map(|node| (node.rollout.epoch(), node.rollout.phase())).collect();
        let state = State { met: 0, broken: None, ..state.clone() };
        Self { model, told, touched: vec![0; state.nodes.len()], state }
    }

    pub(super) fn apply(&mut self, action: Action) {
        match action {
            Action::Dial(one, other) => self.dial(one, other),
            Action::Hear(at, side) => self.hear(at, side),
            Action::Attach(at, side) => self.attach(at, side),
            Action::Deliver(at, side) => self.deliver(at, side),
            Action::Cut(at) => self.cut(at),
            Action::Notice(at, side) => self.notice(at, side),
            Action::Restart(index, release) => self.restart(index, release),
            Action::Lower(index) => self.lower(index),
            Action::Lift(index) => self.lift(index),
        }
    }

    /// The finished state.
    pub(super) fn seal(mut self) -> State {
        for index in 0..self.state.nodes.len() {
            for member in self.touched_peers(index) {
                self.peer(index, member).forget_past(|_| false);
            }
        }
        self.state.wires.retain(|wire| wire.is_open());
        self.state.print_anew();
        self.state
    }

    pub(super) fn node(&mut self, index: usize) -> &mut Node {
        Arc::make_mut(&mut self.state.nodes[index])
    }

    pub(super) fn peer(&mut self, index: usize, member: usize) -> &mut Peer<u8> {
        self.touched[index] |= 1 << member;
        self.node(index).peers[member].as_mut().expect("a node has a peer for each other")
    }

    pub(super) fn wire(&mut self, at: usize) -> &mut Wire {
        Arc::make_mut(&mut self.state.wires[at])
    }

    pub(super) fn saw(&mut self, case: Case) {
        self.state.met |= case.bit();
    }

    /// Notes what the step breaks; the first counts.
    pub(super) fn breaks(&mut self, oracle: Oracle, what: String) {
        if self.model.oracles.has(oracle) {
            let invariant = oracle.invariant();
            self.state.broken.get_or_insert_with(|| Box::new(Broken { invariant, what }));
        }
    }

    fn touched_peers(&self, index: usize) -> impl Iterator<Item = usize> + use<> {
        let (set, nodes) = (self.touched[index], self.state.nodes.len());
        (0..nodes).filter(move |member| set & 1 << member != 0)
    }

    fn deliver(&mut self, at: usize, side: usize) {
        let (index, member) = self.state.wires[at].of(side);
        let lane = &mut self.wire(at).ends[side].lane;
        let bytes = frames(lane).next().map_or(lane.len(), <[u8]>::len);
        let frame: Vec<u8> = lane.drain(..bytes).collect();
        let peer = self.peer(index, member);
        let connection = peer.connection();
        peer.handle_bytes(NOW, connection, &frame);
        self.drain(index);
    }

    fn cut(&mut self, at: usize) {
        self.state.used.cuts += 1;
        let wire = self.wire(at);
        wire.cut = true;
        for end in &mut wire.ends {
            end.lane.clear();
            end.lost = true;
            // The other's hello is lost too, and nothing was made of the connection yet.
            if matches!(end.stage, Stage::Opening(..)) {
                end.stage = Stage::Closed;
            }
        }
    }

    fn notice(&mut self, at: usize, side: usize) {
        let (index, member) = self.state.wires[at].of(side);
        let was_attached = self.state.wires[at].ends[side].is_attached();
        self.close_end(at, side);
        if was_attached {
            let peer = self.peer(index, member);
            let connection = peer.connection();
            peer.handle_disconnected(NOW, connection);
            self.drain(index);
        }
    }

    /// An end is gone. What it has sent may still be read.
    pub(super) fn close_end(&mut self, at: usize, side: usize) {
        let wire = self.wire(at);
        wire.ends[side].stage = Stage::Closed;
        wire.ends[side].lane.clear();
        wire.ends[1 - side].lost = true;
    }

    fn restart(&mut self, index: usize, release: usize) {
        self.state.used.restarts += 1;
        for at in 0..self.state.wires.len() {
            for side in 0..2 {
                let wire = &self.state.wires[at];
                if wire.of(side).0 == index && wire.ends[side].is_open() {
                    self.close_end(at, side);
                }
            }
        }
        let life = Incarnation(self.state.nodes[index].life.0 + 1);
        self.place(index, Node::start(&self.model.bounds, index, release, life));
    }

    /// Puts a node that has just started into its place.
    pub(super) fn place(&mut self, index: usize, node: Node) {
        let profile = node.rollout.profile();
        let (lowest, now) = (profile.lowest(), (node.rollout.epoch(), node.rollout.phase()));
        self.told[index] = now;
        self.touched[index] = 0;
        self.state.nodes[index] = Arc::new(node);
        self.judge_raise(index, lowest);
    }

    fn lower(&mut self, index: usize) {
        let lowest = self.state.nodes[index].rollout.profile().lowest();
        match self.node(index).rollout.set_ceiling(Some(lowest)) {
            Ok(()) => {
                self.state.used.lowers += 1;
                self.node(index).ceiling = Some(lowest);
            }
            Err(PhaseError::Blocked { .. }) => self.saw(Case::LoweringRefused),
            Err(error) => self.breaks(Oracle::NotLowered, format!("{} is not lowered: {error}", name(index))),
        }
        self.drain(index);
    }

    fn lift(&mut self, index: usize) {
        let lifted = self.node(index).rollout.set_ceiling(None);
        let held = matches!(self.state.nodes[index].rollout.limiting_factor(), LimitingFactor::Ceiling(_));
        if lifted.is_err() || held {
            self.breaks(Oracle::NotLifted, format!("the ceiling of {} is not lifted", name(index)));
        }
        self.node(index).ceiling = None;
        self.drain(index);
    }

    /// Does all that a node's parts want done, and lets its writers take what is encoded.
    pub(super) fn drain(&mut self, index: usize) {
        loop {
            let mut closes = Vec::new();
            let mut quiet = true;
            for member in self.touched_peers(index) {
                while let Some(output) = self.peer(index, member).poll_output() {
                    quiet = false;
                    self.handle_output(index, member, output, &mut closes);
                }
            }
            quiet &= !self.tell_phase(index);
            closes.into_iter().for_each(|member| self.close(index, member));
            if quiet {
                break;
            }
        }
        for member in self.touched_peers(index) {
            self.flush(index, member);
        }
    }

    pub(super) fn handle_output(&mut self, index: usize, member: usize, output: Output<u8>, closes: &mut Vec<usize>) {
        match output {
            Output::Announced(life, epoch, phase) => {
                let read = self.state.nodes[index].seen[member].hello;
                if read.is_some_and(|(of, at, _)| (life, epoch) < (of, at)) {
                    self.saw(Case::EarlierWord);
                }
                self.node(index).rollout.handle_announce(&name(member), life, epoch, phase);
            }
            Output::Close(code, reason) => {
                let mut notes = Observer::default();
                notes.closed(index, &Close { member, code, reason });
                for breach in notes.breaches {
                    self.breaks(Oracle::ClosedOnSoundPeer, breach.what);
                }
                closes.push(member);
            }
            _ => {}
        }
    }

    /// Tells all peers of a change of phase; whether there was one.
    fn tell_phase(&mut self, index: usize) -> bool {
        let rollout = &self.state.nodes[index].rollout;
        let now = (rollout.epoch(), rollout.phase());
        let before = std::mem::replace(&mut self.told[index], now);
        if before == now {
            return false;
        }
        if before.0 == now.0 {
            self.breaks(
                Oracle::PhaseWithoutTransition,
                format!("{} is at {}, and no transition has brought it there", name(index), now.1),
            );
        }
        self.judge_raise(index, before.1);
        for member in (0..self.state.nodes.len()).filter(|&member| member != index) {
            self.peer(index, member).set_phase(NOW, now.0, now.1);
        }
        true
    }

    /// The state of a node has let go of a connection.
    fn close(&mut self, index: usize, member: usize) {
        if let Some((at, side)) = self.state.attached(index, member) {
            self.close_end(at, side);
        }
        let peer = self.peer(index, member);
        let connection = peer.connection();
        peer.handle_disconnected(NOW, connection);
    }

    /// The writer takes what is encoded for a peer.
    fn flush(&mut self, index: usize, member: usize) {
        if !self.state.nodes[index].peer(member).wants_write() {
            return;
        }
        let peer = self.peer(index, member);
        let (connection, mut bytes) = (peer.connection(), BytesMut::new());
        let bulk = peer.take_outgoing(NOW, connection, &mut bytes);
        debug_assert!(bulk.is_none_or(|bulk| bulk.is_empty()), "nobody casts");
        let Some((at, side)) = self.state.attached(index, member) else { return };
        let wire = self.wire(at);
        if !wire.cut && wire.ends[1 - side].is_open() {
            wire.ends[1 - side].lane.extend_from_slice(&bytes);
        }
    }
}
