//! What a scenario has met: the cases in which upgrades go wrong. Runs that never met them prove nothing.

use std::collections::BTreeMap;

use rexi_proto::Phase;

use super::ledger::{CallRecord, State};
use super::seen::Tally;
use crate::history::ledger::{Ending, Outcome};

/// How often each case was met, by what it counts.
pub(super) fn witness(state: &State, tally: &Tally) -> BTreeMap<&'static str, u64> {
    let mut met = tally.counts.clone();
    let mut see = |what, seen: bool| {
        if seen {
            *met.entry(what).or_default() += 1;
        }
    };
    for call in &state.calls {
        let switch = |phase: Phase| phase == Phase::Switch;
        let across = call.killed.is_some_and(|(_, phase, ran)| ran && switch(phase) != switch(call.phase));
        see(KILL_ACROSS_SWITCH, across && call.to.is_some());
        see(STREAM_OVER_SWITCH, call.streamed_over_switch);
        see("running jobs ended by a kill", killed_while_running(call));
        see(BUFFERED_OVER_RELEASE, call.jobs.iter().any(|job| waited_over_release(state, call, job.on.0)));
        let outcome = call.answer.map(|(_, outcome)| outcome);
        see("calls served", outcome == Some(Outcome::Reply));
        see("majorities reached", call.to.is_none() && outcome == Some(Outcome::Reply));
        see("calls told that they were not served", outcome.is_some_and(Outcome::is_told));
        see("jobs on a per-node server", call.jobs.iter().any(|job| job.server == rexi_proto::ServerAddress::PerNode));
        see("jobs on the singleton", call.jobs.iter().any(|job| job.server == rexi_proto::ServerAddress::Singleton));
    }
    met
}

fn killed_while_running(call: &CallRecord) -> bool {
    call.killed.is_some_and(|(_, _, ran)| ran)
        && call.jobs.iter().any(|job| job.ended.is_some_and(|(_, how)| how == Ending::Dropped))
}

/// Whether the cast was made before this life of its target began, and the life before was of another release.
fn waited_over_release(state: &State, call: &CallRecord, on: usize) -> bool {
    let life = &state.lives[on];
    let before = state.lives[..on].iter().rev().find(|before| before.node == life.node);
    call.cast < life.began && before.is_some_and(|before| before.release != life.release)
}

/// What every run that claims safety must have met (docs/safety.md).
pub(super) const REQUIRED: [&str; 5] =
    [KILL_ACROSS_SWITCH, STREAM_OVER_SWITCH, BUFFERED_OVER_RELEASE, "restarts with jobs in flight", "rollbacks"];

const KILL_ACROSS_SWITCH: &str = "kills across the switch";
const STREAM_OVER_SWITCH: &str = "streams open across the switch";
const BUFFERED_OVER_RELEASE: &str = "casts that waited while their target changed release";

#[cfg(test)]
mod tests;
