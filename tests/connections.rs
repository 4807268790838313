//! Connections that come and go on real sockets: restarts, cuts, dials that cross, leaving under load.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rexi_proto::{Body, Cast, CloseCode, Exit, Hello, Message, Reply, ReplyForm};
use rexi_server::testing::TestCluster;
use rexi_server::{
    Answer, Bytes, Call, CallRef, DevAuthority, DownReason, Event, ExitReason, Incarnation, Node, NodeBuilder,
    PeerPresence, Phase, Request, ServerAddress,
};
use rexi_tests::{
    Cluster, Held, Lane, Log, Stranger, Witness, frame_of, hello, in_every_mode, name, pass, peer, release,
    start_again, until, within,
};

fn numbered(number: usize) -> Request {
    Request::new("witness", number.to_string())
}

fn numbers(range: std::ops::Range<usize>) -> Vec<Bytes> {
    range.map(|number| Bytes::from(number.to_string())).collect()
}

async fn ready(nodes: [&Node; 2]) {
    within("both to be ready", async { tokio::join!(nodes[0].ready(), nodes[1].ready()) }).await;
}

/// Casts this many, awaits every reply, in order.
async fn replies(calls: Vec<Call>) -> Vec<Bytes> {
    let mut replies = Vec::new();
    for call in calls {
        replies.push(within("a reply", call.reply()).await.expect("a reply"));
    }
    replies
}

#[tokio::test]
async fn a_restart_ends_calls_and_jobs_and_the_new_node_gets_what_waited_in_order() {
    in_every_mode(async |mode| {
        let (cluster, witness) = (Cluster::new(["n1", "n2"]), Witness::default());
        let n1 = cluster.start("n1", mode.release);
        let describe = || witness.on(cluster.builder("n2", mode.profile()));
        let n2 = describe().start().expect("n2 starts");
        ready([&n1, &n2]).await;
        let mut open = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        // n2's own call, whose job runs at n1. It is let go with its node.
        let calling = {
            let n2 = n2.clone();
            tokio::spawn(async move { n2.call(&name("n1"), Request::new("forever", "")).await })
        };
        until("both jobs to run", &n1, |n1| n1.status().jobs == 1 && n2.status().jobs == 1).await;
        let first_life = n2.incarnation();

        calling.abort();
        let _ = calling.await;
        drop(n2);
        let down = within("the call's end", open.next()).await;
        let ended = matches!(down, Some(Answer::Down(DownReason::Shutdown | DownReason::Restarted)));
        assert!(ended, "{down:?}");
        until("n2's jobs to be gone", &n1, |n1| n1.status().jobs == 0 && n1.status().calls == 0).await;
        let calls: Vec<_> = (0..100).map(|i| n1.cast(&name("n2"), numbered(i)).expect("n2 is a member")).collect();

        let n2 = start_again(describe).await;
        assert!(n2.incarnation() > first_life);
        assert_eq!(replies(calls).await, numbers(0..100));
        assert_eq!(witness.arguments(), numbers(0..100));
    })
    .await;
}

/// n1, which a scripted n3 is connected to in its life `1`, with a job of n3 at n1 and a call of n1 to n3.
struct Pair {
    cluster: Cluster,
    n1: Node,
    lane: Lane,
    call: Call,
}

impl Pair {
    async fn new() -> Self {
        let cluster = Cluster::new(["n1", "n3"]);
        let n1 = cluster.start("n1", "2.0");
        let mut lane = Self::dial(&cluster, 1).await;
        let body = Body::Inline(Bytes::new());
        let cast = Cast { call: CallRef(7), function: "forever".into(), time_left: None, nonce: 0, trace: None, body };
        lane.say(&frame_of(&Message::Cast(ServerAddress::PerNode, cast))).await;
        let call = n1.cast(&name("n3"), Request::new("anything", "")).expect("n3 is a member");
        assert!(matches!(lane.message().await, Message::Cast(_, cast) if cast.call == call.call_ref()));
        until("n3's job to run", &n1, |n1| n1.status().jobs == 1).await;
        Self { cluster, n1, lane, call }
    }

