//! The faults of a soak: what goes wrong, with whom, for how long; drawn from a seed.

use std::fmt;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::history::ledger::{NodeIndex, NodeSet};
use crate::name::node_name;
use crate::rehearse::relay::Weather;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A node is killed by SIGKILL, and started again.
    Kill,
    /// A node's process is stopped by SIGSTOP, and goes on.
    Freeze,
    /// Nothing gets through between two nodes.
    CutPair,
    /// Nothing gets through between a node and all others.
    CutNode,
    /// A share of a node's datagrams is lost, both ways.
    LossNode,
    /// A share of all datagrams is lost.
    LossAll,
    /// All datagrams take longer, each by another time, so that they overtake each other.
    Delay,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Kill, Self::Freeze, Self::CutPair, Self::CutNode, Self::LossNode, Self::LossAll, Self::Delay];

    /// As a report has it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Freeze => "freeze",
            Self::CutPair => "cut pair",
            Self::CutNode => "cut node",
            Self::LossNode => "loss node",
            Self::LossAll => "loss all",
            Self::Delay => "delay",
        }
    }
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// With which node: its number. Of no meaning where it is everywhere.
    pub node: usize,
    /// The other node of a pair.
    pub other: usize,
    /// For how long; of a kill: how long until the node is started again.
    pub lasts: Duration,
    /// Of a loss: how many of a thousand; of a delay: milliseconds, and as much again at most.
    pub strength: u16,
}

impl Fault {
    /// The nodes that are held up by it, of so many.
    pub(crate) fn nodes(&self, nodes: usize) -> NodeSet {
        (0..nodes).filter(|&node| self.is_at(node)).fold(NodeSet(0), |set, node| set.with(NodeIndex::of(node)))
    }

    fn is_at(&self, node: usize) -> bool {
        match self.kind {
            FaultKind::Kill | FaultKind::Freeze | FaultKind::CutNode | FaultKind::LossNode => node == self.node,
            FaultKind::CutPair => node == self.node || node == self.other,
            FaultKind::LossAll | FaultKind::Delay => true,
        }
    }

    /// Whether it lies between these two.
    pub(crate) fn is_between(&self, from: usize, to: usize) -> bool {
        let both = self.is_at(from) && self.is_at(to);
        from != to && if self.kind == FaultKind::CutPair { both } else { self.is_at(from) || self.is_at(to) }
    }

    /// What the datagrams between its nodes meet while it lasts.
    pub(crate) fn weather(&self) -> Weather {
        let clear = Weather::default();
        match self.kind {
            FaultKind::Kill | FaultKind::Freeze => clear,
            FaultKind::CutPair | FaultKind::CutNode => Weather { cut: true, ..clear },
            FaultKind::LossNode | FaultKind::LossAll => Weather { loss_per_mille: self.strength, ..clear },
            FaultKind::Delay => {
                let delay = Duration::from_millis(self.strength.into());
                Weather { delay, jitter: delay, ..clear }
            }
        }
    }

    /// Who is concerned.
    pub(crate) fn whom(&self) -> String {
        match self.kind {
            FaultKind::CutPair => format!("{}-{}", node_name(self.node), node_name(self.other)),
            FaultKind::LossAll | FaultKind::Delay => "all".to_owned(),
            _ => node_name(self.node),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.words())?;
        match self.kind {
            FaultKind::LossAll | FaultKind::Delay => {}
            _ => write!(f, " {}", self.whom())?,
        }
        match self.kind {
            FaultKind::LossNode | FaultKind::LossAll => write!(f, " {:.1} %", f64::from(self.strength) / 10.0)?,
            FaultKind::Delay => write!(f, " {} to {} ms", self.strength, 2 * self.strength)?,
            _ => {}
        }
        write!(f, " for {:.1} s", self.lasts.as_secs_f64())
    }
}

