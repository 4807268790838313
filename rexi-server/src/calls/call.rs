//! One call: a mailbox for one cast. Dropping it kills the job on the other node.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rexi_proto::{Answer, CallRef, NodeName};

use crate::calls::error::{CallError, SendError};
use crate::calls::mailbox::Mailbox;
use crate::calls::request::Request;
use crate::engine::{Delivered, Event, Running, single};

/// One call. Dropping it kills the job on the other node, unless its last answer has come. A call, like a mailbox,
/// keeps the node running as any other handle does.
#[must_use = "dropping a call kills its job"]
pub struct Call {
    mailbox: Mailbox,
    call: CallRef,
    done: bool,
}

impl Call {
    pub(crate) fn cast(node: &Running, peer: &NodeName, request: Request) -> Result<Self, SendError> {
        let mailbox = Mailbox::new(node.clone());
        let call = mailbox.cast(peer, request)?;
        Ok(Self { mailbox, call, done: false })
    }

    pub(crate) async fn cast_when_clear(node: &Running, peer: &NodeName, request: Request) -> Result<Self, SendError> {
        let mailbox = Mailbox::new(node.clone());
        let call = mailbox.cast_when_clear(peer, request).await?;
        Ok(Self { mailbox, call, done: false })
    }

    /// The call's number.
    pub fn call_ref(&self) -> CallRef {
        self.call
    }

    /// The next answer; `None` after the last one. When the request's time limit has passed, that is an
    /// `ExitReason::TimePassed`, whatever the other node does, and the job is killed.
    ///
    /// Cancel safe: an answer is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Answer> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        while !self.done {
            if let Event::Answer(_, answer) = ready!(self.mailbox.poll_recv(cx)) {
                self.done = answer.is_last();
                return Poll::Ready(Some(answer));
            }
        }
        Poll::Ready(None)
    }

    /// The first reply. The job is killed if it goes on after it.
    ///
    /// # Errors
    /// [`CallError`] says what became of the call instead, and whether it may have run.
    pub async fn reply(mut self) -> Result<Bytes, CallError> {
        poll_fn(|cx| self.poll_reply(cx)).await
    }

    /// As [`Call::reply`], for a call that is dropped once this is ready.
    pub(crate) fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, CallError>> {
        loop {
            return Poll::Ready(match ready!(self.poll_next(cx)) {
                Some(Answer::Reply { body, .. }) => Ok(body),
                Some(Answer::Ping) => continue,
                Some(answer) => Err(CallError::from_answer(answer)),
                None => Err(CallError::NoReply),
            });
        }
    }

    /// As [`MailboxHandle::start`](crate::calls::MailboxHandle::start).
    pub fn start(&self) -> bool {
        self.mailbox.start(self.call)
    }

    /// As [`MailboxHandle::cancel`](crate::calls::MailboxHandle::cancel).
    pub fn cancel(&self) -> bool {
        self.mailbox.cancel(self.call)
    }

    /// As [`MailboxHandle::ack`](crate::calls::MailboxHandle::ack).
    pub fn ack(&self, items: u64) -> bool {
        self.mailbox.ack(self.call, items)
    }

    /// As [`MailboxHandle::respond`](crate::calls::MailboxHandle::respond).
    pub fn respond(&self, number: u64, body: impl Into<Bytes>) -> bool {
        self.mailbox.respond(self.call, number, body)
    }

    /// All answers that are there, and at least one. Never ready once the last one was taken.
    pub(crate) fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<single::Queue<Delivered>> {
        self.mailbox.poll_all(cx)
    }

    /// Ends the job; no more answers come from it.
    pub(crate) fn give_up(&self) {
        self.mailbox.kill(&[self.call]);
    }

    /// Ends the job and lets go of the call, as dropping it does.
    pub fn kill(self) {}

    /// Lets go of the call and lets the job run to its end.
    pub fn detach(self) {
        self.mailbox.detach(self.call);
    }
}
