//! Non-vacuity: how often a run met the cases in which upgrades go wrong. A run that never met them proves nothing.

mod talk;

use std::collections::{BTreeMap, HashMap};

use rexi_proto::{Phase, ServerAddress};

use super::join::{Call, Joined, Kill};
use crate::history::evidence::ProcessEnd;
use crate::history::ledger::{Entry, NodeIndex, Outcome, Work};
use crate::verdict::case::{Requirement, Witness, WitnessCount};

/// A row for each case that ledgers show, in the order of [`Witness::ALL`].
pub(super) fn witness(joined: &Joined<'_>, required: &[Requirement]) -> Vec<WitnessCount> {
    let mut tally = Tally(BTreeMap::new());
    tally.processes(joined);
    tally.calls(joined);
    tally.jobs(joined);
    tally.talks(joined);
    tally.add(Witness::RestartInFlight, restarts_in_flight(joined));
    tally.add(Witness::MonitorFired, monitors_fired(joined));
    let required = |witness| required.iter().filter(|r| r.witness == witness).map(|r| r.at_least).max().unwrap_or(0);
    let row = |witness| WitnessCount { witness, count: tally.of(witness), required: required(witness) };
    Witness::ALL.into_iter().filter(|witness| witness.is_recorded()).map(row).collect()
}

struct Tally(BTreeMap<Witness, u64>);

impl Tally {
    fn add(&mut self, witness: Witness, times: u64) {
        *self.0.entry(witness).or_default() += times;
    }

    fn see(&mut self, witness: Witness, seen: bool) {
        self.add(witness, u64::from(seen));
    }

    fn of(&self, witness: Witness) -> u64 {
        self.0.get(&witness).copied().unwrap_or(0)
    }

    fn processes(&mut self, joined: &Joined<'_>) {
        for process in &joined.processes {
            self.see(Witness::KillNine, matches!(process.end, ProcessEnd::KilledNine { .. }));
            self.see(Witness::Drain, matches!(process.end, ProcessEnd::Drained { .. }));
            let before = joined.before(process);
            self.see(Witness::Rollback, before.is_some_and(|b| process.header.release < b.header.release));
            let mut now: BTreeMap<u8, Phase> = BTreeMap::new();
            for record in process.records {
                if let Entry::PhaseChanged { migration, phase } = record.entry {
                    let before = now.insert(migration, phase);
                    self.see(Witness::PhaseRaised, before.is_some_and(|before| phase > before));
                    self.see(Witness::PhaseLowered, before.is_some_and(|before| phase < before));
                }
            }
        }
    }

    fn calls(&mut self, joined: &Joined<'_>) {
        for call in &joined.calls {
            let open = call.answer.is_none_or(|a| a.after_kill) && call.timed_out_us.is_none();
            let across = |kill: Kill| (kill.phase == Phase::Switch) != (call.phase == Phase::Switch);
            let crossed = call.kill.is_some_and(|kill| across(kill) && ran_at(joined, call, kill.at_us));
            self.see(Witness::KillAcrossSwitch, open && crossed);
            let outcome = call.answer.map(|a| a.outcome);
            self.see(Witness::FailureServed, call.work == Work::Fail && outcome == Some(Outcome::FailedAsAsked));
            self.see(Witness::BulkServed, call.work == Work::Bulk && outcome == Some(Outcome::Reply));
        }
    }

    fn jobs(&mut self, joined: &Joined<'_>) {
        let changed: Vec<bool> = joined
            .processes
            .iter()
            .map(|p| joined.before(p).is_some_and(|before| before.header.release != p.header.release))
            .collect();
        for job in &joined.jobs {
            self.see(Witness::SingletonJob, job.server == ServerAddress::Singleton);
            self.see(Witness::PerNodeJob, job.server == ServerAddress::PerNode);
            let call = job.call.map(|call| &joined.calls[call]);
            let waited = call.is_some_and(|c| c.cast_us < joined.processes[job.on].header.began_us);
            self.see(Witness::BufferedDelivery, waited);
            self.see(Witness::BufferedOverRelease, waited && changed[job.on]);
            let ended_us = job.end.map(|(_, at)| at);
            let killed_us = call.and_then(|c| c.kill).map(|kill| kill.at_us);
            let killed =
                killed_us.zip(ended_us).is_some_and(|(killed, ended)| job.started_us <= killed && killed <= ended);
            self.see(Witness::HoldKilled, job.work == Work::Hold && killed);
            let gone_us = job.by.map(|by| joined.processes[by].gone_us);
            let left = gone_us.zip(ended_us).is_some_and(|(gone, ended)| job.started_us <= gone && gone <= ended);
            self.see(Witness::CallerGone, left);
        }
    }
}

/// Restarts of a process that ran jobs, or that others had calls open to, when it was killed or asked to drain.
fn restarts_in_flight(joined: &Joined<'_>) -> u64 {
    // By node, sorted by time: when a process of it ended, and whether anything was in flight then.
    let mut ends: HashMap<NodeIndex, Vec<(u64, bool)>> = HashMap::new();
    for process in joined.processes.iter().filter(|p| joined.is_followed(p)) {
        let (ProcessEnd::KilledNine { at_us } | ProcessEnd::Drained { at_us }) = process.end else { continue };
        let mut jobs = joined.jobs[process.jobs.clone()].iter();
        let running = jobs.any(|job| job.started_us <= at_us && job.end.is_none_or(|(_, ended)| ended > at_us));
        ends.entry(process.header.index).or_default().push((at_us, running));
    }
    ends.values_mut().for_each(|ends| ends.sort_unstable());
    for call in &joined.calls {
        let Some(ends) = ends.get_mut(&call.to) else { continue };
        let (first, closed) = (ends.partition_point(|&(at, _)| at < call.cast_us), closed_us(joined, call));
        ends[first..].iter_mut().take_while(|(at, _)| *at < closed).for_each(|(_, in_flight)| *in_flight = true);
    }
    ends.values().flatten().filter(|(_, in_flight)| *in_flight).count() as u64
}

/// Whether a job of the call ran at a time.
fn ran_at(joined: &Joined<'_>, call: &Call, at_us: u64) -> bool {
    call.job.map(|job| &joined.jobs[job]).is_some_and(|job| {
        let ended_us = job.end.map_or(joined.processes[job.on].gone_us, |(_, at)| at);
        job.started_us <= at_us && at_us <= ended_us
    })
}

/// When the caller had no more interest in its call.
fn closed_us(joined: &Joined<'_>, call: &Call) -> u64 {
    let ends = [call.answer.map(|a| a.at_us), call.kill.map(|k| k.at_us), call.timed_out_us];
    ends.into_iter().flatten().min().unwrap_or(u64::MAX).min(joined.processes[call.by].gone_us)
}

/// Monitors that fired after a process of the node they watch had ended, which ran when they were set.
fn monitors_fired(joined: &Joined<'_>) -> u64 {
    let mut fired = 0;
    for process in &joined.processes {
        let mut set = HashMap::new();
        for record in process.records {
            match record.entry {
                Entry::Monitored { monitor, on } => _ = set.insert(monitor, (on, record.at_us)),
                Entry::MonitorDown { monitor, .. } => {
                    let Some((on, since)) = set.remove(&monitor) else { continue };
                    let mut watched = joined.processes.iter().filter(|p| p.header.index == on);
                    let ended = watched.any(|p| p.end.at_us().is_some_and(|at| since <= at && at <= record.at_us));
                    fired += u64::from(ended);
                }
                _ => {}
            }
        }
    }
    fired
}
