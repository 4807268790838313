//! What a node is given from outside: sockets, tasks, randomness and the wall clock. The system's by default; a
//! simulated network, a seed and a virtual clock in tests (`testing.rs`).

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quinn::crypto::{HandshakeTokenKey, HmacKey};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TimeSource};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use rexi_proto::Incarnation;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::crypto::QuicCrypto;
use crate::net::socket;

/// What a node is given from outside; one for each start of a node.
///
/// [`NodeEnv::system`] is what a node has unless it is told otherwise: UDP sockets of the system, random numbers of the
/// system, its clock. All time but the wall clock is tokio's, which tests can pause.
///
/// Not here, since nobody needs another one yet: name resolution (members have addresses), an event sink.
#[must_use]
pub struct NodeEnv {
    open: Box<OpenSocket>,
    /// `None`: that of the node's identity.
    crypto: Option<QuicCrypto>,
    wall_clock: WallClock,
    random: Random,
    tasks: TaskGroup,
}

type OpenSocket = dyn Fn(SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> + Send + Sync;

impl NodeEnv {
    /// The system's sockets, random numbers and clock.
    pub fn system() -> Self {
        Self {
            open: Box::new(|address| socket::bind(address).and_then(wrap)),
            crypto: None,
            wall_clock: WallClock(Arc::new(SystemTime::now)),
            random: Random { rng: Arc::new(Mutex::new(StdRng::from_rng(&mut rand::rng()))), seeded: false },
            tasks: TaskGroup::default(),
        }
    }

    /// How the node's one socket is opened, for the address to listen on. It is called once, when the node starts, and
    /// its error becomes a [`StartError::Listen`](crate::StartError::Listen).
    pub fn socket<F>(mut self, open: F) -> Self
    where
        F: Fn(SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> + Send + Sync + 'static,
    {
        self.open = Box::new(open);
        self
    }

    /// Draws from a generator with this seed whatever the node leaves to chance: the delays of its dials, and QUIC's
    /// numbers, connection ids and keys. For tests alone: who knows the seed can guess them all. What TLS draws still
    /// comes from the system, unless [`NodeEnv::crypto`] says otherwise.
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Random { rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))), seeded: true };
        self
    }

    /// The clock that the node's life is named by, and that its certificate must be valid at. A node that starts again
    /// must find a later microsecond.
    pub fn wall_clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.wall_clock = WallClock(Arc::new(now));
        self
    }

    /// How connections are secured, in place of what the node's identity provides. For tests alone: the node believes
    /// whatever name a session gives its peer; see [`QuicCrypto`].
    pub fn crypto(mut self, crypto: QuicCrypto) -> Self {
        self.crypto = Some(crypto);
        self
    }

    /// All that the node runs.
    pub fn tasks(&self) -> &TaskGroup {
        &self.tasks
    }

    /// Does work that takes long where it holds nobody up: on a thread of its own, or, where a seed repeats all that
    /// happens, on the spot.
    pub(crate) fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Aside<T> {
        match self.random.seeded {
            true => Aside::Done(Some(work())),
            false => Aside::Thread(tokio::task::spawn_blocking(work)),
        }
    }

    pub(crate) fn open_socket(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        (self.open)(address)
    }

    /// How connections are secured, where it is not left to the identity.
    pub(crate) fn quic_crypto(&self) -> Option<QuicCrypto> {
        self.crypto.clone()
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.wall_clock.0)()
    }

    /// The time since 1970; a clock before 1970 counts as 1970.
    pub(crate) fn since_1970(&self) -> Duration {
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// That of a node that starts now.
    pub(crate) fn life(&self) -> Incarnation {
        Incarnation::since_1970(self.since_1970())
    }

    pub(crate) fn time_source(&self) -> Arc<dyn TimeSource> {
        Arc::new(self.wall_clock.clone())
    }

    pub(crate) fn random(&self) -> &Random {
        &self.random
    }
}

/// What comes of work that is done aside: a future of it, which panics as the work does.
pub(crate) enum Aside<T> {
    Done(Option<T>),
    Thread(JoinHandle<T>),
}

// Nothing in it is pinned.
impl<T> Unpin for Aside<T> {}

impl<T> Future for Aside<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            Self::Done(value) => Poll::Ready(value.take().expect("it is not polled again")),
            Self::Thread(thread) => match ready!(Pin::new(thread).poll(cx)) {
                Ok(value) => Poll::Ready(value),
                Err(failed) => match failed.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime shuts down, so nobody waits for it.
                    Err(_) => Poll::Pending,
                },
            },
        }
    }
}

impl fmt::Debug for NodeEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeEnv").field("seeded", &self.random.seeded).finish_non_exhaustive()
    }
}

fn wrap(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    quinn::TokioRuntime.wrap_udp_socket(socket)
}