    async fn dial(cluster: &Cluster, life: u64) -> Lane {
        let hello = Hello { incarnation: Incarnation(life), ..hello("n3") };
        Stranger::member(cluster.authority(), "n3").shake_hands(cluster.address("n1"), "n1", &hello).await
    }

    /// Closes n3's connection as a network would, without a word on n3's life.
    async fn cut(&self) {
        self.lane.connection.close(7_u32.into(), b"cut");
        until("n3 not to be there", &self.n1, |n1| peer(n1, "n3").presence != PeerPresence::Connected).await;
    }
}

#[tokio::test]
async fn a_new_life_of_a_crashed_node_ends_what_the_old_one_had() {
    let mut pair = Pair::new().await;
    let mut mailbox = pair.n1.mailbox();
    let monitor = mailbox.monitor(&name("n3")).expect("n3 is a member");
    // The old connection is still there: nobody has noticed the crash.
    let _lane = Pair::dial(&pair.cluster, 2).await;
    assert_eq!(within("the call's end", pair.call.next()).await, Some(Answer::Down(DownReason::Restarted)));
    assert_eq!(within("the down", mailbox.recv()).await, Event::Down(monitor, DownReason::Restarted));
    until("the old life's job to be gone", &pair.n1, |n1| n1.status().jobs == 0).await;
    assert_eq!(pair.lane.closed().await.0, u64::from(CloseCode::Replaced.code()));
    assert_eq!(peer(&pair.n1, "n3").presence, PeerPresence::Connected);
}

#[tokio::test]
async fn a_brief_disconnect_ends_nothing() {
    let pair = Pair::new().await;
    pair.cut().await;
    assert_eq!((pair.n1.status().jobs, pair.n1.status().calls), (1, 1));
    let mut lane = Pair::dial(&pair.cluster, 1).await;
    // Both ends say what they have open; a call that only one of them knows is told.
    let open = pair.call.call_ref();
    assert_eq!(lane.message().await, Message::Resume(ServerAddress::PerNode, vec![open]));
    lane.say(&frame_of(&Message::Resume(ServerAddress::PerNode, vec![CallRef(7), CallRef(8)]))).await;
    let lost = |exit: &Exit| exit.call == CallRef(8) && exit.reason == ExitReason::ConnectionLost;
    assert!(matches!(lane.message().await, Message::Exit(exit) if lost(&exit)));
    assert_eq!((pair.n1.status().jobs, pair.n1.status().calls), (1, 1));
    let body = Body::Inline(Bytes::from("late"));
    lane.say(&frame_of(&Message::Reply(Reply { call: open, number: 0, form: ReplyForm::Last, body }))).await;
    assert_eq!(within("the reply", pair.call.reply()).await, Ok(Bytes::from("late")));
    lane.say(&frame_of(&Message::Kill(ServerAddress::PerNode, CallRef(7)))).await;
    until("the job to be killed", &pair.n1, |n1| n1.status().jobs == 0).await;
}

#[tokio::test]
async fn a_node_that_is_dropped_ends_its_own_jobs() {
    in_every_mode(async |mode| {
        let (cluster, held) = (Cluster::new(["n1", "n2"]), Held::default());
        let n2 = held.on(cluster.builder("n2", mode.profile())).start().expect("n2 starts");
        let n1 = cluster.start("n1", mode.release);
        ready([&n1, &n2]).await;
        let _held: Vec<_> =
            (0..3).map(|_| n1.cast(&name("n2"), Request::new("held", "")).expect("n2 is a member")).collect();
        until("the jobs to run", &n2, |_| held.started() == 3).await;
        drop(n2);
        until("the jobs to be dropped", &n1, |_| held.dropped() == 3).await;
    })
    .await;
}

/// On several threads, where a node's tasks learn of its end in any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_dropped_says_so_and_frees_its_address() {
    let cluster = Cluster::new(["n1", "n2"]);
    let n1 = cluster.start("n1", "1.2");
    let mut n2 = cluster.start("n2", "1.2");
    for round in 0..10 {
        ready([&n1, &n2]).await;
        let mut open = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
        drop(n2);
        let down = within("the call's end", open.next()).await;
        assert_eq!(down, Some(Answer::Down(DownReason::Shutdown)), "round {round}");
        n2 = start_again(|| cluster.builder("n2", release("1.2"))).await;
    }
}

