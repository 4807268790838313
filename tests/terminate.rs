//! A process that is asked to end: its node drains over real sockets, and systemd is told how it fares.
//!
//! The node under test runs in a process of its own, which is the ignored test `child_that_serves` of this file; it is
//! killed when its test ends, however that happens.

#![cfg(unix)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use rexi_server::{Bytes, CallError, ExitReason, Identity, Node, Request};
use rexi_tests::{Cluster, functions, name, pass, peer, release, until, within};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What the child is told by its environment.
const DIR: &str = "REXI_TEST_DIR";
const LISTEN: &str = "REXI_TEST_LISTEN";
const PEER: &str = "REXI_TEST_PEER";

/// Runs as n2 in a process of its own until it is asked to end.
#[tokio::test]
#[ignore = "run as a process of its own by the other tests of this file"]
async fn child_that_serves() {
    let variable = |name: &str| std::env::var(name).expect("the parent sets it");
    let address = |name: &str| variable(name).parse::<SocketAddr>().expect("the parent sets an address");
    let file = |part: &str| PathBuf::from(variable(DIR)).join(part);
    let identity =
        Identity::from_pem_files(file("ca"), file("cert"), file("key")).expect("the parent has written them");
    let node = functions(Node::builder(name("n2"), release("2.0"), identity))
        .listen(address(LISTEN))
        .peer(name("n1"), address(PEER))
        .function("long", |_, argument: Bytes| async move {
            pass(Duration::from_millis(300)).await;
            Ok::<_, String>(argument)
        })
        .function("block", |_, _| async {
            // The only thread of the runtime.
            let (_sender, receiver) = mpsc::channel::<()>();
            assert!(receiver.recv_timeout(BLOCKED).is_err());
            Ok::<_, String>(Bytes::new())
        })
        .start()
        .expect("it is described well");
    node.notify_systemd();
    let ended = node.run_until_terminated(Duration::from_secs(20)).await.expect("signals can be heard").jobs;
    println!("jobs ended: {ended}");
}

const BLOCKED: Duration = Duration::from_millis(1_500);

/// n1 here, and n2 as a child.
struct Pair {
    cluster: Cluster,
    dir: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let (cluster, dir) = (Cluster::new(["n1", "n2"]), tempfile::tempdir().expect("a folder can be made"));
        let (cert, key) = cluster.authority().issue_pem(&name("n2")).expect("a certificate can be made");
        for (file, text) in [("ca", cluster.authority().ca_pem()), ("cert", &cert), ("key", &key)] {
            std::fs::write(dir.path().join(file), text).expect("the folder takes it");
        }
        Self { cluster, dir }
    }

    fn n1(&self) -> Node {
        self.cluster.start("n1", "2.0")
    }

    fn child(&self, variables: &[(&str, &Path)]) -> Child {
        let mut child = Command::new(std::env::current_exe().expect("a test runs"));
        child
            .args(["--exact", "terminate::child_that_serves", "--ignored", "--nocapture"])
            .env(DIR, self.dir.path())
            .env(LISTEN, self.cluster.address("n2").to_string())
            .env(PEER, self.cluster.address("n1").to_string())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_PID")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the test runs again")
    }
}

/// Sends a signal by the command that every system of this kind has.
async fn signal(child: &Child, signal: &str) {
    let id = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-s", signal, &id]).status().await.expect("there is a kill");
    assert!(sent.success());
}

/// Waits for its end, which is a good one; says how many jobs it had to end.
async fn end_of(child: Child) -> usize {
    let output = within("the child to end", child.wait_with_output()).await.expect("its output can be read");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}");
    let count = text.lines().find_map(|line| line.split_once("jobs ended: ")).map(|(_, count)| count.trim().parse());
    count.unwrap_or_else(|| panic!("it says how many: {text}")).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_asked_to_end_under_load_loses_no_reply() {
    let pair = Pair::new();
    let (n1, child) = (pair.n1(), pair.child(&[]));
    within("both to be ready", n1.ready()).await;
    let (mut calls, mut made, mut signalled) = (JoinSet::new(), 0, false);
    let mut counts = [0; 2];
    while !peer(&n1, "n2").draining {
        for _ in 0..5 {
            let (n1, function) = (n1.clone(), if made % 10 == 0 { "long" } else { "echo" });
            made += 1;
            calls.spawn(async move { n1.call(&name("n2"), Request::new(function, "hi")).await });
        }
        pass(Duration::from_millis(1)).await;
        if made >= 500 && !signalled {
            signal(&child, "TERM").await;
            signalled = true;
        }
        assert!(made < 500_000, "it is said to leave");
    }
    // Some more, which are refused here.
    for _ in 0..10 {
        let n1 = n1.clone();
        calls.spawn(async move { n1.call(&name("n2"), Request::new("echo", "hi")).await });
    }
    while let Some(ended) = within("the calls", calls.join_next()).await {
        match ended.expect("no panic") {
            Ok(reply) => {
                assert_eq!(reply, "hi");
                counts[0] += 1;
            }
            Err(error @ CallError::Ended(ExitReason::Draining)) if error.is_safe_to_retry() => counts[1] += 1,
            Err(error) => panic!("of {made} calls one ended otherwise: {error}"),
        }
    }
    let ended = end_of(child).await;
    let [replies, refused] = counts;
    println!("SIGTERM over UDP: {} calls, {replies} replies, {refused} refused, {ended} ended", made + 10);
    assert_eq!((replies + refused, ended), (made + 10, 0));
    assert!(replies > 0 && refused >= 10);
}

