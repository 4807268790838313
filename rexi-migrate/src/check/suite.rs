//! The scopes that `check` searches when it is not told otherwise.

use super::scope::Scope;
use crate::train::Train;
use rexi_proto::Mutants;

/// The scopes for so many nodes and jobs over a train.
pub fn suite(nodes: usize, jobs: u8, train: &Train, mutants: Mutants) -> Vec<Scope> {
    let scope = |name: &str| Scope { nodes, mutants, ..Scope::new(name) }.with_train(train);
    vec![
        Scope { jobs, ..scope("jobs over the train") },
        Scope { nodes: 2, jobs: 1, flips: 1, streams: 1, items: 2, ..scope("a stream and a flip") },
        Scope { nodes: 2, jobs: 1, rollbacks: 1, cuts: 1, ..scope("a rollback and a cut") },
    ]
}
