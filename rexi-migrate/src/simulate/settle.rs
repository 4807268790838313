//! The end of a scenario: faults stop, every node runs, and everything that was promised comes true within its bound.
//!
//! In: the cluster as the plan has left it. Out: what did not come true, besides what the ledger shows by itself. Time
//! passes only for as long as something is still to come.

use std::sync::Arc;
use std::time::Duration;

use rexi_proto::{Phase, Stage};
use rexi_server::rollout::RolloutControl;
use rexi_server::{Node, PeerPresence};
use tokio::time::Instant;

use super::ledger::ScenarioEvent;
use super::records;
use super::seen::Settled;
use super::world::World;
use crate::history::ledger::{CallNumber, Entry, Outcome};
use crate::path::Place;
use crate::plan::Work;
use crate::workload::work::record;

/// Brings the cluster to rest.
pub(super) async fn settle(world: &Arc<World>) -> Settled {
    world.heal();
    world.ledger.note(ScenarioEvent::Settling);
    wait_until(world, LEAVE_BOUND, || !world.any_leaving()).await;
    records::mend(world);
    start_all(world);
    world.raise_all();
    let mut settled = Settled { unsettled: records::bring_to_rest(world).await, ..Settled::default() };
    // What came to be the record may have barred a node.
    wait_until(world, LEAVE_BOUND, || !world.any_leaving()).await;
    start_all(world);
    wait_until(world, BOUND, || is_over(world) && apart(world).is_empty() && held(world).is_empty()).await;
    (settled.apart, settled.held) = (apart(world), held(world));
    let held: Vec<_> = world.ledger.lock().open().held().collect();
    settled.silent = held.iter().filter(|(.., runs)| !runs).map(|&(call, ..)| call).collect();
    for (call, of, _) in held {
        world.kill_call(call, of.by);
    }
    wait_until(world, BOUND, || world.ledger.lock().open().is_empty()).await;
    settled.probes = probe(world).await;
    rest(world);
    settled
}

/// Notes for each node without an open call that it is quiet.
fn rest(world: &World) {
    let mut state = world.ledger.lock();
    let busy: Vec<_> = state.open().calls().map(|(_, call)| call.by).collect();
    for (number, life) in state.lives.iter().enumerate().filter(|(_, life)| !life.over) {
        if !busy.iter().any(|by| by.0 == number) {
            record(&life.ledger, &[Entry::Quiet]);
        }
    }
}

/// Waits until every node has its release, and is in the highest phase that nothing stands in the way of.
pub(super) async fn risen(world: &World) {
    wait_until(world, BOUND, || !world.any_leaving() && held(world).is_empty()).await;
}

/// Waits until everything is over, except for what waits for its kill.
pub(super) async fn calm(world: &World) {
    wait_until(world, BOUND, || is_over(world)).await;
}

/// Sets every clock right, and starts every node that does not run. One that is more than one release behind is brought
/// that near, and one that started far ahead of its time is started again: no handshake may ever succeed otherwise.
fn start_all(world: &Arc<World>) {
    let releases = world.releases();
    let newest = releases.iter().max().map_or(0, |newest| newest.0);
    for (number, release) in releases.into_iter().enumerate() {
        let least = Place(newest.saturating_sub(1));
        let started_far_ahead = world.right_clock(number);
        let fits = world.fitting(number, release.max(least));
        if release != fits || started_far_ahead {
            world.crash(number);
        }
        world.start(number, fits);
    }
}

/// Whether everything is over, except for jobs that wait for their kill; and who watches what has ended knows it.
fn is_over(world: &World) -> bool {
    let mut state = world.ledger.lock();
    state.open().is_held_only() && !state.is_overdue()
}

/// Pairs of which the one does not see the life that the other has now, though they may speak.
pub(super) fn apart(world: &World) -> Vec<(usize, usize)> {
    let running = world.running();
    let mut apart = Vec::new();
    for (number, node, release) in &running {
        let status = node.status();
        for (other, peer, theirs) in &running {
            let legal = release.is_near(*theirs);
            let sees = |seen: &rexi_server::status::PeerStatus| {
                let known_as = peer.status().peers.iter().find(|of| of.name == *node.name()).map(|of| of.known_as);
                let current = seen.incarnation.is_some() && seen.incarnation == known_as;
                seen.name == *peer.name() && current && seen.presence == PeerPresence::Connected
            };
            if number != other && legal && !status.peers.iter().any(sees) {
                apart.push((*number, *other));
            }
        }
    }
    apart
}

