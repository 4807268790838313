//! The rollout of a running node: what peers say in hellos and about their phases goes in, and every peer is told of
//! each change of the phase. The core decides which phase is safe.

use std::sync::MutexGuard;

use rexi_proto::record::RecordWord;
use rexi_proto::{
    Agreement, HandshakeError, Hello, Incarnation, MigrationKey, NodeName, Phase, PhaseError, PhaseNow, Stage,
};
use tokio::sync::watch;

use crate::engine::member::met::Met;
use crate::engine::running::Running;
use crate::engine::shared::Shared;
use crate::engine::status::RolloutStatus;

/// The rollout of one migration on a running node.
#[derive(Clone, Debug)]
pub struct RolloutControl {
    pub(crate) node: Running,
    /// The migration's place in the node's profile.
    pub(crate) place: usize,
}

impl RolloutControl {
    /// The migration.
    pub fn migration(&self) -> &MigrationKey {
        &self.node.shared().migrations[self.place]
    }

    /// How far the node's release goes with it.
    pub fn stage(&self) -> Stage {
        self.node.shared().rollout().profile().stage_at(self.place)
    }

    /// The phase the node is in.
    pub fn phase(&self) -> Phase {
        *self.node.shared().phases[self.place].borrow()
    }

    /// The phase, and what limits it.
    pub fn status(&self) -> RolloutStatus {
        self.node.shared().rollout_status(self.place)
    }

    /// Sets or lifts the operator's ceiling. The phase follows at once where it may, and otherwise as soon as it may.
    ///
    /// # Errors
    /// [`PhaseError`] where the release does not allow the phase, or a member stands in the way of going back to it;
    /// nothing has changed then.
    pub fn set_ceiling(&self, ceiling: Option<Phase>) -> Result<(), PhaseError> {
        let shared = self.node.shared();
        shared.change_rollout(|rollout| rollout.set_ceiling(&shared.migrations[self.place], ceiling))
    }

    /// The phase as a value that can be waited on.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.node.shared().phases[self.place].subscribe()
    }
}

impl Shared {
    /// What this node says of itself now to a peer.
    pub(crate) fn hello_to(&self, peer: &NodeName) -> Hello {
        let is_connected = self.member(peer).is_some_and(|member| member.is_connected());
        self.rollout().hello_to(peer, is_connected, self.incarnation, &self.functions, &self.limits)
    }

    /// What this node says of its cluster's record now.
    pub(crate) fn record_word(&self) -> RecordWord {
        self.rollout().record_word()
    }

    /// Takes a peer's hello and gives the verdict. The phase may move with it. Where the two agree, what is made of the
    /// connection is to hold the [`Met`].
    pub(crate) fn admit(&self, ours: &Hello, theirs: &Hello) -> Result<(Agreement, Met), HandshakeError> {
        let (verdict, met) = self.change_rollout(|rollout| {
            let verdict = rollout.handle_hello(ours, theirs, self.env.life());
            (verdict, rollout.last_met(&theirs.node))
        });
        let member = self.member(&theirs.node);
        let met = member.as_ref().zip(met).map(|(member, met)| Met::new(member, met));
        if let (Some(member), Err(HandshakeError::Refused(refusal))) = (&member, &verdict) {
            member.refuse(theirs.incarnation, refusal);
        }
        let agreement = verdict?;
        Ok((agreement, met.ok_or_else(|| HandshakeError::NotAMember(theirs.node.clone()))?))
    }

    /// A peer says that its phase has changed, of the migration that bears this number in its hello.
    pub(crate) fn announced(&self, member: &NodeName, incarnation: Incarnation, number: u8, now: PhaseNow) {
        if *member != self.name {
            self.change_rollout(|rollout| rollout.handle_announce(member, incarnation, number, now));
        }
    }

    /// Changes the rollout once. If a phase moves with it, every peer's state and every peer is told.
    pub(crate) fn change_rollout<T>(&self, change: impl FnOnce(&mut rexi_proto::Rollout) -> T) -> T {
        let (result, before, after) = {
            let mut rollout = self.rollout();
            let before = rollout.phases();
            let result = change(&mut rollout);
            (result, before, rollout.phases())
        };
        let moved = |place: &usize| before[*place].epoch != after[*place].epoch;
        let moved: Vec<usize> = (0..after.len()).filter(moved).collect();
        if moved.is_empty() {
            return result;
        }
        for &place in &moved {
            let (migration, PhaseNow { epoch, phase }) = (&self.migrations[place], after[place]);
            tracing::info!(node = %self.name, %migration, %phase, epoch, "the phase has changed");
        }
        // The rollout's lock is released by now: it is never held together with a member's. So two changes may reach a
        // member in the wrong order; `Peer::set_phases` ignores an epoch that is not newer.
        for member in self.members().iter() {
            member.with(|peer, now| peer.set_phases(now, &after));
            member.kicked.notify_one();
        }
        // Asked again, since another change may have come meanwhile; and under the watch's lock, so that a task that
        // holds the watch may ask for the rollout, and never the other way round.
        for place in moved {
            self.phases[place].send_modify(|phase| *phase = self.rollout().phases()[place].phase);
        }
        result
    }

    /// It is known now who the members are.
    pub(crate) fn note_listed(&self) {
        if !self.rollout().is_listed() {
            self.change_rollout(rexi_proto::Rollout::note_listed);
            // Those who wait for all members have waited for the list too.
            self.presence.send_modify(|changes| *changes += 1);
        }
    }

    pub(crate) fn rollout_status(&self, place: usize) -> RolloutStatus {
        let (rollout, migration) = (self.rollout(), self.migrations[place].clone());
        let known = "the train has it";
        let phase = rollout.phase(&migration).expect(known);
        let limiting_factor = rollout.limiting_factor(&migration).expect(known);
        RolloutStatus { migration, phase, limiting_factor }
    }

    /// The place of the migration that is meant where none is named.
    pub(crate) fn only_migration(&self) -> usize {
        let key = self.rollout().profile().only_migration().map(|migration| migration.key().clone());
        key.and_then(|key| self.migration_place(&key)).unwrap_or(0)
    }

    /// The place of a migration, if the node's train has it.
    pub(crate) fn migration_place(&self, key: &MigrationKey) -> Option<usize> {
        self.migrations.iter().position(|migration| migration == key)
    }

    /// As the core keeps it.
    pub(super) fn rollout(&self) -> MutexGuard<'_, rexi_proto::Rollout> {
        self.rollout.lock().expect("nothing panics while it holds the rollout")
    }
}
