//! Shows whether a mixed-version cluster can take its next upgrade step.
//!
//! A rehearsal, in the order of its path: `train` plans it; `run` does the steps over a `cluster`, whose every
//! `process` speaks the lines of `control` with what `node` runs, at the `pace` that the machine gives; each process
//! writes a `ledger`, `evidence` gathers them all and `judge` joins them into a verdict; `progress` shows the run,
//! `rehearse` leads it from end to end, `report` tells its end. Every level judges by the list of `invariant` and by
//! its own of each `oracle`, tells its cases as a `trace` and itself as a `level`. `search` meets every state of a
//! model; a `migration` is a change of the protocol as data; `check` makes a model of the real state machines and
//! judges every state of a small cluster; a `simulation` upgrades the real server in virtual time; a `mutation` breaks
//! a guard on purpose, and asks each level whether it notices. `verify` runs all of it within a budget of time, and
//! `page` shows that as one page.

pub mod invariant;
mod oracle;
pub mod trace;
pub mod level;
mod screen;
pub mod wire;
pub mod search;
pub mod migration;
pub mod train;
pub mod check;
pub mod simulation;
pub mod mutation;
pub mod control;
pub mod process;
pub mod node;
mod load;
mod work;
pub mod kv;
pub mod cluster;
mod host;
pub mod pace;
pub mod run;
pub mod ledger;
pub mod evidence;
pub mod judge;
pub mod progress;
pub mod rehearse;
pub mod report;
pub mod verify;
pub mod page;
