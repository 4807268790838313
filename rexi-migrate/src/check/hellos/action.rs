//! What may happen between nodes that say hello, one thing at a time, and when.

use std::sync::Arc;

use super::bounds::WIRES_OF_A_PAIR_MAX;
use super::model::Hellos;
use super::state::State;
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
    /// A node is killed and starts again in this release.
    Restart(usize, usize),
    /// The operator lowers a node to its lowest phase, of the migration of this number.
    Lower(usize, usize),
    /// The operator lets it rise again.
    Lift(usize, usize),
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
        if state.used.restarts < self.bounds.restarts {
            let last = self.bounds.train.len() - 1;
            let into = node.release.saturating_sub(1)..=last.min(node.release + 1);
            actions.extend(into.map(|release| Action::Restart(index, release)));
        }
    }
}
