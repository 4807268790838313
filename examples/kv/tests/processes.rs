//! The store as real processes on loopback, spoken to over HTTP: with one of three killed, with one left, restarted on
//! its own data, without it, without descriptors, and as the command that starts all three.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rexi_kv::client::{Answer, Client, ClientError};
use rexi_kv::cluster::{Member, free_ports, prepare};
use rexi_kv::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior};

/// A process that is killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(args: &[String], stdout: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rexi-kv"));
        command.args(args).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
        Self(command.spawn().expect("the executable was just built"))
    }

    fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        self.0.wait().expect("it is a child of this process");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn node(member: &Member) -> Process {
    Process::start(&member.arguments(), Stdio::null())
}

fn signal(signal: &str, pid: u32) {
    assert!(Command::new("kill").arg(signal).arg(pid.to_string()).status().expect("kill").success());
}

/// Asks again and again, as `ask` says, until the answer is `wanted`.
async fn until<F: Future<Output = Result<Answer, ClientError>>>(
    what: &str,
    status: u16,
    ask: impl Fn() -> F,
) -> Answer {
    let mut last = None;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..ATTEMPTS_MAX {
        ticks.tick().await;
        match ask().await {
            Ok(answer) if answer.status == status => return answer,
            other => last = Some(other),
        }
    }
    panic!("not at the {ATTEMPTS_MAX}th attempt: {what}; the last answer was {last:?}")
}

async fn value(client: Client, key: &str) -> String {
    let answer = until("the key is there", 200, || client.get(key)).await;
    assert!(answer.version.is_some(), "{answer:?}");
    String::from_utf8(answer.body).expect("the tests write text")
}

#[tokio::test]
async fn two_of_three_processes_go_on_and_the_third_catches_up_on_its_own_data() {
    let dir = tempfile::tempdir().expect("a directory");
    let members = prepare(dir.path(), free_ports().expect("ports"), "1.2", false).expect("prepared");
    let [n1, n2, n3] = members.each_ref().map(|member| Client::new(member.address));
    let [_one, mut two, mut three] = members.each_ref().map(node);

    let written = until("written", 204, || n1.put("key", b"first")).await;
    let read = until("read", 200, || n2.get("key")).await;
    assert_eq!((read.body.as_slice(), read.version), (&b"first"[..], written.version));
    assert_eq!(value(n3, "key").await, "first");

    three.kill();
    assert_eq!(value(n2, "key").await, "first");
    until("written without n3", 204, || n1.put("key", b"second")).await;
    assert_eq!(value(n2, "key").await, "second");

    // Alone, a node takes nothing, and says so.
    two.kill();
    let refused = n1.put("key", b"third").await.expect("an answer");
    assert!(matches!(refused.status, 503 | 504), "{refused:?}");
    let said = String::from_utf8(n1.get("key").await.expect("an answer").body).expect("a text");
    assert!(said.contains("no majority"), "{said}");

    // n2 with all that it acknowledged, n3 with the first value alone.
    let (_two, _three) = (node(&members[1]), node(&members[2]));
    let caught_up = value(n3, "key").await;
    assert!(["second", "third"].contains(&caught_up.as_str()), "{caught_up}");
}

#[tokio::test]
async fn a_wrong_request_is_told_what_is_allowed() {
    let dir = tempfile::tempdir().expect("a directory");
    let members = prepare(dir.path(), free_ports().expect("ports"), "2.0", false).expect("prepared");
    let [n1, n2, _] = members.each_ref().map(|member| Client::new(member.address));
    let _nodes = members.each_ref().map(node);
    until("ready", 404, || n1.get("key")).await;

    let says = |answer: &Answer, status: u16, text: &str| {
        let body = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == status && body.contains(text), "{}: {body}", answer.status);
    };
    says(&n1.get("key").await.expect("an answer"), 404, "no such key");
    says(&n1.get(&"k".repeat(KEY_BYTES_MAX + 1)).await.expect("an answer"), 400, "1 to 256 bytes, this one has 257");
    says(&n1.put("key", &vec![7; VALUE_BYTES_MAX + 1]).await.expect("an answer"), 413, "at most 1048576 bytes");
    let (name, value) = ("a/b ä?".repeat(32), vec![7; VALUE_BYTES_MAX]);
    let written = n1.put(&name, &value).await.expect("an answer");
    assert_eq!(written.status, 204, "{written:?}");
    let read = n2.get(&name).await.expect("an answer");
    assert!(read.status == 200 && read.body == value, "{}", read.status);
    let deleted = n2.delete(&name).await.expect("an answer");
    assert_eq!(deleted.status, 204, "{deleted:?}");
    let gone = n1.get(&name).await.expect("an answer");
    says(&gone, 404, "deleted");
    assert_eq!(gone.version, deleted.version);
}

