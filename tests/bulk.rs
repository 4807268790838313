//! Large payloads beside small calls, in virtual time on a link that small calls alone can fill.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rexi_server::testing::TestCluster;
use rexi_server::{Bytes, Context, Request};
use rexi_tests::{pass, release, within};
use tokio::task::JoinSet;
use tokio::time::Instant;

const CALLERS: usize = 400;
const SMALL_BYTES: usize = 1_000;
const LARGE_BYTES: usize = 200_000;

/// What calls took of the link.
#[derive(Debug)]
struct Shares {
    /// Of one large call after the other, each.
    large: Vec<Duration>,
    /// Small calls that were answered in each second.
    small: f64,
}

async fn shares(callers: usize, large: usize) -> Shares {
    let cluster = TestCluster::with_seed(7, ["n1", "n2"]);
    cluster.define_all(|node| node.function("take", async |_: Context, _: Bytes| Ok::<_, String>(Bytes::new())));
    cluster.start_all(&release("2.0")).expect("they start");
    cluster.ready().await;
    cluster.slow("n1", "n2", Duration::from_millis(10));
    cluster.lose("n1", "n2", 0.01);
    let (n1, n2) = (cluster.node("n1"), cluster.name("n2"));
    let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut small = JoinSet::new();
    for _ in 0..callers {
        let (n1, n2, answered, over) = (n1.clone(), n2.clone(), Arc::clone(&answered), Arc::clone(&over));
        small.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                n1.call(&n2, Request::new("take", vec![0; SMALL_BYTES])).await.expect("a reply");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    pass(Duration::from_secs(5)).await;
    let (begun, before) = (Instant::now(), answered.load(Ordering::Relaxed));
    let mut took = Vec::new();
    for _ in 0..large {
        let begun = Instant::now();
        let call = n1.call(&n2, Request::new("take", vec![0; LARGE_BYTES]));
        within("a large call to end", call).await.expect("a reply");
        took.push(begun.elapsed());
    }
    if large == 0 {
        pass(Duration::from_secs(20)).await;
    }
    let small_a_second = (answered.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    small.join_all().await;
    Shares { large: took, small: small_a_second }
}

#[tokio::test(start_paused = true)]
async fn large_payloads_have_their_share_of_a_link_that_small_calls_fill() {
    let (alone, both) = (shares(CALLERS, 0).await, shares(CALLERS, 5).await);
    let told = format!("small calls alone: {alone:?}; beside large ones: {both:?}");
    println!("{told}");
    assert!(both.large.iter().all(|took| *took < Duration::from_secs(5)), "{told}");
    assert!(both.small > 0.75 * alone.small, "{told}");
}
