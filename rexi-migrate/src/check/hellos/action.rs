//! What may happen between nodes that say hello, one thing at a time, and when.

use std::sync::Arc;

use super::bounds::{Bounds, WIRES_OF_A_PAIR_MAX};
use super::model::Hellos;
use super::state::{FAR_AHEAD, State};
use crate::model::{EndStage, NodeModel};

/// One thing that happens. Nodes are numbered from 0; a connection by its place among those that are open; its ends are
/// 0 for the lower node and 1 for the higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A connection of two nodes is opened, and both hellos are made.
    Dial(usize, usize),
    /// An end reads the other's hello and gives its verdict.
    Hear(usize, usize),
    /// An end whose hellos agree becomes the connection to its peer; an earlier one is closed.
    Attach(usize, usize),
    /// The first frame on its way to an end arrives.
    Deliver(usize, usize),
    /// A connection breaks with all that is on its way; nobody knows yet.
    Cut(usize),
    /// An end learns that its connection is gone.
    Notice(usize, usize),
    /// A node is killed and starts again in this release, by such a clock.
    Restart(usize, usize, Clock),
    /// A second process of a node's name starts, and the first one loses its connections and goes on alone.
    Twin(usize),
    /// The second process is killed, and the first one is there again.
    Return(usize),
    /// The operator lowers a node to its lowest phase, of the migration of this number.
    Lower(usize, usize),
    /// The operator lets it rise again.
    Lift(usize, usize),
}

/// What the clock of a node that starts has done since its last start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// It has gone on.
    Forward,
    /// It was set back.
    Back,
    /// It was set far ahead.
    FarAhead,
}

impl Hellos {
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        self.dials(state, actions);
        for (at, wire) in state.world.wires.iter().enumerate() {
            for (side, end) in wire.ends.iter().enumerate() {
                match &end.stage {
                    EndStage::Opening(..) => actions.push(Action::Hear(at, side)),
                    EndStage::Agreed(..) => actions.push(Action::Attach(at, side)),
                    EndStage::Attached if !end.way.lane.is_empty() => actions.push(Action::Deliver(at, side)),
                    EndStage::Attached | EndStage::Closed => {}
                }
                if wire.loss(side).is_some() {
                    actions.push(Action::Notice(at, side));
                }
            }
            if !wire.cut && state.used.cuts < self.bounds.cuts {
                actions.push(Action::Cut(at));
            }
        }
        for (index, node) in state.world.nodes.iter().enumerate() {
            self.of_node(state, index, node, actions);
            self.starts(state, index, node, actions);
        }
    }

    /// Which of the two dials makes no difference.
    fn dials(&self, state: &State, actions: &mut Vec<Action>) {
        if state.used.dials >= self.bounds.dials {
            return;
        }
        for high in 0..state.world.nodes.len() {
            for low in 0..high {
                if state.world.wires.iter().filter(|wire| wire.is_between(low, high)).count() < WIRES_OF_A_PAIR_MAX {
                    actions.push(Action::Dial(low, high));
                }
            }
        }
    }

    fn of_node(&self, state: &State, index: usize, node: &Arc<NodeModel>, actions: &mut Vec<Action>) {
        for migration in node.migrations() {
            if node.is_held(migration) {
                actions.push(Action::Lift(index, migration));
            } else if node.can_flip(migration) && state.used.lowers < self.bounds.lowers {
                actions.push(Action::Lower(index, migration));
            }
        }
    }

    fn starts(&self, state: &State, index: usize, node: &NodeModel, actions: &mut Vec<Action>) {
        let Bounds { restarts, astray, clocks, twins, ref train, .. } = self.bounds;
        if state.aside[index].is_some() {
            actions.push(Action::Return(index));
            return;
        }
        if state.used.twins < twins {
            actions.push(Action::Twin(index));
        }
        if state.used.restarts < restarts {
            let last = train.len() - 1;
            let near = node.release.saturating_sub(1)..=last.min(node.release + 1);
            let into = if astray { 0..=last } else { near };
            // After a start far ahead a clock can only be set back.
            let forward = (node.life != FAR_AHEAD).then_some(Clock::Forward);
            let set = [Clock::Back, Clock::FarAhead].into_iter().filter(|_| state.used.clocks < clocks);
            let clocks = forward.into_iter().chain(set).collect::<Vec<_>>();
            let starts = into.flat_map(|release| clocks.iter().map(move |&clock| (release, clock)));
            actions.extend(starts.map(|(release, clock)| Action::Restart(index, release, clock)));
        }
    }
}
