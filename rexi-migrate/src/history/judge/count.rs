//! Counts the run and finds what breaks an invariant.

use std::collections::BTreeMap;

use serde::Serialize;

use super::finding::{Example, Finding, FindingKind, Findings, in_words, of_call, of_job, wrong};
use super::join::{Call, Fate, Job, Joined, Process, node_name};
use super::stray_end::StrayEnds;
use super::{gather, monitor, question, stream};
use crate::history::evidence::ProcessEnd;
use crate::history::ledger::{Ending, GatherEnd, Outcome, Work};

/// The numbers of a run. The six fates of a call add up to `casts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Processes whose ledger was read.
    pub processes: u64,
    /// Records read.
    pub records: u64,
    /// Casts made.
    pub casts: u64,
    /// Fate: a reply or an exit came.
    pub answered: u64,
    /// Fate: the caller was told, by a typed answer, that the call was not served.
    pub told: u64,
    /// Fate: killed by the caller before an answer came.
    pub killed: u64,
    /// Fate: the caller was told nothing.
    pub lost: u64,
    /// Fate: the caller's process died before anything came.
    pub caller_died: u64,
    /// Fate: the load gave up, though its ends had stood still for so long that the call had not had its time.
    pub stood_still: u64,
    /// Of the lost and of those that stood still: the load generator gave up.
    pub timed_out: u64,
    /// Jobs started.
    pub jobs: u64,
    /// Calls with more than one job.
    pub executed_twice: u64,
    /// Jobs never seen to end on a process that lived on.
    pub orphans: u64,
    /// Answers that are not what the call asked for, and jobs that are not what the call says.
    pub wrong: u64,
    /// Answers that only a job can give, without the job.
    pub reply_without_job: u64,
    /// Jobs that nobody called for.
    pub job_without_call: u64,
    /// Calls answered more than once.
    pub answered_twice: u64,
    /// Refusals: no such server, no such function.
    pub refused: u64,
    /// Calls answered after their kill: the two crossed. No fault.
    pub answers_after_kill: u64,
    /// Processes that ended without being asked to.
    pub crashed: u64,
    /// The longest time that a `Hold` or `Stream` job ran on after its kill or its caller's death, in microseconds;
    /// while one of its ends stood still is not counted.
    pub orphan_max_us: u64,
    /// Monitors that neither fired nor were taken away for 25 s after a process of the node they watch had ended, on a
    /// process that lived on.
    pub monitors_silent: u64,
    /// Streams that their callers started.
    pub streams: u64,
    /// Items of them that their callers received.
    pub items: u64,
    /// Streams with a gap, an item that came twice, out of order, wrong, unsent or behind their end, or with a job that
    /// went on without an acknowledgement; and streams that ended as if they were whole.
    pub streams_broken: u64,
    /// Questions whose responses their jobs heard.
    pub questions: u64,
    /// Calls with a question or a response that went astray.
    pub questions_astray: u64,
    /// Gathers begun.
    pub gathers: u64,
    /// Of those: as many answered as were needed.
    pub quorums: u64,
    /// Gathers that did not end by their limit, and quorums that the ledgers contradict.
    pub gathers_broken: u64,
}

pub(super) fn count(joined: &Joined<'_>) -> (Counts, Vec<Finding>) {
    let silent = monitor::silent(joined);
    let mut counts = Counts {
        processes: joined.processes.len() as u64,
        records: joined.processes.iter().map(|p| p.records.len() as u64).sum(),
        casts: joined.calls.len() as u64,
        jobs: joined.jobs.len() as u64,
        monitors_silent: silent.len() as u64,
        streams: joined.calls.iter().filter(|call| call.started).count() as u64,
        items: joined.talks.values().map(|talk| talk.received.len() as u64).sum(),
        questions: joined.talks.values().map(|talk| talk.heard.len() as u64).sum(),
        gathers: joined.gathers.len() as u64,
        quorums: gather::ends(joined).get(&GatherEnd::Reached).copied().unwrap_or(0),
        ..Counts::default()
    };
    let mut found = Findings::default();
    for call in &joined.calls {
        count_call(joined, call, &mut counts, &mut found);
    }
    let ends = StrayEnds::new(joined);
    for job in &joined.jobs {
        count_job(joined, job, &mut counts, &mut found);
        ends.find(job, &mut found);
    }
    count_strays(joined, &mut found);
    monitor::find_unserved(joined, &mut found);
    monitor::find_silent(joined, silent, &mut found);
    stream::find(joined, &mut found);
    question::find(joined, &mut found);
    gather::find(joined, &mut found);
    find_crashed(joined, &mut found);
    use FindingKind as K;
    let sum = |kinds: &[K]| kinds.iter().map(|&kind| found.count(kind)).sum::<u64>();
    counts.executed_twice = sum(&[K::ExecutedTwice]);
    counts.orphans = sum(&[K::OrphanAfterKill, K::Orphan]);
    counts.wrong = sum(&[K::WrongReply, K::UnfitAnswer, K::UnaskedExit, K::AnswerUnlikeJob, K::JobUnlikeCall]);
    counts.reply_without_job = sum(&[K::ReplyWithoutJob]);
    counts.job_without_call = sum(&[K::JobWithoutCall]);
    counts.answered_twice = sum(&[K::AnsweredTwice]);
    counts.refused = sum(&[K::NoSuchServer, K::NoSuchFunction]);
    counts.crashed = sum(&[K::Crashed]);
    counts.streams_broken = sum(&[K::ItemGap, K::ItemTwice, K::ItemReordered, K::WrongItem, K::ItemUnsent])
        + sum(&[K::ItemAfterEnd, K::StreamShort, K::AckAstray]);
    counts.questions_astray = sum(&[K::QuestionAstray, K::ResponseAstray]);
    counts.gathers_broken = sum(&[K::GatherLate, K::QuorumContradicted]);
    (counts, found.into_list())
}

