//! What a function sees of its job, and how it talks to its caller before it ends: replies, pings, a stream of items,
//! questions.
//!
//! A job waits for its caller under the server's own lock: it asks whether it may go on, and leaves a waker if it may
//! not. Time limits are kept here; what each one means is decided by the core. Source: rexi.erl; R17 to R24 of
//! docs/rexi.md.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{
    CallRef, ExitReason, Incarnation, ItemStep, JobEnding, JobKey, NodeName, QuestionStep, Server, ServerAddress,
    TraceContext,
};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::pool::SharedPool;
use crate::engine::shared::Shared;
use crate::engine::worker::Owner;

/// What a running function knows of its job, and how it talks to its caller before it ends.
///
/// A function is polled for the first time where its cast is read, and is a task of its own once it has to wait. What
/// it does before that delays the calls behind it, for half a millisecond, or for its own first step if that is longer.
///
/// A job that is killed is dropped at its next await. Work that cannot be dropped, because it blocks or runs in a task
/// of its own, should look at [`Context::cancellation`]:
///
/// ```
/// use rexi_server::{Bytes, Context};
///
/// async fn digest(job: Context, argument: Bytes) -> Result<Bytes, tokio::task::JoinError> {
///     let cancelled = job.cancellation();
///     tokio::task::spawn_blocking(move || {
///         let mut sum = 0_u64;
///         for part in argument.chunks(4_096) {
///             if cancelled.is_cancelled() {
///                 break;
///             }
///             sum = part.iter().fold(sum, |sum, &byte| sum.rotate_left(5) ^ u64::from(byte));
///         }
///         Bytes::copy_from_slice(&sum.to_le_bytes())
///     })
///     .await
/// }
/// ```
#[derive(Debug)]
pub struct Context {
    pub(crate) owner: Owner,
    pub(crate) job: JobKey,
    pub(crate) caller: NodeName,
    pub(crate) function: Arc<str>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) nonce: u64,
    pub(crate) trace: Option<Box<TraceContext>>,
    pub(crate) stream_window: u32,
    pub(crate) stream_time_limit: Duration,
}

/// What a job sends no longer reaches anybody: it was killed, its caller is gone, or the server has ended it. The
/// function is dropped at its next await, so there is nothing left to do but return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the job is over: it was killed, or its server has ended it")]
pub struct JobOver;

/// A question without a response. The job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// The caller has not responded in time.
    #[error("the caller has not responded within {0:?}")]
    TimedOut(Duration),
    /// The job is over.
    #[error(transparent)]
    Over(#[from] JobOver),
}

impl Context {
    /// The node that asked, as its certificate names it.
    pub fn caller(&self) -> &NodeName {
        &self.caller
    }

    /// The start of the caller's life, in microseconds since 1970: with the call's number it names the job.
    pub fn caller_incarnation(&self) -> Incarnation {
        self.job.caller.incarnation
    }

