//! Shows whether a mixed-version cluster can take its next upgrade step.
//!
//! A level of verification drives a cluster and judges what it sees: `check` visits every state of a small one, with
//! the `search` that visits all states of a `model` of the core; `simulate` upgrades the real server in virtual time;
//! `rehearse` upgrades real processes. What happens to the cluster is a `plan`, what is asked of it a `workload`, what
//! was seen a `history`, and what that means a `verdict`. A `migration` is a change of the protocol as data, `wire`
//! compares what releases write; a `mutation` breaks a guard on purpose and asks each level whether it notices.
//! `verify` runs all of it within a budget of time, and `page` shows that as one page; `live` judges a cluster that
//! runs. `cli` is the command line for all of it. A [`tool`] is that command line for a `service` and its train;
//! `rexi-migrate` is the one of `demo`.

pub mod cli;
mod columns;
mod clock;
mod screen;
mod name;
pub mod path;
pub mod demo;
pub mod verdict;
pub mod plan;
pub mod workload;
pub mod history;
pub mod wire;
pub mod search;
pub mod model;
pub mod migration;
pub mod check;
pub mod simulate;
pub mod rehearse;
pub mod mutation;
pub mod service;
pub mod verify;
pub mod live;
pub mod page;

pub use service::{Tool, tool};
