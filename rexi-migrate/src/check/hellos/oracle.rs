//! What the search of hellos asks of a step and of a state, one by one.

use crate::verdict::oracle::oracles;

oracles! {
    // Of a state (`judge.rs`).
    PhaseOutOfBounds S12,
    CeilingUnheeded L5,
    AttachedOverSkew S11,
    SendsToNoServer S13,
    StaleView S12,
    // Of a step.
    RaisedUnready S6,
    HoldoutLeftBehind S13,
    PhaseWithoutTransition S12,
    ClosedOnSoundPeer S8,
    NotLowered L5,
    NotLifted L5,
    HelloUnread S8,
    EarlierLifeAgreed S7,
}
