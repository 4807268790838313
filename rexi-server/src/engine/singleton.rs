//! The one server that takes the requests of all nodes, behind one queue that all connections feed.
//!
//! That it is a bottleneck is why the upgrade exists; docs/performance.md shows what per-node servers gain. Readers
//! wait for room in the queue before they read on; the task that empties it never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use rexi_proto::{
    Caller, Cast, DownReason, JobEnding, JobKey, Server, ServerOutput, ServerRequest, StreamTimeouts, Total,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engine::jobs::Jobs;
use crate::engine::pool::SharedPool;
use crate::engine::shared::Shared;
use crate::engine::waiters::Waiters;
use crate::engine::worker::{self, Owner, Started};

/// The node's singleton.
pub(crate) struct Singleton {
    shared: Weak<Shared>,
    queue: Mutex<Queue>,
    filled: Notify,
    emptied: Waiters,
    state: Mutex<State>,
}

struct Queue {
    waiting: VecDeque<(Caller, ServerRequest)>,
    /// When the last request came; the node's start, where none has.
    last: Instant,
    /// Of all that wait.
    weight: usize,
    /// One was taken out and is not served yet.
    in_hand: bool,
}

struct State {
    server: Server<SharedPool>,
    jobs: Jobs,
}

impl Singleton {
    pub(crate) fn new(shared: Weak<Shared>, server: Server<SharedPool>) -> Self {
        Self {
            shared,
            queue: Mutex::new(Queue { waiting: VecDeque::new(), last: Instant::now(), weight: 0, in_hand: false }),
            filled: Notify::new(),
            emptied: Waiters::default(),
            state: Mutex::new(State { server, jobs: Jobs::default() }),
        }
    }

    /// Puts a request at the end of the queue.
    pub(crate) fn push(&self, caller: Caller, request: ServerRequest) {
        let mut queue = self.queue();
        queue.weight += weight(&request);
        queue.last = Instant::now();
        queue.waiting.push_back((caller, request));
        drop(queue);
        self.filled.notify_one();
    }

    /// How long ago the last request came.
    pub(crate) fn quiet(&self) -> Duration {
        self.queue().last.elapsed()
    }

    /// Waits until the queue is below its bound. What one read of a connection holds may exceed it.
    pub(crate) async fn room(&self) {
        self.emptied.wait(|| self.queue().weight < QUEUED_REQUESTS_MAX).await;
    }

    /// Waits until all that came was served.
    pub(crate) async fn served(&self) {
        let is_served = |queue: MutexGuard<'_, Queue>| queue.waiting.is_empty() && !queue.in_hand;
        self.emptied.wait(|| is_served(self.queue())).await;
    }

    /// Empties the queue, request by request, for as long as the node lives.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.filled.notified().await;
            while let Some((caller, request)) = self.pop() {
                let mut behind = self.serve(|server, _| {
                    server.handle_request(caller, request);
                    server.is_behind()
                });
                while behind {
                    tokio::task::yield_now().await;
                    behind = self.serve(|server, _| {
                        server.go_on();
                        server.is_behind()
                    });
                }
            }
            self.emptied.wake();
        }
    }

    /// Changes the server once, with its jobs at hand, and does what follows from it, before anybody else can.
    pub(crate) fn serve<T>(self: &Arc<Self>, take: impl FnOnce(&mut Server<SharedPool>, &mut Jobs) -> T) -> T {
        let mut guard = self.lock();
        let State { server, jobs } = &mut *guard;
        let taken = take(server, jobs);
        let mut started = Started::default();
        let shared = self.shared.upgrade();
        if let Some(shared) = &shared {
            self.drain(shared, &mut guard, &mut started);
            drop(guard);
            // Tasks at once: what one peer's jobs do first is not to be waited for by the requests of all.
            let now = started.now();
            started.workers.into_iter().for_each(|worker| worker.spawn(shared, now));
        }
        taken
    }

    pub(crate) fn finish(self: &Arc<Self>, job: JobKey, ending: JobEnding) {
        self.serve(|server, jobs| {
            jobs.remove(job);
            server.handle_end(job, ending);
        });
        if let Some(shared) = self.shared.upgrade() {
            shared.job_ended.wake();
        }
    }

    /// The node, for as long as it lives.
    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.shared.upgrade()
    }

    pub(crate) fn end(self: &Arc<Self>) {
        self.serve(|server, _| server.end(DownReason::Shutdown));
    }

    /// Ends every worker: the node has stopped, and nobody is left to receive their answers.
    pub(crate) fn abort_workers(&self) {
        self.lock().jobs.abort_all();
    }

    /// Holds all as it is.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held(self.lock())
    }

    pub(crate) fn jobs(&self) -> usize {
        self.lock().server.jobs()
    }

    pub(crate) fn streams(&self) -> (usize, StreamTimeouts) {
        let state = self.lock();
        (state.server.streams(), state.server.stream_timeouts())
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the singleton")
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it holds the queue")
    }

    fn pop(&self) -> Option<(Caller, ServerRequest)> {
        let mut queue = self.queue();
        let next = queue.waiting.pop_front();
        queue.in_hand = next.is_some();
        let before = queue.weight;
        queue.weight -= next.as_ref().map_or(0, |(_, request)| weight(request));
        if before > QUEUED_REQUESTS_MAX / 2 && queue.weight <= QUEUED_REQUESTS_MAX / 2 {
            self.emptied.wake();
        }
        next
    }

    fn drain(self: &Arc<Self>, shared: &Arc<Shared>, state: &mut State, started: &mut Started) {
        while let Some(output) = state.server.poll_output() {
            match output {
                ServerOutput::Job(output) => {
                    let owner = || Owner::Singleton(Arc::clone(self));
                    if let Err((job, ending)) = worker::handle_output(output, &mut state.jobs, shared, owner, started) {
                        state.server.handle_end(job, ending);
                    }
                }
                ServerOutput::Answer(caller, message) => {
                    if let Some(member) = shared.member_by_id(caller.peer) {
                        member.with(|peer, _| peer.answer(caller, message));
                    }
                }
                ServerOutput::Lost(caller, connection, call) => {
                    if let Some(member) = shared.member_by_id(caller.peer) {
                        member.with(|peer, _| peer.answer_lost(caller, connection, call));
                    }
                }
                // The loop that empties the queue goes on before it takes the next request.
                ServerOutput::More => {}
            }
        }
    }
}

