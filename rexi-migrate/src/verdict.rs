//! What all levels of verification say: invariants, what a run is checked for, events that led to a breach, a
//! conclusion.

pub mod case;
pub mod conclusion;
pub mod invariant;
pub(crate) mod oracle;
pub mod trace;
pub mod level;