fn find_crashed(joined: &Joined<'_>, found: &mut Findings) {
    for process in &joined.processes {
        if let ProcessEnd::Crashed { at_us } = process.end {
            found.add(FindingKind::Crashed, || Example {
                target: Some(process.header.node.to_string()),
                target_release: Some(process.header.release.to_string()),
                ended_us: Some(at_us),
                note: Some(format!("pid {}", process.header.pid)),
                ..Example::default()
            });
        }
    }
}

/// How often each outcome was the first answer.
pub(super) fn outcomes(joined: &Joined<'_>) -> BTreeMap<Outcome, u64> {
    let mut outcomes = BTreeMap::new();
    for call in &joined.calls {
        let timed_out = call.timed_out_us.map(|_| Outcome::TimedOut);
        for outcome in timed_out.into_iter().chain(call.answer.map(|a| a.outcome)) {
            *outcomes.entry(outcome).or_default() += 1;
        }
    }
    outcomes
}

/// Whether the job was never seen to end though its process had the time to end it, or ran on alone for longer than it
/// may: that it went with its process in the end is not the protocol's doing.
pub(super) fn is_orphan(joined: &Joined<'_>, job: &Job) -> bool {
    let ran_on = joined.outlives_max_us.is_some_and(|max| ran_on(joined, job).awake_us > max);
    ran_on || job.end.is_none() && !joined.processes[job.on].died()
}

/// How long a job ran on alone.
#[derive(Clone, Copy, Default)]
pub(super) struct RanOn {
    /// From its kill or its caller's death on.
    pub(super) from_us: u64,
    /// By the clock.
    pub(super) us: u64,
    /// While neither end stood still.
    pub(super) awake_us: u64,
}

/// How long a job that waits for its caller ran on after its kill, or after its caller's death; where it never ended,
/// up to the last that its process wrote.
pub(super) fn ran_on(joined: &Joined<'_>, job: &Job) -> RanOn {
    if !job.work.ends_by_kill() {
        return RanOn::default();
    }
    // A process that dies takes its jobs along; how long they had run on by then still counts.
    let runner = &joined.processes[job.on];
    let killed_us = job.call.and_then(|call| joined.calls[call].kill).map(|kill| kill.at_us);
    let caller_gone_us = job.by.map(|by| joined.processes[by].gone_us);
    let written_us = runner.records.last().map_or(job.started_us, |last| last.at_us);
    let until = job.end.map_or(if runner.died() { runner.gone_us } else { written_us }, |(_, at)| at);
    let alone_since = killed_us.unwrap_or(u64::MAX).min(caller_gone_us.unwrap_or(u64::MAX)).max(job.started_us);
    let ends = job.by.map(|by| &joined.processes[by]).into_iter().chain([runner]);
    RanOn {
        from_us: alone_since,
        us: until.saturating_sub(alone_since),
        awake_us: Joined::awake_us(ends, alone_since, until),
    }
}

