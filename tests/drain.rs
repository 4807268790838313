//! A node that leaves under load: no reply is lost, and what it refuses runs elsewhere.
//!
//! Twenty seeds in virtual time, with links of other delays and other points in the load. The other two nodes call the
//! leaving one for as long as it is there: short jobs, long ones, large ones and streams of replies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use rexi_server::testing::TestCluster;
use rexi_server::{Bytes, CallError, Context, ExitReason, JobOver, Node, NodeBuilder, PeerPresence, Request};
use rexi_tests::{MODES, Mode, in_every_mode, name, pass, peer, release, until, within};
use tokio::task::JoinSet;

/// Jobs that ran to their end, on any node.
type Finished = Arc<AtomicUsize>;

/// Adds `short`, `long` and `items`, which count what they have finished.
fn work(builder: NodeBuilder, finished: &Finished) -> NodeBuilder {
    let (short, long, items) = (Arc::clone(finished), Arc::clone(finished), Arc::clone(finished));
    builder
        .function("short", move |_, argument: Bytes| {
            let finished = Arc::clone(&short);
            async move {
                tokio::task::yield_now().await;
                finished.fetch_add(1, Ordering::Relaxed);
                Ok::<_, String>(argument)
            }
        })
        .function("long", move |_, argument: Bytes| {
            let finished = Arc::clone(&long);
            async move {
                pass(Duration::from_millis(300)).await;
                finished.fetch_add(1, Ordering::Relaxed);
                Ok::<_, String>(argument)
            }
        })
        .function("items", move |mut job: Context, argument: Bytes| {
            let finished = Arc::clone(&items);
            async move {
                for _ in 0..ITEMS {
                    job.stream(argument.clone()).await?;
                    pass(Duration::from_millis(10)).await;
                }
                finished.fetch_add(1, Ordering::Relaxed);
                Ok::<(), JobOver>(())
            }
        })
}

const ITEMS: usize = 12;

/// What became of the calls to the leaving node.
#[derive(Debug, Default)]
struct Counts {
    calls: usize,
    replies: usize,
    refused: usize,
    /// Of those that were refused, how many were answered by another node.
    elsewhere: usize,
    wrong: Vec<String>,
}

/// Calls once; a stream counts as answered when all of its items have come.
async fn call(node: &Node, to: &str, function: &str, argument: Bytes) -> Result<(), CallError> {
    let request = Request::new(function, argument.clone());
    if function != "items" {
        let reply = node.call(&name(to), request).await?;
        assert_eq!(reply, argument, "the reply to this call, and no other");
        return Ok(());
    }
    let mut items = node.stream(&name(to), request)?;
    let mut heard = 0;
    while let Some(item) = items.next().await {
        assert_eq!(item?, argument);
        heard += 1;
    }
    assert_eq!(heard, ITEMS, "no item is lost");
    Ok(())
}

/// One call, and where it is refused another to a node that stays.
async fn call_somewhere(node: Node, elsewhere: &'static str, which: usize, counts: Arc<Mutex<Counts>>) {
    let (function, bytes) = match which % 16 {
        0 => ("long", 3),
        1 => ("items", 5),
        2 => ("short", 60_000),
        _ => ("short", 8),
    };
    let argument = Bytes::from(vec![u8::try_from(which % 251).expect("below 251"); bytes]);
    let counts = || counts.lock().expect("nothing panics while it counts");
    counts().calls += 1;
    match call(&node, "n3", function, argument.clone()).await {
        Ok(()) => counts().replies += 1,
        Err(error @ CallError::Ended(ExitReason::Draining)) if error.is_safe_to_retry() => {
            counts().refused += 1;
            match call(&node, elsewhere, function, argument).await {
                Ok(()) => counts().elsewhere += 1,
                Err(error) => counts().wrong.push(format!("elsewhere, {function}: {error}")),
            }
        }
        Err(error) => counts().wrong.push(format!("{function} of {bytes} bytes: {error}")),
    }
}

/// Calls n3 at every millisecond, and a tenth as often once it has said that it leaves, for as long as it is connected.
async fn load(node: Node, elsewhere: &'static str, counts: Arc<Mutex<Counts>>) {
    let (mut calls, mut which) = (JoinSet::new(), 0);
    while peer(&node, "n3").presence == PeerPresence::Connected {
        for _ in 0..5 {
            calls.spawn(call_somewhere(node.clone(), elsewhere, which, Arc::clone(&counts)));
            which += 1;
        }
        pass(Duration::from_millis(if peer(&node, "n3").draining { 10 } else { 1 })).await;
    }
    while let Some(ended) = calls.join_next().await {
        ended.expect("no panic");
    }
}

