//! A cluster that runs: what its members tell of themselves, whether it may take a step, and what operators have asked.
//!
//! In: looks and trails, as members gave them to an operator's tool. Out: the checks by name, each with what was seen,
//! what is wanted and what to do; the state of the cluster in words; the trails, joined. Nothing here asks anybody.

mod checks;
mod cluster;
mod report;
mod trail;

pub use self::checks::{Aim, Check, CheckSettings, Found, NAMES, Verified, may_be_ignored, preflight};
pub use self::cluster::{Cluster, Standstill, Transition};
pub(crate) use self::report::{check_text, status_text};
pub use self::trail::{TrailError, joined, read};
