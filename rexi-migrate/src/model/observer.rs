//! A bystander's notes: what became of every call and every monitor, which cases were met, which rules were broken.
//!
//! It sees both ends, and the nodes do not see it. Whoever wants something of a node does it in the observer's sight
//! (`work.rs`), and what a node wants done is told it (`node.rs`).

use bytes::Bytes;
use rexi_proto::{Answer, CallRef, DownReason, ExitReason, Incarnation, JobKey, MonitorRef, ServerAddress, accepted};

use super::case::{Case, Cases};
use super::network::{UNKNOWN_KIND, frames, kind};
use super::node::{Close, Written, name};
use super::rule::Rule;

/// All that was noted.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    /// Each in the place of its mailbox, which is what a node is given.
    pub calls: Vec<CallRecord>,
    /// Each in the place of its mailbox.
    pub monitors: Vec<Monitor>,
    /// The place of each node's release in [`Profile::train`](rexi_proto::Profile::train); of one that is down, as it
    /// was.
    pub releases: [u8; NODES_MAX],
    /// Whether a connection has broken yet.
    pub faulty: bool,
    /// The cases that were met since this was taken.
    pub met: Cases,
    /// What was broken since this was taken, the first thing first.
    pub breaches: Vec<Breach>,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub rule: Rule,
    /// What happened.
    pub what: String,
}

/// The record of one cast; its place is its mailbox and stands in its payloads. One that is over and of which nothing
/// is left anywhere may be [`CallRecord::OVER`], and then its place is used again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallRecord {
    /// Nothing is left of it.
    pub over: bool,
    /// Who has cast it.
    pub by: usize,
    /// In which life.
    pub life: Incarnation,
    /// That life is over.
    pub orphan: bool,
    /// To whom.
    pub to: usize,
    /// What both know it by.
    pub call: CallRef,
    /// It sends items.
    pub stream: bool,
    /// Its caller has killed it.
    pub killed: bool,
    /// Its mailbox has got its last answer.
    pub answered: bool,
    /// The server that has run it.
    pub ran_at: Option<ServerAddress>,
    /// It runs.
    pub runs: bool,
    /// The connection has been lost since it was made.
    pub lossy: bool,
    /// The release of its target when it was made, while it waits in the buffer.
    pub buffered_for: Option<u8>,
    /// Replies that its job has sent.
    pub sent: u16,
    /// Replies that its mailbox has got.
    pub got: u16,
    /// Its mailbox was asked for a stream.
    pub asked: bool,
    /// Its caller has started the stream.
    pub started: bool,
    /// Its caller has cancelled the stream.
    pub cancelled: bool,
    /// Items that its caller has yet to acknowledge.
    pub unacked: u16,
    /// Questions that its caller has yet to respond to.
    pub questions: Vec<u64>,
    /// The last question that its job has asked.
    pub question: Option<u64>,
}

/// The record of one monitor; its place is its mailbox and its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Monitor {
    /// Who has set it.
    pub by: usize,
    /// In which life.
    pub life: Incarnation,
    /// That life is over.
    pub orphan: bool,
    /// Whom it watches.
    pub to: usize,
    /// In which life; 0 where it was not connected, so that none is watched.
    pub of: Incarnation,
    /// That life is over.
    pub gone: bool,
    /// It was taken back.
    pub stopped: bool,
    /// How often it has fired.
    pub downs: u8,
}

impl CallRecord {
    /// What is in the place of a call of which nothing is left.
    pub const OVER: Self = Self {
        over: true,
        by: 0,
        life: Incarnation(0),
        orphan: false,
        to: 0,
        call: CallRef(0),
        stream: false,
        killed: false,
        answered: false,
        ran_at: None,
        runs: false,
        lossy: false,
        buffered_for: None,
        sent: 0,
        got: 0,
        asked: false,
        started: false,
        cancelled: false,
        unacked: 0,
        questions: Vec::new(),
        question: None,
    };

    /// Whether its caller still waits for an answer.
    pub fn is_open(&self) -> bool {
        !self.over && !self.killed && !self.answered && !self.orphan
    }
}

