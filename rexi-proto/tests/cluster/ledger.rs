//! What every call and monitor of the cluster has come to, and which invariant of docs/safety.md that breaks, if any.

use std::collections::{BTreeMap, BTreeSet};

use super::notes::{Note, Place};
use bytes::Bytes;
use rexi_proto::{Answer, CallRef, Caller, ExitReason, Incarnation, MonitorRef, ServerAddress};

/// One node in one of its lives.
pub(crate) type Life = (usize, Incarnation);

/// The record of one cast; its index is the mailbox that the core is given, and stands in its payloads.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) by: Life,
    pub(crate) release: usize,
    pub(crate) to: usize,
    /// The release that the target ran when the cast was made.
    pub(crate) to_release: usize,
    pub(crate) call: CallRef,
    pub(crate) killed: bool,
    pub(crate) spawned: u32,
    pub(crate) ran_at: Option<ServerAddress>,
    /// Replies that the job has sent.
    pub(crate) sent: u32,
    /// Replies that the mailbox has got.
    pub(crate) got: u32,
    pub(crate) last: Option<Answer>,
    /// The mailbox was asked for a stream.
    pub(crate) asked: bool,
    /// Whether it has started or cancelled it.
    pub(crate) started: Option<bool>,
    /// Items that it has got and not acknowledged.
    pub(crate) unacked: u64,
    /// Questions that it has got and not responded to.
    pub(crate) questions: Vec<u64>,
    /// The last question that the job has asked.
    pub(crate) question: Option<u64>,
}

/// The record of one monitor; its index is its mailbox.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) by: Life,
    pub(crate) watched: Life,
    pub(crate) monitor: MonitorRef,
    pub(crate) stopped: bool,
    pub(crate) downs: u32,
}

/// All that happened, as an observer of the whole cluster sees it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) calls: Vec<Call>,
    pub(crate) monitors: Vec<Monitor>,
    pub(crate) violation: Option<String>,
    pub(crate) seen: BTreeMap<&'static str, u64>,
    /// What happened, where it is asked for.
    pub(crate) notes: Option<Vec<Note>>,
    /// Whether a connection has broken yet.
    pub(crate) faulty: bool,
    dead: BTreeSet<Life>,
    /// The invariants that count; all, if none is named.
    judged: Vec<String>,
}

impl Ledger {
    /// A ledger that is broken by these invariants alone; by any, if none is named.
    pub(crate) fn judging(invariants: &[&str]) -> Self {
        Self { judged: invariants.iter().map(|&id| id.to_owned()).collect(), ..Self::default() }
    }

    pub(crate) fn violate(&mut self, id: &str, what: &str) {
        let counts = self.judged.is_empty() || self.judged.iter().any(|judged| judged == id);
        if counts && self.violation.is_none() {
            self.note(Place::Everywhere, || format!("{id}: {what}"));
            self.violation = Some(format!("{id}: {what}"));
        }
    }

    /// Notes that a case which matters was met.
    pub(crate) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Takes down what happened, if anybody wants to know.
    pub(crate) fn note(&mut self, place: Place, what: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes
            && self.violation.is_none()
        {
            notes.push(Note { place, what: what() });
        }
    }

    /// Whether that caller of a call is dead.
    pub(crate) fn is_dead(&self, life: Life) -> bool {
        self.dead.contains(&life)
    }

    pub(crate) fn bury(&mut self, life: Life) {
        self.dead.insert(life);
    }

    /// Whether a job of this call has nobody to work for.
    pub(crate) fn is_over(&self, mailbox: u32) -> bool {
        let call = &self.calls[mailbox as usize];
        call.killed || call.last.is_some() || self.dead.contains(&call.by)
    }

    /// A server spawned a job. Gives the mailbox of its caller.
    pub(crate) fn spawn(
        &mut self,
        at: usize,
        release: usize,
        server: ServerAddress,
        caller: Caller,
        body: &Bytes,
    ) -> u32 {
        let (mailbox, _) = numbers(body);
        self.note(Place::On(at), || format!("the {server} starts the job of call {mailbox}"));
        let Some(call) = self.calls.get_mut(mailbox as usize) else {
            self.violate("S8", "a job for a cast that nobody made");
            return 0;
        };
        call.spawned += 1;
        call.ran_at = Some(server);
        if call.to_release != release {
            *self.seen.entry("a cast ran in another release than it was made for").or_default() += 1;
        }
        let (spawned, to, by, skew) = (call.spawned, call.to, call.by, call.release.abs_diff(release));
        if spawned > 1 {
            self.violate("S2", &format!("call {mailbox} was spawned twice"));
        }
        if to != at || by != (caller.peer.0 as usize, caller.incarnation) {
            self.violate("S7", &format!("call {mailbox} of {by:?} to {to} runs at {at} for {caller:?}"));
        }
        if skew > 1 {
            self.violate("S11", &format!("call {mailbox} runs {skew} releases away"));
        }
        mailbox
    }

