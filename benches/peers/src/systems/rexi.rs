//! rexi-server with all that it does: typed functions, a worker per job, mTLS; in the mode that a cell asks for.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use futures_util::StreamExt;
use rexi_server::{
    Call, Context, Identity, Limits, Node, NodeName, PeerPresence, Phase, Profile, Request, SERVER_PER_NODE, Train,
    WireVersion,
};

use crate::cell::BUFFERED_FRAMES;
use crate::cli::Setup;
use crate::failure::Failure;
use crate::systems::{Caller, Items, Members, Taken, item, tls};
use crate::work::SMALL_BYTES;

rexi_server::function! {
    /// Returns what it is given.
    Echo = "echo" (Bytes) -> Bytes, error String, since 1.0;
    /// So many items of so many bytes, with a window of so many.
    Rows = "rows" (u64, u32, u32) -> stream Bytes, error String, since 1.0;
    /// Runs until it is killed.
    Hold = "hold" () -> (), error String, since 1.0;
}

/// Which servers the nodes run, and which one they cast to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Mode {
    /// Release 1.0: one server for all nodes.
    Singleton,
    /// Release 1.2, raised to `switch`: both run, casts go to the per-node servers.
    Dual,
    /// Release 2.0: a server for each remote node.
    PerNode,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Singleton, Self::Dual, Self::PerNode];

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Singleton => "singleton",
            Self::Dual => "dual",
            Self::PerNode => "per-node",
        }
    }

    fn profile(self) -> Profile {
        let train = Train::new("peers")
            .release("1.0", |r| r.wire(WireVersion::V1))
            .release("1.1", |r| r.wire(WireVersion::V1..=WireVersion::V2).introduce(SERVER_PER_NODE))
            .release("1.2", |r| r.wire(WireVersion::V2).switch(SERVER_PER_NODE))
            .release("2.0", |r| r.wire(WireVersion::V2..=WireVersion::V3).remove(SERVER_PER_NODE));
        let release = match self {
            Self::Singleton => "1.0",
            Self::Dual => "1.2",
            Self::PerNode => "2.0",
        };
        train.profile(release).expect("the train has it")
    }

    fn phase(self) -> Phase {
        match self {
            Self::Singleton => Phase::Singleton,
            Self::Dual => Phase::Switch,
            Self::PerNode => Phase::Remove,
        }
    }
}

/// The nodes of one process. It calls through the first.
#[derive(Clone)]
pub(crate) struct Nodes {
    nodes: Arc<Vec<Node>>,
    peers: Arc<Vec<NodeName>>,
    /// What `hold` has started; they run on until the process ends.
    held: Arc<std::sync::Mutex<Vec<Call>>>,
}

impl Nodes {
    /// Starts the nodes of this process. They serve as soon as they are started.
    pub(crate) fn start(setup: &Setup) -> Result<Self, Failure> {
        let members = Members::read(setup)?;
        let nodes = setup.names.iter().map(|name| start_node(setup, &members, name)).collect::<Result<_, _>>()?;
        let peers = setup.peers.iter().map(NodeName::new).collect::<Result<_, _>>()?;
        Ok(Self { nodes: Arc::new(nodes), peers: Arc::new(peers), held: Arc::default() })
    }

    /// Starts them, and waits until each is connected to all its peers and has come to the phase of its mode.
    pub(crate) async fn connect(setup: &Setup) -> Result<Self, Failure> {
        let nodes = Self::start(setup)?;
        for node in nodes.nodes.iter() {
            node.ready().await;
            node.rollout().watch().wait_for(|&phase| phase == setup.mode.phase()).await?;
        }
        Ok(nodes)
    }

    fn node(&self) -> &Node {
        &self.nodes[0]
    }

    fn peer(&self) -> &NodeName {
        &self.peers[0]
    }