impl Observer {
    /// Notes that a case was met.
    pub const fn saw(&mut self, case: Case) {
        self.met.add(case);
    }

    /// Notes that a rule was broken.
    pub fn breaks(&mut self, rule: Rule, what: impl Into<String>) {
        self.breaches.push(Breach { rule, what: what.into() });
    }

    /// A node has started, as the release that stands there on the path.
    pub fn started(&mut self, node: usize, stop: usize) {
        self.releases[node] = u8::try_from(stop).expect("there are few releases");
    }

    /// A node's life is over, and its jobs with it.
    pub fn buried(&mut self, node: usize, life: Incarnation) {
        for call in self.calls.iter_mut().filter(|call| !call.over) {
            call.orphan |= (call.by, call.life) == (node, life);
            call.runs &= call.to != node;
        }
        for monitor in &mut self.monitors {
            monitor.orphan |= (monitor.by, monitor.life) == (node, life);
            monitor.gone |= (monitor.to, monitor.of) == (node, life);
        }
    }

    /// What was on its way between two nodes is lost.
    pub fn lost(&mut self, one: usize, other: usize) {
        for call in self.calls.iter_mut().filter(|call| !call.over) {
            call.lossy |= (call.by, call.to) == (one, other) || (call.by, call.to) == (other, one);
        }
    }

    /// Whether a caller of that node was asked for a stream, and its call is open.
    pub(super) fn has_stream_of(&self, node: usize) -> bool {
        self.calls.iter().any(|call| call.by == node && call.asked && call.is_open())
    }

    /// Whether a call of that node is open whose job has started.
    pub(super) fn has_job_of(&self, node: usize) -> bool {
        self.calls.iter().any(|call| call.by == node && call.ran_at.is_some() && call.is_open())
    }

    /// Takes down a call, and gives its place.
    pub(super) fn take_down(&mut self, call: CallRecord) -> usize {
        match self.calls.iter().position(|call| call.over) {
            Some(at) => {
                self.calls[at] = call;
                at
            }
            None => {
                self.calls.push(call);
                self.calls.len() - 1
            }
        }
    }

    /// The least number that no call of this life bears: those of two nodes, or of two lives, may be the same.
    pub(super) fn free_ref(&self, node: usize, life: Incarnation) -> CallRef {
        let own = |call: &&CallRecord| !call.over && (call.by, call.life) == (node, life);
        let taken: Vec<CallRef> = self.calls.iter().filter(own).map(|call| call.call).collect();
        (0..).map(CallRef).find(|call| !taken.contains(call)).expect("there are few calls")
    }

    /// A node starts a job for a member; gives the place of its call, if it has one.
    pub(super) fn spawned(&mut self, at: usize, member: usize, job: JobKey, body: &Bytes) -> Option<usize> {
        let mailbox = usize::from(numbers(body).0);
        let (release, by_release) = (self.releases[at], self.releases[member]);
        let Some(call) = self.calls.get_mut(mailbox).filter(|call| !call.over) else {
            self.breaks(Rule::JobOfNoCall, format!("{} runs a job that no call asked for", name(at)));
            return None;
        };
        let (twice, before) = (call.ran_at.replace(job.server).is_some(), call.buffered_for.take());
        call.runs = true;
        let right = (call.by, call.life, call.to) == (member, job.caller.incarnation, at);
        let (own, orphan) = (call.call == job.call, call.orphan);
        if twice {
            self.breaks(Rule::JobTwice, format!("call {mailbox} was started twice, now by {}", name(at)));
        }
        if !own {
            let what = format!("{} runs {:?} with what call {mailbox} has sent", name(at), job.call);
            self.breaks(Rule::JobOfAnotherPayload, what);
        }
        if !right {
            let what = format!("call {mailbox} runs at {} for {}", name(at), name(member));
            self.breaks(Rule::JobOfAnotherCaller, what);
        }
        if !orphan && release.abs_diff(by_release) > 1 {
            let what = format!("call {mailbox} of {} runs at {}", name(member), name(at));
            self.breaks(Rule::JobOverSkew, what);
        }
        if before.is_some_and(|before| before != release) {
            self.saw(Case::BufferedOverRelease);
        }
        Some(mailbox)
    }

