//! One member's part in a change: what it is asked, what it writes, and what it answers once that is on its disk.
//!
//! One thing is written at a time. What is asked meanwhile waits, so every answer is about what is on the disk. A write
//! that has failed is not tried again: what the disk holds is not known from then on, and the member says neither yes
//! nor closes anything until it is started again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{
    Answer, Brake, ClusterChange, ClusterRecord, Digest, Facts, Fence, Intent, KeeperAsk, Kept, KeptError, No, named,
};
use crate::guards::Guards;
use crate::migration::MigrationKey;
use crate::mutant::Mutants;
use crate::name::NodeName;
use crate::phase::Phase;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeeperOutput {
    /// Write this to the disk, whole; then call [`Keeper::handle_written`].
    Write(Kept),
    /// From now on this holds: it is on the disk.
    Apply(Kept),
    /// Answer who has asked under that number.
    Answer(u64, Answer),
}

/// What one member keeps, and how it is asked to change it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keeper {
    kept: Kept,
    writing: Option<Writing>,
    waiting: VecDeque<(u64, KeeperAsk)>,
    /// Whether a write has failed.
    is_broken: bool,
    outputs: VecDeque<KeeperOutput>,
    pub(super) guards: Guards,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Writing {
    kept: Kept,
    ticket: u64,
}

impl Keeper {
    /// The keeper of what a disk holds.
    pub fn new(kept: Kept) -> Self {
        let (waiting, outputs) = (VecDeque::new(), VecDeque::new());
        Self { kept, writing: None, waiting, is_broken: false, outputs, guards: Guards::default() }
    }

    /// The same keeper, broken on purpose; by none in a release.
    #[must_use]
    pub fn with_mutants(mut self, mutants: Mutants) -> Self {
        self.guards = Guards::without(mutants);
        self
    }

    /// The keeper of what a file says; `None` where there is no file. Broken on purpose by `mutants`; by none in a
    /// release.
    ///
    /// # Errors
    /// [`KeptError`] where the file is not what this node has written: it is not the same as no file.
    pub fn open(node: &NodeName, text: Option<&str>, mutants: Mutants) -> Result<Self, KeptError> {
        let guards = Guards::without(mutants);
        let kept = match text.map(Kept::from_text) {
            Some(Ok(kept)) if kept.node != *node => {
                return Err(KeptError::OtherNode { theirs: kept.node, ours: node.clone() });
            }
            Some(Ok(kept)) => kept,
            Some(Err(error)) if guards.unreadable_is_not_missing() => return Err(error),
            _ => Kept::nothing(node.clone()),
        };
        Ok(Self::new(kept).with_mutants(mutants))
    }

    /// What is on the disk, as far as is known.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Whether a write has failed, so that the disk may hold what was written or what was there before.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Somebody asks something, under a number of the caller's choice.
    pub fn handle(&mut self, ticket: u64, ask: KeeperAsk, facts: &Facts) {
        if self.waiting.len() >= WAITING_MAX {
            let why = "too much waits for its disk already".to_owned();
            return self.say(ticket, Err(No::NotReady(why)), facts);
        }
        if let Some(Writing { kept, .. }) = &self.writing {
            if ask == KeeperAsk::Read && !self.guards.status_is_of_the_disk() {
                let answer = Answer { kept: kept.clone(), ..self.answer_of(Ok(()), facts) };
                return self.outputs.push_back(KeeperOutput::Answer(ticket, answer));
            }
            self.waiting.push_back((ticket, ask));
        } else {
            self.answer(ticket, &ask, facts);
        }
    }

