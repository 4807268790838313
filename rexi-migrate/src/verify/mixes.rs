//! The releases of the train, the mixes of them that the handshake lets run side by side, and what each level has
//! checked of each mix.
//!
//! A mix is legal if the real handshake says so (`check/vectors.rs`), not by a table. What a level did not count by mix
//! is reported for all of them together.

use std::collections::{BTreeMap, BTreeSet};

use rexi_proto::{Phase, Profile, ServerAddress, Servers};
use serde::Serialize;

use crate::check::{orders, vectors};
use crate::path::{Place, UpgradePath};
use crate::rehearse::report::{Report, StepRow};
use crate::verdict::level::{Level, LevelReport};
use rexi_proto::Release;

/// A release of the train, as the picture shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// The release.
    pub release: String,
    /// The servers that it runs.
    pub hosts: Vec<ServerKind>,
    /// Its phases, lowest first, with what each casts to and kills.
    pub phases: Vec<Target>,
    /// The wire versions that it speaks, such as `v1..v2`.
    pub speaks: String,
}

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// One for all nodes.
    Singleton,
    /// One for each remote node.
    PerNode,
}

/// Where a phase sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The phase.
    pub phase: String,
    /// Where casts go.
    pub casts: ServerKind,
    /// Where kills go, besides the server of their cast.
    pub kills: Vec<ServerKind>,
}

/// Which mixes are legal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mixes {
    /// The legal ones, oldest first.
    pub legal: Vec<Mix>,
    /// Ways to give three nodes a release each in which some refuse each other.
    pub refused: usize,
    /// One of those refusals, as both sides word it.
    pub refusal: Option<String>,
}

/// Releases that may run side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mix {
    /// The releases, oldest first: one, or two neighbours.
    pub releases: Vec<String>,
    /// Their places in the train.
    pub places: Vec<usize>,
    /// Ways to give them to three nodes.
    pub vectors: usize,
    /// What each level checked of it, cheap to real.
    pub checked: Vec<Checked>,
}

/// What a level has checked of a mix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The level.
    pub level: Level,
    /// What, in words; empty for nothing.
    pub what: String,
}

/// The releases, oldest first.
pub(super) fn train(train: &UpgradePath) -> Vec<Stop> {
    train.places().map(|place| stop(train.release(place), train.profile(place))).collect()
}

fn stop(release: Release, profile: &Profile) -> Stop {
    let stage = profile.server_stage();
    let phases = PHASES.into_iter().filter(|&phase| stage.allows(phase));
    let target = |phase: Phase| Target {
        phase: phase.to_string(),
        casts: server(phase.cast_target()),
        kills: servers(phase.kill_targets()),
    };
    Stop {
        release: release.to_string(),
        hosts: servers(profile.hosts()),
        phases: phases.map(target).collect(),
        speaks: profile.wire().to_string(),
    }
}

const PHASES: [Phase; 4] = [Phase::Singleton, Phase::Introduce, Phase::Switch, Phase::Remove];

fn servers(servers: Servers) -> Vec<ServerKind> {
    servers.iter().map(server).collect()
}

fn server(address: ServerAddress) -> ServerKind {
    match address {
        ServerAddress::Singleton => ServerKind::Singleton,
        ServerAddress::PerNode => ServerKind::PerNode,
    }
}

/// The legal mixes, with what the levels have to say of each.
pub(super) fn mixes(train: &UpgradePath, levels: &[LevelReport], rehearsal: Option<&Report>) -> Mixes {
    let (all, upgrades) = (vectors(train, NODES), orders(train));
    let mut legal: BTreeMap<BTreeSet<usize>, usize> = BTreeMap::new();
    for vector in &all.legal {
        *legal.entry(vector.iter().copied().collect()).or_default() += 1;
    }
    let loads = rehearsal.map(|report| loads(train, report)).unwrap_or_default();
    let on_the_way: BTreeSet<BTreeSet<usize>> =
        upgrades.mixes.iter().map(|mix| mix.iter().copied().collect()).collect();
    let mix = |(places, &vectors): (&BTreeSet<usize>, &usize)| {
        let checked = levels.iter().map(|level| Checked {
            level: level.level,
            what: match level.level {
                Level::Wire => of_wire(train, level, places),
                Level::Check => of_check(level, on_the_way.contains(places), upgrades.done),
                Level::Simulate => of_simulate(level, places),
                Level::Rehearse => loads.get(places).map_or_else(String::new, Load::words),
            },
        });
        Mix {
            releases: places.iter().map(|&place| train.name(place)).collect(),
            places: places.iter().copied().collect(),
            vectors,
            checked: checked.collect(),
        }
    };
    let refusal = all.illegal.iter().find_map(|(_, refusals)| refusals.first().cloned());
    Mixes { legal: legal.iter().map(mix).collect(), refused: all.illegal.len(), refusal }
}

