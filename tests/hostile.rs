//! Peers and strangers that mean harm, each by a script: what they make a node log, and what they cost a good peer.
//!
//! What can be counted is asserted. Times are printed, beside a control without the attack, by
//! `cargo test --release -p rexi-tests --test behaviour -- --ignored hostile --nocapture --test-threads 1`.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rexi_proto::{Body, CallRef, Cast, CloseCode, Hello, Incarnation, Message, ServerAddress};
use rexi_server::admin::AdminPort;
use rexi_server::{Bytes, Function, Node, PeerPresence, Request, typed};
use rexi_tests::{Cluster, Lane, Log, Stranger, frame_of, get, hello, name, pass, peer, release, until, within};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A node, its good peer, and a member whose key somebody else has. Names are this file's own, for its lines of log.
struct Scene {
    cluster: Cluster,
    node: Node,
    good: Node,
    log: Log,
}

impl Scene {
    async fn new() -> Self {
        let (log, cluster) = (Log::here(), Cluster::new(["h1", "h2", "h3"]));
        let (node, good) = (cluster.start("h1", "2.0"), cluster.start("h2", "2.0"));
        until("the two to meet", &good, |good| peer(good, "h1").presence == PeerPresence::Connected).await;
        Self { cluster, node, good, log }
    }

    fn address(&self) -> SocketAddr {
        self.cluster.address("h1")
    }

    fn stranger(&self) -> Stranger {
        Stranger::member(self.cluster.authority(), "h3")
    }

    /// The hostile member, connected as any member is.
    async fn member(&self) -> Lane {
        let lane = self.stranger().shake_hands(self.address(), "h1", &hello("h3")).await;
        until("h3 to be there", &self.node, |node| peer(node, "h3").presence == PeerPresence::Connected).await;
        lane
    }

    /// Bytes that the node has logged since the start, as an operator has them: no debug lines.
    fn logged(&self) -> usize {
        let of_h1 = |line: &&String| line.contains("h1") || line.contains("h3");
        let lines = self.log.lines(&[]).into_iter();
        lines.filter(|line| !line.starts_with("DEBUG")).filter(|line| of_h1(&line)).map(|line| line.len() + 30).sum()
    }

    /// That the good peer is served.
    async fn serves(&self) {
        let echo = within("an echo", self.good.call(&name("h1"), Request::new("echo", "hello"))).await;
        assert_eq!(echo, Ok(Bytes::from_static(b"hello")));
    }

    /// The median and the 99th percentile of this many calls of the good peer.
    async fn latency(&self, calls: usize) -> (Duration, Duration) {
        let mut took = Vec::with_capacity(calls);
        for _ in 0..calls {
            let began = Instant::now();
            self.serves().await;
            took.push(began.elapsed());
            pass(Duration::from_millis(1)).await;
        }
        took.sort_unstable();
        (took[calls / 2], took[calls * 99 / 100])
    }

    /// What the good peer's calls take without an attack, and with it, three times in turns: medians of percentiles.
    async fn beside(&self, what: &str, attack: impl Fn(Arc<AtomicBool>) -> JoinHandle<()>) {
        let (mut control, mut attacked) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            control.push(self.latency(CALLS).await);
            let on = Arc::new(AtomicBool::new(true));
            let attacking = attack(Arc::clone(&on));
            attacked.push(self.latency(CALLS).await);
            on.store(false, Ordering::Relaxed);
            within("the attack's end", attacking).await.expect("no panic");
        }
        let median = |of: &[(Duration, Duration)], which: fn(&(Duration, Duration)) -> Duration| {
            let mut all: Vec<Duration> = of.iter().map(which).collect();
            all.sort_unstable();
            all[1]
        };
        for (which, of) in [("p50", (|took| took.0) as fn(&(Duration, Duration)) -> Duration), ("p99", |took| took.1)] {
            let (beside, alone) = (median(&attacked, of), median(&control, of));
            let ratio = beside.as_secs_f64() / alone.as_secs_f64();
            let all: Vec<Duration> = attacked.iter().map(of).collect();
            println!("{what}: a good peer's {which} {beside:?} beside {alone:?} ({ratio:.2} times); {all:?}");
        }
    }
}

/// Calls whose times are taken at once. An attack comes twice a second: of some seconds of calls enough meet it that
/// their 99th percentile is not that of a few.
const CALLS: usize = 4_000;

/// That a node logs no more than a tenth of what it was sent, and some of it.
fn assert_quiet(scene: &Scene, what: &str, sent: usize, before: usize) {
    let logged = scene.logged() - before;
    println!("{what}: {logged} bytes of log for {sent} bytes sent, {:.4} each", logged as f64 / sent as f64);
    assert!(logged > 0 && logged * 10 <= sent, "{what}: {logged} bytes of log for {sent} bytes sent");
}