async fn cluster(mode: Mode, seed: u64, finished: &[Finished; 3]) -> TestCluster {
    let cluster = TestCluster::with_seed(seed, NAMES);
    for (of, finished) in NAMES.into_iter().zip(finished) {
        let finished = Arc::clone(finished);
        cluster.define(of, move |node| work(node, &finished));
    }
    cluster.start_all(&mode.profile()).expect("nodes that are described well start");
    cluster.ready().await;
    for of in NAMES {
        mode.reached(&cluster.node(of)).await;
    }
    cluster
}

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_under_load_loses_no_reply_and_refuses_only_what_is_safe_to_retry() {
    let (mut refused, mut streams) = (0, 0);
    for seed in 0..20_u64 {
        let mode = MODES[usize::try_from(seed % 4).expect("below 4")];
        let finished: [Finished; 3] = Default::default();
        let cluster = cluster(mode, seed, &finished).await;
        for (of, delay) in [("n1", 1 + seed % 7 * 5), ("n2", 1 + seed % 5 * 3)] {
            cluster.slow(of, "n3", Duration::from_millis(delay));
        }
        let counts: Arc<Mutex<Counts>> = Arc::default();
        let (n1, n2, n3) = (cluster.node("n1"), cluster.node("n2"), cluster.node("n3"));
        let loads = [
            tokio::spawn(load(n1.clone(), "n2", Arc::clone(&counts))),
            tokio::spawn(load(n2.clone(), "n1", Arc::clone(&counts))),
        ];
        pass(Duration::from_millis(40 + seed * 7)).await;
        let ended = within("n3 to leave", n3.shutdown(Duration::from_secs(5))).await;
        for load in loads {
            within("the calls to end", load).await.expect("no panic");
        }
        let counts = counts.lock().expect("nothing panics while it counts");
        let Counts { calls, replies, refused: of_run, elsewhere, wrong } = &*counts;
        let ran = finished[2].load(Ordering::Relaxed);
        println!(
            "seed {seed}, release {}: {calls} calls, {replies} replies, {of_run} refused, {elsewhere} of them answered \
             elsewhere, {} otherwise, {ended} ended",
            mode.release,
            wrong.len(),
        );
        assert!(wrong.is_empty(), "seed {seed}: {} otherwise, such as {:?}", wrong.len(), wrong.first());
        assert_eq!((*replies + *of_run, *elsewhere, ended), (*calls, *of_run, 0), "seed {seed}");
        assert_eq!(ran, *replies, "each job that ran was answered, and none that was refused ran (seed {seed})");
        refused += of_run;
        streams += calls / 16;
    }
    assert!(refused > 0 && streams > 0, "nothing was on its way");
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_that_leaves_refuses_what_is_on_its_way() {
    in_every_mode(async |mode| {
        let finished: [Finished; 3] = Default::default();
        let cluster = cluster(mode, 1, &finished).await;
        cluster.slow("n1", "n3", Duration::from_millis(50));
        let leaving = cluster.node("n3");
        // Its casts are on their way while n3 has nothing to do, and the large one comes in parts.
        let casts = ["short"; 4].map(|function| cluster.node("n1").cast(&name("n3"), Request::new(function, "")));
        let large = cluster.node("n1").cast(&name("n3"), Request::new("short", vec![1; 2_000_000]));
        assert_eq!(within("n3 to leave", leaving.shutdown(Duration::from_secs(5))).await, 0);
        for cast in casts.into_iter().chain([large]) {
            let refused = within("the refusal", cast.expect("a member").reply()).await.expect_err("n3 has left");
            assert_eq!(refused, CallError::Ended(ExitReason::Draining));
            assert!(refused.is_safe_to_retry());
        }
        assert_eq!(finished[2].load(Ordering::Relaxed), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_buffer_for_a_node_that_leaves_is_refused_once_it_says_so() {
    let finished: [Finished; 3] = Default::default();
    let cluster = cluster(MODES[3], 2, &finished).await;
    let (n1, n3) = (cluster.node("n1"), cluster.node("n3"));
    cluster.cut("n1", "n3");
    until("n1 to notice", &n1, |n1| peer(n1, "n3").presence == PeerPresence::Away).await;
    let cast = n1.cast(&name("n3"), Request::new("short", "")).expect("a member");
    assert_eq!(peer(&n1, "n3").stats.buffered, 1);
    // A job of n2 keeps n3 there until n1 has found it again.
    let held = cluster.node("n2").cast(&name("n3"), Request::new("long", "")).expect("a member");
    pass(Duration::from_millis(5)).await;
    let leaving = tokio::spawn(n3.shutdown(Duration::from_secs(5)));
    pass(Duration::from_millis(5)).await;
    cluster.heal("n1", "n3");
    let refused = within("the refusal", cast.reply()).await.expect_err("n3 leaves");
    assert!(matches!(refused, CallError::Ended(ExitReason::Draining) | CallError::Down(_)), "{refused:?}");
    assert!(refused.is_safe_to_retry());
    assert_eq!(within("the job", held.reply()).await, Ok(Bytes::new()));
    assert_eq!(within("n3 to leave", leaving).await.expect("no panic"), 0);
}

#[tokio::test(start_paused = true)]
async fn jobs_beyond_the_deadline_are_ended_and_told_and_a_second_word_cuts_it_short() {
    for (limit, cut_after) in [(100, 10_000), (10_000, 100)] {
        let finished: [Finished; 3] = Default::default();
        let cluster = cluster(MODES[2], 3, &finished).await;
        let (n1, n3) = (cluster.node("n1"), cluster.node("n3"));
        let cast = |function: &str| n1.cast(&name("n3"), Request::new(function, "")).expect("a member");
        let (long, short) = (cast("long"), cast("short"));
        until("the long job to run", &n3, |n3| n3.status().jobs == 1).await;
        let began = tokio::time::Instant::now();
        let cut = pass(Duration::from_millis(cut_after));
        assert_eq!(n3.shutdown_by(Duration::from_millis(limit), cut).await, 1);
        assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
        assert_eq!(within("the short job", short.reply()).await, Ok(Bytes::new()));
        let error = within("the long job", long.reply()).await.expect_err("it was ended");
        assert_eq!(error, CallError::Ended(ExitReason::ServerEnded));
        assert!(error.may_have_run() && !error.is_safe_to_retry());
        assert_eq!(finished[2].load(Ordering::Relaxed), 1, "only the short one");
    }
}

#[tokio::test(start_paused = true)]
async fn peers_see_that_a_node_leaves_until_it_is_back() {
    let finished: [Finished; 3] = Default::default();
    let cluster = cluster(MODES[3], 4, &finished).await;
    let (n1, n3) = (cluster.node("n1"), cluster.node("n3"));
    let long = n1.cast(&name("n3"), Request::new("long", "")).expect("a member");
    until("the job to run", &n3, |n3| n3.status().jobs == 1).await;
    assert!(!peer(&n1, "n3").draining && !n3.status().draining);
    let (mut seen, status) = (n1.watch_presence(), n3.clone());
    let leaving = tokio::spawn(n3.shutdown(Duration::from_secs(5)));
    within("n1 to hear of it", seen.changed()).await;
    assert!(peer(&n1, "n3").draining && status.status().draining);
    assert_eq!(peer(&n1, "n3").presence, PeerPresence::Connected, "it still answers");
    assert_eq!(within("the job", long.reply()).await, Ok(Bytes::new()));
    within("n3 to leave", leaving).await.expect("no panic");
    drop(status);
    cluster.restart("n3", &release("2.0")).expect("it starts again");
    cluster.ready().await;
    assert!(!peer(&n1, "n3").draining, "its next life");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_a_node_that_leaves_for_a_moment_only() {
    let finished: [Finished; 3] = Default::default();
    let cluster = cluster(MODES[3], 5, &finished).await;
    let (n2, n3) = (cluster.node("n2"), cluster.node("n3"));
    cluster.cut("n1", "n3");
    let began = tokio::time::Instant::now();
    let leaving = tokio::spawn(n3.shutdown(Duration::from_secs(60)));
    within("n2 to hear of it", async {
        let mut seen = n2.watch_presence();
        while !peer(&n2, "n3").draining {
            seen.changed().await;
        }
    })
    .await;
    assert_eq!(within("n3 to leave", leaving).await.expect("no panic"), 0);
    // Two seconds for the mark, three for its last words, and what its closes take.
    assert!((2_000..6_500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}
