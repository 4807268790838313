//! Hellos in every order: a search of worlds of the model, with the handshake taken apart and no work.
//!
//! Up to two connections of a pair are open at a time, and each end reads, judges and attaches on its own, so a hello
//! of a life that is over may come last, and an announcement on an older connection after the hello of a newer one.
//! `bounds` says how much may happen; a `state` is a world of the model, and a `step` lets one thing happen there;
//! `judge` and the model's rules check it against the list of invariants. Symmetry of names is not used here: the state
//! spaces are small.

mod bounds;
mod state;
mod action;
mod step;
mod witness;
mod oracle;
mod judge;
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
