//! The caller's side: a mailbox that answers are put into, and the handles on it. Dropping a mailbox kills what was
//! cast through it.
//!
//! In: answers, from whichever task reads a peer's connection. Out: events, in the order in which they came. A mailbox
//! keeps the time limits of its calls, whatever the other node does. Any task may cast with a handle; the answers go to
//! the mailbox (REXI.md R5).

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use rexi_proto::{Answer, CallRef, CastError, DownReason, ExitReason, Limits, MonitorRef, NodeName};
use tokio::time::{Instant, Sleep};

use crate::calls::request::Request;
use crate::engine::member::Member;
use crate::engine::single;
use crate::error::SendError;
use crate::node::Node;

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
/// node, and stops its monitors. It casts as its [`MailboxHandle`] does.
pub struct Mailbox {
    handle: MailboxHandle,
    /// For the next of the calls' time limits, from when it is first waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Casts for a mailbox, from any task. It keeps the node running, but not the mailbox: once that is dropped, casts are
/// refused. Cheap to clone.
#[derive(Clone)]
pub struct MailboxHandle {
    node: Node,
    inner: Arc<Inbox>,
}

/// What the peers' states hold of a mailbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    length_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: single::Queue<Event>,
    /// Bytes of payload in the queue.
    bytes: usize,
    waker: Option<Waker>,
    open: single::Map<CallRef, Open>,
    /// The time limits of open calls, the next one first.
    deadlines: BTreeSet<(Instant, CallRef)>,
    monitors: BTreeMap<MonitorRef, Arc<Member>>,
    /// The mailbox is dropped.
    gone: bool,
}

#[derive(Debug)]
struct Open {
    /// Where it was cast to.
    member: Arc<Member>,
    deadline: Option<Instant>,
}

impl Mailbox {
    pub(crate) fn new(node: Node, limits: &Limits) -> Self {
        let (length_max, bytes_max) = (limits.mailbox_length_max, limits.mailbox_bytes_max);
        let inner = Arc::new(Inbox { state: Mutex::default(), length_max, bytes_max });
        Self { handle: MailboxHandle { node, inner }, timer: None }
    }

    /// A handle for other tasks to cast with.
    pub fn handle(&self) -> MailboxHandle {
        self.handle.clone()
    }

    /// Watches the server of `peer` that casts go to now. Its death is heard as [`Event::Down`], once.
    ///
    /// # Errors
    /// [`SendError::NotAMember`].
    pub fn monitor(&self, peer: &NodeName) -> Result<MonitorRef, SendError> {
        let member = self.node.member(peer)?;
        let monitor = MonitorRef(self.node.next_call().0);
        self.inner.lock().monitors.insert(monitor, Arc::clone(&member));
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

    /// The next event. Waits for as long as none comes. A call whose time limit has passed is over with
    /// [`ExitReason::TimePassed`], whatever the other node does, and its job is killed.
    ///
    /// Cancel safe: an event is taken only when it is returned.
    pub async fn recv(&mut self) -> Event {
        poll_fn(|cx| self.poll_with(cx, State::pop)).await
    }

    /// All events that are there, and at least one.
    pub(crate) fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<single::Queue<Event>> {
        self.poll_with(cx, State::take_all)
    }

    fn poll_with<T>(&mut self, cx: &mut Context<'_>, take: fn(&mut State) -> Option<T>) -> Poll<T> {
        loop {
            let deadline = {
                let mut state = self.handle.inner.lock();
                if let Some(taken) = take(&mut state) {
                    return Poll::Ready(taken);
                }
                state.waker = Some(cx.waker().clone());
                state.next_deadline()
            };
            let Some(deadline) = deadline else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            self.handle.expire();
        }
    }

    /// The next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.handle.expire();
        self.inner.lock().pop()
    }

    /// Calls that are still open.
    pub fn open_calls(&self) -> usize {
        self.inner.lock().open.len()
    }
}

impl Deref for Mailbox {
    type Target = MailboxHandle;

