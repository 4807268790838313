//! Findings: which invariant was broken, how often, and up to five cases that an engineer can follow.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::join::{Call, Job, Joined};
use crate::invariant::Invariant;
use crate::ledger::{CallId, Outcome, Work};

/// How many cases a finding shows.
pub const EXAMPLES_MAX: usize = 5;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A caller was told nothing.
    Lost,
    /// A call has more than one job.
    ExecutedTwice,
    /// A killed job was never seen to end, or ended later than it may.
    OrphanAfterKill,
    /// A job that nobody killed was never seen to end, or outlived its caller for longer than it may.
    Orphan,
    /// A job that waits for its kill was ended before it, or without one, though both its ends lived on.
    EndedUnkilled,
    /// A reply has another value than its request determines.
    WrongReply,
    /// An answer does not fit what the call asked for.
    UnfitAnswer,
    /// An exit came that the call did not ask for.
    UnaskedExit,
    /// The answer says another thing than the end of the job.
    AnswerUnlikeJob,
    /// A job ran on another node, or does other work, than its call says.
    JobUnlikeCall,
    /// An answer came that only a job can give, and no ledger has the job.
    ReplyWithoutJob,
    /// A job ran that nobody called for.
    JobWithoutCall,
    /// A call was answered more than once.
    AnsweredTwice,
    /// A node that took a connection had no server for the peer.
    NoSuchServer,
    /// A monitor was told that a node which lived has no server.
    MonitorUnserved,
    /// A node that took a connection had no such function.
    NoSuchFunction,
    /// A process ended without being asked to.
    Crashed,
    /// An item of a stream never came, though a later one did.
    ItemGap,
    /// An item of a stream came more than once.
    ItemTwice,
    /// An item of a stream came behind a later one.
    ItemReordered,
    /// An item is not what the request determines.
    WrongItem,
    /// An item came that no job had sent.
    ItemUnsent,
    /// An item came behind the end of its stream, or after the stream was cancelled.
    ItemAfterEnd,
    /// A stream ended as if it were whole, with items missing.
    StreamShort,
    /// A job went on without its caller's acknowledgement: it got that of another stream.
    AckAstray,
    /// A caller heard a question that its job had not asked.
    QuestionAstray,
    /// A job heard a response that its caller had not given to it.
    ResponseAstray,
    /// The caller of a stream was told nothing of its end.
    StreamSilent,
    /// A gather did not end by its limit.
    GatherLate,
    /// A gather counted votes that no job gave, or fewer than it needed.
    QuorumContradicted,
}

impl FindingKind {
    /// The invariant that it breaks.
    pub const fn invariant(self) -> Invariant {
        match self {
            Self::Lost | Self::AnsweredTwice | Self::UnaskedExit | Self::Crashed => Invariant::S1,
            Self::ExecutedTwice => Invariant::S2,
            Self::OrphanAfterKill => Invariant::S3,
            Self::EndedUnkilled => Invariant::S4,
            Self::NoSuchServer | Self::MonitorUnserved => Invariant::S6,
            Self::WrongReply | Self::UnfitAnswer | Self::AnswerUnlikeJob => Invariant::S8,
            Self::JobUnlikeCall | Self::ReplyWithoutJob | Self::JobWithoutCall => Invariant::S8,
            Self::NoSuchFunction => Invariant::S9,
            Self::Orphan => Invariant::L2,
            Self::ItemGap | Self::ItemTwice | Self::ItemReordered | Self::WrongItem => Invariant::S5,
            Self::ItemUnsent | Self::ItemAfterEnd | Self::StreamShort | Self::AckAstray => Invariant::S5,
            Self::QuestionAstray | Self::ResponseAstray => Invariant::S5,
            Self::StreamSilent | Self::GatherLate | Self::QuorumContradicted => Invariant::L1,
        }
    }

    /// What was found, as a sentence without its count.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Lost => "casts ended in silence: no reply, no exit, no down, no refusal",
            Self::ExecutedTwice => "calls were run more than once",
            Self::OrphanAfterKill => "killed jobs ran on: they ended late or never, on a process that lived on",
            Self::Orphan => {
                "jobs of callers that are gone ran on: they ended late or never, on a process that lived on"
            }
            Self::EndedUnkilled => "jobs were ended that nobody had killed: a kill hit another job",
            Self::WrongReply => "replies have another value than their request determines",
            Self::UnfitAnswer => "answers do not fit what was asked for",
            Self::UnaskedExit => "calls ended in an exit that they did not ask for",
            Self::AnswerUnlikeJob => "answers say another thing than the end of their job",
            Self::JobUnlikeCall => "jobs ran on another node, or did other work, than their call says",
            Self::ReplyWithoutJob => "answers came that only a job can give, and no such job ran",
            Self::JobWithoutCall => "jobs ran that nobody called for",
            Self::AnsweredTwice => "calls were answered more than once",
            Self::NoSuchServer => "casts were refused by a legal neighbour: no such server",
            Self::MonitorUnserved => "monitors were told of no server by a node that lived",
            Self::NoSuchFunction => "casts were refused by a legal neighbour: no such function",
            Self::Crashed => "processes ended without being asked to",
            Self::ItemGap => "streams have a gap: an item never came, and a later one did",
            Self::ItemTwice => "streams had an item more than once",
            Self::ItemReordered => "streams had an item behind a later one",
            Self::WrongItem => "streams had an item that is not what their request determines",
            Self::ItemUnsent => "streams had an item that their job had not sent",
            Self::ItemAfterEnd => "streams went on behind their end",
            Self::StreamShort => "streams ended as if they were whole, with items missing",
            Self::AckAstray => "streams went on unacknowledged: an acknowledgement reached another job",
            Self::QuestionAstray => "calls heard a question that their job had not asked",
            Self::ResponseAstray => "jobs heard a response that their caller had not given to them",
            Self::StreamSilent => "streams ended in silence: their caller was told nothing",
            Self::GatherLate => "gathers did not end by their limit",
            Self::QuorumContradicted => "gathers counted votes that the ledgers contradict",
        }
    }
}

