//! One step of the cluster: what it touches is copied, changed and printed anew; everything else stays shared with the
//! previous state.
//!
//! What nodes, callers and jobs do is the model's. Here is what a step needs beside: whom it concerns, what of it is
//! past, and what is known of it. The network and lives of nodes are in `network.rs`.

use std::sync::Arc;

use rexi_proto::{CallRef, ItemStep, PeerId};

use super::action::Action;
use super::model::Cluster;
use super::state::{NOW, Pair, Printed, Stage, State, pair};
use super::turns::print_pair;
use crate::model::{CallRecord, Case, Cases, Deed, NodeModel, Observer, Rule, Word};
use crate::search::Fingerprint;

/// A state on its way to the next.
pub(super) struct Stepper<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) state: State,
    /// What is to be printed anew; a bit each.
    nodes: u8,
    pairs: u16,
}

impl<'a> Stepper<'a> {
    pub(super) fn new(cluster: &'a Cluster, state: &State) -> Self {
        let mut state = State { broken: None, ..state.clone() };
        state.notes.met = Cases::default();
        Self { cluster, state, nodes: 0, pairs: 0 }
    }

    pub(super) fn apply(&mut self, action: Action) {
        if !matches!(action, Action::GoOn(..)) && self.state.nodes.iter().any(|node| node.is_behind()) {
            self.saw(Case::BetweenParts);
        }
        match action {
            Action::Cast(from, to, stream, place) => self.cast(from, to, stream, place),
            Action::Kill(call) => self.kill(&[call]),
            Action::KillAll(from, to) => {
                let of_both = |call: &CallRecord| call.is_open() && (call.by, call.to) == (from, to);
                let calls = self.state.notes.calls.iter().enumerate().filter(|(_, call)| of_both(call));
                let calls: Vec<usize> = calls.map(|(at, _)| at).collect();
                self.kill(&calls);
            }
            Action::End(call) => self.end(call),
            Action::Item(call) => self.item(call),
            Action::Start(call) => self.say(call, Word::Start),
            Action::Ack(call) => self.say(call, Word::Ack),
            Action::Watch(from, to) => self.at(from, |node, notes| node.watch(to, notes)),
            Action::Deliver(from, to) => self.deliver(from, to),
            Action::DeliverAll(from, to) => self.deliver_all(from, to),
            Action::GoOn(at, of) => self.at(at, |node, _| node.go_on((at != of).then_some(of))),
            Action::Take(node) => self.at(node, |node, _| {
                node.take();
            }),
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
            Action::Lower(node, migration) => self.lower(node, migration),
            Action::Lift(node, migration) => self.at(node, |node, notes| node.lift(migration, notes)),
            Action::Expire(at, of) => self.expire(at, of),
            Action::Payload(from, to, number) => self.deliver_payload(from, to, number),
            Action::Straggle(at, of, straggler) => self.straggle(at, of, straggler),
        }
    }

