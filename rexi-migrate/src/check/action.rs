//! What may happen in a cluster, one thing at a time, and when.

use super::model::Cluster;
use super::scope::{Handshake, Notice, Operator, Scope, Stops};
use super::state::{Printed, Stage, State, pair};
use crate::model::{CallRecord, frames};

/// One thing that happens. Nodes are numbered from 0, calls by their place in the observer's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A node casts to another; whether the job is to send a stream; the place of the function among those that the
    /// node calls now.
    Cast(usize, usize, bool, usize),
    /// A caller kills a call.
    Kill(usize),
    /// A caller kills all its calls to a node at once.
    KillAll(usize, usize),
    /// A job ends with a reply.
    End(usize),
    /// A job sends an item, or asks for its stream to be started.
    Item(usize),
    /// A caller starts the stream that it was asked for.
    Start(usize),
    /// A caller acknowledges an item.
    Ack(usize),
    /// A node monitors another's server.
    Watch(usize, usize),
    /// The first frame on its way from a node to another arrives.
    Deliver(usize, usize),
    /// All frames on their way from a node to another arrive at once.
    DeliverAll(usize, usize),
    /// The first node does the next part of a list of the second, or, where both are the same, its singleton does.
    GoOn(usize, usize),
    /// A singleton takes the first request of its queue.
    Take(usize),
    /// A node dials another and the handshake goes through, or does not, at once.
    Connect(usize, usize),
    /// A node dials another: its hello leaves.
    Dial(usize, usize),
    /// The second node takes the hello of the first, connects, and answers.
    Accept(usize, usize),
    /// The first node takes the answer of the second, and connects.
    Complete(usize, usize),
    /// A connection breaks, with all that is on its way.
    Cut(usize, usize),
    /// A node learns that its connection to another is gone.
    Notice(usize, usize),
    /// A node is killed, or leaves in good order, and starts again at this place of the train.
    Restart(usize, usize, Stop),
    /// The operator lowers a node's phase, of the migration of this number.
    Lower(usize, usize),
    /// The operator lets it rise again.
    Lift(usize, usize),
    /// A node has not been connected to another for the stability period.
    Expire(usize, usize),
    /// A payload on its way from a node to another arrives: that of this place.
    Payload(usize, usize, usize),
    /// Something of an earlier connection to the second node comes to the first.
    Straggle(usize, usize, Straggler),
}

/// What may still arrive from a connection that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Straggler {
    /// A frame or a payload that was on its way: that of this place.
    OnItsWay(usize),
    /// Its end.
    End,
    /// A departure.
    Departure,
    /// A refused handshake of an earlier life.
    Refusal,
}

/// How a node is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// By `kill -9`.
    Crash,
    /// In good order.
    Leave,
}

