//! One task per job. Its end, however it comes about, goes back to the server that accepted the job: a reply, an error,
//! a panic, a time limit. A killed worker's future is dropped, so its drop code runs, and nothing is sent.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rexi_proto::{CallRef, CastRequest, Ending, ExitReason, JobKey, NodeName, ServerAddress, Trace};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::Instrument;

use crate::failures::Origin;
use crate::member::Member;
use crate::node::Shared;
use crate::singleton::Singleton;

/// The server that a worker answers to.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    PerNode(Arc<Member>),
    Singleton(Arc<Singleton>),
}

/// What a running function knows of its job, and how it talks to its caller before its end.
#[derive(Clone, Debug)]
pub struct Context {
    owner: Owner,
    job: JobKey,
    caller: NodeName,
    function: Arc<str>,
    deadline: Option<Instant>,
    nonce: u64,
    trace: Option<Trace>,
}

impl Context {
    /// The node that asked, as its certificate names it.
    pub fn caller(&self) -> &NodeName {
        &self.caller
    }

    /// The start of the caller's life, in microseconds since 1970: with the call's number it names the job.
    pub fn caller_incarnation(&self) -> rexi_proto::Incarnation {
        self.job.caller.incarnation
    }

    /// The caller's number for the call.
    pub fn call_ref(&self) -> CallRef {
        self.job.call
    }

    /// The server that accepted the job.
    pub fn server(&self) -> ServerAddress {
        self.job.server
    }

    /// The function's registered name.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// Time until the caller no longer waits; `None` where it set no limit.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The caller's id of the wider request; 0 for none.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// The caller's W3C trace context.
    pub fn trace(&self) -> Option<Trace> {
        self.trace
    }

    /// Sends a reply and goes on. `false`: the job has been killed, and the function will be dropped at its next await.
    pub fn reply(&self, body: impl Into<Bytes>) -> bool {
        let body = body.into();
        match &self.owner {
            Owner::PerNode(member) => member.with(|peer, _| peer.handle_reply(self.job, body)),
            Owner::Singleton(singleton) => singleton.with(|server| server.handle_reply(self.job, body)),
        }
    }

    /// Tells the caller that the job is still at work, which restarts the caller's per-message limit. As to the result,
    /// see [`Context::reply`].
    pub fn ping(&self) -> bool {
        match &self.owner {
            Owner::PerNode(member) => member.with(|peer, _| peer.handle_ping(self.job)),
            Owner::Singleton(singleton) => singleton.with(|server| server.handle_ping(self.job)),
        }
    }
}

impl Owner {
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
    let origin = Origin { server: job.server, caller: caller.clone(), function: Arc::clone(&name), call: job.call };
    let failures = Arc::clone(&shared.failures);
    let context = Context { owner: owner.clone(), job, caller: caller.clone(), function: name, deadline, nonce, trace };
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
            failures.note(origin, reason);
        }
        owner.handle_end(job, ending);
    };
    Some(shared.tasks.spawn(task.instrument(span)).abort_handle())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}
