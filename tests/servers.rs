//! The servers of a node, in every mode: whom each serves, when it exists, when it is given up, what it outlives.

use std::time::Duration;

use rexi_server::{Bytes, CallError, CallRef, Context, Node, NodeBuilder, PeerPresence, Request, ServerAddress};
use rexi_tests::{Held, Mode, idle, in_every_mode, name, pass, peer, until};
use tokio::time::Instant;

async fn caller(job: Context, _: Bytes) -> Result<Bytes, String> {
    Ok(job.caller().as_str().to_owned().into())
}

async fn echo(node: &Node, to: &str) -> Result<Bytes, CallError> {
    node.call(&name(to), Request::new("echo", "x")).await
}

#[tokio::test(start_paused = true)]
async fn a_server_knows_its_callers_by_name_and_does_not_mix_up_their_references() {
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2", "n3"], |node, _| node.function("caller", caller)).await;
        let [n1, n2, n3] = ["n1", "n2", "n3"].map(|of| cluster.node(of));
        let (to, call) = (name("n2"), CallRef(1 << 40));
        let mailboxes = [&n1, &n2, &n3].map(Node::mailbox);
        for (mailbox, node) in mailboxes.iter().zip([&n1, &n2, &n3]) {
            let name_of = node.call(&to, Request::new("caller", "")).await;
            assert_eq!(name_of, Ok(node.name().as_str().to_owned().into()));
            mailbox.cast_as(call, &to, Request::new("forever", "")).expect("n2 is a member");
        }
        until("all jobs to run", &n2, |n2| n2.status().jobs == 3).await;
        for left in (0..3).rev() {
            let mailbox = &mailboxes[left];
            mailbox.kill(&[call]);
            pass(Duration::from_secs(1)).await;
            assert_eq!(n2.status().jobs, left, "one job for each kill");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_connected_node_has_a_server_and_so_has_the_node_itself() {
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2", "n3"], |node, _| node).await;
        let n2 = cluster.node("n2");
        let cast = |of| cluster.node(of).cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        let _held = ["n1", "n2", "n3"].map(cast);
        until("all jobs to run", &n2, |n2| n2.status().jobs == 3).await;
        let own = usize::from(mode.server == ServerAddress::PerNode);
        for of in ["n1", "n2", "n3"] {
            assert_eq!(peer(&n2, of).stats.jobs, own, "in the server for {of}; the rest run in the singleton");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_is_there_with_the_connection_and_ends_15_s_after_it() {
    in_every_mode(async |mode| {
        let held = Held::default();
        let on_all = held.clone();
        let cluster = mode.members(["n1", "n2"], move |node, _| on_all.on(node));
        let n1 = mode.start(&cluster, "n1");
        let _held = n1.cast(&name("n2"), Request::new("held", "")).expect("n2 is a member");
        let n2 = mode.start(&cluster, "n2");
        cluster.ready().await;
        let connected = Instant::now();
        until("the job to start", &n2, |_| held.started() == 1).await;
        assert!(connected.elapsed() < Duration::from_millis(20), "no timer has to pass: {:?}", connected.elapsed());
        // Twice: within the period the server stays, and beyond it does not. n1 may have noticed up to 2 s before n2.
        for (seconds, left) in [(12, 1), (16, 0)] {
            cluster.cut("n1", "n2");
            until("n1 to be away", &n2, |n2| peer(n2, "n1").presence == PeerPresence::Away).await;
            let away = Instant::now();
            if left == 0 {
                until("the job to be given up", &n2, |n2| n2.status().jobs == 0).await;
                assert_eq!(away.elapsed().as_secs_f32().round(), 15.0, "and not twice as long");
                assert_eq!(peer(&n2, "n1").presence, PeerPresence::Gone);
            }
            pass(Duration::from_secs(seconds).saturating_sub(away.elapsed())).await;
            assert_eq!((n2.status().jobs, held.dropped()), (left, 1 - left), "after {seconds} s");
            cluster.heal("n1", "n2");
            cluster.ready().await;
            assert_eq!(echo(&n1, "n2").await, Ok("x".into()));
        }
    })
    .await;
}

/// Functions that go wrong in all the ways that a service's code may.
fn faulty(node: NodeBuilder) -> NodeBuilder {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "in the drop");
        }
    }
    node.function("panics before it is a future", |_, argument: Bytes| {
        assert!(argument.is_empty(), "called");
        std::future::pending::<Result<(), String>>()
    })
    .function("panics when it is dropped", |_, _| async {
        let _panics = PanicsWhenDropped;
        std::future::pending::<Result<(), String>>().await
    })
}

async fn goes_wrong(n1: &Node, n2: &Node) {
    for function in ["panic", "panics before it is a future"] {
        let panicked = n1.call(n2.name(), Request::new(function, "x")).await;
        assert!(matches!(panicked, Err(CallError::Panicked { .. })), "{panicked:?}");
    }
    let dropped = n1.cast(n2.name(), Request::new("panics when it is dropped", "")).expect("n2 is a member");
    until("the job to run", n2, |n2| n2.status().jobs == 1).await;
    drop(dropped);
    idle(&[n1.clone(), n2.clone()]).await;
}

/// In the original a supervisor restarts servers and buffers. Here both are state of a member, which outlives
/// connections, lives of the peer and what its workers do, so that there is nothing to restart.
#[tokio::test(start_paused = true)]
async fn a_server_serves_on_after_panics_reconnects_and_restarts() {
    async fn serves(mode: Mode, cluster: &rexi_server::testing::TestCluster) {
        cluster.ready().await;
        let (n1, n2) = (cluster.node("n1"), cluster.node("n2"));
        mode.reached(&n1).await;
        goes_wrong(&n1, &n2).await;
        let server = n1.call(&name("n2"), Request::new("server", "")).await;
        assert_eq!(server, Ok(if mode.server == ServerAddress::Singleton { "singleton" } else { "per-node" }.into()));
    }
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2"], |node, _| faulty(node)).await;
        let n2 = cluster.node("n2");
        let life = n2.incarnation();
        serves(mode, &cluster).await;
        // A reconnect, a loss for longer than the period, a restart, a departure, a crash that goes unnoticed.
        for seconds in [12, 60] {
            cluster.cut("n1", "n2");
            pass(Duration::from_secs(seconds)).await;
            cluster.heal("n1", "n2");
            serves(mode, &cluster).await;
        }
        cluster.restart("n1", &mode.profile()).expect("n1 starts again");
        serves(mode, &cluster).await;
        cluster.stop("n1").await;
        mode.start(&cluster, "n1");
        serves(mode, &cluster).await;
        cluster.crash("n1");
        pass(Duration::from_secs(60)).await;
        mode.start(&cluster, "n1");
        serves(mode, &cluster).await;
        assert_eq!(n2.incarnation(), life, "n2 has lived on through all of it");
        assert_eq!(n2.status().jobs, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_status_says_who_is_missing_and_what_runs_and_waits() {
    in_every_mode(async |mode| {
        let cluster = mode.cluster(["n1", "n2", "n3"], |node, _| node).await;
        let n1 = cluster.node("n1");
        let missing = |node: &Node| {
            let peers = node.status().peers.into_iter();
            let missing = peers.filter(|peer| peer.presence != PeerPresence::Connected);
            missing.map(|peer| peer.name.to_string()).collect::<Vec<_>>()
        };
        assert!(missing(&n1).is_empty());
        let _held = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        until("the job to run", &cluster.node("n2"), |n2| n2.status().jobs == 1).await;
        cluster.stop("n3").await;
        until("n3 not to be there", &n1, |n1| missing(n1) == ["n3"]).await;
        let _waiting = [1, 2, 3].map(|_| n1.cast(&name("n3"), Request::new("echo", "")).expect("n3 is a member"));
        let status = n1.status();
        assert_eq!((status.calls, status.jobs, status.singleton_queue), (4, 0, 0));
        assert_eq!(status.peers.iter().map(|peer| peer.stats.buffered).collect::<Vec<_>>(), [0, 0, 3]);
        assert_eq!(status.peers.iter().map(|peer| peer.stats.calls).collect::<Vec<_>>(), [0, 1, 3]);
    })
    .await;
}
