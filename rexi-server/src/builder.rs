//! Describes a node and starts it. What is wrong is said before anything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use rexi_proto::{
    Incarnation, Limits, Mutants, NodeName, NodePool, Peer, PeerConfig, PeerId, Profile, Release, Server, ServerAddress,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, IdentityFiles};
use crate::engine::context::Context;
use crate::engine::credentials::{self, Credentials};
use crate::engine::failures::Failures;
use crate::engine::gate::{AllowList, Gate};
use crate::engine::link::accept;
use crate::engine::member::Member;
use crate::engine::member_events::EventSink;
use crate::engine::members::{self, MEMBERS_MAX, Members, can_dial};
use crate::engine::metrics;
use crate::engine::metrics::Told;
use crate::engine::pool::SharedPool;
use crate::engine::registry::{IntoEnding, Registry};
use crate::engine::singleton::Singleton;
use crate::engine::waiters::Waiters;
use crate::error::StartError;
use crate::follow::membership::{self, MemberList, Membership, Source, StaticMembership};
use crate::follow::rollout::{PhaseFile, PhaseSource, Rollout, SOURCE_INTERVAL};
use crate::net::doorman::Doorman;
use crate::net::env::NodeEnv;
use crate::net::identity::Identity;
use crate::net::transport::{self, Settings};
use crate::node::{Node, Shared};

/// A node that has not started yet.
#[derive(Debug)]
#[must_use = "a node runs only after start()"]
pub struct NodeBuilder {
    name: NodeName,
    profile: Profile,
    identity: Identity,
    pub(crate) followed: Option<(IdentityFiles, Duration)>,
    listen: SocketAddr,
    peers: StaticMembership,
    membership: Option<Source>,
    pub(crate) registry: Registry,
    pub(crate) twice: Option<String>,
    #[cfg(feature = "tower")]
    pub(crate) layers: crate::middleware::Layers,
    pub(crate) allowed: Option<AllowList>,
    rollout: Rollout,
    limits: Limits,
    pub(crate) errors_kept: usize,
    mutants: Mutants,
    env: NodeEnv,
}

impl NodeBuilder {
    pub(crate) fn new(name: NodeName, profile: Profile, identity: Identity) -> Self {
        Self {
            name,
            profile,
            identity,
            followed: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            peers: StaticMembership::default(),
            membership: None,
            registry: Registry::default(),
            twice: None,
            #[cfg(feature = "tower")]
            layers: Default::default(),
            allowed: None,
            rollout: Rollout::from_release(),
            limits: Limits::default(),
            errors_kept: 0,
            mutants: Mutants::default(),
            env: NodeEnv::system(),
        }
    }

    /// Describes the node of a configuration: all of it but the operators' port and the drain, which the executable
    /// opens and starts. Functions are added in code. Reads the identity's files, so it blocks for a moment.
    ///
    /// # Errors
    /// [`StartError::NoIdentity`] where the configuration names no files, [`StartError::Identity`] where they are no
    /// good, [`StartError::Membership`] where members cannot be found by DNS.
    pub fn from_config(config: &Config) -> Result<Self, StartError> {
        let identity = config.load_identity()?.ok_or_else(|| StartError::NoIdentity(config.name().clone()))?;
        let mut rollout = Rollout::from_release();
        if let Some(ceiling) = config.ceiling() {
            rollout = rollout.ceiling(ceiling);
        }
        if let Some(file) = config.phase_file() {
            rollout = rollout.source(PhaseFile(file.to_owned()));
        }
        let builder = Self::new(config.name().clone(), config.profile(), identity).listen(config.listen());
        let mut builder = builder.limits(config.limits().clone());
        if let Some(files) = config.identity_files() {
            builder = builder.identity_files(files.clone(), config.identity_interval());
        }
        builder.allowed = config.allow_list().cloned();
        if let Some((name, interval)) = config.membership() {
            builder = builder.srv(name, interval)?;
        }
        let peers = config.peers();
        Ok(peers.fold(builder, |builder, (name, address)| builder.peer(name.clone(), address)).rollout(rollout))
    }

    #[cfg(feature = "dns")]
    fn srv(self, name: &str, interval: Option<Duration>) -> Result<Self, StartError> {
        let membership = crate::follow::membership::DnsMembership::srv(name)?;
        Ok(match interval {
            Some(interval) => self.membership(membership.interval(interval)),
            None => self.membership(membership),
        })
    }

    #[cfg(not(feature = "dns"))]
    fn srv(self, name: &str, _: Option<Duration>) -> Result<Self, StartError> {
        let reason = "the configuration finds them by DNS; build rexi-server with its feature `dns`";
        Err(crate::follow::membership::MembershipError::new(name, reason).into())
    }

    /// The UDP address to listen on and to dial from. Default: a free port of the loopback interface.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// A member of the cluster, for as long as the node runs. Every member must know every other.
    pub fn peer(mut self, name: NodeName, address: SocketAddr) -> Self {
        self.peers = self.peers.member(name, address);
        self
    }

