//! What bounds a connection before it belongs to a member: how long a handshake may take, how long its hello may be,
//! how many may be half open, and that neither side takes anything else for a hello or a welcome.
//!
//! Strangers are on real sockets, on a paused clock: nothing is ever waited for that is not in the socket already, so
//! time moves only where both sides wait.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use quinn::{Connection, ConnectionError};
use rexi_proto::{CloseCode, HELLO_BYTES_MAX, Hello};
use rexi_server::testing::TestCluster;
use rexi_server::{Node, PeerPresence};
use rexi_tests::{
    ALPN, Cluster, Forge, Impostor, Lane, Log, Stranger, cast_of_witness, encoded, functions, hello, hello_of, name,
    pass, peer, release, unhurried, until, within,
};
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// n1, and its member n3 that a test plays.
struct Scene {
    cluster: Cluster,
    n1: Node,
    log: Log,
}

impl Scene {
    fn of(number: &str) -> Self {
        let cluster = Cluster::new(["n1", "n3"]);
        let (log, n1) = (Log::here(), cluster.start("n1", number));
        Self { cluster, n1, log }
    }

    fn stranger(&self) -> Stranger {
        Stranger::member(self.cluster.authority(), "n3")
    }

    async fn says(&self, bytes: &[u8]) -> Lane {
        self.stranger().open(self.cluster.address("n1"), "n1", bytes).await
    }

    /// n3 is taken in as any member is.
    async fn serves_on(&self) {
        let _lane = self.stranger().shake_hands(self.cluster.address("n1"), "n1", &hello("n3")).await;
        until("n3 to be there", &self.n1, |n1| peer(n1, "n3").presence == PeerPresence::Connected).await;
    }
}

