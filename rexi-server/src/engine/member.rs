//! One member as this node sees it: the protocol's state behind one lock, the workers of its per-node server, and the
//! signals between the tasks that serve it.
//!
//! Whatever changes the state goes through [`Member::with`], which carries out what follows from the change before
//! anybody else can look: answers are delivered in the order in which they came. Nothing waits under the lock.

mod leave;
pub(crate) mod met;
mod settle;
mod wait;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use rexi_proto::{
    CloseCode, ConnectionId, Incarnation, JobEnding, JobKey, NodeName, Peer, PeerId, Presence, Refusal, Server, Session,
};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::inbox::Inbox;
use crate::engine::jobs::Jobs;
use crate::engine::metrics::PeerMetrics;
use crate::engine::pool::SharedPool;
use crate::engine::shared::Shared;
use crate::engine::status::PeerStatus;
use crate::engine::waiters::Waiters;
use crate::net::{Line, close};

/// A member and all that this node keeps for it.
pub(crate) struct Member {
    id: PeerId,
    name: NodeName,
    /// It is the node itself.
    local: bool,
    shared: Weak<Shared>,
    pub(crate) metrics: PeerMetrics,
    state: Mutex<State>,
    /// There are bytes for the writer.
    pub(crate) writable: Notify,
    /// The connection has come or gone.
    pub(crate) changed: Notify,
    /// The link may take frames again.
    room: Waiters,
    /// A frame may have come for a payload that was there before it.
    joined: Waiters,
    /// Dial now, whatever the backoff says.
    pub(crate) kicked: Notify,
    /// It is no member any more.
    left: CancellationToken,
    /// Casts of it that the allow-list has denied.
    pub(crate) denied: AtomicU64,
    pub(crate) lines: Lines,
}

/// What a peer can have logged.
#[derive(Default)]
pub(crate) struct Lines {
    pub(crate) connected: Line,
    pub(crate) disconnected: Line,
    pub(crate) cut_short: Line,
    pub(crate) failed: Line,
    leaving: Line,
    unsupported: Line,
    pub(crate) record: Line,
    closing: Line,
}

struct State {
    /// Where to dial it; the node itself has none.
    address: Option<SocketAddr>,
    peer: Peer<Arc<Inbox<Member>>, SharedPool>,
    jobs: Jobs,
    /// No call to it ends before that by its time limit; `None` where none has one.
    next_limit: Option<Instant>,
    connection: Option<quinn::Connection>,
    /// The latest life of the peer that was attached, and that has said hello.
    latest: Option<Incarnation>,
    met: Option<Incarnation>,
    /// When a handshake was chosen that is not attached yet.
    claimed: Option<Duration>,
    /// The release that the peer last connected with.
    release: Option<String>,
    last_error: Option<String>,
    /// The peer has turned this node away in the last try to connect.
    turned_away: bool,
    refusal: Option<Refusal>,
}

impl Member {
    pub(crate) fn new(
        shared: Weak<Shared>,
        id: PeerId,
        (node, name): (&NodeName, NodeName),
        address: Option<SocketAddr>,
        peer: Peer<Arc<Inbox<Self>>, SharedPool>,
    ) -> Self {
        let state = State {
            address,
            peer,
            jobs: Jobs::default(),
            next_limit: None,
            connection: None,
            latest: None,
            met: None,
            claimed: None,
            release: None,
            last_error: None,
            turned_away: false,
            refusal: None,
        };
        Self {
            id,
            metrics: PeerMetrics::new(node, &name),
            name,
            local: false,
            shared,
            state: Mutex::new(state),
            writable: Notify::new(),
            changed: Notify::new(),
            room: Waiters::default(),
            joined: Waiters::default(),
            kicked: Notify::new(),
            left: CancellationToken::new(),
            denied: AtomicU64::new(0),
            lines: Lines::default(),
        }
    }

    /// The node itself.
    pub(crate) fn local(
        shared: Weak<Shared>,
        id: PeerId,
        name: &NodeName,
        peer: Peer<Arc<Inbox<Self>>, SharedPool>,
    ) -> Self {
        Self { local: true, ..Self::new(shared, id, (name, name.clone()), None, peer) }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.id
    }

