//! The record of a cluster, and operators who change it, in every order: a search of the core's keepers and drivers.
//!
//! Members have disks; what is written may be on them or not when a process is killed. What a driver asks may come
//! late, twice, or never. `bounds` says how much may happen; a `state` is disks, processes, drivers and what is on its
//! way; a `step` lets one thing happen; `judge` checks it: no release runs below a floor that its disk knows (S12), no
//! two disks hold different records of one epoch (S14), and what a command said is what the disks come to say (L5).
//! From every state some command ends it (L4).

mod bounds;
mod state;
mod action;
mod step;
mod judge;
mod witness;
mod model;
mod tell;
mod run;

pub use action::Action;
pub use bounds::{Bounds, bounds};
pub use model::Records;
pub use state::State;
pub use tell::trace;

pub(super) use run::{report, tell};

#[cfg(test)]
mod tests;
