//! One worker per job. It is polled once where its cast is read, and becomes a task if it has to wait. Its end, however
//! it comes about, goes back to the server that accepted the job: a reply, an error, a panic, a time limit. Those that
//! end where they are read go back together. A killed worker's future is dropped, so its drop code runs, and nothing is
//! sent.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{Cast, ExitReason, JobEnding, JobKey, JobOutput, Server};
use tokio::time::{Instant, Sleep};
use tracing::Span;

use crate::engine::context::Context;
use crate::engine::failures::Origin;
use crate::engine::jobs::Jobs;
use crate::engine::member::Member;
use crate::engine::metrics::FunctionMetrics;
use crate::engine::pool::SharedPool;
use crate::engine::registry::Work;
use crate::engine::shared::Shared;
use crate::engine::singleton::Singleton;
use crate::engine::trace;
use crate::engine::turn;

/// The server that a worker answers to.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    PerNode(Arc<Member>),
    Singleton(Arc<Singleton>),
}

impl Owner {
    /// Changes the server once and does what follows from it.
    pub(crate) fn serve<T>(&self, take: impl FnOnce(&mut Server<SharedPool>, &mut Jobs) -> T) -> T {
        match self {
            Self::PerNode(member) => member.serve(take),
            Self::Singleton(singleton) => singleton.serve(take),
        }
    }

    /// The node, for as long as it lives.
    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        match self {
            Self::PerNode(member) => member.shared(),
            Self::Singleton(singleton) => singleton.shared(),
        }
    }

    /// The member that a job of this server runs for; `None` where it has left.
    fn caller(&self, shared: &Shared, job: JobKey) -> Option<Arc<Member>> {
        match self {
            Self::PerNode(member) => Some(Arc::clone(member)),
            Self::Singleton(_) => shared.member_by_id(job.caller.peer),
        }
    }

    fn note_failure(&self, job: JobKey, function: &Arc<str>, reason: &ExitReason) {
        // The caller may have left, which has killed the job.
        if let Some(shared) = self.shared()
            && let Some(caller) = shared.member_by_id(job.caller.peer)
        {
            let (name, function) = (caller.name().clone(), Arc::clone(function));
            let origin = Origin { server: job.server, caller: name, function, call: job.call };
            shared.failures.note(origin, reason, &caller.lines.failed);
        }
    }

    fn handle_end(&self, job: JobKey, ending: JobEnding) {
        match self {
            Self::PerNode(member) => member.finish([(job, ending)]),
            Self::Singleton(singleton) => singleton.finish(job, ending),
        }
    }
}

/// A worker: one job's function, and what becomes of its end.
#[must_use = "a worker does nothing unless it is polled or spawned"]
pub(crate) struct Worker {
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
    metrics: Arc<FunctionMetrics>,
    span: Span,
}

/// Workers that are to start, in the order of their casts.
#[derive(Default)]
pub(crate) struct Started {
    pub(crate) workers: Vec<Worker>,
    /// When the first of them was made.
    now: Option<Instant>,
    /// A job was aborted meanwhile, which may be one of theirs.
    pub(crate) aborted: bool,
}

impl Started {
    /// What time it is: the clock is read once for all of them.
    pub(crate) fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }
}

/// Does what a server wants done for one of its jobs. A worker that is to start is put behind `started`; the error is
/// the end of a job that does not start.
pub(crate) fn handle_output(
    output: JobOutput,
    jobs: &mut Jobs,
    shared: &Shared,
    owner: impl FnOnce() -> Owner,
    started: &mut Started,
) -> Result<(), (JobKey, JobEnding)> {
    match output {
        JobOutput::Spawn(..) if shared.has_stopped() => {}
        JobOutput::Spawn(job, cast) => {
            let worker = Worker::prepare(started.now(), shared, owner(), job, cast);
            started.workers.push(worker.map_err(|ending| (job, ending))?);
        }
        JobOutput::Abort(job) => {
            started.aborted = true;
            jobs.abort(job);
            shared.job_ended.wake();
        }
        JobOutput::Wake(job) => jobs.wake(job),
    }
    Ok(())
}

/// Polls workers of one member once, where their casts were read; those that have to wait go on as tasks. So do all
/// that are left when this has taken too long, since the peer's next frames wait behind it.
pub(crate) fn start_all(shared: &Shared, member: &Arc<Member>, mut now: Instant, workers: Vec<Worker>) {
    let until = now + FIRST_POLLS_LIMIT;
    let mut ended = Vec::with_capacity(workers.len());
    for mut worker in workers {
        if now >= until {
            worker.spawn(shared, now);
            continue;
        }
        let began = now;
        worker.started = Some(began);
        // Nobody needs to be woken: the task that takes over polls again at once.
        let polled = worker.step(&mut task::Context::from_waker(Waker::noop()));
        now = match &polled {
            Poll::Ready((_, then)) => *then,
            Poll::Pending => Instant::now(),
        };
        worker.tell_if_slow(shared, now - began);
        match polled {
            Poll::Ready((ending, _)) => ended.push((worker.job, ending)),
            Poll::Pending => worker.spawn(shared, began),
        }
    }
    member.finish(ended);
}