/// The versions that nodes of the mix speak, each read by each.
fn of_wire(train: &UpgradePath, level: &LevelReport, places: &BTreeSet<usize>) -> String {
    if figure(level, "frames read") == 0 {
        return String::new();
    }
    let spoken: BTreeSet<String> = places
        .iter()
        .flat_map(|&place| {
            let wire = train.at(place).wire();
            (wire.oldest.0..=wire.newest.0).map(|version| format!("v{version}"))
        })
        .collect();
    let versions = spoken.into_iter().collect::<Vec<_>>();
    let whose = if versions.len() == 1 { "read back" } else { "each read by the other nodes" };
    format!("frames of {}, {whose}", versions.join(", "))
}

fn of_check(level: &LevelReport, on_the_way: bool, orders: usize) -> String {
    let mut parts = Vec::new();
    if figure(level, "states") > 0 {
        // A scope that was cut short may have ended before this mix.
        let whole = level.doubts.is_empty() && level.breaches.is_empty();
        parts.push(if whole { "every state of all scopes" } else { "states up to the bound, not all" }.to_owned());
    }
    if on_the_way {
        parts.push(format!("met by {orders} orders of upgrading"));
    }
    parts.join("; ")
}

fn of_simulate(level: &LevelReport, places: &BTreeSet<usize>) -> String {
    let (all, mixed) = (figure(level, "scenarios"), figure(level, "scenarios of mixed releases"));
    match (all, places.len()) {
        (0, _) => String::new(),
        (_, 1) => format!("in {all} scenarios of all mixes"),
        _ => format!("in {mixed} scenarios of mixed releases"),
    }
}

fn figure(level: &LevelReport, name: &str) -> u64 {
    level.figures.iter().find(|figure| figure.name == name).map_or(0, |figure| figure.value as u64)
}

/// What a mix went through in the rehearsal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    steps: u64,
    casts: u64,
}

impl Load {
    fn words(&self) -> String {
        let Self { steps, casts } = self;
        format!("{casts} casts in {steps} step{}", if *steps == 1 { "" } else { "s" })
    }
}

/// By mix, the steps in which it ran side by side at their end, and the casts of these steps.
fn loads(train: &UpgradePath, report: &Report) -> BTreeMap<BTreeSet<usize>, Load> {
    let mut at: BTreeMap<&str, usize> = BTreeMap::new();
    let mut first = None;
    let mut loads: BTreeMap<BTreeSet<usize>, Load> = BTreeMap::new();
    for (index, row) in report.steps.iter().enumerate() {
        let StepRow { node, to, .. } = row;
        if let Some(to) = to.and_then(|release| train.place(release)).map(Place::index) {
            if node == "all" {
                first = Some(to);
            } else {
                at.insert(node, to);
            }
        }
        let untouched = first.filter(|_| at.len() < report.nodes);
        let mix: BTreeSet<usize> = at.values().copied().chain(untouched).collect();
        if mix.is_empty() || row.error.is_some() {
            continue;
        }
        let casts = report.judgement.as_ref().and_then(|judged| judged.steps.get(index)).map_or(0, |step| step.casts);
        let load = loads.entry(mix).or_default();
        load.steps += 1;
        load.casts += casts;
    }
    loads
}

/// Nodes of a vector, as in `check --vectors`.
const NODES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legal_mixes_are_each_release_and_each_two_neighbours() {
        let Mixes { legal, refused, refusal } = mixes(&crate::demo::path(), &[], None);
        let releases: Vec<String> = legal.iter().map(|mix| mix.releases.join("+")).collect();
        assert_eq!(releases, ["1.0", "1.0+1.1", "1.1", "1.1+1.2", "1.2", "1.2+2.0", "2.0"]);
        let vectors: usize = legal.iter().map(|mix| mix.vectors).sum();
        assert_eq!(vectors + refused, 4_usize.pow(3));
        assert!(refusal.is_some_and(|text| text.contains("1.0.0")));
    }

    #[test]
    fn the_train_says_what_each_release_hosts_and_where_it_sends() {
        let train = train(&crate::demo::path());
        let hosts: Vec<usize> = train.iter().map(|stop| stop.hosts.len()).collect();
        assert_eq!(hosts, [1, 2, 2, 1]);
        let flips: Vec<(&str, ServerKind)> =
            train[2].phases.iter().map(|target| (target.phase.as_str(), target.casts)).collect();
        assert_eq!(flips, [("introduce", ServerKind::Singleton), ("switch", ServerKind::PerNode)]);
    }
}
