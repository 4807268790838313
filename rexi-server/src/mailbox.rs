//! The caller's side: a mailbox that answers are put into, and the handles on it that kill what they started when they
//! are dropped.
//!
//! In: answers, from whichever task reads a peer's connection. Out: an async stream of them. A [`Call`] is a mailbox
//! for one cast; a [`Mailbox`] takes the answers of many, from any node.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use bytes::Bytes;
use rexi_proto::{Answer, CallRef, CastError, DownReason, ExitReason, MonitorRef, NodeName};

use tokio::time::Instant;

use crate::error::{CallError, SendError};
use crate::member::Member;
use crate::node::Node;
use crate::request::Request;

/// What a mailbox holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An answer to a call that was cast through this mailbox.
    Answer(CallRef, Answer),
    /// What a monitor of this mailbox watched is down; the monitor is used up.
    Down(MonitorRef, DownReason),
}

/// Answers of many calls, in the order in which they came. Dropping it kills every call that is still open, on every
/// node, and stops its monitors.
pub struct Mailbox {
    node: Node,
    inner: Arc<Inbox>,
}

/// One call. Dropping it kills the job on the other node, unless its last answer has come. A call, like a mailbox,
/// keeps the node running as any other handle does.
#[must_use = "dropping a call kills its job"]
pub struct Call {
    mailbox: Mailbox,
    call: CallRef,
    /// When the caller no longer waits.
    deadline: Option<Instant>,
    done: bool,
}

/// What the peers' states hold of a mailbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    length_max: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Event>,
    waker: Option<Waker>,
    /// Where each open call was cast to.
    open: BTreeMap<CallRef, Arc<Member>>,
    monitors: BTreeMap<MonitorRef, Arc<Member>>,
}

impl Mailbox {
    pub(crate) fn new(node: Node, length_max: usize) -> Self {
        Self { node, inner: Arc::new(Inbox { state: Mutex::default(), length_max }) }
    }

    /// Casts to `peer`. Never waits; whatever becomes of it, the mailbox hears.
    ///
    /// # Errors
    /// [`SendError`] where the peer is no member, the request is out of bounds, or this node's release may not emit its
    /// function; nothing was sent and nothing is heard.
    pub fn cast(&self, peer: &NodeName, request: Request) -> Result<CallRef, SendError> {
        let call = self.node.next_call();
        self.cast_as(call, peer, request)?;
        Ok(call)
    }

    /// As [`Mailbox::cast`], with a reference that was made beforehand by [`Node::next_call`].
    ///
    /// # Errors
    /// As [`Mailbox::cast`]; also where the reference is in use.
    pub fn cast_as(&self, call: CallRef, peer: &NodeName, request: Request) -> Result<(), SendError> {
        let member = self.node.member(peer)?;
        let request = request.into_cast(call, self.node.shared().release)?;
        {
            let mut state = self.inner.lock();
            if state.open.contains_key(&call) {
                return Err(SendError::Refused(CastError::DuplicateRef(call)));
            }
            state.open.insert(call, Arc::clone(member));
        }
        let cast = member.with(|peer, now| peer.cast(now, request, Arc::clone(&self.inner)));
        cast.map_err(|error| {
            self.inner.lock().open.remove(&call);
            SendError::Refused(error)
        })
    }

    /// Ends these calls' jobs and forgets the calls. Calls that are not open are passed over.
    pub fn kill(&self, calls: &[CallRef]) {
        let open: Vec<_> = {
            let mut state = self.inner.lock();
            calls.iter().filter_map(|&call| Some((call, state.open.remove(&call)?))).collect()
        };
        kill_all(open);
    }

    /// Watches the server of `peer` that casts go to now. Its death is heard as [`Event::Down`], once.
    ///
    /// # Errors
    /// [`SendError::NotAMember`].
    pub fn monitor(&self, peer: &NodeName) -> Result<MonitorRef, SendError> {
        let member = self.node.member(peer)?;
        let monitor = MonitorRef(self.node.next_call().0);
        self.inner.lock().monitors.insert(monitor, Arc::clone(member));
        member.with(|peer, _| peer.monitor(monitor, Arc::clone(&self.inner)));
        Ok(monitor)
    }

