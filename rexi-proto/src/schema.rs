//! Shows the frozen layouts, type by type, to a tool that writes down what the wire is (feature `schema`).
//!
//! A build without the feature has none of this. With it the layouts stay private all the same: a visitor is handed
//! each as a type parameter, and can ask of it no more than what serde says. So the core needs no tracer among its
//! dependencies.

use serde::{Deserialize, Serialize};

use crate::compat::{self, Kind, ROWS};
use crate::version::WireVersion;
use crate::{hello, wire};

/// Every wire version that this build speaks, oldest first.
pub const WIRE_VERSIONS: [WireVersion; 3] = [WireVersion::V1, WireVersion::V2, WireVersion::V3];

/// Takes the layouts in the order in which a frame has them.
pub trait LayoutVisitor {
    /// The frame of this kind goes on with a header of this layout.
    fn header<T: Serialize + Deserialize<'static>>(&mut self, kind: Kind);

    /// The frame of this kind ends with a payload, as long as its header's `bulk` is none.
    fn payload(&mut self, kind: Kind);
}

/// Shows what the frames of each kind are made of that `version` has, their first byte left out.
pub fn show_layouts(version: WireVersion, visitor: &mut impl LayoutVisitor) {
    for row in ROWS {
        if compat::accepted(row.kind as u8, version).is_some() {
            wire::show(version, row.kind, visitor);
        }
    }
}

/// Shows what a hello is made of, its first byte left out, and its word of the record.
pub fn show_hello(visitor: &mut impl LayoutVisitor) {
    hello::show(visitor);
}