#[tokio::test]
async fn a_second_signal_ends_the_jobs_that_are_left() {
    let pair = Pair::new();
    let (n1, child) = (pair.n1(), pair.child(&[]));
    within("both to be ready", n1.ready()).await;
    let held = n1.cast(&name("n2"), Request::new("forever", "")).expect("a member");
    assert_eq!(within("an echo behind it", n1.call(&name("n2"), Request::new("echo", "hi"))).await, Ok("hi".into()));
    let asked = Instant::now();
    signal(&child, "TERM").await;
    until("n2 to leave", &n1, |n1| peer(n1, "n2").draining).await;
    signal(&child, "INT").await;
    assert_eq!(within("the end", held.reply()).await, Err(CallError::Ended(ExitReason::ServerEnded)));
    assert_eq!(end_of(child).await, 1);
    assert!(asked.elapsed() < Duration::from_secs(15), "long before its limit of 20 s");
}

/// What systemd would hear.
struct Systemd {
    socket: UnixDatagram,
}

impl Systemd {
    /// The lines of the next datagram.
    async fn hears(&self) -> Vec<String> {
        let mut bytes = [0; 4_096];
        let length = within("a word", self.socket.recv(&mut bytes)).await.expect("the socket is there");
        let text = std::str::from_utf8(&bytes[..length]).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    /// All lines up to one with this text.
    async fn hears_until(&self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let heard = async {
            while !lines.iter().any(|line: &String| line.contains(text)) {
                lines.extend(self.hears().await);
            }
        };
        within(text, heard).await;
        lines
    }
}

#[tokio::test]
async fn systemd_hears_of_readiness_members_watchdog_and_drain() {
    let pair = Pair::new();
    let path = pair.dir.path().join("notify");
    let systemd = Systemd { socket: UnixDatagram::bind(&path).expect("the folder is there") };
    let child = pair.child(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", Path::new("400000"))]);
    let ready = |lines: &[String]| lines.iter().filter(|line| *line == "READY=1").count();
    let alone = systemd.hears_until("STATUS=n2 2.0.0, rexi.server-per-node at remove, 1 of 2 members").await;
    assert_eq!(ready(&alone), 0, "a member is missing: {alone:?}");

    let n1 = pair.n1();
    let all = systemd.hears_until("2 of 2 members").await;
    let mut said = ready(&all);
    let pings = systemd.hears_until("WATCHDOG=1").await;
    said += ready(&pings);
    assert_eq!(said, 1, "{all:?} {pings:?}");

    // Its thread is blocked: nobody pings, and then it goes on.
    let blocked = n1.cast(&name("n2"), Request::new("block", "")).expect("a member");
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    while longest < BLOCKED / 2 {
        systemd.hears_until("WATCHDOG=1").await;
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    assert_eq!(within("the job", blocked.reply()).await, Ok(Bytes::new()));
    let began = Instant::now();
    for _ in 0..5 {
        systemd.hears_until("WATCHDOG=1").await;
    }
    println!("longest silence while blocked {longest:?}, five pings after it in {:?}", began.elapsed());

    signal(&child, "TERM").await;
    let leaving = systemd.hears_until("leaving").await;
    assert!(leaving.contains(&"STOPPING=1".to_owned()), "{leaving:?}");
    assert_eq!(ready(&leaving), 0, "said once");
    assert_eq!(end_of(child).await, 0);
}

#[tokio::test]
async fn a_node_that_misses_a_member_is_said_to_be_ready_after_10_s_and_pings_a_watchdog_of_any_haste() {
    let pair = Pair::new();
    let path = pair.dir.path().join("notify");
    let systemd = Systemd { socket: UnixDatagram::bind(&path).expect("the folder is there") };
    let began = Instant::now();
    // Half of it is not a time that a timer can keep.
    let child = pair.child(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", Path::new("1"))]);
    systemd.hears_until("STATUS=n2 2.0.0, rexi.server-per-node at remove, 1 of 2 members").await;
    let pings = systemd.hears_until("READY=1").await;
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    let pings = pings.iter().filter(|line| *line == "WATCHDOG=1").count();
    // One a millisecond at most, on a machine that may be busy.
    assert!((100..=12_000).contains(&pings), "{pings} pings");
    signal(&child, "TERM").await;
    // A socket that nobody reads is full soon, and holds the child.
    let listening = async {
        loop {
            systemd.hears().await;
        }
    };
    tokio::select! {
        ended = end_of(child) => assert_eq!(ended, 0),
        () = listening => unreachable!("it listens on"),
    }
}
