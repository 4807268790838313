//! Typed functions that answer with a stream: the items' types on both sides of `context.rs` and `stream.rs`.

use std::fmt;
use std::future::{Future, ready};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use rexi_proto::{Ending, ExitReason, NodeName};

use crate::builder::NodeBuilder;
use crate::calls::request::Request;
use crate::calls::stream::{Part, Parts};
use crate::engine::context::Context;
use crate::engine::registry;
use crate::error::{AskError, JobOver, SendError};
use crate::functions::function::StreamFunction;
use crate::node::Node;
use crate::typed;

/// A job of the typed function `F`, as it sends its items.
pub struct Items<F> {
    job: Context,
    function: PhantomData<fn() -> F>,
}

impl<F: StreamFunction> Items<F> {
    /// Sends an item, and waits while as many as the window holds are unacknowledged: see [`Context::stream`]. If the
    /// job is over, this does not return: the function is dropped here. In a task of one's own, which is not, use
    /// [`Items::try_send`].
    ///
    /// Cancel safe: an item is sent only when this returns.
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
        match typed::encode(item) {
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

impl<F> Deref for Items<F> {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.job
    }
}

impl<F> fmt::Debug for Items<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Items").field(&self.job).finish()
    }
}

impl NodeBuilder {
    /// Serves a typed function that answers with a stream. The handler returns its last item, if it has one in hand,
    /// or its own error. As to the rest, see [`NodeBuilder::serve`].
    ///
    /// ```
    /// use rexi_server::{Items, NodeBuilder};
    ///
    /// rexi_server::function! {
    ///     /// The numbers below a number.
    ///     pub Below = "below" (u32) -> stream u32, error String, since 1.0;
    /// }
    ///
    /// async fn below(mut items: Items<Below>, end: u32) -> Result<Option<u32>, String> {
    ///     for number in 0..end {
    ///         items.send(&number).await;
    ///     }
    ///     Ok(None)
    /// }
    ///
    /// fn register(node: NodeBuilder) -> NodeBuilder {
    ///     node.serve_stream::<Below, _, _>(below)
    /// }
    /// ```
    pub fn serve_stream<F, H, Fut>(mut self, handler: H) -> Self
    where
        F: StreamFunction,
        H: Fn(Items<F>, F::Argument) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<F::Item>, F::Error>> + Send + 'static,
    {
        if !self.registry.insert_boxed(F::NAME, boxed::<F, H, Fut>(handler), Some(F::LIFE.row(F::NAME))) {
            self.twice.get_or_insert_with(|| F::NAME.to_owned());
        }
        self
    }
}

impl Node {
    /// Calls a typed function that answers with a stream. Items are acknowledged as they are taken; dropping the stream
    /// kills the job. Its last item is an error if it did not end well.
    ///
    /// # Errors
    /// [`SendError`] where the peer is no member, this node's release may not emit the function, or the argument cannot
    /// be sent; nothing was sent.
    pub fn ask_stream<F: StreamFunction>(
        &self,
        peer: &NodeName,
        argument: &F::Argument,
    ) -> Result<impl Stream<Item = Result<F::Item, AskError<F::Error>>> + Send + Unpin + use<F>, SendError> {
        let parts = Parts::new(self.cast(peer, Request::of_stream::<F>(argument))?);
        Ok(parts.filter_map(|part| {
            ready(match part {
                Part::Item(body) => Some(typed::item::<F>(&body).map_err(AskError::Call)),
                Part::Last(body) => typed::last::<F>(&body).transpose(),
                Part::Failed(error) => Some(Err(AskError::Call(error))),
            })
        }))
    }
}

fn boxed<F, H, Fut>(handler: H) -> registry::Function
where
    F: StreamFunction,
    H: Fn(Items<F>, F::Argument) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<F::Item>, F::Error>> + Send + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |job: Context, body: Bytes| -> registry::Work {
        let handler = Arc::clone(&handler);
        Box::pin(async move {
            let argument = match typed::decode::<F::Argument>(&body) {
                Ok(argument) => argument,
                Err(problem) => return Ending::Exit(ExitReason::WrongType(problem.to_string().into())),
            };
            drop(body);
            match typed::encode(&handler(Items { job, function: PhantomData }, argument).await) {
                Ok(last) => Ending::Reply(last),
                Err(problem) => Ending::Exit(ExitReason::Failed(format!("its last item: {problem}").into())),
            }
        })
    })
}
