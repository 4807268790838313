//! A process of the store whose disk never answers: it leaves within its limit, and at once where it is asked twice.
//!
//! The node under test runs in a process of its own, which is the ignored test `child_that_serves` of this file.

mod faulty;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rexi_kv::Store;
use rexi_kv::client::Client;
use rexi_kv::cluster::{Member, free_ports, prepare};
use rexi_kv::node::{NodeArgs, run, run_on};
use tokio::runtime::Runtime;

use faulty::FaultyDisk;

/// Where a child finds the arguments of its node.
const CONFIG: &str = "KV_TEST_CONFIG";
const HTTP: &str = "KV_TEST_HTTP";
/// From when on its disk hangs: [`OPENING`], [`OPENED`], or never, and then the node is on its file.
const HANGS: &str = "KV_TEST_HANGS";
const OPENING: &str = "opening";
const OPENED: &str = "opened";

/// Runs a node as the executable does, on its file or on a disk that hangs.
#[test]
#[ignore = "run as a process of its own by the other tests of this file"]
fn child_that_serves() {
    let variable = |name: &str| std::env::var(name).expect("the parent sets it");
    let config = PathBuf::from(variable(CONFIG));
    let (data, http) = (config.with_extension("redb"), variable(HTTP).parse().expect("an address"));
    let args = NodeArgs { config, data, init: false, http, attached: false };
    let (hangs, began) = (variable(HANGS), opening(&args.config));
    let never = hangs.is_empty();
    let open = move || {
        let disk = FaultyDisk::default();
        if hangs == OPENING {
            disk.hang();
            std::fs::write(began, "").expect("written");
        }
        let on = disk.clone();
        let store = Store::on(move || on.clone()).expect("it hangs and does not fail");
        disk.hang();
        Ok(store)
    };
    let runtime = Runtime::new().expect("a runtime");
    let ran = runtime.block_on(async { if never { run(&args).await } else { run_on(&args, open).await } });
    ran.expect("it leaves in some order");
    runtime.shutdown_background();
}

/// A file that a child makes when it opens a disk that hangs.
fn opening(config: &Path) -> PathBuf {
    config.with_extension("opening")
}

/// A process that is killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(member: &Member, hangs: &str, dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a test runs"));
        command
            .args(["--exact", "child_that_serves", "--ignored", "--nocapture"])
            .env(CONFIG, dir.join(format!("{}.toml", member.name)))
            .env(HTTP, member.address.to_string())
            .env(HANGS, hangs)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Self(command.spawn().expect("the test runs again"))
    }

    fn terminate(&self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    }

    /// How long it takes from now until the process has ended well.
    async fn end(mut self) -> Duration {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        for _ in 0..ATTEMPTS_MAX {
            ticks.tick().await;
            if let Some(status) = self.0.try_wait().expect("it is a child of this process") {
                assert!(status.success(), "{status}");
                return began.elapsed();
            }
        }
        panic!("it has not ended after {:?}", began.elapsed());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Three nodes with this limit, of which n1's disk hangs on a write that the other two have acknowledged.
async fn with_a_hanging_disk(dir: &Path, limit: Duration) -> [Process; 3] {
    let members = prepare(dir, free_ports().expect("ports"), "3.0", false).expect("prepared");
    for member in &members {
        let file = dir.join(format!("{}.toml", member.name));
        let mut text = std::fs::read_to_string(&file).expect("a file");
        write!(text, "\n[drain]\nlimit_ms = {}\n", limit.as_millis()).expect("a String takes all");
        std::fs::write(&file, text).expect("written");
    }
    let hangs = |member: &Member| if member.name.as_str() == "n1" { OPENED } else { "" };
    let processes = members.each_ref().map(|member| Process::start(member, hangs(member), dir));
    let client = Client::new(members[0].address);
    let mut ticks = tokio::time::interval(TICK);
    for _ in 0..ATTEMPTS_MAX {
        ticks.tick().await;
        if client.put("key", b"value").await.is_ok_and(|answer| answer.status == 204) {
            return processes;
        }
    }
    panic!("two of three are well, and yet nothing was written");
}

#[tokio::test]
async fn a_node_leaves_within_its_limit_though_its_disk_hangs() {
    let (dir, limit) = (tempfile::tempdir().expect("a directory"), Duration::from_secs(3));
    let [n1, n2, n3] = with_a_hanging_disk(dir.path(), limit).await;
    n1.terminate();
    let took = n1.end().await;
    eprintln!("with a limit of {limit:?} and a disk that hangs it took {took:?}");
    assert!(took < limit + SLACK, "{took:?}");
    // The others are not held up by that.
    for node in [n2, n3] {
        node.terminate();
        let took = node.end().await;
        assert!(took < limit + SLACK, "{took:?}");
    }
}

#[tokio::test]
async fn a_node_that_is_asked_twice_ends_at_once() {
    let (dir, limit) = (tempfile::tempdir().expect("a directory"), Duration::from_secs(600));
    let [n1, ..] = with_a_hanging_disk(dir.path(), limit).await;
    n1.terminate();
    // Two signals at once would be one, so the first is known to have been heard: no more requests are taken.
    let mut ticks = tokio::time::interval(TICK);
    let http = n1_address(dir.path());
    while tokio::net::TcpStream::connect(http).await.is_ok() {
        ticks.tick().await;
    }
    n1.terminate();
    let took = n1.end().await;
    eprintln!("asked twice, it took {took:?}");
    assert!(took < SLACK, "{took:?}");
}

#[tokio::test]
async fn a_node_that_waits_for_its_disk_at_the_start_ends_when_it_is_asked_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let [n1, ..] = prepare(dir.path(), free_ports().expect("ports"), "3.0", false).expect("prepared");
    let node = Process::start(&n1, OPENING, dir.path());
    let mut ticks = tokio::time::interval(TICK);
    while !opening(&dir.path().join("n1.toml")).exists() {
        ticks.tick().await;
    }
    node.terminate();
    let took = node.end().await;
    assert!(took < SLACK, "{took:?}");
}

/// Nodes serve HTTP where they listen for others.
fn n1_address(dir: &Path) -> std::net::SocketAddr {
    let text = std::fs::read_to_string(dir.join("n1.toml")).expect("a file");
    let listen = text.lines().find_map(|line| line.strip_prefix("listen = ")).expect("it listens");
    listen.trim_matches('"').parse().expect("an address")
}

const TICK: Duration = Duration::from_millis(20);

/// 30 s on an idle machine.
const ATTEMPTS_MAX: usize = 1_500;

/// How much longer a busy machine may take.
const SLACK: Duration = Duration::from_secs(2);
