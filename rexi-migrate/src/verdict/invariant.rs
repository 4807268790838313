//! The invariants that every level judges by, each with its sentence; docs/safety.md says which level looks for which.

use std::fmt;

use serde::Serialize;

/// Declares each invariant once, with the sentence that reports print.
macro_rules! invariants {
    ($($id:ident $sentence:literal,)+) => {
        /// An invariant. `S` is safety, which no state may break; `L` is liveness, which holds once faults stop.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Invariant {
            $(#[doc = $sentence] $id,)+
        }

        impl Invariant {
            /// Every invariant, safety first.
            pub const ALL: &'static [Self] = &[$(Self::$id,)+];

            /// What must hold, as a sentence.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$id => $sentence,)+ }
            }
        }
    };
}

invariants! {
    S1 "A cast to a live peer of legal skew reaches exactly one running server, or its caller gets a typed answer.",
    S2 "An accepted job runs at most once.",
    S3 "Once a kill was issued and all its copies are delivered, the job runs on no server.",
    S4 "A kill is idempotent; a second copy never hits another job.",
    S5 "Stream items have no gap, no duplicate and keep their order; acks reach the worker that opened the stream.",
    S6 "A peer counts as ready only while its server for this node accepts. Unknown is not ready.",
    S7 "Of a node and its incarnation there is one server, another for each, and the same in every release.",
    S8 "Decoding returns the value that was sent, or a typed error. The input is consumed whole.",
    S9 "No node emits what its peer's negotiated version lacks; a receiver accepts old and new in every phase.",
    S10 "An unknown message is counted and answered.",
    S11 "Connected peers differ by one release at most; the handshake enforces it.",
    S12 "Phase and floor move only by a recorded transition; a node below the floor never serves.",
    S13 "Before the singleton goes, no message, job or stream of any earlier epoch still needs it.",
    S14 "One transition at a time; each step is compare-and-set on an epoch, idempotent and resumable.",
    L1 "Every cast ends in a reply, an exit, a down or a refusal, within its time limit.",
    L2 "No worker outlives its coordinator beyond a stated bound.",
    L3 "A missing per-node server is back within a stated bound.",
    L4 "An upgrade always reaches done or cleanly rolled back, or names what blocks it.",
    L5 "Every operator's request gets an explicit outcome; nothing is skipped in silence.",
    L6 "Traffic to the singleton reaches zero, measurably, before it is removed.",
    L7 "Two nodes that may speak are connected again within a stated bound, whatever was said in a node's name before.",
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
