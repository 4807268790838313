//! A running node: what its tasks share, and the handle that a service holds.
//!
//! All tasks are spawned through one group (env.rs), so that a node that stops leaves none behind. When the last handle
//! is dropped the node stops at once; [`Node::shutdown`] is the orderly way.

mod leave;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rexi_proto::{
    Agreement, CallRef, CloseCode, HandshakeError, Hello, Incarnation, Limits, Mutants, NodeName, PeerId, Phase,
    Release, Servers, Total,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::leave::Announcement;
use crate::builder::NodeBuilder;
use crate::calls::call::Call;
use crate::calls::mailbox::Mailbox;
use crate::calls::request::Request;
use crate::engine::credentials::Credentials;
use crate::engine::failures::Failures;
use crate::engine::gate::Gate;
use crate::engine::member::Member;
use crate::engine::member_events::EventSink;
use crate::engine::members::{self, Members};
use crate::engine::metrics::Told;
use crate::engine::pool::SharedPool;
use crate::engine::registry::Registry;
use crate::engine::singleton::Singleton;
use crate::engine::status::{NodeStatus, PresenceWatch};
use crate::engine::waiters::Waiters;
use crate::error::{CallError, SendError};
use crate::follow::rollout::{RolloutControl, RolloutStatus};
use crate::net::doorman::Doorman;
use crate::net::env::NodeEnv;
use crate::net::identity::Identity;

/// A node of the cluster, running. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    handle: Arc<Handle>,
}

/// Stops the node when the last [`Node`] is dropped.
struct Handle {
    shared: Arc<Shared>,
}

/// What the node's tasks share.
pub(crate) struct Shared {
    pub(crate) name: NodeName,
    /// What the rows of functions are compared with.
    pub(crate) release: Release,
    pub(crate) incarnation: Incarnation,
    pub(crate) limits: Limits,
    pub(crate) started: Instant,
    pub(crate) registry: Registry,
    pub(crate) gate: Gate,
    pub(crate) failures: Failures,
    /// Read at each cast; replaced as a whole when a member joins or leaves.
    pub(crate) members: ArcSwap<Members>,
    /// The number of the next member that joins. Locked while members change, before all other locks.
    pub(crate) next_peer: Mutex<u32>,
    pub(crate) events: EventSink,
    /// What the release runs.
    pub(crate) hosts: Servers,
    pub(crate) mutants: Mutants,
    pub(crate) singleton: Option<Arc<Singleton>>,
    pub(crate) pool: SharedPool,
    pub(crate) rollout: Mutex<rexi_proto::Rollout>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) credentials: Credentials,
    pub(crate) doorman: Arc<Doorman>,
    pub(crate) env: NodeEnv,
    /// Set when connections are to say their last words.
    pub(crate) flush: CancellationToken,
    pub(crate) draining: AtomicBool,
    /// How often a member has come or gone, or a try to connect has failed.
    pub(crate) presence: watch::Sender<u64>,
    pub(crate) job_ended: Waiters,
    pub(crate) next_call: AtomicU64,
    pub(crate) told: Told,
}

