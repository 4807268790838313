//! An exhaustive search, breadth first, over any [`Model`]: every reachable state is visited once and judged.
//!
//! In: the model, the bounds, where progress goes. Out: an [`Outcome`] with its end (all met, bounded, or broken with
//! the shortest path there), counts and witnesses, the same whatever the threads do. A state that was expanded is
//! dropped; what is kept of it is a fingerprint of 128 bits, its parent and the number of its action (`seen.rs`), which
//! is enough to walk the path again. The model decides what a fingerprint stands for: with symmetry it is that of an
//! orbit.

mod fingerprint;
mod model;
mod run;
mod seen;

pub use fingerprint::{Fingerprint, Recorder};
pub use model::{Bound, Broken, End, Model, Options, Outcome, Path, Tally};
pub use run::{resident_bytes_max, search, search_shown};

#[cfg(test)]
mod tests;