#[tokio::test]
async fn strangers_without_the_protocol_make_a_node_log_little() {
    let scene = Scene::new().await;
    let before = scene.logged();
    let mut sent = 0;
    for _ in 0..20 {
        let stranger = Stranger::showing(None, b"another-protocol");
        for _ in 0..20 {
            let refused = stranger.connect(scene.address(), "h1").await;
            assert!(refused.is_err(), "it does not speak the protocol");
            // Two datagrams of the first flight, at least.
            sent += 2 * 1_200;
        }
    }
    assert_quiet(&scene, "a wrong protocol", sent, before);
    scene.serves().await;
}

#[tokio::test]
async fn a_members_frames_make_a_node_log_little() {
    let cast = |number: u64, function: &'static str, body: Bytes| {
        let body = Body::Inline(body);
        let call = CallRef(number);
        let cast = Cast { call, function: function.into(), time_left: None, nonce: 0, trace: None, body };
        frame_of(&Message::Cast(ServerAddress::PerNode, cast))
    };
    let why = Bytes::from(vec![b'x'; 4_096]);
    let frame = |what: &str, number: u64| match what {
        "words that it leaves" => frame_of(&Message::Draining),
        "frames called unsupported" => frame_of(&Message::Unsupported(9)),
        _ => cast(number, "fail", why.clone()),
    };
    for what in ["words that it leaves", "frames called unsupported", "jobs that fail"] {
        let scene = Scene::new().await;
        let mut lane = scene.member().await;
        let before = scene.logged();
        let (mut sent, mut number) = (0, 0);
        while sent < 200_000 {
            let frames: Vec<u8> = (0..20).flat_map(|at| frame(what, number + at)).collect();
            number += 20;
            sent += frames.len();
            lane.say(&frames).await;
        }
        lane.say(&cast(u64::MAX, "echo", Bytes::from_static(b"the last"))).await;
        // What it asked is answered in order, so the last answer comes behind all others.
        loop {
            match lane.message().await {
                Message::Reply(reply) if reply.call == CallRef(u64::MAX) => break,
                _ => {}
            }
        }
        assert_quiet(&scene, what, sent, before);
        scene.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures times; run it by itself, in a release build"]
async fn hostile_a_true_node_gets_in_beside_2_500_half_open_dials_a_second() {
    let scene = Scene::new().await;
    let (to, mut times) = (scene.address(), Vec::new());
    // First datagrams as quinn makes them, each with its own connection id, said again and again from elsewhere.
    let trap = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    trap.set_read_timeout(Some(Duration::from_secs(1))).expect("a time");
    let caught: Vec<Vec<u8>> = (0..500)
        .map(|_| {
            let stranger = scene.stranger();
            let _connecting = stranger.dial(trap.local_addr().expect("it is bound"), "h1");
            let mut bytes = vec![0; 2_000];
            let length = tokio::task::block_in_place(|| trap.recv(&mut bytes).unwrap_or_default());
            bytes.truncate(length);
            bytes
        })
        .filter(|bytes| bytes.len() >= 1_200)
        .collect();
    assert!(caught.len() > 100, "{} first datagrams", caught.len());
    let (on, dialed) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let flood = {
        let (on, dialed) = (Arc::clone(&on), Arc::clone(&dialed));
        tokio::spawn(async move {
            let sockets: Vec<_> = (0..8).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")).collect();
            let began = Instant::now();
            while on.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_secs_f64() * 2_500.0) as u64;
                while dialed.load(Ordering::Relaxed) < due {
                    let number = dialed.fetch_add(1, Ordering::Relaxed) as usize;
                    let _ = sockets[number % 8].send_to(&caught[number % caught.len()], to);
                }
                pass(Duration::from_millis(2)).await;
            }
            began.elapsed()
        })
    };
    pass(Duration::from_secs(1)).await;
    for _ in 0..10 {
        // Its socket is free once its last close was sent, which is not what is measured.
        let h3 = rexi_tests::start_again(|| scene.cluster.builder("h3", release("2.0"))).await;
        let began = Instant::now();
        until("h3 to get in", &h3, |h3| peer(h3, "h1").presence == PeerPresence::Connected).await;
        times.push(began.elapsed());
        within("h3 to leave", h3.shutdown(Duration::from_secs(1))).await;
    }
    on.store(false, Ordering::Relaxed);
    let took = within("the flood's end", flood).await.expect("no panic");
    times.sort_unstable();
    let rate = dialed.load(Ordering::Relaxed) as f64 / took.as_secs_f64();
    println!("{rate:.0} half-open dials/s: a true node got in within {:?} (median {:?})", times[9], times[5]);
    scene.serves().await;
}

