//! What two members say of the record when they meet, and what each makes of it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Bar, Digest, Keeper, Kept};
use crate::function::Release;
use crate::guards::Guards;
use crate::name::NodeName;

/// What a hello says of the record: by it each side knows who is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Words {
    /// What the cluster began with.
    pub origin: Digest,
    /// The epoch of the record.
    pub epoch: u64,
    /// The record's digest.
    pub record: Digest,
    /// The epoch that, by this record, has forgotten the member itself: it knows, and has come anew.
    pub forgotten: Option<u64>,
    /// Whether its disk came new, so that it has said nothing that could be void.
    pub is_anew: bool,
}

/// What a hello says of the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RecordWord {
    /// The node keeps none.
    #[default]
    Unkept,
    /// It would keep one, and has none yet.
    Awaited,
    /// What it has.
    Known(Words),
}

/// What follows for this side from the words of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meeting {
    /// Both have the same record, or neither has one.
    Even,
    /// The other is behind, and is sent the record before it counts as connected.
    Ahead,
    /// This side is behind, and waits for the record.
    Behind,
}

/// Why two members do not speak. Both sides say so, and nothing was served.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum Apart {
    /// The other's release may not run here.
    #[error("{0}")]
    Barred(Bar),
    /// They belong to clusters that began apart.
    #[error("it is of another cluster: the record there began as {theirs:?}, and here as {ours:?}")]
    OtherCluster {
        /// What theirs began with.
        theirs: Digest,
        /// What ours began with.
        ours: Digest,
    },
    /// There are two records of one epoch, which cannot be.
    #[error("two records of epoch {epoch} differ, {theirs:?} there and {ours:?} here: see `live status`")]
    Fork {
        /// The epoch.
        epoch: u64,
        /// The digest of theirs.
        theirs: Digest,
        /// The digest of ours.
        ours: Digest,
    },
    /// It was forgotten, and has what it kept from before.
    #[error(
        "{node} was forgotten at epoch {at}, and what it has kept is of epoch {epoch}: empty its directory of state, \
         and it joins anew"
    )]
    Forgotten {
        /// Who.
        node: NodeName,
        /// The epoch that forgot it.
        at: u64,
        /// The epoch of what it has kept.
        epoch: u64,
    },
}

impl Keeper {
    /// What this member says in a hello; `None` without a record.
    pub fn words(&self) -> Option<Words> {
        self.kept().words()
    }

    /// What follows from the words of a member that runs a release.
    ///
    /// # Errors
    /// [`Apart`] says why the two do not speak.
    pub fn meet(&self, node: &NodeName, release: Release, words: Option<&Words>) -> Result<Meeting, Apart> {
        self.kept().meet_guarded(node, release, words, self.guards)
    }

    /// Whether this node may run a release: asked before it opens a socket.
    ///
    /// # Errors
    /// [`Bar`] says why not.
    pub fn may_start(&self, release: Release) -> Result<(), Bar> {
        match self.kept().admits_guarded(release, self.guards) {
            Err(Bar::BelowFloor { .. } | Bar::BelowPendingFloor { .. }) if !self.guards.start_reads_floor() => Ok(()),
            verdict => verdict,
        }
    }
}

impl Kept {
    /// What follows from the words of a member that runs a release, by this alone.
    ///
    /// # Errors
    /// [`Apart`] says why the two do not speak.
    pub fn meet(&self, node: &NodeName, release: Release, words: Option<&Words>) -> Result<Meeting, Apart> {
        self.meet_guarded(node, release, words, Guards::default())
    }

    /// What this member says of the record in a hello; `None` without one.
    pub fn words(&self) -> Option<Words> {
        let record = self.record.as_ref()?;
        let forgotten = record.forgotten.get(&self.node).copied();
        let (epoch, is_anew) = (record.epoch, self.anew.is_some());
        Some(Words { origin: record.origin, epoch, record: record.digest(), forgotten, is_anew })
    }

    /// What a hello says of it.
    pub(crate) fn word(&self) -> RecordWord {
        self.words().map_or(RecordWord::Awaited, RecordWord::Known)
    }

    /// Whether a member that keeps no record may be spoken to: its release may run by the record here, and it was not
    /// forgotten.
    pub(crate) fn meet_unkept(&self, node: &NodeName, release: Release, guards: Guards) -> Result<(), Apart> {
        let Some(record) = &self.record else { return Ok(()) };
        if record.leaves_out(node) {
            let at = record.forgotten[node];
            return Err(Apart::Forgotten { node: node.clone(), at, epoch: 0 });
        }
        self.bars(release, guards)
    }

    pub(crate) fn meet_guarded(
        &self,
        node: &NodeName,
        release: Release,
        words: Option<&Words>,
        guards: Guards,
    ) -> Result<Meeting, Apart> {
        let Some(record) = &self.record else {
            return Ok(if words.is_some() { Meeting::Behind } else { Meeting::Even });
        };
        let Some(theirs) = words else {
            self.bars(release, guards)?;
            return Ok(if guards.hears_of_other(true) { Meeting::Ahead } else { Meeting::Even });
        };
        if theirs.origin != record.origin {
            return Err(Apart::OtherCluster { theirs: theirs.origin, ours: record.origin });
        }
        if let Some(&at) = record.forgotten.get(node)
            && !theirs.is_anew
            && guards.keeps_forgotten_out(theirs.epoch < at || theirs.epoch == at && theirs.forgotten != Some(at))
        {
            return Err(Apart::Forgotten { node: node.clone(), at, epoch: theirs.epoch });
        }
        let ours = record.digest();
        if theirs.epoch > record.epoch {
            // What may run is judged by the later record, over there.
            return Ok(Meeting::Behind);
        }
        if theirs.epoch == record.epoch && theirs.record != ours {
            return Err(Apart::Fork { epoch: record.epoch, theirs: theirs.record, ours });
        }
        self.bars(release, guards)?;
        Ok(if guards.hears_of_other(theirs.record != ours) { Meeting::Ahead } else { Meeting::Even })
    }

    fn bars(&self, release: Release, guards: Guards) -> Result<(), Apart> {
        if guards.verdict_asks_floor() { self.admits_guarded(release, guards).map_err(Apart::Barred) } else { Ok(()) }
    }
}
