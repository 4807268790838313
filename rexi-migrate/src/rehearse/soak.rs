//! A soak: the load runs on for long, while one thing after the other goes wrong, and all has to be well in between.
//!
//! In: how long, or a script of faults (`soak/plan.rs`). Out: a [`SoakOutcome`] for the report. `soak/fault.rs` draws
//! what goes wrong, `soak/act.rs` does it to a run, `soak/state.rs` keeps what came of it, `soak/slice.rs` has the
//! ledgers judged from rest to rest, so that neither they nor the judge grow with the soak, and `soak/usage.rs` follows
//! what the processes take from the machine.

mod act;
mod fault;
mod outcome;
mod plan;
mod slice;
mod state;
pub(crate) mod usage;

pub(crate) use state::Soaking;

pub use fault::{Fault, FaultKind};
pub use outcome::{Calm, FaultRow, KindRow, SoakOutcome};
pub use plan::{MINUTES_MAX, Soak};
pub use usage::{LifeUsage, Sample, Trend};
