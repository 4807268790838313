//! The caller's end of a reply stream: items as they come, acknowledged as they are taken.
//!
//! Source: rexi.erl (`stream_start`, `stream_ack`); REXI.md R18 to R24.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use rexi_proto::{Answer, CallRef, ExitReason};

use crate::call::Call;
use crate::error::{CallError, SendError};
use crate::node::Node;
use crate::request::Request;
use rexi_proto::NodeName;

/// The items that a job sends, and its plain replies among them, in the order in which it sent them. The stream is
/// started when the job asks for it, and each item is acknowledged when it is taken. It ends after the job's end: with
/// an error if that was none. Dropping it kills the job.
#[must_use = "dropping a stream kills its job"]
pub struct ReplyStream {
    call: CallRef,
    items: Pin<Box<dyn Stream<Item = Result<Bytes, CallError>> + Send>>,
}

impl Node {
    /// Casts to `peer` and takes what the job sends as a stream. Never waits.
    ///
    /// ```
    /// use futures_util::StreamExt;
    /// use rexi_server::{Bytes, CallError, Context, JobOver, Node, NodeName, Request};
    ///
    /// async fn rows(mut job: Context, _: Bytes) -> Result<(), JobOver> {
    ///     for row in ["one", "two"] {
    ///         job.stream(row).await?;
    ///     }
    ///     job.stream_last("three").await
    /// }
    ///
    /// async fn print(node: &Node, peer: &NodeName) -> Result<(), CallError> {
    ///     let mut items = node.stream(peer, Request::new("rows", ""))?;
    ///     while let Some(item) = items.next().await {
    ///         println!("{:?}", item?);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`SendError`] where the peer is no member or the request is out of bounds; nothing was sent.
    pub fn stream(&self, peer: &NodeName, request: Request) -> Result<ReplyStream, SendError> {
        let call = self.cast(peer, request)?;
        Ok(ReplyStream { call: call.call_ref(), items: Box::pin(unfold(call, next_item)) })
    }
}

impl ReplyStream {
    /// The call's number.
    pub fn call_ref(&self) -> CallRef {
        self.call
    }
}

impl Stream for ReplyStream {
    type Item = Result<Bytes, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for ReplyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplyStream").field(&self.call).finish()
    }
}

async fn next_item(mut call: Call) -> Option<(Result<Bytes, CallError>, Call)> {
    loop {
        return match call.next().await? {
            Answer::Ping => continue,
            Answer::StreamInit => {
                call.start();
                continue;
            }
            Answer::Item { body } => {
                call.ack(1);
                Some((Ok(body), call))
            }
            Answer::Reply { body, .. } => Some((Ok(body), call)),
            Answer::Exit { reason: ExitReason::Done, .. } => None,
            answer => {
                let error = CallError::from_answer(answer);
                call.give_up();
                Some((Err(error), call))
            }
        };
    }
}
