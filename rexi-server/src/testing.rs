//! A cluster for the tests of services: real nodes in one process, on a network in memory and in virtual time.
//!
//! All of it is real, the QUIC packets and the TLS handshakes too, but the UDP sockets: datagrams travel in memory and
//! take a millisecond each, and links can be cut, healed, made slow or lossy. Nodes can crash and come back at another
//! release. Time is tokio's: on a paused clock, a test in which 23 seconds pass takes some milliseconds.
//!
//! A test runs on one thread with the clock paused, `#[tokio::test(start_paused = true)]`, for which `tokio` needs its
//! feature `test-util`. Time then moves on whenever all tasks wait. A runtime with several threads cannot be paused; on
//! it a cluster works too, in real time.

mod network;

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rexi_proto::{NodeName, Profile};
use tokio::time::Instant;

use crate::builder::NodeBuilder;
use crate::dev_certs::DevAuthority;
use crate::env::NodeEnv;
use crate::error::StartError;
use crate::identity::Identity;
use crate::node::Node;
use crate::status::PeerPresence;
use network::{Link, Network};

/// Nodes that may run, and the network between them. Dropping it lets go of all its nodes.
///
/// The order of what happens, and when, is chosen by the seed, which is written to standard error: a test that failed
/// is run again with [`TestCluster::with_seed`]. What TLS draws (keys, so the bytes of packets) is not chosen by it.
///
/// Members are named by their text. A method that takes one panics where there is no such member.
///
/// ```
/// use std::time::Duration;
///
/// use rexi_server::testing::TestCluster;
/// use rexi_server::{Bytes, CallError, Context, Profile, Request};
///
/// async fn echo(_job: Context, argument: Bytes) -> Result<Bytes, std::convert::Infallible> {
///     Ok(argument)
/// }
///
/// // In a test: #[tokio::test(start_paused = true)]
/// #[tokio::main(flavor = "current_thread", start_paused = true)]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let cluster = TestCluster::new(["n1", "n2", "n3"]);
///     cluster.define_all(|node| node.function("echo", echo));
///     let [.., release] = Profile::train();
///     cluster.start_all(&release)?;
///     cluster.ready().await;
///
///     let (n1, n3) = (cluster.node("n1"), cluster.name("n3"));
///     assert_eq!(n1.call(&n3, Request::new("echo", "hello")).await?, "hello");
///
///     // Nobody hears of a cut at once, and a brief one ends nothing.
///     cluster.cut("n1", "n3");
///     let call = n1.cast(&n3, Request::new("echo", "later"))?;
///     tokio::time::sleep(Duration::from_secs(4)).await;
///     cluster.heal("n1", "n3");
///     assert_eq!(call.reply().await?, "later");
///
///     // A longer one does: 8 s until the connection is idle, and 15 s in which it could come back.
///     cluster.cut("n1", "n3");
///     assert!(matches!(n1.call(&n3, Request::new("echo", "lost")).await, Err(CallError::Down(_))));
///     Ok(())
/// }
/// ```
pub struct TestCluster {
    seed: u64,
    members: BTreeMap<NodeName, Member>,
    network: Network,
    clock: Arc<Clock>,
    state: Mutex<State>,
}

struct Member {
    address: SocketAddr,
    identity: Identity,
}

struct State {
    rng: StdRng,
    definitions: BTreeMap<NodeName, Arc<Definition>>,
    running: BTreeMap<NodeName, Node>,
}

type Definition = dyn Fn(NodeBuilder) -> NodeBuilder + Send + Sync;

