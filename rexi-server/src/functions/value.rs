//! Typed functions that are answered with one value, or with an error of their own: asked, and served.
//!
//! In: what a service declares with [`function!`](crate::function!). Out: calls that encode and decode, and functions
//! for the registry that do the reverse.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use rexi_proto::{Ending, ExitReason, NodeName};

use crate::calls::{Call, CallError, Quorum, Request};
use crate::engine::{Context, Running, registry};
use crate::functions::reply::{AskError, reply};
use crate::typed::{self, Function};

/// Calls a typed function and waits for its reply.
pub(crate) fn ask<'a, F: Function>(
    function: F,
    node: &'a Running,
    peer: &'a NodeName,
    argument: &F::Argument,
) -> impl Future<Output = Result<F::Reply, AskError<F::Error>>> + Send + use<'a, F> {
    // Encoded at once, so that the future does not hold the argument, which then need not be Sync.
    let request = Request::of(function, argument);
    async move { reply(function, &Call::cast(node, peer, request).map_err(CallError::from)?.reply().await?) }
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
pub(crate) fn boxed<F, H, Fut>(handler: H) -> registry::Handler
where
    F: Function,
    H: Fn(Context, F::Argument) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<F::Reply, F::Error>> + Send + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |context: Context, body: Bytes| -> registry::Work {
        let handler = Arc::clone(&handler);
        // All of it inside the future, so that a panic in it is the worker's, not the reader's.
        Box::pin(async move {
            let argument = match typed::decode::<F::Argument>(&body) {
                Ok(argument) => argument,
                Err(problem) => return Ending::Exit(ExitReason::WrongType(problem.to_string().into())),
            };
            drop(body);
            match typed::encode(&handler(context, argument).await) {
                Ok(reply) => Ending::Reply(reply),
                Err(problem) => Ending::Exit(ExitReason::Failed(format!("its reply: {problem}").into())),
            }
        })
    })
}
