//! The ledger of one life of a node: what it did and what it was told, as records that survive its death.
//!
//! A process appends one record for each thing that happens to a call, on the caller's side and on the worker's;
//! [`judge`](super::judge) reads the files of all processes and sees every job from both ends.

mod entry;
mod record;
mod clock;
mod memory;
mod file;

pub use clock::{now_us, offset_us, take_offset};
pub use entry::{
    BEAT, CallId, CallNumber, Content, Ending, Entry, GatherEnd, GatherForm, MonitorNumber, NodeIndex, NodeSet,
    Outcome, Record, Work,
};
pub use file::{LedgerError, LedgerHeader, LedgerReader, LedgerWriter, ProcessLedger};
pub use memory::Memory;
pub use record::{Damage, RECORD_BYTES};

#[cfg(test)]
mod tests;