fn count_call(joined: &Joined<'_>, call: &Call, counts: &mut Counts, found: &mut Findings) {
    match joined.fate(call) {
        Fate::Answered => counts.answered += 1,
        Fate::Told => counts.told += 1,
        Fate::Killed => counts.killed += 1,
        Fate::CallerDied => counts.caller_died += 1,
        Fate::StoodStill => counts.stood_still += 1,
        Fate::Lost => {
            counts.lost += 1;
            let kind = if call.work == Work::Stream { FindingKind::StreamSilent } else { FindingKind::Lost };
            found.add(kind, || of_call(joined, call));
        }
    }
    counts.timed_out += u64::from(call.timed_out_us.is_some());
    counts.answers_after_kill += u64::from(call.answer.is_some_and(|a| a.after_kill));
    if call.jobs > 1 {
        found.add(FindingKind::ExecutedTwice, || of_call(joined, call));
    }
    if call.answers > 1 {
        found.add(FindingKind::AnsweredTwice, || of_call(joined, call));
    }
    let Some(outcome) = call.answer.map(|a| a.outcome) else { return };
    if let Some(kind) = wrong(call.work, outcome) {
        found.add(kind, || of_call(joined, call));
    }
    if outcome.needs_job() && call.jobs == 0 && !joined.unread.contains(&call.to) {
        found.add(FindingKind::ReplyWithoutJob, || of_call(joined, call));
    }
    let ending = call.job.filter(|_| call.jobs == 1).and_then(|job| joined.jobs[job].end);
    if ending.is_some_and(|(how, _)| !fits(outcome, how)) {
        found.add(FindingKind::AnswerUnlikeJob, || of_call(joined, call));
    }
}

/// Whether a job that ended so can have given this answer.
fn fits(outcome: Outcome, how: Ending) -> bool {
    match outcome {
        Outcome::Reply => how != Ending::Failed,
        Outcome::FailedAsAsked | Outcome::Cancelled => how != Ending::Done,
        Outcome::StreamDone => how == Ending::Done,
        _ => true,
    }
}

fn count_job(joined: &Joined<'_>, job: &Job, counts: &mut Counts, found: &mut Findings) {
    let call = job.call.map(|call| &joined.calls[call]);
    let gather = job.gather.map(|gather| &joined.gathers[gather]);
    let by = job.by.map(|by| &joined.processes[by]);
    let on = joined.processes[job.on].header.index;
    if is_orphan(joined, job) {
        let killed = call.is_some_and(|call| call.kill.is_some());
        let kind = if killed { FindingKind::OrphanAfterKill } else { FindingKind::Orphan };
        found.add(kind, || Example {
            note: Some(format!("ran on for at least {}", in_words(ran_on(joined, job).awake_us))),
            ..of_job(joined, job)
        });
    }
    match call {
        Some(call) if call.to != on || call.work != job.work => {
            found.add(FindingKind::JobUnlikeCall, || Example {
                note: Some(format!("{} was asked for the work {}", node_name(call.to), call.work)),
                ..of_job(joined, job)
            });
        }
        Some(_) => {}
        None if gather.is_some_and(|gather| gather.members.has(on) && job.work == Work::Vote) => {}
        None if gather.is_some() => {
            let note = Some(format!("a gather asked for the work {} of others", Work::Vote));
            found.add(FindingKind::JobUnlikeCall, || Example { note, ..of_job(joined, job) });
        }
        // A cast is in its caller's ledger before it is sent, so that no death excuses its absence. A torn tail may be
        // what is left of it; a ledger that is missing cannot be asked.
        None if by.is_some_and(|by| may_have_torn(joined, by, job)) || joined.unread.contains(&job.id.caller) => {}
        None => found.add(FindingKind::JobWithoutCall, || of_job(joined, job)),
    }
    counts.orphan_max_us = counts.orphan_max_us.max(ran_on(joined, job).awake_us);
}

/// Whether the torn tail of the caller's ledger may have been the cast of the job.
fn may_have_torn(joined: &Joined<'_>, by: &Process<'_>, job: &Job) -> bool {
    by.torn && joined.calls[by.calls.clone()].last().is_none_or(|last| last.number < job.id.call)
}

/// Jobs that ran twice for a call whose own record is gone.
fn count_strays(joined: &Joined<'_>, found: &mut Findings) {
    // The jobs of a gather bear the same number, one on each node.
    let name = |job: &Job| (job.id, (job.work == Work::Vote).then(|| joined.processes[job.on].header.index));
    let mut strays: Vec<&Job> = joined.jobs.iter().filter(|job| job.call.is_none() && job.gather.is_none()).collect();
    strays.sort_by_key(|job| name(job));
    for same in strays.chunk_by(|a, b| name(a) == name(b)).filter(|same| same.len() > 1) {
        found.add(FindingKind::ExecutedTwice, || Example {
            servers: same.iter().map(|job| job.server.to_string()).collect(),
            started_us: same.iter().map(|job| job.started_us).collect(),
            ..of_job(joined, same[0])
        });
    }
}