    fn deref(&self) -> &MailboxHandle {
        &self.handle
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let (open, monitors) = {
            let mut state = self.inner.lock();
            let State { open, monitors, .. } = std::mem::replace(&mut *state, State { gone: true, ..State::default() });
            (open, monitors)
        };
        kill_all(open);
        for (monitor, member) in monitors {
            member.with(|peer, _| peer.demonitor(monitor));
        }
    }
}

impl MailboxHandle {
    /// Casts to `peer`. Never waits; whatever becomes of it, the mailbox hears.
    ///
    /// # Errors
    /// [`SendError`] where the peer is no member, the request is out of bounds, this node's release may not emit its
    /// function, or the mailbox is gone; nothing was sent and nothing is heard.
    pub fn cast(&self, peer: &NodeName, request: Request) -> Result<CallRef, SendError> {
        let call = self.node.next_call();
        self.cast_as(call, peer, request)?;
        Ok(call)
    }

    /// As [`MailboxHandle::cast`], with a reference that was made beforehand by [`Node::next_call`].
    ///
    /// # Errors
    /// As [`MailboxHandle::cast`]; also where the reference is in use.
    pub fn cast_as(&self, call: CallRef, peer: &NodeName, request: Request) -> Result<(), SendError> {
        let deadline = deadline_of(&request);
        let members = self.node.shared().members();
        let member = members.find(peer)?;
        let cast = request.into_cast(call, self.node.shared().release)?;
        // The call is noted under the member's lock, so that a kill by another task finds it in both places or none.
        member.with(|peer, now| {
            self.inner.note_open(call, member, deadline)?;
            let cast = peer.cast(now, cast, Arc::clone(&self.inner));
            cast.map_err(|error| {
                self.inner.lock().close(call);
                SendError::Refused(error)
            })
        })
    }

    /// As [`MailboxHandle::cast`], but waits until the peer is there and its link takes frames without buffering them,
    /// or until the peer is given up, when the cast is made and answered at once (REXI.md R6). The request's time limit
    /// runs meanwhile.
    ///
    /// Cancel safe: nothing is cast unless this returns.
    ///
    /// # Errors
    /// As [`MailboxHandle::cast`]; also [`SendError::NoRoom`] where the time limit has passed.
    pub async fn cast_when_clear(&self, peer: &NodeName, mut request: Request) -> Result<CallRef, SendError> {
        let member = self.node.member(peer)?;
        if let Some(deadline) = deadline_of(&request) {
            let cleared = tokio::time::timeout_at(deadline, member.wait_clear()).await;
            cleared.map_err(|_| SendError::NoRoom(peer.clone()))?;
            request = request.time_limit(deadline.saturating_duration_since(Instant::now()));
        } else {
            member.wait_clear().await;
        }
        self.cast(peer, request)
    }

    /// Ends these calls' jobs and forgets the calls. Calls that are not open are passed over.
    pub fn kill(&self, calls: &[CallRef]) {
        let open: Vec<_> = {
            let mut state = self.inner.lock();
            calls.iter().filter_map(|&call| Some((call, state.close(call)?))).collect()
        };
        kill_all(open);
    }

    /// Lets go of a call without ending its job, which runs to its end with nobody to hear of it: the one exception to
    /// "dropping is killing". Calls that are not open are passed over.
    pub fn detach(&self, call: CallRef) {
        self.inner.lock().close(call);
    }

    /// Lets the job of this call send the stream that it asks for. `false`: it asks for none, or was answered.
    pub fn start(&self, call: CallRef) -> bool {
        self.member_of(call).is_some_and(|member| member.with(|peer, _| peer.start_stream(call)))
    }

    /// Tells the job of this call that the stream it asks for is not wanted, which ends it normally. `false`: it asks
    /// for none, or was answered.
    pub fn cancel(&self, call: CallRef) -> bool {
        self.member_of(call).is_some_and(|member| member.with(|peer, _| peer.cancel_stream(call)))
    }

    /// Tells the job of this call that so many more of its items were consumed. `false`: there were not as many.
    pub fn ack(&self, call: CallRef, items: u64) -> bool {
        self.member_of(call).is_some_and(|member| member.with(|peer, _| peer.ack(call, items)))
    }