    /// Asks all peers and waits for a majority of the answers, which all have to be the same.
    pub(crate) async fn quorum(&self, body: &Bytes) -> Result<(), Failure> {
        let votes = self.node().ask_quorum(Echo, self.peers.iter().cloned(), body).await;
        let votes = votes.map_err(|error| Failure::new(error.to_string()))?;
        if votes.iter().all(|vote| vote.value == body) { Ok(()) } else { Err(Failure::new("a vote is another")) }
    }

    /// Starts so many jobs, which run until the process ends.
    pub(crate) async fn hold(&self, jobs: usize) -> Result<(), Failure> {
        for _ in 0..jobs {
            let call = self.node().cast_when_clear(self.peer(), Request::of(Hold, &())).await?;
            self.held().push(call);
        }
        // The lane is ordered: once this is answered, all of them have started.
        self.echo(Bytes::from_static(b"all have started")).await?;
        Ok(())
    }

    /// Makes so many calls to a peer that has died, and keeps them.
    pub(crate) async fn buffer(&self, frames: usize) -> Result<(), Failure> {
        let mut watch = self.node().watch_presence();
        let server = || self.node().status().peers.into_iter().find(|peer| peer.name == *self.peer());
        while server().is_some_and(|server| server.presence == PeerPresence::Connected) {
            watch.changed().await;
        }
        let body = Bytes::from_static(&[0; SMALL_BYTES]);
        for _ in 0..frames {
            self.held().push(self.node().cast(self.peer(), Request::of(Echo, &body))?);
        }
        let buffered = server().map_or(0, |server| server.stats.buffered);
        if buffered == frames { Ok(()) } else { Err(Failure::new(format!("{buffered} of {frames} are buffered"))) }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<Call>> {
        self.held.lock().expect("nothing panics while it holds the calls")
    }
}

fn start_node(setup: &Setup, members: &Members, name: &str) -> Result<Node, Failure> {
    let (certificate, key) =
        (setup.certificates.join(format!("{name}.pem")), setup.certificates.join(format!("{name}.key")));
    let identity = Identity::from_pem_files(tls::authority(&setup.certificates), certificate, key)?;
    let limits = Limits {
        calls_open_max: JOBS_MAX,
        jobs_max: JOBS_MAX,
        buffered_frames_max: BUFFERED_FRAMES,
        ..Limits::default()
    };
    let mut node = Node::builder(NodeName::new(name)?, setup.mode.profile(), identity)
        .listen(members.address(name)?)
        .limits(limits)
        .serve(Echo, echo)
        .serve_stream(Rows, rows)
        .serve(Hold, hold);
    for peer in &setup.peers {
        node = node.peer(NodeName::new(peer)?, members.address(peer)?);
    }
    Ok(node.start()?)
}

async fn echo(_job: Context, body: Bytes) -> Result<Bytes, String> {
    Ok(body)
}

async fn rows(
    mut rows: rexi_server::Items<Rows>,
    (count, bytes, window): (u64, u32, u32),
) -> Result<Option<Bytes>, String> {
    rows.job_mut().set_stream_window(window);
    let row = item(bytes);
    for _ in 0..count {
        rows.send(&row).await;
    }
    Ok(None)
}

async fn hold(_job: Context, (): ()) -> Result<(), String> {
    std::future::pending::<Infallible>().await;
    Ok(())
}

impl Caller for Nodes {
    async fn echo(&self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(self.node().ask(Echo, self.peer(), &body).await?)
    }

    async fn items(&self, ask: Items, mut take: impl FnMut(&[u8]) -> Taken + Send) -> Result<(), Failure> {
        let mut rows = self.node().ask_stream(Rows, self.peer(), &(ask.count, ask.bytes, ask.window));
        while let Some(row) = rows.next().await {
            if take(&row?) == Taken::Enough {
                break;
            }
        }
        Ok(())
    }
}

/// 100,000 jobs that wait, and some that measure beside them.
const JOBS_MAX: usize = 102_000;

/// How long all of it may take to connect.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(15);
