//! What is asked of a cluster while it is upgraded, and what the right answers are.

pub(crate) mod work;
pub(crate) mod load;
mod away;
mod phases;
mod functions;

pub(crate) use away::away;
#[cfg(test)]
pub(crate) use functions::FUNCTION;
pub(crate) use functions::{Functions, called, taken};
pub(crate) use phases::PhaseWatch;
