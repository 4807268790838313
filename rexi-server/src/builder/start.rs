//! From a description to a running node: contradictions are refused, then everything that the node's tasks share is put
//! together, then the tasks start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rexi_proto::record::Bar;
use rexi_proto::{
    FunctionRow, FunctionTable, NodeName, NodePool, Peer, PeerConfig, PeerId, Release, Server, ServerAddress, Train,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::NodeBuilder;
use crate::builder::StartError;
use crate::engine::record::keeper::RecordKeeper;
use crate::engine::{
    EventSink, Failures, Gate, MEMBERS_MAX, Member, Members, NodeStatus, RolloutStatus, Shared, SharedPool, Singleton,
    Told, Waiters, link::accept, members, members::can_dial, publish,
};
use crate::follow::{MemberList, PhaseSource, Source, identity, membership, rollout};
use crate::net::{Credentials, Doorman, Line, Settings, canonical, transport};
use crate::node::Node;

impl NodeBuilder {
    pub(super) fn begin(mut self) -> Result<Node, StartError> {
        let now = self.env.now();
        self.check(now)?;
        self.leave_out();
        #[cfg(feature = "tower")]
        std::mem::take(&mut self.layers).apply(&mut self.registry).map_err(StartError::LayerWithoutFunction)?;
        let (source, followed) = (self.rollout.source.take(), self.followed.take());
        let membership = self.membership.take();
        let known = membership.as_ref().map_or_else(|| Some(MemberList::new()), Source::known);
        let listed = known.as_ref().is_some_and(MemberList::is_complete);
        let members = self.members(&known.unwrap_or_default())?;
        let mut rollout = self.start_rollout(&members, listed, source.as_deref())?;
        let record = self.open_state()?;
        if let Some(record) = &record {
            rollout.set_kept(record.kept());
        }
        let addresses = members.values().flatten().copied();
        let doorman = Arc::new(Doorman::new(self.name.clone(), addresses));
        let settings = Settings::new(&self.limits, &self.env);
        let crypto = self.env.quic_crypto().map_or_else(|| self.identity.quic_crypto(), Ok)?;
        let listen = |source| StartError::Listen { address: self.listen, source };
        let endpoint = transport::open(self.listen, &settings, &crypto, &doorman, &self.env).map_err(listen)?;
        let credentials = Credentials::new(settings, self.identity.clone(), &crypto, now);
        let fixed: BTreeSet<_> = self.peers.iter().map(|(name, _)| name.clone()).collect();
        let functions = FunctionTable::new(self.registry.rows().map(|(name, _)| name))?;
        let (problem, drain_limit) = (source.as_ref().map(|_| Mutex::default()), self.drain_limit);
        let shared = self.assemble(&members, (rollout, record, problem), functions, endpoint, credentials, doorman);
        shared.note_drain_limit(drain_limit);
        if let Some(list) = shared.gate.list() {
            shared.warn_of_strangers(&list);
        }
        spawn_tasks(&shared, source);
        if let Some(membership) = membership {
            let named = members.into_keys().filter(|name| !fixed.contains(name)).collect();
            shared.spawn(membership::follow(Arc::clone(&shared), membership, named));
        }
        if let Some((files, interval)) = followed {
            shared.spawn(identity::follow(Arc::clone(&shared), files, interval));
        }
        let node = Node::new(shared);
        let status = node.status();
        let (name, release, phases) = (&status.name, &status.release, phases(&status));
        tracing::info!(node = %name, %release, phases, address = ?node.local_addr().ok(), "started");
        Ok(node)
    }

    fn check(&self, now: SystemTime) -> Result<(), StartError> {
        self.limits.check()?;
        self.identity.check(&self.name, now)?;
        if let Some(cluster) = self.cluster.as_ref().filter(|name| !Train::is_name(name)) {
            return Err(StartError::ClusterName(cluster.clone()));
        }
        if let Some(twice) = &self.twice {
            return Err(StartError::FunctionTwice(twice.clone()));
        }
        #[cfg(feature = "admin")]
        if let Some(name) = self.ready_checks.name_at_fault() {
            return Err(StartError::ReadyCheckName(name.to_owned()));
        }
        if let Some(unknown) = &self.unknown_migration {
            return Err(StartError::UnknownMigration(unknown.clone()));
        }
        let stops = self.profile.stops();
        let of_none = |row: &&FunctionRow| !stops.iter().any(|&stop| row.accepted(stop));
        if let Some(row) = self.registry.rows().filter_map(|(_, row)| row).find(of_none) {
            let releases = stops.iter().map(Release::to_string).collect::<Vec<_>>().join(", ");
            return Err(StartError::FunctionInNoRelease { row: Box::new(row.clone()), releases });
        }
        Ok(())
    }

    /// Leaves out what this release does not have, so that a service may serve all that any of its releases has.
    fn leave_out(&mut self) {
        let own = self.profile.stop();
        for row in self.registry.take_out(|row| !row.accepted(own)) {
            tracing::debug!(node = %self.name, release = %own, %row, "a function of another release is not served");
        }
    }

    /// The members to start with, but for the node itself: the peers, and those whom the membership knows beforehand.
    fn members(&self, known: &MemberList) -> Result<BTreeMap<NodeName, Option<SocketAddr>>, StartError> {
        let mut members: BTreeMap<NodeName, Vec<SocketAddr>> = BTreeMap::new();
        for (name, address) in self.peers.iter() {
            if *name == self.name || members.insert(name.clone(), vec![address]).is_some() {
                return Err(StartError::PeerTwice(name.clone()));
            }
        }
        for (name, addresses) in known.iter().filter(|(name, _)| **name != self.name) {
            members.entry(name.clone()).or_insert_with(|| addresses.to_vec());
        }
        if members.len() >= MEMBERS_MAX {
            return Err(StartError::TooManyMembers { members: members.len() + 1, max: MEMBERS_MAX });
        }
        let dialed = |(name, addresses): (NodeName, Vec<SocketAddr>)| {
            let reached = addresses.iter().copied().find(|&address| can_dial(self.listen, address));
            match (reached, addresses.first()) {
                (None, Some(&address)) => Err(StartError::AddressFamily { peer: name, address, listen: self.listen }),
                (reached, _) => Ok((name, reached.map(canonical))),
            }
        };
        members.into_iter().map(dialed).collect()
    }

    /// What the node keeps of its cluster's record. It is asked before anything is opened.
    fn open_state(&self) -> Result<Option<RecordKeeper>, StartError> {
        let Some(place) = &self.state else { return Ok(None) };
        let disk = place.open()?;
        let keeper = disk.keeper(&self.name)?.with_mutants(self.mutants);
        match keeper.may_start(self.profile.stop()) {
            Ok(()) | Err(Bar::NoRecord) => Ok(Some(RecordKeeper::new(disk, keeper))),
            Err(bar) => Err(StartError::Barred(self.name.clone(), bar)),
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
        if self.serves_unrecorded {
            rollout = rollout.without_record();
        }
        if let Some(cluster) = &self.cluster {
            rollout = rollout.in_cluster(cluster.as_str().into());
        }
        let ceilings = self.rollout.ceilings.of(&self.profile)?;
        let only = self.profile.only_migration();
        for ((migration, stage), ceiling) in self.profile.migrations().zip(ceilings) {
            let feature = self.rollout.feature.filter(|_| only == Some(migration));
            match ceiling {
                Some(phase) if self.rollout.fixed => rollout.hold(migration.key(), phase)?,
                ceiling => {
                    let of_build = || feature.map(|phase| phase.clamp(stage.lowest(), stage.highest()));
                    rollout.set_ceiling(migration.key(), ceiling.or_else(of_build))?;
                }
            }
        }
        if let Some(source) = source {
            rollout::take(&mut rollout, &source.ceilings()?)?;
        }
        Ok(rollout)
    }

    fn assemble(
        self,
        members: &BTreeMap<NodeName, Option<SocketAddr>>,
        (rollout, record, source_problem): (rexi_proto::Rollout, Option<RecordKeeper>, Option<Mutex<Option<String>>>),
        functions: FunctionTable,
        endpoint: quinn::Endpoint,
        credentials: Credentials,
        doorman: Arc<Doorman>,
    ) -> Arc<Shared> {
        #[cfg(feature = "admin")]
        let ready_checks = self.ready_checks;
        let stop_checks = self.stop_checks.0;
        let Self { name, profile, mut registry, allowed, limits, call_time_limit, errors_kept, mutants, env, .. } =
            self;
        let config = PeerConfig {
            hosts: profile.hosts(),
            phases: rollout.phases(),
            functions: functions.clone(),
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
                release: profile.stop(),
                incarnation: env.life(),
                limits,
                call_time_limit,
                started: Instant::now(),
                registry,
                gate: Gate::new(allowed),
                failures: Failures::new(errors_kept),
                singleton,
                pool,
                migrations: profile.migrations().map(|(migration, _)| migration.key().clone()).collect(),
                phases: rollout.phases().iter().map(|now| watch::Sender::new(now.phase)).collect(),
                functions,
                rollout: Mutex::new(rollout),
                endpoint,
                credentials,
                doorman,
                refused: Line::default(),
                env,
                flush: CancellationToken::new(),
                record,
                draining: AtomicBool::new(false),
                drain_limit_ms: AtomicU64::default(),
                source_problem,
                presence: watch::Sender::new(0),
                job_ended: Waiters::default(),
                next_call: AtomicU64::new(1),
                told: Told::default(),
                #[cfg(feature = "admin")]
                ready_checks: ready_checks.0,
                stop_checks,
                #[cfg(feature = "admin")]
                upkeep: std::sync::Once::new(),
            }
        })
    }
}

/// Starts what runs for as long as the node lives.
fn spawn_tasks(shared: &Arc<Shared>, source: Option<Box<dyn PhaseSource>>) {
    shared.spawn(accept::listen(Arc::clone(shared)));
    shared.spawn(publish::run(Arc::clone(shared)));
    if let Some(singleton) = &shared.singleton {
        shared.spawn(Arc::clone(singleton).run());
    }
    for member in shared.members().iter() {
        members::spawn_tasks(shared, member);
    }
    if let Some(source) = source {
        shared.spawn(rollout::follow(Arc::clone(shared), source));
    }
}

/// The phase of each migration, in words.
fn phases(status: &NodeStatus) -> String {
    let phase = |rollout: &RolloutStatus| format!("{}={}", rollout.migration, rollout.phase);
    status.rollouts.iter().map(phase).collect::<Vec<_>>().join(",")
}
