//! Whether two nodes could speak with each other, moment by moment, from what the ledger has of their lives.
//!
//! A node that was refused for good reports so for every call until it learns otherwise. So a refusal is in order for
//! as long as the two are too far apart, and until the next handshake that can come through.

use std::time::Duration;

use rexi_proto::{Phase, Profile};

use super::ledger::{Event, LifeRecord, State};

/// Whether a caller's life may tell its calls to a node, at a time, that the two cannot speak.
pub(super) fn may_refuse(state: &State, by: &LifeRecord, to: usize, at: Duration) -> bool {
    let profiles = Profile::train();
    let others: Vec<&LifeRecord> = state.lives.iter().filter(|life| life.node == to && life.began <= at).collect();
    let last = others.iter().enumerate().filter_map(|(place, life)| {
        let last = last_apart(&profiles, by, life, at)?;
        // Nobody says otherwise until the next life does.
        let is_end = life.ended.is_some_and(|(ended, _)| ended == last);
        Some(if is_end { others.get(place + 1).map_or(at, |next| next.began) } else { last })
    });
    let last = last.max();
    // What is said after a fault is as old as the fault.
    last.is_some_and(|last| at.saturating_sub(last.max(last_fault(state, at))) <= STALE_MAX)
}

/// The last moment up to `until` at which the two lives could not speak.
fn last_apart(profiles: &[Profile], one: &LifeRecord, other: &LifeRecord, until: Duration) -> Option<Duration> {
    let ended = |life: &LifeRecord| life.ended.map_or(until, |(at, _)| at.min(until));
    let (from, to) = (one.began.max(other.began), ended(one).min(ended(other)));
    if from > to {
        return None;
    }
    if !one.release.is_near(other.release) {
        return Some(to);
    }
    // A phase holds until the next; moments at which one changes cut time into stretches.
    let mut cuts: Vec<Duration> = one.phases.iter().chain(&other.phases).map(|&(at, _)| at.clamp(from, to)).collect();
    cuts.extend([from, to]);
    cuts.sort();
    let apart = |at: Duration| {
        let sends = |sender: &LifeRecord, receiver: &LifeRecord| {
            phase_at(sender, at)
                .is_none_or(|phase| profiles[receiver.release.index()].hosts().contains(phase.cast_target()))
        };
        !sends(one, other) || !sends(other, one)
    };
    cuts.windows(2).rev().find(|two| apart(two[0])).map(|two| two[1]).or_else(|| apart(to).then_some(to))
}

fn phase_at(life: &LifeRecord, at: Duration) -> Option<Phase> {
    life.phases.iter().rev().find(|(since, _)| *since <= at).map(|&(_, phase)| phase)
}

/// The last moment up to `until` at which a link was not as at first.
fn last_fault(state: &State, until: Duration) -> Duration {
    let (mut faulty, mut last) = (false, Duration::ZERO);
    for (at, event) in state.events.iter().take_while(|(at, _)| *at <= until) {
        match event {
            Event::Did(op) if op.is_fault() => faulty = true,
            Event::Healed => {
                (faulty, last) = (false, *at);
            }
            _ => {}
        }
    }
    if faulty { until } else { last }
}

/// A second between two tries, and a try's own limits.
const STALE_MAX: Duration = Duration::from_secs(8);
