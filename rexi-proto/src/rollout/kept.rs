//! What the record of the cluster lets a node do: with whom it speaks, and how far each migration may go.

use std::sync::Arc;

use super::{HandshakeError, PhaseError, Rollout};
use crate::function::Release;
use crate::hello::Hello;
use crate::name::NodeName;
use crate::record::{Apart, Kept, Meeting, RecordWord};

impl Rollout {
    /// The same rollout of a node that serves without a record of its cluster, until it has one.
    #[must_use]
    pub fn without_record(self) -> Self {
        Self { serves_unrecorded: true, ..self }
    }

    /// Takes what the node keeps of the cluster's record from now on: who may be spoken to follows from it, and how far
    /// each migration may go. A ceiling that a member stands in the way of does not count before the next; gives why.
    pub fn set_kept(&mut self, kept: Arc<Kept>) -> Vec<PhaseError> {
        let mut blocked = Vec::new();
        let ceilings = kept.ceilings();
        self.kept = Some(kept);
        for place in 0..self.tracks.len() {
            let (migration, stage) = &self.profile.migrations[place];
            let ceiling = ceilings.get(migration.key()).map(|&phase| phase.clamp(stage.lowest(), stage.highest()));
            match self.check(&migration.key().clone(), ceiling) {
                Ok(_) => self.tracks[place].record = ceiling,
                Err(why) => blocked.push(why),
            }
        }
        self.settle();
        blocked
    }

    /// What it says of it in a hello.
    pub fn record_word(&self) -> RecordWord {
        self.kept.as_ref().map_or(RecordWord::Unkept, |kept| kept.word())
    }

    /// What the node keeps of the cluster's record, if it keeps one.
    pub fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref()
    }

    /// Whether the node may serve by what it keeps: it has a record, or needs none.
    pub fn has_record(&self) -> bool {
        self.serves_unrecorded || self.kept.as_ref().is_none_or(|kept| kept.record.is_some())
    }

    /// Whether this node and all members run that release, as far as each has said: what is done then is final.
    pub fn all_run(&self, release: Release) -> bool {
        let runs = |stop: Release| release.is_patched_by(stop);
        runs(self.profile.stop()) && self.members.values().all(|said| said.as_ref().is_some_and(|said| runs(said.stop)))
    }

    /// Whether the record keeps this node and a member apart that has said hello.
    ///
    /// # Errors
    /// [`Apart`] says why.
    pub fn may_speak_to(&self, member: &NodeName) -> Result<(), Apart> {
        let (Some(kept), Some(Some(said))) = (&self.kept, self.members.get(member)) else { return Ok(()) };
        kept.meet_unkept(member, said.stop, self.guards)
    }

    /// What the record of either lets the two do.
    pub(super) fn meet(&self, ours: &Hello, theirs: &Hello) -> Result<(), HandshakeError> {
        let node = || theirs.node.clone();
        let Some(kept) = &self.kept else { return Ok(()) };
        if ours.record != kept.word() {
            return Err(HandshakeError::RecordMoved);
        }
        let words = match &theirs.record {
            RecordWord::Unkept if kept.record.is_some() => {
                return kept.meet_unkept(&theirs.node, theirs.stop, self.guards).map_err(HandshakeError::Apart);
            }
            RecordWord::Unkept | RecordWord::Awaited => None,
            RecordWord::Known(words) => Some(words),
        };
        if words.is_none() && !self.has_record() {
            return Err(HandshakeError::NoRecord(node()));
        }
        match kept.meet_guarded(&theirs.node, theirs.stop, words, self.guards) {
            Ok(Meeting::Even) => Ok(()),
            Ok(Meeting::Ahead) => Err(HandshakeError::TheyAreBehind(node())),
            Ok(Meeting::Behind) => Err(HandshakeError::WeAreBehind(node())),
            Err(apart) => Err(HandshakeError::Apart(apart)),
        }
    }
}