#[tokio::test]
async fn of_two_dials_at_once_one_connection_stays_and_no_call_is_lost() {
    let mut crossed = 0;
    for round in 0..20 {
        let (cluster, witness, log) = (Cluster::new(["n1", "n2"]), Witness::default(), Log::here());
        let start = |of| witness.on(cluster.builder(of, release("1.2"))).start().expect("a node");
        let (n1, n2) = (start("n1"), start("n2"));
        let cast = |from: &Node, to, i| from.cast(&name(to), numbered(i)).expect("a member");
        let calls = (0..50).flat_map(|i| [cast(&n1, "n2", i), cast(&n2, "n1", i)]).collect();
        let replies = replies(calls).await;
        ready([&n1, &n2]).await;
        assert_eq!((replies.len(), witness.count()), (100, 100), "round {round}");
        let addresses = ["n1", "n2"].map(|of| format!("address={}", cluster.address(of)));
        // A space or a bracket ends an address, so that no port is taken for the start of another.
        let lines = |what: &str, of: &String| log.lines(&[what, &format!("{of} ")]).len();
        for address in &addresses {
            let (came, went) = (lines("INFO connected", address), lines("INFO disconnected", address));
            assert_eq!((came, went), (1, 0), "round {round}");
        }
        for (node, of) in [(&n1, "n2"), (&n2, "n1")] {
            assert_eq!(peer(node, of).presence, PeerPresence::Connected, "round {round}");
        }
        // Each end says so where it gives up a dial because the other's connection was first.
        let gave_up = |what: &str| addresses.iter().any(|address| lines(what, address) > 0);
        crossed += usize::from(gave_up("another connection to the same peer is in use") || gave_up("came first"));
        within("n1 to leave", n1.shutdown(Duration::from_secs(5))).await;
    }
    println!("the dials crossed in {crossed} of 20 rounds");
}

/// What n2 took and finished, and what n1 received of it.
struct Load {
    finished: Arc<AtomicUsize>,
}

impl Load {
    fn on(&self, builder: NodeBuilder) -> NodeBuilder {
        let finished = Arc::clone(&self.finished);
        builder.function("work", move |_, argument: Bytes| {
            let finished = Arc::clone(&finished);
            async move {
                tokio::task::yield_now().await;
                finished.fetch_add(1, Ordering::Relaxed);
                Ok::<_, String>(argument)
            }
        })
    }
}

#[tokio::test]
async fn a_node_that_leaves_under_load_loses_no_reply() {
    let (mut answered, mut refused) = (0, 0);
    for round in 0..20 {
        let number = ["1.0", "1.2", "2.0"][round % 3];
        let cluster = Cluster::new(["n1", "n2"]);
        let load = Load { finished: Arc::default() };
        let n2 = load.on(cluster.builder("n2", release(number))).start().expect("n2 starts");
        let n1 = cluster.start("n1", number);
        ready([&n1, &n2]).await;
        let mut mailbox = n1.mailbox();
        let mut open: BTreeSet<CallRef> = BTreeSet::new();
        let (mut replies, mut n2, mut leaving) = (0, Some(n2), None::<tokio::task::JoinHandle<usize>>);
        while !leaving.as_ref().is_some_and(|leaving| leaving.is_finished()) {
            // Leaves at another point of the load in each round.
            if replies > round * 37
                && let Some(n2) = n2.take()
            {
                leaving = Some(tokio::spawn(n2.shutdown(Duration::from_secs(5))));
            }
            // Few enough not to fill the buffer once the node is gone.
            if open.len() < 500 {
                open.extend((0..20).map(|_| mailbox.cast(&name("n2"), Request::new("work", "")).expect("a member")));
            }
            tokio::task::yield_now().await;
            while let Some(event) = mailbox.try_recv() {
                let Event::Answer(call, answer) = event else { panic!("nothing is monitored: {event:?}") };
                assert!(open.remove(&call), "one answer a call");
                match answer {
                    Answer::Reply { last: true, .. } => replies += 1,
                    Answer::Exit { reason: ExitReason::Draining, .. } => refused += 1,
                    other => panic!("round {round}, release {number}: {other:?}"),
                }
            }
        }
        let leaving = leaving.expect("the loop ends once it has left");
        assert_eq!(leaving.await.expect("no panic"), 0, "no job had to be ended");
        // What is open still waits for a next life of n2.
        assert_eq!(mailbox.open_calls(), open.len());
        assert_eq!(peer(&n1, "n2").stats.buffered, open.len(), "round {round}, release {number}");
        assert_eq!(replies, load.finished.load(Ordering::Relaxed), "round {round}, release {number}");
        answered += replies;
    }
    println!("{answered} replies, {refused} refused while draining");
    assert!(answered > 0 && refused > 0, "nothing was in flight");
}

