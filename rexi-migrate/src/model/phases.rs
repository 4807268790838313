//! What an operator does to a node's phases, how its peers are told of them, and which rules a change of phase has.

use std::sync::Arc;
use std::time::Duration;

use rexi_proto::{Forms, LimitingFactor, MigrationKey, Phase, PhaseError, PhaseNow, Pool, Presence, Refusal};

use super::case::Case;
use super::node::{NodeModel, name};
use super::observer::Observer;
use super::rule::Rule;

impl<P: Pool + Clone> NodeModel<P> {
    /// Its operator sets the ceiling of a migration, or lifts it.
    ///
    /// # Errors
    /// Those of [`Rollout::set_ceiling`](rexi_proto::Rollout::set_ceiling); nothing has changed.
    pub fn set_ceiling(&mut self, migration: usize, ceiling: Option<Phase>) -> Result<(), PhaseError> {
        let key = self.key(migration);
        self.rollout_mut().set_ceiling(&key, ceiling)?;
        self.ceilings[migration] = ceiling;
        Ok(())
    }

    fn key(&self, migration: usize) -> MigrationKey {
        let (migration, _) = self.profile().migrations().nth(migration).expect("the train has it");
        migration.key().clone()
    }

    /// Its operator lowers it, and its peers are told. `connected` are the members that it is connected to, and the
    /// forms that each takes.
    ///
    /// # Errors
    /// Those of [`set_ceiling`](Self::set_ceiling).
    pub fn lower(
        &mut self,
        now: Duration,
        (migration, ceiling): (usize, Phase),
        connected: &[(usize, Forms)],
        notes: &mut Observer,
    ) -> Result<(), PhaseError> {
        let before = self.rollout.phase_at(migration);
        let set = self.set_ceiling(migration, Some(ceiling));
        self.tell_phases(now, notes);
        if matches!(set, Err(PhaseError::Blocked { .. })) {
            notes.saw(Case::LoweringRefused);
        }
        let (phase, own) = (self.rollout.phase_at(migration), name(self.index));
        if set.is_ok() && phase > ceiling {
            notes.breaks(Rule::CeilingPassed, format!("{own} has taken the ceiling {ceiling} and is at {phase}"));
        }
        let removed = connected.iter().find(|(_, takes)| phase < before && !takes.contains(phase.says()));
        if let Some(&(member, _)) = removed {
            let what = format!("{own} was lowered to {phase}, which {} has removed", name(member));
            notes.breaks(Rule::LoweredToRemoved, what);
        }
        set
    }

    /// Its operator lets a migration rise as high as it can.
    pub fn lift(&mut self, migration: usize, notes: &mut Observer) {
        let lifted = self.set_ceiling(migration, None);
        let factor = self.rollout.limiting_factor(&self.key(migration));
        let held = matches!(factor, Some(LimitingFactor::Ceiling(_)));
        self.ceilings[migration] = None;
        if lifted.is_err() || held {
            notes.breaks(Rule::CeilingStays, format!("the ceiling of {} is not lifted", name(self.index)));
        }
    }

    /// Tells all peers of changes of phases; whether there was one.
    pub fn tell_phases(&mut self, now: Duration, notes: &mut Observer) -> bool {
        let phases = self.rollout.phases();
        let told = std::mem::replace(&mut self.told, Arc::clone(&phases));
        let mut is_new = false;
        for (migration, (told, now)) in told.iter().zip(&*phases).enumerate() {
            let allowed = self.profile().stage_at(migration).allows(now.phase);
            if told == now && allowed {
                continue;
            }
            is_new |= told != now;
            let phase = now.phase;
            if told.epoch == now.epoch || !allowed {
                let what = format!("{} is at {phase}, and no transition has brought it there", name(self.index));
                notes.breaks(Rule::PhaseWithoutTransition, what);
            }
            if told.phase < phase {
                notes.saw(Case::Raised);
            }
            if told.phase.says() != phase.says() && notes.has_stream_of(self.index) {
                notes.saw(Case::StreamOverSwitch);
            }
            if notes.has_job_of(self.index) {
                notes.saw(Case::PhaseOverCalls);
            }
            self.judge_raise(migration, told.phase, notes);
        }
        if is_new {
            self.members().for_each(|member| self.peer_mut(member).set_phases(now, &phases));
            self.judge_refusals(&phases, notes);
        }
        is_new
    }

    /// What was refused for this node's phase may be taken in another.
    fn judge_refusals(&self, phases: &[PhaseNow], notes: &mut Observer) {
        let own = name(self.index);
        for member in self.members() {
            let Presence::Refused(refusal) = self.peer(member).presence() else { continue };
            let Refusal::NotTaken { sender, phase, saying, .. } = &**refusal else { continue };
            let now = self.profile().migrations().zip(phases).find(|((of, _), _)| *of.key() == saying.migration);
            if sender.node == own && now.is_some_and(|(_, now)| now.phase != *phase) {
                let what = format!("{own} has left {phase}, and {} still counts as refused for it", name(member));
                notes.breaks(Rule::RefusalOutlived, what);
            }
        }
    }

    /// A phase that says another form than the one before is entered only where each other node has said that it takes
    /// it. One that has said nothing is not ready.
    pub fn judge_raise(&self, migration: usize, before: Phase, notes: &mut Observer) {
        let phase = self.rollout.phase_at(migration);
        if self.seen.is_empty() || phase <= before || phase.says() == before.says() {
            return;
        }
        let takes = |release: usize| {
            let stage = self.train.at(release).stage_at(migration);
            stage.takes().contains(phase.says())
        };
        let ready = |&member: &usize| self.seen[member].hello.is_some_and(|(_, _, release)| takes(release));
        if let Some(member) = self.members().find(|member| !ready(member)) {
            let (index, member) = (name(self.index), name(member));
            let what = format!("{index} is raised to {phase}, and {member} has not said that it takes that");
            notes.breaks(Rule::RaisedUnready, what);
        }
        notes.saw(Case::RaisedOverTarget);
    }
}
