//! Non-vacuity: how often a run met the cases that an upgrade goes wrong in. A run that never met them proves nothing.

mod talk;

use std::collections::{BTreeMap, HashMap};

use rexi_proto::{Phase, ServerAddress};
use serde::Serialize;

use super::join::{Call, Joined, Kill};
use crate::history::evidence::ProcessEnd;
use crate::history::ledger::{Entry, NodeIndex, Outcome, Work};

/// A case that a run can have met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// A call was cast in `Switch` and killed, while its job ran, in another phase, or the other way round.
    KillAcrossSwitch,
    /// A process that was killed or drained, and followed by another, had jobs running or calls open to it.
    RestartInFlight,
    /// A process was killed with signal 9.
    KillNine,
    /// A process was drained.
    Drain,
    /// A node's process ran an older release than the one before it.
    Rollback,
    /// A job was started by a process that began after the cast: the cast waited while its target changed.
    BufferedDelivery,
    /// As `BufferedDelivery`, and the process before ran another release.
    BufferedOverRelease,
    /// A job ran on the singleton.
    SingletonJob,
    /// A job ran on a per-node server.
    PerNodeJob,
    /// A call for failure got the failure it asked for.
    FailureServed,
    /// A call with a large body was served.
    BulkServed,
    /// A `Hold` job that ran was killed, and ended.
    HoldKilled,
    /// A caller's process died or was drained while its job ran on a process that lived on for it to end.
    CallerGone,
    /// A monitor fired after the process it watched had ended.
    MonitorFired,
    /// A process raised its phase while it ran.
    PhaseRaised,
    /// A process lowered its phase while it ran.
    PhaseLowered,
    /// A stream came whole.
    StreamServed,
    /// A stream had items before a node's process ended and after its next one began.
    StreamOverRestart,
    /// A stream was cast in `Switch` and had items while its caller was in another phase, or the other way round.
    StreamOverSwitch,
    /// A job wanted to send an item while as many as may be were not acknowledged.
    StreamWindowFull,
    /// A caller cancelled a stream, and heard of its end.
    StreamCancelled,
    /// A caller killed a stream that it had started.
    StreamKilled,
    /// A stream had an item that travelled beside the lane.
    LargeItem,
    /// A job heard all that it had asked, and proved it by its reply.
    QuestionAnswered,
    /// A question was cast in `Switch` and its response given in another phase, or the other way round.
    QuestionOverSwitch,
    /// A gather got its quorum though a node that it could ask was down.
    QuorumOverDown,
}

impl Witness {
    /// Every case.
    pub const ALL: [Self; 26] = [
        Self::KillAcrossSwitch,
        Self::RestartInFlight,
        Self::KillNine,
        Self::Drain,
        Self::Rollback,
        Self::BufferedDelivery,
        Self::BufferedOverRelease,
        Self::SingletonJob,
        Self::PerNodeJob,
        Self::FailureServed,
        Self::BulkServed,
        Self::HoldKilled,
        Self::CallerGone,
        Self::MonitorFired,
        Self::PhaseRaised,
        Self::PhaseLowered,
        Self::StreamServed,
        Self::StreamOverRestart,
        Self::StreamOverSwitch,
        Self::StreamWindowFull,
        Self::StreamCancelled,
        Self::StreamKilled,
        Self::LargeItem,
        Self::QuestionAnswered,
        Self::QuestionOverSwitch,
        Self::QuorumOverDown,
    ];