impl Node {
    /// Starts to describe a node: its name, the release that it runs, and who it is.
    pub fn builder(name: NodeName, profile: rexi_proto::Profile, identity: Identity) -> NodeBuilder {
        NodeBuilder::new(name, profile, identity)
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { handle: Arc::new(Handle { shared }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    pub(crate) fn member(&self, peer: &NodeName) -> Result<Arc<Member>, SendError> {
        self.shared().members().find(peer).cloned()
    }

    /// The node's name.
    pub fn name(&self) -> &NodeName {
        &self.shared().name
    }

    /// The start of this life of the node.
    pub fn incarnation(&self) -> Incarnation {
        self.shared().incarnation
    }

    /// The address the node listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
        self.shared().endpoint.local_addr()
    }

    /// The members' names as they are now, in order, the node's own among them.
    pub fn members(&self) -> Vec<NodeName> {
        self.shared().members().iter().map(|member| member.name().clone()).collect()
    }

    /// Casts to `peer`, which may be the node itself. Never waits: what is sent to a node that is away or slow is
    /// buffered, within bounds.
    ///
    /// # Errors
    /// [`SendError`] where the peer is no member, the request is out of bounds or this node's release may not call the
    /// function; nothing was sent.
    pub fn cast(&self, peer: &NodeName, request: Request) -> Result<Call, SendError> {
        let mailbox = self.mailbox();
        let call = mailbox.cast(peer, request)?;
        Ok(Call::new(mailbox, call))
    }

    /// Casts and waits for the first reply. Dropping the future kills the job.
    ///
    /// # Errors
    /// [`CallError`] says what became of the call instead, and whether it may have run.
    pub async fn call(&self, peer: &NodeName, request: Request) -> Result<Bytes, CallError> {
        self.cast(peer, request)?.reply().await
    }

    /// As [`Node::cast`], but waits until the peer is there and keeps up: see
    /// [`MailboxHandle::cast_when_clear`](crate::MailboxHandle::cast_when_clear).
    ///
    /// # Errors
    /// As [`Node::cast`]; also [`SendError::NoRoom`].
    pub async fn cast_when_clear(&self, peer: &NodeName, request: Request) -> Result<Call, SendError> {
        let mailbox = self.mailbox();
        let call = mailbox.cast_when_clear(peer, request).await?;
        Ok(Call::new(mailbox, call))
    }

    /// A mailbox for the answers of many calls. As many replies may wait in it as `Limits::mailbox_length_max` and
    /// `mailbox_bytes_max` say; a job that replies beyond is ended and its call answered.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox::new(self.clone(), &self.shared().limits)
    }

    /// A reference for [`MailboxHandle::cast_as`](crate::MailboxHandle::cast_as), used by nobody before.
    pub fn next_call(&self) -> CallRef {
        CallRef(self.shared().next_call.fetch_add(1, Ordering::Relaxed))
    }

    /// The node's rollout: its phase, and what limits it.
    pub fn rollout(&self) -> RolloutControl {
        RolloutControl { node: self.clone() }
    }

    /// The node as it is now.
    pub fn status(&self) -> NodeStatus {
        self.shared().status()
    }

    /// Waits until every member is connected, and before that until a membership that has to be asked has said who they
    /// are. Waits for as long as one is not: see [`Node::status`] for who and why.
    pub async fn ready(&self) {
        let mut presence = self.watch_presence();
        while !self.shared().has_all_members() {
            presence.changed().await;
        }
    }

    /// Ends without a word to anybody, as the end of the process would: its tasks, its workers and its connections are
    /// dropped where they are. Handles that are still held answer that all is down. The socket is for the caller to
    /// close first, or QUIC says a last word through it.
    #[cfg(feature = "testing")]
    pub fn crash(&self) {
        self.shared().env.tasks().abort();
        self.shared().stop();
    }

    /// Hears of members that come and go from now on.
    pub fn watch_presence(&self) -> PresenceWatch {
        PresenceWatch::new(self.clone(), self.shared().presence.subscribe())
    }

    /// Leaves in good order: refuses new casts with a typed exit, lets jobs finish for up to `limit`, ends the rest
    /// with an exit each, makes sure that peers have every answer, closes. Returns how many jobs had to be ended.
    ///
    /// Whoever casts to it meanwhile, or had a cast on its way, hears [`ExitReason::Draining`](crate::ExitReason),
    /// which is [safe to retry](CallError::is_safe_to_retry) on another node.
    pub async fn shutdown(self, limit: Duration) -> usize {
        self.shutdown_by(limit, std::future::pending()).await
    }

    /// As [`Node::shutdown`], but waits for jobs no longer than until `cut_short` is ready, either.
    pub async fn shutdown_by(self, limit: Duration, cut_short: impl Future<Output = ()>) -> usize {
        let shared = Arc::clone(self.shared());
        shared.drain();
        let announcement = Announcement::made(&self);
        tokio::select! {
            biased;
            () = shared.wait_idle() => {}
            () = cut_short => {}
            () = tokio::time::sleep(limit) => {}
        }
        let ended = shared.end_servers();
        announcement.heard().await;
        shared.flush.cancel();
        let _ = tokio::time::timeout(FLUSH_LIMIT, shared.wait_disconnected()).await;
        shared.endpoint.close(CloseCode::Shutdown.code().into(), b"this node is leaving");
        let _ = tokio::time::timeout(CLOSE_LIMIT, shared.endpoint.wait_idle()).await;
        shared.stop();
        let _ = tokio::time::timeout(FLUSH_LIMIT, shared.env.tasks().wait()).await;
        ended
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        for member in self.shared.members().iter() {
            // Each by itself and at once: the endpoint only asks its connections to close, and one whose last handle is
            // dropped before it does closes without a reason, which peers take for a brief disconnect.
            member.close_connection(CloseCode::Shutdown, "this node has stopped");
        }
        self.shared.endpoint.close(CloseCode::Shutdown.code().into(), b"this node has stopped");
        self.shared.stop();
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Node").field(self.name()).finish()
    }
}

impl Shared {
    /// Time since the node's start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The members as they are now. Not to be held over an await.
    pub(crate) fn members(&self) -> arc_swap::Guard<Arc<Members>> {
        self.members.load()
    }

