//! What an operator may ask of the record, and what the record is after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ClusterRecord, Digest, Intent, ceilings_told, named};
use crate::function::Release;
use crate::guards::Guards;
use crate::migration::MigrationKey;
use crate::name::NodeName;
use crate::phase::Phase;

/// One change of the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClusterChange {
    /// The first record: the releases that run now.
    Begin {
        /// The lowest.
        floor: Release,
        /// The highest.
        top: Release,
    },
    /// Opens the window for the next release.
    Open {
        /// That release.
        top: Release,
    },
    /// Sets how far each migration may go.
    Cap(BTreeMap<MigrationKey, Phase>),
    /// Takes the ceilings off, and these brakes: the number of each member's last one.
    Lift(BTreeMap<NodeName, u64>),
    /// Closes the way back: the floor becomes the top.
    Finalize {
        /// The new floor.
        floor: Release,
    },
    /// Takes out members that never return with what they have kept.
    Forget {
        /// The members.
        nodes: BTreeSet<NodeName>,
        /// What the operator vouches for.
        loss: Loss,
    },
}

/// What has become of a member's disk, by an operator's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// The machine is no more.
    Destroyed,
    /// The machine is there, and the disk is empty.
    Wiped,
}

impl Loss {
    /// The word for it in files and on command lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Destroyed => "destroyed",
            Self::Wiped => "wiped",
        }
    }
}

/// Why a change does not follow from a record. The operator is at fault; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
pub enum Illegal {
    /// There is a record already.
    #[error("this cluster has a record already, of epoch {epoch}: see what it says with `live status`")]
    Begun {
        /// Its epoch.
        epoch: u64,
    },
    /// There is none yet.
    #[error("this cluster has no record yet: begin one with `live init`")]
    NotBegun,
    /// The floor of a first record is above its top.
    #[error("release {floor} is above {top}: a window goes from the lower to the higher")]
    UpsideDown {
        /// What was asked for as the floor.
        floor: Release,
        /// And as the top.
        top: Release,
    },
    /// The window is open already, for another release.
    #[error("the window is open from {floor} to {top}: finalize {top} before {asked} is let in")]
    WindowOpen {
        /// The lowest release that may run.
        floor: Release,
        /// The highest.
        top: Release,
        /// The release that was asked for.
        asked: Release,
    },
    /// The release is not above the floor.
    #[error("release {asked} is not above the floor {floor}, which is final: no way leads back below it")]
    NotAbove {
        /// The release that was asked for.
        asked: Release,
        /// The lowest release that may run.
        floor: Release,
    },
    /// Only the top can be made the floor.
    #[error("only {top}, the highest release that may run, can be finalized, and not {asked}")]
    NotTop {
        /// The release that was asked for.
        asked: Release,
        /// The highest release that may run.
        top: Release,
    },
    /// Nobody is known by the name.
    #[error("{node} is not a member by the record, nor by what is under way")]
    NoMember {
        /// Who was named.
        node: NodeName,
    },
    /// A member of the record is not in the list of who is asked.
    #[error("{node} is a member by the record, and is missing in the configured list: list it, or forget it")]
    MissingMember {
        /// The member.
        node: NodeName,
    },
    /// Nobody would be left.
    #[error("nobody would be left: a cluster cannot forget itself")]
    NobodyLeft,
    /// The record has no place for more.
    #[error("the record holds {count} {what}, which is the most it has room for")]
    Full {
        /// What of.
        what: String,
        /// How many.
        count: usize,
    },
}

impl ClusterChange {
    /// The change in words, as a part of a sentence.
    pub fn told(&self) -> String {
        match self {
            Self::Begin { floor, top } => format!("begin with {floor} to {top}"),
            Self::Open { top } => format!("let release {top} in"),
            Self::Cap(ceilings) if ceilings.is_empty() => "take the ceilings off".to_owned(),
            Self::Cap(ceilings) => format!("set ceilings {}", ceilings_told(ceilings)),
            Self::Lift(_) => "lift ceilings and brakes".to_owned(),
            Self::Finalize { floor } => format!("finalize {floor}"),
            Self::Forget { nodes, loss } => format!("forget {} ({})", named(nodes), loss.as_str()),
        }
    }

