//! One worker per job. It is polled once where its cast is read, and is a task if it has to wait. Its end, however it
//! comes about, goes back to the server that accepted the job: a reply, an error, a panic, a time limit. A killed
//! worker's future is dropped, so its drop code runs, and nothing is sent.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll, Waker, ready};
use std::time::Duration;

use rexi_proto::{CastRequest, Ending, ExitReason, JobId, JobKey, Server};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::engine::context::Context;
use crate::engine::failures::Origin;
use crate::engine::member::Member;
use crate::engine::metrics::FunctionMetrics;
use crate::engine::pool::SharedPool;
use crate::engine::registry::Work;
use crate::engine::shared::Shared;
use crate::engine::singleton::Singleton;
use crate::engine::trace;

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
    /// `None` until it has to wait for something.
    task: Option<AbortHandle>,
    /// Who waits for the job's caller.
    waker: Option<Waker>,
    /// Made when it is first asked for.
    cancellation: Option<CancellationToken>,
}

impl Workers {
    /// Makes a worker, and keeps its place. The error is the job's end, where its caller may not call the function or
    /// there is none. Who may not call it does not hear whether it is there.
    pub(crate) fn prepare(
        &mut self,
        shared: &Shared,
        owner: Owner,
        caller: &Member,
        job: JobKey,
        cast: CastRequest,
    ) -> Result<Run, Ending> {
        let by = caller.name();
        if !shared.gate.admits(&shared.name, by, &cast.function) {
            caller.denied.fetch_add(1, Ordering::Relaxed);
            return Err(Ending::Exit(ExitReason::NotAllowed));
        }
        let registered = shared.registry.find(&cast.function).ok_or(Ending::NoSuchFunction)?;
        let CastRequest { function: name, time_left, nonce, trace, body, .. } = cast;
        let span = tracing::info_span!("job", node = %shared.name, peer = %by, function = %name, call = job.call.0);
        if let Some(trace) = &trace {
            trace::join(&span, trace);
        }
        let deadline = time_left.map(|left| Instant::now() + left);
        let (window, time_limit) = (shared.limits.stream_window, shared.limits.stream_time_limit);
        let context = Context {
            owner: owner.clone(),
            job,
            caller: by.clone(),
            function: Arc::clone(&name),
            deadline,
            nonce,
            trace,
            stream_window: window,
            stream_time_limit: time_limit,
        };
        let work = Some((registered.function)(context, body));
        self.running.insert(job.id, Worker { task: None, waker: None, cancellation: None });
        let metrics = registered.metrics();
        Ok(Run { owner, job, function: name, work, deadline, timer: None, started: None, ended: None, metrics, span })
    }

    pub(crate) fn has(&self, job: JobKey) -> bool {
        self.running.contains_key(&job.id)
    }

    /// A worker becomes a task, if its job was not killed.
    fn hand_over(&mut self, job: JobKey, spawn: impl FnOnce() -> Option<AbortHandle>) {
        if let Some(worker) = self.running.get_mut(&job.id) {
            worker.task = spawn();
        }
    }

    /// A worker has come to its end; what it has started and left behind is told.
    pub(crate) fn remove(&mut self, job: JobKey) {
        self.running.remove(&job.id);
    }

    pub(crate) fn abort(&mut self, job: JobKey) {
        if let Some(worker) = self.running.remove(&job.id) {
            worker.abort();
        }
    }

