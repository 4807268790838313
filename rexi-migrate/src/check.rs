//! L1: every state of a small cluster of real state machines is reached and judged, through the whole upgrade.
//!
//! A `scope` bounds it; `state` is built of the model's nodes; an `action` is one thing that happens, done by a step
//! (`step`, `network`); `judge` and the model's rules check it against the list of invariants; `turns`
//! treats clusters that differ in names alone as one; `model` makes a search of it.

mod scope;
mod state;
mod turns;
mod share;
mod action;
mod step;
mod network;
mod witness;
mod oracle;
mod judge;
mod model;
mod tell;
mod searched;
pub mod hellos;
pub mod record;
mod vectors;
mod orders;
mod suite;
mod run;

pub use action::{Action, Stop, Straggler};
pub use model::Cluster;
pub use orders::{Orders, orders};
pub use run::{CheckOptions, check};
pub use scope::{Handshake, NODES_MAX, NODES_MIN, Notice, Operator, Scope, Stops};
pub use state::State;
pub use suite::suite;
pub use tell::trace;
pub use vectors::{Vectors, vectors};

#[cfg(test)]
mod tests;
