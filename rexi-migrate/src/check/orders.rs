//! All orders of an upgrade: leg by leg, and in each leg the three nodes in every order, on the real state machines.
//!
//! With four releases there are three legs of six orders each: 216 ways. In each, after every restart all nodes say
//! hello and all that is on its way arrives; then all must be connected, so that every mix on the way is a legal one,
//! and at the end all run the last release in its highest phase.

use std::collections::BTreeSet;

use super::action::{Action, Stop};
use super::model::Cluster;
use super::scope::Scope;
use super::state::{Printed, Stage, State};
use super::turns::orders_of;
use super::vectors::words;
use crate::model::name;
use crate::path::UpgradePath;
use crate::search::Model;
use crate::verdict::invariant::Invariant;
use crate::verdict::level::{Breach, Figure, LevelReport};

/// What became of all orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// How many reached the end.
    pub done: usize,
    /// The mixes of releases met on the way, both ends with them.
    pub mixes: BTreeSet<Vec<usize>>,
    /// The orders that did not, and why.
    pub broken: Vec<String>,
}

/// Upgrades three nodes in every order.
pub fn orders(train: &UpgradePath) -> Orders {
    let mut all = Orders::default();
    let scope = Scope { symmetry: false, ..Scope::new("orders", train) };
    let (nodes, legs) = (scope.nodes, scope.train.len() - 1);
    let cluster = Cluster::new(scope);
    let leg = orders_of(nodes);
    for number in 0..leg.len().pow(u32::try_from(legs).unwrap_or(u32::MAX)) {
        let order = |at: usize| &leg[number / leg.len().pow(at as u32) % leg.len()];
        let steps: Vec<(usize, usize)> =
            (0..legs).flat_map(|at| order(at).iter().map(move |&node| (node, at + 1))).collect();
        match upgrade(&cluster, &steps, &mut all.mixes) {
            Ok(()) => all.done += 1,
            Err(why) => all.broken.push(why),
        }
    }
    all
}

/// Restarts nodes one after the other, each into the release given with it.
fn upgrade(cluster: &Cluster, steps: &[(usize, usize)], mixes: &mut BTreeSet<Vec<usize>>) -> Result<(), String> {
    let mut state = settle(cluster, cluster.initial().swap_remove(0))?;
    mixes.insert(state.nodes.iter().map(|node| node.release).collect());
    for &(node, to) in steps {
        state = step(cluster, &state, Action::Restart(node, to, Stop::Crash))?;
        state = settle(cluster, state)?;
        let mix: Vec<usize> = state.nodes.iter().map(|node| node.release).collect();
        if !state.all_connected() {
            return Err(format!("not all are connected at {}", words(&cluster.scope().train, &mix)));
        }
        mixes.insert(mix);
    }
    let train = &cluster.scope().train;
    let arrived = |node: &Printed| node.release + 1 == train.len() && node.is_raised();
    match state.nodes.iter().position(|node| !arrived(node)) {
        Some(node) => Err(format!("{} has not arrived: {}", name(node), state.nodes[node].phases_in_words())),
        None => Ok(()),
    }
}

/// Connects all, and lets all arrive.
fn settle(cluster: &Cluster, mut state: State) -> Result<State, String> {
    let nodes = state.nodes.len();
    for _ in 0..ROUNDS {
        for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))).filter(|(a, b)| a != b) {
            if state.pairs[super::state::pair(from, to).0].stage == Stage::Down {
                state = step(cluster, &state, Action::Connect(from, to))?;
            }
            while !state.way(from, to).lane.is_empty() && state.is_live(to, from) {
                state = step(cluster, &state, Action::Deliver(from, to))?;
            }
        }
        for node in 0..nodes {
            while !state.nodes[node].queue.is_empty() {
                state = step(cluster, &state, Action::Take(node))?;
            }
        }
    }
    Ok(state)
}

fn step(cluster: &Cluster, state: &State, action: Action) -> Result<State, String> {
    let after = cluster.step(state, &action).ok_or_else(|| format!("{action:?} cannot be"))?;
    cluster.check(&after).map_err(|broken| format!("{}: {}", broken.invariant, broken.what))?;
    Ok(after)
}

/// Adds what all orders have come to.
pub(super) fn report(train: &UpgradePath, report: &mut LevelReport) {
    let Orders { done, mixes, broken } = orders(train);
    report.figures.push(Figure::new("orders of an upgrade that reach its end", done as f64, ""));
    report.figures.push(Figure::new("mixes of releases on their way", mixes.len() as f64, ""));
    if let Some(first) = broken.first() {
        report.breaches.push(Breach {
            invariant: Invariant::L4,
            what: format!("orders: {first}"),
            count: broken.len() as u64,
            trace: None,
            command: "rexi-migrate check --orders".to_owned(),
        });
    }
}

/// Rounds in which phases and hellos settle: a phase that rises lets another rise.
const ROUNDS: usize = 4;