    /// Whether a record says already what the change is for.
    pub fn is_made(&self, record: Option<&ClusterRecord>) -> bool {
        let Some(record) = record else { return false };
        match self {
            Self::Begin { .. } => false,
            Self::Open { top } => record.top == *top,
            Self::Cap(ceilings) => record.ceilings == *ceilings,
            Self::Lift(brakes) => {
                let is_lifted = |(node, number): (&NodeName, &u64)| record.lifted.get(node) >= Some(number);
                record.ceilings.is_empty() && brakes.iter().all(is_lifted)
            }
            Self::Finalize { floor } => record.floor == *floor,
            Self::Forget { nodes, .. } => {
                nodes.iter().all(|node| !record.members.contains(node) && record.forgotten.contains_key(node))
            }
        }
    }
}

impl Intent {
    /// The record that follows from the one before by this intent: the same on every member.
    ///
    /// # Errors
    /// [`Illegal`] where the change cannot follow from it.
    pub fn record(&self, before: Option<&ClusterRecord>) -> Result<ClusterRecord, Illegal> {
        self.record_guarded(before, Guards::default())
    }

    pub(super) fn record_guarded(
        &self,
        before: Option<&ClusterRecord>,
        guards: Guards,
    ) -> Result<ClusterRecord, Illegal> {
        let (by, at) = (Arc::clone(&self.by), self.at);
        let Some(before) = before else { return self.first_record() };
        let ClusterRecord { floor, top, epoch, .. } = *before;
        let stays = |node: &&NodeName| !self.forgets(node);
        if let Some(node) = before.members.iter().filter(stays).find(|node| !self.members.contains(*node)) {
            return Err(Illegal::MissingMember { node: node.clone() });
        }
        let previous = before.digest();
        let (epoch, attempt, intent) = (epoch.saturating_add(1), self.attempt, self.id());
        let members = self.members.clone();
        let mut after = ClusterRecord { epoch, attempt, members, by, at, intent, previous, ..before.clone() };
        match &self.change {
            ClusterChange::Begin { .. } => return Err(Illegal::Begun { epoch: before.epoch }),
            &ClusterChange::Open { top: asked } => {
                if guards.opens_upwards(asked <= floor) {
                    return Err(Illegal::NotAbove { asked, floor });
                }
                if floor != top {
                    return Err(Illegal::WindowOpen { floor, top, asked });
                }
                after.top = asked;
            }
            ClusterChange::Cap(ceilings) => after.ceilings.clone_from(ceilings),
            ClusterChange::Lift(brakes) => {
                after.ceilings.clear();
                for (node, &number) in brakes {
                    let last = after.lifted.entry(node.clone()).or_default();
                    *last = number.max(*last);
                }
            }
            &ClusterChange::Finalize { floor: asked } => {
                if asked != top {
                    return Err(Illegal::NotTop { asked, top });
                }
                after.floor = asked;
            }
            ClusterChange::Forget { nodes, .. } => {
                after.members.retain(|node| !nodes.contains(node));
                if after.members.is_empty() {
                    return Err(Illegal::NobodyLeft);
                }
                after.forgotten.extend(nodes.iter().map(|node| (node.clone(), after.epoch)));
            }
        }
        after.has_room()?;
        Ok(after)
    }

    fn first_record(&self) -> Result<ClusterRecord, Illegal> {
        let (by, at) = (Arc::clone(&self.by), self.at);
        let ClusterChange::Begin { floor, top } = self.change else { return Err(Illegal::NotBegun) };
        if floor > top {
            return Err(Illegal::UpsideDown { floor, top });
        }
        let first = ClusterRecord {
            cluster: Arc::clone(&self.cluster),
            origin: self.id(),
            epoch: 1,
            attempt: self.attempt,
            floor,
            top,
            ceilings: BTreeMap::new(),
            members: self.members.clone(),
            forgotten: BTreeMap::new(),
            lifted: BTreeMap::new(),
            by,
            at,
            intent: self.id(),
            previous: Digest::default(),
        };
        first.has_room()?;
        Ok(first)
    }
}

impl ClusterRecord {
    fn has_room(&self) -> Result<(), Illegal> {
        let lists = [
            ("members", self.members.len()),
            ("forgotten members", self.forgotten.len()),
            ("lifted brakes", self.lifted.len()),
            ("ceilings", self.ceilings.len()),
        ];
        match lists.into_iter().find(|&(_, count)| count > NAMES_MAX) {
            Some((what, count)) => Err(Illegal::Full { what: what.to_owned(), count }),
            None => Ok(()),
        }
    }
}

/// Names in each list of a record.
const NAMES_MAX: usize = 1_024;
