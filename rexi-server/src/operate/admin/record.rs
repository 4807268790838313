//! What a node keeps of its cluster's record, as JSON.

use std::collections::BTreeMap;

use rexi_proto::record::{Brake, Kept};
use rexi_proto::{MigrationKey, Phase};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Record {
    /// 0 where there is none yet; what it says is null then.
    epoch: u64,
    digest: Option<String>,
    floor: Option<String>,
    top: Option<String>,
    /// By migration.
    ceilings: BTreeMap<String, &'static str>,
    members: Vec<String>,
    /// With the epoch that forgot each.
    forgotten: BTreeMap<String, u64>,
    by: Option<String>,
    /// Seconds since 1970.
    at: Option<u64>,
    /// By the member that it was put on at.
    brakes: BTreeMap<String, BrakeOn>,
    /// The epoch at which the disk came new, until the member was forgotten.
    anew: Option<u64>,
    /// Whether a write has failed since the start.
    broken: bool,
}

#[derive(Serialize)]
struct BrakeOn {
    ceilings: BTreeMap<String, &'static str>,
    by: String,
    at: u64,
}

/// A change that this node has said yes to, or members that are about to be forgotten.
#[derive(Serialize)]
pub(super) struct Transition {
    what: String,
    by: String,
    /// Seconds since 1970.
    at: u64,
}

impl Record {
    pub(super) fn of(kept: &Kept, broken: bool) -> Self {
        let record = kept.record.as_deref();
        let brakes = kept.brakes.iter().map(|(node, brake)| (node.to_string(), BrakeOn::of(brake))).collect();
        Self {
            epoch: kept.epoch(),
            digest: record.map(|record| record.digest().to_string()),
            floor: record.map(|record| record.floor.to_string()),
            top: record.map(|record| record.top.to_string()),
            ceilings: record.map(|record| named(&record.ceilings)).unwrap_or_default(),
            members: record.into_iter().flat_map(|record| &record.members).map(ToString::to_string).collect(),
            forgotten: record
                .into_iter()
                .flat_map(|record| &record.forgotten)
                .map(|(node, &at)| (node.to_string(), at))
                .collect(),
            by: record.map(|record| record.by.to_string()),
            at: record.map(|record| record.at),
            brakes,
            anew: kept.anew,
            broken,
        }
    }
}

impl BrakeOn {
    fn of(brake: &Brake) -> Self {
        Self { ceilings: named(&brake.ceilings), by: brake.by.to_string(), at: brake.at }
    }
}

impl Transition {
    pub(super) fn of(kept: &Kept) -> Option<Self> {
        let vote = kept.vote.as_ref().map(|vote| (vote.told(), &vote.by, vote.at));
        let fence = kept.fence.as_ref().map(|fence| (fence.told(), &fence.by, fence.at));
        let (what, by, at) = fence.or(vote)?;
        Some(Self { what, by: by.to_string(), at })
    }
}

fn named(ceilings: &BTreeMap<MigrationKey, Phase>) -> BTreeMap<String, &'static str> {
    ceilings.iter().map(|(key, phase)| (key.to_string(), phase.as_str())).collect()
}