    /// A mailbox got an answer.
    pub(crate) fn answer(&mut self, by: Life, mailbox: u32, call_ref: CallRef, answer: &Answer) {
        self.note(Place::On(by.0), || format!("call {mailbox} hears {answer:?}"));
        let call = &mut self.calls[mailbox as usize];
        let mut broken = None;
        if call.by != by || call.call != call_ref {
            broken = Some(("S7", "an answer in another call's mailbox"));
        } else if call.killed {
            broken = Some(("L1", "an answer after the kill"));
        } else if call.last.is_some() {
            broken = Some(("L1", "an answer after the last"));
        }
        let asked_before = *answer == Answer::StreamInit && std::mem::replace(&mut call.asked, true);
        match answer {
            Answer::StreamInit if asked_before => broken = Some(("S5", "a stream was asked for twice")),
            Answer::Reply { body, .. } | Answer::Item { body } | Answer::Question { body, .. } => {
                let (of, number) = numbers(body);
                if of != mailbox {
                    broken = Some(("S7", "a reply of another call's job"));
                } else if number != call.got {
                    broken = Some(("S5", "a reply out of order, or after one that was lost in silence"));
                }
                call.got += 1;
                match answer {
                    Answer::Item { .. } => call.unacked += 1,
                    Answer::Question { number, .. } => call.questions.push(*number),
                    _ => {}
                }
                if answer.is_last() && call.got != call.sent {
                    broken = Some(("S5", "the last reply is there, but not all before it"));
                }
            }
            Answer::Exit { reason: ExitReason::Done, .. } if call.got != call.sent => {
                broken = Some(("S5", "the job is done, but not all its replies came"));
            }
            Answer::NoSuchServer(_) => broken = Some(("S6", "a cast met no server")),
            Answer::Exit { reason: ExitReason::DuplicateRef | ExitReason::Killed, .. } => {
                broken = Some(("S4", "a cast met another's job or kill"));
            }
            Answer::Exit { reason: ExitReason::ConnectionLost, .. } if !self.faulty => {
                broken = Some(("L1", "lost, and no connection was"));
            }
            Answer::Dropped
            | Answer::DroppedInAll
            | Answer::TooLarge
            | Answer::Incompatible(_)
            | Answer::Exit {
                reason:
                    ExitReason::Draining
                    | ExitReason::TooManyJobs
                    | ExitReason::TooManyBytes
                    | ExitReason::TooManyJobsInAll
                    | ExitReason::TooManyBytesInAll,
                ..
            } if call.spawned > 0 && broken.is_none() => {
                broken = Some(("S2", "it ran, and its caller was told that it did not"));
            }
            _ => {}
        }
        if answer.is_last() {
            call.last = Some(answer.clone());
        }
        if let Some((id, what)) = broken {
            self.violate(id, &format!("call {mailbox}: {what}: {answer:?}"));
        }
    }

    /// A mailbox heard that what it monitors is down.
    pub(crate) fn down(&mut self, by: Life, mailbox: u32, monitor: MonitorRef) {
        let record = &mut self.monitors[mailbox as usize];
        record.downs += 1;
        let wrong = record.by != by || record.monitor != monitor || record.stopped || record.downs > 1;
        if wrong {
            let text = format!("a down that is a second, or not wanted: {record:?}");
            self.violate("R31", &text);
        }
    }

    /// Judges the end: everything is healed, quiet and answered.
    pub(crate) fn judge_end(&mut self) {
        let silent = self.calls.iter().position(|c| !c.killed && c.last.is_none() && !self.dead.contains(&c.by));
        if let Some(mailbox) = silent {
            let text = format!("call {mailbox} ended in silence: {:?}", self.calls[mailbox]);
            self.violate("S1", &text);
        }
        let blind =
            |m: &&Monitor| !m.stopped && m.downs == 0 && !self.dead.contains(&m.by) && self.dead.contains(&m.watched);
        if let Some(monitor) = self.monitors.iter().find(blind) {
            let text = format!("a monitor did not hear that its node is down: {monitor:?}");
            self.violate("R31", &text);
        }
    }
}

/// A payload that says whose it is.
pub(crate) fn payload(mailbox: u32, number: u32, bytes: usize) -> Bytes {
    let mut body = [mailbox.to_le_bytes(), number.to_le_bytes()].concat();
    body.resize(bytes.max(body.len()), 7);
    body.into()
}

fn numbers(body: &Bytes) -> (u32, u32) {
    let word = |at: usize| body.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(u32::MAX, u32::from_le_bytes);
    (word(0), word(4))
}
