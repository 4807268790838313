//! Nodes that keep the record of their cluster: who may start, who may be spoken to, and what an operator's command
//! does to all of them. The record's own rules are searched by `rexi-migrate check`; here it is real disks, sockets and
//! processes' lives.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rexi_proto::record::{Bar, ClusterChange, CommandOutcome, Kept, Loss, OperatorCommand};
use rexi_server::admin::AdminPort;
use rexi_server::rollout::CommandError;
use rexi_server::{
    Bytes, CallError, EXIT_CONFIG, Node, NodeBuilder, NodeName, PeerPresence, Phase, Release, Request, SERVER_PER_NODE,
    StartError,
};
use rexi_tests::{Cluster, get, name, peer, release, start_again, until, within};

pub(crate) const R12: Release = Release(1, 2, 0);
const R20: Release = Release(2, 0, 0);
const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// A cluster, and where its members keep the record.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    disks: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self { cluster: Cluster::new(NAMES), disks: tempfile::tempdir().expect("a directory") }
    }

    fn disk(&self, of: &str) -> PathBuf {
        self.disks.path().join(of)
    }

    fn builder(&self, of: &str, number: &str) -> NodeBuilder {
        self.cluster.builder(of, release(number)).state(self.disk(of))
    }

    pub(crate) fn start(&self, of: &str, number: &str) -> Node {
        self.builder(of, number).start().expect("it starts")
    }

    async fn start_again(&self, of: &str, number: &str) -> Node {
        start_again(|| self.builder(of, number)).await
    }

    /// Three nodes of 1.2, with a record of 1.2 alone.
    pub(crate) async fn begun(&self) -> [Node; 3] {
        let nodes = NAMES.map(|of| self.start(of, "1.2"));
        assert_eq!(begin(&nodes[0], R12).await, CommandOutcome::Done(1));
        meet(&nodes).await;
        nodes
    }
}

pub(crate) async fn make(node: &Node, change: ClusterChange) -> CommandOutcome {
    let command = node.command("alice", OperatorCommand::Make(change));
    within("the command", command).await.expect("it is an operator's")
}

pub(crate) async fn begin(node: &Node, at: Release) -> CommandOutcome {
    make(node, ClusterChange::Begin { floor: at, top: at }).await
}

/// Waits until all are connected to all, themselves included.
async fn meet(nodes: &[Node]) {
    for node in nodes {
        let names: Vec<NodeName> = nodes.iter().map(|node| node.name().clone()).collect();
        let is_met = |node: &Node| names.iter().all(|of| peer(node, of.as_str()).presence == PeerPresence::Connected);
        until("all to meet", node, is_met).await;
    }
}

async fn echo(from: &Node, to: &str) -> Result<Bytes, CallError> {
    within("an answer", from.call(&name(to), Request::new("echo", "hello"))).await
}

pub(crate) fn kept(node: &Node) -> Kept {
    (*node.kept().expect("it keeps the record")).clone()
}

