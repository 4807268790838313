//! What happens to a cluster, said once for every driver: releases, operations, and plans made of them.
//!
//! A [`Plan`] is a list of operations ([`Op`]: calls, kills, upgrades, flips, crashes, faults of the network), with a
//! seed. `record` has those of operators on the record. `strategy` makes plans by chance, with faults laid over the
//! boundaries of upgrade steps, and `rolling` the one that an operator goes by; `shrink` shrinks them. `text` reads the
//! words of their texts.

mod text;
mod record;
mod op;
mod scenario;
mod strategy;
mod rolling;
mod shrink;

pub use op::{Leave, Op, Whom, Work};
pub use record::{Command, DiskFails, Lost, RecordOp};
pub use rolling::rolling;
pub use scenario::{NODES, Plan, PlanError};
pub use shrink::shrink;
pub use strategy::{Upgrades, upgrades};
