//! Layers between a job and its function.
//!
//! In: layers, in the order in which they were given. Out: functions like any other, each of which runs a stack of
//! services inside its worker. So what a layer waits for, its worker waits for: the job counts, can be killed and ends
//! with its time limit, and the connection's reader goes on.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use bytes::Bytes;
use rexi_proto::{Ending, ExitReason};
use tower::load_shed::error::Overloaded;
use tower::util::{BoxCloneSyncService, MapErr};
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::builder::NodeBuilder;
use crate::engine::context::Context;
use crate::engine::registry::{Function, Registry, Work};
use crate::error::StartError;

/// A job on its way to its function. It is the only one of that job, so a job runs its function at most once.
pub struct JobRequest {
    context: Context,
    argument: Bytes,
    function: Function,
}

impl JobRequest {
    /// The function's registered name.
    pub fn function(&self) -> &str {
        self.context.function()
    }

    /// The job: its caller, its time limit, its trace; what it replies before its end.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The job, to set the window and the time limit of its stream.
    pub fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// The encoded argument.
    pub fn argument(&self) -> &Bytes {
        &self.argument
    }

    /// Puts another encoded argument in its place.
    pub fn set_argument(&mut self, argument: impl Into<Bytes>) {
        self.argument = argument.into();
    }
}

impl fmt::Debug for JobRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.argument.len();
        f.debug_struct("JobRequest").field("context", &self.context).field("argument_bytes", &bytes).finish()
    }
}

/// How a job ends without a value, for layers that want to look at it or to choose it. Any other error of a layer
/// becomes [`ExitReason::Failed`] with its text.
///
/// tower's `Overloaded`, of its layer `load_shed`, becomes [`ExitReason::TooManyJobs`]: the function did not run, and
/// the caller may try elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    ending: Ending,
}

impl JobError {
    /// Ends the job with this reason. One that says that the function did not run is for a layer that has not called
    /// it: callers try again on its word.
    pub fn new(reason: ExitReason) -> Self {
        Self { ending: Ending::Exit(reason) }
    }

    /// The reason; `None` where the function says that there is no such function.
    pub fn reason(&self) -> Option<&ExitReason> {
        match &self.ending {
            Ending::Exit(reason) => Some(reason),
            Ending::Reply(_) | Ending::NoSuchFunction => None,
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            Some(reason) => reason.fmt(f),
            None => f.write_str("there is no such function"),
        }
    }
}

impl std::error::Error for JobError {}

/// What a layer wraps: the layers inside of it, and the function. It answers with the encoded reply; `None` where the
/// function has none, or none left. Its errors are [`JobError`]s, or those of the layers inside.
#[derive(Clone, Debug)]
pub struct JobService(BoxCloneSyncService<JobRequest, Option<Bytes>, BoxError>);

impl Service<JobRequest> for JobService {
    type Response = Option<Bytes>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Option<Bytes>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, job: JobRequest) -> Self::Future {
        self.0.call(job)
    }
}

/// Runs the function.
#[derive(Clone)]
struct Innermost;

impl Service<JobRequest> for Innermost {
    type Response = Option<Bytes>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Option<Bytes>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: JobRequest) -> Self::Future {
        let JobRequest { context, argument, function } = job;
        let work = function(context, argument);
        Box::pin(async move {
            match work.await {
                Ending::Reply(reply) => Ok(Some(reply)),
                Ending::Exit(ExitReason::Done) => Ok(None),
                ending => Err(JobError { ending }.into()),
            }
        })
    }
}

type Wrap = Box<dyn FnOnce(JobService) -> JobService + Send + Sync>;

/// The layers of a node that has not started, the outermost first.
#[derive(Default)]
pub(crate) struct Layers {
    of_all: Vec<Wrap>,
    of_one: Vec<(String, Wrap)>,
}

impl Layers {
    /// Puts the functions inside their layers.
    pub(crate) fn apply(self, registry: &mut Registry) -> Result<(), StartError> {
        // The last one given is the innermost.
        for (name, wrap) in self.of_one.into_iter().rev() {
            let stack = stack([wrap]);
            if !registry.wrap(&name, |function| layered(stack, function)) {
                return Err(StartError::LayerWithoutFunction(name));
            }
        }
        if !self.of_all.is_empty() {
            // One stack for all of them, so that a limit is one of the node.
            let stack = stack(self.of_all);
            registry.wrap_all(|function| layered(Arc::clone(&stack), function));
        }
        Ok(())
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers").field("of_all", &self.of_all.len()).field("of_one", &self.of_one.len()).finish()
    }
}

fn stack(wraps: impl IntoIterator<Item = Wrap, IntoIter: DoubleEndedIterator>) -> Arc<JobService> {
    let innermost = JobService(BoxCloneSyncService::new(Innermost));
    Arc::new(wraps.into_iter().rev().fold(innermost, |inner, wrap| wrap(inner)))
}

