//! Answers of a membership that leave out nodes which are there: one costs nobody a call, and a node that drains is let
//! finish.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rexi_server::{
    Bytes, Call, Membership, Node, NodeName, PeerPresence, Request,
    membership::{MemberList, MembershipError},
};
use rexi_tests::{Cluster, name, pass, peer, release, until, within};
use tokio::time::Instant;

/// Says what is in it, ten times a second.
#[derive(Clone, Default)]
struct Listed(Arc<Mutex<Vec<(NodeName, SocketAddr)>>>);

impl Listed {
    fn say(&self, cluster: &Cluster, names: &[&str]) {
        *self.0.lock().expect("nothing panics") = names.iter().map(|of| (name(of), cluster.address(of))).collect();
    }
}

impl Membership for Listed {
    async fn members(&self) -> Result<MemberList, MembershipError> {
        Ok(self.0.lock().expect("nothing panics").iter().cloned().collect())
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
}

/// Nodes that know of each other by a list alone, each by its own. Their function takes as many milliseconds as its
/// argument says.
async fn cluster<const N: usize>(names: [&'static str; N]) -> (Cluster, [Node; N], [Listed; N]) {
    let cluster = Cluster::new(names);
    let lists = names.map(|_| Listed::default());
    lists.iter().for_each(|list| list.say(&cluster, &names));
    let start = |(of, list): (&str, &Listed)| {
        let node = Node::builder(name(of), release("2.0"), cluster.identity(of)).listen(cluster.address(of));
        let node = node.membership(list.clone()).function("slow", |_, argument: Bytes| async move {
            let wait = std::str::from_utf8(&argument).map_err(|_| "no text")?.parse().map_err(|_| "no number")?;
            pass(Duration::from_millis(wait)).await;
            Ok::<_, &str>(Bytes::from_static(b"done"))
        });
        node.start().expect("it starts")
    };
    let nodes: Vec<Node> = names.into_iter().zip(&lists).map(start).collect();
    let nodes: [Node; N] = nodes.try_into().expect("as many");
    for node in &nodes {
        for other in names.into_iter().filter(|other| name(other) != *node.name()) {
            until("all to meet", node, |node| {
                node.members().contains(&name(other)) && peer(node, other).presence == PeerPresence::Connected
            })
            .await;
        }
    }
    (cluster, nodes, lists)
}

fn slow(from: &Node, to: &str, wait: &str) -> Call {
    from.cast(&name(to), Request::new("slow", wait.to_owned())).expect("a member")
}

#[tokio::test(start_paused = true)]
async fn partial_answers_end_no_running_call_and_let_nobody_go() {
    let names = ["n1", "n2", "n3", "n4", "n5"];
    let (cluster, nodes, lists) = cluster(names).await;
    let jobs: Vec<Call> = names[1..].iter().map(|to| slow(&nodes[0], to, "2000")).collect();
    for round in 0..10 {
        for (at, list) in lists.iter().enumerate() {
            list.say(&cluster, &[0, 1, 2].map(|place| names[(round + at + place) % names.len()]));
        }
        pass(Duration::from_millis(200)).await;
    }
    for job in jobs {
        assert_eq!(within("the reply", job.reply()).await, Ok(Bytes::from_static(b"done")));
    }
    for node in &nodes {
        assert_eq!(node.members().len(), names.len(), "{} has let somebody go", node.name());
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_left_out_for_a_stability_period_is_let_go() {
    let names = ["n1", "n2", "n3"];
    let (cluster, nodes, lists) = cluster(names).await;
    let began = Instant::now();
    lists[0].say(&cluster, &["n1", "n2"]);
    pass(Duration::from_secs(14)).await;
    assert_eq!(nodes[0].members().len(), 3);
    // Once named, it is as if it always had been.
    lists[0].say(&cluster, &names);
    pass(Duration::from_secs(1)).await;
    lists[0].say(&cluster, &["n1", "n2"]);
    until("n3 to be let go", &nodes[0], |node| node.members().len() == 2).await;
    let took = began.elapsed();
    assert!((Duration::from_secs(30)..Duration::from_secs(32)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_drains_and_is_no_longer_listed_is_let_finish() {
    let (cluster, [n1, n2, n3], lists) = cluster(["n1", "n2", "n3"]).await;
    let job = slow(&n1, "n2", "40000");
    pass(Duration::from_millis(200)).await;
    let drained = tokio::spawn(n2.shutdown(Duration::from_secs(60)));
    pass(Duration::from_millis(100)).await;
    lists.iter().for_each(|list| list.say(&cluster, &["n1", "n3"]));
    // Longer than a stability period.
    let reply = tokio::time::timeout(Duration::from_secs(60), job.reply()).await.expect("an answer");
    assert_eq!(reply, Ok(Bytes::from_static(b"done")));
    assert_eq!(within("n2 to leave", drained).await.expect("no panic"), 0, "no job had to be ended");
    for node in [&n1, &n3] {
        until("n2 to be let go", node, |node| node.members().len() == 2).await;
    }
}
