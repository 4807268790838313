//! The interleavings without which a search of hellos proves nothing.

use super::super::witness::sentences;
use crate::model::Case;

/// Every case that is counted, in the order of reports.
pub(super) const CASES: [Case; 11] = [
    Case::EarlierLife,
    Case::EarlierWord,
    Case::PhaseMoved,
    Case::OfThePast,
    Case::HandshakeRefused,
    Case::RaisedOverTarget,
    Case::LoweringRefused,
    Case::HoldoutNamed,
    Case::Replaced,
    Case::Outlived,
    Case::StartsAhead,
];

/// The same, as what they count.
pub(super) const SENTENCES: [&str; CASES.len()] = sentences(CASES);

/// Cases that take a node that has removed an old form.
pub(super) const OF_REMOVED: [Case; 3] = [Case::HandshakeRefused, Case::LoweringRefused, Case::HoldoutNamed];

/// Cases that take a third node.
pub(super) const OF_THREE: [Case; 1] = [Case::HoldoutNamed];
