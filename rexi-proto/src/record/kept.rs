//! What one member has on its disk of the record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ClusterRecord, Intent, Loss};
use crate::function::Release;
use crate::guards::Guards;
use crate::migration::MigrationKey;
use crate::name::NodeName;
use crate::phase::Phase;

/// What one member has on its disk. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Kept {
    /// Whose it is.
    pub node: NodeName,
    /// What is settled; `None` before a first record was begun here or learned.
    pub record: Option<Arc<ClusterRecord>>,
    /// The intent for the next epoch that this member has said yes to.
    pub vote: Option<Arc<Intent>>,
    /// No attempt up to this one, at the next epoch, gets a yes here, or becomes the record by a yes that stands.
    pub closed: u64,
    /// The floor of a yes that a fence has closed: it may be the record of a member behind the fence, so it binds
    /// until the next epoch.
    pub bound: Option<Release>,
    /// Its disk came new at this epoch: what it had said before is lost, so it says neither yes nor closes anything
    /// until it was forgotten. It takes records meanwhile, and may serve.
    pub anew: Option<u64>,
    /// The members that are about to be forgotten.
    pub fence: Option<Arc<Fence>>,
    /// The last brake of each member that is not lifted.
    pub brakes: BTreeMap<NodeName, Brake>,
}

/// From now on, what some members bring is not taken: the others are about to go on without them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// Those members.
    pub nodes: BTreeSet<NodeName>,
    /// What the operator vouches for.
    pub loss: Loss,
    /// All others: what they have may be taken.
    pub others: BTreeSet<NodeName>,
    /// The operator.
    pub by: Arc<str>,
    /// When the operator asked, in seconds since 1970.
    pub at: u64,
}

/// A ceiling that needs nobody's yes: it only lowers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Brake {
    /// Which brake of its member it is; a later one has a greater number.
    pub number: u64,
    /// How far each migration may go.
    pub ceilings: BTreeMap<MigrationKey, Phase>,
    /// The operator.
    pub by: Arc<str>,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// Why a release may not run here. Nothing was served.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
pub enum Bar {
    /// No record is known here yet.
    #[error("no record is known here: begin one with `live init`, or wait for a member that has one, which gives it")]
    NoRecord,
    /// The release is below the floor.
    #[error(
        "release {release} is below the floor {floor} of epoch {epoch}: start release {floor}{}",
        if floor == top { String::new() } else { format!(" or {top}") }
    )]
    BelowFloor {
        /// The release that would run.
        release: Release,
        /// The lowest that may.
        floor: Release,
        /// The highest that may.
        top: Release,
        /// The record's epoch.
        epoch: u64,
    },
    /// The release is below a floor that this member has said yes to.
    #[error(
        "release {release} is below {floor}, to which this member has said yes as the floor: start {floor}, and see \
         `live status`"
    )]
    BelowPendingFloor {
        /// The release that would run.
        release: Release,
        /// The floor that may come.
        floor: Release,
    },
    /// The release is not in the window.
    #[error(
        "release {release} was not announced: the record of epoch {epoch} lets {floor} to {top} run. Let it in with \
         `live advance --to {release}`, or start {top}"
    )]
    AboveTop {
        /// The release that would run.
        release: Release,
        /// The lowest that may.
        floor: Release,
        /// The highest that may.
        top: Release,
        /// The record's epoch.
        epoch: u64,
    },
}

impl Brake {
    /// The last of each member, by what several keep.
    pub fn last_of<'a>(all: impl IntoIterator<Item = &'a Kept>) -> BTreeMap<NodeName, Self> {
        let mut brakes: BTreeMap<NodeName, Self> = BTreeMap::new();
        for (node, brake) in all.into_iter().flat_map(|kept| &kept.brakes) {
            let known = brakes.get(node).is_some_and(|known| known.number >= brake.number);
            if !known {
                brakes.insert(node.clone(), brake.clone());
            }
        }
        brakes
    }
}

