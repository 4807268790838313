//! What is asked of a cluster while it is upgraded, and what the right answers are.

pub(crate) mod work;
pub(crate) mod load;
mod away;
mod phases;

pub(crate) use away::away;
pub(crate) use phases::PhaseWatch;
