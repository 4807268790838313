//! `rexi-migrate live`, as an operator uses it: the command line, beside a cluster of real nodes with ports for
//! operators, in this process.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rexi_migrate::demo;
use rexi_proto::record::{ClusterChange, CommandOutcome, Kept, OperatorCommand};
use rexi_server::identity::OperatorAuthority;
use rexi_server::operate::OperatePort;
use rexi_server::operators::OperatorList;
use rexi_server::rollout::{StateError, build_of};
use rexi_server::{DevAuthority, EXIT_CONFIG, Node, NodeName, PeerPresence, Phase, Release, StartError};
use serde_json::Value;
use tokio::process::Command;

/// A cluster whose nodes may be started at any release of the demo's train.
struct Scene {
    authority: DevAuthority,
    operators: DevAuthority,
    dir: tempfile::TempDir,
    /// Where each listens.
    members: BTreeMap<NodeName, SocketAddr>,
    nodes: BTreeMap<NodeName, (Node, SocketAddr)>,
}

/// What a command has said.
#[derive(Debug)]
struct Said {
    code: i32,
    text: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Panics unless it ended so, and said that.
    fn is(&self, code: i32, says: &str) -> &Self {
        assert_eq!(self.code, code, "{}", self.text);
        let words = self.text.replace('│', "");
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(says), "{says:?} is not in\n{}", self.text);
        self
    }
}

/// Waits until it is so at a node: looks whenever a member has come or gone, or a try to connect has failed.
async fn until(node: &Node, mut is_so: impl FnMut(&Node) -> bool) {
    let mut presence = node.watch_presence();
    while !is_so(node) {
        presence.changed().await;
    }
}

fn name(of: &str) -> NodeName {
    NodeName::new(of).expect("a name")
}

impl Scene {
    fn new<const N: usize>(names: [&str; N]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // All sockets at once, so that no port is given twice.
        let sockets = names.map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port on loopback"));
        let address = |socket: &UdpSocket| socket.local_addr().expect("a bound socket has an address");
        let members = names.iter().zip(&sockets).map(|(of, socket)| (name(of), address(socket))).collect();
        let authority = DevAuthority::in_memory().expect("keys can be made");
        let operators = DevAuthority::in_memory().expect("keys can be made");
        for of in ["alice", "bob"] {
            operators.issue_operator(of, &authority, &dir.path().join(of)).expect("an identity can be made");
        }
        Self { authority, operators, dir, members, nodes: BTreeMap::new() }
    }

    fn state(&self, of: &str) -> PathBuf {
        self.dir.path().join(format!("state-{of}"))
    }

    fn start(&mut self, of: &str, release: &str) -> Result<Node, StartError> {
        let profile = demo::train().profile(release).expect("a release of the demo");
        let own = name(of);
        let identity = self.authority.issue(&own).expect("a certificate can be made");
        let mut builder =
            Node::builder(own.clone(), profile, identity).listen(self.members[&own]).state(self.state(of));
        for (peer, &address) in self.members.iter().filter(|(peer, _)| **peer != own) {
            builder = builder.peer(peer.clone(), address);
        }
        let node = builder.stop_check("quorum", |_| Ok::<_, String>(())).start()?;
        let authority = OperatorAuthority::from_pem(self.operators.ca_pem().as_bytes()).expect("an authority");
        let list = OperatorList::default().allow("alice", "*").and_then(|list| list.allow("bob", "*")).expect("a list");
        let port = OperatePort::open(&node, ([127, 0, 0, 1], 0).into(), authority, list).expect("a free port");
        self.nodes.insert(own, (node.clone(), port.local_addr()));
        Ok(node)
    }

