//! Shows whether a mixed-version cluster can take its next upgrade step.
//!
//! A rehearsal, in the order of its path: `train` plans it; `rehearse` runs the plan over a `cluster`, whose every
//! `process` speaks the lines of `control` with what `node` runs; each process writes a `ledger`, `judge` joins them all
//! into a verdict; `progress` shows the run, `report` tells its end.

pub mod train;
pub mod control;
pub mod process;
pub mod node;
mod load;
mod work;
pub mod cluster;
mod host;
pub mod ledger;
pub mod judge;
pub mod progress;
pub mod rehearse;
pub mod report;