fn wrap<L>(layer: L) -> Wrap
where
    L: Layer<JobService> + Send + Sync + 'static,
    L::Service: Service<JobRequest, Response = Option<Bytes>> + Clone + Send + Sync + 'static,
    <L::Service as Service<JobRequest>>::Error: Into<BoxError>,
    <L::Service as Service<JobRequest>>::Future: Send,
{
    Box::new(move |inner| {
        JobService(BoxCloneSyncService::new(MapErr::new(layer.layer(inner), <_ as Into<BoxError>>::into)))
    })
}

fn layered(stack: Arc<JobService>, function: Function) -> Function {
    Arc::new(move |context: Context, argument: Bytes| -> Work {
        let (stack, function) = (Arc::clone(&stack), Arc::clone(&function));
        // All of it inside the future: a layer that waits or panics is the worker's, not the reader's.
        Box::pin(async move {
            let job = JobRequest { context, argument, function };
            match JobService::clone(&stack).oneshot(job).await {
                Ok(Some(reply)) => Ending::Reply(reply),
                Ok(None) => Ending::Exit(ExitReason::Done),
                Err(error) => ending_of(error),
            }
        })
    })
}

fn ending_of(error: BoxError) -> Ending {
    match error.downcast::<JobError>() {
        Ok(error) => error.ending,
        Err(error) if error.is::<Overloaded>() => Ending::Exit(ExitReason::TooManyJobs),
        Err(error) => Ending::Exit(ExitReason::Failed(error.to_string().into())),
    }
}

impl NodeBuilder {
    /// Wraps all functions of the node in a tower layer, whether they are registered before or after. As in tower's
    /// `ServiceBuilder`, the first layer is the outermost: it sees a job first and its reply last. There is one stack
    /// for all functions, so a concurrency limit is one of the node; [`NodeBuilder::layer_function`] has those of one
    /// function, which are inside of these.
    ///
    /// A job whose layer is not ready waits in its own worker: it counts among the node's jobs, which are bounded, it
    /// can be killed, and it ends with its time limit. An error of a layer ends the job with an exit: see [`JobError`].
    /// The layer's service must be `Clone`, and clones must share what they limit; one that is not, such as tower's
    /// rate limit, goes behind a `buffer`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use rexi_server::middleware::{JobError, JobRequest};
    /// use rexi_server::{ExitReason, NodeBuilder};
    /// use tower::ServiceBuilder;
    ///
    /// /// Only nodes of the front may ask.
    /// async fn check(job: JobRequest) -> Result<JobRequest, JobError> {
    ///     if job.context().caller().as_str().starts_with("front") {
    ///         Ok(job)
    ///     } else {
    ///         Err(JobError::new(ExitReason::Failed("not allowed".into())))
    ///     }
    /// }
    ///
    /// fn register(node: NodeBuilder) -> NodeBuilder {
    ///     let layers = ServiceBuilder::new()
    ///         .load_shed()
    ///         .concurrency_limit(64)
    ///         .timeout(Duration::from_secs(2))
    ///         .filter_async(check);
    ///     node.layer(layers.into_inner())
    /// }
    /// ```
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<JobService> + Send + Sync + 'static,
        L::Service: Service<JobRequest, Response = Option<Bytes>> + Clone + Send + Sync + 'static,
        <L::Service as Service<JobRequest>>::Error: Into<BoxError>,
        <L::Service as Service<JobRequest>>::Future: Send,
    {
        self.layers.of_all.push(wrap(layer));
        self
    }

    /// Wraps one function in a tower layer, typed or not, with a stream or not: see [`NodeBuilder::layer`].
    ///
    /// [`NodeBuilder::start`] fails where there is no such function.
    ///
    /// ```
    /// use rexi_server::{Context, Function, NodeBuilder};
    /// use tower::limit::ConcurrencyLimitLayer;
    ///
    /// rexi_server::function! {
    ///     /// Compacts the store.
    ///     pub Compact = "compact" () -> (), error String, since 1.0;
    /// }
    ///
    /// fn register(node: NodeBuilder) -> NodeBuilder {
    ///     let compact = |_job: Context, ()| async { Ok(()) };
    ///     node.serve::<Compact, _, _>(compact).layer_function(Compact::NAME, ConcurrencyLimitLayer::new(1))
    /// }
    /// ```
    pub fn layer_function<L>(mut self, name: &str, layer: L) -> Self
    where
        L: Layer<JobService> + Send + Sync + 'static,
        L::Service: Service<JobRequest, Response = Option<Bytes>> + Clone + Send + Sync + 'static,
        <L::Service as Service<JobRequest>>::Error: Into<BoxError>,
        <L::Service as Service<JobRequest>>::Future: Send,
    {
        self.layers.of_one.push((name.to_owned(), wrap(layer)));
        self
    }
}