    /// What was to be written is on the disk, or may not be.
    pub fn handle_written(&mut self, is_durable: bool, facts: &Facts) {
        let Some(Writing { kept, ticket }) = self.writing.take() else { return };
        if is_durable {
            self.kept = kept;
            self.outputs.push_back(KeeperOutput::Apply(self.kept.clone()));
            self.say(ticket, Ok(()), facts);
        } else {
            self.is_broken = true;
            self.say(ticket, Err(No::Disk), facts);
        }
        while self.writing.is_none()
            && let Some((ticket, ask)) = self.waiting.pop_front()
        {
            self.answer(ticket, &ask, facts);
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<KeeperOutput> {
        self.outputs.pop_front()
    }

    fn answer(&mut self, ticket: u64, ask: &KeeperAsk, facts: &Facts) {
        if self.is_broken && *ask != KeeperAsk::Read {
            return self.say(ticket, Err(No::Disk), facts);
        }
        match self.decide(ask, facts) {
            Ok(kept) if kept == self.kept => self.say(ticket, Ok(()), facts),
            // What it could not read again at its next start it does not write.
            Ok(kept) if Kept::from_text(&kept.to_text()).as_ref() != Ok(&kept) => {
                self.say(ticket, Err(No::Unkeepable), facts);
            }
            Ok(kept) if !self.guards.a_yes_is_written(&self.kept, &kept) => {
                self.kept = kept;
                self.say(ticket, Ok(()), facts);
            }
            Ok(kept) => {
                if !self.guards.answers_once_written() {
                    let answer = Answer { kept: kept.clone(), ..self.answer_of(Ok(()), facts) };
                    self.outputs.push_back(KeeperOutput::Answer(ticket, answer));
                }
                self.outputs.push_back(KeeperOutput::Write(kept.clone()));
                self.writing = Some(Writing { kept, ticket });
            }
            Err(no) => self.say(ticket, Err(no), facts),
        }
    }

    fn say(&mut self, ticket: u64, did: Result<(), No>, facts: &Facts) {
        self.outputs.push_back(KeeperOutput::Answer(ticket, self.answer_of(did, facts)));
    }

    fn answer_of(&self, did: Result<(), No>, facts: &Facts) -> Answer {
        Answer { did, kept: self.kept.clone(), life: facts.life, members: facts.members.clone() }
    }

    /// What is to be kept after it.
    fn decide(&self, ask: &KeeperAsk, facts: &Facts) -> Result<Kept, No> {
        match ask {
            KeeperAsk::Read => Ok(self.kept.clone()),
            KeeperAsk::Vote(_) | KeeperAsk::Commit(..) | KeeperAsk::Close { .. } | KeeperAsk::Freeze { .. }
                if let Some(since) = self.kept.anew.filter(|_| self.guards.who_came_anew_is_silent()) =>
            {
                Err(No::Anew { since })
            }
            KeeperAsk::Vote(intent) => self.vote(intent, facts),
            KeeperAsk::Commit(intent, votes) => self.commit(intent, votes),
            KeeperAsk::Take(record, held_by) => self.take(record, held_by, facts),
            &KeeperAsk::Close { epoch, attempt } => self.close(epoch, attempt),
            &KeeperAsk::Abort { epoch, attempt } => self.abort(epoch, attempt),
            KeeperAsk::Freeze { epoch, attempt, fence } => self.freeze(*epoch, *attempt, fence),
            KeeperAsk::Brake { ceilings, by, at } => Ok(self.brake(ceilings, by, *at)),
            KeeperAsk::Hear(brakes) => Ok(self.hear(brakes)),
        }
    }

    fn vote(&self, intent: &Arc<Intent>, facts: &Facts) -> Result<Kept, No> {
        let Kept { record, closed, fence, brakes, .. } = &self.kept;
        if intent.cluster != facts.cluster {
            return Err(No::OtherCluster);
        }
        self.follows(intent)?;
        if self.guards.closed_stays_closed(intent.attempt <= *closed) {
            return Err(No::Closed { closed: *closed });
        }
        if let Some(open) = self.kept.open_vote() {
            if open == intent {
                return Ok(self.kept.clone());
            }
            if self.guards.says_yes_once() {
                return Err(No::Busy { by: Arc::clone(&open.by), what: open.told() });
            }
        }
        match (&intent.change, fence) {
            (ClusterChange::Forget { nodes, .. }, Some(fence)) if fence.nodes == *nodes => {}
            (_, Some(fence)) => return Err(fence.refusal()),
            (ClusterChange::Forget { nodes, .. }, None) if self.guards.forgets_behind_a_fence() => {
                return Err(No::NotFenced { nodes: named(nodes) });
            }
            _ => {}
        }
        let is_gone = |node: &NodeName| record.as_ref().is_some_and(|record| record.leaves_out(node));
        let is_out = |node: &NodeName| intent.forgets(node) || is_gone(node) && !intent.members.contains(node);
        let listed = facts.members.iter().filter(|node| !is_out(node));
        if !listed.clone().eq(&intent.members) {
            return Err(No::Members { listed: named(listed) });
        }
        if self.guards.asks_life(intent.lives.get(&self.kept.node) != Some(&facts.life)) {
            return Err(No::OtherLife);
        }
        let lifts = |node: &NodeName, brake: &Brake| match &intent.change {
            ClusterChange::Lift(last) => last.get(node).is_some_and(|&last| brake.number <= last),
            ClusterChange::Forget { .. } | ClusterChange::Begin { .. } => true,
            _ => false,
        };
        if let Some((node, brake)) = brakes.iter().find(|(node, brake)| !lifts(node, brake)) {
            return Err(No::Braked { node: node.clone(), by: Arc::clone(&brake.by) });
        }
        let after = intent.record_guarded(record.as_deref(), self.guards).map_err(No::Illegal)?;
        let release = facts.life.release;
        if release < after.floor || !after.admits(release) {
            return Err(No::Release { release });
        }
        facts.ready.clone().map_err(No::NotReady)?;
        if let ClusterChange::Finalize { .. } = intent.change {
            facts.settled.clone().map_err(No::NotReady)?;
        }
        Ok(Kept { vote: Some(Arc::clone(intent)), ..self.kept.clone() })
    }

    fn commit(&self, intent: &Arc<Intent>, votes: &BTreeSet<NodeName>) -> Result<Kept, No> {
        if self.kept.epoch() == intent.epoch {
            // It may have come before; what it has become is in the record.
            let is_that = |record: &&Arc<ClusterRecord>| record.is_of(intent);
            return match self.kept.record.as_ref().filter(is_that) {
                Some(record) => Ok(self.guards.commits_once(&self.kept, record)),
                None => Err(No::Fork { epoch: intent.epoch }),
            };
        }
        self.follows(intent)?;
        if self.guards.closed_is_no_record(intent.attempt <= self.kept.closed) {
            return Err(No::Closed { closed: self.kept.closed });
        }
        if let Some(missing) = intent.members.iter().find(|member| !votes.contains(*member))
            && self.guards.commit_needs_all()
        {
            return Err(No::NotAll { missing: missing.clone() });
        }
        let after = intent.record_guarded(self.kept.record.as_deref(), self.guards).map_err(No::Illegal)?;
        Ok(self.kept.with_record(Arc::new(after)))
    }

    fn take(&self, record: &Arc<ClusterRecord>, held_by: &NodeName, facts: &Facts) -> Result<Kept, No> {
        if record.cluster != facts.cluster {
            return Err(No::OtherCluster);
        }
        let Kept { node, record: ours, fence, .. } = &self.kept;
        if let Some(ours) = ours {
            if ours.origin != record.origin {
                return Err(No::OtherCluster);
            }
            if record.epoch < ours.epoch || record == ours {
                return Ok(self.kept.clone());
            }
            if record.epoch == ours.epoch {
                return Err(No::Fork { epoch: ours.epoch });
            }
            if let Some(&epoch) = record.forgotten.get(node)
                && ours.is_void(node, epoch)
                && self.kept.anew.is_none()
            {
                return Err(No::Forgotten { epoch });
            }
            if record.floor < ours.floor || record.epoch - 1 == ours.epoch && record.previous != ours.digest() {
                return Err(No::Fork { epoch: ours.epoch });
            }
        }
        if let Some(fence) = fence
            && !fence.others.contains(held_by)
            && self.guards.fence_holds()
        {
            return Err(fence.refusal());
        }
        Ok(self.kept.with_record(Arc::clone(record)))
    }

    fn close(&self, epoch: u64, attempt: u64) -> Result<Kept, No> {
        self.is_next(epoch)?;
        let said_yes = self.kept.open_vote().is_some_and(|vote| vote.attempt <= attempt);
        if self.guards.a_yes_cannot_be_closed(said_yes) {
            return Err(No::SaidYes);
        }
        Ok(self.kept.closed_to(attempt))
    }

    fn abort(&self, epoch: u64, attempt: u64) -> Result<Kept, No> {
        self.is_next(epoch)?;
        let vote = self.kept.vote.clone().filter(|vote| vote.attempt > attempt);
        Ok(Kept { vote, ..self.kept.closed_to(attempt) })
    }

    fn freeze(&self, epoch: u64, attempt: u64, fence: &Arc<Fence>) -> Result<Kept, No> {
        self.is_next(epoch)?;
        match &self.kept.fence {
            Some(other) if !other.nodes.is_subset(&fence.nodes) => Err(other.refusal()),
            // It comes late: what it is for was given up.
            None if attempt < self.kept.closed => Err(No::Closed { closed: self.kept.closed }),
            known => {
                let same = known.clone().filter(|known| known.nodes == fence.nodes);
                let (closed, fence) = (attempt.max(self.kept.closed), same.or(Some(Arc::clone(fence))));
                let bound = self.kept.vote.as_ref().and_then(|vote| vote.floor()).max(self.kept.bound);
                Ok(Kept { closed, bound, fence, ..self.kept.clone() })
            }
        }
    }

    fn brake(&self, ceilings: &BTreeMap<MigrationKey, Phase>, by: &Arc<str>, at: u64) -> Kept {
        let mut kept = self.kept.clone();
        let mut brake = Brake { number: kept.next_brake(), ceilings: ceilings.clone(), by: Arc::clone(by), at };
        if let Some(earlier) = kept.brakes.get(&kept.node) {
            for (key, &phase) in &earlier.ceilings {
                let ceiling = brake.ceilings.entry(key.clone()).or_insert(phase);
                *ceiling = phase.min(*ceiling);
            }
            if earlier.ceilings == brake.ceilings {
                return kept;
            }
        }
        kept.brakes.insert(kept.node.clone(), brake);
        kept
    }

    fn hear(&self, brakes: &BTreeMap<NodeName, Brake>) -> Kept {
        let mut kept = self.kept.clone();
        for (node, brake) in brakes {
            let lifted = kept.record.as_ref().and_then(|record| record.lifted.get(node)).copied();
            let known = kept.brakes.get(node).map(|known| known.number).max(lifted);
            if known.is_none_or(|known| brake.number > known) {
                kept.brakes.insert(node.clone(), brake.clone());
            }
        }
        kept
    }

    /// Whether an intent is for the epoch after the record here, and follows from it.
    fn follows(&self, intent: &Intent) -> Result<(), No> {
        let epoch = self.kept.epoch();
        let digest = self.kept.record.as_ref().map_or_else(Digest::default, |record| record.digest());
        if self.guards.compares_epochs(epoch.checked_add(1) != Some(intent.epoch) || intent.previous != digest) {
            return Err(No::Stale { epoch });
        }
        Ok(())
    }

    fn is_next(&self, tried: u64) -> Result<(), No> {
        let epoch = self.kept.epoch();
        if epoch.checked_add(1) == Some(tried) { Ok(()) } else { Err(No::Stale { epoch }) }
    }
}

impl ClusterRecord {
    /// Whether it is what an intent has become.
    fn is_of(&self, intent: &Intent) -> bool {
        self.intent == intent.id()
    }
}

impl Intent {
    /// Whether a member is to be forgotten by it.
    pub(super) fn forgets(&self, member: &NodeName) -> bool {
        matches!(&self.change, ClusterChange::Forget { nodes, .. } if nodes.contains(member))
    }
}

impl Fence {
    /// Who is to be forgotten, by their names, for people.
    pub fn names(&self) -> String {
        named(&self.nodes)
    }

    /// What is to be done, as a part of a sentence.
    pub fn told(&self) -> String {
        format!("forget {}", self.names())
    }

    fn refusal(&self) -> No {
        No::Fenced { by: Arc::clone(&self.by), nodes: self.names() }
    }
}

/// Questions that wait for a write to end: a change asks each member a few, and a hundred changes at once are nobody's.
const WAITING_MAX: usize = 128;
