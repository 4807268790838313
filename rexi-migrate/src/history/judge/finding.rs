//! Findings: which invariant was broken, how often, and up to five cases that an engineer can follow.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Serialize;

use super::join::{Call, Job, Joined};
use crate::history::ledger::{CallId, Outcome, Work};
use crate::verdict::invariant::Invariant;
use crate::verdict::level::Breach;

/// How many cases a finding shows.
pub const EXAMPLES_MAX: usize = 5;

/// Declares each finding once: its name in reports, the invariant that it breaks, and its sentence without a count.
macro_rules! findings {
    ($($(#[$doc:meta])* $variant:ident = $name:literal breaks $invariant:ident, $sentence:literal;)+) => {
        /// What was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum FindingKind { $($(#[$doc])* $variant,)+ }

        impl FindingKind {
            /// Every kind, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The invariant that it breaks.
            pub const fn invariant(self) -> Invariant {
                match self { $(Self::$variant => Invariant::$invariant,)+ }
            }

            /// What was found, as a sentence without its count.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }
    };
}

findings! {
    /// A caller was told nothing.
    Lost = "lost" breaks S1, "casts ended in silence: no reply, no exit, no down, no refusal";
    /// A call has more than one job.
    ExecutedTwice = "executed_twice" breaks S2, "calls were run more than once";
    /// A killed job was never seen to end, or ended later than it may.
    OrphanAfterKill = "orphan_after_kill" breaks S3,
        "killed jobs ran on: they ended late or never, on a process that lived on";
    /// A job that nobody killed was never seen to end, or outlived its caller for longer than it may.
    Orphan = "orphan" breaks L2,
        "jobs of callers that are gone ran on: they ended late or never, on a process that lived on";
    /// A job that waits for its kill was ended before it, or without one, though both its ends lived on.
    EndedUnkilled = "ended_unkilled" breaks S4, "jobs ended that no caller had killed: a kill hit the wrong job";
    /// A reply has another value than its request determines.
    WrongReply = "wrong_reply" breaks S8, "replies have another value than the request determines";
    /// An answer does not fit what the call asked for.
    UnfitAnswer = "unfit_answer" breaks S8, "answers do not fit what was asked for";
    /// An exit came that the call did not ask for.
    UnaskedExit = "unasked_exit" breaks S1, "calls ended in an exit that they did not ask for";
    /// The answer says another thing than the end of the job.
    AnswerUnlikeJob = "answer_unlike_job" breaks S8, "answers do not agree with the end of their job";
    /// A job ran on another node, or does other work, than its call says.
    JobUnlikeCall = "job_unlike_call" breaks S8, "jobs ran on another node, or did other work, than their call says";
    /// An answer came that only a job can give, and no ledger has the job.
    ReplyWithoutJob = "reply_without_job" breaks S8, "answers came that only a job can give, and no such job ran";
    /// A job ran that nobody called for.
    JobWithoutCall = "job_without_call" breaks S8, "jobs ran that no call asked for";
    /// A call was answered more than once.
    AnsweredTwice = "answered_twice" breaks S1, "calls were answered more than once";
    /// A node that took a connection had no server for the peer.
    NoSuchServer = "no_such_server" breaks S6, "casts were refused by a legal neighbour: no such server";
    /// A monitor was told that a node which lived has no server.
    MonitorUnserved = "monitor_unserved" breaks S6, "monitors were told of no server by a node that lived";
    /// A monitor did not fire within the bound, though the process that it watches had ended, in virtual time.
    MonitorSilent = "monitor_silent" breaks L1, "monitors stayed silent, though the process they watch had ended";
    /// A node that took a connection had no such function.
    NoSuchFunction = "no_such_function" breaks S9, "casts were refused by a legal neighbour: no such function";
    /// A process ended without being asked to.
    Crashed = "crashed" breaks S1, "processes ended without being asked to";
    /// An item of a stream never came, though a later one did.
    ItemGap = "item_gap" breaks S5, "streams have a gap: an item never came, and a later one did";
    /// An item of a stream came more than once.
    ItemTwice = "item_twice" breaks S5, "streams had an item more than once";
    /// An item of a stream came behind a later one.
    ItemReordered = "item_reordered" breaks S5, "streams had an item after a later one";
    /// An item is not what the request determines.
    WrongItem = "wrong_item" breaks S5, "streams had an item that is not what their request determines";
    /// An item came that no job had sent.
    ItemUnsent = "item_unsent" breaks S5, "streams had an item that their job had not sent";
    /// An item came behind the end of its stream, or after the stream was cancelled.
    ItemAfterEnd = "item_after_end" breaks S5, "streams went on after their end";
    /// A stream ended as if it were whole, with items missing.
    StreamShort = "stream_short" breaks S5, "streams ended as if they were whole, with items missing";
    /// A job went on without its caller's acknowledgement: it got that of another stream.
    AckAstray = "ack_astray" breaks S5, "streams went on unacknowledged: an acknowledgement reached another job";
    /// A caller heard a question that its job had not asked.
    QuestionAstray = "question_astray" breaks S5, "calls heard a question that their job had not asked";
    /// A job heard a response that its caller had not given to it.
    ResponseAstray = "response_astray" breaks S5, "jobs heard a response that their caller had not given them";
    /// The caller of a stream was told nothing of its end.
    StreamSilent = "stream_silent" breaks L1, "streams ended in silence: their caller was told nothing";
    /// A gather did not end by its limit.
    GatherLate = "gather_late" breaks L1, "gathers did not end by their limit";
    /// A gather counted votes that no job gave, or fewer than it needed.
    QuorumContradicted = "quorum_contradicted" breaks L1, "gathers counted votes that the ledgers contradict";
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

impl From<&Finding> for Breach {
    fn from(finding: &Finding) -> Self {
        Self { count: finding.count, ..Self::once(finding.invariant, finding.sentence.to_owned()) }
    }
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

impl Example {
    /// A case in one line; its times are seconds since the run began, in order.
    pub(crate) fn line(&self, begun_us: u64) -> String {
        let mut parts = Vec::new();
        if let Some(id) = &self.call {
            let work = self.work.map_or_else(String::new, |work| format!(" ({work})"));
            parts.push(format!("call {}{work}", id.call.0));
        }
        let end = |name: &Option<String>, release: &Option<String>| {
            let words: Vec<&str> = [name, release].into_iter().flatten().map(String::as_str).collect();
            (!words.is_empty()).then(|| words.join(" "))
        };
        parts.extend(end(&self.caller, &self.caller_release).map(|caller| format!("of {caller}")));
        parts.extend(end(&self.target, &self.target_release).map(|target| format!("on {target}")));
        let mut line = parts.join(" ");
        let mut times: Vec<(u64, String)> = Vec::new();
        let mut time = |at: Option<u64>, what: String| times.extend(at.map(|at| (at, what)));
        time(self.cast_us, "cast".to_owned());
        for (index, at) in self.started_us.iter().enumerate() {
            let server = self.servers.get(index).map_or_else(String::new, |server| format!(" on {server}"));
            time(Some(*at), format!("started{server}"));
        }
        time(self.killed_us, "killed".to_owned());
        time(self.ended_us, "ended".to_owned());
        time(self.answered_us, self.outcome.map_or_else(|| "answered".to_owned(), |outcome| outcome.to_string()));
        times.sort_by_key(|(at, _)| *at);
        for (at, what) in times {
            let seconds = (at as f64 - begun_us as f64) / 1e6;
            let _ = write!(line, ", {what} at {seconds:.6}");
        }
        if let Some(note) = &self.note {
            let _ = write!(line, ", {note}");
        }
        line
    }
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

/// What is wrong with an answer to a call for such work.
pub(super) fn wrong(work: Work, outcome: Outcome) -> Option<FindingKind> {
    match (outcome, work) {
        (Outcome::NoSuchServer, _) => Some(FindingKind::NoSuchServer),
        (Outcome::NoSuchFunction, _) => Some(FindingKind::NoSuchFunction),
        (Outcome::WrongReply, _) => Some(FindingKind::WrongReply),
        (Outcome::OtherExit, _) => Some(FindingKind::UnaskedExit),
        (Outcome::Reply, Work::Fail | Work::Hold | Work::Stream) => Some(FindingKind::UnfitAnswer),
        (Outcome::FailedAsAsked, work) if work != Work::Fail => Some(FindingKind::UnfitAnswer),
        (Outcome::StreamDone | Outcome::Cancelled, work) if work != Work::Stream => Some(FindingKind::UnfitAnswer),
        _ => None,
    }
}

/// A call, with its jobs.
pub(super) fn of_call(joined: &Joined<'_>, call: &Call) -> Example {
    let caller = joined.processes[call.by].header;
    let id = joined.id(call);
    let jobs: Vec<&Job> = joined.jobs.iter().filter(|job| call.jobs > 0 && job.id == id).collect();
    let ran_on = jobs.first().map(|job| &joined.processes[job.on]);
    let target = ran_on.or_else(|| joined.process_at(call.to, call.cast_us)).map(|p| p.header);
    let is_missing = call.answer.is_some_and(|answer| answer.outcome == Outcome::NoSuchFunction);
    let missing = joined.function_of(call).filter(|_| is_missing);
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
        note: missing.map(|function| format!("it is of {function}")),
    }
}

/// A call as a case of a finding, with what is wrong in its talk.
pub(super) fn of_talk(joined: &Joined<'_>, call: usize, note: String) -> Example {
    Example { note: Some(note), ..of_call(joined, &joined.calls[call]) }
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
