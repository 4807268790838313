//! The phases of a process in rexi's own migration, as it wrote them down.

use rexi_proto::Phase;

use super::join::Joined;
use crate::history::ledger::{Entry, Record};

/// When a process came to which phase, in order. It is asked of once a stream, and a process has hardly any.
#[derive(Debug)]
pub(super) struct Phases(Vec<(u64, Phase)>);

impl Phases {
    pub(super) fn of(records: &[Record]) -> Self {
        let change = |record: &Record| match record.entry {
            Entry::PhaseChanged { migration: 0, phase } => Some((record.at_us, phase)),
            _ => None,
        };
        Self(records.iter().filter_map(change).collect())
    }
}

impl Joined<'_> {
    /// The phase of a process at a time, where it had told one by then.
    pub(super) fn phase_at(&self, process: usize, at_us: u64) -> Option<Phase> {
        let Phases(changes) = &self.processes[process].phases;
        let told = changes.partition_point(|(changed_us, _)| *changed_us <= at_us);
        changes[..told].last().map(|(_, phase)| *phase)
    }
}
