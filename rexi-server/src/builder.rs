//! Describes a node and starts it. What is wrong is said before anything runs.

mod error;
mod ready;
mod serve;
mod start;

use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rexi_proto::{FunctionRow, Limits, MigrationKey, Mutants, NodeName, Profile};
#[cfg(feature = "tower")]
use tower::{BoxError, Layer, Service};

pub use self::error::StartError;
use crate::config::Config;
use crate::engine::{AllowList, CALL_TIME_LIMIT, Context, DRAIN_LIMIT, IntoEnding, Registry, registry};
use crate::follow::{
    IDENTITY_INTERVAL_MIN, IdentityFiles, Membership, PeerAddress, PhaseFile, Source, StartRollout, StaticMembership,
};
#[cfg(feature = "tower")]
use crate::middleware::{JobRequest, JobService, Layers, wrap};
use crate::net::{Identity, NodeEnv};
use crate::node::Node;
use crate::state::StatePlace;
#[cfg(feature = "testing")]
use crate::state::TestDisk;

/// A node that has not started yet.
#[derive(Debug)]
#[must_use = "a node runs only after start()"]
pub struct NodeBuilder {
    name: NodeName,
    profile: Profile,
    identity: Identity,
    followed: Option<(IdentityFiles, Duration)>,
    listen: SocketAddr,
    peers: StaticMembership,
    membership: Option<Source>,
    registry: Registry,
    twice: Option<String>,
    unknown_migration: Option<MigrationKey>,
    #[cfg(feature = "tower")]
    layers: Layers,
    allowed: Option<AllowList>,
    rollout: StartRollout,
    limits: Limits,
    call_time_limit: Option<Duration>,
    errors_kept: usize,
    mutants: Mutants,
    #[cfg(feature = "admin")]
    ready_checks: ready::Checks,
    stop_checks: ready::Checks,
    drain_limit: Duration,
    cluster: Option<String>,
    /// Where the node keeps the record of its cluster.
    state: Option<StatePlace>,
    serves_unrecorded: bool,
    env: NodeEnv,
}

