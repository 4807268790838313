//! One task per job. Its end, however it comes about, goes back to the server that accepted the job: a reply, an error,
//! a panic, a time limit. A killed worker's future is dropped, so its drop code runs, and nothing is sent.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Waker;

use futures_util::FutureExt;
use rexi_proto::{CastRequest, Ending, ExitReason, JobId, JobKey, NodeName, Server};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::context::Context;
use crate::failures::Origin;
use crate::member::Member;
use crate::node::Shared;
use crate::pool::SharedPool;
use crate::singleton::Singleton;

/// The server that a worker answers to.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    PerNode(Arc<Member>),
    Singleton(Arc<Singleton>),
}

/// The workers of one server.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    running: HashMap<JobId, Worker>,
}

#[derive(Debug)]
struct Worker {
    task: AbortHandle,
    /// Who waits for the job's caller.
    waker: Option<Waker>,
    /// Made when it is first asked for.
    cancellation: Option<CancellationToken>,
}

impl Workers {
    pub(crate) fn insert(&mut self, job: JobKey, task: AbortHandle) {
        self.running.insert(job.id, Worker { task, waker: None, cancellation: None });
    }

    /// A worker has come to its end; what it has started and left behind is told.
    pub(crate) fn remove(&mut self, job: JobKey) {
        self.running.remove(&job.id);
    }

    pub(crate) fn abort(&mut self, job: JobKey) {
        if let Some(worker) = self.running.remove(&job.id) {
            worker.task.abort();
        }
    }

    pub(crate) fn abort_all(&mut self) {
        // By number, and not as they lie in the map: in the same order in each run of a seed.
        let mut running: Vec<_> = self.running.drain().collect();
        running.sort_unstable_by_key(|&(job, _)| job);
        running.iter().for_each(|(_, worker)| worker.task.abort());
    }

    pub(crate) fn wake(&mut self, job: JobKey) {
        if let Some(waker) = self.running.get_mut(&job.id).and_then(|worker| worker.waker.take()) {
            waker.wake();
        }
    }

    /// Notes whom to wake when the job's caller has said something.
    pub(crate) fn wait(&mut self, job: JobKey, waker: &Waker) {
        if let Some(worker) = self.running.get_mut(&job.id) {
            worker.waker = Some(waker.clone());
        }
    }

    /// Cancelled once the job is over, however that comes about.
    pub(crate) fn cancellation(&mut self, job: JobKey) -> CancellationToken {
        match self.running.get_mut(&job.id) {
            Some(worker) => worker.cancellation.get_or_insert_default().clone(),
            None => {
                let over = CancellationToken::new();
                over.cancel();
                over
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(cancellation) = &self.cancellation {
            cancellation.cancel();
        }
    }
}

impl Owner {
    /// Changes the server once and does what comes of it.
    pub(crate) fn serve<T>(&self, take: impl FnOnce(&mut Server<SharedPool>, &mut Workers) -> T) -> T {
        match self {
            Self::PerNode(member) => member.serve(take),
            Self::Singleton(singleton) => singleton.serve(take),
        }
    }

    fn note_failure(&self, job: JobKey, function: Arc<str>, reason: &ExitReason) {
        let shared = match self {
            Self::PerNode(member) => member.shared(),
            Self::Singleton(singleton) => singleton.shared(),
        };
        if let Some(shared) = shared {
            let caller = shared.member_by_id(job.caller.peer).name().clone();
            shared.failures.note(Origin { server: job.server, caller, function, call: job.call }, reason);
        }
    }

    fn handle_end(&self, job: JobKey, ending: Ending) {
        match self {
            Self::PerNode(member) => member.finish(job, ending),
            Self::Singleton(singleton) => singleton.finish(job, ending),
        }
    }
}

/// Starts a worker; `None` where there is no such function.
pub(crate) fn spawn(
    shared: &Shared,
    owner: Owner,
    caller: &NodeName,
    job: JobKey,
    cast: CastRequest,
) -> Option<AbortHandle> {
    let function = shared.registry.find(&cast.function)?;
    let CastRequest { function: name, time_left, nonce, trace, body, .. } = cast;
    let span = tracing::info_span!("job", node = %shared.name, peer = %caller, function = %name, call = job.call.0);
    let deadline = time_left.map(|left| Instant::now() + left);
    let called = Arc::clone(&name);
    let (window, time_limit) = (shared.limits.stream_window, shared.limits.stream_time_limit);
    let context = Context {
        owner: owner.clone(),
        job,
        caller: caller.clone(),
        function: name,
        deadline,
        nonce,
        trace,
        stream_window: window,
        stream_time_limit: time_limit,
    };
    let work = function(context, body);
    let work = async move {
        match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
            None => Some(work.await),
        }
    };
    let task = async move {
        // The time limit is inside, since a future that is dropped by it can panic as well.
        let ending = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Some(ending)) => ending,
            Ok(None) => Ending::Exit(ExitReason::TimePassed),
            Err(panic) => Ending::Exit(ExitReason::Panicked(panic_text(panic.as_ref()).into())),
        };
        // Before its caller hears, who may then ask for it.
        if let Ending::Exit(reason) = &ending {
            owner.note_failure(job, called, reason);
        }
        owner.handle_end(job, ending);
    };
    Some(shared.env.tasks().spawn_worker(task.instrument(span)))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}
