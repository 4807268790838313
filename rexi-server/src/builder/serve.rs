//! Typed functions that a node serves, each in the forms that its release takes.

use std::future::Future;
use std::sync::Arc;

use rexi_proto::{Form, Forms, FunctionRow, Migration};

use super::NodeBuilder;
use crate::engine::{Context, registry};
use crate::functions::{Items, items, value};
use crate::typed::{Function, StreamFunction};

impl NodeBuilder {
    /// Serves a typed function: decodes its argument, calls the handler, encodes its result. An argument of another
    /// type ends the job with [`ExitReason::WrongType`](crate::ExitReason), and the handler is not called. For
    /// everything else, see [`NodeBuilder::function`].
    ///
    /// Where this node's release does not have the function, it is left out; [`NodeBuilder::start`] fails where no
    /// release of the train has it. A function of a migration is served in each form that the release takes.
    ///
    /// ```
    /// use rexi_server::{Context, NodeBuilder};
    /// use std::sync::Arc;
    ///
    /// rexi_server::function! {
    ///     /// Adds one.
    ///     pub Next = "next" (u32) -> u32, error String, since 1.0;
    ///     /// Adds what the node was started with.
    ///     pub Add = "add" (u32) -> u32, error String, since 1.0;
    /// }
    ///
    /// async fn next(_job: Context, number: u32) -> Result<u32, String> {
    ///     number.checked_add(1).ok_or_else(|| "there is no next one".to_owned())
    /// }
    ///
    /// fn register(node: NodeBuilder, start: Arc<u32>) -> NodeBuilder {
    ///     node.serve(Next, next).serve(Add, move |_job, number| {
    ///         let start = Arc::clone(&start);
    ///         async move { Ok(number + *start) }
    ///     })
    /// }
    /// ```
    pub fn serve<F, H, Fut>(mut self, _function: F, handler: H) -> Self
    where
        F: Function,
        H: Fn(Context, F::Argument) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<F::Reply, F::Error>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let new = value::boxed::<F, H, Fut>(Arc::clone(&handler));
        let old = F::old().map(|old| (old.migration(), old.name, value::boxed_old::<F, H, Fut>(handler, old)));
        self.register_forms(F::LIFE.row(F::NAME), new, old);
        self
    }

    /// As [`NodeBuilder::serve`], with what its handlers share: each call of the handler gets a clone of it, so it is
    /// best an `Arc`, or a handle.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use rexi_server::{Context, NodeBuilder};
    ///
    /// rexi_server::function! {
    ///     /// Adds what the node was started with.
    ///     pub Add = "add" (u32) -> u32, error String, since 1.0;
    ///     /// What the node was started with.
    ///     pub Start = "start" () -> u32, error String, since 1.0;
    /// }
    ///
    /// async fn add(start: Arc<u32>, _job: Context, number: u32) -> Result<u32, String> {
    ///     number.checked_add(*start).ok_or_else(|| "that is too much".to_owned())
    /// }
    ///
    /// fn register(node: NodeBuilder, start: &Arc<u32>) -> NodeBuilder {
    ///     node.serve_with(Add, start, add).serve_with(Start, start, |start, _job, ()| async move { Ok(*start) })
    /// }
    /// ```
    pub fn serve_with<F, S, H, Fut>(self, function: F, shared: &S, handler: H) -> Self
    where
        F: Function,
        S: Clone + Send + Sync + 'static,
        H: Fn(S, Context, F::Argument) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<F::Reply, F::Error>> + Send + 'static,
    {
        let shared = shared.clone();
        self.serve(function, move |job, argument| handler(shared.clone(), job, argument))
    }

    /// Serves a typed function that answers with a stream. The handler returns its last item, if it has one in hand, or
    /// its own error. For everything else, see [`NodeBuilder::serve`].
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
    ///     node.serve_stream(Below, below)
    /// }
    /// ```
    pub fn serve_stream<F, H, Fut>(mut self, _function: F, handler: H) -> Self
    where
        F: StreamFunction,
        H: Fn(Items<F>, F::Argument) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<F::Item>, F::Error>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let new = items::boxed::<F, H, Fut>(Arc::clone(&handler));
        let old = F::old().map(|old| (old.migration(), old.form.name, items::boxed_old::<F, H, Fut>(handler, old)));
        self.register_forms(F::LIFE.row(F::NAME), new, old);
        self
    }

    /// As [`NodeBuilder::serve_stream`], with what its handlers share: see [`NodeBuilder::serve_with`].
    pub fn serve_stream_with<F, S, H, Fut>(self, function: F, shared: &S, handler: H) -> Self
    where
        F: StreamFunction,
        S: Clone + Send + Sync + 'static,
        H: Fn(S, Items<F>, F::Argument) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<F::Item>, F::Error>> + Send + 'static,
    {
        let shared = shared.clone();
        self.serve_stream(function, move |items, argument| handler(shared.clone(), items, argument))
    }

    /// Registers a function; of a migration, in each form that the release takes.
    fn register_forms(
        &mut self,
        row: FunctionRow,
        new: registry::Handler,
        old: Option<(Migration, &str, registry::Handler)>,
    ) {
        let name = row.name.clone();
        let Some((migration, old_name, old)) = old else { return self.register(&name, new, Some(row)) };
        let takes = self.takes(&migration);
        if takes.contains(Form::New) {
            self.register(&name, new, None);
        }
        if takes.contains(Form::Old) {
            self.register(old_name, old, None);
        }
    }

    /// The forms of a migration that the release takes; none, and the node does not start, where its train does not
    /// have the migration.
    fn takes(&mut self, migration: &Migration) -> Forms {
        match self.profile.stage(migration.key()) {
            Some(stage) => stage.takes(),
            None => {
                self.unknown_migration.get_or_insert_with(|| migration.key().clone());
                Forms::NONE
            }
        }
    }
}
