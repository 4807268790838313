//! What a function sees of its job, and how it talks to its caller before it ends: replies, pings, a stream of items,
//! questions.
//!
//! A job waits for its caller under the server's own lock: it asks whether it may go on, and leaves a waker if it may
//! not. Time limits are kept here; what each one means is decided by the core. Source: rexi.erl; R17 to R24 of
//! docs/rexi.md.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{
    CallRef, ExitReason, Incarnation, ItemList, ItemStep, JobEnding, JobKey, NodeName, QuestionStep, Server,
    ServerAddress, TraceContext,
};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::pool::SharedPool;
use crate::engine::shared::Shared;
use crate::engine::turn::{self, Ready};
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
    /// Items that are ready to leave; made with the first.
    pub(crate) lane: Option<Arc<Lane>>,
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
        self.flush();
        self.owner.serve(|server, _| server.handle_reply(self.job, body)).then_some(()).ok_or(JobOver)
    }

    /// Tells the caller that the job is still at work, which restarts the caller's per-message limit.
    ///
    /// # Errors
    /// [`JobOver`].
    pub fn ping(&self) -> Result<(), JobOver> {
        self.flush();
        self.owner.serve(|server, _| server.handle_ping(self.job)).then_some(()).ok_or(JobOver)
    }

    /// Sets how many items of this job's stream may be unacknowledged, 1 at least. Default: `Limits::stream_window`.
    pub fn set_stream_window(&mut self, items: u32) {
        self.stream_window = items.max(1);
        self.lane.iter().for_each(|lane| lane.forget_room());
    }

    /// Sets how long this job waits for its stream to be started, and for an acknowledgement. Default:
    /// `Limits::stream_time_limit`.
    pub fn set_stream_time_limit(&mut self, limit: Duration) {
        self.stream_time_limit = limit;
    }

    /// Sends an item of the job's stream. The first asks the caller for the stream and waits until it is started; each
    /// waits while as many items as the window holds are unacknowledged. A caller that cancels the stream ends the job.
    ///
    /// Items of up to 1 KiB that a job sends without waiting in between leave together, when it next waits or ends: one
    /// that this has taken reaches nobody if the job is killed before that. A task of its own has no such turns, and
    /// each of its items leaves at once.
    ///
    /// Cancel safe: an item is taken only when this returns.
    ///
    /// # Errors
    /// [`JobOver`]: also where the caller did not start the stream, or acknowledge an item, within the time limit, and
    /// where the item is above `payload_bytes_max` or the server has `streams_max` streams open; all of these end the
    /// job.
    pub async fn stream(&mut self, item: impl Into<Bytes>) -> Result<(), JobOver> {
        let (item, window) = (item.into(), self.stream_window);
        loop {
            match self.lane().push(&item) {
                Pushed::Taken => return Ok(()),
                Pushed::Alone => {
                    self.flush();
                    let sent = self.send_item(item, Some(window)).await;
                    self.lane.iter().for_each(|lane| lane.forget_room());
                    return sent;
                }
                Pushed::Full => {}
            }
            let lane = Arc::clone(self.lane());
            self.wait_for_caller(|server, _| match lane.offer(server, window) {
                Some(0) => None,
                Some(_) => Some(Ok(())),
                None => Some(Err(JobOver)),
            })
            .await?;
        }
    }

    /// Sends the last item of the job's stream, which wants no acknowledgement and so waits for none. It asks for the
    /// stream if no item came before it. A function may as well return its last item.
    ///
    /// # Errors
    /// As [`Context::stream`].
    pub async fn stream_last(&mut self, item: impl Into<Bytes>) -> Result<(), JobOver> {
        self.flush();
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
        self.flush();
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
        self.flush();
        self.owner.serve(|server, jobs| {
            server.handle_end(self.job, JobEnding::Exit(ExitReason::Failed(error.into())));
            jobs.abort(self.job);
        });
    }

    fn lane(&mut self) -> &Arc<Lane> {
        self.lane.get_or_insert_with(|| Lane::new(self.owner.clone(), self.job))
    }

    /// Lets the items leave that are ready.
    fn flush(&self) {
        self.lane.iter().for_each(|lane| lane.leave());
    }

    async fn send_item(&self, mut item: Bytes, window: Option<u32>) -> Result<(), JobOver> {
        self.wait_for_caller(|server, job| match server.handle_item(job, &mut item, window) {
            ItemStep::Sent => Some(Ok(())),
            ItemStep::Over => Some(Err(JobOver)),
            ItemStep::Wait => None,
        })
        .await
    }

    /// Waits for the caller to start the stream, or to have room for more of it. A job that waits too long is over.
    async fn wait_for_caller(
        &self,
        ask: impl FnMut(&mut Server<SharedPool>, JobKey) -> Option<Result<(), JobOver>>,
    ) -> Result<(), JobOver> {
        if let Some(answer) = self.wait(self.stream_time_limit, ask).await {
            return answer;
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

/// Items of one job that are ready, and how many more its caller has room for. They leave at the end of the turn in
/// which they were made, or once their list is full.
#[derive(Debug)]
pub(crate) struct Lane {
    owner: Owner,
    job: JobKey,
    item_bytes_max: usize,
    /// Its lock is taken behind the server's own, or alone.
    list: Mutex<Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    items: ItemList,
    /// What the server has granted beyond those.
    room: usize,
    window: u32,
}

/// What became of an item.
enum Pushed {
    /// It has left, or leaves at the end of the turn.
    Taken,
    /// There is no room as far as is known: the server is to be asked.
    Full,
    /// It is too long to go with others.
    Alone,
}

impl Lane {
    fn new(owner: Owner, job: JobKey) -> Arc<Self> {
        let inline_bytes_max = owner.shared().map_or(0, |shared| shared.limits.inline_bytes_max as usize);
        let item_bytes_max = inline_bytes_max.min(ITEM_BYTES_MAX);
        Arc::new(Self { owner, job, item_bytes_max, list: Mutex::default() })
    }

    fn push(self: &Arc<Self>, item: &[u8]) -> Pushed {
        if item.len() > self.item_bytes_max {
            return Pushed::Alone;
        }
        {
            let mut list = self.lock();
            if list.room == 0 || !list.items.push(item) {
                return Pushed::Full;
            }
            list.room -= 1;
        }
        if !turn::hold(self) {
            self.leave();
        }
        Pushed::Taken
    }

    /// Lets what is ready leave, and says how much room there is then. `None`: the job is over.
    fn offer(&self, server: &mut Server<SharedPool>, window: u32) -> Option<usize> {
        let mut list = self.lock();
        let room = server.handle_items(self.job, &mut list.items, window);
        (list.room, list.window) = (room.unwrap_or(0), window);
        room
    }

    /// From now on the server is asked before an item is added.
    fn forget_room(&self) {
        self.lock().room = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.list.lock().expect("nothing panics while it holds a lane")
    }
}

impl Ready for Lane {
    fn leave(&self) {
        let window = {
            let list = self.lock();
            if list.items.is_empty() {
                return;
            }
            list.window
        };
        // What a job that is over has ready is nobody's.
        self.owner.serve(|server, _| self.offer(server, window));
    }
}

/// Bytes of an item that goes with others: for a longer one, one frame less is not worth a copy.
const ITEM_BYTES_MAX: usize = 1 << 10;
