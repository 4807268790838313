//! The caller's side: a mailbox into which answers are put, and the handles on it. Dropping a mailbox kills what was
//! cast through it.
//!
//! In: answers, from whichever task reads a peer's connection. Out: events, in the order in which they came. A mailbox
//! ends calls whose time limits have passed, whatever the other node does; who was called keeps the time. Any task may
//! cast with a handle; the answers go to the mailbox (R5 of docs/rexi.md).

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rexi_proto::{CallRef, CastError, MonitorRef, NodeName};
use tokio::time::Instant;

use crate::calls::error::SendError;
use crate::calls::request::{Request, Said};
use crate::engine::{Delivered, Event, Inbox, Member, Members, NotOpened, Running, Translate, single};

/// Answers of many calls, in the order in which they came. Dropping it kills every call that is still open, on every
/// node, and stops its monitors. It casts as its [`MailboxHandle`] does.
pub struct Mailbox {
    handle: MailboxHandle,
}

/// Takes out of an inbox what there is, or says whether a time limit has passed.
type Take<T> = fn(&Inbox<Member>, &Context<'_>) -> Result<T, bool>;

/// Casts for a mailbox, from any task. It keeps the node running, but not the mailbox: once that is dropped, casts are
/// refused. Cheap to clone.
#[derive(Clone)]
pub struct MailboxHandle {
    node: Running,
    inner: Arc<Inbox<Member>>,
}

impl Mailbox {
    pub(crate) fn new(node: Running) -> Self {
        let inner = Arc::new(Inbox::new(&node.shared().limits));
        Self { handle: MailboxHandle { node, inner } }
    }

    /// A handle for other tasks to cast with.
    pub fn handle(&self) -> MailboxHandle {
        self.handle.clone()
    }

    /// Watches the server of `peer` that casts go to now. Its death is reported as [`Event::Down`], once.
    ///
    /// # Errors
    /// [`SendError::NotAMember`].
    pub fn monitor(&self, peer: &NodeName) -> Result<MonitorRef, SendError> {
        let member = Arc::clone(find(&self.node.shared().members(), peer)?);
        let monitor = MonitorRef(self.node.shared().next_call().0);
        self.inner.watch(monitor, &member);
        member.with(|peer, _| peer.monitor(monitor, Arc::clone(&self.inner)));
        Ok(monitor)
    }

    /// Stops watching. A down that is already in the mailbox is taken out.
    pub fn demonitor(&self, monitor: MonitorRef) {
        if let Some(member) = self.inner.unwatch(monitor) {
            member.with(|peer, _| peer.demonitor(monitor));
        }
    }

    /// The next event. Waits for as long as none comes. A call whose time limit has passed is over with
    /// [`ExitReason::TimePassed`](crate::ExitReason), whatever the other node does, and its job is killed.
    ///
    /// Cancel safe: an event is taken only when it is returned.
    pub async fn recv(&mut self) -> Event {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.poll_with(cx, Inbox::next_or_due).map(Delivered::read)
    }

    /// All events that are there, and at least one.
    pub(crate) fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<single::Queue<Delivered>> {
        self.poll_with(cx, Inbox::all_or_due)
    }

    fn poll_with<T>(&mut self, cx: &mut Context<'_>, take: Take<T>) -> Poll<T> {
        loop {
            match take(&self.handle.inner, cx) {
                Ok(taken) => return Poll::Ready(taken),
                Err(false) => return Poll::Pending,
                Err(true) => self.handle.expire(),
            }
        }
    }

    /// The next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.handle.expire();
        self.inner.pop().map(Delivered::read)
    }

    /// Calls that are still open.
    pub fn open_calls(&self) -> usize {
        self.inner.open_calls()
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
        let Some(left) = self.inner.end() else { return };
        kill_all(left.open);
        for (monitor, member) in left.monitors {
            member.with(|peer, _| peer.demonitor(monitor));
        }
    }
}

