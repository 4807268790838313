//! How long one peer's frames are handled before others have their turn: first polls of workers, what one reader does
//! in a row, and requests that wait for the singleton.
//!
//! In virtual time a function takes as long as it says; the task that it ran in shows who waited for it.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use rexi_proto::{Body, BulkId, CallRef, Cast, Message};
use rexi_server::{Bytes, Node, NodeBuilder, Request, ServerAddress};
use rexi_tests::{Cluster, MODES, Stranger, frame_of, hello, name, until, within};
use tokio::sync::Notify;
use tokio::task;

/// Tasks in which the function `busy` was first polled, in order, by its argument.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<(u8, task::Id)>>>);

impl Tasks {
    /// Adds `busy`, whose first poll takes as many times ten microseconds as the second byte of its argument says.
    fn on(&self, node: NodeBuilder) -> NodeBuilder {
        let tasks = self.clone();
        node.function("busy", move |_, argument: Bytes| {
            let tasks = tasks.clone();
            async move {
                take(Duration::from_micros(10) * u32::from(argument[1]));
                tasks.0.lock().expect("nothing panics").push((argument[0], task::id()));
                Ok::<_, String>(argument)
            }
        })
    }

    fn taken(&self) -> Vec<(u8, task::Id)> {
        std::mem::take(&mut self.0.lock().expect("nothing panics"))
    }
}

/// Takes this much time, as work would: the clock moves on within one poll.
fn take(time: Duration) {
    let advanced = pin!(tokio::time::advance(time));
    let _ = advanced.now_or_never();
}

async fn pair(tasks: &Tasks) -> (Node, Node) {
    let tasks = tasks.clone();
    // Of the last release: jobs of the singleton are tasks at once.
    MODES[3].pair(move |node| tasks.on(node)).await
}

