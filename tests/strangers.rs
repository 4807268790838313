//! Strangers and unruly peers: each is refused with a reason and an address in the log, and disturbs nobody. Peers with
//! an invalid certificate are in certificates.rs.
//!
//! In every test a good peer calls the node without a pause; its calls must all be answered, and no function may run
//! for anybody else. What a stranger says usually has a cast behind it, which must have no effect.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rexi_proto::{CloseCode, Hello, Kind, Message, WireVersion};
use rexi_server::{DevAuthority, Node, PeerPresence};
use rexi_tests::{
    Cluster, Log, Stranger, Traffic, Witness, cast_of_witness, encoded, hello, name, pass, peer, release, until, within,
};

/// A node `n1` with its good peer `n2`; `n3` is a member that does not run.
struct Scene {
    cluster: Cluster,
    witness: Witness,
    n1: Node,
    _n2: Node,
    traffic: Traffic,
    log: Log,
    panics: u64,
}

impl Scene {
    async fn new() -> Self {
        let panics = panics();
        let (cluster, witness, log) = (Cluster::new(["n1", "n2", "n3"]), Witness::default(), Log::here());
        let start = |of| witness.on(cluster.builder(of, release("2.0"))).start().expect("a node");
        let (n1, n2) = (start("n1"), start("n2"));
        let traffic = Traffic::start(&n2, name("n1"));
        traffic.more(20).await;
        Self { cluster, witness, n1, _n2: n2, traffic, log, panics }
    }

    fn member(&self) -> Stranger {
        Stranger::member(self.cluster.authority(), "n3")
    }

    /// Waits for the line on the stranger, and shows it.
    async fn refused(&self, stranger: &Stranger, reason: &str) {
        let address = format!("address={}", stranger.address());
        let line = self.log.line(&[&address, reason]).await;
        assert!(line.starts_with("WARN"), "{line}");
        println!("{line}");
    }

    /// The good peer's calls went on and go on, and nothing ran for anybody else.
    async fn ends_well(self) {
        self.traffic.more(20).await;
        assert!(self.traffic.stop().await >= 40);
        assert_eq!(self.witness.count_without(&name("n2")), 0, "something ran for a stranger");
        assert_eq!(panics(), self.panics, "something panicked");
    }
}

/// Panics of this process since the first call, which begins the count.
fn panics() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let show = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            COUNT.fetch_add(1, Ordering::Relaxed);
            show(panic);
        }));
    });
    COUNT.load(Ordering::Relaxed)
}

/// A frame of wire v3 with that kind and these bytes behind it.
fn v3(kind: u8, rest: &[u8]) -> Vec<u8> {
    frame(&[&[kind | 3 << 6], rest].concat())
}

/// A frame of these bytes.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short frame");
    [&length.to_le_bytes(), bytes].concat()
}

#[tokio::test]
async fn garbage_datagrams_are_logged_with_their_address_and_dropped() {
    let scene = Scene::new().await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    let address = format!("address={}", socket.local_addr().expect("an address"));
    socket.send_to(b"GET / HTTP/1.1\r\n\r\n", scene.cluster.address("n1")).expect("sent");
    println!("{}", scene.log.line(&[&address, "dropped a datagram", "not a QUIC handshake"]).await);
    scene.traffic.more(20).await;
    for i in 0..2_000_u32 {
        // From one byte to more than a packet, with every first byte there is.
        let garbage = vec![i as u8; 1 + (i as usize * 7) % 1_400];
        socket.send_to(&garbage, scene.cluster.address("n1")).expect("sent");
        if i % 50 == 0 {
            scene.traffic.more(1).await;
        }
    }
    until("most of them to be counted", &scene.n1, |n1| n1.status().stray_datagrams > 1_000).await;
    let lines = scene.log.lines(&[&address]).len();
    assert!(lines <= 30, "{lines} lines for 2,000 datagrams");
    scene.ends_well().await;
}

/// The socket shows the member as `::ffff:127.0.0.1`.
#[tokio::test]
async fn late_datagrams_of_a_member_are_no_strangers_where_the_node_listens_for_both_families() {
    let (authority, log) = (DevAuthority::in_memory().expect("keys"), Log::here());
    let [member, stranger] = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    let at = |socket: &UdpSocket| socket.local_addr().expect("it is bound");
    let identity = authority.issue(&name("n1")).expect("a certificate can be made");
    let node = Node::builder(name("n1"), release("2.0"), identity).listen((Ipv6Addr::UNSPECIFIED, 0).into());
    let n1 = node.peer(name("n2"), at(&member)).start().expect("it starts");
    let to = (Ipv4Addr::LOCALHOST, n1.local_addr().expect("it listens").port());
    for socket in [&member, &stranger] {
        // The second is seen behind the first.
        socket.send_to(b"late", to).expect("sent");
    }
    let line = log.line(&["dropped a datagram", &format!("address={}", at(&stranger))]).await;
    assert!(line.contains("strays=1"), "{line}");
    assert_eq!(n1.status().stray_datagrams, 1, "the member's is not counted");
}

