//! Typed functions that are answered with one value, or with an error of their own: asked, and served.
//!
//! In: what a service declares with [`function!`](crate::function!). Out: calls that encode and decode, and functions
//! for the registry that do the reverse.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use rexi_proto::{ExitReason, JobEnding, NodeName};

use crate::calls::{Call, CallError, Quorum, Request};
use crate::engine::{Context, Running, registry};
use crate::functions::reply::{AskError, reply};
use crate::typed::{self, Function, OldForm, PayloadError};

/// Calls a typed function and waits for its reply.
pub(crate) fn ask<'a, F: Function>(
    function: F,
    node: &'a Running,
    peer: &'a NodeName,
    argument: &F::Argument,
) -> impl Future<Output = Result<F::Reply, AskError<F::Error>>> + Send + use<'a, F> {
    // Encoded at once, so that the future does not hold the argument, which then need not be Sync.
    let request = Request::of(function, argument);
    async move { reply(function, &replied(node, peer, request).await?) }
}

/// The reply to a request. One of a migration that its peer does not take in the form that was said is asked again,
/// once: the phase, or the peer's release, may have changed while it waited, and it did not run.
async fn replied(node: &Running, peer: &NodeName, request: Request) -> Result<Bytes, CallError> {
    let again = request.is_migrated().then(|| request.clone());
    match (Call::cast(node, peer, request)?.reply().await, again) {
        (Err(CallError::NoSuchFunction), Some(request)) => Call::cast(node, peer, request)?.reply().await,
        (replied, _) => replied,
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
            match argument(hear, body) {
                Ok(argument) => ending(say(handler(context, argument).await), "reply"),
                Err(ending) => ending,
            }
        })
    })
}

/// A job's argument, or the end of a job that was sent something else. The payload is let go before the job runs.
pub(super) fn argument<A>(hear: impl Fn(&[u8]) -> Result<A, PayloadError>, body: Bytes) -> Result<A, JobEnding> {
    let decoded = hear(&body);
    drop(body);
    decoded.map_err(|problem| JobEnding::Exit(ExitReason::WrongType(problem.to_string().into())))
}

/// The end of a job with what is encoded here, which is its reply or its last item.
pub(super) fn ending(encoded: Result<Bytes, PayloadError>, what: &str) -> JobEnding {
    match encoded {
        Ok(reply) => JobEnding::Reply(reply),
        Err(problem) => JobEnding::Exit(ExitReason::Failed(format!("its {what}: {problem}").into())),
    }
}