    /// The finished state.
    pub(super) fn seal(mut self) -> State {
        self.collect();
        self.forget_past();
        self.judge_notes();
        let cluster = self.cluster;
        for index in bits(self.nodes.into()) {
            let printed = Arc::make_mut(&mut self.state.nodes[index]);
            for member in printed.node.touched_peers() {
                let print = Fingerprint::of(printed.node.peer(member));
                printed.prints.peers[member] = print;
                if let Some(peer) = &mut printed.node.peers[member] {
                    cluster.shared.peers.share(print, peer);
                }
            }
            if printed.node.has_touched_rollout() {
                cluster.turns.note_holdouts(printed);
                cluster.turns.print_rollout(printed);
            }
            if printed.node.has_touched_singleton() {
                cluster.turns.print_singleton(printed);
            }
            printed.node.forget_touched();
            cluster.turns.print_node(printed);
            let print = printed.prints.whole[0];
            cluster.shared.nodes.share(print, &mut self.state.nodes[index]);
        }
        for at in bits(self.pairs) {
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

    pub(super) fn node(&mut self, index: usize) -> &mut NodeModel {
        self.with_notes(index).0
    }

    fn with_notes(&mut self, index: usize) -> (&mut NodeModel, &mut Observer) {
        self.nodes |= 1 << index;
        (&mut Arc::make_mut(&mut self.state.nodes[index]).node, &mut self.state.notes)
    }

    /// Something is done at a node in the observer's sight, and then all that follows.
    pub(super) fn at(&mut self, index: usize, act: impl FnOnce(&mut NodeModel, &mut Observer)) {
        let (node, notes) = self.with_notes(index);
        act(node, notes);
        self.drain(index);
    }

    /// Puts a node that has just started into its place.
    pub(super) fn place(&mut self, node: NodeModel) {
        self.state.notes.started(node.index, node.stop());
        self.nodes |= 1 << node.index;
        let index = node.index;
        self.state.nodes[index] = Arc::new(Printed::new(node));
    }

    pub(super) fn pair(&mut self, one: usize, other: usize) -> &mut Pair {
        let at = pair(one, other).0;
        self.pairs |= 1 << at;
        Arc::make_mut(&mut self.state.pairs[at])
    }

    pub(super) fn saw(&mut self, case: Case) {
        self.state.notes.saw(case);
    }

    /// What was noted and is asked is what the step broke.
    pub(super) fn judge_notes(&mut self) {
        self.state.broken = self.cluster.oracles.broken(&mut self.state.notes);
    }

    /// Does all that a node's parts want done, and lets its writers take what is encoded.
    pub(super) fn drain(&mut self, index: usize) {
        loop {
            let (node, notes) = self.with_notes(index);
            let closes = node.drain(NOW, notes);
            if closes.is_empty() {
                break;
            }
            for close in closes {
                self.state.notes.closed(index, &close);
                self.close(index, close.member);
            }
        }
        for member in self.state.nodes[index].touched_peers() {
            self.write(index, member);
        }
    }

    fn cast(&mut self, from: usize, to: usize, stream: bool, place: usize) {
        self.state.used.jobs += 1;
        self.state.used.streams += u8::from(stream);
        self.at(from, |node, notes| node.cast(NOW, to, place, (0, stream), notes));
    }

    /// A caller kills these calls, which all go to the same node.
    pub(super) fn kill(&mut self, calls: &[usize]) {
        let Some(&first) = calls.first() else { return };
        let CallRecord { by, to, .. } = self.state.notes.calls[first];
        self.at(by, |node, notes| node.kill(to, calls, notes));
    }

    pub(super) fn say(&mut self, at: usize, word: Word) {
        let by = self.state.notes.calls[at].by;
        self.at(by, |node, notes| node.say(NOW, at, word, notes));
    }

    fn end(&mut self, at: usize) {
        if let Some((node, job)) = self.state.job_of(at) {
            self.at(node, |node, notes| node.end(job, Ok(0), notes));
        }
    }

    /// A job sends an item, or asks for its stream.
    pub(super) fn item(&mut self, at: usize) {
        let Some((node, job)) = self.state.job_of(at) else { return };
        self.at(node, |node, notes| {
            let is_over = node.work(job, &Deed::Item(0, WINDOW), notes) == ItemStep::Over;
            if is_over && !node.is_ending(job.member, job.key) {
                let what = format!("the job of call {at} runs, and its server does not know it");
                notes.breaks(Rule::JobUnknownToServer, what);
            }
        });
    }

    fn lower(&mut self, index: usize, migration: usize) {
        let lowest = self.state.nodes[index].profile().stage_at(migration).lowest();
        let busy = self.state.notes.calls.iter().any(|call| call.by == index && !call.over && call.runs);
        let others = self.state.nodes[index].members().filter(|&member| self.state.is_connected(index, member));
        let connected: Vec<_> = others.map(|member| (member, self.state.nodes[member].takes(migration))).collect();
        let (node, notes) = self.with_notes(index);
        // A refusal is an answer too, and changes nothing.
        if node.lower(NOW, (migration, lowest), &connected, notes).is_ok() {
            self.state.used.flips += 1;
            if busy {
                self.saw(Case::FlipWithJobs);
            }
        }
        self.drain(index);
    }

    fn expire(&mut self, at: usize, of: usize) {
        self.state.used.expiries += 1;
        self.saw(Case::Expired);
        self.at(at, |node, _| {
            let peer = node.peer_mut(of);
            if let Some(until) = peer.deadline() {
                peer.handle_timeout(until);
            }
        });
    }

    /// Lets go of the records of calls of which nothing is left.
    fn collect(&mut self) {
        for at in 0..self.state.notes.calls.len() {
            if self.is_past(at) {
                self.state.notes.calls[at] = CallRecord::OVER;
            }
        }
        let calls = &mut self.state.notes.calls;
        while calls.last().is_some_and(|call| call.over) {
            calls.pop();
        }
    }

    /// Whether a call is over, and nothing on its way or in a buffer can be of it.
    fn is_past(&self, at: usize) -> bool {
        let (state, call) = (&self.state, &self.state.notes.calls[at]);
        if call.over {
            return false;
        }
        let waits = |node: usize, member: usize| state.nodes[node].peer(member).stats().buffered > 0;
        !call.is_open()
            && state.job_of(at).is_none()
            && state.way(call.by, call.to).is_empty()
            && state.way(call.to, call.by).is_empty()
            && !state.queues(call.to, call.by)
            && !state.is_behind(call.to, call.by)
            && !waits(call.by, call.to)
            && !waits(call.to, call.by)
    }

    /// Rids what was touched of all that only tells of the past.
    fn forget_past(&mut self) {
        for index in bits(self.nodes.into()) {
            for member in self.state.nodes[index].touched_peers() {
                let may_come = self.state.casts_on_way(member, index);
                self.node(index).forget_past_of(member, may_come);
            }
            if self.state.nodes[index].has_touched_singleton() {
                let (state, nodes) = (&self.state, 0..self.state.nodes.len());
                let may_come: Vec<bool> =
                    nodes.map(|by| by != index && (state.casts_on_way(by, index) || state.queues(index, by))).collect();
                let come = |peer: PeerId, _: CallRef| may_come.get(peer.0 as usize).copied().unwrap_or(false);
                if let Some(singleton) = self.node(index).singleton_mut() {
                    singleton.forget_past(|caller, call| come(caller.peer, call));
                }
            }
        }
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

/// Items that may be unacknowledged: with one, every item waits for its caller.
const WINDOW: u32 = 1;
