//! A plan: how many nodes start as which release, what happens then, and the seed of all that is left to chance.
//!
//! Its text says all of it, so that the plan of a failure can be given on a command line or pinned in a test.

use std::fmt;
use std::ops::RangeInclusive;

use thiserror::Error;

use super::op::Op;
use super::text::number;
use crate::path::{Place, UpgradePath};

/// What happens in one scenario.
#[derive(Clone, PartialEq, Eq)]
pub struct Plan {
    /// The releases that there are.
    pub train: UpgradePath,
    /// How many nodes; within [`NODES`] where the plan is simulated.
    pub nodes: u8,
    /// The release that all start as; the last one where the train ends before.
    pub start: Place,
    /// The seed of the network, of QUIC's numbers and keys, and of TLS.
    pub seed: u64,
    /// What happens, in order.
    pub ops: Vec<Op>,
}

/// A text that is not a plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{part:?}: {reason}")]
pub struct PlanError {
    /// The part of the text that makes no sense.
    pub part: String,
    /// Why.
    pub reason: String,
}

/// How many nodes a simulation may have.
pub const NODES: RangeInclusive<u8> = 2..=5;

impl Plan {
    /// Whether anything has to do with the record, so that the nodes keep one.
    pub fn is_recorded(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Record(_)))
    }

    /// The release that all start as.
    pub(crate) fn first(&self) -> Place {
        self.start.min(self.train.last())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nodes {} start {} seed {}", self.nodes, self.train.release(self.first()), self.seed)?;
        self.ops.iter().try_for_each(|op| write!(f, "; {op}"))
    }
}

impl fmt::Debug for Plan {
    /// As its text: what a failed test shows can be given to [`Plan::parse`] as it stands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Plan {
    /// The plan of a text, over these releases.
    ///
    /// # Errors
    /// [`PlanError`] names the part that makes no sense.
    pub fn parse(text: &str, train: &UpgradePath) -> Result<Self, PlanError> {
        let error = |part: &str, reason: String| PlanError { part: part.trim().to_owned(), reason };
        let mut parts = text.split(';').map(str::trim);
        let head = parts.next().unwrap_or_default();
        let words: Vec<&str> = head.split_whitespace().collect();
        let ["nodes", nodes, "start", start, "seed", seed] = words[..] else {
            return Err(error(head, "a plan begins with nodes, start and seed: \"nodes 3 start 1.1 seed 7\"".into()));
        };
        let of = |reason| error(head, reason);
        let nodes = number(nodes).map_err(of)?;
        if !NODES.contains(&nodes) {
            return Err(of(format!("a scenario has {} to {} nodes", NODES.start(), NODES.end())));
        }
        let start = train.find(start).map_err(|error| of(error.to_string()))?;
        let ops = parts.filter(|part| !part.is_empty()).map(|part| part.parse().map_err(|reason| error(part, reason)));
        Ok(Self {
            train: train.clone(),
            nodes,
            start,
            seed: number(seed).map_err(of)?,
            ops: ops.collect::<Result<_, _>>()?,
        })
    }
}