#[tokio::test]
async fn a_first_frame_that_is_no_hello_is_refused() {
    for (said, reason) in [
        (cast_of_witness(1), "rexi's magic"),
        (frame(b"GET / HTTP/1.1"), "rexi's magic"),
        (vec![0, 0, 0, 0], "claims 0 bytes"),
        (vec![0xff; 4], "claims 4294967295 bytes"),
        ([&encoded(&hello("n3"))[..20], &[0; 300]].concat(), "the hello is malformed"),
    ] {
        let scene = Scene::new().await;
        let stranger = scene.member();
        let said = [said, cast_of_witness(2)].concat();
        let lane = stranger.open(scene.cluster.address("n1"), "n1", &said).await;
        assert_eq!(lane.closed().await.0, u64::from(CloseCode::BadHandshake.code()));
        scene.refused(&stranger, reason).await;
        scene.ends_well().await;
    }
}

#[tokio::test]
async fn a_hello_that_is_cut_off_is_refused() {
    let scene = Scene::new().await;
    let stranger = scene.member();
    let mut lane = stranger.open(scene.cluster.address("n1"), "n1", &encoded(&hello("n3"))[..20]).await;
    lane.send.finish().expect("open until now");
    assert_eq!(lane.closed().await.0, u64::from(CloseCode::BadHandshake.code()));
    scene.refused(&stranger, "the hello did not come").await;
    scene.ends_well().await;
}

#[tokio::test]
async fn a_frame_that_is_cut_off_is_logged_and_ends_the_connection() {
    let scene = Scene::new().await;
    // The lane is finished in the middle of a frame, reset there, or lost with its connection.
    for how in ["finished", "reset", "closed"] {
        let stranger = scene.member();
        let mut lane = stranger.shake_hands(scene.cluster.address("n1"), "n1", &hello("n3")).await;
        until("n3 to be there", &scene.n1, |n1| peer(n1, "n3").presence == PeerPresence::Connected).await;
        // A complete frame before it in one packet: its answer shows that the node has read both.
        lane.say(&[&v3(50, &[]), &cast_of_witness(1)[..9]].concat()).await;
        while rexi_proto::decode(WireVersion::V3, &lane.frame().await) != Ok(Message::Unsupported(50)) {}
        match how {
            "finished" => lane.send.finish().expect("open until now"),
            "reset" => lane.send.reset(7_u32.into()).expect("open until now"),
            _ => lane.connection.close(7_u32.into(), b"gone"),
        }
        if how != "reset" {
            // A reset throws away what was not read, so there may be nothing left over.
            scene.refused(&stranger, "the lane ended in the middle of a frame").await;
        }
        let address = format!("address={}", stranger.address());
        println!("{}", scene.log.line(&[&address, "disconnected"]).await);
        until("n3 to be away", &scene.n1, |n1| peer(n1, "n3").presence == PeerPresence::Away).await;
    }
    scene.ends_well().await;
}

#[tokio::test]
async fn a_frame_that_breaks_the_format_ends_the_connection() {
    let scene = Scene::new().await;
    let cases = [
        (vec![0xff; 4], "a frame claims 4294967295 bytes, allowed are 1 to 1048576"),
        (vec![0, 0, 0, 0], "a frame claims 0 bytes"),
        (v3(Kind::Ping as u8, &[1, 0]), "a frame of kind 8 has 1 bytes after its message"),
        (v3(Kind::Ping as u8, &[0x80, 0]), "not in canonical form"),
        (frame(&[Kind::Ping as u8, 1]), "a frame that opens with 0x08 is not laid out in wire v3"),
        (v3(Kind::Cast as u8, &[1, 2, 3]), "a frame of kind 1 does not hold what that kind must"),
    ];
    for (i, (said, reason)) in cases.into_iter().enumerate() {
        let stranger = scene.member();
        let mut lane = stranger.shake_hands(scene.cluster.address("n1"), "n1", &hello("n3")).await;
        lane.say(&[said, cast_of_witness(i as u64)].concat()).await;
        let (code, told) = lane.closed().await;
        assert_eq!((code, told.contains(reason)), (u64::from(CloseCode::BadFrame.code()), true), "{told}");
        scene.refused(&stranger, reason).await;
        until("n3 to be away", &scene.n1, |n1| peer(n1, "n3").presence == PeerPresence::Away).await;
    }
    scene.ends_well().await;
}

