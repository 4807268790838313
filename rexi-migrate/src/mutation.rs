//! Mutants: every guard of the protocol, broken on purpose and tried at every level, and what noticed it.
//!
//! `catalogue` has the mutants and historical bugs of docs/safety.md: what each is planted as here, or why it cannot
//! be. `hunt` (feature `mutants`) tries a planted one, level after level. `score` says what became of all of them.

mod catalogue;
#[cfg(feature = "mutants")]
mod hunt;
mod score;

pub use catalogue::{BUGS, Entry, How, MUTANTS};
#[cfg(feature = "mutants")]
pub use hunt::{Budget, Hunt, hunt, hunts};
pub use score::{Cover, Fate, Found, Hunted, Score, ScoreRow, Tried};