/// Each node with each other one.
pub(super) fn pairs(nodes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..nodes).flat_map(move |from| (0..nodes).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

/// Draws faults without an end. Every kind comes once before any comes again.
#[derive(Debug)]
pub(crate) struct Faults {
    rng: Xoshiro256PlusPlus,
    nodes: usize,
    deck: Vec<FaultKind>,
}

impl Faults {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        Self { rng: Xoshiro256PlusPlus::seed_from_u64(seed), nodes, deck: Vec::new() }
    }

    pub(crate) fn draw(&mut self) -> Fault {
        if self.deck.is_empty() {
            self.deck = FaultKind::ALL.to_vec();
            self.deck.shuffle(&mut self.rng);
        }
        let kind = self.deck.pop().expect("a deck was just taken");
        let rng = &mut self.rng;
        let any = rng.random_range(0..self.nodes);
        // The witness lives from the beginning to the end.
        let node = if kind == FaultKind::Kill { rng.random_range(WITNESS + 1..self.nodes) } else { any };
        let other = (node + rng.random_range(1..self.nodes)) % self.nodes;
        let ms = match kind {
            // As often at once as after a while.
            FaultKind::Kill if rng.random_bool(0.5) => 0,
            FaultKind::Kill => rng.random_range(1_000..6_000),
            FaultKind::Freeze => rng.random_range(1_000..9_000),
            FaultKind::CutPair | FaultKind::CutNode => rng.random_range(1_000..7_000),
            FaultKind::LossNode | FaultKind::LossAll | FaultKind::Delay => rng.random_range(2_000..8_000),
        };
        let strength = match kind {
            FaultKind::LossNode | FaultKind::LossAll => rng.random_range(10..=200),
            FaultKind::Delay => rng.random_range(5..=50),
            _ => 0,
        };
        Fault { kind, node, other, lasts: Duration::from_millis(ms), strength }
    }

    /// How long all is well before the next fault.
    pub(crate) fn draw_calm(&mut self, calm: &std::ops::Range<Duration>) -> Duration {
        calm.start + (calm.end - calm.start).mul_f64(self.rng.random())
    }
}

/// The node that is never killed: its number.
pub(crate) const WITNESS: usize = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_every_kind_comes_and_the_witness_is_never_killed() {
        let draw = |seed| {
            let mut faults = Faults::new(seed, 3);
            (0..700).map(|_| faults.draw()).collect::<Vec<_>>()
        };
        let drawn = draw(9);
        assert_eq!(drawn, draw(9));
        assert_ne!(drawn, draw(10));
        for kind in FaultKind::ALL {
            assert_eq!(drawn.iter().filter(|fault| fault.kind == kind).count(), 100, "seed 9: {kind:?}");
        }
        for fault in &drawn {
            assert!(fault.node < 3 && fault.other < 3 && fault.node != fault.other, "seed 9: {fault:?}");
            assert!(fault.kind != FaultKind::Kill || fault.node != WITNESS, "seed 9: {fault:?}");
            assert!(fault.lasts <= Duration::from_secs(9), "seed 9: {fault:?}");
        }
        let frozen = drawn.iter().filter(|fault| fault.kind == FaultKind::Freeze);
        assert!(frozen.clone().any(|fault| fault.node == WITNESS), "seed 9");
        assert!(frozen.clone().all(|fault| fault.lasts >= Duration::from_secs(1)), "seed 9");
    }

    #[test]
    fn a_fault_is_between_those_that_it_concerns() {
        let between = |kind| {
            let fault = Fault { kind, node: 1, other: 2, lasts: Duration::ZERO, strength: 0 };
            let pairs = (0..3).flat_map(|from| (0..3).map(move |to| (from, to)));
            pairs.filter(|&(from, to)| fault.is_between(from, to)).collect::<Vec<_>>()
        };
        assert_eq!(between(FaultKind::CutPair), [(1, 2), (2, 1)]);
        assert_eq!(between(FaultKind::CutNode), [(0, 1), (1, 0), (1, 2), (2, 1)]);
        assert_eq!(between(FaultKind::LossAll).len(), 6);
    }
}
