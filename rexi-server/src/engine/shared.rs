//! What the tasks of one node share: its members at this moment, the servers, and what all of them count and wait for.
//!
//! Tasks hold it for as long as they run, and members and servers refer to it without keeping it. What keeps a node
//! running is in running.rs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use rexi_proto::{
    CallRef, FunctionTable, Incarnation, Limits, MigrationKey, Mutants, NodeName, PeerId, Phase, Release, Servers,
    Total,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::failures::Failures;
use crate::engine::gate::{AllowList, Gate};
use crate::engine::member::Member;
use crate::engine::member_events::EventSink;
use crate::engine::metrics::Told;
use crate::engine::pool::SharedPool;
use crate::engine::record::keeper::RecordKeeper;
use crate::engine::registry::Registry;
use crate::engine::singleton::Singleton;
use crate::engine::status::NodeStatus;
use crate::engine::waiters::Waiters;
use crate::net::{Credentials, Doorman, Identity, IdentityError, Line, NodeEnv};

/// What the node's tasks share.
pub(crate) struct Shared {
    pub(crate) name: NodeName,
    /// What the rows of functions are compared with.
    pub(crate) release: Release,
    pub(crate) incarnation: Incarnation,
    pub(crate) limits: Limits,
    /// How long a call for one reply waits that says nothing of it.
    pub(crate) call_time_limit: Option<Duration>,
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
    /// The migrations of the train, rexi's own first, and the phase of each.
    pub(crate) migrations: Box<[MigrationKey]>,
    pub(crate) phases: Box<[watch::Sender<Phase>]>,
    /// What the hello lists.
    pub(crate) functions: FunctionTable,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) credentials: Credentials,
    pub(crate) doorman: Arc<Doorman>,
    /// Connections of strangers, and of members, that were refused.
    pub(crate) refused: Line<32>,
    pub(crate) env: NodeEnv,
    /// Set when connections are to say their last words.
    pub(crate) flush: CancellationToken,
    /// The record of the cluster, if the node keeps it.
    pub(crate) record: Option<RecordKeeper>,
    pub(crate) draining: AtomicBool,
    /// How many milliseconds jobs are given when the node leaves, as far as it was told.
    pub(crate) drain_limit_ms: AtomicU64,
    /// Why the flag source is not followed, while it is not; `None` where the node has none.
    pub(crate) source_problem: Option<Mutex<Option<String>>>,
    /// How often a member has come or gone, or a try to connect has failed.
    pub(crate) presence: watch::Sender<u64>,
    pub(crate) job_ended: Waiters,
    pub(crate) next_call: AtomicU64,
    pub(crate) told: Told,
    /// What the service itself says of whether it is ready.
    #[cfg(feature = "admin")]
    pub(crate) ready_checks: Vec<(String, Box<ServiceCheck>)>,
    /// And of whether the node may stop now.
    pub(crate) stop_checks: Vec<(String, Box<ServiceCheck>)>,
    /// Done once the node keeps the recorder up that it was given.
    #[cfg(feature = "admin")]
    pub(crate) upkeep: std::sync::Once,
}

/// Says why not, in one line, if so.
pub(crate) type ServiceCheck = dyn Fn(&NodeStatus) -> Result<(), String> + Send + Sync;

/// The members at one moment, the node itself among them.
pub(crate) struct Members {
    by_name: BTreeMap<NodeName, Arc<Member>>,
    by_id: BTreeMap<PeerId, Arc<Member>>,
}

impl Members {
    pub(crate) fn new(members: impl IntoIterator<Item = Arc<Member>>) -> Self {
        let by_name: BTreeMap<_, _> = members.into_iter().map(|member| (member.name().clone(), member)).collect();
        let by_id = by_name.values().map(|member| (member.id(), Arc::clone(member))).collect();
        Self { by_name, by_id }
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.by_name.values()
    }

    /// Their names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &NodeName> {
        self.by_name.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn get(&self, name: &NodeName) -> Option<&Arc<Member>> {
        self.by_name.get(name)
    }

    /// The member of this number; `None` once it has left.
    pub(crate) fn by_id(&self, id: PeerId) -> Option<&Arc<Member>> {
        self.by_id.get(&id)
    }

    /// All of them in the order of their numbers, in which all who hold several locks take them.
    pub(super) fn by_number(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.by_id.values()
    }

    pub(super) fn with(&self, member: Arc<Member>) -> Self {
        Self::new(self.iter().cloned().chain([member]))
    }

