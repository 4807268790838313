//! What a node says of members that come, go and leave: no change is missed, and a leaving member is no longer cast to.

use std::time::Duration;

use rexi_server::testing::TestCluster;
use rexi_server::{Answer, Bytes, ExitReason, NodeBuilder, PeerPresence, Request};
use rexi_tests::{Log, name, peer, release, until};
use tokio::sync::oneshot;
use tokio::time::Instant;

const RELEASES: [&str; 3] = ["1.0", "1.2", "2.0"];

fn functions(node: NodeBuilder) -> NodeBuilder {
    node.function("echo", |_, argument: Bytes| async move { Ok::<_, String>(argument) }).function(
        "second",
        |_, argument: Bytes| async move {
            tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await.expect_err("time passes");
            Ok::<_, String>(argument)
        },
    )
}

async fn cluster(number: &str) -> TestCluster {
    let cluster = TestCluster::new(["n1", "n2", "n3"]);
    cluster.define_all(functions);
    cluster.start_all(&release(number)).expect("all start");
    cluster.ready().await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_change_that_comes_while_nobody_waits_is_heard_of() {
    let cluster = cluster("2.0").await;
    let n1 = cluster.node("n1");
    let (mut watch, mut other) = (n1.watch_presence(), n1.watch_presence());
    let mut nothing = tokio::time::timeout(Duration::from_secs(30), watch.changed()).await;
    nothing.expect_err("nobody has come or gone");
    cluster.crash("n2");
    // Long over when somebody waits for it.
    tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await.expect_err("time passes");
    assert_eq!(peer(&n1, "n2").presence, PeerPresence::Gone);
    let asked = Instant::now();
    watch.changed().await;
    other.changed().await;
    assert!(asked.elapsed().is_zero(), "each watch hears of it at once");
    cluster.crash("n3");
    while peer(watch.node(), "n3").presence == PeerPresence::Connected {
        watch.changed().await;
    }
    nothing = tokio::time::timeout(Duration::from_secs(60), async {
        while peer(&n1, "n3").presence != PeerPresence::Gone {
            watch.changed().await;
        }
    })
    .await;
    nothing.expect("each step is heard of");
}

#[tokio::test(start_paused = true)]
async fn casts_to_a_node_that_leaves_are_answered_at_once_without_being_sent() {
    for number in RELEASES {
        let cluster = cluster(number).await;
        let (n1, n2) = (cluster.node("n1"), name("n2"));
        let mut running = n1.cast(&n2, Request::new("second", "last")).expect("a member");
        let answer = n1.call(&n2, Request::new("echo", "before")).await;
        assert_eq!(answer, Ok("before".into()), "the cast before it has arrived");
        let leaving = cluster.node("n2");
        let (done, left) = oneshot::channel();
        tokio::spawn(async move {
            let _ = done.send(leaving.shutdown(Duration::from_secs(10)).await);
        });
        tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>()).await.expect_err("time passes");
        // Were it sent, nobody would answer.
        cluster.cut("n1", "n2");
        let asked = Instant::now();
        let mut refused = n1.cast(&n2, Request::new("echo", "after")).expect("a member");
        let exit = Answer::Exit { function: "echo".into(), reason: ExitReason::Draining };
        assert_eq!(refused.next().await, Some(exit), "release {number}");
        let refused = n1.call(&n2, Request::new("echo", "after")).await.expect_err("it leaves");
        assert!(refused.did_not_run(), "so it may be tried elsewhere");
        let waited = n1.cast_when_clear(&n2, Request::new("echo", "after")).await.expect("a member");
        assert!(waited.reply().await.expect_err("it leaves").did_not_run());
        assert!(asked.elapsed().is_zero());
        cluster.heal("n1", "n2");
        assert_eq!(running.next().await, Some(Answer::Reply { body: "last".into(), last: true }));
        assert_eq!(left.await, Ok(0), "no job had to be ended");
        cluster.restart("n2", &release(number)).expect("it starts again");
        let again = n1.call(&n2, Request::new("echo", "again")).await;
        assert_eq!(again, Ok("again".into()), "its next life is cast to");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_down_for_long_is_one_line_until_what_is_wrong_with_it_changes() {
    let (own, log) = ("says-it-once", Log::here());
    let cluster = TestCluster::new([own, "n2"]);
    cluster.define_all(functions);
    let node = cluster.start(own, &release("2.0")).expect("it starts");
    let lines = |level: &str| log.lines(&[level, "could not connect", &format!("node={own} ")]).len();
    tokio::time::timeout(Duration::from_secs(600), std::future::pending::<()>()).await.expect_err("time passes");
    assert_eq!(lines("WARN"), 1);
    assert!(lines("DEBUG") > 100, "it tries on: {}", lines("DEBUG"));
    cluster.start("n2", &release("1.0")).expect("it starts");
    until("the refusal", &node, |node| peer(node, "n2").refusal.is_some()).await;
    tokio::time::timeout(Duration::from_secs(600), std::future::pending::<()>()).await.expect_err("time passes");
    assert_eq!(lines("WARN"), 2, "another reason");
}
