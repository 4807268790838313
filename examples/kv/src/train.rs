//! The store's releases: the original's story first, then a change of the store's own.

use rexi_server::{SERVER_PER_NODE, Train, WireVersion};

use crate::replica::ReadConsistency;

/// From one server per node to one per remote node, and then to reads that say how consistent they are to be.
pub fn train() -> Train {
    let (v1, v2, v3) = (WireVersion::V1, WireVersion::V2, WireVersion::V3);
    Train::new("kv")
        .release("1.0", |r| r.wire(v1))
        .release("1.1", |r| r.wire(v1..=v2).introduce(SERVER_PER_NODE))
        .release("1.2", |r| r.wire(v2).switch(SERVER_PER_NODE))
        .release("2.0", |r| r.wire(v2..=v3).remove(SERVER_PER_NODE))
        .release("2.1", |r| r.wire(v3).introduce(ReadConsistency))
        .release("2.2", |r| r.switch(ReadConsistency))
        .release("3.0", |r| r.remove(ReadConsistency))
}