    /// Watches no longer. A down that is already in the mailbox is taken out.
    pub fn demonitor(&self, monitor: MonitorRef) {
        let member = {
            let mut state = self.inner.lock();
            state.queue.retain(|event| !matches!(event, Event::Down(of, _) if *of == monitor));
            state.monitors.remove(&monitor)
        };
        if let Some(member) = member {
            member.with(|peer, _| peer.demonitor(monitor));
        }
    }

    /// The next event. Waits for as long as none comes.
    ///
    /// Cancel safe: an event is taken only when it is returned.
    pub async fn recv(&mut self) -> Event {
        poll_fn(|cx| {
            let mut state = self.inner.lock();
            if let Some(event) = state.queue.pop_front() {
                return Poll::Ready(event);
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.inner.lock().queue.pop_front()
    }

    /// Calls that are still open.
    pub fn open_calls(&self) -> usize {
        self.inner.lock().open.len()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let (open, monitors) = {
            let mut state = self.inner.lock();
            state.queue.clear();
            (std::mem::take(&mut state.open), std::mem::take(&mut state.monitors))
        };
        kill_all(open);
        for (monitor, member) in monitors {
            member.with(|peer, _| peer.demonitor(monitor));
        }
    }
}

impl Call {
    pub(crate) fn new(mailbox: Mailbox, call: CallRef, deadline: Option<Instant>) -> Self {
        Self { mailbox, call, deadline, done: false }
    }

    /// The call's number.
    pub fn call_ref(&self) -> CallRef {
        self.call
    }

    /// The next answer; `None` after the last one. When the request's time limit has passed, that is an
    /// [`ExitReason::TimePassed`], whatever the other node does, and the job is killed.
    ///
    /// Cancel safe: an answer is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Answer> {
        if self.done {
            return None;
        }
        let received = async {
            loop {
                if let Event::Answer(_, answer) = self.mailbox.recv().await {
                    return answer;
                }
            }
        };
        let answer = match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, received).await.ok(),
            None => Some(received.await),
        };
        let answer = answer.unwrap_or_else(|| {
            self.mailbox.kill(&[self.call]);
            Answer::Exit { function: Arc::default(), reason: ExitReason::TimePassed }
        });
        self.done = answer.is_last();
        Some(answer)
    }

    /// The first reply. The job is killed if it goes on after it.
    ///
    /// # Errors
    /// [`CallError`] says what became of the call instead, and whether it may have run.
    pub async fn reply(mut self) -> Result<Bytes, CallError> {
        loop {
            match self.next().await {
                Some(Answer::Reply { body, .. }) => return Ok(body),
                Some(Answer::Ping) => {}
                Some(answer) => return Err(CallError::from_answer(answer)),
                None => return Err(CallError::NoReply),
            }
        }
    }

    /// Ends the job and lets go of the call, as dropping it does.
    pub fn kill(self) {}
}

impl Inbox {
    /// Puts an answer in. `false`: the mailbox is full, so its owner does not read; the call is ended and the owner
    /// told.
    pub(crate) fn deliver(&self, call: CallRef, answer: Answer) -> bool {
        let mut state = self.lock();
        if !state.open.contains_key(&call) {
            return true;
        }
        let fits = answer.is_last() || state.queue.len() < self.length_max;
        let answer =
            if fits { answer } else { Answer::Exit { function: Arc::default(), reason: ExitReason::ReplyDropped } };
        if answer.is_last() {
            state.open.remove(&call);
        }
        state.push(Event::Answer(call, answer));
        fits
    }

    pub(crate) fn deliver_down(&self, monitor: MonitorRef, reason: DownReason) {
        let mut state = self.lock();
        if state.monitors.remove(&monitor).is_some() {
            state.push(Event::Down(monitor, reason));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a mailbox")
    }
}

impl State {
    fn push(&mut self, event: Event) {
        self.queue.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// One kill a node, however many calls.
fn kill_all(open: impl IntoIterator<Item = (CallRef, Arc<Member>)>) {
    let mut by_member: BTreeMap<_, (Arc<Member>, Vec<CallRef>)> = BTreeMap::new();
    for (call, member) in open {
        by_member.entry(member.id()).or_insert_with(|| (member, Vec::new())).1.push(call);
    }
    for (member, calls) in by_member.into_values() {
        member.with(|peer, _| peer.kill(&calls));
    }
}
