//! What a member may be asked about the record, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Brake, ClusterRecord, Fence, Illegal, Intent, Kept, SeenLife};
use crate::function::Release;
use crate::migration::MigrationKey;
use crate::name::NodeName;
use crate::phase::Phase;

/// What a member may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeeperAsk {
    /// What it keeps.
    Read,
    /// A yes.
    Vote(Arc<Intent>),
    /// To make the intent the record: all of these have said yes to it.
    Commit(Arc<Intent>, BTreeSet<NodeName>),
    /// To take a record that this member has on its disk.
    Take(Arc<ClusterRecord>, NodeName),
    /// To say yes to no attempt up to this one; it must not have said yes to it.
    Close {
        /// The epoch that is tried.
        epoch: u64,
        /// The attempt.
        attempt: u64,
    },
    /// To let go of attempts up to this one: a member that has not said yes has closed it.
    Abort {
        /// The epoch that is tried.
        epoch: u64,
        /// The attempt.
        attempt: u64,
    },
    /// To close attempts up to this one, whatever it has said, and to take nothing more from some members.
    Freeze {
        /// The epoch that is tried.
        epoch: u64,
        /// The attempt.
        attempt: u64,
        /// Whom the others are about to forget: all that are fenced off already, and maybe more.
        fence: Arc<Fence>,
    },
    /// To brake.
    Brake {
        /// How far each migration may go.
        ceilings: BTreeMap<MigrationKey, Phase>,
        /// The operator.
        by: Arc<str>,
        /// When, in seconds since 1970.
        at: u64,
    },
    /// To know of the brakes of others.
    Hear(BTreeMap<NodeName, Brake>),
}

/// What a member answers: once it is on its disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it did what it was asked.
    pub did: Result<(), No>,
    /// What its disk holds.
    pub kept: Kept,
    /// What it is.
    pub life: SeenLife,
    /// Who it takes for members.
    pub members: BTreeSet<NodeName>,
}

/// Why a member does not do what it was asked. What it keeps is as before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
pub enum No {
    /// The intent does not follow from the record here.
    #[error("it is at epoch {epoch}, where the change does not follow")]
    Stale {
        /// The epoch here.
        epoch: u64,
    },
    /// It has said yes to another intent.
    #[error("it has said yes to {by}, who asked to {what}")]
    Busy {
        /// The operator of the other.
        by: Arc<str>,
        /// What the other is.
        what: String,
    },
    /// Members are about to be forgotten.
    #[error("{by} asked to forget {nodes}: `live resume` or `live abort` ends that")]
    Fenced {
        /// The operator.
        by: Arc<str>,
        /// Who is to be forgotten, by their names.
        nodes: String,
    },
    /// Who would be forgotten is not fenced off here.
    #[error("{nodes} is not fenced off here")]
    NotFenced {
        /// Who is to be forgotten, by their names.
        nodes: String,
    },
    /// The attempt is closed.
    #[error("attempts up to {closed} are closed here")]
    Closed {
        /// The last attempt that is.
        closed: u64,
    },
    /// It cannot be closed: the member has said yes to it.
    #[error("it has said yes")]
    SaidYes,
    /// Not all members have said yes.
    #[error("{missing} has not said yes")]
    NotAll {
        /// One who has not.
        missing: NodeName,
    },
    /// Its list of members is another.
    #[error("it lists other members ({listed}): give every member the same list")]
    Members {
        /// Its list.
        listed: String,
    },
    /// It is not the process that was looked at.
    #[error("its process is not the one that was looked at: look again")]
    OtherLife,
    /// Its release may not run after the change.
    #[error("it runs release {release}, which may not run after the change")]
    Release {
        /// Its release.
        release: Release,
    },
    /// The change does not follow from the record.
    #[error("{0}")]
    Illegal(Illegal),
    /// A brake is on that the change does not lift.
    #[error("the brake of {node} is on, by {by}: lift it first")]
    Braked {
        /// Where it was put on.
        node: NodeName,
        /// The operator.
        by: Arc<str>,
    },
    /// The node itself is not ready.
    #[error("{0}")]
    NotReady(String),
    /// It has another record of the same epoch, which cannot be.
    #[error("it has another record of epoch {epoch}")]
    Fork {
        /// The epoch.
        epoch: u64,
    },
    /// Its record is of a cluster that began apart.
    #[error("it is of another cluster")]
    OtherCluster,
    /// Its disk came new, so what it has said before is not known.
    #[error(
        "its disk came new at epoch {since}, and what it has said before is lost: have it forgotten as wiped, and it \
         is a member again with the next change"
    )]
    Anew {
        /// The epoch of the first record that it has taken.
        since: u64,
    },
    /// It has been forgotten.
    #[error("it was forgotten at epoch {epoch}")]
    Forgotten {
        /// The epoch that forgot it.
        epoch: u64,
    },
    /// It could not be read again from its disk: it is too long, or has a name that is none.
    #[error("it would be more than its file can hold, or has a name that is none")]
    Unkeepable,
    /// A write has failed.
    #[error("its disk did not take what was written: mend the disk and start the node again")]
    Disk,
}

/// What a member knows of itself, when it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// What it is.
    pub life: SeenLife,
    /// Who it takes for members, itself included.
    pub members: BTreeSet<NodeName>,
    /// The cluster that it is of.
    pub cluster: Arc<str>,
    /// Whether it takes part in changes at all: it does not leave.
    pub ready: Result<(), String>,
    /// Whether it says all that its release can say, so that the way back may be closed.
    pub settled: Result<(), String>,
}
