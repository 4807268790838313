//! Whether a state of nodes that say hello breaks an invariant.
//!
//! It is written as safety: nothing is on its way between two attached nodes, and still they are wrong. What only the
//! step from one state to the next can break is a rule of the model.

use rexi_proto::Form;

use super::oracle::{Oracle, Oracles};
use super::state::{FAR_AHEAD, State};
use crate::model::{NodeModel, Wire, World, name, saying};
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
    attached.map(|wire| wire.between).try_for_each(|[low, high]| judge_pair(oracles, state, low, high))?;
    for high in 0..state.world.nodes.len() {
        for low in 0..high {
            let apart = oracles.has(Oracle::ShutOut) && stays_apart(&state.world, low, high);
            find(oracles, Oracle::ShutOut, apart, || {
                format!("{} and {} may speak, and {DIALS} dials in a row come to nothing", name(low), name(high))
            })?;
        }
    }
    Ok(())
}

/// Whether two that are there, not connected, and may speak would stay apart, however often they dial.
fn stays_apart(world: &World, low: usize, high: usize) -> bool {
    let is_open = world.wires.iter().any(|wire| wire.is_between(low, high) && wire.is_open());
    let thinks_up = world.nodes[low].is_up(high) || world.nodes[high].is_up(low);
    let is_far = [low, high].iter().any(|&index| world.nodes[index].life == FAR_AHEAD);
    if is_open || thinks_up || is_far {
        return false;
    }
    let mut later = world.clone();
    for _ in 0..DIALS {
        let at = later.wires.len();
        later.dial(low, high, at);
        (0..2).for_each(|side| later.hear(at, side));
        (0..2).for_each(|side| drop(later.attach(at, side)));
        (0..2).for_each(|side| later.notice(at, side));
        if later.is_connected(low, high) {
            return false;
        }
    }
    may_speak(&later, low, high)
}

/// Whether nothing that is so keeps two apart: neither their releases, nor what they say, nor a third that says what
/// one of them alone has removed.
fn may_speak(world: &World, low: usize, high: usize) -> bool {
    let nodes = [&world.nodes[low], &world.nodes[high]];
    let takes_what_is_said = |from: &NodeModel, to: &NodeModel| {
        let said = |migration| from.rollout.phase_at(migration).says();
        from.migrations().all(|migration| to.takes(migration).contains(said(migration)))
    };
    let removed_alike = |migration| {
        let [one, other] = nodes.map(|node| node.takes(migration).contains(Form::Old));
        one == other
    };
    nodes[0].profile().is_near(nodes[1].profile())
        && takes_what_is_said(nodes[0], nodes[1])
        && takes_what_is_said(nodes[1], nodes[0])
        && nodes[0].migrations().all(removed_alike)
}

/// Dials in a row after which two that may speak are connected: one may show either the life that it is to go on above,
/// and one more the phase that has moved since.
const DIALS: usize = 4;

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
            // What a life that is over has told is settled when its handshake ends.
            let of_past = |wire: &Wire| wire.agreed_life(to).is_some_and(|life| life != sender.life_to(to));
            let pending = state.world.wires.iter().any(|wire| wire.is_between(from, to) && of_past(wire));
            let stale = named != sender.says_old(migration) && !pending;
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