#[tokio::test]
async fn an_unknown_frame_is_answered_and_counted_and_the_connection_stays() {
    let scene = Scene::new().await;
    let stranger = scene.member();
    let mut lane = stranger.shake_hands(scene.cluster.address("n1"), "n1", &hello("n3")).await;
    // No version's, the hello's, and one that v3 has retired.
    for kind in [50, Kind::Hello as u8, Kind::NoSuchServer as u8] {
        let said = v3(kind, &[1, 2, 3]);
        lane.say(&said).await;
        assert_eq!(rexi_proto::decode(WireVersion::V3, &lane.frame().await), Ok(Message::Unsupported(kind)));
    }
    assert_eq!(peer(&scene.n1, "n3").stats.unknown_frames, 3);
    // The connection serves on: n3 is a member, and its cast is a good one.
    lane.say(&cast_of_witness(7)).await;
    let reply = rexi_proto::decode(WireVersion::V3, &lane.frame().await).expect("a frame");
    assert!(matches!(reply, Message::Reply(_)), "{reply:?}");
    assert_eq!(scene.witness.count_without(&name("n2")), 1);
    assert_eq!(panics(), scene.panics);
    assert!(scene.traffic.stop().await >= 20);
}

#[tokio::test]
async fn an_earlier_life_of_a_member_is_refused() {
    let scene = Scene::new().await;
    let (stranger, address) = (scene.member(), scene.cluster.address("n1"));
    let later = Hello { incarnation: rexi_server::Incarnation(2), ..hello("n3") };
    let lane = stranger.shake_hands(address, "n1", &later).await;
    let earlier = scene.member();
    let refused = earlier.open(address, "n1", &[encoded(&hello("n3")), cast_of_witness(1)].concat()).await;
    assert_eq!(refused.closed().await.0, u64::from(CloseCode::NotTrusted.code()));
    scene.refused(&earlier, "is it running twice").await;
    assert_eq!(peer(&scene.n1, "n3").presence, PeerPresence::Connected);
    drop(lane);
    scene.ends_well().await;
}

/// n1 with the member n3 at the address of a socket that says what a test wants it to; nobody else calls.
async fn doors() -> (Node, tokio::net::UdpSocket, Log) {
    let cluster = Cluster::new(["n1", "n3"]);
    let (log, n1) = (Log::here(), cluster.start("n1", "2.0"));
    let of_n3 = tokio::net::UdpSocket::bind(cluster.address("n3")).await.expect("it was free a moment ago");
    of_n3.connect(n1.local_addr().expect("it is bound")).await.expect("an address");
    (n1, of_n3, log)
}

/// Waits until n1 has seen all datagrams that were sent before: one more from a stranger is counted.
async fn all_seen(n1: &Node) -> u64 {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
    let before = n1.status().stray_datagrams;
    socket.send_to(b"GET", n1.local_addr().expect("it is bound")).await.expect("sent");
    until("the stranger to be counted", n1, |n1| n1.status().stray_datagrams > before).await;
    n1.status().stray_datagrams
}

#[tokio::test(start_paused = true)]
async fn what_comes_late_from_a_member_that_has_left_is_no_strangers_for_10_s() {
    let (n1, of_n3, _log) = doors().await;
    of_n3.send(b"GET").await.expect("sent");
    assert_eq!(all_seen(&n1).await, 1, "a member is no stranger");
    n1.remove_member(&name("n3")).expect("a member");
    pass(Duration::from_millis(9_900)).await;
    of_n3.send(b"GET").await.expect("sent");
    assert_eq!(all_seen(&n1).await, 2);
    pass(Duration::from_millis(200)).await;
    of_n3.send(b"GET").await.expect("sent");
    assert_eq!(all_seen(&n1).await, 4, "it is a stranger now");
    n1.add_member(name("n3"), of_n3.local_addr().expect("it is bound")).expect("no member yet");
    of_n3.send(b"GET").await.expect("sent");
    assert_eq!(all_seen(&n1).await, 5, "and no more");
}

