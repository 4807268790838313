//! How much may happen in a run of hellos: the nodes, where they begin, and a budget for each thing that costs states.

use std::collections::BTreeSet;

use rexi_proto::Mutants;

use crate::path::UpgradePath;

/// The bounds of one search. Counts are per run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Its name in reports.
    pub name: String,
    /// Nodes, 2 or 3.
    pub nodes: usize,
    /// The releases that nodes may run.
    pub train: UpgradePath,
    /// The places of those that all nodes may begin in: each tried with nobody connected, and with all connected.
    pub starts: Vec<usize>,
    /// Connections that are opened.
    pub dials: u8,
    /// Restarts, each into the next release, the same or the one before.
    pub restarts: u8,
    /// Times that an operator lowers a node to its lowest phase. Lifting is free.
    pub lowers: u8,
    /// Connections that break with all that is on its way.
    pub cuts: u8,
    /// Broken on purpose; none in a release.
    pub mutants: Mutants,
}

impl Bounds {
    /// All bounds in one line.
    pub fn describe(&self) -> String {
        let starts: Vec<String> = self.starts.iter().map(|&release| self.train.name(release)).collect();
        let mut text = format!("{} nodes that begin as {}", self.nodes, starts.join(" or "));
        for (count, one) in
            [(self.dials, "dial"), (self.restarts, "restart"), (self.lowers, "lowering"), (self.cuts, "cut")]
        {
            if count > 0 {
                text += &format!(", {count} {one}{}", if count == 1 { "" } else { "s" });
            }
        }
        text
    }
}

/// The searches of `check` for up to this many nodes, which begin where a release can move in a migration.
pub fn bounds(nodes: usize, train: &UpgradePath, mutants: Mutants) -> Vec<Bounds> {
    let switching: Vec<usize> = (0..train.len()).filter(|&release| train.at(release).moves()).collect();
    let before = switching.iter().filter_map(|&release| release.checked_sub(1));
    let around: BTreeSet<usize> = before.chain(switching.iter().copied()).collect();
    let all = [
        Bounds {
            name: "hellos of two nodes in every order".to_owned(),
            nodes: 2,
            train: train.clone(),
            starts: around.into_iter().collect(),
            dials: 2,
            restarts: 1,
            lowers: 1,
            cuts: 0,
            mutants,
        },
        Bounds {
            name: "hellos of three nodes in every order".to_owned(),
            nodes: 3,
            train: train.clone(),
            starts: switching.clone(),
            dials: 1,
            restarts: 1,
            lowers: 1,
            cuts: 0,
            mutants,
        },
        Bounds {
            name: "hellos of two nodes and a cut".to_owned(),
            nodes: 2,
            train: train.clone(),
            starts: switching.clone(),
            dials: 1,
            restarts: 1,
            lowers: 1,
            cuts: 1,
            mutants,
        },
    ];
    all.into_iter().filter(|bounds| bounds.nodes <= nodes && !bounds.starts.is_empty()).collect()
}

/// Connections of a pair that may be open at once.
pub(super) const WIRES_OF_A_PAIR_MAX: usize = 2;
