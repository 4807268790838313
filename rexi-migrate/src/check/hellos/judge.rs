//! Whether nodes that say hello break an invariant: some of it is of a step, the rest of a state.
//!
//! Of a state it is written as safety: nothing is on its way between two that are attached, and still they are wrong.

use rexi_proto::{Incarnation, Profile, ServerAddress};

use super::super::state::name;
use super::oracle::{Oracle, Oracles};
use super::state::State;
use super::step::Stepper;
use super::witness::Case;
use crate::search::Broken;

impl Stepper<'_> {
    /// A phase that casts elsewhere than the one before is entered only where each other member has said that it serves
    /// there. Who has said nothing is not ready.
    pub(super) fn judge_raise(&mut self, index: usize, before: rexi_proto::Phase) {
        let node = &self.state.nodes[index];
        let phase = node.rollout.phase();
        if phase <= before || phase.cast_target() == before.cast_target() {
            return;
        }
        let serves = |release: usize| Profile::train()[release].hosts().contains(phase.cast_target());
        let ready = |seen: &super::state::Seen| seen.hello.is_some_and(|(_, _, release)| serves(release));
        let unready = (0..node.seen.len()).find(|&member| member != index && !ready(&node.seen[member]));
        if let Some(member) = unready {
            let what =
                format!("{} is raised to {phase}, and {} has not said that it serves", name(index), name(member));
            self.breaks(Oracle::RaisedUnready, what);
        }
        self.saw(Case::Raised);
    }

    /// Nobody attaches to a node without a singleton who knew, when it said hello, of a third that still sends to it.
    pub(super) fn judge_holdouts(
        &mut self,
        index: usize,
        member: usize,
        life: Incarnation,
        known: &[(usize, Incarnation)],
    ) {
        let nodes = &self.state.nodes;
        let remover = &nodes[member];
        if remover.life != life || remover.rollout.profile().hosts().contains(ServerAddress::Singleton) {
            return;
        }
        let remains = |&&(third, of): &&(usize, Incarnation)| {
            third != member && nodes[third].life == of && nodes[third].needs_singleton()
        };
        if let Some(&(third, _)) = known.iter().find(remains) {
            let (witness, remover, third) = (name(index), name(member), name(third));
            let what = format!("{witness} attaches to {remover}, which has no singleton, and {third} sends to it");
            self.breaks(Oracle::HoldoutLeftBehind, what);
        }
    }
}

/// Asks these oracles.
pub(super) fn judge(oracles: Oracles, state: &State) -> Result<(), Broken> {
    for (index, node) in state.nodes.iter().enumerate() {
        let phase = node.rollout.phase();
        let outside = !node.rollout.profile().allows(phase);
        find(oracles, Oracle::PhaseOutOfBounds, outside, || {
            format!("{} is at {phase}, which its release does not have", name(index))
        })?;
        let above = node.ceiling.filter(|&ceiling| phase > ceiling);
        find(oracles, Oracle::CeilingUnheeded, above.is_some(), || {
            let ceiling = above.map_or_else(String::new, |ceiling| ceiling.to_string());
            format!("{} has taken the ceiling {ceiling} and is at {phase}", name(index))
        })?;
    }
    let attached = state.wires.iter().filter(|wire| wire.is_attached());
    attached.map(|wire| wire.between).try_for_each(|[low, high]| judge_pair(oracles, state, low, high))
}

/// What two that are attached to each other are.
fn judge_pair(oracles: Oracles, state: &State, low: usize, high: usize) -> Result<(), Broken> {
    let skew = state.nodes[low].release.abs_diff(state.nodes[high].release);
    find(oracles, Oracle::AttachedOverSkew, skew > 1, || format!("{} and {} are attached", name(low), name(high)))?;
    if !state.is_quiet(low, high) {
        return Ok(());
    }
    for (from, to) in [(low, high), (high, low)] {
        let (sender, receiver) = (&state.nodes[from], &state.nodes[to]);
        let target = sender.rollout.phase().cast_target();
        let missing = !receiver.rollout.profile().hosts().contains(target);
        find(oracles, Oracle::SendsToNoServer, missing, || {
            format!("{} sends to the {target} of {}, which has none", name(from), name(to))
        })?;
        let stale = receiver.hello().holdouts.contains(&name(from)) != sender.needs_singleton();
        find(oracles, Oracle::StaleView, stale, || format!("{} has a stale view of {}", name(to), name(from)))?;
    }
    Ok(())
}

/// Breaks what an oracle finds, if it is asked.
fn find(oracles: Oracles, oracle: Oracle, is_wrong: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if is_wrong && oracles.has(oracle) {
        return Err(Broken { invariant: oracle.invariant(), what: what() });
    }
    Ok(())
}