/// The first line of the answer to a `GET` of this path, once something listens there.
async fn status_line(address: SocketAddr, path: &str) -> String {
    let client = Client::new(address);
    until("it listens", 404, || client.get("")).await;
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn operators_have_their_paths_beside_the_store_s_or_at_the_port_that_the_configuration_gives_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let [n1, n2, own] = prepare(dir.path(), free_ports().expect("ports"), "2.0", false).expect("prepared");
    let config = dir.path().join("n1.toml");
    let text = std::fs::read_to_string(&config).expect("a file");
    // n3 does not run, so its port is free.
    std::fs::write(&config, format!("{text}\n[admin]\nlisten = \"{}\"\n", own.address)).expect("written");
    let _nodes = [node(&n1), node(&n2)];
    for (address, line) in [(own.address, "200 OK"), (n1.address, "404 Not Found"), (n2.address, "200 OK")] {
        assert_eq!(status_line(address, "/livez").await, format!("HTTP/1.1 {line}"), "{address}");
    }
}

/// Waits for the end of a process, and tells what it wrote to standard error.
fn refused(member: &Member, init: bool) -> String {
    let args = member.arguments().into_iter().chain(init.then(|| "--init".to_owned()));
    let output = Command::new(env!("CARGO_BIN_EXE_rexi-kv")).args(args).stdin(Stdio::null()).output();
    let output = output.expect("the executable was just built");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn a_replica_whose_file_is_lost_does_not_start_and_is_made_anew_only_where_that_is_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let ports = free_ports().expect("ports");
    let members = prepare(dir.path(), ports, "2.0", false).expect("prepared");
    let [n1, n2, _] = members.each_ref().map(|member| Client::new(member.address));
    let data = dir.path().join("n2.redb");
    let mut nodes = [node(&members[0]), node(&members[1])];
    until("written", 204, || n1.put("key", b"value")).await;
    nodes.iter_mut().for_each(Process::kill);
    std::fs::remove_file(&data).expect("it was there");

    // n2 and n3 would be a majority that has never heard of the key.
    assert!(refused(&members[1], false).contains("n2.redb: for a node of a new cluster, make it with --init"));
    prepare(dir.path(), ports, "2.0", false).expect("prepared once more");
    assert!(!data.exists(), "the others have theirs, so the cluster is not new");
    let _one = node(&members[0]);
    let first = members[1].arguments().into_iter().chain(["--init".to_owned()]).collect::<Vec<_>>();
    let mut anew = Process::start(&first, Stdio::null());
    assert_eq!(value(n2, "key").await, "value");
    anew.kill();
    assert!(refused(&members[1], true).contains("n2.redb is there already: start this node without --init"));
    let _two = node(&members[1]);
    assert_eq!(value(n2, "key").await, "value");
}

