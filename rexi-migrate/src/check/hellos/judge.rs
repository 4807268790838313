//! Whether a state of nodes that say hello breaks an invariant.
//!
//! It is written as safety: nothing is on its way between two attached nodes, and still they are wrong. What only the
//! step from one state to the next can break is a rule of the model.

use super::oracle::{Oracle, Oracles};
use super::state::State;
use crate::model::{name, saying};
use crate::search::Broken;

/// Asks these oracles.
pub(super) fn judge(oracles: Oracles, state: &State) -> Result<(), Broken> {
    for (index, node) in state.world.nodes.iter().enumerate() {
        for migration in node.migrations() {
            let phase = node.rollout.phase_at(migration);
            let outside = !node.profile().stage_at(migration).allows(phase);
            find(oracles, Oracle::PhaseOutOfBounds, outside, || {
                format!("{} is at {phase}, which its release does not have", name(index))
            })?;
            let above = node.ceilings[migration].filter(|&ceiling| phase > ceiling);
            find(oracles, Oracle::CeilingUnheeded, above.is_some(), || {
                let ceiling = above.map_or_else(String::new, |ceiling| ceiling.to_string());
                format!("{} has taken the ceiling {ceiling} and is at {phase}", name(index))
            })?;
        }
    }
    let attached = state.world.wires.iter().filter(|wire| wire.is_attached());
    attached.map(|wire| wire.between).try_for_each(|[low, high]| judge_pair(oracles, state, low, high))
}

/// What two that are attached to each other are.
fn judge_pair(oracles: Oracles, state: &State, low: usize, high: usize) -> Result<(), Broken> {
    let near = state.world.nodes[low].profile().is_near(state.world.nodes[high].profile());
    find(oracles, Oracle::AttachedOverSkew, !near, || format!("{} and {} are attached", name(low), name(high)))?;
    if !state.world.is_quiet(low, high) {
        return Ok(());
    }
    for (from, to) in [(low, high), (high, low)] {
        let (sender, receiver) = (&state.world.nodes[from], &state.world.nodes[to]);
        let hello = receiver.hello();
        for migration in sender.migrations() {
            let form = sender.rollout.phase_at(migration).says();
            find(oracles, Oracle::SendsToNoServer, !receiver.takes(migration).contains(form), || {
                let says = saying(sender, migration);
                format!("{} {says}, and {} does not take it", name(from), name(to))
            })?;
            let named = hello.migrations[migration].holdouts.contains(&name(from));
            let stale = named != sender.says_old(migration);
            find(oracles, Oracle::StaleView, stale, || format!("{} has a stale view of {}", name(to), name(from)))?;
        }
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
