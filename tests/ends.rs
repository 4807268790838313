//! How a connection ends, with which word, and how long each kind of end may take at most: silence, a peer that does
//! not read, a lane that is finished or lost, a node that leaves.
//!
//! The other end is a script on a real socket, on a paused clock, or a node of a cluster in virtual time.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use rexi_proto::{Body, Cast, CloseCode, Message};
use rexi_server::testing::TestCluster;
use rexi_server::{Bytes, Call, CallRef, Node, PeerPresence, Request, ServerAddress};
use rexi_tests::{
    Cluster, Lane, Stranger, encoded, frame_of, functions, hello, name, pass, peer, release, until, within,
};
use tokio::time::Instant;

/// n1, connected with n3, which a test plays.
struct Scene {
    cluster: Cluster,
    n1: Node,
    lane: Lane,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::new(["n1", "n3"]);
        let n1 = cluster.start("n1", "2.0");
        let lane = dial(&cluster).await;
        until("n3 to be there", &n1, |n1| peer(n1, "n3").presence == PeerPresence::Connected).await;
        Self { cluster, n1, lane }
    }

    fn cast(&self, bytes: usize) -> Call {
        self.n1.cast(&name("n3"), Request::new("anything", vec![7; bytes])).expect("n3 is a member")
    }

    /// Gives n1 more to write than n3 takes without reading: 1.25 MB on the lane, and what n1 has encoded.
    fn flood(&self) -> Vec<Call> {
        (0..100).map(|_| self.cast(30_000)).collect()
    }

    fn presence(&self) -> PeerPresence {
        peer(&self.n1, "n3").presence
    }
}

async fn dial(cluster: &Cluster) -> Lane {
    Stranger::member(cluster.authority(), "n3").shake_hands(cluster.address("n1"), "n1", &hello("n3")).await
}

fn code(code: CloseCode) -> u64 {
    u64::from(code.code())
}

