//! The state of a few nodes and of every connection between them: a world of the model, printed anew after each step.

use std::hash::Hash;

use crate::model::World;
use crate::search::{Broken, Fingerprint};

/// A few nodes, and what is between them.
#[derive(Clone, Debug)]
pub struct State {
    /// Its connections are those of which an end is open; of a pair, the older first.
    pub(super) world: World,
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
    pub(super) lowers: u8,
    pub(super) cuts: u8,
}

impl State {
    /// Prints it as it stands; what it breaks makes a state of its own.
    pub(super) fn print_anew(&mut self) {
        self.print = Fingerprint::recorded(|into| {
            for node in &self.world.nodes {
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
