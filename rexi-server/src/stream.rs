//! The caller's end of a reply stream: items as they come, acknowledged as they are taken.
//!
//! Source: rexi.erl (`stream_start`, `stream_ack`); REXI.md R18 to R24.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt, unfold};
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
        Ok(ReplyStream { call: call.call_ref(), items: Box::pin(unfold(call, next_part).map(Part::into_result)) })
    }
}

impl Part {
    fn into_result(self) -> Result<Bytes, CallError> {
        match self {
            Self::Item(body) | Self::Last(body) => Ok(body),
            Self::Failed(error) => Err(error),
        }
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

/// What a job's stream consists of.
pub(crate) enum Part {
    /// An item, or a plain reply among them.
    Item(Bytes),
    /// The reply that the job has ended with.
    Last(Bytes),
    /// Its end, where that was none.
    Failed(CallError),
}

/// The next part of the stream that this call's job sends. Starts it when the job asks; an item is acknowledged when it
/// is taken.
pub(crate) async fn next_part(mut call: Call) -> Option<(Part, Call)> {
    loop {
        let part = match call.next().await? {
            Answer::Ping => continue,
            Answer::StreamInit => {
                call.start();
                continue;
            }
            Answer::Item { body } => {
                call.ack(1);
                Part::Item(body)
            }
            Answer::Reply { body, last: false } => Part::Item(body),
            Answer::Reply { body, last: true } => Part::Last(body),
            Answer::Exit { reason: ExitReason::Done, .. } => return None,
            answer => {
                call.give_up();
                Part::Failed(CallError::from_answer(answer))
            }
        };
        return Some((part, call));
    }
}
