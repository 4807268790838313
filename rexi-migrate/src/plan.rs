//! What is to happen: the releases to go through, and the steps that lead from one to the next.

pub mod train;