    /// Who the members are, besides those of [`NodeBuilder::peer`]. It is asked again and again, and what it says is
    /// followed while the node runs. Until its first answer the node holds its phase, unless it knows its members
    /// beforehand. Default: nobody.
    pub fn membership(mut self, membership: impl Membership) -> Self {
        self.membership = Some(Source::new(membership));
        self
    }

    /// A function that others may run. It is called with the job's context and the encoded argument, in a task of its
    /// own; its value goes to the caller, its error or panic becomes an exit with the function's name. If it is killed,
    /// its future is dropped at its next await.
    pub fn function<F, Fut, T, E>(mut self, name: &str, function: F) -> Self
    where
        F: Fn(Context, Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: IntoEnding,
        E: fmt::Display,
    {
        if !self.registry.insert(name, function) {
            self.twice.get_or_insert_with(|| name.to_owned());
        }
        self
    }

    /// How the rollout starts. Default: [`Rollout::from_release`].
    pub fn rollout(mut self, rollout: Rollout) -> Self {
        self.rollout = rollout;
        self
    }

    /// Every bound. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What the node is given from outside. Default: [`NodeEnv::system`].
    pub fn env(mut self, env: NodeEnv) -> Self {
        self.env = env;
        self
    }

    /// Breaks the protocol on purpose, to show that the verifier notices.
    #[cfg(feature = "mutants")]
    pub fn mutants(mut self, mutants: Mutants) -> Self {
        self.mutants = mutants;
        self
    }

    /// Starts the node: listens, dials, serves. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong; nothing is left running.
    pub fn start(mut self) -> Result<Node, StartError> {
        let now = self.env.now();
        self.check(now)?;
        #[cfg(feature = "tower")]
        std::mem::take(&mut self.layers).apply(&mut self.registry)?;
        let (source, followed) = (self.rollout.source.take(), self.followed.take());
        let membership = self.membership.take();
        let known = membership.as_ref().map(Source::known);
        let listed = !matches!(known, Some(None));
        let members = self.members(&known.flatten().unwrap_or_default())?;
        let rollout = self.start_rollout(&members, listed, source.as_deref())?;
        let addresses = members.values().flatten().copied();
        let doorman = Arc::new(Doorman::new(self.name.clone(), addresses));
        let settings = Settings::new(&self.limits, &self.env);
        let crypto = self.env.quic_crypto().map_or_else(|| self.identity.quic_crypto(), Ok)?;
        let endpoint = transport::open(self.listen, &settings, &crypto, &doorman, &self.env)?;
        let credentials = Credentials::new(settings, self.identity.clone(), &crypto, now);
        let fixed: BTreeSet<_> = self.peers.iter().map(|(name, _)| name.clone()).collect();
        let shared = self.assemble(&members, rollout, endpoint, credentials, doorman);
        shared.gate.warn_of_strangers(&shared);
        spawn_tasks(&shared, source);
        if let Some(membership) = membership {
            let named = members.into_keys().filter(|name| !fixed.contains(name)).collect();
            shared.spawn(membership::follow(Arc::clone(&shared), membership, named));
        }
        if let Some((files, interval)) = followed {
            shared.spawn(credentials::follow(Arc::clone(&shared), files, interval));
        }
        let node = Node::new(shared);
        let status = node.status();
        let (name, release, phase) = (&status.name, &status.release, status.rollout.phase);
        tracing::info!(node = %name, %release, %phase, address = ?node.local_addr().ok(), "started");
        Ok(node)
    }

    fn check(&self, now: SystemTime) -> Result<(), StartError> {
        self.limits.check()?;
        self.identity.check(&self.name, now)?;
        if let Some(twice) = &self.twice {
            return Err(StartError::FunctionTwice(twice.clone()));
        }
        let own = Release::from(self.profile.release());
        if let Some(row) = self.registry.rows().filter_map(|(_, row)| row).find(|row| !row.accepted(own)) {
            let (row, release) = (Box::new(row.clone()), self.profile.release().clone());
            return Err(StartError::FunctionNotInRelease { row, release });
        }
        Ok(())
    }

    /// The members to start with, but for the node itself: the peers, and those whom the membership knows beforehand.
    fn members(&self, known: &MemberList) -> Result<BTreeMap<NodeName, Option<SocketAddr>>, StartError> {
        let mut members = BTreeMap::new();
        for (name, address) in self.peers.iter() {
            if *name == self.name || members.insert(name.clone(), Some(address)).is_some() {
                return Err(StartError::PeerTwice(name.clone()));
            }
        }
        for (name, address) in known.iter().filter(|(name, _)| **name != self.name) {
            members.entry(name.clone()).or_insert(address);
        }
        if members.len() >= MEMBERS_MAX {
            return Err(StartError::TooManyMembers { members: members.len() + 1, max: MEMBERS_MAX });
        }
        let dialed = members.iter().filter_map(|(name, address)| Some((name, (*address)?)));
        match { dialed }.find(|(_, address)| !can_dial(self.listen, *address)) {
            Some((peer, address)) => {
                Err(StartError::AddressFamily { peer: peer.clone(), address, listen: self.listen })
            }
            None => Ok(members),
        }
    }

    fn start_rollout(
        &self,
        members: &BTreeMap<NodeName, Option<SocketAddr>>,
        listed: bool,
        source: Option<&dyn PhaseSource>,
    ) -> Result<rexi_proto::Rollout, StartError> {
        let start = if listed { rexi_proto::Rollout::new } else { rexi_proto::Rollout::unlisted };
        let rollout = start(self.name.clone(), self.profile.clone(), members.keys().cloned().collect::<Vec<_>>());
        let mut rollout = rollout.with_mutants(self.mutants);
        match self.rollout.ceiling {
            Some(phase) if self.rollout.fixed => rollout.hold(phase)?,
            ceiling => {
                let (lowest, highest) = (self.profile.lowest(), self.profile.highest());
                rollout.set_ceiling(ceiling.or_else(|| Some(self.rollout.feature?.clamp(lowest, highest))))?;
            }
        }
        if let Some(source) = source {
            rollout.set_source(source.phase()?)?;
        }
        Ok(rollout)
    }

    fn assemble(
        self,
        members: &BTreeMap<NodeName, Option<SocketAddr>>,
        rollout: rexi_proto::Rollout,
        endpoint: quinn::Endpoint,
        credentials: Credentials,
        doorman: Arc<Doorman>,
    ) -> Arc<Shared> {
        let Self { name, profile, mut registry, allowed, limits, errors_kept, mutants, env, .. } = self;
        let config = PeerConfig {
            hosts: profile.hosts(),
            phase: rollout.phase(),
            phase_epoch: rollout.epoch(),
            limits: limits.clone(),
            mutants,
        };
        let names: BTreeSet<_> = members.keys().chain([&name]).collect();
        registry.measure(&name);
        Arc::new_cyclic(|shared| {
            let pool = SharedPool::new(&NodePool::new(&limits, names.len(), profile.hosts()));
            let member = |(id, &of): (u32, &&NodeName)| {
                let peer = Peer::with_pool(PeerId(id), config.clone(), pool.clone(), Duration::ZERO);
                Arc::new(match members.get(of) {
                    Some(&address) => Member::new(shared.clone(), PeerId(id), (&name, of.clone()), address, peer),
                    None => Member::local(shared.clone(), PeerId(id), of, peer),
                })
            };
            let members = Members::new((0..).zip(&names).map(member));
            let singleton = profile.hosts().contains(ServerAddress::Singleton).then(|| {
                let server = Server::with_pool(ServerAddress::Singleton, &limits, pool.clone()).with_mutants(mutants);
                Arc::new(Singleton::new(shared.clone(), server))
            });
            Shared {
                next_peer: Mutex::new(u32::try_from(members.len()).expect("no more than MEMBERS_MAX")),
                members: ArcSwap::from_pointee(members),
                events: EventSink::new(),
                hosts: profile.hosts(),
                mutants,
                name: name.clone(),
                release: Release::from(profile.release()),
                incarnation: incarnation(env.now()),
                limits,
                started: Instant::now(),
                registry,
                gate: Gate::new(allowed),
                failures: Failures::new(errors_kept),
                singleton,
                pool,
                phase: watch::Sender::new(rollout.phase()),
                rollout: Mutex::new(rollout),
                endpoint,
                credentials,
                doorman,
                env,
                flush: CancellationToken::new(),
                draining: AtomicBool::new(false),
                presence: watch::Sender::new(0),
                job_ended: Waiters::default(),
                next_call: AtomicU64::new(1),
                told: Told::default(),
            }
        })
    }
}

/// Starts what runs for as long as the node lives.
fn spawn_tasks(shared: &Arc<Shared>, source: Option<Box<dyn PhaseSource>>) {
    shared.spawn(accept::listen(Arc::clone(shared)));
    shared.spawn(metrics::run(Arc::clone(shared)));
    if let Some(singleton) = &shared.singleton {
        shared.spawn(Arc::clone(singleton).run());
    }
    for member in shared.members().iter() {
        members::spawn_tasks(shared, member);
    }
    if let Some(source) = source {
        shared.spawn(follow(Arc::clone(shared), source));
    }
}

/// Asks a flag source again and again. A word that cannot be had or followed is logged once, and the last one is kept.
async fn follow(shared: Arc<Shared>, source: Box<dyn PhaseSource>) {
    let mut said = None;
    loop {
        tokio::time::sleep(SOURCE_INTERVAL).await;
        let taken = source.phase().map_err(|error| error.to_string()).and_then(|phase| {
            shared.change_rollout(|rollout| rollout.set_source(phase)).map_err(|error| error.to_string())
        });
        let error = taken.err();
        if error != said {
            if let Some(error) = &error {
                tracing::warn!(node = %shared.name, error, "the flag source is not followed");
            }
            said = error;
        }
    }
}

/// Microseconds since 1970; a clock before that counts as 1970.
fn incarnation(now: SystemTime) -> Incarnation {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Incarnation(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
