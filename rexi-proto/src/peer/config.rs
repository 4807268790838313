//! What a peer's state knows of its own node.

use std::sync::Arc;

use crate::limits::Limits;
use crate::mutant::Mutants;
use crate::phase::{Phase, Servers};
use crate::rollout::PhaseNow;
use crate::table::FunctionTable;

/// What a node is, as far as its peers' states need to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerConfig {
    /// The servers that this node runs.
    pub hosts: Servers,
    /// The phase of each migration, by number.
    pub phases: Arc<[PhaseNow]>,
    /// The functions that it takes.
    pub functions: FunctionTable,
    /// Every bound.
    pub limits: Limits,
    /// Broken on purpose; none in a release.
    pub mutants: Mutants,
}

impl PeerConfig {
    /// A node that has rexi's own migration alone, and is in this phase of it.
    pub fn in_phase(phase: Phase, functions: FunctionTable, limits: Limits) -> Self {
        let phases = [PhaseNow { epoch: 0, phase }].into();
        Self { hosts: phase.hosts(), phases, functions, limits, mutants: Mutants::default() }
    }

    /// The phase of rexi's own migration.
    pub(crate) fn phase(&self) -> Phase {
        self.phases[0].phase
    }
}
