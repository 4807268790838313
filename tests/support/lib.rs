//! Helpers of the behaviour tests: a cluster of real nodes on loopback, in this process.
//!
//! Ports are chosen by the system, certificates are made in memory, and every wait has a limit, after which the test
//! fails and says what it waited for.

mod exposition;
mod forge;
mod http;
mod log;
mod modes;
mod patience;
mod stranger;
mod undisturbed;
mod witness;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use patience::{patiently, waited};
use rexi_server::{
    Bytes, Context, DevAuthority, Identity, Node, NodeBuilder, NodeName, Profile, SERVER_PER_NODE, ServerAddress,
    StartError, Train, WireVersion, rollout::StateError, status::PeerStatus,
};

pub use exposition::Exposition;
pub use forge::{Forge, Impostor, Shown};
pub use http::get;
pub use log::Log;
pub use modes::{MODES, Mode, Script, in_every_mode};
pub use stranger::{ALPN, Lane, Stranger, cast_of_witness, encoded, frame_of, hello, hello_of, numbered};
pub use undisturbed::{cut_off, undisturbed};
pub use witness::{Held, Traffic, Witness};

/// A name that is known to be good.
pub fn name(name: &str) -> NodeName {
    NodeName::new(name).expect("tests use good names")
}

/// A service that goes through rexi's own migration, a release for each stage.
pub fn train() -> Train {
    let (v1, v2, v3) = (WireVersion::V1, WireVersion::V2, WireVersion::V3);
    Train::new("tests")
        .release("1.0", |r| r.wire(v1))
        .release("1.1", |r| r.wire(v1..=v2).introduce(SERVER_PER_NODE))
        .release("1.2", |r| r.wire(v2).switch(SERVER_PER_NODE))
        .release("2.0", |r| r.wire(v2..=v3).remove(SERVER_PER_NODE))
}

/// Its release of that number, such as `"1.2"`.
pub fn release(number: &str) -> Profile {
    train().profile(number).expect("a release of the train")
}

/// The four releases' numbers, oldest first.
pub const RELEASES: [&str; 4] = ["1.0", "1.1", "1.2", "2.0"];

/// Nodes that may run: their names, addresses and identities.
pub struct Cluster {
    authority: DevAuthority,
    addresses: BTreeMap<NodeName, SocketAddr>,
}

impl Cluster {
    /// A cluster of these members, none of which runs yet.
    pub fn new<const N: usize>(names: [&str; N]) -> Self {
        log::listen();
        // All sockets at once, so that no port is given twice.
        let sockets = names.map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback"));
        let address = |socket: &UdpSocket| socket.local_addr().expect("a bound socket has an address");
        let addresses = names.iter().zip(&sockets).map(|(n, socket)| (name(n), address(socket))).collect();
        Self { authority: DevAuthority::in_memory().expect("keys can be made"), addresses }
    }

    /// Where a member listens.
    pub fn address(&self, of: &str) -> SocketAddr {
        self.addresses[&name(of)]
    }

    /// A member's certificate and key.
    pub fn identity(&self, of: &str) -> Identity {
        self.authority.issue(&name(of)).expect("a certificate can be made")
    }

    /// The authority that signs the members' certificates.
    pub fn authority(&self) -> &DevAuthority {
        &self.authority
    }

    /// Describes a member with all others as its peers and the functions that tests use.
    pub fn builder(&self, of: &str, profile: Profile) -> NodeBuilder {
        self.builder_as(self.identity(of), of, profile)
    }

    /// As [`Cluster::builder`], of a member with an identity that this cluster has not made.
    pub fn builder_as(&self, identity: Identity, of: &str, profile: Profile) -> NodeBuilder {
        let own = name(of);
        let mut builder = Node::builder(own.clone(), profile, identity).listen(self.address(of));
        for (peer, &address) in self.addresses.iter().filter(|(peer, _)| **peer != own) {
            builder = builder.peer(peer.clone(), address);
        }
        functions(builder)
    }

    /// Starts a member of that release.
    pub fn start(&self, of: &str, number: &str) -> Node {
        self.builder(of, release(number)).start().expect("a node that is described well starts")
    }
}

/// Adds the functions that tests use: `echo`, `fail`, `panic`, `forever`, `server`.
pub fn functions(node: NodeBuilder) -> NodeBuilder {
    node.function("echo", |_, argument: Bytes| async move { Ok::<_, String>(argument) })
        .function(
            "fail",
            |_, argument: Bytes| async move { Err::<(), _>(String::from_utf8_lossy(&argument).into_owned()) },
        )
        .function("panic", panics)
        .function("forever", |_, _| std::future::pending::<Result<(), String>>())
        .function("server", |job: Context, _| async move {
            let server: &[u8] = match job.server() {
                ServerAddress::Singleton => b"singleton",
                ServerAddress::PerNode => b"per-node",
            };
            Ok::<_, String>(Bytes::from_static(server))
        })
}

async fn panics(_: Context, argument: Bytes) -> Result<(), String> {
    panic!("{}", String::from_utf8_lossy(&argument));
}

/// Starts a node where another has stopped a moment ago: its socket is free once its last close has been sent.
pub async fn start_again(mut builder: impl FnMut() -> NodeBuilder) -> Node {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    within("the address to be free again", async {
        loop {
            match builder().start() {
                // Or a thread of it has its directory of state for a moment more.
                Err(StartError::Listen { .. } | StartError::State(StateError::InUse { .. })) => {}
                started => return started.expect("a node that is described well starts"),
            }
            ticks.tick().await;
        }
    })
    .await
}

/// A member as `node` sees it.
pub fn peer(node: &Node, of: &str) -> PeerStatus {
    let found = node.status().peers.into_iter().find(|peer| peer.name.as_str() == of);
    found.unwrap_or_else(|| panic!("{of} is a member"))
}

/// Lets virtual time move on.
pub async fn pass(time: Duration) {
    assert!(tokio::time::timeout(time, std::future::pending::<()>()).await.is_err());
}

/// Does something while virtual time goes ten times slower than time does. It does not run ahead either while the
/// system brings a datagram, as it may on a busy machine, so no limit passes that is not meant to.
pub async fn unhurried<T>(work: impl Future<Output = T>) -> T {
    let slowly = async {
        let mut moved = std::time::Instant::now();
        loop {
            // Who is never idle keeps paused time from running ahead.
            tokio::task::yield_now().await;
            if moved.elapsed() >= 10 * TICK {
                tokio::time::advance(TICK).await;
                moved = std::time::Instant::now();
            }
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        () = slowly => unreachable!("it goes on"),
    }
}

const TICK: Duration = Duration::from_millis(1);

/// Waits until nothing of these nodes is left to be done: no job, no open call.
pub async fn idle(nodes: &[Node]) {
    for node in nodes {
        until("nothing to be left", node, |node| node.status().jobs == 0 && node.status().calls == 0).await;
    }
}

/// Waits for `future`, but not for longer than a busy machine could need.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    patiently(future).await.unwrap_or_else(|| panic!("{}", waited(what)))
}

/// Waits until `condition` holds, looking at it again whenever a member of `node` comes or goes, and every 5 ms.
pub async fn until(what: &str, node: &Node, mut condition: impl FnMut(&Node) -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let mut presence = node.watch_presence();
    let holds = async {
        while !condition(node) {
            tokio::select! {
                () = presence.changed() => {}
                _ = ticks.tick() => {}
            }
        }
    };
    if patiently(holds).await.is_none() {
        panic!("{}; {:#?}", waited(what), node.status());
    }
}
