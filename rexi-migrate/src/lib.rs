//! Shows whether a mixed-version cluster can take its next upgrade step.

pub mod train;
pub mod control;
pub mod process;
pub mod cluster;
