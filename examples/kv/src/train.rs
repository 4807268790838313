//! The store's releases, which it shares with the cluster that the original's story is told of.

use rexi_server::{SERVER_PER_NODE, Train, WireVersion};

/// From one server per node to one per remote node.
pub fn train() -> Train {
    let (v1, v2, v3) = (WireVersion::V1, WireVersion::V2, WireVersion::V3);
    Train::new("kv")
        .release("1.0", |r| r.wire(v1))
        .release("1.1", |r| r.wire(v1..=v2).introduce(SERVER_PER_NODE))
        .release("1.2", |r| r.wire(v2).switch(SERVER_PER_NODE))
        .release("2.0", |r| r.wire(v2..=v3).remove(SERVER_PER_NODE))
}