    pub(crate) fn abort_all(&mut self) {
        // By number, and not as they lie in the map: in the same order in each run of a seed.
        let mut running: Vec<_> = self.running.drain().collect();
        running.sort_unstable_by_key(|&(job, _)| job);
        running.iter().for_each(|(_, worker)| worker.abort());
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

impl Worker {
    /// One that is no task yet finds that its job is gone when it is to become one.
    fn abort(&self) {
        if let Some(task) = &self.task {
            task.abort();
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

    fn note_failure(&self, job: JobKey, function: &Arc<str>, reason: &ExitReason) {
        let shared = match self {
            Self::PerNode(member) => member.shared(),
            Self::Singleton(singleton) => singleton.shared(),
        };
        // The caller may have left, which has killed the job.
        if let Some(shared) = shared
            && let Some(caller) = shared.member_by_id(job.caller.peer)
        {
            let (caller, function) = (caller.name().clone(), Arc::clone(function));
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

/// A worker: one job's function, and what becomes of its end.
#[must_use = "a worker does nothing unless it is polled or spawned"]
pub(crate) struct Run {
    owner: Owner,
    job: JobKey,
    function: Arc<str>,
    /// `None` once it is over.
    work: Option<Work>,
    deadline: Option<Instant>,
    /// Made when it first has to wait.
    timer: Option<Pin<Box<Sleep>>>,
    /// When it was first to be polled.
    started: Option<Instant>,
    ended: Option<Instant>,
    metrics: Arc<FunctionMetrics>,
    span: Span,
}

/// Polls workers once, where their casts were read; those that have to wait go on as tasks. So do all that are left
/// when this has taken too long, since the peer's next frames wait behind it.
pub(crate) fn start_all(shared: &Shared, workers: Vec<Run>) {
    if workers.is_empty() {
        return;
    }
    let mut now = Instant::now();
    let until = now + FIRST_POLLS_LIMIT;
    for worker in workers {
        if now < until {
            now = worker.start(shared, now);
        } else {
            worker.spawn(shared, now);
        }
    }
}

impl Run {
    /// Returns what time it is then: the clock is read once a worker, for its measure and for the limit of all.
    fn start(mut self, shared: &Shared, now: Instant) -> Instant {
        self.started = Some(now);
        // Nobody needs to be woken: whoever takes over polls again at once.
        if Pin::new(&mut self).poll(&mut task::Context::from_waker(Waker::noop())).is_pending() {
            self.spawn(shared, now);
            return Instant::now();
        }
        self.ended.unwrap_or(now)
    }

    /// Goes on as a task, unless the job was killed before that.
    pub(crate) fn spawn(mut self, shared: &Shared, now: Instant) {
        self.started = Some(now);
        let (owner, job, mut run) = (self.owner.clone(), self.job, Some(self));
        owner.serve(|_, workers| workers.hand_over(job, || run.take().map(|run| shared.env.tasks().spawn_worker(run))));
        run.into_iter().for_each(Self::cancel);
    }

    /// Drops the work of a killed job. Not to be called under a lock, since what is dropped may want it; and a panic in
    /// it is no reader's.
    pub(crate) fn cancel(self) {
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(self)));
    }

    pub(crate) fn job(&self) -> JobKey {
        self.job
    }
}

impl Future for Run {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let Self { owner, job, function, work, deadline, timer, started, ended, metrics, span } = &mut *self;
        let _entered = span.enter();
        let polled = panic::catch_unwind(AssertUnwindSafe(|| {
            let ending = ready!(poll_within(work.as_mut(), *deadline, timer, cx));
            // In here, since what is dropped can panic as well.
            *work = None;
            Poll::Ready(ending)
        }));
        let ending = match polled {
            Ok(polled) => ready!(polled),
            Err(panic) => {
                let _ = panic::catch_unwind(AssertUnwindSafe(|| *work = None));
                Ending::Exit(ExitReason::Panicked(panic_text(panic.as_ref()).into()))
            }
        };
        let now = Instant::now();
        *ended = Some(now);
        metrics.ended(&ending, started.map_or(Duration::ZERO, |started| now - started));
        // Before its caller hears, who may then ask for it.
        if let Ending::Exit(reason) = &ending {
            owner.note_failure(*job, function, reason);
        }
        owner.handle_end(*job, ending);
        Poll::Ready(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        if self.work.take().is_some() {
            self.metrics.killed();
        }
    }
}

/// Polls a function within its time limit. One that is over already stays so.
fn poll_within(
    work: Option<&mut Work>,
    deadline: Option<Instant>,
    timer: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut task::Context<'_>,
) -> Poll<Ending> {
    let Some(work) = work else { return Poll::Pending };
    if let Poll::Ready(ending) = work.as_mut().poll(cx) {
        return Poll::Ready(ending);
    }
    let Some(deadline) = deadline else { return Poll::Pending };
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    timer.as_mut().poll(cx).map(|()| Ending::Exit(ExitReason::TimePassed))
}

/// How long the peer's next frames may wait for the first polls of the workers that came before them.
const FIRST_POLLS_LIMIT: Duration = Duration::from_micros(500);

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}
