//! Hellos in every order: a second model of the real state machines, with the handshake taken apart and no work.
//!
//! Up to two connections of a pair are open at a time, and each end reads, judges and attaches on its own, so a hello
//! of a life that is over may come last, and an announcement on an older connection after the hello of a newer one.
//! `bounds` says how much may happen; `state` is built of the machines; `step` and `handshake` drive it as a shell
//! would; `judge` checks it against the list of invariants. Symmetry of names is not used here: the state spaces are
//! small.

mod bounds;
mod state;
mod action;
mod step;
mod handshake;
mod witness;
mod oracle;
mod judge;
mod judge_step;
mod model;
mod tell;
mod run;

pub use action::Action;
pub use bounds::{Bounds, bounds};
pub use model::Hellos;
pub use state::State;
pub use tell::trace;

pub(super) use run::report;

#[cfg(test)]
mod tests;
