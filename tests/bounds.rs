//! Each bound that a misbehaving node can reach: what happens there, and that a third node's calls stay undisturbed.
//!
//! n1 is the one at fault, n2 what it asks, n3 the one that must not notice. In virtual time.

use std::time::Duration;

use futures_util::future::join_all;
use rexi_server::testing::TestCluster;
use rexi_server::{
    Answer, Bytes, Call, CallError, Context, DownReason, ExitReason, JobOver, Limits, NodeBuilder, Request,
};
use rexi_tests::{RELEASES, cut_off, name, release, undisturbed};
use tokio::time::Instant;

const JOBS_MAX: usize = 50;
const BUFFERED_FRAMES_MAX: usize = 2_000;

fn functions(node: NodeBuilder) -> NodeBuilder {
    node.limits(Limits { jobs_max: JOBS_MAX, ..Limits::default() })
        .function("echo", |_, argument: Bytes| async move { Ok::<_, String>(argument) })
        .function("forever", |_, _| std::future::pending::<Result<(), String>>())
        .function("endless", |mut job: Context, _| async move {
            while job.stream("item").await.is_ok() {}
            Err::<(), _>(JobOver)
        })
}

async fn cluster(number: &str) -> TestCluster {
    let cluster = TestCluster::new(["n1", "n2", "n3"]);
    cluster.define_all(functions);
    cluster.start_all(&release(number)).expect("all start");
    cluster.ready().await;
    cluster
}

fn cast(cluster: &TestCluster, function: &'static str) -> Call {
    cluster.node("n1").cast(&name("n2"), Request::new(function, "n1")).expect("a member")
}

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_ends_its_own_stream() {
    for number in RELEASES {
        let cluster = cluster(number).await;
        let mut stalled = cast(&cluster, "endless");
        let fault = async {
            assert_eq!(stalled.next().await, Some(Answer::StreamInit));
            assert!(stalled.start());
            let started = Instant::now();
            for _ in 0..5 {
                assert_eq!(stalled.next().await, Some(Answer::Item { body: "item".into() }));
            }
            let end = Answer::Exit { function: "endless".into(), reason: ExitReason::StreamTimeout };
            assert_eq!(stalled.next().await, Some(end), "the sixth never comes");
            assert_eq!(started.elapsed().as_secs(), 300);
        };
        undisturbed(&cluster, fault).await;
        let timeouts = cluster.node("n2").status().stream_timeouts;
        assert_eq!((timeouts.stream, timeouts.wait_for_ack), (1, 1), "release {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_refused_beyond_its_jobs_and_served_again_when_they_end() {
    for number in RELEASES {
        let cluster = cluster(number).await;
        let fault = async {
            let mut calls: Vec<_> = (0..=JOBS_MAX).map(|_| cast(&cluster, "forever")).collect();
            let mut one_more = calls.pop().expect("it was cast");
            let refused = Answer::Exit { function: "forever".into(), reason: ExitReason::TooManyJobs };
            assert_eq!(one_more.next().await, Some(refused));
            let told = cast(&cluster, "echo").reply().await.expect_err("the server is full");
            assert!(told.did_not_run());
            drop(calls.pop());
            assert_eq!(cast(&cluster, "echo").reply().await, Ok("n1".into()), "there is room for one");
        };
        undisturbed(&cluster, fault).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_given_up_after_the_stability_period() {
    for number in RELEASES {
        let cluster = cluster(number).await;
        // n3 asks n2, so it is n1 that asks a dead third.
        let n1 = cluster.node("n1");
        let held = n1.cast(&name("n1"), Request::new("forever", "")).expect("a member");
        let mut sent = cluster.node("n2").cast(&name("n1"), Request::new("forever", "")).expect("a member");
        tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await.expect_err("time passes");
        cluster.crash("n1");
        let fault = async {
            let died = Instant::now();
            let unsent = cluster.node("n2").cast(&name("n1"), Request::new("echo", "")).expect("a member");
            assert_eq!(sent.next().await, Some(Answer::Down(DownReason::NoConnection)));
            let waited = died.elapsed().as_secs();
            assert!((15..=32).contains(&waited), "idle time-out and stability period: {waited} s");
            assert!(unsent.reply().await.is_err());
            let asked = Instant::now();
            let later = cluster.node("n2").call(&name("n1"), Request::new("echo", "")).await;
            assert_eq!(later, Err(CallError::Down(DownReason::NoConnect)));
            assert!(asked.elapsed().is_zero(), "who asks later is told at once");
        };
        undisturbed(&cluster, fault).await;
        drop(held);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_drops_the_oldest_and_sends_the_rest_in_order() {
    for number in RELEASES {
        let cluster = cluster(number).await;
        let fault = async {
            cut_off(&cluster, "n1", "n2").await;
            let node = cluster.node("n1");
            let mut calls: Vec<_> = (0..=BUFFERED_FRAMES_MAX).map(|_| cast(&cluster, "echo")).collect();
            let mut oldest = calls.remove(0);
            assert_eq!(oldest.next().await, Some(Answer::Dropped));
            let peer = rexi_tests::peer(&node, "n2").stats;
            assert_eq!((peer.buffered, peer.dropped), (BUFFERED_FRAMES_MAX, 1));
            cluster.heal("n1", "n2");
            let replies = join_all(calls.into_iter().map(Call::reply)).await;
            let refused = |reply: &Result<Bytes, CallError>| {
                matches!(reply, Err(CallError::Ended(ExitReason::TooManyJobs))) || *reply == Ok("n1".into())
            };
            assert!(replies.iter().all(refused), "answered, or refused by the bound on jobs");
            assert!(replies.iter().filter(|reply| reply.is_ok()).count() >= JOBS_MAX);
        };
        undisturbed(&cluster, fault).await;
    }
}