/// Nodes whose phase is not the highest that their release allows and that all others can be sent to in.
pub(super) fn held(world: &World) -> Vec<(usize, Phase, Phase)> {
    let running = world.running();
    let taken = |of: usize, migration: usize, phase: Phase| {
        let mut others = running.iter().filter(|(number, ..)| *number != of);
        others.all(|(.., release)| {
            let stage = world.profile(*release).stage_at(migration);
            stage.takes().contains(phase.says())
        })
    };
    let expected = |number: usize, migration: usize, stage: Stage| {
        let reachable = |phase: &&Phase| stage.allows(**phase) && taken(number, migration, **phase);
        Phase::ALL.iter().rev().find(reachable).copied().unwrap_or(stage.lowest())
    };
    let rows = |(number, node, release): &(usize, Node, Place)| {
        let stages = world.profile(*release).migrations().map(|(_, stage)| stage).enumerate();
        let row = |((migration, stage), rollout): ((usize, Stage), RolloutControl)| {
            let (phase, expected) = (rollout.phase(), expected(*number, migration, stage));
            (phase != expected).then_some((*number, phase, expected))
        };
        stages.zip(node.rollouts()).filter_map(row).collect::<Vec<_>>()
    };
    running.iter().flat_map(rows).collect()
}

/// Casts from each node to each within one release, and waits for the answers. A cast whose connection was dying since
/// before the faults stopped is told so, and made again: for as long as such a death takes to be noticed.
async fn probe(world: &Arc<World>) -> Vec<CallNumber> {
    world.ledger.note(ScenarioEvent::Probing);
    let running = world.running();
    let pairs = running.iter().flat_map(|(from, _, release)| {
        let near = running.iter().filter(move |(_, _, theirs)| release.is_near(*theirs));
        near.map(move |(to, ..)| (*from, *to))
    });
    let mut pairs: Vec<(usize, usize)> = pairs.collect();
    let until = Instant::now() + PROBE_BOUND;
    let mut probes = Vec::new();
    while !pairs.is_empty() {
        let cast = |(from, to)| Some(((from, to), world.caller(from)?.cast(to, Work::Reply)?));
        let made: Vec<_> = pairs.into_iter().filter_map(cast).collect();
        wait_until(world, PROBE_BOUND, || world.ledger.lock().open().is_empty()).await;
        let again = |(_, probe): &((usize, usize), CallNumber)| {
            let lost = world.ledger.lock().answer(*probe) == Some(Outcome::ConnectionLost);
            lost && Instant::now() < until
        };
        let (lost, told): (Vec<_>, Vec<_>) = made.into_iter().partition(again);
        probes.extend(told.into_iter().map(|(_, probe)| probe));
        pairs = lost.into_iter().map(|(pair, _)| pair).collect();
    }
    probes
}

/// Lets time pass until the condition holds, up to the bound.
async fn wait_until(world: &World, bound: Duration, done: impl Fn() -> bool) -> bool {
    let until = Instant::now() + bound;
    let mut tick = TICK_MIN;
    loop {
        world.inspect();
        if done() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(tick).await;
        tick = (tick + tick / 4).min(TICK_MAX);
    }
}

/// How long anything may take once faults have stopped: a connection that died in silence is noticed after 8 s, a peer
/// that does not come back is given up 15 s later; the rest is room for handshakes that had begun before.
pub(super) const BOUND: Duration = Duration::from_secs(45);

/// How long a node may take to leave: its jobs 2 s, its last words 3 s, its closes.
const LEAVE_BOUND: Duration = Duration::from_secs(15);

const PROBE_BOUND: Duration = Duration::from_secs(10);

/// How often it is looked whether all is over: often at first, when most is.
const TICK_MIN: Duration = Duration::from_millis(8);
const TICK_MAX: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
