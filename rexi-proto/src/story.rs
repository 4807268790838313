//! What the core's own tests have in common: a train of rexi's own migration, and hellos of its releases.

use crate::hello::{Hello, Standing};
use crate::migration::{SERVER_PER_NODE, Stage};
use crate::name::{Incarnation, NodeName};
use crate::phase::Phase;
use crate::release::Profile;
use crate::rollout::PhaseNow;
use crate::table::FunctionTable;
use crate::train::Train;
use crate::version::WireVersion;

/// A service that goes through rexi's own migration, a release for each stage.
pub(crate) fn train() -> Train {
    let (v1, v2, v3) = (WireVersion::V1, WireVersion::V2, WireVersion::V3);
    Train::new("story")
        .release("1.0", |r| r.wire(v1))
        .release("1.1", |r| r.wire(v1..=v2).introduce(SERVER_PER_NODE))
        .release("1.2", |r| r.wire(v2).switch(SERVER_PER_NODE))
        .release("2.0", |r| r.wire(v2..=v3).remove(SERVER_PER_NODE))
}

pub(crate) fn profiles() -> [Profile; 4] {
    train().profiles().expect("a train").try_into().expect("four releases")
}

pub(crate) fn hello(name: &str, profile: &Profile, phase: Phase) -> Hello {
    let standing = |(migration, stage): (&crate::migration::Migration, Stage)| Standing {
        key: migration.key().clone(),
        phase: if migration == &SERVER_PER_NODE { phase } else { stage.lowest() },
        epoch: 0,
        ceiling: stage.highest(),
        takes: stage.takes(),
        holdouts: Vec::new(),
    };
    Hello {
        last_met: None,
        cluster: profile.train().into(),
        node: NodeName::new(name).expect("a name"),
        incarnation: Incarnation(7),
        release: profile.release().clone(),
        stop: profile.stop(),
        follows: profile.follows(),
        wire: profile.wire(),
        migrations: profile.migrations().map(standing).collect(),
        functions: functions(),
        record: crate::record::RecordWord::Unkept,
        capabilities: 0,
        frame_bytes_max: 1 << 20,
        payload_bytes_max: 4 << 20,
    }
}

/// The functions of the tests' nodes.
pub(crate) fn functions() -> FunctionTable {
    FunctionTable::new(["f", "g"]).expect("a table")
}

/// The phase of rexi's own migration, as a peer's state is told of it.
pub(crate) fn now(epoch: u64, phase: Phase) -> PhaseNow {
    PhaseNow { epoch, phase }
}
