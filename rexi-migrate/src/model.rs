//! The one model of the core: nodes of real state machines, what is between them, and what a bystander notes of it.
//!
//! A `node` has all that a shell gives a node; `outputs` does what its state machines want done, `phases` is what
//! its operator does there, and `work` what callers and jobs do. The `observer` knows every call and writes down which
//! `case` was met and which `rule` was broken. `network` has what is on its way; a `world` is nodes with every `wire`
//! between them. Whoever drives it decides what happens, in which order, and what a broken rule means: `check` takes
//! every order there is, random runs one after the other.

mod case;
mod rule;
mod network;
mod observer;
mod build;
mod node;
mod outputs;
mod phases;
mod work;
mod wire;
mod world;

pub use build::{Build, FUNCTION};
pub use case::{Case, Cases};
pub use network::{Way, frames, kind, over_the_wire};
pub use node::{Close, Job, NodeModel, PEER, Seen, Written, member_id, name, saying};
pub use observer::{Breach, CallRecord, Monitor, Observer, payload};
pub use rule::Rule;
pub use wire::{End, EndStage, Holdout, Parting, PlantedFrames, Wire};
pub use work::{Deed, Word};
pub(crate) use world::CLOCK;
pub use world::{Late, World};
