//! What the two ends of a call have said to each other before its end: items of a stream, questions, responses.
//!
//! In: the records of all processes. Out: one row for each call that has said something. What breaks an invariant in it
//! is for `stream.rs` and `question.rs` to find.

use std::collections::BTreeMap;

use super::join::{Joined, find};
use crate::history::ledger::{CallNumber, Content, Entry};

/// The talk of one call.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Caller: the first start of the stream.
    pub(super) started: Option<Start>,
    /// Caller: when the stream was cancelled.
    pub(super) cancelled_us: Option<u64>,
    /// Caller: whether nothing more may come, since the stream has ended or was cancelled.
    over: bool,
    /// Caller: items, in the order in which they came.
    pub(super) received: Vec<Received>,
    /// Caller: questions that were heard and responded to, in that order.
    pub(super) responded: Vec<Said>,
    /// Worker: items, in the order in which they were sent.
    pub(super) sent: Vec<Sent>,
    /// Worker: questions.
    pub(super) asked: Vec<Said>,
    /// Worker: responses.
    pub(super) heard: Vec<Said>,
}

/// What a caller wanted of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) items: u16,
    pub(super) window: u8,
}

/// An item at its caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) index: u16,
    pub(super) content: Content,
    pub(super) kib: u16,
    pub(super) at_us: u64,
    /// Whether the stream was over by then.
    pub(super) after_end: bool,
}

/// An item at its worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) index: u16,
    pub(super) at_us: u64,
}

/// A question or a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) index: u8,
    pub(super) content: Content,
    pub(super) at_us: u64,
}

impl Talk {
    /// How many items had come by then.
    pub(super) fn received_by(&self, at_us: u64) -> u64 {
        self.received.partition_point(|item| item.at_us <= at_us) as u64
    }
}

/// All talks, by call, and how many records of each process are of calls that it never made.
pub(super) fn talks(joined: &Joined<'_>) -> (BTreeMap<usize, Talk>, Vec<usize>) {
    let mut talks: BTreeMap<usize, Talk> = BTreeMap::new();
    let mut strays = vec![0; joined.processes.len()];
    for (index, process) in joined.processes.iter().enumerate() {
        for record in process.records {
            let Some(number) = own_call(&record.entry) else { continue };
            let call = find(&joined.calls[process.calls.clone()], number).map(|at| process.calls.start + at);
            match (call, &record.entry) {
                (Some(call), Entry::Answered { .. }) => {
                    talks.entry(call).and_modify(|talk| talk.over = true);
                }
                (Some(call), entry) => talks.entry(call).or_default().take_own(entry, record.at_us),
                (None, Entry::Answered { .. }) => {}
                (None, _) => strays[index] += 1,
            }
        }
    }
    for process in &joined.processes {
        for record in process.records {
            let (Entry::ItemSent { id, .. } | Entry::Asked { id, .. } | Entry::ResponseHeard { id, .. }) = record.entry
            else {
                continue;
            };
            // What a job says whose call is unknown is a job without a call, and found as one.
            if let Some(call) = joined.call_of(id) {
                talks.entry(call).or_default().take_other(&record.entry, record.at_us);
            }
        }
    }
    (talks, strays)
}

/// The call that a record of its caller is of.
fn own_call(entry: &Entry) -> Option<CallNumber> {
    match *entry {
        Entry::StreamStarted { call, .. }
        | Entry::StreamCancelled { call }
        | Entry::ItemReceived { call, .. }
        | Entry::Responded { call, .. }
        | Entry::Answered { call, .. } => Some(call),
        _ => None,
    }
}

impl Talk {
    fn take_own(&mut self, entry: &Entry, at_us: u64) {
        match *entry {
            Entry::StreamStarted { items, window, .. } => _ = self.started.get_or_insert(Start { items, window }),
            Entry::StreamCancelled { .. } => {
                self.cancelled_us.get_or_insert(at_us);
                self.over = true;
            }
            Entry::ItemReceived { index, content, kib, .. } => {
                self.received.push(Received { index, content, kib, at_us, after_end: self.over });
            }
            Entry::Responded { index, content, .. } => self.responded.push(Said { index, content, at_us }),
            _ => {}
        }
    }

    fn take_other(&mut self, entry: &Entry, at_us: u64) {
        match *entry {
            Entry::ItemSent { index, .. } => self.sent.push(Sent { index, at_us }),
            Entry::Asked { index, .. } => self.asked.push(Said { index, content: Content::Right, at_us }),
            Entry::ResponseHeard { index, content, .. } => self.heard.push(Said { index, content, at_us }),
            _ => {}
        }
    }
}