    /// The case in words, for so many of it.
    pub const fn words(self, count: u64) -> &'static str {
        if count == 1 { self.singular() } else { self.sentence() }
    }

    /// The case in words, as what it counts, of one.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::KillAcrossSwitch => "kill across the switch",
            Self::RestartInFlight => "restart with jobs in flight",
            Self::KillNine => "kill -9",
            Self::Drain => "graceful drain",
            Self::Rollback => "rollback",
            Self::BufferedDelivery => "cast that waited while its target restarted",
            Self::BufferedOverRelease => "cast that waited while its target changed release",
            Self::SingletonJob => "job on the singleton",
            Self::PerNodeJob => "job on a per-node server",
            Self::FailureServed => "failure that came as asked",
            Self::BulkServed => "large body served",
            Self::HoldKilled => "running job ended by a kill",
            Self::CallerGone => "job whose caller's process ended first",
            Self::MonitorFired => "monitor that fired after an end",
            Self::PhaseRaised => "phase raised at run time",
            Self::PhaseLowered => "phase lowered at run time",
            Self::StreamServed => "stream that came whole",
            Self::StreamOverRestart => "stream open over a restart",
            Self::StreamOverSwitch => "stream open over the switch",
            Self::StreamWindowFull => "stream whose window was full",
            Self::StreamCancelled => "stream cancelled by its caller",
            Self::StreamKilled => "stream killed in its middle",
            Self::LargeItem => "stream with an item beside the lane",
            Self::QuestionAnswered => "question answered",
            Self::QuestionOverSwitch => "question answered over the switch",
            Self::QuorumOverDown => "quorum reached over a node that was down",
        }
    }

    /// The case in words, as what it counts, of many or none.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::KillAcrossSwitch => "kills across the switch",
            Self::RestartInFlight => "restarts with jobs in flight",
            Self::KillNine => "kill -9s",
            Self::Drain => "graceful drains",
            Self::Rollback => "rollbacks",
            Self::BufferedDelivery => "casts that waited while their target restarted",
            Self::BufferedOverRelease => "casts that waited while their target changed release",
            Self::SingletonJob => "jobs on the singleton",
            Self::PerNodeJob => "jobs on a per-node server",
            Self::FailureServed => "failures that came as asked",
            Self::BulkServed => "large bodies served",
            Self::HoldKilled => "running jobs ended by a kill",
            Self::CallerGone => "jobs whose caller's process ended first",
            Self::MonitorFired => "monitors that fired after an end",
            Self::PhaseRaised => "phases raised at run time",
            Self::PhaseLowered => "phases lowered at run time",
            Self::StreamServed => "streams that came whole",
            Self::StreamOverRestart => "streams open over a restart",
            Self::StreamOverSwitch => "streams open over the switch",
            Self::StreamWindowFull => "streams whose window was full",
            Self::StreamCancelled => "streams cancelled by their caller",
            Self::StreamKilled => "streams killed in their middle",
            Self::LargeItem => "streams with an item beside the lane",
            Self::QuestionAnswered => "questions answered",
            Self::QuestionOverSwitch => "questions answered over the switch",
            Self::QuorumOverDown => "quorums reached over a node that was down",
        }
    }
}

/// A case that a run has to have met before it may be called safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// The case.
    pub witness: Witness,
    /// How often it must have occurred.
    pub at_least: u64,
}

impl Requirement {
    /// The case must have occurred at least once.
    pub const fn once(witness: Witness) -> Self {
        Self { witness, at_least: 1 }
    }

    /// What every run that claims safety must have met (docs/safety.md), as far as a ledger can witness it; a kill -9;
    /// and what streams and quorums go wrong in.
    pub fn non_vacuity() -> Vec<Self> {
        [
            Witness::KillAcrossSwitch,
            Witness::BufferedOverRelease,
            Witness::RestartInFlight,
            Witness::KillNine,
            Witness::Rollback,
            Witness::StreamOverSwitch,
            Witness::StreamOverRestart,
            Witness::StreamWindowFull,
            Witness::QuorumOverDown,
        ]
        .map(Self::once)
        .to_vec()
    }
}

/// How often a case occurred, and how often it had to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WitnessCount {
    /// The case.
    pub witness: Witness,
    /// How often it occurred.
    pub count: u64,
    /// How often it had to occur; 0 where nothing was asked.
    pub required: u64,
}

impl WitnessCount {
    /// Why the run proves nothing for want of this case; `None` where it occurred often enough.
    pub(super) fn doubt(&self) -> Option<String> {
        let Self { witness, count, required } = *self;
        let what = witness.words(count);
        (count < required).then(|| format!("the run had {count} {what}, and needs {required}"))
    }
}

/// A row for each case, in the order of [`Witness::ALL`].
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
    Witness::ALL.map(row).to_vec()
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
            let mut now: Option<Phase> = None;
            for record in process.records {
                if let Entry::PhaseChanged { phase } = record.entry {
                    self.see(Witness::PhaseRaised, now.is_some_and(|now| phase > now));
                    self.see(Witness::PhaseLowered, now.is_some_and(|now| phase < now));
                    now = Some(phase);
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