/// The store's port, and the one for operators.
#[tokio::test]
async fn a_port_without_descriptors_says_so_once_a_second_and_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let [n1, _, own] = prepare(dir.path(), free_ports().expect("ports"), "2.0", false).expect("prepared");
    let (config, log) = (dir.path().join("n1.toml"), dir.path().join("log"));
    let text = std::fs::read_to_string(&config).expect("a file");
    // n3 does not run, so its port is free.
    std::fs::write(&config, format!("{text}\n[admin]\nlisten = \"{}\"\n", own.address)).expect("written");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 48 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_rexi-kv")]).args(n1.arguments());
    let stderr = std::fs::File::create(&log).expect("a file");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let _node = Process(command.spawn().expect("there is a shell"));

    for (address, line) in
        [(n1.address, "cannot accept HTTP connections"), (own.address, "the port for operators cannot accept")]
    {
        let client = Client::new(address);
        until("it listens", 404, || client.get("")).await;
        let began = Instant::now();
        let mut held = Vec::new();
        for _ in 0..48 {
            held.push(TcpStream::connect(address).await.expect("the system takes it in any case"));
        }
        let said = || {
            let text = std::fs::read_to_string(&log).expect("a file");
            text.lines().filter(|said| said.contains(line)).count() as u64
        };
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while said() < 3 {
            ticks.tick().await;
            assert!(began.elapsed() < Duration::from_secs(30), "it is silent");
        }
        drop(held);
        until("it answers again", 404, || client.get("")).await;
        assert!(said() <= 1 + began.elapsed().as_secs(), "{} lines in {:?}", said(), began.elapsed());
    }
}

/// What the cluster says of a node that serves.
#[derive(Debug, PartialEq, Eq)]
struct Serving {
    name: String,
    client: Client,
    release: String,
    pid: u32,
}

/// Reads a line such as `n1 serves http://127.0.0.1:10001, release 1.2.0, pid 4711`.
fn serving(line: &str) -> Option<Serving> {
    let (name, rest) = line.split_once(" serves http://")?;
    let [address, release, pid] = rest.split(", ").collect::<Vec<_>>()[..] else { return None };
    let address: SocketAddr = address.parse().ok()?;
    let (release, pid) = (release.strip_prefix("release ")?.to_owned(), pid.strip_prefix("pid ")?.parse().ok()?);
    Some(Serving { name: name.to_owned(), client: Client::new(address), release, pid })
}

/// The next node that the cluster says serves. Blocks; the process ends where it says nothing more.
fn next_serving(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Serving {
    lines.by_ref().map_while(Result::ok).find_map(|line| serving(&line)).expect("a node that serves")
}

#[tokio::test]
async fn one_command_starts_three_nodes_and_starts_again_what_was_killed_and_leaves_none_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = ["cluster", "--respawn", "--release", "1.1", "--dir", path(dir.path())].map(str::to_owned);
    let mut cluster = Process::start(&args, Stdio::piped());
    let stdout: ChildStdout = cluster.0.stdout.take().expect("piped");
    let mut lines = BufReader::new(stdout).lines();
    let mut nodes = [(); 3].map(|()| next_serving(&mut lines));
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    let [n1, n2, n3] = nodes.each_ref().map(|node| node.client);
    let Serving { name: third, pid, .. } = &nodes[2];

    until("written", 204, || n1.put("key", b"value")).await;
    // Its next life may be of another release, as its file says.
    let config = dir.path().join(format!("{third}.toml"));
    let text = std::fs::read_to_string(&config).expect("a file").replace("\"1.1\"", "\"1.2\"");
    std::fs::write(&config, text).expect("written");
    signal("-KILL", *pid);
    assert_eq!(value(n2, "key").await, "value");
    let again = next_serving(&mut lines);
    assert!(again.name == *third && again.pid != *pid && again.release == "1.2.0", "{again:?}");
    assert_eq!(value(n3, "key").await, "value");

    signal("-TERM", cluster.0.id());
    // All share this pipe, so its end is theirs.
    assert!(lines.map_while(Result::ok).all(|line| serving(&line).is_none()));
    assert!(cluster.0.wait().expect("its end").success());
    for client in [n1, n2, n3] {
        assert!(matches!(client.get("key").await, Err(ClientError::NotSent(_))));
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary directory has a plain name")
}

/// How often something is asked before it counts as never coming: 30 s on an idle machine, and as much longer on a busy
/// one as it takes that to ask.
const ATTEMPTS_MAX: usize = 1_500;