/// n3 lives on, and may still run what n1 asked it for before it let n3 go.
#[tokio::test]
async fn a_member_that_joins_again_is_told_that_nothing_is_open() {
    let mut pair = Pair::new().await;
    pair.n1.remove_member(&name("n3")).expect("a member");
    assert_eq!(pair.lane.closed().await.0, u64::from(CloseCode::Shutdown.code()), "what n3 runs for n1 is to end");
    assert_eq!(within("the end", pair.call.next()).await, Some(Answer::Down(DownReason::NoConnection)));
    assert_eq!((pair.n1.status().jobs, pair.n1.status().calls), (0, 0));
    pair.n1.add_member(name("n3"), pair.cluster.address("n3")).expect("no member any more");
    let mut lane = Pair::dial(&pair.cluster, 1).await;
    assert_eq!(lane.message().await, Message::Resume(ServerAddress::PerNode, Vec::new()));
    // Once: the next connection is a brief disconnect like any other.
    let call = pair.n1.cast(&name("n3"), Request::new("anything", "")).expect("n3 is a member");
    assert!(matches!(lane.message().await, Message::Cast(_, cast) if cast.call == call.call_ref()));
    lane.connection.close(7_u32.into(), b"cut");
    until("n3 not to be there", &pair.n1, |n1| peer(n1, "n3").presence != PeerPresence::Connected).await;
    let mut lane = Pair::dial(&pair.cluster, 1).await;
    assert_eq!(lane.message().await, Message::Resume(ServerAddress::PerNode, vec![call.call_ref()]));
}

/// How long a refused node is left alone grows to a second. What may have been in its way is gone, so it is not waited
/// for here.
#[tokio::test(start_paused = true)]
async fn a_refused_node_dials_again_at_once_when_its_phase_its_identity_or_an_address_changes() {
    let cluster = TestCluster::new(["n1", "n2", "n3"]);
    cluster.start_all(&release("1.2")).expect("all start");
    cluster.ready().await;
    let n1 = cluster.node("n1");
    n1.remove_member(&name("n3")).expect("a member");
    for other in ["n2", "n3"] {
        cluster.node(other).remove_member(&name("n1")).expect("a member");
    }
    let sent = Arc::new(AtomicUsize::new(0));
    let (count, from) = (Arc::clone(&sent), cluster.address("n1"));
    cluster.observe(move |datagram| {
        if datagram.from == from {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    pass(Duration::from_secs(20)).await;
    for turn in 0..8 {
        // Another process answers there, under another name.
        let address = cluster.address(["n3", "n2"][turn % 2]);
        let ceiling = [Some(Phase::Introduce), None][turn % 2];
        let identity = DevAuthority::in_memory().expect("keys can be made").issue(&name("n1")).expect("an identity");
        let changes: [(&str, &dyn Fn()); 3] = [
            ("address", &|| n1.move_member(&name("n2"), address).expect("a member")),
            ("phase", &|| n1.rollout().set_ceiling(ceiling).expect("the release allows both")),
            ("identity", &|| n1.reload_identity(identity.clone()).expect("it is good")),
        ];
        for (what, change) in changes {
            // The previous dial is over, and the next one is not due yet.
            pass(Duration::from_millis(300)).await;
            sent.store(0, Ordering::Relaxed);
            change();
            pass(Duration::from_millis(50)).await;
            assert!(sent.load(Ordering::Relaxed) > 0, "turn {turn}: nothing follows from another {what}");
        }
    }
}