#[derive(Clone)]
struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl TimeSource for WallClock {
    fn now(&self) -> SystemTime {
        (self.0)()
    }
}

/// A source of chance. Clones draw from the same one.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    rng: Arc<Mutex<StdRng>>,
    seeded: bool,
}

impl Random {
    #[cfg(test)]
    pub(crate) fn seeded(seed: u64) -> Self {
        NodeEnv::system().seed(seed).random
    }

    /// Whether it repeats, and so must be all that is drawn from.
    pub(crate) fn is_seeded(&self) -> bool {
        self.seeded
    }

    pub(crate) fn between(&self, range: RangeInclusive<f64>) -> f64 {
        self.rng().random_range(range)
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng().fill_bytes(&mut bytes);
        bytes
    }

    /// A new key for quinn's stateless resets.
    pub(crate) fn reset_key(&self) -> Arc<dyn HmacKey> {
        Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.bytes::<64>()))
    }

    /// A new key for quinn's address tokens.
    pub(crate) fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        Arc::new(aws_lc_rs::hkdf::Salt::new(aws_lc_rs::hkdf::HKDF_SHA256, &[]).extract(&self.bytes::<64>()))
    }

    fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.rng.lock().expect("nothing panics while it draws")
    }
}

/// All tasks of one node: there is no other way to spawn one. Clones are the same group.
///
/// The node's own tasks end when it stops; its workers are ended by the servers that hold their jobs. Those of its QUIC
/// endpoint live on for as long as there are last words to be sent, unless they are cut short by [`TaskGroup::abort`].
#[derive(Clone, Debug, Default)]
pub struct TaskGroup {
    tracker: TaskTracker,
    /// Set when every task is to end.
    stop: CancellationToken,
    quic: Arc<Mutex<Quic>>,
}

/// QUIC's tasks: one for the endpoint, one for each connection.
#[derive(Debug, Default)]
struct Quic {
    tasks: Vec<AbortHandle>,
    aborted: bool,
}

impl TaskGroup {
    /// Ends the node's own tasks, its endpoint and its connections where they are, without a word to any peer, as the
    /// end of a process does; no further job may start. Workers that run go on until the last handle is dropped, since
    /// their tasks are in the hands of their servers; what ends them too is `Node::crash`, of the feature `testing`.
    pub fn abort(&self) {
        self.stop();
        let mut quic = self.quic();
        quic.aborted = true;
        quic.tasks.drain(..).for_each(|task| task.abort());
    }

    /// Spawns a task that ends with the node, wherever it is then. `None` is the value of one that was ended.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let stop = self.stop.clone();
        self.tracker.spawn(async move { stop.run_until_cancelled(task).await })
    }

    /// Spawns a task that its owner ends. One handle, and no token, since there are many of them and they are short.
    pub(crate) fn spawn_worker(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tracker.spawn(task).abort_handle()
    }

    /// What quinn spawns through.
    pub(crate) fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(QuicRuntime(Arc::clone(&self.quic)))
    }

    /// Ends the node's own tasks; no further worker may be spawned.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.tracker.is_closed()
    }

    /// Waits until the node has stopped.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until all are gone, but those of QUIC. They must have been stopped.
    pub(crate) async fn wait(&self) {
        self.tracker.wait().await;
    }

    fn quic(&self) -> MutexGuard<'_, Quic> {
        self.quic.lock().expect("nothing panics while it holds the tasks of QUIC")
    }
}

/// quinn's way to spawn, and tokio's clock.
#[derive(Debug)]
struct QuicRuntime(Arc<Mutex<Quic>>);

impl Runtime for QuicRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        quinn::TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let mut quic = self.0.lock().expect("nothing panics while it holds the tasks of QUIC");
        let task = tokio::spawn(future).abort_handle();
        if quic.aborted {
            return task.abort();
        }
        // One for each live connection, of which the transport bounds the number.
        quic.tasks.retain(|task| !task.is_finished());
        quic.tasks.push(task);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        wrap(socket)
    }

    fn now(&self) -> Instant {
        quinn::TokioRuntime.now()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_drawn_from_a_seed_repeats() {
        let drawn = |seed| {
            let random = Random::seeded(seed);
            (random.bytes::<20>(), random.between(0.0..=1.0).to_bits())
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        assert!(!NodeEnv::system().random().is_seeded());
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_is_aborted_leaves_no_task() {
        let tasks = TaskGroup::default();
        let own = tasks.spawn(std::future::pending::<()>());
        let runtime = tasks.runtime();
        runtime.spawn(Box::pin(std::future::pending()));
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        assert_eq!(alive(), 2);
        tasks.abort();
        assert_eq!(own.await.expect("no panic"), None);
        assert!(tasks.has_stopped());
        runtime.spawn(Box::pin(std::future::pending()));
        tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await.expect("its own tasks are gone");
        tokio::task::yield_now().await;
        assert_eq!(alive(), 0);
    }
}
