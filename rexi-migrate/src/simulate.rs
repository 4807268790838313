//! Simulations: the real server over QUIC packets on a simulated network in virtual time, repeatable by seed.
//!
//! `run.rs` plays a plan: `world.rs` does its operations, `service.rs` calls and is called, `settle.rs` brings the
//! cluster to rest. The `ledger.rs` has both ends of every call, `verdict.rs` judges it (`skew.rs`: who could speak
//! with whom), `witness.rs` counts what was met, `outcome.rs` reports it. `campaign.rs` plays thousands. `plaintext.rs`
//! and `seeded_tls.rs` stand in for TLS in a simulation.

mod plaintext;
mod seeded_tls;
mod actions;
mod ledger;
mod service;
mod seen;
mod world;
mod settle;
mod skew;
mod verdict;
mod witness;
mod run;
mod outcome;
mod campaign;

#[cfg(feature = "mutants")]
pub(crate) use campaign::panic_text;
pub use campaign::{Budget, Campaign, Tally};
pub use ledger::{CallNumber, Event, LifeEnd};
pub use outcome::{Datagram, Outcome};
pub use run::{Simulation, Tls};
pub use verdict::{Breach, Rule};

/// The guide's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/simulation.md")]
struct Guide;
