//! The state of a few nodes and of every connection between them: a world of the model, printed anew after each step.

use std::hash::Hash;
use std::sync::Arc;

use rexi_proto::Incarnation;

use crate::model::{NodeModel, World};
use crate::search::{Broken, Fingerprint};

/// A few nodes, and what is between them.
#[derive(Clone, Debug)]
pub struct State {
    /// Its connections are those of which an end is open; of a pair, the older first.
    pub(super) world: World,
    /// By node, its first process while a second one of its name runs.
    pub(super) aside: Vec<Option<Arc<NodeModel>>>,
    pub(super) used: Used,
    /// What the last step broke.
    pub(super) broken: Option<Box<Broken>>,
    pub(super) print: Fingerprint,
}

/// How much of each budget was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Used {
    pub(super) dials: u8,
    pub(super) restarts: u8,
    pub(super) clocks: u8,
    pub(super) twins: u8,
    pub(super) lowers: u8,
    pub(super) cuts: u8,
}

/// The life of every node at first.
pub(super) const FIRST: Incarnation = Incarnation(16);

/// The life of a node whose clock is far ahead when it starts: no node can go on above it.
pub(super) const FAR_AHEAD: Incarnation = Incarnation(u64::MAX);

impl State {
    /// Prints it as it stands; what it breaks makes a state of its own.
    pub(super) fn print_anew(&mut self) {
        self.print = Fingerprint::recorded(|into| {
            for node in self.world.nodes.iter().chain(self.aside.iter().flatten()) {
                (node.release, node.life, &node.ceilings, &node.rollout, &node.peers, &node.seen).hash(into);
            }
            for wire in &self.world.wires {
                (wire.between, wire.cut).hash(into);
                wire.ends.iter().for_each(|end| (&end.stage, &end.way.lane, end.parting).hash(into));
            }
            (self.used, self.broken.is_some()).hash(into);
        });
    }
}