fn forget(of: &str, loss: Loss) -> ClusterChange {
    ClusterChange::Forget { nodes: [name(of)].into(), loss }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_serves_nothing_before_its_record_was_begun_and_then_all_have_the_same() {
    let scene = Scene::new();
    let nodes = NAMES.map(|of| scene.start(of, "1.2"));
    let [n1, n2, n3] = &nodes;
    until("n2 to be dialed", n1, |n1| peer(n1, "n2").last_error.is_some()).await;
    let why = peer(n1, "n2").last_error.expect("it was asked");
    assert!(why.contains("begin one with `live init`"), "{why}");
    assert!(n1.members().iter().all(|of| peer(n1, of.as_str()).presence != PeerPresence::Connected), "nor itself");
    let waiting = tokio::spawn({
        let n1 = n1.clone();
        async move { echo(&n1, "n1").await }
    });
    assert_eq!(begin(n2, R12).await, CommandOutcome::Done(1));
    assert_eq!(within("the call", waiting).await.expect("no panic"), Ok(Bytes::from_static(b"hello")));
    meet(&nodes).await;
    assert_eq!(echo(n1, "n3").await, Ok(Bytes::from_static(b"hello")));
    let of = |node: &Node| kept(node).record.expect("they have one");
    assert!(of(n1) == of(n2) && of(n2) == of(n3));
    assert_eq!((of(n1).floor, of(n1).top, &*of(n1).by, of(n1).members.len()), (R12, R12, "alice", 3));
    for disk in NAMES.map(|of| scene.disk(of).join("record")) {
        assert!(fs::read_to_string(disk).expect("it is on the disk").contains("\nrecord 1 1\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_runs_begins_to_keep_a_record_without_standing_still() {
    let scene = Scene::new();
    let mut nodes = NAMES.map(|of| Some(scene.cluster.start(of, "1.2")));
    for (at, of) in NAMES.into_iter().enumerate() {
        within("it to leave", nodes[at].take().expect("it runs").shutdown(Duration::from_secs(1))).await;
        nodes[at] = Some(start_again(|| scene.builder(of, "1.2").without_record()).await);
        meet(&nodes.each_ref().map(|node| node.clone().expect("it runs"))).await;
    }
    let nodes = nodes.map(|node| node.expect("it runs"));
    assert_eq!(begin(&nodes[0], R12).await, CommandOutcome::Done(1));
    meet(&nodes).await;
    assert_eq!(echo(&nodes[0], "n3").await, Ok(Bytes::from_static(b"hello")));
}

#[tokio::test(start_paused = true)]
async fn an_unannounced_release_is_not_started_nor_let_in_and_opens_no_socket() {
    let scene = Scene::new();
    let [n1, n2, n3] = scene.begun().await;
    within("n3 to leave", n3.shutdown(Duration::from_secs(1))).await;
    // The address is taken, and that is not what it fails by.
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (address, _taken) = taken.expect("a free port on loopback");
    let refused = scene.builder("n3", "2.0").listen(address).start().expect_err("it was not announced");
    let StartError::Barred(_, bar) = &refused else { panic!("{refused}") };
    assert_eq!(*bar, Bar::AboveTop { release: R20, floor: R12, top: R12, epoch: 1 });
    assert_eq!(refused.exit_code(), EXIT_CONFIG);
    // With an empty disk it does not know better, and the others do not let it in: neither as one that would keep the
    // record, nor as one that keeps none.
    fs::remove_dir_all(scene.disk("n3")).expect("it is emptied");
    for keeps in [true, false] {
        let builder = || match keeps {
            true => scene.builder("n3", "2.0"),
            false => scene.cluster.builder("n3", release("2.0")),
        };
        let n3 = start_again(builder).await;
        let turned_away = |n3: &Node| n3.status().turned_away_by_all().is_some_and(|why| why.contains("not announced"));
        until("n3 to be told why", &n3, turned_away).await;
        for node in [&n1, &n2] {
            assert_ne!(peer(node, "n3").presence, PeerPresence::Connected);
        }
        within("n3 to leave", n3.shutdown(Duration::from_secs(1))).await;
    }
    assert_eq!(make(&n1, ClusterChange::Open { top: R20 }).await, CommandOutcome::Unknown([name("n3")].into()));
}

#[tokio::test(start_paused = true)]
async fn an_announced_release_is_let_in_and_once_it_is_final_there_is_no_way_back() {
    let scene = Scene::new();
    let nodes = scene.begun().await;
    assert_eq!(make(&nodes[1], ClusterChange::Open { top: R20 }).await, CommandOutcome::Done(2));
    let early = make(&nodes[0], ClusterChange::Finalize { floor: R20 }).await;
    let CommandOutcome::Refused(whys) = &early else { panic!("{early:?}") };
    assert!(whys.values().next().expect("somebody").to_string().contains("it runs release 1.2"), "{early:?}");
    let mut nodes = nodes.map(Some);
    for (at, of) in NAMES.into_iter().enumerate() {
        within("it to leave", nodes[at].take().expect("it runs").shutdown(Duration::from_secs(1))).await;
        nodes[at] = Some(scene.start_again(of, "2.0").await);
        meet(&nodes.each_ref().map(|node| node.clone().expect("it runs"))).await;
    }
    let nodes = nodes.map(|node| node.expect("it runs"));
    assert_eq!(make(&nodes[2], ClusterChange::Finalize { floor: R20 }).await, CommandOutcome::Done(3));
    assert_eq!(make(&nodes[2], ClusterChange::Finalize { floor: R20 }).await, CommandOutcome::Already(3));
    let [n1, _n2, n3] = nodes;
    within("n3 to leave", n3.shutdown(Duration::from_secs(1))).await;
    let refused = scene.builder("n3", "1.2").start().expect_err("there is no way back");
    assert!(matches!(&refused, StartError::Barred(_, Bar::BelowFloor { .. })), "{refused}");
    assert_eq!(refused.exit_code(), EXIT_CONFIG);
    // One that keeps no record and is below the floor is not spoken to.
    let n3 = start_again(|| scene.cluster.builder("n3", release("1.2"))).await;
    until("n3 to be told why", &n3, |n3| {
        n3.status().turned_away_by_all().is_some_and(|why| why.contains("below the floor 2.0"))
    })
    .await;
    assert_ne!(peer(&n1, "n3").presence, PeerPresence::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_disk_was_wiped_is_given_the_record_and_says_yes_again_once_it_was_forgotten() {
    let scene = Scene::new();
    let [n1, n2, n3] = scene.begun().await;
    within("n3 to leave", n3.shutdown(Duration::from_secs(1))).await;
    fs::remove_dir_all(scene.disk("n3")).expect("it is emptied");
    let n3 = scene.start_again("n3", "1.2").await;
    meet(&[n1.clone(), n2.clone(), n3.clone()]).await;
    assert_eq!(kept(&n3).record, kept(&n1).record);
    let refused = make(&n1, ClusterChange::Open { top: R20 }).await;
    let CommandOutcome::Refused(whys) = &refused else { panic!("{refused:?}") };
    assert!(whys[&name("n3")].to_string().contains("have it forgotten as wiped"), "{whys:?}");
    assert_eq!(make(&n1, forget("n3", Loss::Wiped)).await, CommandOutcome::Done(2));
    until("n3 to hear of it", &n3, |n3| kept(n3).epoch() == 2).await;
    meet(&[n1.clone(), n2.clone(), n3.clone()]).await;
    assert_eq!(make(&n2, ClusterChange::Open { top: R20 }).await, CommandOutcome::Done(3));
    assert!(kept(&n3).record.expect("it has one").members.contains(&name("n3")), "it is a member again");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_forgotten_is_cut_off_and_does_not_come_back_with_what_it_has() {
    let scene = Scene::new();
    let [n1, n2, n3] = scene.begun().await;
    // It is there, and the operator is mistaken: all the same it is forgotten.
    assert_eq!(make(&n1, forget("n3", Loss::Destroyed)).await, CommandOutcome::Done(2));
    for node in [&n1, &n2] {
        until("n3 to be cut off", node, |node| peer(node, "n3").presence != PeerPresence::Connected).await;
    }
    until("n3 to be told", &n3, |n3| {
        n3.status().turned_away_by_all().is_some_and(|why| why.contains("n3 was forgotten at epoch 2"))
    })
    .await;
    assert_eq!(kept(&n3).epoch(), 1, "what it keeps is void");
    within("n3 to leave", n3.shutdown(Duration::from_secs(1))).await;
    fs::remove_dir_all(scene.disk("n3")).expect("it is emptied");
    let n3 = scene.start_again("n3", "1.2").await;
    until("n3 to be let in", &n3, |n3| peer(n3, "n1").presence == PeerPresence::Connected).await;
    assert_eq!(make(&n2, ClusterChange::Open { top: R20 }).await, CommandOutcome::Done(3));
    assert!(kept(&n1).record.expect("it has one").members.contains(&name("n3")), "it has joined anew");
}

#[tokio::test(start_paused = true)]
async fn a_brake_holds_all_that_it_reaches_and_lifting_it_lets_them_go_on() {
    let scene = Scene::new();
    let nodes = scene.begun().await;
    let phase = |node: &Node| node.rollout().phase();
    for node in &nodes {
        until("it to switch", node, |node| phase(node) == Phase::Switch).await;
    }
    let to: BTreeMap<_, _> = [(SERVER_PER_NODE.key().clone(), Phase::Introduce)].into();
    let held = nodes[0].command("bob", OperatorCommand::Brake(to)).await;
    assert_eq!(held, Ok(CommandOutcome::Done(1)));
    for node in &nodes {
        assert_eq!(phase(node), Phase::Introduce, "{}", node.name());
        let limit = node.rollout().status().limiting_factor.to_string();
        assert!(limit.contains("a brake, says introduce"), "{limit}");
    }
    let braked = make(&nodes[1], ClusterChange::Open { top: R20 }).await;
    let CommandOutcome::Refused(whys) = &braked else { panic!("{braked:?}") };
    assert!(whys.values().next().expect("somebody").to_string().contains("by bob: lift it first"), "{braked:?}");
    let numbers = NAMES.map(|of| (name(of), 1)).into();
    assert_eq!(make(&nodes[1], ClusterChange::Lift(numbers)).await, CommandOutcome::Done(2));
    for node in &nodes {
        until("it to switch again", node, |node| phase(node) == Phase::Switch).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_brake_comes_to_who_was_away_when_it_was_put_on() {
    let scene = Scene::new();
    let [n1, n2, n3] = scene.begun().await;
    within("n3 to leave", n3.shutdown(Duration::from_secs(1))).await;
    let to: BTreeMap<_, _> = [(SERVER_PER_NODE.key().clone(), Phase::Introduce)].into();
    let held = within("the brake", n1.command("bob", OperatorCommand::Brake(to))).await;
    assert_eq!(held, Ok(CommandOutcome::UnderWay([name("n3")].into())));
    let n3 = scene.start_again("n3", "1.2").await;
    until("n3 to hear of it", &n3, |n3| kept(n3).brakes.contains_key(&name("n1"))).await;
    meet(&[n1, n2, n3.clone()]).await;
    assert_eq!(n3.rollout().phase(), Phase::Introduce);
    assert!(n3.rollout().status().limiting_factor.to_string().contains("a brake, says introduce"));
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_cannot_be_read_starts_nothing_and_is_not_taken_for_an_empty_one() {
    let scene = Scene::new();
    let [n1, n2, n3] = scene.begun().await;
    within("n3 to leave", n3.shutdown(Duration::from_secs(1))).await;
    let file = scene.disk("n3").join("record");
    let text = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, &text[..text.len() - 1]).expect("it is cut short");
    let refused = scene.builder("n3", "1.2").start().expect_err("it cannot be read");
    assert!(matches!(refused, StartError::State(_)) && refused.exit_code() == EXIT_CONFIG, "{refused}");
    let twice = scene.builder("n2", "1.2").start().expect_err("n2 runs");
    assert!(twice.to_string().contains("another process has") && twice.exit_code() == 1, "{twice}");
    drop((n1, n2));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_state_takes_no_command_and_an_operator_has_a_name() {
    let scene = Scene::new();
    let node = scene.cluster.start("n1", "1.2");
    assert_eq!(node.kept(), None);
    assert_eq!(node.command("alice", OperatorCommand::Resume).await, Err(CommandError::Unkept));
    let keeps = scene.start("n2", "1.2");
    let nobody = keeps.command("Al ice", OperatorCommand::Resume).await;
    assert_eq!(nobody, Err(CommandError::NoOperator("Al ice".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_learns_while_it_runs_that_its_release_may_not_drains_and_says_why() {
    let scene = Scene::new();
    let [n1, n2, n3] = scene.begun().await;
    within("n3 to leave", n3.shutdown(Duration::from_secs(1))).await;
    fs::remove_dir_all(scene.disk("n3")).expect("it is emptied");
    // With an empty disk it does not know that 1.0 was left behind, and is not told before somebody asks it.
    let n3 = scene.start_again("n3", "1.0").await;
    until("n3 to be told why", &n3, |n3| n3.status().turned_away_by_all().is_some()).await;
    let spread = make(&n1, ClusterChange::Open { top: R20 }).await;
    assert!(matches!(spread, CommandOutcome::Refused(_)), "{spread:?}");
    let bar = within("n3 to be barred", n3.barred()).await;
    assert_eq!(bar, Bar::BelowFloor { release: Release(1, 0, 0), floor: R12, top: R12, epoch: 1 });
    assert!(n3.status().draining && kept(&n3).epoch() == 1);
    drop(n2);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_away_is_named_and_learns_what_it_has_missed_when_it_is_back() {
    let scene = Scene::new();
    let [n1, n2, n3] = scene.begun().await;
    let disk = scene.disk("n3").join("record");
    let old = fs::read_to_string(&disk).expect("it is there");
    assert_eq!(make(&n1, ClusterChange::Open { top: R20 }).await, CommandOutcome::Done(2));
    within("n3 to leave", n3.shutdown(Duration::from_secs(1))).await;
    let away = make(&n1, ClusterChange::Cap(BTreeMap::new())).await;
    assert_eq!(away, CommandOutcome::UnderWay([name("n3")].into()), "there is nothing to do, for all that is known");
    // As if the commit had never come.
    fs::write(&disk, old).expect("its disk is set back");
    let n3 = scene.start_again("n3", "1.2").await;
    until("n3 to be given the record", &n3, |n3| kept(n3).epoch() == 2).await;
    meet(&[n1.clone(), n2.clone(), n3.clone()]).await;
    assert_eq!(n1.command("bob", OperatorCommand::Resume).await, Ok(CommandOutcome::Already(2)));
}

#[tokio::test]
async fn the_port_for_operators_shows_the_record_and_why_a_node_is_not_ready() {
    let scene = Scene::new();
    let nodes = NAMES.map(|of| scene.start(of, "1.2"));
    let port = AdminPort::open(&nodes[0], ([127, 0, 0, 1], 0).into(), None).await.expect("a free port");
    let (code, ready) = get(port.local_addr(), "/readyz").await;
    assert!(
        code == 503 && ready.contains("[-] recorded: no record is known here: begin one with `live init`"),
        "{ready}"
    );
    let status = async || -> serde_json::Value {
        serde_json::from_str(&get(port.local_addr(), "/status").await.1).expect("JSON")
    };
    let before = status().await;
    assert_eq!((&before["record"]["epoch"], &before["record"]["floor"]), (&0.into(), &serde_json::Value::Null));
    assert_eq!(begin(&nodes[1], R12).await, CommandOutcome::Done(1));
    meet(&nodes).await;
    let (code, ready) = get(port.local_addr(), "/readyz").await;
    assert!(code == 200 && ready.contains("[+] recorded"), "{ready}");
    let after = status().await;
    let record = kept(&nodes[0]).record.expect("it has one");
    assert_eq!(after["record"]["digest"], record.digest().to_string());
    assert_eq!((&after["record"]["floor"], &after["record"]["by"]), (&"1.2".into(), &"alice".into()));
    assert_eq!((&after["record"]["members"], &after["transition"]), (&NAMES.to_vec().into(), &serde_json::Value::Null));
}