#[tokio::test(start_paused = true)]
async fn workers_are_polled_where_their_casts_are_read_for_500_us_and_are_tasks_beyond() {
    let tasks = Tasks::default();
    let (n1, _n2) = pair(&tasks).await;
    // Each takes that many times 10 µs; so many of them begin before 500 µs have passed.
    for (each, in_reader) in [(10, 5), (49, 2), (50, 1), (250, 1)] {
        let calls: Vec<_> = (0..8)
            .map(|number| n1.cast(&name("n2"), Request::new("busy", vec![number, each])).expect("a member"))
            .collect();
        for (call, number) in calls.into_iter().zip(0..) {
            assert_eq!(within("the reply", call.reply()).await, Ok(vec![number, each].into()));
        }
        let taken = tasks.taken();
        let (_, reader) = taken[0];
        assert_eq!(taken.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
        let first = taken.iter().take_while(|(_, id)| *id == reader).count();
        assert_eq!(first, in_reader, "of {each}0 µs each");
        // The others have a task each.
        let mut others: Vec<_> = taken[first..].iter().map(|(_, id)| *id).collect();
        others.dedup();
        assert!(others.len() == 8 - first && !others.contains(&reader), "{taken:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_has_worked_for_100_us_lets_others_have_their_turn() {
    for (each, yields) in [(9, false), (10, true)] {
        let (order, woken) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let shared = (Arc::clone(&order), Arc::clone(&woken));
        let (n1, _n2) = MODES[3]
            .pair(move |node| {
                let (order, woken) = shared.clone();
                node.function("busy", move |_, argument: Bytes| {
                    let (order, woken) = (Arc::clone(&order), Arc::clone(&woken));
                    async move {
                        take(Duration::from_micros(10) * u32::from(argument[0]));
                        order.lock().expect("nothing panics").push("job");
                        woken.notify_one();
                        Ok::<_, String>(argument)
                    }
                })
            })
            .await;
        let other = {
            let (order, woken) = (Arc::clone(&order), Arc::clone(&woken));
            tokio::spawn(async move {
                woken.notified().await;
                order.lock().expect("nothing panics").push("other");
            })
        };
        // More than one packet holds, so that the second cast ends in another chunk than the first; both are there.
        let casts = [0; 2].map(|_| {
            let argument = [vec![each], vec![0; 1_000]].concat();
            n1.cast(&name("n2"), Request::new("busy", argument)).expect("a member")
        });
        for cast in casts {
            within("the end", cast.reply()).await.expect("it ends well");
        }
        within("the other", other).await.expect("no panic");
        let expected = if yields { ["job", "other", "job"] } else { ["job", "job", "other"] };
        assert_eq!(*order.lock().expect("nothing panics"), expected, "{each}0 µs");
    }
}

/// On a paused clock a reader goes on for as long as bytes are there. A task that is ready all along sees the queue
/// between that and the singleton's turn.
#[tokio::test(start_paused = true)]
async fn readers_wait_while_4_096_requests_wait_for_the_singleton() {
    let mut script = MODES[0].script(|node| node).await;
    let (n1, longest) = (script.n1.clone(), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&longest);
    let looking = tokio::spawn(async move {
        loop {
            for _ in 0..50 {
                seen.fetch_max(n1.status().singleton_queue, Ordering::Relaxed);
                again().await;
            }
            // Nobody else lets time move on while a task is ready.
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    });
    let server = ServerAddress::Singleton;
    let kills: Vec<Message> = (1..20_000).map(|call| Message::Kill(server, CallRef(call))).collect();
    let mut call = 1 << 40;
    within("the queue to be full", async {
        while longest.load(Ordering::Relaxed) < 4_096 {
            script.says_all(&kills).await;
            call += 1;
            let body = Body::Inline(Bytes::from_static(&[9]));
            let cast =
                Cast { call: CallRef(call), function: "echo".into(), time_left: None, nonce: 0, trace: None, body };
            script.says(&Message::Cast(server, cast)).await;
            let echoed = script.hears().await;
            assert!(matches!(&echoed, Message::Reply(reply) if reply.call == CallRef(call)), "{echoed:?}");
        }
    })
    .await;
    looking.abort();
    // What one read of the lane holds may come beyond: 16 KiB of frames of six bytes at least.
    let longest = longest.load(Ordering::Relaxed);
    assert!(longest < 4_096 + (16 << 10) / 6, "{longest} requests have waited");
    until("the queue to be empty", &script.n1, |n1| n1.status().singleton_queue == 0).await;
}

/// The payload on a stream of its own, as far as n1 takes it within a second.
async fn writes(stream: &mut quinn::SendStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match tokio::time::timeout(Duration::from_secs(1), stream.write(&bytes[written..])).await {
            Ok(more) => written += more.expect("n1 reads"),
            Err(_) => break,
        }
    }
    written
}

#[tokio::test(start_paused = true)]
async fn beyond_a_window_of_128_kib_one_payload_is_read_at_a_time() {
    let cluster = Cluster::new(["n1", "n3"]);
    let _n1 = cluster.start("n1", "2.0");
    let stranger = Stranger::member(cluster.authority(), "n3");
    let lane = stranger.shake_hands(cluster.address("n1"), "n1", &hello("n3")).await;
    let mut streams = Vec::new();
    for id in [0_u64, 1] {
        let mut stream = lane.connection.open_uni().await.expect("n1 takes four");
        stream.write_all(&id.to_le_bytes()).await.expect("n1 reads");
        streams.push(stream);
    }
    let (window, bytes) = (128 << 10, vec![7; 600_000]);
    // More than n1 lets come unread, so it has read beyond a window.
    assert_eq!(writes(&mut streams[0], &bytes[..300_000]).await, 300_000);
    // Of the other one it reads a window, and lets another one come.
    let written = writes(&mut streams[1], &bytes).await;
    assert!((window + 1..=2 * window).contains(&written), "{written} bytes");
    streams[0].reset(7_u32.into()).expect("open until now");
    assert_eq!(writes(&mut streams[1], &bytes[written..]).await, bytes.len() - written, "now it is the one");
}

/// Otherwise a peer could have as many kept as it likes, by never saying what they are for.
#[tokio::test(start_paused = true)]
async fn four_payloads_wait_for_their_frames_and_the_next_is_read_when_one_has_come() {
    let cluster = Cluster::new(["n1", "n3"]);
    let n1 = cluster.start("n1", "2.0");
    let stranger = Stranger::member(cluster.authority(), "n3");
    let mut lane = stranger.shake_hands(cluster.address("n1"), "n1", &hello("n3")).await;
    for id in 0..4_u64 {
        let mut stream = within("a stream", lane.connection.open_uni()).await.expect("n1 takes four");
        stream.write_all(&[&id.to_le_bytes()[..], b"abc"].concat()).await.expect("n1 reads");
        stream.finish().expect("open until now");
        stream.stopped().await.expect("n1 has all of it");
    }
    let mut fifth = within("a stream", lane.connection.open_uni()).await.expect("the others are at their end");
    let bytes = vec![7; 300_000];
    let written = writes(&mut fifth, &bytes).await;
    assert!(written <= 128 << 10, "{written} bytes: nobody reads it");
    let body = Body::Bulk(BulkId(0), 3);
    let cast = Cast { call: CallRef(1), function: "echo".into(), time_left: None, nonce: 0, trace: None, body };
    lane.say(&frame_of(&Message::Cast(ServerAddress::PerNode, cast))).await;
    assert!(matches!(lane.message().await, Message::Reply(reply) if reply.call == CallRef(1)));
    assert_eq!(writes(&mut fifth, &bytes[written..]).await, bytes.len() - written);
    assert_eq!(n1.status().jobs, 0);
}

#[tokio::test(start_paused = true)]
async fn four_payloads_are_on_their_way_at_once_and_the_next_when_one_has_arrived() {
    let cluster = Cluster::new(["n1", "n3"]);
    let n1 = cluster.start("n1", "2.0");
    let stranger = Stranger::member(cluster.authority(), "n3");
    let lane = stranger.shake_hands(cluster.address("n1"), "n1", &hello("n3")).await;
    // More than a stream of n3 holds unread.
    let argument = || Request::new("anything", vec![7; 1_500_000]);
    let _calls: Vec<_> = (0..5).map(|_| n1.cast(&name("n3"), argument()).expect("n3 is a member")).collect();
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(within("a payload", lane.connection.accept_uni()).await.expect("n1 sends it"));
    }
    let fifth = tokio::time::timeout(Duration::from_secs(1), lane.connection.accept_uni()).await;
    assert!(fifth.is_err(), "it waits while four are on their way");
    let first = within("all of it", streams[0].read_to_end(2_000_000)).await.expect("n1 sends it");
    assert_eq!(first.len(), 8 + 1_500_000);
    within("the fifth", lane.connection.accept_uni()).await.expect("n1 sends it");
}

/// Ready once all others that are ready now have had their turn, which `yield_now` is not.
async fn again() {
    let mut polled = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
