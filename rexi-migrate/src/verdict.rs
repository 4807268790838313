//! What all levels of verification say: invariants, what is asked of a run, events that led to a breach, a conclusion.

pub mod case;
pub mod conclusion;
pub mod invariant;
pub(crate) mod oracle;
pub mod trace;
pub mod level;
