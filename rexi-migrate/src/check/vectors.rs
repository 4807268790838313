//! All version vectors: which releases may run side by side, according to the real handshake and not to a table.
//!
//! A vector gives each of three nodes a release. Two nodes of it may speak if, in the highest phase that each can reach
//! there, the real [`verdict`] of their hellos says so, on both sides alike. A refusal must be typed and name both
//! releases. A vector is legal if all its pairs may speak.

use std::collections::BTreeSet;

use rexi_proto::{FunctionTable, HandshakeError, Hello, Incarnation, Limits, Refusal, Rollout, verdict};

use crate::model::{CLOCK, name};
use crate::path::UpgradePath;
use crate::verdict::invariant::Invariant;
use crate::verdict::level::{Breach, Figure, LevelReport};

/// What became of all vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// Those in which all nodes speak with all others.
    pub legal: Vec<Vec<usize>>,
    /// Those in which some do not, with the refusals in words.
    pub illegal: Vec<(Vec<usize>, Vec<String>)>,
    /// What should not be.
    pub broken: Vec<String>,
}

/// Tries every vector of this many nodes.
pub fn vectors(train: &UpgradePath, nodes: usize) -> Vectors {
    let mut all = Vectors { legal: Vec::new(), illegal: Vec::new(), broken: Vec::new() };
    let releases = train.len();
    for number in 0..releases.pow(u32::try_from(nodes).unwrap_or(u32::MAX)) {
        let vector: Vec<usize> = (0..nodes).map(|node| number / releases.pow(node as u32) % releases).collect();
        let refusals = settle(train, &vector, &mut all.broken);
        let skew = vector.iter().max().zip(vector.iter().min()).map_or(0, |(newest, oldest)| newest - oldest);
        if refusals.is_empty() != (skew <= 1) {
            all.broken.push(format!("{}: {} refusals", words(train, &vector), refusals.len()));
        }
        if refusals.is_empty() {
            all.legal.push(vector);
        } else {
            all.illegal.push((vector, refusals));
        }
    }
    all
}

/// Lets all nodes of a vector say hello to each other until nothing changes, and gives the refusals that remain.
fn settle(train: &UpgradePath, vector: &[usize], broken: &mut Vec<String>) -> Vec<String> {
    let members = || (0..vector.len()).map(name);
    let mut rollouts: Vec<Rollout> = vector
        .iter()
        .enumerate()
        .map(|(node, &release)| Rollout::new(name(node), train.at(release).clone(), members()))
        .collect();
    let mut refusals = BTreeSet::new();
    // A phase may rise once; another round shows what that has changed, and one more that no more does.
    for round in 0..ROUNDS {
        refusals.clear();
        for one in 0..vector.len() {
            for other in one + 1..vector.len() {
                let pair = [(one, vector[one]), (other, vector[other])];
                let hellos = [hello(&rollouts[one]), hello(&rollouts[other])];
                let sides = [
                    rollouts[one].handle_hello(&hellos[0], &hellos[1], CLOCK),
                    rollouts[other].handle_hello(&hellos[1], &hellos[0], CLOCK),
                ];
                if verdict(&hellos[0], &hellos[1]) != verdict(&hellos[1], &hellos[0]) {
                    broken.push(format!("{}: two verdicts", words(train, vector)));
                }
                match sides {
                    [Err(HandshakeError::Refused(first)), Err(HandshakeError::Refused(second))] => {
                        if first != second {
                            broken.push(format!("{}: {first} / {second}", words(train, vector)));
                        }
                        judge_refusal(train, pair, &first, round + 1 == ROUNDS, broken);
                        refusals.insert(first.to_string());
                    }
                    [Ok(first), Ok(second)] if first == second && pair[0].1.abs_diff(pair[1].1) <= 1 => {}
                    // A phase has moved with this hello, which the next round shows; otherwise it is wrong.
                    sides if round + 1 == ROUNDS => broken.push(format!("{}: {sides:?}", words(train, vector))),
                    _ => {}
                }
            }
        }
    }
    refusals.into_iter().collect()
}

/// A refusal must be of a kind that skew has, and name both releases.
fn judge_refusal(
    train: &UpgradePath,
    pair: [(usize, usize); 2],
    refusal: &Refusal,
    settled: bool,
    broken: &mut Vec<String>,
) {
    let text = refusal.to_string();
    let named = pair
        .iter()
        .all(|&(node, release)| text.contains(&format!("{} (release {}", name(node), train.at(release).release())));
    let neighbours = pair[0].1.abs_diff(pair[1].1) <= 1;
    let typed = match refusal {
        Refusal::NotNeighbours { .. } | Refusal::NoCommonWire { .. } | Refusal::NotTaken { .. } => true,
        // The third is what stands between two that may speak otherwise.
        Refusal::OldFormInUse { .. } => neighbours,
        _ => false,
    };
    if settled && !(named && typed) {
        broken.push(format!("a refusal that does not say who and why: {text}"));
    }
}

fn hello(rollout: &Rollout) -> Hello {
    rollout.hello(Incarnation(1), &FunctionTable::default(), &Limits::default())
}

/// A vector in words.
pub(super) fn words(train: &UpgradePath, vector: &[usize]) -> String {
    vector.iter().map(|&release| train.name(release)).collect::<Vec<_>>().join(" ")
}

/// Adds what all vectors of three nodes have come to.
pub(super) fn report(train: &UpgradePath, report: &mut LevelReport) {
    let Vectors { legal, illegal, broken } = vectors(train, 3);
    report.figures.push(Figure::new("version vectors, legal", legal.len() as f64, ""));
    report.figures.push(Figure::new("version vectors, refused by the handshake", illegal.len() as f64, ""));
    if let Some(first) = broken.first() {
        report.breaches.push(Breach {
            invariant: Invariant::S11,
            what: format!("version vectors: {first}"),
            count: broken.len() as u64,
            trace: None,
            command: "rexi-migrate check --vectors".to_owned(),
        });
    }
}

/// Rounds of hellos until phases have settled.
const ROUNDS: usize = 4;