fn code(code: CloseCode) -> u64 {
    u64::from(code.code())
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_in_the_middle_of_a_handshake_is_closed_after_3_s() {
    let hello = encoded(&hello("n3"));
    // Before the hello, partway through it, and a byte before its end.
    for said in [0, 20, hello.len() - 1] {
        let scene = Scene::of("2.0");
        let began = Instant::now();
        let lane = scene.says(&hello[..said]).await;
        let (closed, reason) = lane.closed().await;
        assert_eq!((closed, &*reason), (code(CloseCode::BadHandshake), "no handshake within 3s"), "{said} bytes");
        let took = began.elapsed().as_millis();
        assert!((2_990..3_050).contains(&took), "{took} ms with {said} bytes");
        scene.serves_on().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_is_whole_just_before_3_s_is_taken() {
    let (scene, hello) = (Scene::of("2.0"), encoded(&hello("n3")));
    let mut lane = scene.says(&hello[..20]).await;
    pass(Duration::from_millis(2_900)).await;
    lane.say(&hello[20..]).await;
    assert_eq!(Hello::decode(&lane.frame().await).expect("a hello").node, name("n1"));
    assert_eq!(lane.frame().await, [0], "the welcome");
    pass(Duration::from_secs(5)).await;
    assert_eq!(peer(&scene.n1, "n3").presence, PeerPresence::Connected, "the limit is the handshake's alone");
}

/// TLS takes one way there and back, and so do the hellos behind it.
#[tokio::test(start_paused = true)]
async fn who_dials_gives_tls_3_s_and_the_hellos_3_s_more() {
    for (delay, connects) in [(1_480, true), (1_520, false)] {
        let cluster = TestCluster::new(["n1", "n2"]);
        cluster.define_all(functions);
        cluster.slow("n1", "n2", Duration::from_millis(delay));
        cluster.start_all(&release("2.0")).expect("all start");
        let n2 = cluster.node("n2");
        pass(Duration::from_secs(30)).await;
        // n1 welcomes, so that n2 is the last to know.
        assert_eq!(peer(&n2, "n1").presence == PeerPresence::Connected, connects, "{delay} ms each way");
        if !connects {
            let said = peer(&n2, "n1").last_error.expect("it has tried");
            assert!(said.contains("no handshake within 3s"), "{delay} ms: {said}");
        }
        cluster.heal("n1", "n2");
        within("both to be ready", cluster.ready()).await;
    }
}

/// Passes on what comes: the first datagram of a client to a node at once, later ones after this delay, and all of the
/// node's to the client.
async fn relay(to: SocketAddr, delay: Duration) -> SocketAddr {
    let socket = async || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
    let (of_client, of_node) = (socket().await, socket().await);
    let address = of_client.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (mut client, mut held, mut first, until) = (None, Vec::new(), true, Instant::now() + delay);
        let (mut out, mut back) = ([0; 2_000], [0; 2_000]);
        loop {
            tokio::select! {
                came = of_client.recv_from(&mut out) => {
                    let (length, from) = came.expect("it is open");
                    client = Some(from);
                    if std::mem::take(&mut first) || Instant::now() >= until {
                        of_node.send_to(&out[..length], to).await.expect("sent");
                    } else {
                        held.push(out[..length].to_vec());
                    }
                }
                came = of_node.recv_from(&mut back) => {
                    let (length, _) = came.expect("it is open");
                    of_client.send_to(&back[..length], client.expect("it asked")).await.expect("sent");
                }
                () = tokio::time::sleep_until(until), if !held.is_empty() => {
                    for datagram in held.drain(..) {
                        of_node.send_to(&datagram, to).await.expect("sent");
                    }
                }
            }
        }
    });
    address
}

#[tokio::test(start_paused = true)]
async fn who_takes_long_for_tls_has_only_the_rest_of_3_s_for_its_hello() {
    let scene = Scene::of("2.0");
    let through = relay(scene.cluster.address("n1"), Duration::from_secs(2)).await;
    let began = Instant::now();
    let connection = scene.stranger().connect(through, "n1").await.expect("TLS succeeds");
    let closed = within("the close", connection.closed()).await;
    assert!(closed.to_string().contains("no handshake within 3s"), "{closed}");
    let took = began.elapsed().as_millis();
    assert!((2_990..3_050).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_has_a_second_to_read_why_and_may_go_before() {
    let of_old = hello_of("n3", &release("1.0"));
    let scene = Scene::of("2.0");
    for stays in [true, false] {
        let (stranger, began) = (scene.stranger(), Instant::now());
        let mut lane = stranger.open(scene.cluster.address("n1"), "n1", &encoded(&of_old)).await;
        assert_eq!(Hello::decode(&lane.frame().await).expect("the hello, so that it knows why").node, name("n1"));
        if stays {
            let (closed, reason) = lane.closed().await;
            assert!(closed == code(CloseCode::Refused) && reason.contains("more than one release apart"), "{reason}");
        } else {
            lane.connection.close(7_u32.into(), b"understood");
        }
        scene.log.line(&["refused a connection", &format!("address={}", stranger.address())]).await;
        let took = began.elapsed().as_millis();
        let expected = if stays { 990..1_050 } else { 0..50 };
        assert!(expected.contains(&took), "{took} ms");
    }
    scene.serves_on().await;
}

/// The hello of n3 made longer, up to that many bytes with its kind, by an extension that nobody knows.
fn padded(bytes: usize) -> Vec<u8> {
    let hello = encoded(&hello("n3"));
    // Without the length before it, and the empty list of extensions at its end.
    let mut frame = hello[4..hello.len() - 1].to_vec();
    // One extension: its number, the varint of its length in three bytes, and this many bytes.
    let padding = bytes - frame.len() - 1 - 2 - 3;
    let varint = [padding as u8 | 0x80, (padding >> 7) as u8 | 0x80, (padding >> 14) as u8];
    frame.extend([1, 0xff, 0x01].into_iter().chain(varint));
    frame.resize(bytes, 7);
    let length = u32::try_from(bytes).expect("it is short");
    [&length.to_le_bytes()[..], &frame].concat()
}

#[tokio::test(start_paused = true)]
async fn a_hello_of_64_kib_is_taken_and_one_byte_more_is_refused_by_its_length() {
    let most = HELLO_BYTES_MAX as usize;
    let scene = Scene::of("2.0");
    let mut lane = scene.says(&padded(most)).await;
    assert_eq!(Hello::decode(&lane.frame().await).expect("a hello").node, name("n1"));
    assert_eq!(lane.frame().await, [0], "the welcome");
    lane.connection.close(7_u32.into(), b"enough");
    // Its length alone: nothing waits for the rest.
    let lane = scene.says(&padded(most + 1)[..4]).await;
    let (closed, reason) = lane.closed().await;
    assert_eq!(closed, code(CloseCode::BadHandshake));
    assert!(reason.contains("claims 65537 bytes, allowed are 1 to 65536"), "{reason}");
    scene.serves_on().await;
}

/// Half-open connections to n1, made by a member that says no hello.
async fn half_open(stranger: &Stranger, to: SocketAddr, number: usize) -> Vec<Connection> {
    let mut open = Vec::new();
    for _ in 0..number {
        open.push(stranger.connect(to, "n1").await.expect("TLS succeeds"));
    }
    open
}

/// What the first answer to a datagram that asks for a connection is.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It goes on with the handshake.
    GoesOn,
    /// Show first that you receive at your address.
    Retry,
}

/// Asks for a connection from an address that has not shown anything, and never goes on.
async fn ask(stranger: &Stranger, to: SocketAddr) -> Answer {
    let socket = async || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
    let (caught, asking) = (socket().await, socket().await);
    // A first datagram as quinn makes it, said again from elsewhere.
    let trap = caught.local_addr().expect("it is bound");
    let _connecting = stranger.dial(trap, "n1");
    let mut bytes = [0; 2_000];
    let (length, _) = within("a first datagram", caught.recv_from(&mut bytes)).await.expect("it is open");
    asking.send_to(&bytes[..length], to).await.expect("sent");
    within("an answer", asking.recv_from(&mut bytes)).await.expect("it is open");
    // RFC 9000 §17.2: the type of a long header.
    match (bytes[0] & 0x30) >> 4 {
        0 => Answer::GoesOn,
        3 => Answer::Retry,
        other => panic!("a packet of type {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn from_64_half_open_connections_on_a_new_one_shows_its_address_and_beyond_256_it_is_refused() {
    let scene = Scene::of("2.0");
    let (stranger, to) = (scene.stranger(), scene.cluster.address("n1"));
    let began = Instant::now();
    let full = unhurried(async {
        let mut open = half_open(&stranger, to, 63).await;
        // This makes 64.
        assert_eq!(ask(&stranger, to).await, Answer::GoesOn);
        assert_eq!(ask(&stranger, to).await, Answer::Retry);
        // Those that show their address are taken further on: half of all from one address.
        let elsewhere = Stranger::member_from(Ipv4Addr::new(127, 0, 0, 2), scene.cluster.authority(), "n3");
        open.extend(half_open(&stranger, to, 128 - 64).await);
        let refused = stranger.connect(to, "n1").await.expect_err("there are 128 of this address");
        assert!(matches!(refused, ConnectionError::ConnectionClosed(_)), "{refused}");
        open.extend(half_open(&elsewhere, to, 128).await);
        let refused = elsewhere.connect(to, "n1").await.expect_err("there are 256");
        assert!(matches!(refused, ConnectionError::ConnectionClosed(_)), "{refused}");
        assert!(began.elapsed() < Duration::from_secs(2), "none was given up meanwhile: {:?}", began.elapsed());
        // One that ends makes room.
        open.pop().expect("there are some").close(7_u32.into(), b"enough");
        while elsewhere.connect(to, "n1").await.is_err() {
            pass(Duration::from_millis(1)).await;
            assert!(began.elapsed() < Duration::from_secs(2), "there is no room for one");
        }
        (open, elsewhere)
    });
    let _open = full.await;
    pass(Duration::from_secs(4)).await;
    assert_eq!(ask(&stranger, to).await, Answer::GoesOn, "all were given up");
    scene.serves_on().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_gets_in_while_strangers_hold_every_place() {
    let scene = Scene::of("2.0");
    let (to, authority) = (scene.cluster.address("n1"), scene.cluster.authority());
    let sources = [1, 2, 3].map(|last| Stranger::member_from(Ipv4Addr::new(127, 0, 0, last), authority, "n3"));
    let mut open = Vec::new();
    unhurried(async {
        for source in &sources[..2] {
            open.extend(half_open(source, to, 128).await);
        }
        sources[2].connect(to, "n1").await.expect_err("every place is taken");
        let n3 = scene.cluster.start("n3", "2.0");
        within("n3 to be ready", n3.ready()).await;
    })
    .await;
    assert!(open.iter().all(|connection| connection.close_reason().is_none()), "and the strangers are there still");
}

#[tokio::test(start_paused = true)]
async fn only_a_welcome_is_taken_for_one() {
    // n0 sorts first, so it is n0 that welcomes, whichever node dials.
    let cluster = Cluster::new(["n0", "n1"]);
    let (log, n1) = (Log::here(), cluster.start("n1", "2.0"));
    let of_kind = |kind: u8| [1, 0, 0, 0, kind].to_vec();
    for (said, taken) in [
        (of_kind(1), false),
        (vec![2, 0, 0, 0, 0, 0], false),
        (vec![0; 5], false),
        (cast_of_witness(1), false),
        (of_kind(0), true),
    ] {
        let stranger = Stranger::member(cluster.authority(), "n0");
        let bytes = [encoded(&hello("n0")), said.clone()].concat();
        let lane = stranger.open(cluster.address("n1"), "n1", &bytes).await;
        if taken {
            until("n0 to be there", &n1, |n1| peer(n1, "n0").presence == PeerPresence::Connected).await;
        } else {
            let (closed, reason) = lane.closed().await;
            assert_eq!(closed, code(CloseCode::BadHandshake), "{said:?}: {reason}");
            let address = format!("address={}", stranger.address());
            log.line(&["refused a connection", &address, "something else came where the welcome should"]).await;
            assert_ne!(peer(&n1, "n0").presence, PeerPresence::Connected, "{said:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_put_to_use_before_the_welcome() {
    let cluster = Cluster::new(["n0", "n1"]);
    let n1 = cluster.start("n1", "2.0");
    let mut lane =
        Stranger::member(cluster.authority(), "n0").open(cluster.address("n1"), "n1", &encoded(&hello("n0"))).await;
    assert_eq!(Hello::decode(&lane.frame().await).expect("a hello").node, name("n1"));
    pass(Duration::from_millis(2_900)).await;
    assert_ne!(peer(&n1, "n0").presence, PeerPresence::Connected);
    lane.say(&[1, 0, 0, 0, 0]).await;
    until("n0 to be there", &n1, |n1| peer(n1, "n0").presence == PeerPresence::Connected).await;
}

/// Who lists another name gets no word of the node: not its release, its phase, nor who else is a member.
#[tokio::test(start_paused = true)]
async fn nothing_is_said_to_who_claims_a_name_that_its_certificate_does_not_list() {
    let (cluster, believed) = (Cluster::new(["n1", "n3"]), Forge::new("authority"));
    let build = cluster.builder_as(believed.identity("n1"), "n1", release("2.0"));
    let _n1 = build.start().expect("it starts");
    for (shown, heard) in [("n2", None), ("n3", Some("n1"))] {
        let stranger = Stranger::showing(Some(&believed.sound(shown)), ALPN);
        let mut lane = stranger.open(cluster.address("n1"), "n1", &encoded(&hello("n3"))).await;
        let Some(of) = heard else {
            let read = within("the end", lane.recv.read_to_end(1 << 20)).await;
            assert!(read.is_err() || read.is_ok_and(|bytes| bytes.is_empty()), "it was told something");
            assert_eq!(lane.closed().await.0, code(CloseCode::NotTrusted));
            continue;
        };
        assert_eq!(Hello::decode(&lane.frame().await).expect("a hello").node, name(of));
    }
}

/// The node that dials speaks first, so it says its hello to any peer that TLS takes for the member; nothing else.
#[tokio::test(start_paused = true)]
async fn a_dialer_says_its_hello_and_nothing_else_before_the_others() {
    let (cluster, believed) = (Cluster::new(["n1"]), Forge::new("authority"));
    let silent = Impostor::listen(&believed.sound("n3"), Vec::new());
    let build = cluster.builder_as(believed.identity("n1"), "n1", release("2.0")).peer(name("n3"), silent.address());
    let n1 = build.start().expect("it starts");
    let began = Instant::now();
    let call = n1.cast(&name("n3"), rexi_server::Request::new("witness", "")).expect("a member");
    until("n1 to give it up", &n1, |n1| peer(n1, "n3").last_error.is_some()).await;
    let took = began.elapsed().as_millis();
    assert!((2_990..3_050).contains(&took), "{took} ms");
    let heard = silent.heard();
    let length = u32::from_le_bytes(heard[..4].try_into().expect("a length")) as usize;
    let rest = heard[4 + length..].chunks(4 + length);
    assert_eq!(Hello::decode(&heard[4..4 + length]).expect("a hello").node, name("n1"));
    assert!(rest.into_iter().all(|again| again == &heard[..again.len()]), "hellos alone");
    drop(call);
}

/// What has happened between the hellos and the welcome: a later life has come, or the member was let go.
#[tokio::test(start_paused = true)]
async fn a_welcome_that_comes_too_late_for_its_life_or_its_member_puts_nothing_to_use() {
    for removed in [false, true] {
        let cluster = Cluster::new(["n0", "n1"]);
        let n1 = cluster.start("n1", "2.0");
        let welcome = [1, 0, 0, 0, 0];
        let dial = async |life: u64| {
            let hello = Hello { incarnation: rexi_server::Incarnation(life), ..hello("n0") };
            let stranger = Stranger::member(cluster.authority(), "n0");
            let mut lane = stranger.open(cluster.address("n1"), "n1", &encoded(&hello)).await;
            assert_eq!(Hello::decode(&lane.frame().await).expect("a hello").node, name("n1"));
            lane
        };
        let mut early = dial(1).await;
        let mut later = None;
        if removed {
            n1.remove_member(&name("n0")).expect("a member");
        } else {
            let mut lane = dial(2).await;
            lane.say(&welcome).await;
            until("n0 to be there", &n1, |n1| peer(n1, "n0").presence == PeerPresence::Connected).await;
            later = Some(lane);
        }
        early.say(&welcome).await;
        let (closed, reason) = early.closed().await;
        let expected = match removed {
            true => (code(CloseCode::NotTrusted), "it is no longer a member of this cluster"),
            false => (code(CloseCode::Replaced), "a later start of this node has said hello"),
        };
        assert_eq!((closed, &*reason), expected);
        if !removed {
            assert_eq!(peer(&n1, "n0").incarnation, Some(rexi_server::Incarnation(2)));
            assert_eq!(peer(&n1, "n0").presence, PeerPresence::Connected);
        }
        drop(later);
    }
}