/// A singleton that nobody changes for as long as this lives.
pub(crate) struct Held<'a>(MutexGuard<'a, State>);

impl Held<'_> {
    /// What all peers hold of that total beyond floors of this size for each.
    pub(crate) fn beyond(&self, total: Total, floor: usize) -> usize {
        self.0.server.beyond(total, floor)
    }
}

impl std::fmt::Debug for Singleton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Singleton").finish_non_exhaustive()
    }
}

/// As how many requests it counts: what it holds may take as much memory as many of them.
fn weight(request: &ServerRequest) -> usize {
    match request {
        ServerRequest::Cast(Cast { body, .. }) | ServerRequest::Response(_, _, body) => 1 + body.len() / 4_096,
        ServerRequest::Kill(calls) | ServerRequest::Resume(_, calls) => 1 + calls.len() / 512,
        _ => 1,
    }
}

/// Requests that may wait before readers wait too; one counts once more for each 4 KiB that it holds.
const QUEUED_REQUESTS_MAX: usize = 4_096;

#[cfg(feature = "testing")]
#[cfg(test)]
mod tests {
    use rexi_proto::{CallRef, Incarnation, PeerId};

    use super::*;
    use crate::testing::TestCluster;
    use crate::{SERVER_PER_NODE, Train};

    #[tokio::test(start_paused = true)]
    async fn what_a_member_asked_that_has_left_meanwhile_leaves_no_job_behind() {
        let cluster = TestCluster::new(["n1"]);
        let train = Train::new("tests").release("1.0", |r| r).release("1.1", |r| r.introduce(SERVER_PER_NODE));
        let with_singleton = train.profile("1.0").expect("a train");
        let node = cluster.start("n1", &with_singleton).expect("it starts");
        let singleton = node.shared().singleton.clone().expect("its release has one");
        let left = || Total::ALL.map(|total| node.shared().pool.left(total));
        let before = left();
        // A number that no member has.
        let caller = Caller { peer: PeerId(99), incarnation: Incarnation(1) };
        let call = CallRef(1);
        let (function, body) = ("any".into(), bytes::Bytes::from(vec![0; 1 << 20]));
        let cast = Cast { call, function, time_left: None, nonce: 0, trace: None, body };
        singleton.push(caller, ServerRequest::Cast(cast));
        singleton.served().await;
        assert_eq!((singleton.queued(), singleton.jobs(), left()), (0, 0, before));
    }

    #[test]
    fn a_queue_has_room_below_its_bound_and_again_once_half_of_it_is_served() {
        use futures_util::FutureExt;
        let server = Server::with_pool(
            rexi_proto::ServerAddress::Singleton,
            &rexi_proto::Limits::default(),
            SharedPool::new(&rexi_proto::NodePool::new(
                &rexi_proto::Limits::default(),
                1,
                rexi_proto::Servers::SINGLETON,
            )),
        );
        let singleton = Singleton::new(Weak::new(), server);
        let caller = Caller { peer: PeerId(1), incarnation: Incarnation(1) };
        for _ in 1..QUEUED_REQUESTS_MAX {
            singleton.push(caller, ServerRequest::Forget);
        }
        assert!(singleton.room().now_or_never().is_some(), "one less than may wait");
        singleton.push(caller, ServerRequest::Forget);
        let mut room = std::pin::pin!(singleton.room());
        assert!(room.as_mut().now_or_never().is_none());
        while singleton.queued() > QUEUED_REQUESTS_MAX / 2 {
            assert!(room.as_mut().now_or_never().is_none());
            singleton.pop().expect("some wait");
        }
        assert!(room.now_or_never().is_some(), "readers go on");
        let mut served = std::pin::pin!(singleton.served());
        assert!(served.as_mut().now_or_never().is_none());
        while singleton.pop().is_some() {}
        singleton.emptied.wake();
        assert!(served.now_or_never().is_some());
    }
}
