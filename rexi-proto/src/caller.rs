//! The caller's side: which calls and monitors are open with one peer, and what comes of them.
//!
//! In: casts, what the peer answers, what becomes of the connection. Out: answers with the mailbox they are for. A call
//! stays open until its last answer or its kill, and remembers the server it was cast to. Routing and sending is the
//! peer's (`peer/`). `M` is what the shell wants back with an answer: a mailbox there, a number in the checker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::guards::Guards;
use crate::hello::Refusal;
use crate::in_order::InOrder;
use crate::items::ItemList;
use crate::message::{BulkId, DownReason, ExitReason, Message, ReplyForm, Sent};
use crate::name::{CallRef, MonitorRef};
use crate::phase::{Phase, ServerAddress};

/// What a caller is told of its call. Every call gets at least one that [is last](Answer::is_last), unless it
/// is killed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Answer {
    /// A reply.
    Reply {
        /// The encoded value.
        body: Bytes,
        /// Whether the job ended with it.
        last: bool,
    },
    /// The job wants to send a stream of items, and waits to be told to start or that it is not wanted.
    StreamInit,
    /// An item of the job's stream, which wants to be acknowledged.
    Item {
        /// The encoded value.
        body: Bytes,
    },
    /// Items that came in one frame. A mailbox hands them out one by one.
    Items(ItemList),
    /// A question of the job, which waits for the response.
    Question {
        /// What the response names.
        number: u64,
        /// The encoded value.
        body: Bytes,
    },
    /// The job is still at work.
    Ping,
    /// The job ended without a further reply, or never started.
    Exit {
        /// The function's name; empty where the server no longer knew it.
        function: Arc<str>,
        /// Why.
        reason: ExitReason,
    },
    /// The server that the cast was for is not there. It did not run.
    NoSuchServer(ServerAddress),
    /// The function is not registered there. It did not run.
    NoSuchFunction,
    /// The cast was dropped from our own full buffer for that peer. It did not run.
    Dropped,
    /// The cast was dropped since our own buffers for all peers are full. It did not run; a cast to a peer that has
    /// less in its buffer may fit.
    DroppedInAll,
    /// The argument is larger than the peer takes. It did not run.
    TooLarge,
    /// The peer is down. If the cast had been sent, it may have run.
    Down(DownReason),
    /// The handshake's verdict is that these two may not speak. It did not run.
    Incompatible(Box<Refusal>),
}

impl Answer {
    /// Whether the call is over with this answer.
    pub fn is_last(&self) -> bool {
        !matches!(
            self,
            Self::Reply { last: false, .. }
                | Self::StreamInit
                | Self::Item { .. }
                | Self::Items(_)
                | Self::Question { .. }
                | Self::Ping
        )
    }

    /// The items of a frame as an answer each, and any other answer as it is.
    pub fn one_by_one(self) -> impl Iterator<Item = Self> {
        let (items, other) = match self {
            Self::Items(items) => (items, None),
            other => (ItemList::default(), Some(other)),
        };
        items.into_iter().map(|body| Self::Item { body }).chain(other)
    }

    fn of_reply(form: ReplyForm, number: u64, body: Bytes) -> Self {
        match form {
            ReplyForm::Plain => Self::Reply { body, last: false },
            ReplyForm::Last => Self::Reply { body, last: true },
            ReplyForm::Item => Self::Item { body },
            ReplyForm::Question => Self::Question { number, body },
        }
    }

    /// Replies that it is.
    fn replies(&self) -> u64 {
        match self {
            Self::Reply { .. } | Self::Item { .. } | Self::Question { .. } => 1,
            Self::Items(items) => items.len() as u64,
            _ => 0,
        }
    }
}