impl TestCluster {
    /// A cluster of these members, none of which runs yet, with a seed of its own. A name that is given twice is one
    /// member.
    ///
    /// # Panics
    /// Where a text is no node name, or the system gives no random bytes.
    pub fn new<'a>(members: impl IntoIterator<Item = &'a str>) -> Self {
        Self::with_seed(rand::random(), members)
    }

    /// As [`TestCluster::new`], with the seed of an earlier one.
    ///
    /// # Panics
    /// As [`TestCluster::new`].
    pub fn with_seed<'a>(seed: u64, members: impl IntoIterator<Item = &'a str>) -> Self {
        // Not the log: what a test prints is shown when it fails, whether or not anybody listens to the log.
        eprintln!("rexi test cluster: seed {seed}");
        let authority = DevAuthority::in_memory().expect("the system gives random bytes");
        let member = |(host, text): (u32, &str)| {
            let name = NodeName::new(text).unwrap_or_else(|error| panic!("a test cluster's member: {error}"));
            // Not `issue`, which warns in the log, since this is a test by its name.
            let (cert, key) = authority.issue_pem(&name).expect("the system gives random bytes");
            let identity = Identity::from_pem(authority.ca_pem().as_bytes(), cert.as_bytes(), key.as_bytes());
            let identity = identity.expect("it was made for this");
            let address = SocketAddr::from((Ipv4Addr::from_bits(FIRST_HOST.to_bits() + host), PORT));
            (name, Member { address, identity })
        };
        let mut rng = StdRng::seed_from_u64(seed);
        Self {
            seed,
            members: (0..).zip(members).map(member).collect(),
            network: Network::new(rng.random()),
            clock: Arc::new(Clock { started: Instant::now(), last: Mutex::default() }),
            state: Mutex::new(State { rng, definitions: BTreeMap::new(), running: BTreeMap::new() }),
        }
    }

    /// What [`TestCluster::with_seed`] takes.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A member's name, as calls take it.
    ///
    /// # Panics
    /// Where there is no such member.
    #[track_caller]
    pub fn name(&self, member: &str) -> NodeName {
        self.find(member).0.clone()
    }

    /// How to build this node beyond its name, address, peers and certificate: its functions, say. It is asked at each
    /// start; a later definition takes the place of an earlier one at the next.
    ///
    /// # Panics
    /// Where there is no such member.
    #[track_caller]
    pub fn define(&self, member: &str, definition: impl Fn(NodeBuilder) -> NodeBuilder + Send + Sync + 'static) {
        let name = self.name(member);
        self.lock().definitions.insert(name, Arc::new(definition));
    }

    /// Defines every member in the same way; see [`TestCluster::define`].
    pub fn define_all(&self, definition: impl Fn(NodeBuilder) -> NodeBuilder + Send + Sync + 'static) {
        let definition: Arc<Definition> = Arc::new(definition);
        let definitions = self.members.keys().map(|name| (name.clone(), Arc::clone(&definition)));
        self.lock().definitions.extend(definitions);
    }

    /// A member as it is defined, on this cluster's network and clock, to be changed further before it starts. The
    /// cluster knows of the node once it is given to [`TestCluster::adopt`]. For one start.
    ///
    /// # Panics
    /// Where there is no such member.
    #[track_caller]
    pub fn builder(&self, member: &str, profile: &Profile) -> NodeBuilder {
        let (name, member) = self.find(member);
        let (seed, definition) = {
            let mut state = self.lock();
            (state.rng.random(), state.definitions.get(name).cloned())
        };
        let (network, clock) = (self.network.clone(), Arc::clone(&self.clock));
        let env = NodeEnv::system()
            .socket(move |address| network.open(address))
            .seed(seed)
            .wall_clock(move || clock.next_microsecond());
        let own = NodeBuilder::new(name.clone(), profile.clone(), member.identity.clone()).listen(member.address);
        let peers = self.members.iter().filter(|(peer, _)| *peer != name);
        let builder = peers.fold(own.env(env), |builder, (peer, member)| builder.peer(peer.clone(), member.address));
        match definition {
            Some(definition) => definition(builder),
            None => builder,
        }
    }

    /// Takes over a node that was started from [`TestCluster::builder`], so that it can be found, crashed and stopped
    /// here. Gives it back.
    ///
    /// # Panics
    /// Where the node is no member.
    #[track_caller]
    pub fn adopt(&self, node: Node) -> Node {
        let name = self.name(node.name().as_str());
        let earlier = self.lock().running.insert(name, node.clone());
        drop(earlier);
        node
    }

    /// Starts a member at a release. The cluster keeps it running, whether or not the returned handle is kept.
    ///
    /// # Errors
    /// [`StartError`], as without a cluster; [`StartError::Listen`] where the member runs already.
    ///
    /// # Panics
    /// Where there is no such member.
    #[track_caller]
    pub fn start(&self, member: &str, profile: &Profile) -> Result<Node, StartError> {
        Ok(self.adopt(self.builder(member, profile).start()?))
    }

    /// Starts every member that does not run yet.
    ///
    /// # Errors
    /// The first one that did not start; those before it run.
    pub fn start_all(&self, profile: &Profile) -> Result<(), StartError> {
        for name in self.members.keys() {
            if !self.lock().running.contains_key(name) {
                self.start(name.as_str(), profile)?;
            }
        }
        Ok(())
    }

    /// A member that runs.
    ///
    /// # Panics
    /// Where there is no such member, or it does not run.
    #[track_caller]
    pub fn node(&self, member: &str) -> Node {
        let name = self.name(member);
        let node = self.lock().running.get(&name).cloned();
        node.unwrap_or_else(|| panic!("{name} does not run; start it first"))
    }

    /// Waits until all running nodes are connected to all others that run.
    ///
    /// # Panics
    /// After 60 s of virtual time, with what each node says of the others.
    pub async fn ready(&self) {
        let deadline = Instant::now() + READY_LIMIT;
        let mut ticks = tokio::time::interval(READY_INTERVAL);
        while !self.is_ready() {
            if Instant::now() >= deadline {
                let seed = self.seed;
                panic!("not all nodes are connected after {READY_LIMIT:?} (seed {seed}):\n{}", self.presences());
            }
            ticks.tick().await;
        }
    }

    /// Loses every datagram between the two, both ways, also those on their way. Neither is told.
    ///
    /// # Panics
    /// Where there is no such member. So do all that change links.
    #[track_caller]
    pub fn cut(&self, one: &str, other: &str) {
        self.change(one, other, |link| link.cut = true);
    }

    /// Loses what the one sends to the other, and not what the other sends back.
    #[track_caller]
    pub fn cut_one_way(&self, from: &str, to: &str) {
        self.network.change(self.host(from), self.host(to), |link| link.cut = true);
    }

    /// Makes the link between the two as it was at first, both ways: not cut, not slow, without loss.
    #[track_caller]
    pub fn heal(&self, one: &str, other: &str) {
        self.change(one, other, |link| *link = Link::default());
    }

    /// Makes all links as they were at first.
    pub fn heal_all(&self) {
        self.network.heal_all();
    }

    /// Gives each datagram between the two that long to arrive, both ways, from the next one on. It is a millisecond at
    /// first.
    #[track_caller]
    pub fn slow(&self, one: &str, other: &str, delay: Duration) {
        self.change(one, other, |link| link.delay = delay);
    }

    /// Loses datagrams between the two with this probability, both ways: 0 for none, 1 for all. Values beyond are
    /// taken as the nearest of these, and one that is no number as 0.
    #[track_caller]
    pub fn lose(&self, one: &str, other: &str, probability: f64) {
        let loss = if probability.is_nan() { 0.0 } else { probability.clamp(0.0, 1.0) };
        self.change(one, other, |link| link.loss = loss);
    }

    /// Ends a member as the end of its process would: nobody is told, its address is free at once, and its tasks are
    /// dropped before time moves on. Handles on it that are still held answer that all is down. What its functions
    /// spawned for themselves goes on. Nothing happens where the member does not run.
    ///
    /// # Panics
    /// Where there is no such member.
    #[track_caller]
    pub fn crash(&self, member: &str) {
        let name = self.name(member);
        let node = self.lock().running.remove(&name);
        if let Some(node) = node {
            self.pull(&node);
        }
    }

    /// Starts a member at that release, as a later life of it. It crashes first if it runs.
    ///
    /// # Errors
    /// As [`TestCluster::start`].
    ///
    /// # Panics
    /// Where there is no such member.
    #[track_caller]
    pub fn restart(&self, member: &str, profile: &Profile) -> Result<Node, StartError> {
        self.crash(member);
        self.start(member, profile)
    }

    /// Stops a member in good order, as [`Node::shutdown`] does with a limit of 10 s, and frees its address. Returns
    /// how many jobs had to be ended; 0 where the member does not run.
    ///
    /// Not cancel safe: when the future is dropped in its middle, the cluster no longer knows the node, which leaves
    /// without waiting further once nobody else holds it.
    ///
    /// # Panics
    /// Where there is no such member.
    pub async fn stop(&self, member: &str) -> usize {
        let name = self.name(member);
        let node = self.lock().running.remove(&name);
        let Some(node) = node else { return 0 };
        let ended = node.clone().shutdown(STOP_LIMIT).await;
        self.pull(&node);
        ended
    }

    /// Takes the socket first, so that no task can say a last word.
    fn pull(&self, node: &Node) {
        if let Ok(address) = node.local_addr() {
            self.network.close(address);
        }
        node.crash();
    }

    fn change(&self, one: &str, other: &str, change: impl Fn(&mut Link)) {
        let (one, other) = (self.host(one), self.host(other));
        self.network.change(one, other, &change);
        self.network.change(other, one, change);
    }

    #[track_caller]
    fn host(&self, member: &str) -> IpAddr {
        self.find(member).1.address.ip()
    }

    #[track_caller]
    fn find(&self, member: &str) -> (&NodeName, &Member) {
        let found = self.members.iter().find(|(name, _)| name.as_str() == member);
        found.unwrap_or_else(|| {
            let members: Vec<_> = self.members.keys().map(NodeName::as_str).collect();
            panic!("{member:?} is no member of this test cluster; members are {}", members.join(", "))
        })
    }

    fn running(&self) -> Vec<Node> {
        self.lock().running.values().cloned().collect()
    }

    fn is_ready(&self) -> bool {
        let running = self.running();
        running.iter().all(|node| {
            let sees = |other: &Node| node.shared().member(other.name()).is_none_or(|member| member.is_connected());
            running.iter().all(sees)
        })
    }

    /// A line for each running node.
    fn presences(&self) -> String {
        let mut text = String::new();
        for node in self.running() {
            let status = node.status();
            let _ = write!(text, "  {} ({}) sees", status.name, status.release);
            for peer in status.peers.iter().filter(|peer| peer.name != status.name) {
                let _ = write!(text, " {} {}", peer.name, presence(&peer.presence));
                let error = peer.last_error.as_ref().filter(|_| peer.presence != PeerPresence::Connected);
                let _ = error.map_or(Ok(()), |error| write!(text, " ({error})"));
                text.push(';');
            }
            text.push('\n');
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a test cluster")
    }
}