    /// The node, for as long as it lives.
    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.owner.shared()
    }

    /// The caller's number for the call.
    pub fn call_ref(&self) -> CallRef {
        self.job.call
    }

    /// The server that accepted the job.
    pub fn server(&self) -> ServerAddress {
        self.job.server
    }

    /// The function's registered name.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// Time until the caller no longer waits; `None` where it set no limit.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The caller's id of the wider request; 0 for none.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// The caller's W3C trace context.
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace.as_deref().copied()
    }

    /// Cancelled once the job is over, for whatever reason: for what the function has started outside its own future.
    pub fn cancellation(&self) -> CancellationToken {
        let running = self.owner.serve(|server, jobs| server.runs(self.job).then(|| jobs.cancellation(self.job)));
        running.unwrap_or_else(|| {
            let over = CancellationToken::new();
            over.cancel();
            over
        })
    }

    /// Sends a reply and goes on.
    ///
    /// # Errors
    /// [`JobOver`]: nobody is there to hear it, or it was above `payload_bytes_max`, which ends the job.
    pub fn reply(&self, body: impl Into<Bytes>) -> Result<(), JobOver> {
        let body = body.into();
        self.owner.serve(|server, _| server.handle_reply(self.job, body)).then_some(()).ok_or(JobOver)
    }

    /// Tells the caller that the job is still at work, which restarts the caller's per-message limit.
    ///
    /// # Errors
    /// [`JobOver`].
    pub fn ping(&self) -> Result<(), JobOver> {
        self.owner.serve(|server, _| server.handle_ping(self.job)).then_some(()).ok_or(JobOver)
    }

    /// Sets how many items of this job's stream may be unacknowledged, 1 at least. Default: `Limits::stream_window`.
    pub fn set_stream_window(&mut self, items: u32) {
        self.stream_window = items.max(1);
    }

    /// Sets how long this job waits for its stream to be started, and for an acknowledgement. Default:
    /// `Limits::stream_time_limit`.
    pub fn set_stream_time_limit(&mut self, limit: Duration) {
        self.stream_time_limit = limit;
    }

    /// Sends an item of the job's stream. The first asks the caller for the stream and waits until it is started; each
    /// waits while as many items as the window holds are unacknowledged. A caller that cancels the stream ends the job.
    ///
    /// Cancel safe: an item is sent only when this returns.
    ///
    /// # Errors
    /// [`JobOver`]: also where the caller did not start the stream, or acknowledge an item, within the time limit, and
    /// where the item is above `payload_bytes_max` or the server has `streams_max` streams open; all of these end the
    /// job.
    pub async fn stream(&mut self, item: impl Into<Bytes>) -> Result<(), JobOver> {
        self.send_item(item.into(), Some(self.stream_window)).await
    }

    /// Sends the last item of the job's stream, which wants no acknowledgement and so waits for none. It asks for the
    /// stream if no item came before it. A function may as well return its last item.
    ///
    /// # Errors
    /// As [`Context::stream`].
    pub async fn stream_last(&mut self, item: impl Into<Bytes>) -> Result<(), JobOver> {
        self.send_item(item.into(), None).await
    }

    /// Sends a reply that the caller should respond to, and waits for the response for up to `limit`.
    ///
    /// Cancel safe in that a response that comes later is ignored.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub async fn sync_reply(&mut self, body: impl Into<Bytes>, limit: Duration) -> Result<Bytes, QuestionError> {
        let body = body.into();
        let asked = self.owner.serve(|server, _| server.handle_question(self.job, body));
        let question = asked.ok_or(JobOver)?;
        let response = self.wait(limit, |server, job| match server.take_response(job, question) {
            QuestionStep::Response(response) => Some(Ok(response)),
            QuestionStep::Over => Some(Err(JobOver)),
            QuestionStep::Wait => None,
        });
        Ok(response.await.ok_or(QuestionError::TimedOut(limit))??)
    }

    /// Ends the job with an error, and its worker at its next await.
    pub(crate) fn fail(&self, error: &str) {
        self.owner.serve(|server, jobs| {
            server.handle_end(self.job, JobEnding::Exit(ExitReason::Failed(error.into())));
            jobs.abort(self.job);
        });
    }

    async fn send_item(&mut self, mut item: Bytes, window: Option<u32>) -> Result<(), JobOver> {
        let sent = self.wait(self.stream_time_limit, |server, job| match server.handle_item(job, &mut item, window) {
            ItemStep::Sent => Some(Ok(())),
            ItemStep::Over => Some(Err(JobOver)),
            ItemStep::Wait => None,
        });
        if let Some(sent) = sent.await {
            return sent;
        }
        self.owner.serve(|server, _| server.handle_stream_timeout(self.job));
        Err(JobOver)
    }

    /// Asks the server again whenever the job is woken, until it has an answer. `None`: not within the limit.
    async fn wait<T>(
        &self,
        limit: Duration,
        mut ask: impl FnMut(&mut Server<SharedPool>, JobKey) -> Option<T>,
    ) -> Option<T> {
        // Usually there is nothing to wait for, and then a timer is not worth its cost.
        if let Some(answer) = self.owner.serve(|server, _| ask(server, self.job)) {
            return Some(answer);
        }
        let answered = poll_fn(|cx| {
            self.owner.serve(|server, jobs| match ask(server, self.job) {
                Some(answer) => Poll::Ready(answer),
                None => {
                    jobs.wait(self.job, cx.waker());
                    Poll::Pending
                }
            })
        });
        tokio::time::timeout(limit, answered).await.ok()
    }
}