/// One way in which the run was not safe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was found.
    pub kind: FindingKind,
    /// The invariant that it breaks.
    pub invariant: Invariant,
    /// What was found, in words.
    pub sentence: &'static str,
    /// How often.
    pub count: u64,
    /// The first cases, [`EXAMPLES_MAX`] at most.
    pub examples: Vec<Example>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.invariant, self.count, self.sentence)
    }
}

/// One case of a finding. What is unknown, or has no meaning for the case, is `None`. Times are microseconds since
/// 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Example {
    /// The call.
    pub call: Option<CallId>,
    /// What it asked for.
    pub work: Option<Work>,
    /// The name of the node that called.
    pub caller: Option<String>,
    /// The release of the process that called.
    pub caller_release: Option<String>,
    /// The name of the node that ran the job, or that the cast was for.
    pub target: Option<String>,
    /// The release of the process that ran the job, or of the one there at the time of the cast.
    pub target_release: Option<String>,
    /// The servers that started a job for the call, in the order of the ledgers.
    pub servers: Vec<String>,
    /// When the call was cast.
    pub cast_us: Option<u64>,
    /// When each of its jobs started.
    pub started_us: Vec<u64>,
    /// When its job ended.
    pub ended_us: Option<u64>,
    /// When it was killed.
    pub killed_us: Option<u64>,
    /// When it was answered, or given up by the load generator.
    pub answered_us: Option<u64>,
    /// How it was answered.
    pub outcome: Option<Outcome>,
    /// What else there is to say.
    pub note: Option<String>,
}

/// Gathers findings as they turn up.
#[derive(Default)]
pub(super) struct Findings(BTreeMap<FindingKind, (u64, Vec<Example>)>);

impl Findings {
    /// Counts one; the example is made only while there is room for it.
    pub(super) fn add(&mut self, kind: FindingKind, example: impl FnOnce() -> Example) {
        let (count, examples) = self.0.entry(kind).or_default();
        *count += 1;
        if examples.len() < EXAMPLES_MAX {
            examples.push(example());
        }
    }

    pub(super) fn count(&self, kind: FindingKind) -> u64 {
        self.0.get(&kind).map_or(0, |(count, _)| *count)
    }

    pub(super) fn into_list(self) -> Vec<Finding> {
        let finding = |(kind, (count, examples)): (FindingKind, _)| Finding {
            kind,
            invariant: kind.invariant(),
            sentence: kind.sentence(),
            count,
            examples,
        };
        self.0.into_iter().map(finding).collect()
    }
}

/// A span of microseconds as a reader wants it: in milliseconds up to ten seconds, then in seconds.
pub(super) fn in_words(micros: u64) -> String {
    if micros < 10_000_000 { format!("{} ms", micros.div_ceil(1_000)) } else { format!("{:.1} s", micros as f64 / 1e6) }
}

/// A call, with its jobs.
pub(super) fn of_call(joined: &Joined<'_>, call: &Call) -> Example {
    let caller = joined.processes[call.by].header;
    let id = joined.id(call);
    let jobs: Vec<&Job> = joined.jobs.iter().filter(|job| call.jobs > 0 && job.id == id).collect();
    let ran_on = jobs.first().map(|job| &joined.processes[job.on]);
    let target = ran_on.or_else(|| joined.process_at(call.to, call.cast_us)).map(|p| p.header);
    Example {
        call: Some(id),
        work: Some(call.work),
        caller: Some(caller.node.to_string()),
        caller_release: Some(caller.release.to_string()),
        target: target.map(|t| t.node.to_string()),
        target_release: target.map(|t| t.release.to_string()),
        servers: jobs.iter().map(|job| job.server.to_string()).collect(),
        cast_us: Some(call.cast_us),
        started_us: jobs.iter().map(|job| job.started_us).collect(),
        ended_us: jobs.iter().find_map(|job| job.end).map(|(_, at)| at),
        killed_us: call.kill.map(|kill| kill.at_us),
        answered_us: call.timed_out_us.or(call.answer.map(|a| a.at_us)),
        outcome: call.timed_out_us.map(|_| Outcome::TimedOut).or(call.answer.map(|a| a.outcome)),
        note: None,
    }
}

/// A job, with its call where that is known. The target is where it ran.
pub(super) fn of_job(joined: &Joined<'_>, job: &Job) -> Example {
    let header = joined.processes[job.on].header;
    let caller = job.by.map(|by| joined.processes[by].header);
    let call = job.call.map(|call| of_call(joined, &joined.calls[call])).unwrap_or_default();
    Example {
        call: Some(job.id),
        work: Some(job.work),
        caller: caller.map(|c| c.node.to_string()),
        caller_release: caller.map(|c| c.release.to_string()),
        target: Some(header.node.to_string()),
        target_release: Some(header.release.to_string()),
        servers: vec![job.server.to_string()],
        started_us: vec![job.started_us],
        ended_us: job.end.map(|(_, at)| at),
        ..call
    }
}