    /// A node aborts the job of a call, which ran.
    pub(super) fn aborted(&mut self, call: usize) {
        self.calls[call].runs = false;
        if self.calls[call].orphan {
            self.saw(Case::Orphaned);
        }
    }

    /// A mailbox of a node in this life gets an answer.
    pub(super) fn answered(&mut self, (index, life): (usize, Incarnation), at: u16, call: CallRef, answer: &Answer) {
        let Some(of) = self.calls.get_mut(usize::from(at)) else {
            return self.breaks(Rule::AnswerToNoCall, format!("{answer:?} to a call that nobody made"));
        };
        let mut broken = Vec::new();
        if (of.by, of.life, of.call) != (index, life, call) {
            broken.push((Rule::AnswerToAnotherCall, "it is in another call's mailbox"));
        } else if of.killed || of.answered {
            broken.push((Rule::AnswerBehindTheLast, "the call was over"));
        }
        match answer {
            Answer::StreamInit if of.asked => broken.push((Rule::AskedTwice, "it was asked before")),
            Answer::StreamInit => of.asked = true,
            Answer::Reply { body, .. } | Answer::Item { body } | Answer::Question { body, .. } => {
                let number = numbers(body);
                if number.0 != at {
                    broken.push((Rule::ReplyOfAnotherJob, "it is another job's"));
                } else if number.1 != of.got {
                    broken.push((Rule::ReplyOutOfOrder, "it is out of order, or one before it was lost"));
                }
                of.got = of.got.saturating_add(1);
                match answer {
                    Answer::Item { .. } => of.unacked += 1,
                    Answer::Question { number, .. } => of.questions.push(*number),
                    _ => {}
                }
            }
            Answer::NoSuchServer(ServerAddress::Singleton) => {
                broken.push((Rule::SingletonMissing, "the singleton was gone"));
            }
            Answer::NoSuchServer(_) => broken.push((Rule::ServerMissing, "its server was not there")),
            // What has waited while its peer changed is said once more, by who has asked.
            Answer::NoSuchFunction if of.buffered_for.is_none() => {
                broken.push((Rule::FunctionMissing, "its function was not there"));
            }
            Answer::Exit { reason: ExitReason::DuplicateRef | ExitReason::Killed, .. } => {
                broken.push((Rule::MetAnothersCall, "it met another's job or kill"));
            }
            Answer::Exit { reason: ExitReason::ConnectionLost, .. } if !of.lossy => {
                broken.push((Rule::LostWithoutALoss, "no connection was lost"));
            }
            _ if of.ran_at.is_some() && says_that_it_did_not_run(answer) => {
                broken.push((Rule::ToldThatItDidNotRun, "its caller is told that it did not run"));
            }
            _ => {}
        }
        let says_all = matches!(answer, Answer::Reply { .. } | Answer::Exit { reason: ExitReason::Done, .. });
        if answer.is_last() && says_all && of.got != of.sent {
            broken.push((Rule::LastReplyTooEarly, "it is the last, and not all before it came"));
        }
        of.answered |= answer.is_last();
        let runs = if of.runs { ", and its job runs" } else { "" };
        if let Some(case) = case_of(answer) {
            self.saw(case);
        }
        for (rule, why) in broken {
            self.breaks(rule, format!("call {at} of {} got {answer:?}: {why}{runs}", name(index)));
        }
    }

    /// A mailbox of a node in this life learns that what it monitors is down.
    pub(super) fn down(
        &mut self,
        (index, life): (usize, Incarnation),
        at: u16,
        monitor: MonitorRef,
        reason: DownReason,
    ) {
        self.saw(Case::Down);
        if reason == DownReason::NoServer {
            self.breaks(Rule::MonitorMetNoServer, format!("monitor {at} of {} met no server", name(index)));
        }
        let Some(of) = self.monitors.get_mut(usize::from(at)) else { return };
        of.downs = of.downs.saturating_add(1);
        if (of.by, of.life) != (index, life) || monitor.0 != u64::from(at) || of.stopped || of.downs > 1 {
            let what = format!("monitor {at} of {} fired once too often", name(index));
            self.breaks(Rule::MonitorFiredAgain, what);
        }
    }

