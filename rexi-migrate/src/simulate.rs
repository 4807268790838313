//! Simulations: the real server over QUIC packets on a simulated network in virtual time, repeatable by seed.
//!
//! `run.rs` plays a plan: `world.rs` does its operations, `surroundings.rs` those on links and
//! clocks, `records.rs` those on the record, `life.rs` calls and is called, `settle.rs` brings the cluster
//! to rest. `ledger.rs` has the records of all lives, `open.rs` what is open of them; the judge of `history/`
//! judges them, `verdict.rs` what only a simulation sees (`skew.rs`: who could speak with whom), and `outcome.rs`
//! reports it. `campaign.rs` plays thousands. `plaintext.rs` and `seeded_tls.rs` stand in for TLS in a simulation.

mod plaintext;
mod seeded_tls;
mod actions;
mod open;
mod ledger;
mod life;
mod seen;
mod records;
mod recorded;
mod surroundings;
mod world;
mod settle;
mod skew;
mod verdict;
mod run;
mod outcome;
mod campaign;

#[cfg(feature = "mutants")]
pub(crate) use campaign::panic_text;
pub use campaign::{Budget, Campaign, Tally};
pub use ledger::{LifeEnd, ScenarioEvent};
pub use outcome::{Outcome, SentDatagram};
pub use run::{Simulation, Tls};

/// The guide's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/simulation.md")]
struct Guide;