#[tokio::test(start_paused = true)]
async fn strangers_are_logged_once_a_second_and_all_counted() {
    let (n1, _of_n3, log) = doors().await;
    let stranger = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
    let address = format!("address={} ", stranger.local_addr().expect("it is bound"));
    let lines = || log.lines(&["dropped a datagram", &address]).len();
    let mut sent = 0;
    for (wait, expected) in [(0, 1), (900, 1), (200, 2), (0, 2), (1_100, 3)] {
        pass(Duration::from_millis(wait)).await;
        for _ in 0..3 {
            stranger.send_to(b"GET", n1.local_addr().expect("it is bound")).await.expect("sent");
        }
        sent += 3;
        until("all to be counted", &n1, |n1| n1.status().stray_datagrams == sent).await;
        assert_eq!(lines(), expected, "after {wait} ms more");
    }
}

/// The new connection's first bytes are there before the old one's end is looked at.
#[tokio::test(start_paused = true)]
async fn what_a_later_connection_has_not_read_yet_is_not_missed_at_the_end_of_an_earlier_one() {
    let cluster = Cluster::new(["n1", "n3"]);
    let (log, n1) = (Log::here(), cluster.start("n1", "2.0"));
    let first = Stranger::member(cluster.authority(), "n3");
    let lane = first.shake_hands(cluster.address("n1"), "n1", &hello("n3")).await;
    until("n3 to be there", &n1, |n1| peer(n1, "n3").presence == PeerPresence::Connected).await;
    pass(Duration::from_secs(4)).await;
    let later = Hello { incarnation: rexi_server::Incarnation(2), ..hello("n3") };
    let half = &cast_of_witness(1)[..9];
    let second = Stranger::member(cluster.authority(), "n3");
    let _second = second.open(cluster.address("n1"), "n1", &[&encoded(&later), half].concat()).await;
    assert_eq!(lane.closed().await.0, u64::from(CloseCode::Replaced.code()));
    log.line(&["disconnected", &format!("address={} ", first.address())]).await;
    assert_eq!(log.lines(&["the lane ended in the middle", &format!("address={}", first.address())]), [""; 0]);
    assert_eq!(peer(&n1, "n3").presence, PeerPresence::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_has_moved_is_no_stranger_where_it_is_and_for_10_s_where_it_was() {
    let (n1, of_n3, _log) = doors().await;
    let elsewhere = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
    elsewhere.connect(n1.local_addr().expect("it is bound")).await.expect("an address");
    let says = async |socket: &tokio::net::UdpSocket| {
        socket.send(b"GET").await.expect("sent");
        all_seen(&n1).await
    };
    assert_eq!((says(&elsewhere).await, says(&of_n3).await), (2, 3), "each with a stranger behind it");
    n1.move_member(&name("n3"), elsewhere.local_addr().expect("it is bound")).expect("a member");
    assert_eq!((says(&elsewhere).await, says(&of_n3).await), (4, 5), "neither counts");
    pass(Duration::from_millis(10_100)).await;
    assert_eq!((says(&elsewhere).await, says(&of_n3).await), (6, 8), "where it was is a stranger's now");
}

#[tokio::test]
async fn who_resets_its_lane_is_told_that_it_breaks_the_protocol() {
    let scene = Scene::new().await;
    let mut lane = scene.member().shake_hands(scene.cluster.address("n1"), "n1", &hello("n3")).await;
    until("n3 to be there", &scene.n1, |n1| peer(n1, "n3").presence == PeerPresence::Connected).await;
    lane.send.reset(7_u32.into()).expect("it is open");
    assert_eq!(
        lane.closed().await,
        (u64::from(CloseCode::ProtocolBroken.code()), "the lane was reset, or stopped".to_owned())
    );
    scene.ends_well().await;
}

#[tokio::test]
async fn who_resets_its_payloads_again_and_again_is_closed() {
    let scene = Scene::new().await;
    let lane = scene.member().shake_hands(scene.cluster.address("n1"), "n1", &hello("n3")).await;
    let reset = async || {
        let mut payload = within("its turn", lane.connection.open_uni()).await.ok()?;
        payload.write_all(b"a few bytes").await.ok()?;
        payload.reset(7_u32.into()).ok()
    };
    for _ in 0..1_000 {
        reset().await.expect("it may, so far");
    }
    // The next one is one too many, once all before it were looked at.
    while reset().await.is_some() {}
    let (code, reason) = lane.closed().await;
    assert_eq!((code, &*reason), (u64::from(CloseCode::ProtocolBroken.code()), "payloads were reset again and again"));
    scene.ends_well().await;
}
