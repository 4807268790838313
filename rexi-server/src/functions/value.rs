//! Typed functions that are answered with one value, or with an error of their own: asked, and served.
//!
//! In: what a service declares with [`function!`](crate::function!). Out: calls that encode and decode, and functions
//! for the registry that do the reverse.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{ExitReason, JobEnding, NodeName};
use tokio::time::Instant;

use crate::calls::{Call, CallError, Quorum, Request, SendError};
use crate::engine::{Aside, Context, Running, registry};
use crate::functions::reply::{AskError, reply};
use crate::typed::{self, DECODED_AT_ONCE_BYTES_MAX, Function, OldForm, PayloadError};

/// A call of the typed function `F`, made by [`Node::ask`](crate::Node::ask): a future of its reply. It is sent when it
/// is first polled; dropping it kills the job.
#[must_use = "nothing is asked until it is awaited"]
pub struct Ask<F: Function> {
    node: Running,
    peer: NodeName,
    /// What is to be sent, or sent again.
    request: Option<Request>,
    call: Option<Call>,
    /// When its time limit passes, once it was sent: one that is sent again has what is left.
    deadline: Option<Instant>,
    /// A reply that takes long to decode.
    reading: Option<Reading<F>>,
    function: F,
}

/// A reply that is being decoded.
struct Reading<F: Function>(Aside<Result<F::Reply, AskError<F::Error>>>);

impl<F: Function> Ask<F> {
    /// The argument is encoded at once, so it need not outlive this.
    pub(crate) fn new(function: F, node: Running, peer: NodeName, argument: &F::Argument) -> Self {
        Self::of(function, node, peer, Request::of(function, argument))
    }

    /// A request of `F`.
    pub(crate) fn of(function: F, node: Running, peer: NodeName, request: Request) -> Self {
        let request = Some(request.of_call(node.shared()));
        Self { node, peer, request, call: None, deadline: None, reading: None, function }
    }

    /// As [`Request::time_limit`]. Default: the node's
    /// [`call_time_limit`](crate::NodeBuilder::call_time_limit).
    pub fn time_limit(self, limit: Duration) -> Self {
        self.with(|request| request.time_limit(limit))
    }

    /// As [`Request::no_time_limit`].
    pub fn no_time_limit(self) -> Self {
        self.with(Request::no_time_limit)
    }

    fn with(mut self, change: impl FnOnce(Request) -> Request) -> Self {
        self.request = self.request.map(change);
        self
    }

    fn send(&mut self) -> Result<Call, SendError> {
        let mut request = self.request.take().expect("a call that is over is not polled");
        if self.call.is_none() {
            // One of a migration that its peer does not take in the form that was said is asked again, once: the phase,
            // or the peer's release, may have changed while it waited, and it did not run.
            self.request = request.is_migrated().then(|| request.clone());
            self.deadline = self.request.as_ref().and_then(|request| request.deadline(Instant::now()));
        } else if let Some(deadline) = self.deadline {
            request = request.time_limit(deadline.saturating_duration_since(Instant::now()));
        }
        Call::cast(&self.node, &self.peer, request)
    }
}

// Nothing in it is pinned.
impl<F: Function> Unpin for Ask<F> {}

impl<F: Function> Future for Ask<F> {
    type Output = Result<F::Reply, AskError<F::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(Reading(reading)) = &mut self.reading {
                return Pin::new(reading).poll(cx);
            }
            let Some(call) = &mut self.call else {
                self.call = Some(self.send()?);
                continue;
            };
            match ready!(call.poll_reply(cx)) {
                Err(CallError::NoSuchFunction) if self.request.is_some() => self.call = Some(self.send()?),
                replied => match replied? {
                    body if body.len() > DECODED_AT_ONCE_BYTES_MAX => {
                        let function = self.function;
                        let reading = self.node.shared().env.aside(move || reply(function, &body));
                        self.reading = Some(Reading(reading));
                    }
                    body => return Poll::Ready(reply(self.function, &body)),
                },
            }
        }
    }
}

impl<F: Function> fmt::Debug for Ask<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("function", &F::NAME).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Asks several nodes; a typed function's own error counts as a failure of its node.
pub(crate) fn ask_quorum<F: Function>(
    function: F,
    node: Running,
    peers: impl IntoIterator<Item = NodeName>,
    argument: &F::Argument,
) -> Quorum<F::Reply, AskError<F::Error>> {
    Quorum::new(node, peers, Request::of(function, argument)).decode(move |body| reply(function, &body))
}

/// A handler as the registry has it: it decodes before it runs, and encodes after.
pub(crate) fn boxed<F, H, Fut>(handler: Arc<H>) -> registry::Handler
where
    F: Function,
    H: Fn(Context, F::Argument) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<F::Reply, F::Error>> + Send + 'static,
{
    in_form::<F, H, Fut>(handler, typed::decode, |answer| typed::encode(&answer))
}

/// The same handler under the old function of a migration: its argument is heard, and its answer said, in that form.
pub(crate) fn boxed_old<F, H, Fut>(handler: Arc<H>, old: OldForm<F::Argument, F::Reply, F::Error>) -> registry::Handler
where
    F: Function,
    H: Fn(Context, F::Argument) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<F::Reply, F::Error>> + Send + 'static,
{
    in_form::<F, H, Fut>(handler, old.hear, old.answer)
}

fn in_form<F, H, Fut>(
    handler: Arc<H>,
    hear: impl Fn(&[u8]) -> Result<F::Argument, PayloadError> + Copy + Send + Sync + 'static,
    say: impl Fn(Result<F::Reply, F::Error>) -> Result<Bytes, PayloadError> + Copy + Send + Sync + 'static,
) -> registry::Handler
where
    F: Function,
    H: Fn(Context, F::Argument) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<F::Reply, F::Error>> + Send + 'static,
{
    Arc::new(move |context: Context, body: Bytes| -> registry::Work {
        let handler = Arc::clone(&handler);
        // All of it inside the future, so that a panic in it is the worker's, not the reader's.
        Box::pin(async move {
            match argument(&context, hear, body).await {
                Ok(argument) => ending(say(handler(context, argument).await), "reply"),
                Err(ending) => ending,
            }
        })
    })
}

/// A job's argument, or the end of a job that was sent something else. The payload is let go before the job runs.
pub(super) async fn argument<A: Send + 'static>(
    job: &Context,
    hear: impl Fn(&[u8]) -> Result<A, PayloadError> + Send + 'static,
    body: Bytes,
) -> Result<A, JobEnding> {
    let decoded = match job.shared() {
        Some(shared) if body.len() > DECODED_AT_ONCE_BYTES_MAX => shared.env.aside(move || hear(&body)).await,
        _ => hear(&body),
    };
    decoded.map_err(|problem| JobEnding::Exit(ExitReason::WrongType(problem.to_string().into())))
}

/// The end of a job with what is encoded here, which is its reply or its last item.
pub(super) fn ending(encoded: Result<Bytes, PayloadError>, what: &str) -> JobEnding {
    match encoded {
        Ok(reply) => JobEnding::Reply(reply),
        Err(problem) => JobEnding::Exit(ExitReason::Failed(format!("its {what}: {problem}").into())),
    }
}
