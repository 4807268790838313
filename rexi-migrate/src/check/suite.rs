//! The scopes that `check` searches: all nodes with the jobs alone, all nodes with phases that go back and forth, and
//! two nodes with each kind of fault.
//!
//! Faults multiply states, and a fault's effect on a call concerns only its two ends. So the whole cluster goes through
//! the train with jobs and without faults, and with the moves that concern all nodes; faults in transit are laid over
//! two nodes, over the whole train too.

use rexi_proto::Mutants;

use super::scope::{Handshake, Notice, Operator, Scope, Stops};
use crate::path::UpgradePath;

/// The scopes for this many nodes and jobs over a train.
pub fn suite(nodes: usize, jobs: u8, train: &UpgradePath, mutants: Mutants) -> Vec<Scope> {
    let scope = |name: &str| Scope { nodes, mutants, ..Scope::new(name, train) };
    let two = |name: &str| Scope { nodes: 2, jobs: jobs.min(1), ..scope(name) };
    let streams = jobs.min(1);
    let last = train.only(train.len() - 1);
    vec![
        Scope { streams, items: 2, flips: 1, ..two("a stream and a flip") },
        Scope { rollbacks: 1, cuts: 1, ..two("a rollback and a cut") },
        Scope { crashes: 1, cuts: 1, expiries: 1, ..two("a crash, a cut and the stability period") },
        Scope { monitors: 1, crashes: 1, cuts: 1, expiries: 1, jobs: 0, ..two("a monitor and faults") },
        Scope {
            rollbacks: 1,
            operator: Operator::Hasty,
            handshake: Handshake::Steps,
            notice: Notice::Late,
            stops: Stops::Both,
            ..two("handshakes in steps, late notice, departures")
        },
        Scope {
            jobs: 2 * jobs.min(1),
            cuts: 1,
            stragglers: 1,
            train: last.clone(),
            ..two("what comes late of an earlier connection")
        },
        Scope {
            jobs: 2 * jobs.min(1),
            cuts: 1,
            crashes: 1,
            parts: true,
            train: last,
            ..two("between two parts of a list")
        },
        Scope {
            jobs: 2 * jobs.min(1),
            cuts: 1,
            parts: true,
            train: train.only(0),
            ..two("between two parts of a singleton's list")
        },
        Scope { rollbacks: 1, flips: 1, ..scope("a rollback and a flip") },
        Scope { jobs, ..scope("jobs over the train") },
    ]
}
