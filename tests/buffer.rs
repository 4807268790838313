//! What waits for a node that is away or slow, in every mode: how much, in which order, for how long, and who is
//! notified.

use std::sync::Arc;
use std::time::Duration;

use rexi_server::testing::TestCluster;
use rexi_server::{
    Answer, Bytes, Call, CallError, Context, DownReason, ExitReason, JobOver, Limits, Node, NodeBuilder, PeerPresence,
    Request,
};
use rexi_tests::{Mode, Witness, idle, in_every_mode, name, pass, peer, until, within};
use tokio::sync::Notify;
use tokio::time::Instant;

fn cast(from: &Node, number: usize) -> Call {
    from.cast(&name("n2"), Request::new("witness", number.to_string())).expect("n2 is a member")
}

fn numbers(numbers: impl Iterator<Item = usize>) -> Vec<Bytes> {
    numbers.map(|number| Bytes::from(number.to_string())).collect()
}

async fn replies(calls: Vec<Call>) -> Vec<Bytes> {
    let mut replies = Vec::new();
    for call in calls {
        replies.push(within("a reply", call.reply()).await.expect("a reply"));
    }
    replies
}

/// Frames that wait at `from` for n2, and frames that were dropped.
fn waiting(from: &Node) -> (usize, u64) {
    let stats = peer(from, "n2").stats;
    (stats.buffered, stats.dropped)
}

fn members(mode: Mode, witness: &Witness) -> TestCluster {
    let witness = witness.clone();
    mode.members(["n1", "n2"], move |node, _| witness.on(node))
}

async fn connected(mode: Mode, witness: &Witness) -> (TestCluster, Node, Node) {
    let witness = witness.clone();
    let cluster = mode.cluster(["n1", "n2"], move |node, _| witness.on(node)).await;
    let (n1, n2) = (cluster.node("n1"), cluster.node("n2"));
    (cluster, n1, n2)
}

