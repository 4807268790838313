//! A migration as data: the forms in which nodes speak, and which of them each release accepts and emits.
//!
//! A change of a protocol is a sequence of releases, each of which understands some forms and uses some. Whether every
//! mix of two neighbours is safe is found by search (`migration/mix.rs`), what each step needs and how it is undone is
//! read from the rows (`migration/steps.rs`), and the shortest safe sequence between two behaviours is found by
//! `migration/synthesis.rs`. `migration/known.rs` has those that a train declares and two of rexi's own messages; a
//! service adds others from the rows of its functions, or from a file (`migration/file.rs`).

mod data;
mod file;
mod known;
mod mix;
mod check;
mod steps;
mod synthesis;

pub use check::{Checked, check};
pub use data::{Behaviour, FORMS_MAX, MessageForm, MessageForms, ProtocolChange, RELEASES_MAX, Role, Unknown};
pub use file::{FileError, from_toml};
pub use known::{kill_all, known, of_train, tagged_reply};
pub use steps::{PlanStep, steps};
pub use synthesis::{RuledOut, STEPS_MAX, Synthesis, TooWide, synthesize};

#[cfg(test)]
mod tests;