    pub(super) fn without(&self, name: &NodeName) -> Self {
        Self::new(self.iter().filter(|member| member.name() != name).cloned())
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

    pub(crate) fn status(&self) -> NodeStatus {
        let known_as = |member: &Member| self.rollout().life_to(member.name(), self.incarnation);
        let peers: Vec<_> = self.members().iter().map(|member| member.status(known_as(member))).collect();
        let release = self.rollout().profile().release().clone();
        let of_singleton = self.singleton.as_ref().map(|singleton| singleton.streams());
        let (singleton_streams, singleton_timeouts) = of_singleton.unwrap_or_default();
        NodeStatus {
            name: self.name.clone(),
            incarnation: self.incarnation,
            release,
            rollouts: (0..self.migrations.len()).map(|place| self.rollout_status(place)).collect(),
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
            record: self.record.as_ref().map(RecordKeeper::kept),
            record_is_broken: self.record.as_ref().is_some_and(RecordKeeper::is_broken),
            denied_casts: peers.iter().map(|peer| peer.denied_casts).sum(),
            pool_left: Total::ALL.map(|total| (total, self.pool.left(total))),
            peers,
        }
    }

    /// Notes how long jobs are given when the node leaves.
    pub(crate) fn note_drain_limit(&self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.drain_limit_ms.store(millis, Ordering::Relaxed);
    }

    /// Notes whether the flag source was followed when it was last asked.
    pub(crate) fn note_source(&self, problem: Option<String>) {
        if let Some(noted) = &self.source_problem {
            *noted.lock().expect("nothing panics while it holds the text") = problem;
        }
    }

    pub(crate) fn drain(&self) {
        {
            // Nobody joins behind this and is not told.
            let _changing = self.lock_members();
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
    pub(crate) async fn wait_idle(&self) {
        self.job_ended.wait(|| self.status().jobs == 0).await;
    }

    pub(crate) fn end_servers(&self) -> usize {
        let ended = self.status().jobs;
        for member in self.members().iter() {
            member.with(|peer, _| peer.end_server());
        }
        if let Some(singleton) = &self.singleton {
            singleton.end();
        }
        ended
    }

    pub(crate) async fn wait_disconnected(&self) {
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

    /// Whether the node no longer takes members in.
    pub(crate) fn is_leaving(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.has_stopped()
    }

    /// Whether the node has stopped, so that no further job may start.
    pub(crate) fn has_stopped(&self) -> bool {
        self.env.tasks().has_stopped()
    }

    pub(crate) fn stop(&self) {
        {
            let _changing = self.lock_members();
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

    /// Only one change of the members at a time; holds the next member's number.
    pub(crate) fn lock_members(&self) -> MutexGuard<'_, u32> {
        self.next_peer.lock().expect("nothing panics while it changes the members")
    }

    /// A call's number, used by nobody before.
    pub(crate) fn next_call(&self) -> CallRef {
        CallRef(self.next_call.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes another list of who may call what.
    pub(crate) fn set_allow_list(&self, list: Option<AllowList>) {
        if let Some(list) = &list {
            self.warn_of_strangers(list);
        }
        tracing::info!(node = %self.name, list = ?list, "the allow-list has changed");
        self.gate.set(list);
    }

    /// A name that is not there allows nothing, and may be a slip; or it belongs to another release of the cluster.
    pub(crate) fn warn_of_strangers(&self, list: &AllowList) {
        let node = &self.name;
        for peer in list.peers().filter(|&peer| self.member(peer).is_none()) {
            tracing::warn!(%node, %peer, "the allow-list names a peer that is not a member");
        }
        for function in list.functions().into_iter().filter(|&function| self.registry.find(function).is_none()) {
            tracing::warn!(%node, %function, "the allow-list names a function that this node does not have");
        }
    }

    /// Takes another identity for all connections from now on, and dials members that are away at once.
    pub(crate) fn change_identity(&self, identity: Identity) -> Result<(), IdentityError> {
        self.credentials.change(&self.name, &self.endpoint, &self.env, identity)?;
        for member in self.members().iter().filter(|member| !member.is_connected()) {
            // It may have been the certificate that stood in the way.
            member.kicked.notify_one();
        }
        Ok(())
    }
}

/// How long jobs may go on by default when a node leaves.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// How long a call for one reply waits by default: a minute, as long as CouchDB's fabric does. A node that is away is
/// given up long before that, after 15 s, so this ends only calls whose function hangs.
pub const CALL_TIME_LIMIT: Duration = Duration::from_secs(60);
