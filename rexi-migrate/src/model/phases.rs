//! What an operator does to a node's phase, how its peers are told of it, and which rules a change of phase has.

use std::time::Duration;

use rexi_proto::{LimitingFactor, Phase, PhaseError, Pool, Profile, Servers};

use super::case::Case;
use super::node::{NodeModel, name};
use super::observer::Observer;
use super::rule::Rule;

impl<P: Pool + Clone> NodeModel<P> {
    /// Its operator sets a ceiling, or lifts it.
    ///
    /// # Errors
    /// Those of [`Rollout::set_ceiling`](rexi_proto::Rollout::set_ceiling); nothing has changed.
    pub fn set_ceiling(&mut self, ceiling: Option<Phase>) -> Result<(), PhaseError> {
        self.rollout_mut().set_ceiling(ceiling)?;
        self.ceiling = ceiling;
        Ok(())
    }

    /// Its operator lowers it, and its peers are told. `connected` are the members that it is connected to, and what
    /// each runs.
    ///
    /// # Errors
    /// Those of [`set_ceiling`](Self::set_ceiling).
    pub fn lower(
        &mut self,
        now: Duration,
        ceiling: Phase,
        connected: &[(usize, Servers)],
        notes: &mut Observer,
    ) -> Result<(), PhaseError> {
        let before = self.rollout.phase();
        let set = self.set_ceiling(Some(ceiling));
        self.tell_phase(now, notes);
        if matches!(set, Err(PhaseError::Blocked { .. })) {
            notes.saw(Case::LoweringRefused);
        }
        let (phase, own) = (self.rollout.phase(), name(self.index));
        if set.is_ok() && phase > ceiling {
            notes.breaks(Rule::CeilingPassed, format!("{own} has taken the ceiling {ceiling} and is at {phase}"));
        }
        let removed = connected.iter().find(|(_, hosts)| phase < before && !hosts.contains(phase.cast_target()));
        if let Some(&(member, _)) = removed {
            let what = format!("{own} was lowered to {phase}, which {} has removed", name(member));
            notes.breaks(Rule::LoweredToRemoved, what);
        }
        set
    }

    /// Its operator lets it rise as high as it can.
    pub fn lift(&mut self, notes: &mut Observer) {
        let lifted = self.set_ceiling(None);
        let held = matches!(self.rollout.limiting_factor(), LimitingFactor::Ceiling(_));
        self.ceiling = None;
        if lifted.is_err() || held {
            notes.breaks(Rule::CeilingStays, format!("the ceiling of {} is not lifted", name(self.index)));
        }
    }

    /// Tells all peers of a change of phase; whether there was one.
    pub fn tell_phase(&mut self, now: Duration, notes: &mut Observer) -> bool {
        let (epoch, phase) = (self.rollout.epoch(), self.rollout.phase());
        let (told_epoch, told_phase) = std::mem::replace(&mut self.told, (epoch, phase));
        let (is_new, allowed) = ((told_epoch, told_phase) != (epoch, phase), self.profile().allows(phase));
        if !is_new && allowed {
            return false;
        }
        if told_epoch == epoch || !allowed {
            let what = format!("{} is at {phase}, and no transition has brought it there", name(self.index));
            notes.breaks(Rule::PhaseWithoutTransition, what);
        }
        if told_phase < phase {
            notes.saw(Case::Raised);
        }
        if told_phase.cast_target() != phase.cast_target() && notes.has_stream_of(self.index) {
            notes.saw(Case::StreamOverSwitch);
        }
        if notes.has_job_of(self.index) {
            notes.saw(Case::PhaseOverCalls);
        }
        self.judge_raise(told_phase, notes);
        self.members().for_each(|member| self.peer_mut(member).set_phase(now, epoch, phase));
        is_new
    }

    /// A phase that casts elsewhere than the one before is entered only where each other node has said that it serves
    /// there. One that has said nothing is not ready.
    pub fn judge_raise(&self, before: Phase, notes: &mut Observer) {
        let phase = self.rollout.phase();
        if self.seen.is_empty() || phase <= before || phase.cast_target() == before.cast_target() {
            return;
        }
        let serves = |release: usize| Profile::train()[release].hosts().contains(phase.cast_target());
        let ready = |&member: &usize| self.seen[member].hello.is_some_and(|(_, _, release)| serves(release));
        if let Some(member) = self.members().find(|member| !ready(member)) {
            let (index, member) = (name(self.index), name(member));
            let what = format!("{index} is raised to {phase}, and {member} has not said that it serves");
            notes.breaks(Rule::RaisedUnready, what);
        }
        notes.saw(Case::RaisedOverTarget);
    }
}
