//! What was seen of a scenario's cluster besides what its ledgers have: on the way, and as it came to rest.

use std::time::Duration;

use rexi_proto::Phase;

use crate::history::ledger::CallNumber;

/// What the verdict and the cases need besides the ledgers.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Pairs of connected nodes whose releases are more than one apart.
    pub(super) skewed: Vec<(Duration, usize, usize)>,
    /// Connected nodes of which one sends to a server that the other does not run.
    pub(super) unhosted: Vec<(Duration, usize, usize)>,
    /// Nodes in a phase that their release does not allow.
    pub(super) out_of_bounds: Vec<(Duration, usize, Phase)>,
    /// Nodes that have taken a ceiling and are above it.
    pub(super) unheeded: Vec<(Duration, usize, Phase)>,
    /// Nodes of different releases ran side by side.
    pub(super) mixed: bool,
    /// Payloads that came whole only after their connection had been replaced.
    pub(super) late_payloads: u64,
}

/// What the end has shown.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Nodes of legal skew that did not connect: the one does not see the other.
    pub(super) apart: Vec<(usize, usize)>,
    /// Nodes that did not reach a phase although nothing stands in its way any longer.
    pub(super) held: Vec<(usize, Phase, Phase)>,
    /// Calls that wait for their kill, though no job of theirs runs: what ended it was not told.
    pub(super) silent: Vec<CallNumber>,
    /// What the record did not come to, although all was well.
    pub(super) unsettled: Option<String>,
    /// Casts from each node to each, made when all was well.
    pub(super) probes: Vec<CallNumber>,
}
