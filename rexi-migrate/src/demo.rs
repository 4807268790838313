//! The demo's service: the original's story as a train of four releases. No other file of the tools names a release.

use rexi_proto::{SERVER_PER_NODE, Train, WireVersion};

use crate::path::UpgradePath;

/// One server per node, then one per remote node: 1.0, 1.1, 1.2 and 2.0. CHANGELOG.md has them as a table.
pub fn train() -> Train {
    let (v1, v2, v3) = (WireVersion::V1, WireVersion::V2, WireVersion::V3);
    Train::new("demo")
        .release("1.0", |r| r.wire(v1))
        .release("1.1", |r| r.wire(v1..=v2).introduce(SERVER_PER_NODE))
        .release("1.2", |r| r.wire(v2).switch(SERVER_PER_NODE))
        .release("2.0", |r| r.wire(v2..=v3).remove(SERVER_PER_NODE))
}

/// Its releases.
///
/// # Panics
/// Never: its train is consistent.
pub fn path() -> UpgradePath {
    UpgradePath::of(&train()).expect("the demo's train is consistent")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_train_is_the_one_of_the_design() {
        let row = |p: &rexi_proto::Profile| {
            let stage = p.server_stage();
            format!("{} {}-{} hosts {} speaks {}", p.release(), stage.lowest(), stage.highest(), p.hosts(), p.wire())
        };
        let rows: Vec<String> = super::train().profiles().expect("a train").iter().map(row).collect();
        assert_eq!(
            rows,
            [
                "1.0.0 singleton-singleton hosts singleton speaks v1",
                "1.1.0 introduce-introduce hosts singleton and per-node speaks v1..v2",
                "1.2.0 introduce-switch hosts singleton and per-node speaks v2",
                "2.0.0 remove-remove hosts per-node speaks v2..v3",
            ]
        );
    }
}