    /// The node, for as long as it lives.
    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.shared.upgrade()
    }

    pub(crate) fn name(&self) -> &NodeName {
        &self.name
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.lock().address
    }

    /// Whether it is the node itself.
    pub(crate) fn is_local(&self) -> bool {
        self.local
    }

    /// Dials it there from now on, and at once if it is not connected.
    pub(crate) fn set_address(&self, address: SocketAddr) {
        self.lock().address = Some(address);
        self.kicked.notify_one();
    }

    /// Changes the peer's state once and does what follows from it.
    pub(crate) fn with<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Peer<Arc<Inbox<Self>>, SharedPool>, Duration) -> T,
    ) -> T {
        let shared = self.shared.upgrade();
        let now = time_in(shared.as_ref());
        let mut state = self.lock();
        let result = change(&mut state.peer, now);
        self.settle_in(shared.as_ref(), state);
        result
    }

    /// Casts, for who has the node and the time at hand: `cast` is a change as [`Member::with`] makes it. The caller is
    /// told when the deadline has passed.
    pub(crate) fn cast<T>(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        now: Instant,
        deadline: Option<Instant>,
        cast: impl FnOnce(&mut Peer<Arc<Inbox<Self>>, SharedPool>, Duration) -> T,
    ) -> T {
        let mut state = self.lock();
        let result = cast(&mut state.peer, now - shared.started);
        if let Some(deadline) = deadline {
            self.keep_time_until(&mut state, deadline);
        }
        self.settle_in(Some(shared), state);
        result
    }

    /// Changes the per-node server once, with its jobs at hand, and does what follows from it.
    pub(crate) fn serve<T>(self: &Arc<Self>, take: impl FnOnce(&mut Server<SharedPool>, &mut Jobs) -> T) -> T {
        let shared = self.shared.upgrade();
        let mut guard = self.lock();
        let State { peer, jobs, .. } = &mut *guard;
        let taken = peer.with_server(|server| take(server, jobs));
        self.settle_in(shared.as_ref(), guard);
        taken
    }

    /// Chooses this handshake among those that run at once, on the side that decides. `false`: another was chosen less
    /// than a handshake's limit ago, and the peer may not have noticed yet. Taking this one as well could leave the two
    /// nodes with different connections.
    pub(crate) fn claim(&self, incarnation: Incarnation, now: Duration) -> bool {
        let mut state = self.lock();
        let recent = |since: Duration| now.saturating_sub(since) < HANDSHAKE_LIMIT;
        let connected = matches!(state.peer.presence(), Presence::Up(session, since)
            if session.incarnation == incarnation && recent(*since));
        if connected || state.claimed.is_some_and(recent) {
            return false;
        }
        state.claimed = Some(now);
        true
    }

    /// A chosen handshake has failed.
    pub(crate) fn unclaim(&self) {
        self.lock().claimed = None;
    }

    /// Takes a completed handshake. An earlier connection is closed before the new one is read. `None`: a later life of
    /// the peer has said hello since, or it is no longer a member, so this connection is outdated.
    pub(crate) fn attach(
        self: &Arc<Self>,
        connection: &quinn::Connection,
        session: Session,
        release: String,
    ) -> Option<ConnectionId> {
        let now = self.now();
        let mut state = self.lock();
        if self.has_left() || state.met.is_some_and(|met| met > session.incarnation) {
            state.claimed = None;
            return None;
        }
        state.latest = Some(session.incarnation);
        if let Some(earlier) = state.connection.replace(connection.clone()) {
            close(&earlier, CloseCode::Replaced, "another connection is in use");
        }
        (state.last_error, state.refusal, state.claimed, state.release) = (None, None, None, Some(release));
        state.turned_away = false;
        let id = state.peer.handle_connected(now, session);
        self.metrics.connections.increment(1);
        self.settle(state);
        Some(id)
    }

    /// The node's own connection to itself: see `local.rs`.
    pub(crate) fn attach_local(self: &Arc<Self>, session: Session) -> ConnectionId {
        self.lock().latest = Some(session.incarnation);
        self.with(|peer, now| peer.handle_connected(now, session))
    }

    /// Lets go of a connection that has ended.
    pub(crate) fn detach(self: &Arc<Self>, id: ConnectionId, departed: bool) {
        self.with(|peer, now| {
            if departed {
                peer.handle_departed(now, id);
            } else {
                peer.handle_disconnected(now, id);
            }
        });
    }

    /// Tells all who wait for the peer to come or go.
    pub(crate) fn presence_changed(&self) {
        self.changed.notify_waiters();
        if let Some(shared) = self.shared.upgrade() {
            shared.presence.send_modify(|changes| *changes += 1);
        }
    }

    /// Workers of the per-node server have ended.
    pub(crate) fn finish(self: &Arc<Self>, ended: impl IntoIterator<Item = (JobKey, JobEnding)>) {
        let shared = self.shared.upgrade();
        let mut guard = self.lock();
        let State { peer, jobs, .. } = &mut *guard;
        peer.end_jobs(ended.into_iter().inspect(|&(job, _)| jobs.remove(job)));
        self.settle_in(shared.as_ref(), guard);
        if let Some(shared) = shared {
            shared.job_ended.wake();
        }
    }

    /// Closes the connection in use, if there is one, without a change of the state.
    pub(crate) fn close_connection(&self, code: CloseCode, reason: &str) {
        if let Some(connection) = &self.lock().connection {
            close(connection, code, reason);
        }
    }

    /// Ends every worker: the node has stopped, and nobody is left to receive their answers.
    pub(crate) fn abort_workers(&self) {
        self.lock().jobs.abort_all();
    }

    /// Whether it is there, and has said that it leaves.
    pub(crate) fn is_draining(&self) -> bool {
        let state = self.lock();
        state.peer.is_leaving() && matches!(state.peer.presence(), Presence::Up(..))
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.lock().peer.presence(), Presence::Up(..))
    }

    pub(crate) fn status(&self, known_as: Incarnation) -> PeerStatus {
        let state = self.lock();
        PeerStatus {
            name: self.name.clone(),
            address: state.address,
            presence: state.peer.presence().into(),
            draining: state.peer.is_leaving(),
            incarnation: state.latest,
            known_as,
            release: state.release.clone(),
            last_error: state.last_error.clone(),
            turned_away: state.turned_away,
            refusal: state.refusal.clone(),
            denied_casts: self.denied.load(Ordering::Relaxed),
            stats: state.peer.stats(),
        }
    }

    /// The verdict of a handshake with that life of the peer is a refusal.
    pub(crate) fn refuse(self: &Arc<Self>, incarnation: Incarnation, refusal: &Refusal) {
        let now = self.now();
        let mut state = self.lock();
        state.peer.handle_refused(now, incarnation, Box::new(refusal.clone()));
        if matches!(state.peer.presence(), Presence::Up(..)) {
            return self.settle(state);
        }
        state.last_error = Some(refusal.to_string());
        state.refusal = Some(refusal.clone());
        self.settle(state);
        self.presence_changed();
    }

    pub(crate) fn note_error(&self, error: String, turned_away: bool) {
        let mut state = self.lock();
        (state.last_error, state.turned_away) = (Some(error), turned_away);
    }

    /// Why there is no address to dial it at, which is nobody's concern while it is connected.
    pub(crate) fn note_undialed(&self, reason: &str) {
        let mut state = self.lock();
        let is_news = state.last_error.as_deref() != Some(reason);
        if is_news && !matches!(state.peer.presence(), Presence::Up(..)) {
            state.last_error = Some(reason.to_owned());
            drop(state);
            self.presence_changed();
        }
    }

    fn now(&self) -> Duration {
        time_in(self.shared.upgrade().as_ref())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a member")
    }
}

/// Time since the node's start; a change no longer has any effect once the node is gone.
fn time_in(shared: Option<&Arc<Shared>>) -> Duration {
    shared.map_or(Duration::ZERO, |shared| shared.now())
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Member").field(&self.name).finish()
    }
}

/// Why a member that has left is let go.
pub(crate) const LEFT: &str = "it is no longer a member of this cluster";

/// How long a handshake may take, from the first datagram to the welcome, where it is accepted; where it is dialed, how
/// long TLS may take, and the hellos behind it.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
