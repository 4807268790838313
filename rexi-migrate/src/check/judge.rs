//! Whether a state breaks an invariant. What a single step breaks is noted by the step (`shell.rs`); this is of states.
//!
//! All are written as safety: what must not be is that nothing more is to come, and still something is missing.

use rexi_proto::{Presence, ServerAddress};

use super::scope::Scope;
use super::state::{Call, State, name};
use crate::invariant::Invariant;
use crate::search::Broken;

pub(super) fn judge(_scope: &Scope, state: &State) -> Result<(), Broken> {
    judge_pairs(state)?;
    for (at, call) in state.calls.iter().enumerate().filter(|(_, call)| !call.over) {
        judge_call(state, at, call)?;
    }
    judge_watches(state)
}

/// What connected nodes are to each other.
fn judge_pairs(state: &State) -> Result<(), Broken> {
    for (high, node) in state.nodes.iter().enumerate() {
        for (low, other) in state.nodes[..high].iter().enumerate() {
            if !state.is_connected(low, high) {
                continue;
            }
            if node.release.abs_diff(other.release) > 1 {
                return broken(Invariant::S11, format!("{} and {} are connected", name(low), name(high)));
            }
            for (sender, receiver, at) in [(node, other, (high, low)), (other, node, (low, high))] {
                let target = sender.rollout.phase().cast_target();
                let quiet = is_quiet(state, high, low);
                if !receiver.profile().hosts().contains(target) && quiet {
                    let id = if target == ServerAddress::Singleton { Invariant::S13 } else { Invariant::S6 };
                    return broken(id, format!("{} sends to the {target} of {}", name(at.0), name(at.1)));
                }
                let believed = receiver.holdouts & 1 << at.0 != 0;
                if quiet && believed != (target == ServerAddress::Singleton) {
                    return broken(Invariant::S12, format!("{} has a stale view of {}", name(at.1), name(at.0)));
                }
            }
        }
    }
    Ok(())
}

fn judge_call(state: &State, at: usize, call: &Call) -> Result<(), Broken> {
    let job = state.job_of(at);
    let orphan = state.is_orphan(call);
    if let Some((node, _)) = job
        && (orphan || call.answered)
        && matches!(state.nodes[node].peer(call.by).presence(), Presence::Gone | Presence::Refused(_))
        && !state.queues(node, call.by)
    {
        return broken(Invariant::L2, format!("the job of call {at} runs on for a caller that was given up"));
    }
    if !state.is_connected(call.by, call.to) || !is_quiet(state, call.by, call.to) {
        return Ok(());
    }
    match job {
        Some((node, _)) if call.killed && !orphan => broken(
            Invariant::S3,
            format!("call {at} was killed, no kill is on its way, and its job runs at {}", name(node)),
        ),
        Some((node, _)) if orphan || call.answered => {
            broken(Invariant::L2, format!("the job of call {at} runs on at {} for nobody", name(node)))
        }
        Some((_, job)) if job.waits && call.asked && call.started && call.unacked == 0 => {
            broken(Invariant::S5, format!("the stream of call {at} is stuck: its caller has said all, its job waits"))
        }
        Some((_, job)) if job.waits && !call.asked => {
            broken(Invariant::S5, format!("the stream of call {at} is stuck: its caller was not asked"))
        }
        None if state.is_open(call) => {
            let never = if call.ran_at.is_some() { "its job is gone" } else { "it has never run" };
            broken(Invariant::S1, format!("call {at} of {} waits in silence: {never}", name(call.by)))
        }
        _ => Ok(()),
    }
}

fn judge_watches(state: &State) -> Result<(), Broken> {
    for (at, watch) in state.watches.iter().enumerate() {
        let alive = state.nodes[watch.by].incarnation == watch.life;
        let gone = state.nodes[watch.to].incarnation != watch.of;
        if alive && gone && watch.downs == 0 && state.is_connected(watch.by, watch.to) {
            return broken(Invariant::L1, format!("monitor {at} of {} did not fire", name(watch.by)));
        }
    }
    Ok(())
}

/// Whether nothing is on its way between two nodes, or waits in a queue or a buffer for it.
fn is_quiet(state: &State, one: usize, other: usize) -> bool {
    let waits = |at: usize, of: usize| state.nodes[at].peer(of).stats().buffered > 0;
    state.lane(one, other).is_empty()
        && state.lane(other, one).is_empty()
        && !state.queues(one, other)
        && !state.queues(other, one)
        && !waits(one, other)
        && !waits(other, one)
}

fn broken(invariant: Invariant, what: String) -> Result<(), Broken> {
    Err(Broken { invariant, what })
}