/// A cast that was not accepted. The caller is at fault or asks too much; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CastError {
    /// The reference is in use by an open call to the same peer.
    #[error("the reference {0:?} is in use by another open call to this peer")]
    DuplicateRef(CallRef),
    /// As many calls are open to the peer as may be.
    #[error("{max} calls are open to this peer, which is as many as may be; wait for answers")]
    TooManyCalls {
        /// The limit.
        max: usize,
    },
    /// The argument is larger than the limit.
    #[error("the argument has {bytes} bytes, allowed are {max}")]
    PayloadTooLarge {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The function's name is longer than the limit, or empty.
    #[error("the function's name has {bytes} bytes, allowed are 1 to {max}")]
    FunctionName {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
}

/// The calls and monitors that are open with one peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Calls<M> {
    open: InOrder<CallRef, Open<M>>,
    monitors: BTreeMap<MonitorRef, (ServerAddress, M)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open<M> {
    mailbox: M,
    /// The server that the cast went to; `None` while it waits in the buffer.
    sent_to: Option<ServerAddress>,
    /// Replies that were delivered or are held.
    replies: u64,
    /// Apart, so that rows stay small: most calls have one reply and nothing of this.
    more: Option<Box<More>>,
}

/// What is known of a call whose answer is more than one small reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct More {
    /// The latest question whose response went out on the connection there is, and on those before it: a job waits with
    /// the latest that it has asked, and responses go out in any order.
    responded: Option<u64>,
    responded_before: Option<u64>,
    /// Answers behind a reply whose payload is still on its way.
    held: VecDeque<Held>,
    /// Whether the last answer is among those, so that nothing more is to come.
    last_held: bool,
    stream: Reading,
}

impl<M> Open<M> {
    fn last_held(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.last_held)
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

/// A stream as its caller sees it: what was said of it, so that it can be said again after a reconnect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Reading {
    /// The job has asked.
    asked: bool,
    /// Whether the caller has started it; `Some(false)` if it has cancelled it.
    started: Option<bool>,
    /// Items that have come.
    items: u64,
    /// Items that were acknowledged.
    acked: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Held {
    Complete(Answer),
    Pending { id: BulkId, number: u64, form: ReplyForm },
}

impl Held {
    /// A reply whose payload is there.
    pub(crate) fn reply(form: ReplyForm, number: u64, body: Bytes) -> Self {
        Self::Complete(Answer::of_reply(form, number, body))
    }

    fn is_last(&self) -> bool {
        match self {
            Self::Complete(answer) => answer.is_last(),
            Self::Pending { form, .. } => *form == ReplyForm::Last,
        }
    }

