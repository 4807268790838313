//! Describes a node and starts it. What is wrong is said before anything runs.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rexi_proto::{
    Incarnation, Limits, Mutants, NodeName, NodePool, PeerConfig, PeerId, Profile, Release, Server, ServerAddress,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::context::Context;
use crate::doorman::Doorman;
use crate::env::NodeEnv;
use crate::error::StartError;
use crate::failures::Failures;
use crate::identity::Identity;
use crate::member::Member;
use crate::node::{Node, Shared};
use crate::pool::SharedPool;
use crate::registry::{IntoEnding, Registry};
use crate::rollout::{PhaseFile, PhaseSource, Rollout, SOURCE_INTERVAL};
use crate::singleton::Singleton;
use crate::waiters::Waiters;
use crate::{accept, dial, local, metrics, transport};

/// A node that has not started yet.
#[derive(Debug)]
#[must_use = "a node runs only after start()"]
pub struct NodeBuilder {
    name: NodeName,
    profile: Profile,
    identity: Identity,
    listen: SocketAddr,
    peers: Vec<(NodeName, SocketAddr)>,
    pub(crate) registry: Registry,
    pub(crate) twice: Option<String>,
    #[cfg(feature = "tower")]
    pub(crate) layers: crate::middleware::Layers,
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
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            peers: Vec::new(),
            registry: Registry::default(),
            twice: None,
            #[cfg(feature = "tower")]
            layers: Default::default(),
            rollout: Rollout::from_release(),
            limits: Limits::default(),
            errors_kept: 0,
            mutants: Mutants::default(),
            env: NodeEnv::system(),
        }
    }

    /// Describes the node of a configuration: its name, release, address, members, ceiling, phase file and limits.
    /// Functions are added in code. Reads the identity's files, so it blocks for a moment.
    ///
    /// # Errors
    /// [`StartError::NoIdentity`] where the configuration names no files, [`StartError::Identity`] where they are no
    /// good.
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
        let builder = builder.limits(config.limits().clone());
        let peers = config.peers();
        Ok(peers.fold(builder, |builder, (name, address)| builder.peer(name.clone(), address)).rollout(rollout))
    }

    /// The UDP address to listen on and to dial from. Default: a free port of the loopback interface.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// A member of the cluster. Every member must know every other.
    pub fn peer(mut self, name: NodeName, address: SocketAddr) -> Self {
        self.peers.push((name, address));
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
        self.check()?;
        #[cfg(feature = "tower")]
        std::mem::take(&mut self.layers).apply(&mut self.registry)?;
        let source = self.rollout.source.take();
        let rollout = self.start_rollout(source.as_deref())?;
        let addresses = self.peers.iter().map(|&(_, address)| address);
        let doorman = Arc::new(Doorman::new(self.name.clone(), addresses));
        let endpoint = transport::open(self.listen, &self.identity, &self.limits, &doorman, &self.env)?;
        let shared = self.assemble(rollout, endpoint, doorman);
        spawn_tasks(&shared, source);
        let node = Node::new(shared);
        let status = node.status();
        let (name, release, phase) = (&status.name, &status.release, status.rollout.phase);
        tracing::info!(node = %name, %release, %phase, address = ?node.local_addr().ok(), "started");
        Ok(node)
    }

    fn check(&self) -> Result<(), StartError> {
        self.limits.check()?;
        self.identity.check(&self.name, self.env.now())?;
        if let Some((peer, address)) = self.peers.iter().find(|(_, address)| self.cannot_dial(*address)) {
            let (peer, address, listen) = (peer.clone(), *address, self.listen);
            return Err(StartError::AddressFamily { peer, address, listen });
        }
        if let Some(twice) = &self.twice {
            return Err(StartError::FunctionTwice(twice.clone()));
        }
        let own = Release::from(self.profile.release());
        if let Some(row) = self.registry.rows().filter_map(|(_, row)| row).find(|row| !row.accepted(own)) {
            let (row, release) = (Box::new(row.clone()), self.profile.release().clone());
            return Err(StartError::FunctionNotInRelease { row, release });
        }
        let mut names = std::collections::BTreeSet::from([&self.name]);
        match self.peers.iter().find(|(name, _)| !names.insert(name)) {
            Some((twice, _)) => Err(StartError::PeerTwice(twice.clone())),
            None => Ok(()),
        }
    }

    /// A node dials from the socket it listens on. One that listens on all of IPv6 may reach IPv4 too.
    fn cannot_dial(&self, address: SocketAddr) -> bool {
        let listens_on_all = self.listen.is_ipv6() && self.listen.ip().is_unspecified();
        self.listen.is_ipv4() != address.is_ipv4() && !listens_on_all
    }

    fn start_rollout(&self, source: Option<&dyn PhaseSource>) -> Result<rexi_proto::Rollout, StartError> {
        let members = self.peers.iter().map(|(name, _)| name.clone());
        let rollout = rexi_proto::Rollout::new(self.name.clone(), self.profile.clone(), members);
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

    fn assemble(self, rollout: rexi_proto::Rollout, endpoint: quinn::Endpoint, doorman: Arc<Doorman>) -> Arc<Shared> {
        let Self { name, profile, peers, mut registry, limits, errors_kept, mutants, env, .. } = self;
        let config = PeerConfig {
            hosts: profile.hosts(),
            phase: rollout.phase(),
            phase_epoch: rollout.epoch(),
            limits: limits.clone(),
            mutants,
        };
        let all: BTreeMap<NodeName, Option<std::net::SocketAddr>> =
            peers.into_iter().map(|(name, address)| (name, Some(address))).chain([(name.clone(), None)]).collect();
        registry.measure(&name);
        Arc::new_cyclic(|shared| {
            let pool = SharedPool::new(NodePool::new(&limits, all.len(), profile.hosts()));
            let member = |(id, (peer, address)): (u32, (&NodeName, &Option<SocketAddr>))| {
                let names = (&name, peer.clone());
                Arc::new(Member::new(shared.clone(), PeerId(id), names, *address, config.clone(), pool.clone()))
            };
            let members_by_id: Vec<_> = (0..).zip(&all).map(member).collect();
            let singleton = profile.hosts().contains(ServerAddress::Singleton).then(|| {
                let server = Server::with_pool(ServerAddress::Singleton, &limits, pool.clone()).with_mutants(mutants);
                Arc::new(Singleton::new(shared.clone(), server))
            });
            Shared {
                members: members_by_id.iter().map(|member| (member.name().clone(), Arc::clone(member))).collect(),
                members_by_id,
                name,
                release: Release::from(profile.release()),
                incarnation: incarnation(env.now()),
                limits,
                started: Instant::now(),
                registry,
                failures: Failures::new(errors_kept),
                singleton,
                pool,
                phase: watch::Sender::new(rollout.phase()),
                rollout: Mutex::new(rollout),
                endpoint,
                doorman,
                env,
                flush: CancellationToken::new(),
                draining: AtomicBool::new(false),
                presence: watch::Sender::new(0),
                job_ended: Waiters::default(),
                next_call: AtomicU64::new(1),
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
    for member in &shared.members_by_id {
        shared.spawn(Arc::clone(member).keep_time());
        if member.address().is_some() {
            shared.spawn(dial::keep_connected(Arc::clone(shared), Arc::clone(member)));
        } else {
            shared.spawn(local::run(Arc::clone(shared), Arc::clone(member)));
        }
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
