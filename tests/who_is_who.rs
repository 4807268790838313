//! Who a node is to its peers, whatever was said in its name before: clocks that were ahead or set back, a second
//! process, a liar with its key, a member of a wrong release. The node that is there gets in.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use rexi_proto::{CloseCode, Message, PhaseNow};
use rexi_server::admin::AdminPort;
use rexi_server::testing::TestCluster;
use rexi_server::{Bytes, DownReason, Incarnation, Node, NodeEnv, PeerPresence, Phase, Request};
use rexi_tests::{Cluster, Log, Stranger, frame_of, functions, get, hello, name, pass, peer, release, until, within};

const HOUR: Duration = Duration::from_hours(1);

/// n2 of this cluster, started by such a clock.
fn start_by(cluster: &Cluster, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Node {
    let env = NodeEnv::system().wall_clock(clock);
    cluster.builder("n2", release("2.0")).env(env).start().expect("it starts")
}

async fn echo(from: &Node, to: &str) {
    let reply = within("the reply", from.call(&name(to), Request::new("echo", "it is me"))).await;
    assert_eq!(reply.expect("a reply"), Bytes::from_static(b"it is me"));
}

async fn meets(node: &Node, other: &str) {
    until("the two to meet", node, |node| peer(node, other).presence == PeerPresence::Connected).await;
}

/// The life of a node that starts in so long.
fn life_in(ahead: Duration) -> Incarnation {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    Incarnation::since_1970(now + ahead)
}

#[tokio::test]
async fn a_node_whose_clock_was_ahead_is_taken_once_that_is_right_however_it_ended() {
    for in_good_order in [true, false] {
        let cluster = Cluster::new(["n1", "n2"]);
        let n1 = cluster.start("n1", "2.0");
        let n2 = start_by(&cluster, || SystemTime::now() + 23 * HOUR);
        within("n1 to be ready", n1.ready()).await;
        let ahead = n2.incarnation();
        match in_good_order {
            true => drop(within("n2 to have left", n2.shutdown(Duration::from_secs(1))).await),
            false => drop(n2),
        }
        let n2 = rexi_tests::start_again(|| cluster.builder("n2", release("2.0"))).await;
        assert!(n2.incarnation() < ahead, "its clock is right now");
        within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
        echo(&n1, "n2").await;
        let known_as = Some(Incarnation(ahead.0 + 1));
        assert_eq!((peer(&n1, "n2").incarnation, Some(peer(&n2, "n1").known_as)), (known_as, known_as));
        assert_eq!(n2.status().incarnation, n2.incarnation(), "its own word of itself");
    }
}

#[tokio::test]
async fn a_node_whose_clock_is_days_ahead_is_refused_in_words_and_forgotten() {
    let (log, cluster) = (Log::here(), Cluster::new(["n1", "n2"]));
    let n1 = cluster.start("n1", "2.0");
    let n2 = start_by(&cluster, || SystemTime::now() + 49 * HOUR);
    let port = AdminPort::open(&n2, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await.expect("a free port");
    log.line(&["refused a connection", "n2 says it started", "h ahead of this node's clock"]).await;
    until("n2 to be told", &n2, |n2| peer(n2, "n1").turned_away).await;
    let (code, said) = get(port.local_addr(), "/readyz").await;
    assert!(code == 503 && said.contains("[-] admitted: n1: ") && said.contains("ahead of this"), "{code} {said}");
    drop(n2);
    let n2 = rexi_tests::start_again(|| cluster.builder("n2", release("2.0"))).await;
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    assert_eq!(peer(&n1, "n2").incarnation, Some(n2.incarnation()));
}

#[tokio::test]
async fn whatever_a_liar_with_its_key_has_said_the_true_node_gets_in() {
    for (life, believed) in [(life_in(23 * HOUR), true), (life_in(25 * HOUR), false), (Incarnation(u64::MAX), false)] {
        let cluster = Cluster::new(["n1", "n3"]);
        let n1 = cluster.start("n1", "2.0");
        let liar = Stranger::member(cluster.authority(), "n3");
        let lie = rexi_proto::Hello { incarnation: life, ..hello("n3") };
        if believed {
            let lane = liar.shake_hands(cluster.address("n1"), "n1", &lie).await;
            meets(&n1, "n3").await;
            drop(lane);
        } else {
            let lane = liar.open(cluster.address("n1"), "n1", &rexi_tests::encoded(&lie)).await;
            assert_eq!(lane.closed().await.0, u64::from(CloseCode::NotTrusted.code()));
        }
        drop(liar);
        let n3 = cluster.start("n3", "2.0");
        within("both to be ready", async { tokio::join!(n1.ready(), n3.ready()) }).await;
        echo(&n1, "n3").await;
        echo(&n3, "n1").await;
        assert!(believed || peer(&n1, "n3").incarnation == Some(n3.incarnation()));
    }
}

#[tokio::test]
async fn after_a_second_process_of_its_name_the_first_is_served_again() {
    let (log, cluster) = (Log::here(), Cluster::new(["n1", "n2", "spare"]));
    let n1 = cluster.builder("n1", release("2.0")).start().expect("it starts");
    n1.remove_member(&name("spare")).expect("a member");
    let tagged = |tag: &'static str| {
        move |node: rexi_server::NodeBuilder| {
            node.function("who", move |_, _: Bytes| async move { Ok::<_, String>(Bytes::from_static(tag.as_bytes())) })
        }
    };
    let process = |tag, at: &str| {
        let node = Node::builder(name("n2"), release("2.0"), cluster.identity("n2")).listen(cluster.address(at));
        tagged(tag)(functions(node.peer(name("n1"), cluster.address("n1")))).start().expect("it starts")
    };
    let first = process("first", "n2");
    within("n1 to be ready", n1.ready()).await;
    let port = AdminPort::open(&first, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await.expect("a free port");
    let port = port.local_addr();
    assert_eq!(get(port, "/readyz").await.0, 200);
    let job = n1.cast(&name("n2"), Request::new("forever", "")).expect("a member");
    until("the job to run", &first, |first| first.status().jobs == 1).await;

    let second = process("second", "spare");
    let down = within("the call's end", job.reply()).await.expect_err("the later start is served");
    assert!(down.to_string().contains(&DownReason::Restarted.to_string()), "{down}");
    let who = async || within("the reply", n1.call(&name("n2"), Request::new("who", ""))).await;
    assert_eq!(who().await.expect("a reply"), Bytes::from_static(b"second"));
    until("the first to be told", &first, |first| peer(first, "n1").turned_away).await;
    log.line(&["could not connect", "is it running twice?"]).await;
    let (code, said) = get(port, "/readyz").await;
    assert!(code == 503 && said.contains("is it running twice?"), "{code} {said}");

    within("the second to have left", second.shutdown(Duration::from_secs(1))).await;
    meets(&n1, "n2").await;
    assert_eq!(who().await.expect("a reply"), Bytes::from_static(b"first"));
    assert_eq!(get(port, "/readyz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_member_of_a_wrong_release_that_came_and_went_keeps_nobody_apart() {
    let cluster = TestCluster::new(["n1", "n2", "n3", "n4"]);
    cluster.define_all(functions);
    for of in ["n1", "n2", "n3"] {
        cluster.start(of, &release("2.0")).expect("it starts");
    }
    for wrong in ["1.0", "1.1"] {
        let n4 = cluster.start("n4", &release(wrong)).expect("it starts");
        for of in ["n1", "n2", "n3"] {
            until("n4 to be refused", &n4, |n4| matches!(peer(n4, of).presence, PeerPresence::Refused(_))).await;
        }
        cluster.crash("n4");
        for of in ["n1", "n2", "n3"] {
            let again = cluster.restart(of, &release("2.0")).expect("it starts");
            cluster.ready().await;
            for other in ["n1", "n2", "n3"] {
                echo(&again, other).await;
            }
            pass(Duration::from_secs(30)).await;
        }
    }
}

#[tokio::test]
async fn a_member_that_says_a_phase_which_it_does_not_have_keeps_nobody_apart() {
    let cluster = Cluster::new(["n1", "n2", "n3"]);
    let n1 = cluster.start("n1", "2.0");
    let liar = Stranger::member(cluster.authority(), "n3");
    let mut lane = liar.shake_hands(cluster.address("n1"), "n1", &hello("n3")).await;
    lane.say(&frame_of(&Message::Announce(0, PhaseNow { epoch: 9, phase: Phase::Singleton }))).await;
    // A frame behind it is answered, so it was read.
    lane.say(&frame_of(&Message::Ping(rexi_proto::CallRef(1)))).await;
    let n2 = cluster.start("n2", "2.0");
    meets(&n2, "n1").await;
    echo(&n1, "n2").await;
}
