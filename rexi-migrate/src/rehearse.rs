//! Rehearsals: real processes of a cluster, upgraded under load on this machine.
//!
//! `run` does the steps of a plan over a `cluster`, whose every `process` speaks the lines of `control` with what
//! `node` runs, at the `pace` that the machine gives; a `workload` is what a service adds; `evidence` gathers the
//! ledgers for the judge; operators `operate` what the record lets run; a `soak` goes on for long while things break,
//! among them at the `relay` between the nodes; `progress` shows the run, `rehearsal` leads it from beginning to end,
//! `report` describes its end.

pub mod control;
pub mod process;
pub mod node;
pub mod workload;
pub mod cluster;
mod host;
pub mod pace;
pub mod relay;
pub mod soak;
pub mod operate;
pub mod run;
pub mod evidence;
mod progress;
pub mod rehearsal;
pub mod report;

pub use rehearsal::{NODES_MAX, NODES_MIN, Options, RATE_DEFAULT, RATE_MAX, RehearsalError, rehearse};
pub use workload::{Account, BoxError, Boxed, Clients, Site, Workload};
