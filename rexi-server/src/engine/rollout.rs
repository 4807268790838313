//! The rollout of a running node: what peers say in hellos and about their phases goes in, and every peer is told of
//! each change of the phase. The core decides which phase is safe.

use std::sync::MutexGuard;

use rexi_proto::{Agreement, HandshakeError, Hello, Incarnation, NodeName, Phase, PhaseError};
use tokio::sync::watch;

use crate::engine::running::Running;
use crate::engine::shared::Shared;
use crate::engine::status::RolloutStatus;

/// The rollout of a running node.
#[derive(Clone, Debug)]
pub struct RolloutControl {
    pub(crate) node: Running,
}

impl RolloutControl {
    /// The phase the node is in.
    pub fn phase(&self) -> Phase {
        *self.node.shared().phase.borrow()
    }

    /// The phase, and what limits it.
    pub fn status(&self) -> RolloutStatus {
        self.node.shared().rollout_status()
    }

    /// Sets or lifts the operator's ceiling. The phase follows at once where it may, and otherwise as soon as it may.
    ///
    /// # Errors
    /// [`PhaseError`] where the release does not allow the phase, or a member stands in the way of going back to it;
    /// nothing has changed then.
    pub fn set_ceiling(&self, ceiling: Option<Phase>) -> Result<(), PhaseError> {
        self.node.shared().change_rollout(|rollout| rollout.set_ceiling(ceiling))
    }

    /// The phase as a value that can be waited on.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.node.shared().phase.subscribe()
    }
}

impl Shared {
    /// What this node says of itself now.
    pub(crate) fn hello(&self) -> Hello {
        self.rollout().hello(self.incarnation, &self.limits)
    }

    /// Takes a peer's hello and gives the verdict. The phase may move with it.
    pub(crate) fn admit(&self, ours: &Hello, theirs: &Hello) -> Result<Agreement, HandshakeError> {
        let verdict = self.change_rollout(|rollout| rollout.handle_hello(ours, theirs));
        if let (Err(HandshakeError::Refused(refusal)), Some(member)) = (&verdict, self.member(&theirs.node)) {
            member.refuse(theirs.incarnation, refusal);
        }
        verdict
    }

    pub(crate) fn announced(&self, member: &NodeName, incarnation: Incarnation, epoch: u64, phase: Phase) {
        if *member != self.name {
            self.change_rollout(|rollout| rollout.handle_announce(member, incarnation, epoch, phase));
        }
    }

    /// Changes the rollout once. If the phase moves with it, every peer's state and every peer is told.
    pub(crate) fn change_rollout<T>(&self, change: impl FnOnce(&mut rexi_proto::Rollout) -> T) -> T {
        let (result, before, epoch, phase) = {
            let mut rollout = self.rollout();
            let before = rollout.epoch();
            let result = change(&mut rollout);
            (result, before, rollout.epoch(), rollout.phase())
        };
        if epoch != before {
            tracing::info!(node = %self.name, %phase, epoch, "the phase has changed");
            // The rollout's lock is released by now: it is never held together with a member's. So two changes may
            // reach a member in the wrong order; `Peer::set_phase` ignores an epoch that is not newer.
            for member in self.members().iter() {
                member.with(|peer, now| peer.set_phase(now, epoch, phase));
                member.kicked.notify_one();
            }
            // Asked again, since another change may have come meanwhile; and under the watch's lock, so that a task
            // that holds the watch may ask for the rollout, and never the other way round.
            self.phase.send_modify(|phase| *phase = self.rollout().phase());
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

    pub(crate) fn rollout_status(&self) -> RolloutStatus {
        let rollout = self.rollout();
        RolloutStatus { phase: rollout.phase(), limiting_factor: rollout.limiting_factor() }
    }

    /// How often the phase has changed, and the phase.
    pub(crate) fn phase_now(&self) -> (u64, Phase) {
        let rollout = self.rollout();
        (rollout.epoch(), rollout.phase())
    }

    /// As the core keeps it.
    pub(super) fn rollout(&self) -> MutexGuard<'_, rexi_proto::Rollout> {
        self.rollout.lock().expect("nothing panics while it holds the rollout")
    }
}
