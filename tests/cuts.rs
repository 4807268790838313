//! Links that are cut for seconds under load, in virtual time: how soon they are used again, and what that costs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rexi_server::testing::TestCluster;
use rexi_server::{Bytes, Context, Request};
use rexi_tests::{pass, release, within};
use tokio::time::Instant;

/// How many calls a second go over the link.
const RATE: u32 = 200;

/// What came of a cut.
struct After {
    /// From the end of the cut to the first reply.
    first: Duration,
    /// Of the calls that were made meanwhile.
    lost: usize,
}

/// Cuts the link of two nodes under load, both ways, and joins it again.
async fn cut(seed: u64, lasts: Duration) -> After {
    let cluster = TestCluster::with_seed(seed, ["n1", "n2"]);
    cluster.define_all(|node| node.function("echo", async |_: Context, what: Bytes| Ok::<_, String>(what)));
    cluster.start_all(&release("2.0")).expect("they start");
    cluster.ready().await;
    let (n1, n2) = (cluster.node("n1"), cluster.name("n2"));
    let replies = Arc::new(Mutex::new(Vec::new()));
    let load = |time: Duration| {
        let (n1, n2, replies) = (n1.clone(), n2.clone(), Arc::clone(&replies));
        async move {
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..time.as_millis() * u128::from(RATE) / 1_000 {
                let (n1, n2, replies) = (n1.clone(), n2.clone(), Arc::clone(&replies));
                calls.spawn(async move {
                    let reply = n1.call(&n2, Request::new("echo", "x")).await;
                    replies.lock().expect("no panic").push((Instant::now(), reply.is_ok()));
                });
                pass(Duration::from_secs(1) / RATE).await;
            }
            calls.join_all().await;
        }
    };
    let before = Duration::from_millis(1_000 + seed * 37 % 500);
    let load = tokio::spawn(load(before + lasts + Duration::from_secs(3)));
    pass(before).await;
    cluster.cut("n1", "n2");
    pass(lasts).await;
    cluster.heal("n1", "n2");
    let whole = Instant::now();

    within("every call to end", load).await.expect("no panic");
    let replies = replies.lock().expect("no panic");
    let first = replies.iter().filter(|(at, ok)| *ok && *at >= whole).map(|(at, _)| *at - whole).min();
    let lost = replies.iter().filter(|(_, ok)| !ok).count();
    After { first: first.expect("there is one"), lost }
}

/// `REXI_CUTS=10` tries each length of a cut ten times.
#[tokio::test(start_paused = true)]
async fn a_link_is_used_again_within_a_second_and_nothing_is_lost_while_its_connection_lasts() {
    let rounds = std::env::var("REXI_CUTS").map_or(1, |rounds| rounds.parse().expect("a number"));
    for seconds in 1..=7 {
        let mut longest = Duration::ZERO;
        for round in 0..rounds {
            let After { first, lost } = cut(round * 7 + seconds, Duration::from_secs(seconds)).await;
            assert!(first <= Duration::from_secs(1), "a cut of {seconds} s: the first reply {first:?} after it");
            assert_eq!(lost, 0, "a cut of {seconds} s");
            longest = longest.max(first);
        }
        println!("{rounds} cuts of {seconds} s: the first reply at most {longest:?} after them");
    }
}