impl MailboxHandle {
    /// Casts to `peer`. Never waits; whatever becomes of it, the mailbox is notified.
    ///
    /// # Errors
    /// [`SendError`] where the peer is not a member, the request is out of bounds, this node's release may not emit its
    /// function, or the mailbox is gone; nothing was sent, and no answer will come.
    pub fn cast(&self, peer: &NodeName, request: Request) -> Result<CallRef, SendError> {
        let call = self.node.shared().next_call();
        self.cast_as(call, peer, request)?;
        Ok(call)
    }

    /// As [`MailboxHandle::cast`], with a reference that was made beforehand by
    /// [`Node::next_call`](crate::Node::next_call).
    ///
    /// # Errors
    /// As [`MailboxHandle::cast`]; also where the reference is in use.
    pub fn cast_as(&self, call: CallRef, peer: &NodeName, request: Request) -> Result<(), SendError> {
        let shared = self.node.shared();
        let now = Instant::now();
        let deadline = request.deadline(now);
        let members = shared.members();
        let member = find(&members, peer)?;
        let Said { cast, translate } = request.into_cast(call, shared)?;
        // Noted under the member's lock. A mailbox may be lent to other tasks, so a kill may come meanwhile: it looks
        // here first and then at the member, and finds the call in both places or in none.
        member.cast(shared, now, deadline, |peer, now| {
            self.open(call, member, deadline, translate)?;
            let cast = peer.cast(now, cast, Arc::clone(&self.inner));
            cast.map_err(|error| {
                self.inner.close(&[call]);
                SendError::Refused(error)
            })
        })
    }

    /// As [`MailboxHandle::cast`], but waits until the peer is there and its link takes frames without buffering them,
    /// or until the peer is given up, when the cast is made and answered at once (R6 of docs/rexi.md). The request's
    /// time limit runs meanwhile.
    ///
    /// Cancel safe: nothing is cast unless this returns.
    ///
    /// # Errors
    /// As [`MailboxHandle::cast`]; also [`SendError::NoRoom`] where the time limit has passed.
    pub async fn cast_when_clear(&self, peer: &NodeName, mut request: Request) -> Result<CallRef, SendError> {
        let member = Arc::clone(find(&self.node.shared().members(), peer)?);
        if let Some(deadline) = request.deadline(Instant::now()) {
            let cleared = tokio::time::timeout_at(deadline, member.wait_clear()).await;
            cleared.map_err(|_| SendError::NoRoom(peer.clone()))?;
            request = request.time_limit(deadline.saturating_duration_since(Instant::now()));
        } else {
            member.wait_clear().await;
        }
        self.cast(peer, request)
    }

    /// Ends these calls' jobs and forgets the calls. Calls that are not open are ignored.
    pub fn kill(&self, calls: &[CallRef]) {
        kill_all(self.inner.close(calls));
    }

    /// Lets go of a call without ending its job, which runs to its end with nobody to receive its answer: the one
    /// exception to "dropping is killing". Calls that are not open are ignored.
    pub fn detach(&self, call: CallRef) {
        self.inner.close(&[call]);
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

    /// Tells the job of this call that this many more of its items were consumed. `false`: there were not that many.
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
        self.inner.member_of(call)
    }

    fn open(
        &self,
        call: CallRef,
        member: &Arc<Member>,
        deadline: Option<Instant>,
        translate: Option<Translate>,
    ) -> Result<(), SendError> {
        self.inner.open(call, member, deadline, translate).map_err(|problem| match problem {
            NotOpened::Gone => SendError::MailboxGone,
            NotOpened::InUse => SendError::Refused(CastError::DuplicateRef(call)),
        })
    }

    /// Ends the calls whose time limits have passed.
    fn expire(&self) {
        kill_all(self.inner.expire());
    }
}

/// The member of this name, to be sent to.
fn find<'a>(members: &'a Members, peer: &NodeName) -> Result<&'a Arc<Member>, SendError> {
    members.get(peer).ok_or_else(|| SendError::NotAMember {
        peer: peer.clone(),
        members: members.iter().map(|member| member.name().as_str()).collect::<Vec<_>>().join(", "),
    })
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