    /// Starts a node whose predecessor has left a moment ago.
    async fn start_again(&mut self, of: &str, release: &str) -> Node {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            match self.start(of, release) {
                // Its last close is being sent, or a thread has its directory of state for a moment more.
                Err(StartError::Listen { .. } | StartError::State(StateError::InUse { .. })) => {}
                started => return started.expect("it starts"),
            }
            ticks.tick().await;
        }
    }

    async fn stop(&mut self, of: &str) {
        let (node, _) = self.nodes.remove(&name(of)).expect("it runs");
        node.shutdown(Duration::from_secs(1)).await;
    }

    /// Waits until all that run are connected to each other.
    async fn meet(&self) {
        let is_met = |node: &Node| {
            let others = node.status().peers.into_iter().filter(|peer| self.nodes.contains_key(&peer.name));
            others.into_iter().all(|peer| peer.presence == PeerPresence::Connected)
        };
        for (node, _) in self.nodes.values() {
            until(node, is_met).await;
        }
    }

    /// Waits until each is in a phase.
    async fn reach(&self, phase: Phase) {
        for (node, _) in self.nodes.values() {
            node.rollout().watch().wait_for(|now| *now == phase).await.expect("the node runs");
        }
    }

    /// Runs `live` as an operator, through all that run.
    async fn live_as(&self, operator: &str, args: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rexi-migrate"));
        command.arg("live").args(args).arg("--identity").arg(self.dir.path().join(operator));
        for (node, (_, port)) in &self.nodes {
            command.arg("--via").arg(format!("{node}={port}"));
        }
        let output = command.stdin(Stdio::null()).current_dir(self.dir.path()).output().await.expect("it starts");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for line in text.lines() {
            let may_be_wider = line.split_whitespace().count() == 1 || line.trim_start().starts_with(['"', 'U']);
            assert!(line.chars().count() <= 80 || may_be_wider, "{args:?}: {line}\nin\n{text}");
        }
        Said { code: output.status.code().expect("it ends by itself"), text }
    }

    async fn live(&self, args: &[&str]) -> Said {
        self.live_as("alice", args).await
    }

    /// Writes what `verify` would say of these nodes into report.json.
    fn write_report(&self, names_builds: bool) {
        let mut said = serde_json::json!({"verdict": "safe", "train": [{"release": "1.1"}, {"release": "1.2"}]});
        if names_builds {
            let own = build_of(&std::env::current_exe().expect("this program")).expect("it can be read").to_string();
            said["builds"] = serde_json::json!({"1.1": own, "1.2": own});
        }
        std::fs::write(self.dir.path().join("report.json"), said.to_string()).expect("it is written");
    }

    /// A cluster of 1.1 whose record has begun.
    async fn begun<const N: usize>(names: [&str; N]) -> Self {
        let mut scene = Self::new(names);
        names.iter().for_each(|of| drop(scene.start(of, "1.1").expect("it starts")));
        scene.live(&["init", "--ignore", "verified-mix=first"]).await.is(0, "done: all members have epoch 1");
        scene.meet().await;
        scene
    }
}

