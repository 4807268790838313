//! What the search of hellos asks of a step and of a state, one by one.

use super::super::oracle::declare;
use crate::model::Rule;
use crate::verdict::oracle::oracles;

declare! {
    // Of a state (`judge.rs`).
    PhaseOutOfBounds S12,
    CeilingUnheeded L5,
    AttachedOverSkew S11,
    SendsToNoServer S13,
    StaleView S12,
    ShutOut L7,
    @steps
    RaisedUnready S6,
    HoldoutLeftBehind S13,
    PhaseWithoutTransition S12,
    LoweredToRemoved S12,
    ClosedOnSoundPeer S8,
    NotLowered L5,
    CeilingStays L5,
    RefusalOutlived S11,
    HelloUnread S8,
    EarlierLifeAgreed S7,
}
