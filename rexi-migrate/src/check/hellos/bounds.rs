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
    /// Whether a restart may be into any release.
    pub astray: bool,
    /// Restarts before which the node's clock was set back, or far ahead.
    pub clocks: u8,
    /// Second processes of a node's name, each of which is killed before the first one says a word.
    pub twins: u8,
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
        for (count, one) in [
            (self.dials, "dial"),
            (self.restarts, if self.astray { "restart into any release" } else { "restart" }),
            (self.clocks, "clock set"),
            (self.twins, "second process"),
            (self.lowers, "lowering"),
            (self.cuts, "cut"),
        ] {
            if count > 0 {
                text += &format!(", {count} {}", if count == 1 { one.to_owned() } else { plural(one) });
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
    let last = vec![train.len() - 1];
    let latest_switching = switching.last().copied().into_iter().collect();
    let of = |name: &str, nodes, starts| Bounds {
        name: name.to_owned(),
        nodes,
        train: train.clone(),
        starts,
        dials: 1,
        restarts: 1,
        astray: false,
        clocks: 0,
        twins: 0,
        lowers: 0,
        cuts: 0,
        mutants,
    };
    let in_every_order = |name, nodes, starts| Bounds { lowers: 1, ..of(name, nodes, starts) };
    let all = [
        Bounds { dials: 2, ..in_every_order("hellos of two nodes in every order", 2, around.into_iter().collect()) },
        in_every_order("hellos of three nodes in every order", 3, switching.clone()),
        Bounds { cuts: 1, ..in_every_order("hellos of two nodes and a cut", 2, switching.clone()) },
        Bounds { clocks: 1, dials: 2, ..of("hellos of two nodes, and a clock that is set", 2, latest_switching) },
        Bounds { clocks: 2, dials: 2, restarts: 2, ..of("hellos of two nodes whose clocks are set", 2, last.clone()) },
        Bounds { twins: 1, dials: 2, ..of("hellos of two nodes, and a second process of one", 2, last.clone()) },
        Bounds { astray: true, ..of("hellos of three nodes, one of any release", 3, last) },
    ];
    all.into_iter().filter(|bounds| bounds.nodes <= nodes && !bounds.starts.is_empty()).collect()
}

/// The same word of several: "dials", "second processes", "restarts into any release".
fn plural(one: &str) -> String {
    match one.split_once(" into") {
        Some((word, rest)) => format!("{word}s into{rest}"),
        None if one.ends_with("ss") => format!("{one}es"),
        None if one == "clock set" => "clocks set".to_owned(),
        None => format!("{one}s"),
    }
}

/// Connections of a pair that may be open at once.
pub(super) const WIRES_OF_A_PAIR_MAX: usize = 2;