const UNVERIFIED: [&str; 2] = ["--ignore", "verified-mix=a test"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_takes_a_cluster_to_the_next_release_and_closes_the_way_back() {
    let mut scene = Scene::new(["n1", "n2", "n3"]);
    for of in ["n1", "n2", "n3"] {
        scene.start(of, "1.1").expect("it starts");
    }
    scene.live(&["status"]).await.is(0, "no record yet; `live init` begins one");
    scene.live(&["init"]).await.is(0, "done: all members have epoch 1 on their disks");
    scene.live(&["init"]).await.is(1, "this cluster has a record already, of epoch 1");
    scene.meet().await;
    scene.live(&["status"]).await.is(0, "epoch 1: release 1.1 alone").is(0, "settled: nothing is under way");

    // By name: what does not follow, and what nobody has verified.
    let failed = scene.live(&["preflight", "--to", "2.0"]).await;
    failed.is(1, "FAIL next-release 2.0 does not follow 1.1").is(1, "NO: a check fails");
    scene.live(&["preflight", "--to", "1.2"]).await.is(3, "UNKNOWN verified-mix no report was given");
    scene.write_report(true);
    scene.live(&["advance", "--to", "1.2"]).await.is(3, "nothing was changed: see the checks above");
    scene
        .live(&["advance", "--to", "1.2", "--ignore", "epochs-agree=no"])
        .await
        .is(2, "nobody may pass over this check");
    scene.live(&["advance", "--to", "1.2", "--ignore", "clocks"]).await.is(2, "give a reason");

    let plan = scene.live(&["plan", "--to", "1.2", "--out", "plan.json"]).await;
    plan.is(0, "step 1: let the release in").is(0, "way back NONE");
    let advance = ["advance", "--to", "1.2", "--report", "report.json", "--plan", "plan.json"];
    scene.live(&advance).await.is(0, "done: all members have epoch 2");
    scene.live(&advance).await.is(5, "the record has moved since the plan was made");
    scene.live(&advance[..5]).await.is(0, "there was nothing to do");
    scene.live(&["status"]).await.is(0, "releases 1.1 to 1.2, way back OPEN");
    scene
        .live(&["finalize", "--confirm", "demo:1.2"])
        .await
        .is(1, "FAIL within-window n1 runs 1.1")
        .is(1, "nothing was changed");

    for of in ["n1", "n2", "n3"] {
        scene.live(&["gate", "before", of, "--release", "1.2"]).await.is(0, "may stop");
        scene.live(&["gate", "before", of, "--release", "2.0"]).await.is(1, "2.0 may not run");
        scene.stop(of).await;
        scene.live(&["gate", "after", of, "--release", "1.2"]).await.is(3, "does not answer");
        scene.start_again(of, "1.2").await;
        let after = ["gate", "after", of, "--release", "1.2", "--wait-seconds", "30"];
        scene.live(&after).await.is(0, "is back at 1.2");
    }
    scene.live(&["finalize"]).await.is(2, "there is no way back. If that is meant, say --confirm demo:1.2");
    scene.live(&["finalize", "--confirm", "shop:1.2"]).await.is(2, "nothing was sent");
    let finalize = ["finalize", "--confirm", "demo:1.2", "--report", "report.json"];
    scene.live(&finalize).await.is(0, "done: all members have epoch 3");
    scene.live(&["status", "--wait", "final"]).await.is(0, "epoch 3: release 1.2 alone");
    scene.stop("n2").await;
    let refused = scene.start("n2", "1.1").expect_err("there is no way back");
    assert_eq!(refused.exit_code(), EXIT_CONFIG, "{refused}");
    let shown = scene.live(&["status", "--format", "json"]).await;
    let json = shown.is(3, "").json();
    assert_eq!((&json["format_version"], &json["exit_code"]), (&1.into(), &3.into()));
    assert_eq!(
        (&json["cluster"]["record"]["floor"], &json["cluster"]["members"]["n2"]["reached"]),
        (&"1.2".into(), &false.into())
    );

    let history = scene.live(&["history", "--verify"]).await;
    history.is(3, "n2 gave no trail");
    scene.start_again("n2", "1.2").await;
    let history = scene.live(&["history", "--verify"]).await;
    history.is(0, "alice (init): begin with 1.1 to 1.1").is(0, "alice (advance): let release 1.2 in");
    history.is(0, "alice (finalize): finalize 1.2: done").is(0, "follows the one before it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_let_in_by_a_report_and_locks_of_the_builds_that_run() {
    let scene = Scene::begun(["n1"]).await;
    let preflight = async |more: &[&str]| scene.live(&[&["preflight", "--to", "1.2"], more].concat()).await;
    let verified = ["--report", "report.json"];
    scene.write_report(false);
    preflight(&verified).await.is(3, "UNKNOWN verified-mix it does not say which build of 1.1 it ran");
    scene.write_report(true);
    let passed = preflight(&verified).await;
    passed.is(0, "nothing stands in the way").is(0, "skip functions-kept no locks were given");
    let build = "0a".repeat(32);
    let other = [&verified[..], &["--build", &build]].concat();
    preflight(&other).await.is(1, "FAIL verified-mix --build has");
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/wire.lock.json");
    let locks = [&verified[..], &["--locks", lock, lock]].concat();
    preflight(&locks).await.is(0, "pass functions-kept 0 changes, and none breaks");
    let no_lock = [&verified[..], &["--locks", lock, "report.json"]].concat();
    preflight(&no_lock).await.is(3, "report.json is not a lock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_brake_is_put_on_by_one_operator_and_lifted_by_another() {
    let mut scene = Scene::begun(["n1", "n2"]).await;
    scene.live(&[&["advance", "--to", "1.2"], &UNVERIFIED[..]].concat()).await.is(0, "epoch 2");
    for of in ["n1", "n2"] {
        scene.stop(of).await;
        scene.start_again(of, "1.2").await;
    }
    scene.meet().await;
    let phases = |scene: &Scene| scene.nodes.values().map(|(node, _)| node.rollout().phase()).collect::<Vec<_>>();
    scene.reach(Phase::Switch).await;
    scene.live_as("bob", &["lower", "--to", "introduce", "--reachable"]).await.is(0, "done");
    assert_eq!(phases(&scene), [Phase::Introduce; 2]);
    scene.live(&["status"]).await.is(0, "rexi.server-per-node=introduce, put on at n1 by bob");
    scene.live(&["preflight", "--finalize"]).await.is(1, "phase-settled n1 is in introduce");
    scene.live(&["lift"]).await.is(0, "done: all members have epoch 3");
    scene.reach(Phase::Switch).await;
    scene.live(&["lower", "--to", "introduce"]).await.is(0, "done: all members have epoch 4");
    scene.live(&["status"]).await.is(0, "ceilings: rexi.server-per-node=introduce");
    scene.live(&["hold"]).await.is(0, "done");
    scene.live(&["lift"]).await.is(0, "done: all members have epoch 5");
    scene.live(&["advance", "--phase", "introduce"]).await.is(0, "done: all members have epoch 6");
    scene.live(&["advance", "--phase", "switch"]).await.is(0, "done: all members have epoch 7");
    scene.reach(Phase::Switch).await;
    scene.live(&["lower", "--to", "introduce", "--migration", "x"]).await.is(2, "there is none of that name");
    scene.live(&["resume"]).await.is(0, "there was nothing to do");
    scene.live(&["abort"]).await.is(0, "there was nothing to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_gone_is_forgotten_and_comes_back_with_an_empty_disk_alone() {
    let mut scene = Scene::begun(["n1", "n2", "n3"]).await;
    scene.stop("n3").await;
    scene.live(&[&["advance", "--to", "1.2"], &UNVERIFIED[..]].concat()).await.is(3, "UNKNOWN members-reached n3");
    scene.live(&["forget", "n3"]).await.is(2, "--destroyed");
    scene.live(&["forget", "n3", "--destroyed", "--confirm", "demo:n3"]).await.is(0, "done: all members have epoch 2");
    scene.start_again("n3", "1.1").await;
    let is_told =
        |node: &Node| node.status().turned_away_by_all().is_some_and(|why| why.contains("was forgotten at epoch 2"));
    until(&scene.nodes[&name("n3")].0, is_told).await;
    scene.live(&["status"]).await.is(0, "forgotten: n3");
    scene.stop("n3").await;
    std::fs::remove_dir_all(scene.state("n3")).expect("it is emptied");
    scene.start_again("n3", "1.1").await;
    scene.meet().await;
    scene.live(&[&["advance", "--to", "1.2"], &UNVERIFIED[..]].concat()).await.is(0, "done: all members have epoch 3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_is_shown_and_repaired_by_what_the_others_have() {
    let mut scene = Scene::begun(["n1", "n2", "n3"]).await;
    let state = scene.state("n3").to_str().expect("UTF-8").to_owned();
    let floor = async |args: &[&str]| {
        let command = Command::new(env!("CARGO_BIN_EXE_rexi-migrate")).args(args).output().await.expect("it starts");
        let text = String::from_utf8_lossy(&command.stdout).into_owned() + &String::from_utf8_lossy(&command.stderr);
        Said { code: command.status.code().expect("it ends by itself"), text }
    };
    let show = ["live", "floor", "show", "--state", &state];
    floor(&show).await.is(0, "rexi-rollout 1 node n3");
    let repair = ["floor", "repair", "--node", "n3", "--state", &state];
    scene.live(&repair).await.is(0, "there is nothing to repair");
    scene.stop("n3").await;
    let file = scene.state("n3").join("record");
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, text.replace("floor 1.1", "floor 1.0")).expect("it is written");
    floor(&show).await.is(1, "it cannot be read: its lines do not match the digest");
    let refused = scene.start("n3", "1.1").expect_err("it cannot be read");
    assert_eq!(refused.exit_code(), EXIT_CONFIG, "{refused}");
    // The node itself is down, and is not waited for.
    let alice = scene.dir.path().join("alice").to_str().expect("UTF-8").to_owned();
    let by_itself = [&["live"], &repair[..], &["--via", "n3=127.0.0.1:9", "--identity", &alice]].concat();
    floor(&by_itself).await.is(2, "give --via for another member: this one is not asked");
    scene.live(&repair).await.is(0, "n3 has the record of epoch 1 now, and may start");
    scene.start_again("n3", "1.1").await;
    scene.meet().await;
    let preflight = scene.live(&["preflight", "--to", "1.2"]).await;
    preflight.is(1, "FAIL floor-durable n3: its disk came new at epoch 1");
    scene.live(&["forget", "n3", "--wiped", "--confirm", "demo:n3"]).await.is(0, "epoch 2");
    scene.live(&[&["advance", "--to", "1.2"], &UNVERIFIED[..]].concat()).await.is(0, "done: all members have epoch 3");
    std::fs::remove_file(scene.state("n3").join("record")).expect("it is there");
    scene.live(&repair).await.is(1, "there is no file, which is not a damaged one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_reached_or_may_not_ask_is_told_so() {
    let scene = Scene::begun(["n1"]).await;
    let mut nobody = Command::new(env!("CARGO_BIN_EXE_rexi-migrate"));
    nobody.args(["live", "status", "--timeout", "1", "--via", "n1=127.0.0.1:9", "--identity"]);
    let output = nobody.arg(scene.dir.path().join("alice")).output().await.expect("it starts");
    let said = Said {
        code: output.status.code().expect("it ends"),
        text: String::from_utf8_lossy(&output.stdout).into_owned(),
    };
    said.is(3, "n1 at 127.0.0.1:9 was not reached");
    let carol = scene.dir.path().join("carol");
    scene.operators.issue_operator("carol", &scene.authority, &carol).expect("an identity can be made");
    scene.live_as("carol", &["status"]).await.is(1, "carol may not ask for status at n1");
    scene.live_as("dave", &["status"]).await.is(2, "--identity");
    scene.live(&["history"]).await.is(0, "carol (status): status: denied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_is_asked_for_itself_where_that_is_said() {
    let mut scene = Scene::begun(["n1", "n2"]).await;
    scene.live(&["status", "--direct"]).await.is(0, "settled: nothing is under way");
    let history = scene.live(&["history", "--format", "json"]).await.json();
    let lines = history["lines"].as_array().expect("there are some").iter();
    let asked: Vec<_> = lines.filter(|of| of["line"]["verb"] == "status").map(|of| of["node"].clone()).collect();
    // The first look is that of `init`, through n1.
    assert_eq!(asked, ["n1", "n1", "n2"]);
    scene.live(&["plan", "--to", "1.2", "--detailed-exitcode"]).await.is(6, "step 1: let the release in");
    scene.live(&["plan", "--to", "1.1", "--detailed-exitcode"]).await.is(0, "there is nothing to do");
    let address = scene.nodes[&name("n2")].1;
    scene.stop("n2").await;
    scene.live(&["status", "--direct"]).await.is(3, "n2 does not answer: it was not asked: no --via names it");
    let via = format!("n2={address}");
    scene.live(&["status", "--direct", "--via", &via]).await.is(3, "was not reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_an_earlier_file_of_a_trail_is_in_the_history() {
    let mut scene = Scene::begun(["n1"]).await;
    scene.stop("n1").await;
    let file = |name: &str| scene.state("n1").join(name);
    std::fs::rename(file("trail"), file("trail-0")).expect("it is full");
    let earlier = file("trail-0");
    scene.start_again("n1", "1.1").await;
    scene.live(&["history", "--verify"]).await.is(0, "alice (init): begin with 1.1 to 1.1").is(0, "of 1 trails");
    std::fs::remove_file(earlier).expect("it is there");
    let cut = scene.live(&["history", "--verify"]).await;
    cut.is(0, "n1 has earlier lines: in the files `trail-N`").is(0, "every line of 1 trails");
    assert!(!cut.text.contains("(init)"), "{}", cut.text);
    let later = scene.live(&["history", "--since", "9999999999", "--format", "json"]).await.json();
    assert_eq!((&later["lines"], &later["cut"]), (&serde_json::json!([]), &serde_json::json!([])));
}

/// When a member is lost in the middle of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    HasSaidYes,
    HasIt,
}

/// Finalizes, loses a member then, and says what came of it: what the operator was told, and what `status` said.
async fn lose(victim: &'static str, when: When) -> [String; 3] {
    let mut scene = Scene::new(["n1", "n2", "n3"]);
    for of in ["n1", "n2", "n3"] {
        scene.start(of, "1.2").expect("it starts");
    }
    let (floor, top) = (Release(1, 1, 0), Release(1, 2, 0));
    let carrier = scene.nodes[&name("n2")].0.clone();
    let begun = carrier.command("alice", OperatorCommand::Make(ClusterChange::Begin { floor, top })).await;
    assert_eq!(begun, Ok(CommandOutcome::Done(1)));
    scene.meet().await;
    let lost = scene.nodes[&name(victim)].0.clone();
    let mut kept = lost.watch_kept().expect("it keeps the record");
    if when == When::Before {
        lost.crash();
    }
    let finalize = OperatorCommand::Make(ClusterChange::Finalize { floor: top });
    let asked = tokio::spawn(async move { carrier.command("alice", finalize).await });
    if when != When::Before {
        let is_there = |kept: &Arc<Kept>| match when {
            When::HasSaidYes => kept.vote.is_some() || kept.epoch() == 2,
            _ => kept.epoch() == 2,
        };
        kept.wait_for(is_there).await.expect("it runs");
        lost.crash();
    }
    let carrier_is_lost = victim == "n2";
    let told = match tokio::time::timeout(Duration::from_secs(if carrier_is_lost { 1 } else { 60 }), asked).await {
        Ok(told) => told.expect("no panic").expect("it is an operator's").told(),
        Err(_) => "nothing: who carried it is gone".to_owned(),
    };
    scene.nodes.remove(&name(victim));
    drop((lost, kept));
    let status = scene.live(&["status", "--format", "json"]).await;
    let json = status.json();
    let waits = |json: &Value| {
        json["cluster"]["transition"]["waited_for"].as_array().is_some_and(|nodes| nodes.contains(&victim.into()))
    };
    assert_eq!(json["cluster"]["members"][victim]["reached"], false, "{}", status.text);
    let names = match (json["cluster"]["transition"].is_null(), waits(&json)) {
        (true, _) => format!("{victim} does not answer"),
        (false, true) => format!("{}, waited for: {victim}", json["cluster"]["transition"]["what"]),
        (false, false) => format!("{}, and {victim} does not answer", json["cluster"]["transition"]["what"]),
    };
    loop {
        match scene.start(victim, "1.2") {
            Err(StartError::State(StateError::InUse { .. }) | StartError::Listen { .. }) => {
                tokio::task::yield_now().await;
            }
            started => break drop(started.expect("what it has said yes to binds it to 1.2, which it runs")),
        }
    }
    scene.meet().await;
    scene.live(&["resume"]).await.is(0, "");
    let status = scene.live(&["status", "--format", "json"]).await;
    let json = status.is(0, "").json();
    let record = &json["cluster"]["record"];
    [told, names, format!("epoch {}, floor {}", record["epoch"], record["floor"].as_str().unwrap_or_default())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_lost_at_any_step_of_a_finalize_is_named_and_resume_ends_it() {
    let of = |when| ["n1", "n2", "n3"].map(|victim| (victim, when));
    let all = [When::Before, When::HasSaidYes, When::HasIt].into_iter().flat_map(of);
    // Nobody carries it, where that is lost before.
    let all = all.filter(|&(victim, when)| (victim, when) != ("n2", When::Before));
    // All at once: most of it is waiting.
    let lost: Vec<_> = all.map(|(victim, when)| (victim, when, tokio::spawn(lose(victim, when)))).collect();
    for (victim, when, lost) in lost {
        let [told, named, ended] = lost.await.expect("no panic");
        println!("{victim} lost {when:?} | told: {told} | status: {named} | resumed: {ended}");
        let is_settled = ended == "epoch 2, floor 1.2" || ended == "epoch 1, floor 1.1";
        assert!(is_settled && named.contains(victim), "{victim} {when:?}: {told} {named} {ended}");
    }
}