impl Worker {
    /// Makes a worker. The error is the job's end, where its caller may not call the function or
    /// there is none. A caller that may not call it does not learn whether it exists.
    fn prepare(
        now: Instant,
        shared: &Shared,
        owner: Owner,
        job: JobKey,
        cast: Cast<Bytes, Arc<str>>,
    ) -> Result<Self, JobEnding> {
        // What a member asked before it left may still have been in the singleton's queue. It gets no answer.
        let caller = owner.caller(shared, job).ok_or(JobEnding::Exit(ExitReason::Killed))?;
        let by = caller.name();
        let registered = shared.registry.find(&cast.function);
        // What nodes cast to each other by themselves is no intrusion, and is not a service's to allow.
        if registered.is_none() && cast.function.starts_with(OWN_PREFIX) {
            return Err(JobEnding::NoSuchFunction);
        }
        if !shared.gate.admits(&shared.name, by, &cast.function) {
            caller.denied.fetch_add(1, Ordering::Relaxed);
            return Err(JobEnding::Exit(ExitReason::NotAllowed));
        }
        let registered = registered.ok_or(JobEnding::NoSuchFunction)?;
        let Cast { function: name, time_left, nonce, trace, body, .. } = cast;
        // `otel.name` is what a view of traces calls it.
        let (node, call) = (&shared.name, job.call.0);
        let span = tracing::info_span!("job", otel.name = %name, %node, peer = %by, function = %name, call);
        if let Some(trace) = &trace {
            trace::join(&span, trace);
        }
        let deadline = time_left.map(|left| now + left);
        let (window, time_limit) = (shared.limits.stream_window, shared.limits.stream_time_limit);
        let context = Context {
            owner: owner.clone(),
            job,
            caller: by.clone(),
            function: Arc::clone(&name),
            deadline,
            nonce,
            trace,
            lane: None,
            stream_window: window,
            stream_time_limit: time_limit,
        };
        let work = Some((registered.function)(context, body));
        let metrics = registered.metrics();
        Ok(Self { owner, job, function: name, work, deadline, timer: None, started: None, metrics, span })
    }

    /// Polls the function. Gives its end, and when that was: the clock is read once, for all who ask for the time.
    fn step(&mut self, cx: &mut task::Context<'_>) -> Poll<(JobEnding, Instant)> {
        let Self { owner, job, function, work, deadline, timer, started, metrics, span } = self;
        let _entered = span.enter();
        let poll = AssertUnwindSafe(|| {
            let ending = ready!(poll_within(work.as_mut(), *deadline, timer, cx));
            // In here, since what is dropped can panic as well.
            *work = None;
            Poll::Ready(ending)
        });
        let polled = turn::run(|| panic::catch_unwind(poll));
        let ending = match polled {
            Ok(polled) => ready!(polled),
            Err(panic) => {
                let _ = panic::catch_unwind(AssertUnwindSafe(|| *work = None));
                JobEnding::Exit(ExitReason::Panicked(panic_text(panic.as_ref()).into()))
            }
        };
        let now = Instant::now();
        metrics.ended(&ending, started.map_or(Duration::ZERO, |started| now - started));
        // Before its caller is told, since it may then ask for it.
        if let JobEnding::Exit(reason) = &ending {
            owner.note_failure(*job, function, reason);
        }
        Poll::Ready((ending, now))
    }

    /// Tells of a first step that has held up its peer's reader, and so both directions between the two.
    fn tell_if_slow(&self, shared: &Shared, took: Duration) {
        if took < SLOW_FIRST_STEP {
            return;
        }
        self.metrics.slow_first_step();
        if let Some(unsaid) = self.metrics.slow.next() {
            let (node, function, millis) = (&shared.name, &self.function, took.as_millis());
            let what = "a function has held up its caller's connection: use function_blocking";
            tracing::warn!(%node, %function, millis, unsaid, "{what}");
        }
    }

    /// Goes on as a task, unless the job was killed before that.
    pub(crate) fn spawn(mut self, shared: &Shared, now: Instant) {
        self.started = Some(now);
        let (owner, job, mut worker) = (self.owner.clone(), self.job, Some(self));
        owner.serve(|server, jobs| {
            if server.runs(job)
                && let Some(worker) = worker.take()
            {
                jobs.insert(job, shared.env.tasks().spawn_worker(worker), now);
            }
        });
        worker.into_iter().for_each(Self::cancel);
    }

    /// Drops the work of a killed job. Not to be called under a lock, since what is dropped may want it; and a panic in
    /// it must not reach the reader.
    pub(crate) fn cancel(self) {
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(self)));
    }

    pub(crate) fn job(&self) -> JobKey {
        self.job
    }
}

impl Future for Worker {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let (ending, _) = ready!(self.step(cx));
        self.owner.handle_end(self.job, ending);
        Poll::Ready(())
    }
}

impl Drop for Worker {
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
) -> Poll<JobEnding> {
    let Some(work) = work else { return Poll::Pending };
    if let Poll::Ready(ending) = work.as_mut().poll(cx) {
        return Poll::Ready(ending);
    }
    let Some(deadline) = deadline else { return Poll::Pending };
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    timer.as_mut().poll(cx).map(|()| JobEnding::Exit(ExitReason::TimePassed))
}

/// What the names of functions begin with that nodes cast to each other by themselves.
const OWN_PREFIX: &str = "rexi.";

/// How long the peer's next frames may wait for the first polls of the workers that came before them.
const FIRST_POLLS_LIMIT: Duration = Duration::from_micros(500);

/// How long a function may work before its first wait without a word.
const SLOW_FIRST_STEP: Duration = Duration::from_millis(100);

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}