impl Node {
    /// Starts to describe a node: its name, the release that it runs, and who it is.
    pub fn builder(name: NodeName, profile: rexi_proto::Profile, identity: Identity) -> NodeBuilder {
        NodeBuilder::new(name, profile, identity)
    }
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
            unknown_migration: None,
            #[cfg(feature = "tower")]
            layers: Default::default(),
            allowed: None,
            rollout: StartRollout::from_release(),
            limits: Limits::default(),
            call_time_limit: Some(CALL_TIME_LIMIT),
            errors_kept: 0,
            mutants: Mutants::default(),
            #[cfg(feature = "admin")]
            ready_checks: Default::default(),
            stop_checks: Default::default(),
            drain_limit: DRAIN_LIMIT,
            cluster: None,
            state: None,
            serves_unrecorded: false,
            env: NodeEnv::system(),
        }
    }

    /// Describes the node of a configuration: all of it but the operators' port and the drain, which the executable
    /// opens and starts. Functions are added in code. Reads the identity's files, so it blocks for a moment.
    ///
    /// # Errors
    /// [`StartError::NoIdentity`] where the configuration names no files, [`StartError::Identity`] where they are not
    /// valid, [`StartError::Membership`] where members cannot be found by DNS: peers that are hosts, and those of SRV
    /// records.
    pub fn from_config(config: &Config) -> Result<Self, StartError> {
        let identity = config.load_identity()?.ok_or_else(|| StartError::NoIdentity(config.name().clone()))?;
        let mut rollout = StartRollout::from_release().ceilings(config.ceilings().clone());
        if let Some(file) = config.phase_file() {
            rollout = rollout.source(PhaseFile(file.to_owned()));
        }
        let builder = Self::new(config.name().clone(), config.profile(), identity).listen(config.listen());
        let builder = builder.limits(config.limits().clone()).call_time_limit(config.call_time_limit());
        let mut builder = builder.drain_limit(config.drain_limit());
        if let Some(files) = config.identity_files() {
            builder = builder.identity_files(files.clone(), config.identity_interval());
        }
        builder.cluster = config.cluster().map(str::to_owned);
        builder.allowed = config.allow_list().cloned();
        (builder.state, builder.serves_unrecorded) =
            (config.state().map(|dir| StatePlace::Dir(dir.to_owned())), config.serves_without_record());
        for (name, address) in config.peers() {
            // Hosts are looked up while the node runs.
            if let PeerAddress::At(address) = address {
                builder = builder.peer(name.clone(), *address);
            }
        }
        builder.found_by_dns(config).map(|builder| builder.rollout(rollout))
    }

    #[cfg(feature = "dns")]
    fn found_by_dns(self, config: &Config) -> Result<Self, StartError> {
        Ok(match config.dns_membership()? {
            Some(membership) => self.membership(membership),
            None => self,
        })
    }

    #[cfg(not(feature = "dns"))]
    fn found_by_dns(self, config: &Config) -> Result<Self, StartError> {
        let host = config.peers().find(|(_, address)| matches!(address, PeerAddress::Host { .. }));
        let host = host.map(|(name, address)| format!("{address} (peers.{name})"));
        match config.membership_srv().map(str::to_owned).or(host) {
            None => Ok(self),
            Some(origin) => {
                let reason = "the configuration finds them by DNS; build rexi-server with its feature `dns`";
                Err(crate::follow::MembershipError::new(origin, reason).into())
            }
        }
    }

    /// Reads these files again and again while the node runs, and replaces its identity with what they hold once that
    /// has changed and is good: see [`Node::reload_identity`]. Otherwise the last good one is kept; the reason is
    /// logged once, until it changes, and is given in
    /// [`NodeStatus::identity_error`](crate::NodeStatus::identity_error).
    ///
    /// A certificate whose key is not there yet is such a reason, so the files may be replaced one after the other.
    /// Each one is best replaced as a whole: written next to the old file, then renamed. The files are read for the
    /// first time after one interval, which is at least [`IDENTITY_INTERVAL_MIN`]. Default: no files;
    /// [`NodeBuilder::from_config`] follows those of the configuration, each
    /// [`IDENTITY_INTERVAL`](crate::identity::IDENTITY_INTERVAL).
    pub fn identity_files(mut self, files: IdentityFiles, interval: Duration) -> Self {
        self.followed = Some((files, interval.max(IDENTITY_INTERVAL_MIN)));
        self
    }

    /// What the node's release may do: for a definition that has to know which release it builds.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The cluster's name. A node of another cluster is refused by name, whatever else the two have in common. Default:
    /// the train's name; give each cluster of a service one of its own.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = Some(name.into());
        self
    }

    /// The directory in which the node keeps the record of its cluster: which releases may run, how far each migration
    /// may go, and who is a member. A release that the record there does not let run does not start; a node whose
    /// directory is empty serves nothing until another member has given it the record, or an operator has begun one.
    /// Default: none is kept, and nothing is asked of it.
    ///
    /// Each node has its own, on a disk that outlives the process. It is made if it is not there, but not what it is
    /// in.
    pub fn state(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state = Some(StatePlace::Dir(dir.into()));
        self
    }

    /// As [`NodeBuilder::state`], on a disk in memory.
    #[cfg(feature = "testing")]
    pub fn state_on(mut self, disk: TestDisk) -> Self {
        self.state = Some(StatePlace::Memory(disk));
        self
    }

    /// Serves although no record is known yet: for a cluster that runs, and begins to keep one. To be taken out again
    /// once there is one, since a node that has lost its disk could run a release that the cluster has left behind.
    pub fn without_record(mut self) -> Self {
        self.serves_unrecorded = true;
        self
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
    /// beforehand. A node has one: the later takes the place of the earlier, and of a configuration's. Default: nobody.
    pub fn membership(mut self, membership: impl Membership) -> Self {
        self.membership = Some(Source::new(membership));
        self
    }

    /// A function that others may run. It is called with the job's context and the encoded argument, in a task of its
    /// own; its value goes to the caller, its error or panic becomes an exit with the function's name. If it is killed,
    /// its future is dropped at its next await.
    ///
    /// It is polled for the first time where its cast is read: what it does before its first await holds up whatever
    /// passes between the two nodes, in both directions. A function that works for long, or blocks its thread, belongs
    /// into [`NodeBuilder::function_blocking`]. One that took over 100 ms is logged by name, and counted.
    pub fn function<F, Fut, T, E>(mut self, name: &str, function: F) -> Self
    where
        F: Fn(Context, Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: IntoEnding,
        E: fmt::Display,
    {
        self.register(name, registry::boxed(function), None);
        self
    }

    /// A function that works for long or blocks its thread: it is called on a thread of its own, and holds nobody up.
    /// If it is killed it goes on, and nobody hears of its end; it should look at [`Context::cancellation`] now and
    /// then.
    pub fn function_blocking<F, T, E>(self, name: &str, function: F) -> Self
    where
        F: Fn(Context, Bytes) -> Result<T, E> + Send + Sync + 'static,
        T: IntoEnding + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let function = Arc::new(function);
        self.function(name, move |job, argument| {
            let function = Arc::clone(&function);
            async move {
                // A job does not outlive its node.
                let Some(shared) = job.shared() else { return std::future::pending().await };
                shared.env.aside(move || function(job, argument)).await
            }
        })
    }

    /// Wraps all functions of the node in a tower layer, whether they are registered before or after. As in tower's
    /// `ServiceBuilder`, the first layer is the outermost: it sees a job first and its reply last. There is one stack
    /// for all functions, so a concurrency limit applies to the whole node; [`NodeBuilder::layer_function`] has the
    /// layers of one function, which are inside these.
    ///
    /// A job whose layer is not ready waits in its own worker: it counts among the node's jobs, which are bounded, it
    /// can be killed, and it ends with its time limit. An error of a layer ends the job with an exit: see
    /// [`JobError`](crate::middleware::JobError).
    /// The layer's service must be `Clone`, and clones must share what they limit; one that is not, such as tower's
    /// rate limit, goes behind a `buffer`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use rexi_server::middleware::{JobError, JobRequest};
    /// use rexi_server::{ExitReason, NodeBuilder};
    /// use tower::ServiceBuilder;
    ///
    /// /// Only nodes of the front may ask.
    /// async fn check(job: JobRequest) -> Result<JobRequest, JobError> {
    ///     if job.context().caller().as_str().starts_with("front") {
    ///         Ok(job)
    ///     } else {
    ///         Err(JobError::new(ExitReason::Failed("not allowed".into())))
    ///     }
    /// }
    ///
    /// fn register(node: NodeBuilder) -> NodeBuilder {
    ///     let layers = ServiceBuilder::new()
    ///         .load_shed()
    ///         .concurrency_limit(64)
    ///         .timeout(Duration::from_secs(2))
    ///         .filter_async(check);
    ///     node.layer(layers.into_inner())
    /// }
    /// ```
    #[cfg(feature = "tower")]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<JobService> + Send + Sync + 'static,
        L::Service: Service<JobRequest, Response = Option<Bytes>> + Clone + Send + Sync + 'static,
        <L::Service as Service<JobRequest>>::Error: Into<BoxError>,
        <L::Service as Service<JobRequest>>::Future: Send,
    {
        self.layers.of_all(wrap(layer));
        self
    }

    /// Wraps one function in a tower layer, typed or not, with a stream or not: see [`NodeBuilder::layer`].
    ///
    /// [`NodeBuilder::start`] fails where there is no such function.
    ///
    /// ```
    /// use rexi_server::{Context, Function, NodeBuilder};
    /// use tower::limit::ConcurrencyLimitLayer;
    ///
    /// rexi_server::function! {
    ///     /// Compacts the store.
    ///     pub Compact = "compact" () -> (), error String, since 1.0;
    /// }
    ///
    /// fn register(node: NodeBuilder) -> NodeBuilder {
    ///     let compact = |_job: Context, ()| async { Ok(()) };
    ///     node.serve(Compact, compact).layer_function(Compact::NAME, ConcurrencyLimitLayer::new(1))
    /// }
    /// ```
    #[cfg(feature = "tower")]
    pub fn layer_function<L>(mut self, name: &str, layer: L) -> Self
    where
        L: Layer<JobService> + Send + Sync + 'static,
        L::Service: Service<JobRequest, Response = Option<Bytes>> + Clone + Send + Sync + 'static,
        <L::Service as Service<JobRequest>>::Error: Into<BoxError>,
        <L::Service as Service<JobRequest>>::Future: Send,
    {
        self.layers.of_one(name, wrap(layer));
        self
    }

    /// Lets this member call this function, and denies all that no other call of this kind allows. Adds to the list of
    /// [`NodeBuilder::allow_list`].
    pub fn allow(mut self, peer: NodeName, function: &str) -> Self {
        self.allowed = Some(self.allowed.unwrap_or_default().allow(peer, function));
        self
    }

    /// Who may call what, replacing what was said before. Default: no list, so that every member may call every
    /// function.
    pub fn allow_list(mut self, list: AllowList) -> Self {
        self.allowed = Some(list);
        self
    }

    /// How many failed jobs are kept of each server: the singleton, and the per-node server of each member. Beyond, the
    /// oldest is dropped. Default: 0, none. Each takes its error's text and some 200 bytes.
    pub fn errors_kept(mut self, number: usize) -> Self {
        self.errors_kept = number;
        self
    }

    /// How the rollout starts. Default: [`StartRollout::from_release`].
    pub fn rollout(mut self, rollout: StartRollout) -> Self {
        self.rollout = rollout;
        self
    }

    /// How long a call for one reply waits, where its request does not say: [`Node::ask`], [`Node::call`], the quorums
    /// and the client of the feature `tower`. `None`: for as long as it takes. Default:
    /// [`CALL_TIME_LIMIT`](crate::calls::CALL_TIME_LIMIT). Streams and what is cast have no limit but their own.
    ///
    /// It is best well above the stability period, [`Limits::stability_period`]: then a call to a node that is away
    /// ends with the error that says so.
    pub fn call_time_limit(mut self, limit: Option<Duration>) -> Self {
        self.call_time_limit = limit;
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
    pub fn start(self) -> Result<Node, StartError> {
        self.begin()
    }

    fn register(&mut self, name: &str, function: registry::Handler, row: Option<FunctionRow>) {
        if !self.registry.insert(name, function, row) {
            self.twice.get_or_insert_with(|| name.to_owned());
        }
    }
}

#[cfg(all(test, not(feature = "dns")))]
mod tests {
    use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};

    use super::*;
    use crate::Train;

    #[test]
    fn a_build_without_dns_refuses_to_find_members_by_it_and_names_the_feature() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = || KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(CertificateParams::default(), key()).expect("an authority");
        let own_key = key();
        let names = CertificateParams::new(vec!["n1".to_owned()]).expect("a name");
        let certificate = names.signed_by(&own_key, &authority).expect("a certificate");
        for (file, text) in [("ca", authority.pem()), ("cert", certificate.pem()), ("key", own_key.serialize_pem())] {
            std::fs::write(folder.path().join(file), text).expect("a file");
        }
        let head = "name = \"n1\"\nrelease = \"1.0\"\nlisten = \"127.0.0.1:4001\"\n\
                    [identity]\nca = \"ca\"\ncert = \"cert\"\nkey = \"key\"\n";
        let train = Train::new("tests").release("1.0", |r| r);
        let build = |rest: &str| {
            let file = folder.path().join("node.toml");
            std::fs::write(&file, format!("{head}{rest}")).expect("a file");
            NodeBuilder::from_config(&Config::from_file(&file, &train).expect("a configuration"))
        };
        for (rest, origin) in [
            ("[membership]\nsrv = \"_rexi._udp.rexi.example.\"\n", "_rexi._udp.rexi.example."),
            ("[peers]\nn2 = \"127.0.0.1:4002\"\nn3 = \"n3.rexi.svc:4001\"\n", "n3.rexi.svc:4001 (peers.n3)"),
        ] {
            let refused = build(rest).expect_err("this build has no DNS");
            assert!(matches!(refused, StartError::Membership(_)), "{refused:?}");
            let refused = refused.to_string();
            for part in [origin, "by DNS", "build rexi-server with its feature `dns`"] {
                assert!(refused.contains(part), "{part:?} is not in {refused:?}");
            }
        }
        let own = build("[peers]\nn1 = \"n1.rexi.svc:4001\"\nn2 = \"127.0.0.1:4002\"\n");
        assert!(own.is_ok(), "its own host is not looked up: {own:?}");
    }
}