    /// Whether it is known who the members are, and each of them is connected.
    pub(crate) fn has_all_members(&self) -> bool {
        let is_listed = self.rollout().is_listed();
        is_listed && self.members().iter().all(|member| member.is_connected())
    }

    pub(crate) fn member(&self, name: &NodeName) -> Option<Arc<Member>> {
        self.members().get(name).cloned()
    }

    /// The member of this number; `None` once it has left. Numbers never leave the node, and none is given twice.
    pub(crate) fn member_by_id(&self, id: PeerId) -> Option<Arc<Member>> {
        self.members().by_id(id).cloned()
    }

    /// What this node says of itself now.
    pub(crate) fn hello(&self) -> Hello {
        self.rollout().hello(self.incarnation, &self.limits)
    }

    /// Takes a peer's hello and gives the verdict. The phase may move with it.
    pub(crate) fn admit(&self, ours: &Hello, theirs: &Hello) -> Result<Agreement, HandshakeError> {
        let verdict = self.change_rollout(|rollout| rollout.handle_hello(ours, theirs));
        if let (Err(HandshakeError::Refused(refusal)), Some(member)) = (&verdict, self.member(&theirs.node)) {
            member.refuse(theirs.incarnation, refusal);
        }
        verdict
    }

    pub(crate) fn announced(&self, member: &NodeName, incarnation: Incarnation, epoch: u64, phase: Phase) {
        if *member != self.name {
            self.change_rollout(|rollout| rollout.handle_announce(member, incarnation, epoch, phase));
        }
    }

    /// Changes the rollout once. If the phase moves with it, every peer's state and every peer is told.
    pub(crate) fn change_rollout<T>(&self, change: impl FnOnce(&mut rexi_proto::Rollout) -> T) -> T {
        let (result, before, epoch, phase) = {
            let mut rollout = self.rollout();
            let before = rollout.epoch();
            let result = change(&mut rollout);
            (result, before, rollout.epoch(), rollout.phase())
        };
        if epoch != before {
            tracing::info!(node = %self.name, %phase, epoch, "the phase has changed");
            for member in self.members().iter() {
                member.with(|peer, now| peer.set_phase(now, epoch, phase));
                member.kicked.notify_one();
            }
            // Asked again, since another change may have come meanwhile; and under the watch's lock, so that whoever
            // holds the watch may ask for the rollout, and never the other way round.
            self.phase.send_modify(|phase| *phase = self.rollout().phase());
        }
        result
    }

    /// It is known now who the members are.
    pub(crate) fn note_listed(&self) {
        if !self.rollout().is_listed() {
            self.change_rollout(rexi_proto::Rollout::note_listed);
            // Whoever waits for all members has waited for the list too.
            self.presence.send_modify(|changes| *changes += 1);
        }
    }