impl fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<_> = self.members.keys().collect();
        f.debug_struct("TestCluster").field("seed", &self.seed).field("members", &members).finish_non_exhaustive()
    }
}

fn presence(presence: &PeerPresence) -> &'static str {
    match presence {
        PeerPresence::Connected => "connected",
        PeerPresence::Away => "away",
        PeerPresence::Gone => "gone",
        PeerPresence::Refused(_) => "refused",
    }
}

/// A wall clock that moves with tokio's time and gives no microsecond twice, so that each life of a node is later than
/// the one before it.
struct Clock {
    started: Instant,
    last: Mutex<Duration>,
}

impl Clock {
    fn next_microsecond(&self) -> SystemTime {
        let mut last = self.last.lock().expect("nothing panics while it holds the clock");
        *last = self.started.elapsed().max(*last + Duration::from_micros(1));
        UNIX_EPOCH + START_OF_TIME + *last
    }
}

/// Where a cluster's time begins: 2030-01-01, within the dates of its certificates.
const START_OF_TIME: Duration = Duration::from_secs(1_893_456_000);

/// The members' addresses follow this one.
const FIRST_HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

const PORT: u16 = 4_000;

const READY_LIMIT: Duration = Duration::from_secs(60);

const READY_INTERVAL: Duration = Duration::from_millis(1);

const STOP_LIMIT: Duration = Duration::from_secs(10);
