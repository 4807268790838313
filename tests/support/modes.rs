//! The modes that a node may serve in, and how one test runs in each of them.
//!
//! A mode is a release of the train. Nodes run in virtual time on a network in memory; where a test wants to see or say
//! single messages, one of two members is a script on a socket of its own.

use std::sync::Arc;

use rexi_proto::{Message, WireVersion};
use rexi_server::testing::TestCluster;
use rexi_server::{Node, NodeBuilder, Profile, ServerAddress};

use crate::{Cluster, Lane, Stranger, functions, hello_of, numbered, release, within};

/// How a cluster serves, by the release that all its nodes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// The release's number.
    pub release: &'static str,
    /// The server that casts go to.
    pub server: ServerAddress,
}

/// Singleton-only, dual with casts to the singleton, dual with casts to the per-node servers, per-node-only.
pub const MODES: [Mode; 4] = [
    Mode { release: "1.0", server: ServerAddress::Singleton },
    Mode { release: "1.1", server: ServerAddress::Singleton },
    Mode { release: "1.2", server: ServerAddress::PerNode },
    Mode { release: "2.0", server: ServerAddress::PerNode },
];

/// Runs `body` in every mode. Where it fails, the last line that it has written here names the mode.
pub async fn in_every_mode(body: impl AsyncFn(Mode)) {
    for mode in MODES {
        eprintln!("release {}, casts go to the {}", mode.release, mode.server);
        body(mode).await;
    }
}

impl Mode {
    /// The release.
    pub fn profile(self) -> Profile {
        release(self.release)
    }

    /// Whether nodes of this mode run both servers.
    pub fn is_dual(self) -> bool {
        let hosts = self.profile().hosts();
        hosts.contains(ServerAddress::Singleton) && hosts.contains(ServerAddress::PerNode)
    }

    /// These nodes in virtual time, each built further by `build`, connected and in the release's highest phase.
    pub async fn cluster<const N: usize>(
        self,
        names: [&str; N],
        build: impl Fn(NodeBuilder, &str) -> NodeBuilder + Send + Sync + 'static,
    ) -> TestCluster {
        let cluster = self.members(names, build);
        cluster.start_all(&self.profile()).expect("nodes that are described well start");
        cluster.ready().await;
        for of in names {
            self.reached(&cluster.node(of)).await;
        }
        cluster
    }

    /// As [`Mode::cluster`], but none of them runs yet.
    pub fn members<const N: usize>(
        self,
        names: [&str; N],
        build: impl Fn(NodeBuilder, &str) -> NodeBuilder + Send + Sync + 'static,
    ) -> TestCluster {
        crate::log::listen();
        let (cluster, build) = (TestCluster::new(names), Arc::new(build));
        for of in names {
            let (build, name) = (Arc::clone(&build), of.to_owned());
            cluster.define(of, move |node| build(functions(node), &name));
        }
        cluster
    }

    /// Starts a member.
    pub fn start(self, cluster: &TestCluster, of: &str) -> Node {
        cluster.start(of, &self.profile()).expect("a node that is described well starts")
    }

    /// As [`Mode::cluster`], of n1 and n2, both built alike.
    pub async fn pair(self, build: impl Fn(NodeBuilder) -> NodeBuilder + Send + Sync + 'static) -> (Node, Node) {
        let cluster = self.cluster(["n1", "n2"], move |node, _| build(node)).await;
        (cluster.node("n1"), cluster.node("n2"))
    }

    /// Waits until the node does all that the release allows.
    pub async fn reached(self, node: &Node) {
        let highest = self.profile().server_stage().highest();
        let mut phase = node.rollout().watch();
        within("the phase", phase.wait_for(|phase| *phase == highest)).await.expect("the node runs");
    }

    /// A node n1 on a real socket, and a script as the member n3 of the same release.
    pub async fn script(self, build: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Script {
        self.script_of(self.profile(), build).await
    }

    /// As [`Mode::script`], of another release that n1 speaks to.
    pub async fn script_of(self, profile: Profile, build: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Script {
        let cluster = Cluster::new(["n1", "n3"]);
        let n1 = build(cluster.builder("n1", self.profile())).start().expect("n1 starts");
        let hello = hello_of("n3", &profile);
        let wire = hello.wire.newest_common(self.profile().wire()).expect("the two speak to each other");
        let lane = Stranger::member(cluster.authority(), "n3").shake_hands(cluster.address("n1"), "n1", &hello).await;
        within("n1 to be ready", n1.ready()).await;
        self.reached(&n1).await;
        Script { n1, lane, wire }
    }
}

/// A node n1, and what the script n3 hears from it and says to it.
pub struct Script {
    /// The node.
    pub n1: Node,
    lane: Lane,
    wire: WireVersion,
}

impl Script {
    /// n1's next message that is not of its phase.
    pub async fn hears(&mut self) -> Message {
        loop {
            let message = rexi_proto::decode(self.wire, &self.lane.frame().await).expect("nodes keep to the format");
            if !matches!(message, Message::Announce(..)) {
                return message;
            }
        }
    }

    /// Says this to n1, in the wire version that the two have agreed on.
    pub async fn says(&mut self, message: &Message) {
        self.says_all(std::slice::from_ref(message)).await;
    }

    /// Says all of this at once.
    pub async fn says_all(&mut self, messages: &[Message]) {
        let mut bytes = bytes::BytesMut::new();
        for message in messages {
            let message = numbered(message, &self.lane.functions);
            rexi_proto::encode(self.wire, &message, 1 << 20, &mut bytes).expect("the version has it");
        }
        self.lane.say(&bytes).await;
    }

    /// The version that the two have agreed on.
    pub fn wire(&self) -> WireVersion {
        self.wire
    }
}