fn took(since: Instant, expected: Range<u128>) {
    let took = since.elapsed().as_millis();
    assert!(expected.contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_finished_is_closed_after_3_s_unless_its_peer_does_it_first() {
    for closes in [false, true] {
        let mut scene = Scene::new().await;
        let (began, mut changed) = (Instant::now(), scene.n1.watch_presence());
        scene.lane.send.finish().expect("open until now");
        if closes {
            pass(Duration::from_secs(1)).await;
            scene.lane.connection.close(code(CloseCode::Shutdown).try_into().expect("a code"), b"left");
            within("n1 to notice", changed.changed()).await;
            took(began, 990..1_050);
        } else {
            let (closed, reason) = scene.lane.closed().await;
            assert_eq!((closed, &*reason), (code(CloseCode::Shutdown), "the lane was finished"));
            took(began, 2_990..3_050);
        }
        let _lane = dial(&scene.cluster).await;
        until("n3 to be back", &scene.n1, |n1| peer(n1, "n3").presence == PeerPresence::Connected).await;
    }
}

/// A peer that took it for the end of this life would give up calls that go on.
#[tokio::test(start_paused = true)]
async fn a_lane_that_is_lost_is_closed_with_another_word_than_a_node_that_leaves_and_ends_nothing() {
    let mut scene = Scene::new().await;
    let body = Body::Inline(Bytes::new());
    let cast = Cast { call: CallRef(7), function: "forever".into(), time_left: None, nonce: 0, trace: None, body };
    scene.lane.say(&frame_of(&Message::Cast(ServerAddress::PerNode, cast))).await;
    let _call = scene.cast(1);
    until("the job to run", &scene.n1, |n1| n1.status().jobs == 1).await;
    let began = Instant::now();
    scene.lane.send.reset(7_u32.into()).expect("open until now");
    let (closed, reason) = scene.lane.closed().await;
    assert_eq!(closed, code(CloseCode::ProtocolBroken), "{reason}");
    took(began, 0..50);
    assert_eq!(scene.presence(), PeerPresence::Away);
    assert_eq!((scene.n1.status().jobs, scene.n1.status().calls), (1, 1));
    let mut lane = dial(&scene.cluster).await;
    let resumed = lane.message().await;
    assert!(matches!(resumed, Message::Resume(_, calls) if calls.len() == 1), "its life goes on");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_for_10_s_is_cut_off_and_may_come_back() {
    let scene = Scene::new().await;
    let (began, _calls) = (Instant::now(), scene.flood());
    let (closed, reason) = scene.lane.closed().await;
    assert_eq!((closed, &*reason), (code(CloseCode::TooSlow), "nothing was read for 10s"));
    took(began, 9_990..10_100);
    until("n1 to know", &scene.n1, |n1| peer(n1, "n3").presence == PeerPresence::Away).await;
    let _lane = dial(&scene.cluster).await;
    until("n3 to be back", &scene.n1, |n1| peer(n1, "n3").presence == PeerPresence::Connected).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_a_little_every_9_s_is_kept() {
    let mut scene = Scene::new().await;
    let (began, _calls) = (Instant::now(), scene.flood());
    for _ in 0..4 {
        pass(Duration::from_secs(9)).await;
        assert_eq!(scene.presence(), PeerPresence::Connected);
        let mut bytes = vec![0; 400_000];
        within("some bytes", scene.lane.recv.read_exact(&mut bytes)).await.expect("n1 writes on");
    }
    took(began, 36_000..36_500);
    let closed = scene.lane.closed().await;
    assert_eq!(closed.0, code(CloseCode::TooSlow), "once it reads no more");
}

/// Answers the mark behind the announcement of a node that leaves.
async fn answer_mark(lane: &mut Lane) {
    loop {
        if let Message::Cast(_, cast) = lane.message().await {
            lane.say(&frame_of(&Message::NoSuchFunction(cast.call))).await;
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_waits_2_s_for_a_peer_to_have_read_that_it_leaves() {
    for answers in [false, true] {
        let mut scene = Scene::new().await;
        let began = Instant::now();
        let leaving = tokio::spawn(scene.n1.shutdown(Duration::from_secs(60)));
        if answers {
            answer_mark(&mut scene.lane).await;
        }
        let (closed, reason) = scene.lane.closed().await;
        assert_eq!((closed, &*reason), (code(CloseCode::Shutdown), "this node is leaving"));
        took(began, if answers { 0..100 } else { 1_990..2_100 });
        assert_eq!(within("n1 to leave", leaving).await.expect("no panic"), 0);
        // Its close was acknowledged, so it waits no longer.
        took(began, if answers { 0..400 } else { 1_990..2_400 });
    }
}

/// What it has to say lies where the peer does not take it: the mark's two seconds, and three for its last words.
#[tokio::test(start_paused = true)]
async fn the_last_words_of_a_node_that_leaves_wait_3_s_for_a_peer_that_does_not_read() {
    let scene = Scene::new().await;
    let calls = scene.flood();
    pass(Duration::from_millis(100)).await;
    let began = Instant::now();
    let leaving = tokio::spawn(scene.n1.shutdown(Duration::ZERO));
    let (closed, _) = scene.lane.closed().await;
    assert_eq!(closed, code(CloseCode::Shutdown));
    took(began, 4_990..5_100);
    within("n1 to leave", leaving).await.expect("no panic");
    took(began, 4_990..5_450);
    drop(calls);
}

/// As above, but that the peer is not there: two seconds for its last words, and for its close three times what QUIC
/// waits for an answer, but no more than 300 ms.
#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_waits_2_s_for_a_peer_that_is_not_there_and_300_ms_for_its_close() {
    for (delay, expected) in [(1, 4_000..4_100), (200, 4_290..4_350)] {
        let cluster = pair().await;
        cluster.slow("n1", "n2", Duration::from_millis(delay));
        pass(Duration::from_secs(20)).await;
        cluster.cut("n1", "n2");
        let began = Instant::now();
        cluster.node("n1").shutdown(Duration::from_secs(60)).await;
        took(began, expected);
    }
}

async fn pair() -> TestCluster {
    let cluster = TestCluster::new(["n1", "n2"]);
    cluster.define_all(functions);
    cluster.start_all(&release("2.0")).expect("all start");
    cluster.ready().await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_shows_every_2_s_that_it_is_there_and_stands() {
    let cluster = pair().await;
    let n1 = cluster.node("n1");
    let (mut events, said) = (n1.watch_members(), Arc::new(Mutex::new(Vec::new())));
    pass(Duration::from_secs(5)).await;
    let (seen, from) = (Arc::clone(&said), cluster.address("n1"));
    cluster.observe(move |datagram| {
        if datagram.from == from {
            seen.lock().expect("nothing panics").push(datagram.at);
        }
    });
    pass(Duration::from_secs(60)).await;
    let said = std::mem::take(&mut *said.lock().expect("nothing panics"));
    let gaps = said.windows(2).map(|two| two[1] - two[0]);
    let longest = gaps.max().expect("it speaks").as_millis();
    assert!((1_900..2_100).contains(&longest), "{longest} ms of silence");
    let news = tokio::time::timeout(Duration::ZERO, events.next()).await;
    assert!(news.is_err(), "nobody came or went: {news:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_of_8_s_ends_a_connection_and_a_little_less_does_not() {
    // Counted from what was heard last, or from the first word behind that (RFC 9000 §10.1), which comes within 2 s.
    for (silence, stands) in [(7_900, true), (10_100, false)] {
        let cluster = pair().await;
        let (n1, last) = (cluster.node("n1"), Arc::new(Mutex::new(Instant::now())));
        let (seen, n2) = (Arc::clone(&last), cluster.address("n2"));
        cluster.observe(move |datagram| {
            if datagram.from == n2
                && let Some(arrives) = datagram.arrives
            {
                *seen.lock().expect("nothing panics") = arrives;
            }
        });
        pass(Duration::from_secs(20)).await;
        cluster.cut("n1", "n2");
        let last = *last.lock().expect("nothing panics");
        // From the last word that n1 has heard.
        pass(last + Duration::from_millis(silence) - Instant::now()).await;
        assert_eq!(peer(&n1, "n2").presence == PeerPresence::Connected, stands, "{silence} ms");
        cluster.heal("n1", "n2");
        within("both to be back", cluster.ready()).await;
        let echoed = n1.call(&name("n2"), Request::new("echo", "back")).await;
        assert_eq!(echoed, Ok("back".into()));
    }
}

/// A peer that has begun to shake hands before a node's last words, and finishes after them.
#[tokio::test(start_paused = true)]
async fn a_peer_that_comes_while_the_last_words_wait_is_welcomed_and_sent_away_at_once() {
    let cluster = Cluster::new(["n1", "n2", "n3"]);
    let n1 = cluster.start("n1", "2.0");
    let lane = dial(&cluster).await;
    until("n3 to be there", &n1, |n1| peer(n1, "n3").presence == PeerPresence::Connected).await;
    let scene = Scene { cluster, n1, lane };
    let _calls = scene.flood();
    pass(Duration::from_millis(100)).await;
    let leaving = tokio::spawn(scene.n1.clone().shutdown(Duration::ZERO));
    pass(Duration::from_millis(1_500)).await;
    let n2 = Stranger::member(scene.cluster.authority(), "n2");
    let mut late = n2.open(scene.cluster.address("n1"), "n1", &[]).await;
    pass(Duration::from_secs(1)).await;
    let (mut events, said) = (scene.n1.watch_members(), Instant::now());
    late.say(&encoded(&hello("n2"))).await;
    let (closed, reason) = late.closed().await;
    assert_eq!((closed, &*reason), (code(CloseCode::Shutdown), "this node is leaving"));
    took(said, 0..100);
    assert_eq!(events.next().now_or_never(), None, "it was not put to use");
    within("n1 to leave", leaving).await.expect("no panic");
}