    /// Responds to a question of this call's job by the question's number. `false`: the call is not open, or the
    /// response is above `payload_bytes_max`.
    pub fn respond(&self, call: CallRef, number: u64, body: impl Into<Bytes>) -> bool {
        let body = body.into();
        self.member_of(call).is_some_and(|member| member.with(|peer, now| peer.respond(now, call, number, body)))
    }

    fn member_of(&self, call: CallRef) -> Option<Arc<Member>> {
        self.inner.lock().open.get(&call).map(|open| Arc::clone(&open.member))
    }

    /// Ends the calls whose time limits have passed.
    fn expire(&self) {
        let expired: Vec<_> = {
            let mut state = self.inner.lock();
            if state.deadlines.is_empty() {
                return;
            }
            let now = Instant::now();
            std::iter::from_fn(|| state.expire_one(now)).collect()
        };
        kill_all(expired);
    }
}

impl Inbox {
    fn note_open(&self, call: CallRef, member: &Arc<Member>, deadline: Option<Instant>) -> Result<(), SendError> {
        let mut state = self.lock();
        if state.gone {
            return Err(SendError::MailboxGone);
        }
        if state.open.contains_key(&call) {
            return Err(SendError::Refused(CastError::DuplicateRef(call)));
        }
        state.open.insert(call, Open { member: Arc::clone(member), deadline });
        if let Some(deadline) = deadline {
            state.deadlines.insert((deadline, call));
            // Who waits may wait for a later one.
            state.wake();
        }
        Ok(())
    }

    /// Puts an answer in. `false`: the mailbox is full, so its owner does not read; the call is ended and the owner
    /// told.
    pub(crate) fn deliver(&self, call: CallRef, answer: Answer) -> bool {
        let mut state = self.lock();
        if !state.open.contains_key(&call) {
            return true;
        }
        let room = state.queue.len() < self.length_max && state.bytes + payload_bytes(&answer) <= self.bytes_max;
        let fits = answer.is_last() || room;
        let answer =
            if fits { answer } else { Answer::Exit { function: Arc::default(), reason: ExitReason::ReplyDropped } };
        if answer.is_last() {
            state.close(call);
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
        if let Event::Answer(_, answer) = &event {
            self.bytes += payload_bytes(answer);
        }
        self.queue.push(event);
        self.wake();
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop()?;
        if let Event::Answer(_, answer) = &event {
            self.bytes -= payload_bytes(answer);
        }
        Some(event)
    }

    fn take_all(&mut self) -> Option<single::Queue<Event>> {
        self.bytes = 0;
        (self.queue.len() > 0).then(|| std::mem::take(&mut self.queue))
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Lets go of an open call.
    fn close(&mut self, call: CallRef) -> Option<Open> {
        let open = self.open.remove(&call)?;
        if let Some(deadline) = open.deadline {
            self.deadlines.remove(&(deadline, call));
        }
        Some(open)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    fn expire_one(&mut self, now: Instant) -> Option<(CallRef, Open)> {
        let &(_, call) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        let open = self.close(call)?;
        self.push(Event::Answer(call, Answer::Exit { function: Arc::default(), reason: ExitReason::TimePassed }));
        Some((call, open))
    }
}

/// When the caller no longer waits. A limit beyond what the clock can count to is none.
fn deadline_of(request: &Request) -> Option<Instant> {
    request.limit().and_then(|limit| Instant::now().checked_add(limit))
}

fn payload_bytes(answer: &Answer) -> usize {
    match answer {
        Answer::Reply { body, .. } | Answer::Item { body } | Answer::Question { body, .. } => body.len(),
        _ => 0,
    }
}

/// One kill a node, however many calls.
fn kill_all(open: impl IntoIterator<Item = (CallRef, Open)>) {
    let mut by_member: BTreeMap<_, (Arc<Member>, Vec<CallRef>)> = BTreeMap::new();
    for (call, Open { member, .. }) in open {
        by_member.entry(member.id()).or_insert_with(|| (member, Vec::new())).1.push(call);
    }
    for (member, calls) in by_member.into_values() {
        member.with(|peer, _| peer.kill(&calls));
    }
}
