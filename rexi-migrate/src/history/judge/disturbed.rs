//! What the run did to its own nodes on purpose: the time that it took is nobody's lateness.

use super::join::Joined;
use super::standing::Stretch;
use crate::history::evidence::Disturbance;
use crate::history::ledger::NodeIndex;

impl Joined<'_> {
    /// How much of the time between two times the run held up one of these nodes.
    pub(super) fn disturbed_us(&self, nodes: &[NodeIndex], from_us: u64, to_us: u64) -> u64 {
        let of_them = |it: &&Disturbance| nodes.iter().any(|&node| it.nodes.has(node));
        self.disturbances.iter().filter(of_them).map(|it| overlap_us(it, from_us, to_us)).sum()
    }

    /// How long a node's process stood still in a stretch without having been stopped by the run, at least.
    pub(super) fn unplanned_us(&self, node: NodeIndex, stretch: &Stretch) -> u64 {
        let stops = self.disturbances.iter().filter(|it| it.stopped && it.nodes.has(node));
        let stopped_us: u64 = stops.map(|it| overlap_us(it, stretch.from_us, stretch.to_us)).sum();
        stretch.stood_us.saturating_sub(stopped_us)
    }
}

fn overlap_us(it: &Disturbance, from_us: u64, to_us: u64) -> u64 {
    it.to_us.min(to_us).saturating_sub(it.from_us.max(from_us))
}
