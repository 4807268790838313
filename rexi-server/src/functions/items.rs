//! Typed functions that answer with a stream: the items' types on both sides of `context.rs` and `stream.rs`.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::Stream;
use rexi_proto::NodeName;

use crate::calls::{Call, Part, Parts, Request};
use crate::engine::{Context, JobOver, Running, registry};
use crate::functions::reply::{self, AskError};
use crate::functions::value::{argument, ending};
use crate::typed::{self, OldStream, PayloadError, StreamFunction};

type ItemToOld<F> = fn(<F as StreamFunction>::Item) -> Result<Bytes, PayloadError>;

/// A job of the typed function `F`, as it sends its items.
pub struct Items<F: StreamFunction> {
    job: Context,
    /// How an item is said, where its caller has asked in the old form of a migration.
    old: Option<ItemToOld<F>>,
}

impl<F: StreamFunction> Items<F> {
    /// Sends an item, and waits while as many as the window holds are unacknowledged: see [`Context::stream`]. If the
    /// job is over, this does not return: the function is dropped here. In a separate task, which is not dropped, use
    /// [`Items::try_send`].
    ///
    /// Cancel safe: an item is taken only when this returns.
    pub async fn send(&mut self, item: &F::Item) {
        if self.try_send(item).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// As [`Items::send`], and says when the job is over. An item that cannot be encoded ends it.
    ///
    /// # Errors
    /// [`JobOver`].
    pub async fn try_send(&mut self, item: &F::Item) -> Result<(), JobOver> {
        let new = typed::encode(item);
        let encoded = match self.old {
            None => new,
            // Only values move between forms, and the item is the caller's: a copy of it is.
            Some(old) => new.and_then(|item| typed::decode(&item)).and_then(old),
        };
        match encoded {
            Ok(item) => self.job.stream(item).await,
            Err(problem) => {
                self.job.fail(&format!("its item: {problem}"));
                Err(JobOver)
            }
        }
    }

    /// The job, to set its window and time limit.
    pub fn job_mut(&mut self) -> &mut Context {
        &mut self.job
    }
}

impl<F: StreamFunction> Deref for Items<F> {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.job
    }
}

impl<F: StreamFunction> fmt::Debug for Items<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Items").field(&self.job).finish()
    }
}

/// A call of the typed function `F`, made by [`Node::ask_stream`](crate::Node::ask_stream): the stream of its items. It
/// is sent when the first item is asked for; dropping it kills the job. Its last item is an error if it did not end
/// well, or was not sent.
#[must_use = "nothing is asked until its items are taken"]
pub struct AskStream<F> {
    call: Asked,
    function: F,
}

enum Asked {
    Unsent { node: Running, peer: NodeName, request: Request },
    Sent(Parts),
    Over,
}

impl<F: StreamFunction> AskStream<F> {
    /// The argument is encoded at once, so it need not outlive this.
    pub(crate) fn new(function: F, node: Running, peer: NodeName, argument: &F::Argument) -> Self {
        let request = Request::of_stream(function, argument);
        Self { call: Asked::Unsent { node, peer, request }, function }
    }

    /// How long the whole stream may take, from when it is sent: see [`Request::time_limit`]. Default: as long as it
    /// takes; a job whose reader is slow ends after `stream_time_limit`, and one whose node goes away once that is
    /// given up. It changes nothing after the first item was asked for.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.call = match self.call {
            Asked::Unsent { node, peer, request } => Asked::Unsent { node, peer, request: request.time_limit(limit) },
            sent => sent,
        };
        self
    }
}

// Nothing in it is pinned.
impl<F> Unpin for AskStream<F> {}

impl<F: StreamFunction> Stream for AskStream<F> {
    type Item = Result<F::Item, AskError<F::Error>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Asked::Sent(parts) = &mut self.call else {
                let Asked::Unsent { node, peer, request } = std::mem::replace(&mut self.call, Asked::Over) else {
                    return Poll::Ready(None);
                };
                match Call::cast(&node, &peer, request) {
                    Ok(call) => self.call = Asked::Sent(Parts::new(call)),
                    Err(unsent) => return Poll::Ready(Some(Err(unsent.into()))),
                }
                continue;
            };
            let Some(part) = ready!(Pin::new(parts).poll_next(cx)) else { return Poll::Ready(None) };
            let item = match part {
                Part::Item(body) => Some(reply::item(self.function, &body).map_err(AskError::Call)),
                Part::Last(body) => reply::last(self.function, &body).transpose(),
                Part::Failed(error) => Some(Err(AskError::Call(error))),
            };
            if item.is_some() {
                return Poll::Ready(item);
            }
        }
    }
}

impl<F: StreamFunction> fmt::Debug for AskStream<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskStream").field("function", &F::NAME).finish_non_exhaustive()
    }
}

/// A handler as the registry has it: it decodes before it runs, and encodes its last item.
pub(crate) fn boxed<F, H, Fut>(handler: Arc<H>) -> registry::Handler
where
    F: StreamFunction,
    H: Fn(Items<F>, F::Argument) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<F::Item>, F::Error>> + Send + 'static,
{
    in_form::<F, H, Fut>(handler, typed::decode, |last| typed::encode(&last), None)
}

/// The same handler under the old function of a migration, as `value.rs` has it.
pub(crate) fn boxed_old<F, H, Fut>(handler: Arc<H>, old: OldStream<F>) -> registry::Handler
where
    F: StreamFunction,
    H: Fn(Items<F>, F::Argument) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<F::Item>, F::Error>> + Send + 'static,
{
    in_form::<F, H, Fut>(handler, old.form.hear, old.form.answer, Some(old.item))
}

fn in_form<F, H, Fut>(
    handler: Arc<H>,
    hear: impl Fn(&[u8]) -> Result<F::Argument, PayloadError> + Copy + Send + Sync + 'static,
    say: impl Fn(Result<Option<F::Item>, F::Error>) -> Result<Bytes, PayloadError> + Copy + Send + Sync + 'static,
    old: Option<ItemToOld<F>>,
) -> registry::Handler
where
    F: StreamFunction,
    H: Fn(Items<F>, F::Argument) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<F::Item>, F::Error>> + Send + 'static,
{
    Arc::new(move |job: Context, body: Bytes| -> registry::Work {
        let handler = Arc::clone(&handler);
        Box::pin(async move {
            match argument(&job, hear, body).await {
                Ok(argument) => ending(say(handler(Items { job, old }, argument).await), "last item"),
                Err(ending) => ending,
            }
        })
    })
}
