//! Layers between a job and its function.
//!
//! In: layers, in the order in which they were given. Out: functions like any other, each of which runs a stack of
//! services inside its worker. So a layer that waits makes its worker wait: the job counts, can be killed and ends with
//! its time limit, and the connection's reader goes on.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use bytes::Bytes;
use rexi_proto::{ExitReason, JobEnding};
use tower::load_shed::error::Overloaded;
use tower::util::{BoxCloneSyncService, MapErr};
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::engine::{Context, Handler, Registry, Work};

/// A job on its way to its function. It is the only one of that job, so a job runs its function at most once.
pub struct JobRequest {
    context: Context,
    argument: Bytes,
    function: Handler,
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
    ending: JobEnding,
}

impl JobError {
    /// Ends the job with this reason. One that says that the function did not run is for a layer that has not called
    /// it: callers try again on its word.
    pub fn new(reason: ExitReason) -> Self {
        Self { ending: JobEnding::Exit(reason) }
    }

    /// The reason; `None` where the function says that there is no such function.
    pub fn reason(&self) -> Option<&ExitReason> {
        match &self.ending {
            JobEnding::Exit(reason) => Some(reason),
            JobEnding::Reply(_) | JobEnding::NoSuchFunction => None,
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

/// What a layer wraps: the layers inside it, and the function. It answers with the encoded reply; `None` where the
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
                JobEnding::Reply(reply) => Ok(Some(reply)),
                JobEnding::Exit(ExitReason::Done) => Ok(None),
                ending => Err(JobError { ending }.into()),
            }
        })
    }
}

/// Puts one layer around those inside it.
pub(crate) type Wrap = Box<dyn FnOnce(JobService) -> JobService + Send + Sync>;

/// The layers of a node that has not started, the outermost first.
#[derive(Default)]
pub(crate) struct Layers {
    of_all: Vec<Wrap>,
    of_one: Vec<(String, Wrap)>,
}

impl Layers {
    /// Adds a layer of all functions.
    pub(crate) fn of_all(&mut self, wrap: Wrap) {
        self.of_all.push(wrap);
    }

    /// Adds a layer of one function.
    pub(crate) fn of_one(&mut self, name: &str, wrap: Wrap) {
        self.of_one.push((name.to_owned(), wrap));
    }

    /// Puts the functions inside their layers. The error is the name of a layer's function that there is not.
    pub(crate) fn apply(self, registry: &mut Registry) -> Result<(), String> {
        // The last one given is the innermost.
        for (name, wrap) in self.of_one.into_iter().rev() {
            let stack = stack([wrap]);
            if !registry.wrap(&name, |function| layered(stack, function)) {
                return Err(name);
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

pub(crate) fn wrap<L>(layer: L) -> Wrap
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

fn layered(stack: Arc<JobService>, function: Handler) -> Handler {
    Arc::new(move |context: Context, argument: Bytes| -> Work {
        let (stack, function) = (Arc::clone(&stack), Arc::clone(&function));
        // All of it inside the future: a layer that waits or panics is the worker's, not the reader's.
        Box::pin(async move {
            let job = JobRequest { context, argument, function };
            match JobService::clone(&stack).oneshot(job).await {
                Ok(Some(reply)) => JobEnding::Reply(reply),
                Ok(None) => JobEnding::Exit(ExitReason::Done),
                Err(error) => ending_of(error),
            }
        })
    })
}

fn ending_of(error: BoxError) -> JobEnding {
    match error.downcast::<JobError>() {
        Ok(error) => error.ending,
        Err(error) if error.is::<Overloaded>() => JobEnding::Exit(ExitReason::TooManyJobs),
        Err(error) => JobEnding::Exit(ExitReason::Failed(error.to_string().into())),
    }
}
