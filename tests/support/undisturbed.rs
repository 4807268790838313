//! The purpose of a bound: a third node does not notice the one that it holds back.

use std::future::Future;
use std::time::Duration;

use rexi_server::testing::TestCluster;
use rexi_server::{PeerPresence, Request};
use tokio::time::Instant;

use crate::{name, peer, until};

/// Runs `fault` while n3 calls n2 every 100 ms, and holds each call to a tenth of a second.
pub async fn undisturbed<T>(cluster: &TestCluster, fault: impl Future<Output = T>) -> T {
    let (n3, n2) = (cluster.node("n3"), name("n2"));
    let calls = async {
        let mut slowest = Duration::ZERO;
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            let asked = Instant::now();
            let echoed = n3.call(&n2, Request::new("echo", "n3")).await;
            assert_eq!(echoed, Ok("n3".into()));
            slowest = slowest.max(asked.elapsed());
            assert!(slowest < Duration::from_millis(100), "{slowest:?}");
        }
    };
    tokio::select! {
        biased;
        result = fault => result,
        () = calls => unreachable!("it calls on"),
    }
}

/// Cuts the link between two nodes, and waits until the first one knows: until then casts go to the connection.
pub async fn cut_off(cluster: &TestCluster, one: &str, other: &str) {
    cluster.cut(one, other);
    let away = |node: &rexi_server::Node| peer(node, other).presence != PeerPresence::Connected;
    until("the other one to be away", &cluster.node(one), away).await;
}