#[tokio::test(start_paused = true)]
async fn the_buffer_holds_2_000_drops_the_oldest_beyond_and_sends_the_oldest_first() {
    in_every_mode(async |mode| {
        let witness = Witness::default();
        let cluster = members(mode, &witness);
        let n1 = mode.start(&cluster, "n1");
        // Reached.
        let mut calls: Vec<_> = (0..2_000).map(|number| cast(&n1, number)).collect();
        assert_eq!(waiting(&n1), (2_000, 0));
        // Passed by one.
        calls.push(cast(&n1, 2_000));
        assert_eq!(waiting(&n1), (2_000, 1));
        assert_eq!(within("the drop", calls.remove(0).reply()).await, Err(CallError::Dropped));
        // Recovered.
        mode.start(&cluster, "n2");
        assert_eq!(replies(calls).await, numbers(1..2_001));
        assert_eq!(replies((2_001..2_010).map(|number| cast(&n1, number)).collect()).await, numbers(2_001..2_010));
        assert_eq!(witness.arguments(), numbers(1..2_010), "they ran in the order in which they were cast");
        assert_eq!(waiting(&n1), (0, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_does_not_pass_the_cast_that_it_is_for() {
    in_every_mode(async |mode| {
        let witness = Witness::default();
        let (cluster, n1, n2) = connected(mode, &witness).await;
        cluster.cut("n1", "n2");
        // The writer falls behind, though n1 takes n2 for connected, and then for away.
        let mut calls = Vec::new();
        for presence in [PeerPresence::Connected, PeerPresence::Away] {
            until("n2's presence", &n1, |n1| peer(n1, "n2").presence == presence).await;
            calls.extend((0..10).map(|number| cast(&n1, number)));
        }
        let killed = calls.split_off(15);
        drop(killed);
        let held = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        drop(held);
        cluster.heal("n1", "n2");
        cluster.ready().await;
        // The first ten were written to a connection that died.
        for lost in calls.drain(..10) {
            assert_eq!(lost.reply().await, Err(CallError::Ended(ExitReason::ConnectionLost)));
        }
        assert_eq!(replies(calls).await, numbers(0..5));
        let both = (n1.cast(&name("n2"), Request::new("forever", "")).expect("a member"), cast(&n1, 99));
        drop(both.0);
        assert_eq!(replies(vec![both.1]).await, numbers(99..100));
        assert_eq!(witness.arguments(), numbers((0..5).chain([99])), "what was killed has not run");
        idle(&[n1, n2]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_sends_what_waits_while_more_is_cast() {
    in_every_mode(async |mode| {
        let witness = Witness::default();
        let seen = witness.clone();
        // So few bytes for the writer that nearly all goes through the buffer.
        let limits = Limits { unwritten_bytes_max: 512, ..Limits::default() };
        let build = move |node: NodeBuilder, _: &str| seen.on(node.limits(limits.clone()));
        let cluster = mode.cluster(["n1", "n2"], build).await;
        let n1 = cluster.node("n1");
        cluster.slow("n1", "n2", Duration::from_millis(100));
        let (mut calls, mut buffered) = (Vec::new(), 0);
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for number in 0..4_000 {
            calls.push(cast(&n1, number));
            if number % 40 == 39 {
                buffered = buffered.max(waiting(&n1).0);
                ticks.tick().await;
            }
        }
        assert!(buffered > 10, "the buffer was used: {buffered}");
        let ran = witness.count();
        assert!(ran > 2_000, "{ran} of 4,000 had run before the last was cast");
        assert_eq!(replies(calls).await, numbers(0..4_000));
        assert_eq!(witness.arguments(), numbers(0..4_000));
        assert_eq!(waiting(&n1), (0, 0), "none was dropped");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_call_is_answered_when_a_link_dies_under_load() {
    in_every_mode(async |mode| {
        let witness = Witness::default();
        let (cluster, n1, _n2) = connected(mode, &witness).await;
        let (mut calls, mut told) = (Vec::new(), [0_u64; 3]);
        for number in 0..6_000 {
            if number == 500 {
                cluster.cut("n1", "n2");
            }
            calls.push(cast(&n1, number));
            // The rest at once, when n2 has been found to be away.
            if number < 3_000 && number % 100 == 99 {
                pass(Duration::from_millis(500)).await;
            }
        }
        for call in calls {
            match within("an answer", call.reply()).await {
                Ok(_) => told[0] += 1,
                Err(CallError::Dropped) => told[1] += 1,
                Err(CallError::Down(DownReason::NoConnection | DownReason::NoConnect)) => told[2] += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(told.iter().all(|count| *count > 0), "replies, dropped, down: {told:?}");
        assert_eq!(told[1], waiting(&n1).1, "what was dropped is counted");
        assert_eq!((told[0], n1.status().calls), (witness.count() as u64, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_cast_to_a_node_that_never_comes_is_answered_after_the_stability_period_and_kept_no_longer() {
    in_every_mode(async |mode| {
        let witness = Witness::default();
        let cluster = members(mode, &witness);
        let n1 = mode.start(&cluster, "n1");
        let started = Instant::now();
        for call in (0..10).map(|number| cast(&n1, number)).collect::<Vec<_>>() {
            assert_eq!(within("the end", call.reply()).await, Err(CallError::Down(DownReason::NoConnect)));
            assert_eq!(started.elapsed().as_secs_f32().round(), 15.0);
        }
        assert_eq!((waiting(&n1), peer(&n1, "n2").presence), ((0, 0), PeerPresence::Gone));
        // Later ones are answered at once, without a wait.
        let mut late = cast(&n1, 10);
        let at_once = tokio::time::timeout(Duration::ZERO, late.next()).await;
        assert_eq!(at_once, Ok(Some(Answer::Down(DownReason::NoConnect))));
        // It recovers when the node comes after all, which receives nothing from before.
        mode.start(&cluster, "n2");
        cluster.ready().await;
        assert_eq!(replies(vec![cast(&n1, 11)]).await, numbers(11..12));
        assert_eq!(witness.arguments(), numbers(11..12));
    })
    .await;
}

/// Opens a stream, waits, and then says all that a job can say without waiting for its caller.
async fn talk(mut job: Context, go: &Notify, said: &Notify) -> Result<Bytes, JobOver> {
    job.stream("first").await?;
    go.notified().await;
    for item in ["second", "third"] {
        job.stream(item).await?;
    }
    job.ping()?;
    job.reply("plain")?;
    said.notify_one();
    Ok("last".into())
}

#[tokio::test(start_paused = true)]
async fn replies_items_and_pings_wait_in_the_buffer_and_do_not_hold_up_their_worker() {
    in_every_mode(async |mode| {
        let (go, said) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let words = (Arc::clone(&go), Arc::clone(&said));
        let cluster = mode.cluster(["n1", "n2"], move |node, _| {
            let words = words.clone();
            node.function("talk", move |job, _| {
                let (go, said) = words.clone();
                async move { talk(job, &go, &said).await }
            })
        });
        let cluster = cluster.await;
        let (n1, n2) = (cluster.node("n1"), cluster.node("n2"));
        let mut call = n1.cast(&name("n2"), Request::new("talk", "")).expect("n2 is a member");
        assert_eq!(call.next().await, Some(Answer::StreamInit));
        assert!(call.start());
        assert_eq!(call.next().await, Some(Answer::Item { body: "first".into() }));
        cluster.cut("n1", "n2");
        until("n1 to be away", &n2, |n2| peer(n2, "n1").presence == PeerPresence::Away).await;
        go.notify_one();
        let away = Instant::now();
        within("the worker to have said all", said.notified()).await;
        until("the job to have ended", &n2, |n2| n2.status().jobs == 0).await;
        assert!(away.elapsed() < Duration::from_millis(10), "it has waited for nobody");
        assert_eq!(peer(&n2, "n1").stats.buffered, 4, "its two items in one frame");
        cluster.heal("n1", "n2");
        for item in ["second", "third"] {
            assert_eq!(within("an item", call.next()).await, Some(Answer::Item { body: item.into() }));
        }
        assert_eq!(call.next().await, Some(Answer::Ping));
        assert_eq!(call.next().await, Some(Answer::Reply { body: "plain".into(), last: false }));
        assert_eq!(call.next().await, Some(Answer::Reply { body: "last".into(), last: true }));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_counted_and_its_callers_may_take_it_back() {
    in_every_mode(async |mode| {
        let witness = Witness::default();
        let cluster = members(mode, &witness);
        let n1 = mode.start(&cluster, "n1");
        let mailbox = n1.mailbox();
        for number in 1..=100 {
            mailbox.cast(&name("n2"), Request::new("witness", "")).expect("n2 is a member");
            assert_eq!(waiting(&n1), (number, 0));
        }
        drop(mailbox);
        mode.start(&cluster, "n2");
        cluster.ready().await;
        assert_eq!(replies(vec![cast(&n1, 1)]).await, numbers(1..2));
        assert_eq!((witness.arguments(), waiting(&n1)), (numbers(1..2), (0, 0)));
    })
    .await;
}