    fn is_complete(&self) -> bool {
        matches!(self, Self::Complete(_))
    }
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is on its way to the mailbox.
    Delivered,
    /// It waits behind a payload.
    Held,
    /// No call awaits it.
    Stray,
    /// It waits, and too many do behind a payload that does not come.
    TooMany,
}

/// An answer with the mailbox it is for.
pub(crate) type Delivery<M> = (M, CallRef, Answer);

impl<M: Clone> Calls<M> {
    pub(crate) fn new() -> Self {
        Self { open: InOrder::default(), monitors: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether an answer to this call is still to come.
    pub(crate) fn awaits(&self, call: CallRef) -> bool {
        self.open.get(&call).is_some_and(|open| !open.last_held())
    }

    pub(crate) fn mailbox(&self, call: CallRef) -> Option<M> {
        self.open.get(&call).map(|open| open.mailbox.clone())
    }

    pub(crate) fn mailboxes(&self) -> impl Iterator<Item = &M> {
        self.open.iter().map(|(_, open)| &open.mailbox)
    }

    pub(crate) fn refs(&self) -> impl Iterator<Item = CallRef> {
        self.open.keys().copied()
    }

    /// Notes a call as open. `false`: one of its number is.
    pub(crate) fn insert(&mut self, call: CallRef, mailbox: M) -> bool {
        self.open.insert(call, Open { mailbox, sent_to: None, replies: 0, more: None })
    }

    /// Notes that a call's cast goes out to `server`. `false`: the call is no longer open, so it must not.
    pub(crate) fn mark_sent(&mut self, call: CallRef, server: ServerAddress) -> bool {
        let Some(open) = self.open.get_mut(&call) else { return false };
        open.sent_to = Some(server);
        true
    }

    /// Lets go of a call. `None`: it was not open. `Some(None)`: its cast was never sent.
    pub(crate) fn remove(&mut self, call: CallRef) -> Option<Option<ServerAddress>> {
        self.open.remove(&call).map(|open| open.sent_to)
    }

    /// Counts so many replies to an open call, the first of that number. `false`: another should have come before them,
    /// so it was lost.
    pub(crate) fn count_replies(&mut self, call: CallRef, number: u64, count: u64) -> bool {
        let Some(open) = self.open.get_mut(&call).filter(|open| !open.last_held()) else { return true };
        let follows = open.replies == number;
        open.replies += if follows { count } else { 0 };
        follows
    }

    /// Counts so many items of an open call's stream.
    pub(crate) fn count_items(&mut self, call: CallRef, count: u64) {
        if let Some(open) = self.open.get_mut(&call) {
            open.more().stream.items += count;
        }
    }

    /// Notes that a job asks for a stream. `false`: it has asked before, and its caller was told.
    pub(crate) fn note_asked(&mut self, call: CallRef) -> bool {
        let Some(open) = self.open.get_mut(&call) else { return false };
        !std::mem::replace(&mut open.more().stream.asked, true)
    }

    /// Notes that the caller starts a stream, or cancels it. `false`: no job asks for one, or it was answered.
    pub(crate) fn note_started(&mut self, call: CallRef, start: bool) -> bool {
        let Some(Reading { asked: true, started: started @ None, .. }) = self.stream(call) else { return false };
        *started = Some(start);
        true
    }

    /// Notes that the caller has consumed so many more items. `false`: there were not as many.
    pub(crate) fn note_acked(&mut self, call: CallRef, items: u64) -> bool {
        let has = |stream: &&mut Reading| items <= stream.items - stream.acked;
        let Some(stream) = self.stream(call).filter(has) else { return false };
        stream.acked += items;
        true
    }

    /// Notes that the response to a question goes out.
    pub(crate) fn note_responded(&mut self, call: CallRef, question: u64) {
        if let Some(open) = self.open.get_mut(&call) {
            let responded = &mut open.more().responded;
            *responded = (*responded).max(Some(question));
        }
    }

    /// There is another connection: what went out before may not have come.
    pub(crate) fn note_reconnected(&mut self) {
        for more in self.open.values_mut().filter_map(|open| open.more.as_mut()) {
            more.responded_before = more.responded.take().max(more.responded_before);
        }
    }

    /// Whether a connection that was lost took something along: a reply of the job, or the response it waits for. One
    /// that has gone out since is still on its way.
    pub(crate) fn misses(&self, sent: Sent) -> bool {
        let Sent { call, replies, question } = sent;
        self.open.get(&call).is_some_and(|open| {
            let responded_before = open.more.as_ref().and_then(|more| more.responded_before);
            open.replies != replies || (question.is_some() && question == responded_before)
        })
    }

    /// All that the caller has said of a call's stream, to the server of its cast. A broken variant names another.
    pub(crate) fn said_of_stream(&self, call: CallRef, guards: Guards, phase: Phase) -> Vec<Message> {
        let said = self.open.get(&call).and_then(|open| Some((open.sent_to?, open.more.as_ref()?.stream)));
        let Some((server, stream)) = said else { return Vec::new() };
        let server = guards.acks_follow_cast(phase, server);
        match stream.started {
            None => Vec::new(),
            Some(false) => vec![Message::StreamCancel(server, call)],
            Some(true) if stream.acked == 0 => vec![Message::StreamStart(server, call)],
            Some(true) => vec![Message::StreamStart(server, call), Message::Ack(server, call, stream.acked)],
        }
    }

    /// The server that an open call was cast to.
    pub(crate) fn server_of(&self, call: CallRef) -> Option<ServerAddress> {
        self.open.get(&call)?.sent_to
    }

    /// Whether a job that has sent so many replies has none missing here.
    pub(crate) fn has_all_replies(&self, call: CallRef, replies: u64) -> bool {
        self.open.get(&call).is_none_or(|open| open.replies == replies)
    }

    /// Takes an answer to an open call, and delivers what can be delivered now.
    pub(crate) fn answer(&mut self, call: CallRef, held: Held, deliver: &mut impl FnMut(Delivery<M>)) -> Taken {
        let is_clear = |open: &Open<M>| open.more.as_ref().is_none_or(|more| more.held.is_empty());
        let held = match held {
            // The one answer that most calls have.
            Held::Complete(answer) if answer.is_last() => match self.open.remove_if(&call, is_clear) {
                Some(Open { mailbox, .. }) => {
                    deliver((mailbox, call, answer));
                    return Taken::Delivered;
                }
                None => Held::Complete(answer),
            },
            held => held,
        };
        let Some(open) = self.open.get_mut(&call).filter(|open| !open.last_held()) else { return Taken::Stray };
        match held {
            Held::Complete(answer) if is_clear(open) => {
                deliver((open.mailbox.clone(), call, answer));
                Taken::Delivered
            }
            held => {
                let more = open.more();
                more.last_held = held.is_last();
                more.held.push_back(held);
                if more.held.len() > HELD_ANSWERS_MAX { Taken::TooMany } else { Taken::Held }
            }
        }
    }

    /// Takes a payload that a held reply waits for.
    pub(crate) fn complete(&mut self, call: CallRef, id: BulkId, body: &Bytes, deliver: &mut impl FnMut(Delivery<M>)) {
        let Some(Open { mailbox, more: Some(more), .. }) = self.open.get_mut(&call) else { return };
        for held in &mut more.held {
            if let Held::Pending { id: pending, number, form } = held
                && *pending == id
            {
                *held = Held::reply(*form, *number, body.clone());
            }
        }
        let mut over = false;
        while let Some(Held::Complete(answer)) = more.held.pop_front_if(|held| held.is_complete()) {
            over = answer.is_last();
            deliver((mailbox.clone(), call, answer));
        }
        if over {
            self.open.remove(&call);
        }
    }

    /// Ends one call with an answer of our own making.
    pub(crate) fn end(&mut self, call: CallRef, answer: Answer, deliver: &mut impl FnMut(Delivery<M>)) {
        if let Some(open) = self.open.remove(&call) {
            deliver((open.mailbox, call, answer));
        }
    }

    /// Ends every call, or every one that was sent, with an answer of our own making.
    pub(crate) fn end_all(&mut self, sent_only: bool, answer: &Answer, deliver: &mut impl FnMut(Delivery<M>)) {
        let ended = self.open.take_out(|_, open| !sent_only || open.sent_to.is_some());
        ended.into_iter().for_each(|(call, open)| deliver((open.mailbox, call, answer.clone())));
    }

    /// The connection broke: payloads on their way will not come, and what waits behind them is told by the resume.
    pub(crate) fn forget_held(&mut self) {
        for Open { replies, more, .. } in self.open.values_mut() {
            let Some(more) = more else { continue };
            for held in more.held.drain(..) {
                match held {
                    Held::Complete(Answer::StreamInit) => more.stream.asked = false,
                    Held::Complete(answer) => *replies -= answer.replies(),
                    Held::Pending { .. } => *replies -= 1,
                }
            }
            more.last_held = false;
        }
    }

    /// The calls that were cast to `server`.
    pub(crate) fn sent_to(&self, server: ServerAddress) -> Vec<CallRef> {
        self.open.iter().filter(|(_, open)| open.sent_to == Some(server)).map(|(&call, _)| call).collect()
    }

    pub(crate) fn insert_monitor(&mut self, monitor: MonitorRef, server: ServerAddress, mailbox: M) {
        self.monitors.insert(monitor, (server, mailbox));
    }

    pub(crate) fn remove_monitor(&mut self, monitor: MonitorRef) -> Option<(ServerAddress, M)> {
        self.monitors.remove(&monitor)
    }

    pub(crate) fn monitors(&self) -> impl Iterator<Item = (MonitorRef, ServerAddress)> {
        self.monitors.iter().map(|(&monitor, &(server, _))| (monitor, server))
    }

    pub(crate) fn take_monitors(&mut self) -> impl Iterator<Item = (MonitorRef, M)> + use<M> {
        std::mem::take(&mut self.monitors).into_iter().map(|(monitor, (_, mailbox))| (monitor, mailbox))
    }

    fn stream(&mut self, call: CallRef) -> Option<&mut Reading> {
        self.open.get_mut(&call).and_then(|open| open.more.as_mut()).map(|more| &mut more.stream)
    }
}

/// Answers that may wait behind one payload. A job that replies faster than its bulk lane is drained ends here.
const HELD_ANSWERS_MAX: usize = 4_096;

#[cfg(test)]
mod tests;