    /// A node closes its connection to a member: nothing that a sound one sends is a reason to blame it.
    pub fn closed(&mut self, index: usize, close: &Close) {
        use rexi_proto::CloseCode::{BadFrame, ProtocolBroken};
        if matches!(close.code, BadFrame | ProtocolBroken) {
            let what = format!("{} closed on {}: {}", name(index), name(close.member), close.reason);
            self.breaks(Rule::ClosedOnSoundPeer, what);
        }
    }

    /// A node writes to a member.
    pub fn wrote(&mut self, index: usize, member: usize, written: &Written) {
        for frame in frames(&written.lane) {
            let kind = kind(frame);
            if kind.is_none_or(|kind| accepted(kind, written.version).is_none()) {
                let (index, member, version) = (name(index), name(member), written.version);
                let what = format!("{index} sent {kind:?} to {member}, which {version} lacks");
                self.breaks(Rule::KindNotOfVersion, what);
            }
        }
    }

    /// A node's request needs the singleton that it does not have.
    pub(super) fn no_singleton(&mut self, index: usize, member: usize, request: &impl std::fmt::Debug) {
        let what = format!("{request:?} of {} needs the singleton of {}", name(member), name(index));
        self.breaks(Rule::RequestToNoSingleton, what);
    }

    /// A node learns that a member does not know what it sent.
    pub(super) fn unsupported(&mut self, index: usize, member: usize, kind: u8) {
        if kind == UNKNOWN_KIND {
            return self.saw(Case::UnknownAnswered);
        }
        let what = format!("{} sent kind {kind}, which {} does not know", name(index), name(member));
        self.breaks(Rule::KindUnknownToPeer, what);
    }
}

fn case_of(answer: &Answer) -> Option<Case> {
    Some(match answer {
        Answer::Dropped => Case::Dropped,
        Answer::DroppedInAll => Case::DroppedInAll,
        Answer::TooLarge => Case::TooLarge,
        Answer::Down(_) => Case::EndedInDown,
        Answer::Incompatible(_) => Case::EndedInRefusal,
        Answer::Exit { reason, .. } => match reason {
            ExitReason::ConnectionLost => Case::Lost,
            ExitReason::TooManyJobsInAll => Case::RefusedInAll,
            ExitReason::ReplyDropped => Case::ReplyDropped,
            ExitReason::Draining => Case::MetLeaving,
            _ => return None,
        },
        _ => return None,
    })
}

fn says_that_it_did_not_run(answer: &Answer) -> bool {
    use ExitReason::{Draining, TooManyBytes, TooManyBytesInAll, TooManyJobs, TooManyJobsInAll};
    match answer {
        Answer::Dropped | Answer::DroppedInAll | Answer::TooLarge | Answer::Incompatible(_) => true,
        Answer::Exit { reason, .. } => {
            matches!(reason, Draining | TooManyJobs | TooManyBytes | TooManyJobsInAll | TooManyBytesInAll)
        }
        _ => false,
    }
}

/// A payload that says whose it is, of so many bytes at least.
pub fn payload(mailbox: usize, number: u16, bytes: usize) -> Bytes {
    let mailbox = u16::try_from(mailbox).expect("there are few calls");
    let mut body = [mailbox.to_le_bytes(), number.to_le_bytes()].concat();
    body.resize(bytes.max(body.len()), 0);
    body.into()
}

/// What a payload says.
fn numbers(body: &[u8]) -> (u16, u16) {
    match *body {
        [low, high, first, second, ..] => (u16::from_le_bytes([low, high]), u16::from_le_bytes([first, second])),
        _ => (u16::MAX, u16::MAX),
    }
}

/// Most nodes of a cluster.
const NODES_MAX: usize = 8;