impl Cluster {
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        self.transport(state, actions);
        self.work(state, actions);
        self.faults(state, actions);
        for node in 0..self.scope.nodes {
            self.restarts(state, node, actions);
        }
    }

    fn ordered(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let nodes = self.scope.nodes;
        (0..nodes).flat_map(move |from| (0..nodes).filter(move |&to| to != from).map(move |to| (from, to)))
    }

    fn transport(&self, state: &State, actions: &mut Vec<Action>) {
        for (from, to) in self.ordered() {
            let (at, side) = pair(from, to);
            if state.is_live(to, from) {
                // What is behind is not read; but one read may hold several frames.
                let is_read = !state.nodes[to].is_peer_behind(from);
                let waiting = if is_read { frames(&state.way(from, to).lane).take(2).count() } else { 0 };
                actions.extend((waiting > 0).then_some(Action::Deliver(from, to)));
                actions.extend((waiting > 1 && self.scope.parts).then_some(Action::DeliverAll(from, to)));
                actions
                    .extend((0..state.pairs[at].ways[side].bulk.len()).map(|number| Action::Payload(from, to, number)));
            }
            match (&state.pairs[at].stage, self.scope.handshake) {
                // Which of the two dials makes no difference.
                (Stage::Down, Handshake::Whole) if from < to => actions.push(Action::Connect(from, to)),
                (Stage::Down, Handshake::Steps) => actions.push(Action::Dial(from, to)),
                (Stage::Dialed(dialer, _), _) if *dialer == side => actions.push(Action::Accept(from, to)),
                (Stage::Accepted(dialer, _), _) if *dialer == side => actions.push(Action::Complete(from, to)),
                _ => {}
            }
            if self.scope.notice == Notice::Late && state.nodes[from].is_up(to) && !state.is_live(from, to) {
                actions.push(Action::Notice(from, to));
            }
        }
        for (index, node) in state.nodes.iter().enumerate() {
            if node.is_singleton_behind() {
                actions.push(Action::GoOn(index, index));
            } else if !node.queue.is_empty() {
                actions.push(Action::Take(index));
            }
            let behind = node.members().filter(|&member| node.is_peer_behind(member));
            actions.extend(behind.map(|member| Action::GoOn(index, member)));
        }
    }

    fn work(&self, state: &State, actions: &mut Vec<Action>) {
        let Scope { jobs, streams, monitors, items, .. } = self.scope;
        if state.used.jobs < jobs {
            let called: Vec<usize> = state.nodes.iter().map(|node| node.called().len()).collect();
            let may_stream = state.used.streams < streams;
            let may_not = state.used.jobs - state.used.streams < jobs - streams;
            for (from, to) in self.ordered() {
                for place in 0..called[from] {
                    actions.extend(may_not.then_some(Action::Cast(from, to, false, place)));
                    actions.extend(may_stream.then_some(Action::Cast(from, to, true, place)));
                }
            }
        }
        if state.notes.monitors.len() < usize::from(monitors) {
            actions.extend(self.ordered().map(|(from, to)| Action::Watch(from, to)));
        }
        for (index, call) in state.notes.calls.iter().enumerate() {
            if call.is_open() {
                actions.push(Action::Kill(index));
                if call.asked && !call.started {
                    actions.push(Action::Start(index));
                }
                if call.unacked > 0 {
                    actions.push(Action::Ack(index));
                }
                let same = |other: &&CallRecord| other.is_open() && (other.by, other.to) == (call.by, call.to);
                let first = state.notes.calls.iter().position(|other| same(&other)) == Some(index);
                if first && state.notes.calls.iter().filter(same).count() > 1 {
                    actions.push(Action::KillAll(call.by, call.to));
                }
            }
            if let Some((_, job)) = (!call.over).then(|| state.job_of(index)).flatten()
                && !job.waits
                && !job.over
            {
                actions.push(Action::End(index));
                if call.stream && call.sent < u16::from(items) {
                    actions.push(Action::Item(index));
                }
            }
        }
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        let Scope { cuts, flips, expiries, stragglers, .. } = self.scope;
        for (from, to) in self.ordered() {
            // Where there is no connection, an earlier one cannot be mistaken for it.
            if state.used.stragglers < stragglers && state.nodes[to].is_up(from) {
                let (at, side) = pair(from, to);
                let late = (0..state.pairs[at].late[side].len()).map(Straggler::OnItsWay);
                let others = [Straggler::End, Straggler::Departure, Straggler::Refusal];
                actions.extend(late.chain(others).map(|straggler| Action::Straggle(to, from, straggler)));
            }
            let stage = &state.pairs[pair(from, to).0].stage;
            if from < to && *stage != Stage::Down && state.used.cuts < cuts {
                actions.push(Action::Cut(from, to));
            }
            let away = state.nodes[from].peer(to).deadline().is_some();
            if *stage == Stage::Down && away && state.used.expiries < expiries {
                actions.push(Action::Expire(from, to));
            }
        }
        for (index, node) in state.nodes.iter().enumerate() {
            for migration in node.migrations() {
                if node.is_held(migration) {
                    actions.push(Action::Lift(index, migration));
                } else if node.can_flip(migration) && state.used.flips < flips {
                    actions.push(Action::Lower(index, migration));
                }
            }
        }
    }

    fn restarts(&self, state: &State, node: usize, actions: &mut Vec<Action>) {
        let Scope { rollbacks, crashes, operator, stops, .. } = self.scope;
        let at = state.nodes[node].release;
        if operator == Operator::Careless {
            let may = state.used.crashes < crashes;
            let others = (0..self.scope.train.len()).filter(|&to| to != at && may);
            actions.extend(others.map(|to| Action::Restart(node, to, Stop::Crash)));
            return;
        }
        let stops: &[Stop] = if stops == Stops::Both { &[Stop::Crash, Stop::Leave] } else { &[Stop::Crash] };
        let mut to = Vec::new();
        if at + 1 < self.scope.train.len() && self.may_go(state, node, at + 1) && self.waits_no_more(state) {
            to.push(at + 1);
        }
        if at > 0 && state.used.rollbacks < rollbacks && self.may_go(state, node, at - 1) {
            to.push(at - 1);
        }
        if state.used.crashes < crashes {
            to.push(at);
        }
        actions.extend(to.into_iter().flat_map(|to| stops.iter().map(move |&stop| Action::Restart(node, to, stop))));
    }

    /// Whether the operator has seen what it waits for before it upgrades a node.
    fn waits_no_more(&self, state: &State) -> bool {
        let settled = |node: &std::sync::Arc<Printed>| node.is_raised();
        self.scope.operator != Operator::Patient || state.all_connected() && state.nodes.iter().all(settled)
    }

    /// Whether all are within one place if this node goes there.
    fn may_go(&self, state: &State, node: usize, to: usize) -> bool {
        let near = |at: &Printed| at.release.abs_diff(to) <= 1;
        state.nodes.iter().enumerate().all(|(other, at)| other == node || near(at))
    }
}