impl Kept {
    /// What a member has whose disk is empty.
    pub fn nothing(node: NodeName) -> Self {
        let brakes = BTreeMap::new();
        Self { node, record: None, vote: None, closed: 0, bound: None, anew: None, fence: None, brakes }
    }

    /// What a member has whose file could no longer be read, by a record that another has on its disk.
    #[must_use]
    pub fn repaired(node: NodeName, record: Arc<ClusterRecord>) -> Self {
        Self::nothing(node).with_record(record)
    }

    /// The epoch of the record; 0 without one.
    pub fn epoch(&self) -> u64 {
        self.record.as_ref().map_or(0, |record| record.epoch)
    }

    /// The yes that may still become the record here.
    pub fn open_vote(&self) -> Option<&Arc<Intent>> {
        self.vote.as_ref().filter(|vote| vote.attempt > self.closed)
    }

    /// Whether a release may run here, and be spoken to from here.
    ///
    /// # Errors
    /// [`Bar`] says why not.
    pub fn admits(&self, release: Release) -> Result<(), Bar> {
        self.admits_guarded(release, Guards::default())
    }

    pub(super) fn admits_guarded(&self, release: Release, guards: Guards) -> Result<(), Bar> {
        if let Some(record) = &self.record
            && !record.admits(release)
        {
            let ClusterRecord { floor, top, epoch, .. } = **record;
            return Err(match release < floor {
                true => Bar::BelowFloor { release, floor, top, epoch },
                false => Bar::AboveTop { release, floor, top, epoch },
            });
        }
        // A yes to a first record binds before there is one.
        let pending = self.vote.as_ref().and_then(|vote| vote.floor()).max(self.bound);
        match pending {
            Some(floor) if guards.yes_binds_at_once(release < floor) => Err(Bar::BelowPendingFloor { release, floor }),
            _ if self.record.is_none() => Err(Bar::NoRecord),
            _ => Ok(()),
        }
    }

    /// How far each migration may go: the lowest of the record's ceilings and of the brakes.
    pub fn ceilings(&self) -> BTreeMap<MigrationKey, Phase> {
        let mut lowest = self.record.as_ref().map_or_else(BTreeMap::new, |record| record.ceilings.clone());
        for (key, &phase) in self.brakes.values().flat_map(|brake| &brake.ceilings) {
            let ceiling = lowest.entry(key.clone()).or_insert(phase);
            *ceiling = phase.min(*ceiling);
        }
        lowest
    }

    /// The same after a record has come: what was said about its epoch or an earlier one is over, and so are the brakes
    /// that it lifts. A member by it that had nothing, not even a yes, has lost what it had.
    #[must_use]
    pub(crate) fn with_record(&self, record: Arc<ClusterRecord>) -> Self {
        let is_on =
            |(node, brake): &(&NodeName, &Brake)| record.lifted.get(*node).is_none_or(|&last| brake.number > last);
        let brakes = self.brakes.iter().filter(is_on).map(|(node, brake)| (node.clone(), brake.clone())).collect();
        let is_new = self.record.is_none() && self.vote.is_none();
        let since = self.anew.or(is_new.then_some(record.epoch));
        let anew = since.filter(|_| record.members.contains(&self.node));
        Self { record: Some(record), brakes, anew, ..Self::nothing(self.node.clone()) }
    }

    /// The same with attempts up to this one closed. A fence is for the attempt after those that it has closed, and
    /// goes with that one.
    #[must_use]
    pub(super) fn closed_to(&self, attempt: u64) -> Self {
        let fence = self.fence.clone().filter(|_| attempt <= self.closed);
        Self { closed: attempt.max(self.closed), fence, ..self.clone() }
    }

    /// The number that the next brake of this member has: above all that anybody may have seen.
    pub(super) fn next_brake(&self) -> u64 {
        let lifted = self.record.as_ref().and_then(|record| record.lifted.get(&self.node)).copied();
        let last = self.brakes.get(&self.node).map(|brake| brake.number);
        lifted.max(last).unwrap_or(0).saturating_add(1)
    }
}
