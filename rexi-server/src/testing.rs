//! A cluster for the tests of services: real nodes in one process, on a network in memory and in virtual time.
//!
//! All of it is real, including the QUIC packets and the TLS handshakes, except the UDP sockets: datagrams travel in
//! memory and take a millisecond each, and links can be cut, healed, made slow or lossy. Nodes can crash and come back
//! at another release. Time is tokio's: on a paused clock, a test in which 23 seconds pass takes some milliseconds.
//!
//! A test runs on one thread with the clock paused, `#[tokio::test(start_paused = true)]`, for which `tokio` needs its
//! feature `test-util`. Time then moves on whenever all tasks wait. A runtime with several threads cannot be paused; on
//! it a cluster works too, in real time.

mod members;
mod clock;
mod network;
mod faults;

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rexi_proto::{NodeName, Profile};
use tokio::time::Instant;

use crate::builder::{NodeBuilder, StartError};
use crate::engine::PeerPresence;
use crate::net::{Identity, IdentityError, NodeEnv, QuicCrypto};
use crate::node::Node;
use clock::Clock;
use network::Network;

pub use members::TestMembers;
pub use network::Datagram;

pub use crate::state::{DiskFault, TestDisk};

/// Nodes that may run, and the network between them. Dropping it lets go of all its nodes.
///
/// The order of what happens, and when, is chosen by the seed, which is written to standard error: a test that failed
/// is run again with [`TestCluster::with_seed`]. What TLS draws (keys, so the bytes of packets) is not chosen by it.
///
/// Members are named by their text. A method that takes a member panics where there is no such member.
///
/// ```
/// use std::time::Duration;
///
/// use rexi_server::testing::TestCluster;
/// use rexi_server::{Bytes, CallError, Context, Request, Train};
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
///     let release = Train::new("greeter").release("1.0", |r| r).profile("1.0")?;
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
    members: TestMembers,
    network: Network,
    clock: Arc<Clock>,
    state: Mutex<State>,
}

struct State {
    rng: StdRng,
    definitions: BTreeMap<NodeName, Arc<Definition>>,
    running: BTreeMap<NodeName, Node>,
    secured: Option<Arc<Secured>>,
}

type Secured = dyn Fn(&Identity) -> Result<QuicCrypto, IdentityError> + Send + Sync;

type Definition = dyn Fn(NodeBuilder) -> NodeBuilder + Send + Sync;

impl TestCluster {
    /// A cluster of these members, none of which runs yet, with a seed of its own. A name that is given twice is one
    /// member.
    ///
    /// # Panics
    /// Where a text is not a node name.
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
        Self::of(&TestMembers::new(members), seed)
    }

    /// As [`TestCluster::with_seed`], of members that were made before, which saves the making of their certificates;
    /// and in silence, for those who run many clusters and say themselves which seed failed.
    pub fn of(members: &TestMembers, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let network = Network::new(rng.random());
        let state = State { rng, definitions: BTreeMap::new(), running: BTreeMap::new(), secured: None };
        let clock = Arc::new(Clock::new(members.len()));
        Self { seed, members: members.clone(), network, clock, state: Mutex::new(state) }
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
        self.members.find(member).name.clone()
    }

    /// Where a member listens, as [`Node::add_member`] takes it.
    ///
    /// # Panics
    /// Where there is no such member.
    #[track_caller]
    pub fn address(&self, member: &str) -> std::net::SocketAddr {
        self.members.find(member).address
    }

    /// Secures connections in this way, from each node's next start on, and not as its identity would. For tests of
    /// what TLS has no part in, and for those that repeat TLS byte for byte; see [`NodeEnv::crypto`].
    pub fn secure(&self, secured: impl Fn(&Identity) -> Result<QuicCrypto, IdentityError> + Send + Sync + 'static) {
        self.lock().secured = Some(Arc::new(secured));
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
        let definitions = self.members.iter().map(|member| (member.name.clone(), Arc::clone(&definition)));
        self.lock().definitions.extend(definitions);
    }

    /// A member as it is defined, on this cluster's network and clock, to be changed further before it starts. The
    /// cluster knows of the node once it is given to [`TestCluster::adopt`]. For one start.
    ///
    /// # Panics
    /// Where there is no such member, or its crypto ([`TestCluster::secure`]) cannot be made.
    #[track_caller]
    pub fn builder(&self, member: &str, profile: &Profile) -> NodeBuilder {
        let member = self.members.find(member);
        let name = &member.name;
        let (seed, definition, secured) = {
            let mut state = self.lock();
            (state.rng.random(), state.definitions.get(name).cloned(), state.secured.clone())
        };
        let (network, clock, number) = (self.network.clone(), Arc::clone(&self.clock), member.number);
        let mut env = NodeEnv::system()
            .socket(move |address| network.open(address))
            .seed(seed)
            .wall_clock(move || clock.next_microsecond(number));
        if let Some(secured) = secured {
            env = env.crypto(secured(&member.identity).unwrap_or_else(|error| panic!("{name}: {error}")));
        }
        let own = NodeBuilder::new(name.clone(), profile.clone(), member.identity.clone()).listen(member.address);
        let peers = self.members.iter().filter(|peer| peer.name != *name);
        let builder = peers.fold(own.env(env), |builder, peer| builder.peer(peer.name.clone(), peer.address));
        match definition {
            Some(definition) => definition(builder),
            None => builder,
        }
    }

    /// Takes over a node that was started from [`TestCluster::builder`], so that it can be found, crashed and stopped
    /// here. Gives it back.
    ///
    /// # Panics
    /// Where the node is not a member.
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
        for member in self.members.iter() {
            if self.running(member.name.as_str()).is_none() {
                self.start(member.name.as_str(), profile)?;
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
        self.running(member).unwrap_or_else(|| panic!("{member} does not run; start it first"))
    }

    /// A member, if it runs.
    ///
    /// # Panics
    /// Where there is no such member.
    #[track_caller]
    pub fn running(&self, member: &str) -> Option<Node> {
        let name = self.name(member);
        self.lock().running.get(&name).cloned()
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
    /// Not cancel safe: when the future is dropped before its end, the cluster no longer knows the node, which leaves
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

    fn all_running(&self) -> Vec<Node> {
        self.lock().running.values().cloned().collect()
    }

    fn is_ready(&self) -> bool {
        let running = self.all_running();
        running.iter().all(|node| {
            let sees = |other: &Node| node.shared().member(other.name()).is_none_or(|member| member.is_connected());
            running.iter().all(sees)
        })
    }

    /// A line for each running node.
    fn presences(&self) -> String {
        let mut text = String::new();
        for node in self.all_running() {
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
        let members: Vec<_> = self.members.iter().map(|member| &member.name).collect();
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

const READY_LIMIT: Duration = Duration::from_secs(60);

const READY_INTERVAL: Duration = Duration::from_millis(1);

const STOP_LIMIT: Duration = Duration::from_secs(10);
