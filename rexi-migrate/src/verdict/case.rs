//! The cases in which upgrades go wrong; a run must have met them before it may be called safe.

use serde::Serialize;

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
    /// A caller cancelled a stream, and learned of its end.
    StreamCancelled,
    /// A caller killed a stream that it had started.
    StreamKilled,
    /// A stream had an item that travelled alongside the lane.
    LargeItem,
    /// A job heard all that it had asked, and proved it by its reply.
    QuestionAnswered,
    /// A question was cast in `Switch` and its response given in another phase, or the other way round.
    QuestionOverSwitch,
    /// A gather got its quorum though a node that it could ask was down.
    QuorumOverDown,
    /// A payload beside the lane was whole only after its connection had been replaced.
    LatePayload,
    /// A change of the record was made by all members.
    RecordMoved,
    /// A change that another operator had begun was ended forwards.
    ChangeResumed,
    /// A change was given up.
    ChangeAborted,
    /// An operator was told of another whose change was under way.
    OperatorRefused,
    /// A start was barred by the record on its node's disk.
    StartBarred,
}

impl Witness {
    /// Every case.
    pub const ALL: [Self; 32] = [
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
        Self::LatePayload,
        Self::RecordMoved,
        Self::ChangeResumed,
        Self::ChangeAborted,
        Self::OperatorRefused,
        Self::StartBarred,
    ];

    /// Whether ledgers show that the case was met.
    pub(crate) fn is_recorded(self) -> bool {
        !matches!(
            self,
            Self::LatePayload
                | Self::RecordMoved
                | Self::ChangeResumed
                | Self::ChangeAborted
                | Self::OperatorRefused
                | Self::StartBarred
        )
    }

    /// The case in words, for this many occurrences.
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
            Self::FailureServed => "failure returned as asked",
            Self::BulkServed => "large body served",
            Self::HoldKilled => "running job ended by a kill",
            Self::CallerGone => "job whose caller's process ended first",
            Self::MonitorFired => "monitor that fired after a process ended",
            Self::PhaseRaised => "phase raised at run time",
            Self::PhaseLowered => "phase lowered at run time",
            Self::StreamServed => "stream delivered in full",
            Self::StreamOverRestart => "stream open across a restart",
            Self::StreamOverSwitch => "stream open across the switch",
            Self::StreamWindowFull => "stream whose window was full",
            Self::StreamCancelled => "stream cancelled by its caller",
            Self::StreamKilled => "stream killed midway",
            Self::LargeItem => "stream with a bulk item",
            Self::QuestionAnswered => "question answered",
            Self::QuestionOverSwitch => "question answered across the switch",
            Self::QuorumOverDown => "quorum reached with a node down",
            Self::LatePayload => "payload that came after its connection was replaced",
            Self::RecordMoved => "change of the record",
            Self::ChangeResumed => "change of the record that another operator ended",
            Self::ChangeAborted => "change of the record that was given up",
            Self::OperatorRefused => "operator who was told of another",
            Self::StartBarred => "start that the record barred",
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
            Self::FailureServed => "failures returned as asked",
            Self::BulkServed => "large bodies served",
            Self::HoldKilled => "running jobs ended by a kill",
            Self::CallerGone => "jobs whose caller's process ended first",
            Self::MonitorFired => "monitors that fired after a process ended",
            Self::PhaseRaised => "phases raised at run time",
            Self::PhaseLowered => "phases lowered at run time",
            Self::StreamServed => "streams delivered in full",
            Self::StreamOverRestart => "streams open across a restart",
            Self::StreamOverSwitch => "streams open across the switch",
            Self::StreamWindowFull => "streams whose window was full",
            Self::StreamCancelled => "streams cancelled by their caller",
            Self::StreamKilled => "streams killed midway",
            Self::LargeItem => "streams with a bulk item",
            Self::QuestionAnswered => "questions answered",
            Self::QuestionOverSwitch => "questions answered across the switch",
            Self::QuorumOverDown => "quorums reached with a node down",
            Self::LatePayload => "payloads that came after their connection was replaced",
            Self::RecordMoved => "changes of the record",
            Self::ChangeResumed => "changes of the record that another operator ended",
            Self::ChangeAborted => "changes of the record that were given up",
            Self::OperatorRefused => "operators who were told of another",
            Self::StartBarred => "starts that the record barred",
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

    /// What a simulation that claims safety must have met (docs/safety.md).
    pub fn of_simulation() -> Vec<Self> {
        [
            Witness::KillAcrossSwitch,
            Witness::StreamOverSwitch,
            Witness::BufferedOverRelease,
            Witness::RestartInFlight,
            Witness::Rollback,
            Witness::LatePayload,
        ]
        .map(Self::once)
        .to_vec()
    }

    /// What a rehearsal that claims safety must have met: the same as far as ledgers show it; a kill -9; and what
    /// streams and quorums go wrong in.
    pub fn of_rehearsal() -> Vec<Self> {
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
    pub(crate) fn doubt(&self) -> Option<String> {
        let Self { witness, count, required } = *self;
        let what = witness.words(count);
        (count < required).then(|| format!("the run had {count} {what}, but needs {required}"))
    }
}