    pub(crate) fn rollout_status(&self) -> RolloutStatus {
        let rollout = self.rollout();
        RolloutStatus { phase: rollout.phase(), limiting_factor: rollout.limiting_factor() }
    }

    /// How often the phase has changed, and the phase.
    pub(crate) fn phase_now(&self) -> (u64, Phase) {
        let rollout = self.rollout();
        (rollout.epoch(), rollout.phase())
    }

    fn rollout(&self) -> MutexGuard<'_, rexi_proto::Rollout> {
        self.rollout.lock().expect("nothing panics while it holds the rollout")
    }

    pub(crate) fn status(&self) -> NodeStatus {
        let peers: Vec<_> = self.members().iter().map(|member| member.status()).collect();
        let release = self.rollout().profile().release().clone();
        let of_singleton = self.singleton.as_ref().map(|singleton| singleton.streams());
        let (singleton_streams, singleton_timeouts) = of_singleton.unwrap_or_default();
        NodeStatus {
            name: self.name.clone(),
            incarnation: self.incarnation,
            release,
            rollout: self.rollout_status(),
            draining: self.draining.load(Ordering::Relaxed),
            jobs: peers.iter().map(|peer| peer.stats.jobs).sum::<usize>()
                + self.singleton.as_ref().map_or(0, |singleton| singleton.jobs()),
            calls: peers.iter().map(|peer| peer.stats.calls).sum(),
            streams: peers.iter().map(|peer| peer.stats.streams).sum::<usize>() + singleton_streams,
            stream_timeouts: peers.iter().fold(singleton_timeouts, |sum, peer| sum + peer.stats.stream_timeouts),
            singleton_queue: self.singleton.as_ref().map_or(0, |singleton| singleton.queued()),
            stray_datagrams: self.doorman.strays(),
            certificate_expires: self.credentials.expires(),
            identity_changes: self.credentials.changes(),
            identity_error: self.credentials.problem(),
            denied_casts: peers.iter().map(|peer| peer.denied_casts).sum(),
            pool_left: Total::ALL.map(|total| (total, self.pool.left(total))),
            peers,
        }
    }

    fn drain(&self) {
        {
            // Nobody joins behind this and is not told.
            let _changing = members::lock(self);
            self.draining.store(true, Ordering::Relaxed);
        }
        for member in self.members().iter() {
            member.with(|peer, _| peer.drain());
        }
        if let Some(singleton) = &self.singleton {
            singleton.serve(|server, _| server.drain());
        }
        self.presence.send_modify(|changes| *changes += 1);
    }

    /// Waits until no job runs.
    async fn wait_idle(&self) {
        self.job_ended.wait(|| self.status().jobs == 0).await;
    }

    fn end_servers(&self) -> usize {
        let ended = self.status().jobs;
        for member in self.members().iter() {
            member.with(|peer, _| peer.end_server());
        }
        if let Some(singleton) = &self.singleton {
            singleton.end();
        }
        ended
    }

    async fn wait_disconnected(&self) {
        let members = self.members.load_full();
        for member in members.iter().filter(|member| !member.is_local()) {
            member.wait_connected(false).await;
        }
    }

    /// Spawns a task that ends with the node, wherever it is then: a task that stays holds the node's socket. `None` is
    /// the value of one that was ended.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        self.env.tasks().spawn(task)
    }

    /// Whether the node takes no members in any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.has_stopped()
    }

    /// Whether the node has stopped, so that no job may start any more.
    pub(crate) fn has_stopped(&self) -> bool {
        self.env.tasks().has_stopped()
    }

    fn stop(&self) {
        {
            let _changing = members::lock(self);
            self.env.tasks().stop();
        }
        for member in self.members().iter() {
            member.abort_workers();
            member.with(|peer, _| peer.stop());
        }
        if let Some(singleton) = &self.singleton {
            singleton.abort_workers();
        }
    }
}

/// How long a leaving node waits for peers to have its last words.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// How long it waits for its closes to be sent. A peer that is not there never acknowledges one.
const CLOSE_LIMIT: Duration = Duration::from_millis(300);