#[tokio::test]
#[ignore = "measures times; run it by itself, in a release build"]
async fn hostile_livez_answers_beside_2_000_idle_connections() {
    let scene = Scene::new().await;
    let port = AdminPort::open(&scene.node, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await;
    let port = port.expect("a free port").local_addr();
    let mut idle = Vec::new();
    let mut times = Vec::new();
    for round in 0..40 {
        for _ in 0..50 {
            idle.push(tokio::net::TcpStream::connect(port).await.expect("it listens"));
        }
        let began = Instant::now();
        assert_eq!(get(port, "/livez").await.0, 200, "round {round}");
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!("/livez beside up to {} idle connections: longest {:?}, median {:?}", idle.len(), times[39], times[20]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures times; run it by itself, in a release build"]
async fn hostile_what_large_payloads_cost_a_good_peer() {
    rexi_server::function! {
        /// Rows as a service has them.
        Rows = "rows" (Vec<(u32, String)>) -> u32, error String, since 1.0;
        /// As many bytes in one run, which take no time to decode.
        Size = "size" (Bytes) -> u32, error String, since 1.0;
    }
    let (log, cluster) = (Log::here(), Cluster::new(["h1", "h2", "h3"]));
    let rows = |node: rexi_server::NodeBuilder| {
        // A value of a million parts takes milliseconds to drop, too: a service does that where it holds nobody up.
        let count = |_, rows: Vec<(u32, String)>| async move {
            let count = tokio::task::spawn_blocking(move || rows.len()).await;
            count.map(|count| count as u32).map_err(|error| error.to_string())
        };
        node.serve(Rows, count).serve(Size, |_, run: Bytes| async move { Ok::<_, String>(run.len() as u32) })
    };
    let node = cluster.builder("h1", release("2.0"));
    let node = rows(node).start().expect("it starts");
    let good = cluster.start("h2", "2.0");
    // On a runtime of its own, and as if on a machine of its own.
    let mut apart = tokio::runtime::Builder::new_multi_thread();
    let apart = apart.worker_threads(1).on_thread_start(step_back).enable_all().build().expect("a runtime");
    let bad = {
        let _inside = apart.enter();
        cluster.start("h3", "2.0")
    };
    for of in [&good, &bad] {
        until("all to meet", of, |of| peer(of, "h1").presence == PeerPresence::Connected).await;
    }
    let scene = Scene { cluster, node, good, log };
    let sparse: Vec<(u32, String)> = vec![(0, String::new()); 1_300_000];
    println!("{} bytes a payload", typed::encode(&sparse).expect("it is let out").len());
    let sparse = Arc::new(sparse);
    scene
        .beside("two payloads of 2.6 MB a second, decoded", |on| {
            apart.spawn(ask_twice_a_second(bad.clone(), Rows, Arc::clone(&sparse), on))
        })
        .await;
    let run = Arc::new(Bytes::from(vec![0; 2_600_000]));
    scene
        .beside("two payloads of 2.6 MB a second, of one part each", |on| {
            apart.spawn(ask_twice_a_second(bad.clone(), Size, Arc::clone(&run), on))
        })
        .await;
    within("h3 to leave", bad.shutdown(Duration::from_secs(1))).await;
    apart.shutdown_background();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures times; run it by itself, in a release build"]
async fn hostile_what_many_jobs_cost_a_good_peer() {
    let scene = Scene::new().await;
    scene
        .beside("20,000 jobs begun and killed at once, again and again", |on| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let (stranger, address) = {
                let _inside = runtime.enter();
                (scene.stranger(), scene.address())
            };
            // A later start than that of the attack before.
            let since = SystemTime::UNIX_EPOCH.elapsed().expect("it is later than 1970");
            let said = Hello { incarnation: Incarnation(since.as_micros() as u64), ..hello("h3") };
            let attack = move || {
                runtime.block_on(async {
                    let mut lane = stranger.shake_hands(address, "h1", &said).await;
                    let mut next = 0;
                    while on.load(Ordering::Relaxed) {
                        let calls = next..next + 20_000;
                        next = calls.end;
                        let casts: Vec<u8> = calls.clone().flat_map(forever).collect();
                        let kill = Message::KillAll(ServerAddress::PerNode, calls.map(CallRef).collect());
                        lane.say(&casts).await;
                        pass(Duration::from_millis(300)).await;
                        lane.say(&frame_of(&kill)).await;
                        pass(Duration::from_millis(300)).await;
                    }
                });
            };
            let attacking = std::thread::spawn(move || {
                step_back();
                attack();
            });
            tokio::spawn(async move {
                while !attacking.is_finished() {
                    pass(Duration::from_millis(5)).await;
                }
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures times; run it by itself, in a release build"]
async fn hostile_what_the_end_of_100_000_jobs_costs_a_good_peer() {
    const JOBS: u64 = 100_000;
    let scene = Scene::new().await;
    let casts: Vec<u8> = (0..JOBS).flat_map(forever).collect();
    let kill = frame_of(&Message::KillAll(ServerAddress::PerNode, (0..JOBS).map(CallRef).collect()));
    for what in ["one frame kills them", "their caller leaves"] {
        let mut longest = Vec::new();
        for _ in 0..3 {
            let mut lane = scene.member().await;
            lane.say(&casts).await;
            until("all jobs to run", &scene.node, |node| node.status().jobs as u64 == JOBS).await;
            let ended = async {
                match what {
                    "one frame kills them" => lane.say(&kill).await,
                    _ => lane.connection.close(CloseCode::Shutdown.code().into(), b"bye"),
                }
                until("all jobs to end", &scene.node, |node| node.status().jobs == 0).await;
            };
            let on = AtomicBool::new(true);
            let good = async {
                let mut longest = Duration::ZERO;
                while on.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    scene.serves().await;
                    longest = longest.max(began.elapsed());
                }
                longest
            };
            let began = Instant::now();
            let ended = async {
                ended.await;
                let ended = began.elapsed();
                // Their workers are dropped behind that.
                pass(Duration::from_millis(500)).await;
                on.store(false, Ordering::Relaxed);
                ended
            };
            longest.push(tokio::join!(good, ended));
            lane.connection.close(CloseCode::Shutdown.code().into(), b"bye");
            until("h3 to be gone", &scene.node, |node| peer(node, "h3").presence != PeerPresence::Connected).await;
        }
        println!("100,000 jobs, {what}: a good peer's longest call, and until all had ended: {longest:?}");
    }
}

/// Asks again and again, half a second after each answer.
async fn ask_twice_a_second<F: Function>(bad: Node, function: F, argument: Arc<F::Argument>, on: Arc<AtomicBool>) {
    while on.load(Ordering::Relaxed) {
        let _ = bad.ask(function, &name("h1"), &*argument).await;
        pass(Duration::from_millis(500)).await;
    }
}

/// Lets the attacker's thread wait for all others: what an attacker does itself, it does on a machine of its own.
fn step_back() {
    #[cfg(target_os = "linux")]
    rustix::process::setpriority_process(None, 19).expect("anyone may");
}

/// A cast of a job that does not end by itself.
fn forever(number: u64) -> Vec<u8> {
    let call = CallRef(number);
    let body = Body::Inline(Bytes::new());
    let cast = Cast { call, function: "forever".into(), time_left: None, nonce: 0, trace: None, body };
    frame_of(&Message::Cast(ServerAddress::PerNode, cast))
}

/// Bytes of memory that this process holds.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells it");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages") * 4_096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures memory; run it by itself, in a release build"]
async fn hostile_what_answers_cost_that_are_not_read() {
    let scene = Scene::new().await;
    let calls: Vec<CallRef> = (0..149_000).map(|number| CallRef((1 << 42) + number)).collect();
    let resume = frame_of(&Message::Resume(ServerAddress::PerNode, calls));
    println!("{} bytes a frame", resume.len());
    let lane = scene.member().await;
    let mut send = lane.send;
    let before = resident();
    let (on, most) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let watch = {
        let (on, most) = (Arc::clone(&on), Arc::clone(&most));
        tokio::spawn(async move {
            while on.load(Ordering::Relaxed) {
                most.fetch_max(resident() as u64, Ordering::Relaxed);
                pass(Duration::from_millis(1)).await;
            }
        })
    };
    let mut written = 0;
    for _ in 0..50 {
        match tokio::time::timeout(Duration::from_secs(15), send.write_all(&resume)).await {
            Ok(Ok(())) => written += 1,
            _ => break,
        }
    }
    scene.serves().await;
    on.store(false, Ordering::Relaxed);
    watch.await.expect("no panic");
    let closed = lane.connection.close_reason();
    let most = most.load(Ordering::Relaxed) as usize;
    println!("{written} frames taken; +{} KiB at most; then {closed:?}", most.saturating_sub(before) >> 10);
}
