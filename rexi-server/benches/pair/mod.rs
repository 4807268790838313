//! Two nodes in one process, connected over loopback, on one thread.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use rexi_server::{Call, Context, DevAuthority, Items, Node, NodeName, Phase, Request, SERVER_PER_NODE};
use rexi_server::{Profile, Train, WireVersion};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

rexi_server::function! {
    /// Returns what it is given.
    Echo = "echo" (Bytes) -> Bytes, error String, since 2.0;
    /// So many items of so many bytes each, with a window of so many.
    Rows = "rows" ((u64, u32, u32)) -> stream Bytes, error String, since 2.0;
}

/// A caller and the node that it calls.
pub(crate) struct Pair {
    runtime: Runtime,
    caller: Node,
    /// Kept, so that it runs.
    _callee: Option<Node>,
    /// Calls that nobody answers.
    held: Vec<Call>,
}

/// So many tasks that call again and again, as soon as they are let.
pub(crate) struct Loops {
    pair: Pair,
    let_go: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
}

impl Pair {
    /// Connected, and warm: what grows once has grown.
    pub(crate) fn connected() -> Self {
        let (runtime, authority, [at_caller, at_callee]) = (runtime(), authority(), free_addresses());
        let (caller, callee) = runtime.block_on(async {
            // No limit on how long a turn takes ends one here: what is counted must not depend on the machine.
            tokio::time::pause();
            let caller = start(&authority, ("caller", at_caller), ("callee", at_callee));
            let callee = start(&authority, ("callee", at_callee), ("caller", at_caller));
            caller.ready().await;
            caller.rollout().watch().wait_for(|&phase| phase == Phase::Remove).await.expect("it lives");
            (caller, callee)
        });
        let pair = Self { runtime, caller, _callee: Some(callee), held: Vec::new() };
        Loops::of(pair, 1_024, 4).run()
    }

    /// The callee is not there, and what is cast to it waits.
    pub(crate) fn away() -> Self {
        let (runtime, authority, [at_caller, at_callee]) = (runtime(), authority(), free_addresses());
        let caller = runtime.block_on(async { start(&authority, ("caller", at_caller), ("callee", at_callee)) });
        Self { runtime, caller, _callee: None, held: Vec::new() }.cast_into_the_buffer(64)
    }

    /// Takes a stream of so many items of so many bytes, of which a window is unacknowledged.
    pub(crate) fn take_items(self, count: u64, bytes: u32, window: u32) -> Self {
        self.runtime.block_on(async {
            let mut rows = self.caller.ask_stream(Rows, &callee(), &(count, bytes, window));
            let mut taken = 0;
            while let Some(row) = rows.next().await {
                assert_eq!(row.expect("an item").len(), bytes as usize);
                taken += 1;
            }
            assert_eq!(taken, count);
        });
        self
    }

    /// Casts so many times to the node that is away.
    pub(crate) fn cast_into_the_buffer(mut self, count: u64) -> Self {
        let (_entered, callee) = (self.runtime.enter(), callee());
        for _ in 0..count {
            self.held.push(self.caller.cast(&callee, Request::of(Echo, &body())).expect("it is taken"));
        }
        self
    }
}

impl Loops {
    /// So many tasks of so many calls each, of which none has begun.
    pub(crate) fn of_calls(in_flight: usize, calls: usize) -> Self {
        Self::of(Pair::connected(), in_flight, calls)
    }

    fn of(pair: Pair, in_flight: usize, calls: usize) -> Self {
        let (let_go, watch) = watch::channel(false);
        let loops = (0..in_flight).map(|_| {
            let (node, mut watch) = (pair.caller.clone(), watch.clone());
            pair.runtime.spawn(async move {
                let (callee, body) = (callee(), body());
                watch.wait_for(|&go| go).await.expect("it is let go");
                for _ in 0..calls {
                    assert_eq!(node.ask(Echo, &callee, &body).await.expect("an answer"), body);
                }
            })
        });
        let loops = loops.collect();
        pair.runtime.block_on(tokio::task::yield_now());
        Self { pair, let_go, loops }
    }

    /// Runs them to their ends.
    pub(crate) fn run(self) -> Pair {
        let Self { pair, let_go, loops } = self;
        let_go.send(true).expect("they wait");
        let ends = pair.runtime.block_on(join_all(loops));
        assert!(ends.iter().all(Result::is_ok));
        pair
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn authority() -> DevAuthority {
    DevAuthority::in_memory().expect("keys can be made")
}

fn start(authority: &DevAuthority, (own, at): (&str, SocketAddr), (peer, peer_at): (&str, SocketAddr)) -> Node {
    let [own, peer] = [own, peer].map(|name| NodeName::new(name).expect("a name"));
    let identity = authority.issue(&own).expect("a certificate can be made");
    let node = Node::builder(own, profile(), identity).listen(at).peer(peer, peer_at);
    node.serve(Echo, echo).serve_stream(Rows, rows).start().expect("it starts")
}

async fn echo(_job: Context, body: Bytes) -> Result<Bytes, String> {
    Ok(body)
}

async fn rows(mut rows: Items<Rows>, argument: (u64, u32, u32)) -> Result<Option<Bytes>, String> {
    let (count, bytes, window) = argument;
    rows.job_mut().set_stream_window(window);
    let row = Bytes::from(vec![7; bytes as usize]);
    for _ in 0..count {
        rows.send(&row).await;
    }
    Ok(None)
}

fn profile() -> Profile {
    let train = Train::new("instructions")
        .release("1.0", |r| r.wire(WireVersion::V1))
        .release("1.1", |r| r.wire(WireVersion::V1..=WireVersion::V2).introduce(SERVER_PER_NODE))
        .release("1.2", |r| r.wire(WireVersion::V2).switch(SERVER_PER_NODE))
        .release("2.0", |r| r.wire(WireVersion::V2..=WireVersion::V3).remove(SERVER_PER_NODE));
    train.profile("2.0").expect("the train has it")
}

fn callee() -> NodeName {
    NodeName::new("callee").expect("a name")
}

fn body() -> Bytes {
    Bytes::from_static(&[7; BYTES])
}

fn free_addresses() -> [SocketAddr; 2] {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let sockets = [bind(), bind()];
    sockets.map(|socket| socket.local_addr().expect("it is bound"))
}

/// Of an argument, a reply.
const BYTES: usize = 64;
