//! The port for operators: who is let in, what each may ask, and that all of it is in the trail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rexi_proto::operate::{OPERATE_ALPN, OperatorAsk, OperatorReply, REXI, SourceLook, TrailLine};
use rexi_proto::record::{ClusterChange, CommandOutcome, Digest, OperatorCommand};
use rexi_server::identity::OperatorAuthority;
use rexi_server::operate::{OperatePort, OperatorClient, OperatorError};
use rexi_server::operators::OperatorList;
use rexi_server::{
    Bytes, DevAuthority, Identity, Node, Phase, PhaseFile, Release, Request, SERVER_PER_NODE, StartRollout,
};
use rexi_tests::{Cluster, Shown, Stranger, name, pass, release, until, within};
use tokio::time::Instant;

const R12: Release = Release(1, 2, 0);
const LIMIT: Duration = Duration::from_secs(20);

/// A cluster of two whose record can be kept, and the port of n1.
struct Scene {
    cluster: Cluster,
    operators: DevAuthority,
    nodes: [Node; 2],
    port: SocketAddr,
    _disks: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (cluster, disks) = (Cluster::new(["n1", "n2"]), tempfile::tempdir().expect("a directory"));
        let operators = DevAuthority::in_memory().expect("keys can be made");
        let start = |of: &str| {
            let builder = cluster.builder(of, release("1.2")).state(disks.path().join(of));
            builder.ready_check("store", || Err("it is full")).start().expect("it starts")
        };
        let nodes = ["n1", "n2"].map(start);
        let authority = OperatorAuthority::from_pem(operators.ca_pem().as_bytes()).expect("an authority");
        let list = OperatorList::default().allow("alice", "*").and_then(|list| list.allow("bob", "status"));
        let port = OperatePort::open(&nodes[0], ([127, 0, 0, 1], 0).into(), authority, list.expect("a list"));
        let port = port.expect("a free port").local_addr();
        Self { cluster, operators, nodes, port, _disks: disks }
    }

    /// An operator that this authority vouches for.
    fn operator(&self, vouching: &DevAuthority, of: &str) -> OperatorClient {
        let (cert, key) = vouching.issue_operator_pem(of).expect("a certificate can be made");
        self.shows(&cert, &key)
    }

    fn shows(&self, cert: &str, key: &str) -> OperatorClient {
        let ca = self.cluster.authority().ca_pem().as_bytes();
        let identity = Identity::from_pem(ca, cert.as_bytes(), key.as_bytes()).expect("an identity");
        OperatorClient::new(&identity).expect("TLS can be set up")
    }

    async fn asks(&self, of: &str, ask: OperatorAsk) -> OperatorReply {
        let operator = self.operator(&self.operators, of);
        operator.ask(&name("n1"), self.port, &ask, LIMIT).await.expect("it answers")
    }

    async fn makes(&self, of: &str, command: OperatorCommand) -> OperatorReply {
        self.asks(of, OperatorAsk::Command { command, looked_at: None, ignored: BTreeMap::new() }).await
    }

    /// The trail of n1, whose lines hang together.
    async fn trail(&self) -> Vec<TrailLine> {
        let OperatorReply::Trails(mut trails) = self.asks("alice", OperatorAsk::Trail { all: true, since: 0 }).await
        else {
            panic!("it gives its trail")
        };
        assert_eq!(trails[&name("n2")], Ok(String::new()), "nobody has asked anything of n2");
        let mut last = Digest::default();
        let line = |text: &str| {
            let line: TrailLine = serde_json::from_str(text).expect("a line");
            assert_eq!(line.previous, last.to_string(), "{text}");
            last = Digest::of(text);
            line
        };
        trails.remove(&name("n1")).expect("it is asked").expect("it has one").lines().map(line).collect()
    }
}

fn begin() -> OperatorCommand {
    OperatorCommand::Make(ClusterChange::Begin { floor: R12, top: R12 })
}

#[tokio::test]
async fn an_operator_may_do_what_the_list_says_and_all_that_is_asked_is_in_the_trail() {
    let scene = Scene::new();
    let denied = scene.makes("bob", begin()).await;
    assert_eq!(denied, OperatorReply::Denied { operator: "bob".to_owned(), verb: "init".to_owned() });
    let stranger = scene.asks("mallory", OperatorAsk::Look { all: false, but: None }).await;
    assert_eq!(stranger, OperatorReply::Denied { operator: "mallory".to_owned(), verb: "status".to_owned() });
    assert_eq!(scene.nodes[0].kept().expect("it keeps a record").epoch(), 0, "nothing has changed");
    assert_eq!(scene.makes("alice", begin()).await, OperatorReply::Outcome(CommandOutcome::Done(1)));
    let ignored = BTreeMap::from([("clocks".to_owned(), "no NTP here".to_owned())]);
    let low = BTreeMap::from([(SERVER_PER_NODE.key().clone(), Phase::Introduce)]);
    let hold = OperatorAsk::Command { command: OperatorCommand::Brake(low), looked_at: None, ignored: ignored.clone() };
    assert_eq!(scene.asks("alice", hold).await, OperatorReply::Outcome(CommandOutcome::Done(1)));
    let trail = scene.trail().await;
    let told: Vec<_> = trail.iter().map(|line| (&*line.by, &*line.verb, line.outcome.as_deref())).collect();
    let done = Some("done: all members have epoch 1 on their disks");
    let lines = [
        ("bob", "init", Some("denied")),
        ("mallory", "status", Some("denied")),
        ("alice", "init", None),
        ("alice", "init", done),
        ("alice", "hold", None),
        ("alice", "hold", done),
        ("alice", "history", None),
    ];
    assert_eq!(told, lines);
    assert_eq!((&*trail[2].told, &trail[4].ignored), ("begin with 1.2 to 1.2", &ignored));
    assert_eq!(trail[4].told, "hold rexi.server-per-node=introduce");
    assert!(
        trail.iter().all(|line| line.fingerprint.len() == 64 && line.from.starts_with("127.0.0.1:") && line.at > 0)
    );
}

#[tokio::test]
async fn a_look_tells_what_each_member_is_and_keeps_and_who_does_not_say() {
    let scene = Scene::new();
    scene.makes("alice", begin()).await;
    for (node, other) in [(&scene.nodes[0], "n2"), (&scene.nodes[1], "n1")] {
        until("the two to meet", node, |node| rexi_tests::peer(node, other).incarnation.is_some()).await;
    }
    let OperatorReply::Looks(looks) = scene.asks("bob", OperatorAsk::Look { all: true, but: None }).await else {
        panic!("it looks")
    };
    for (at, of) in ["n1", "n2"].into_iter().enumerate() {
        let look = looks[&name(of)].as_ref().expect("it says");
        let answer = look.answer.as_ref().expect("it keeps a record");
        assert_eq!(
            (&answer.kept, look.life.incarnation),
            (&*scene.nodes[at].kept().expect("so it does"), scene.nodes[at].incarnation())
        );
        assert_eq!(look.stops.iter().map(Release::to_string).collect::<Vec<_>>(), ["1.0", "1.1", "1.2", "2.0"]);
        assert_eq!((look.peers.len(), look.phases.len(), look.pool_left), (1, 1, 100));
        assert!(look.peers.values().all(|peer| peer.is_connected), "{:?}", look.peers);
        assert_eq!(look.unready, BTreeMap::from([("store".to_owned(), "it is full".to_owned())]));
        assert_eq!((&look.disk_problem, look.draining), (&None, false));
        assert!(look.singleton.is_some(), "1.2 runs it");
    }
    let [n1, n2] = scene.nodes.clone();
    n2.shutdown(Duration::from_secs(1)).await;
    let OperatorReply::Looks(looks) = scene.asks("bob", OperatorAsk::Look { all: true, but: None }).await else {
        panic!("it looks")
    };
    assert!(looks[&name("n1")].is_ok() && looks[&name("n2")].is_err(), "{looks:?}");
    let but_n2 = OperatorAsk::Look { all: true, but: Some(name("n2")) };
    let OperatorReply::Looks(looks) = scene.asks("bob", but_n2).await else { panic!("it looks") };
    assert_eq!(looks.into_keys().collect::<Vec<_>>(), [name("n1")], "who is down is not waited for");
    drop(n1);
}

#[tokio::test(start_paused = true)]
async fn a_look_tells_of_the_oldest_job_and_of_the_flag_source() {
    let (cluster, dir) = (Cluster::new(["n1", "n2"]), tempfile::tempdir().expect("a directory"));
    let file = dir.path().join("phase");
    std::fs::write(&file, "introduce").expect("it is written");
    let builder = cluster.builder("n1", release("1.2")).drain_limit(Duration::from_secs(7));
    let rollout = StartRollout::from_release().source(PhaseFile(file.clone()));
    let n1 = builder.rollout(rollout).start().expect("it starts");
    let n2 = cluster.start("n2", "1.2");
    let operators = DevAuthority::in_memory().expect("keys can be made");
    let authority = OperatorAuthority::from_pem(operators.ca_pem().as_bytes()).expect("an authority");
    let list = OperatorList::default().allow("alice", "status").expect("a list");
    let port = OperatePort::open(&n1, ([127, 0, 0, 1], 0).into(), authority, list).expect("a free port");
    let (cert, key) = operators.issue_operator_pem("alice").expect("a certificate can be made");
    let ca = cluster.authority().ca_pem().as_bytes();
    let identity = Identity::from_pem(ca, cert.as_bytes(), key.as_bytes()).expect("an identity");
    let alice = OperatorClient::new(&identity).expect("TLS can be set up");
    let look = async || {
        let asked =
            alice.ask(&name("n1"), port.local_addr(), &OperatorAsk::Look { all: false, but: None }, LIMIT).await;
        let Ok(OperatorReply::Looks(mut looks)) = asked else { panic!("it looks: {asked:?}") };
        looks.remove(&name("n1")).expect("it was asked").expect("it says")
    };
    let idle = look().await;
    assert_eq!((idle.oldest_job_ms, idle.drain_limit_ms, idle.rexi.to_string()), (None, 7_000, REXI.to_owned()));
    let ceilings = BTreeMap::from([(SERVER_PER_NODE.key().clone(), Phase::Introduce)]);
    assert_eq!(idle.source, Some(SourceLook { problem: None, ceilings: ceilings.clone() }));

    let _hangs = n2.cast(&name("n1"), Request::new("forever", Bytes::new())).expect("it is taken");
    until("the job", &n1, |n1| n1.status().jobs == 1).await;
    pass(Duration::from_secs(5)).await;
    std::fs::remove_file(&file).expect("it is there");
    pass(Duration::from_millis(1_100)).await;
    let late = look().await;
    let age = late.oldest_job_ms.expect("a job runs");
    assert!((6_000..8_000).contains(&age), "{age} ms");
    let source = late.source.expect("it has one");
    assert!(source.problem.is_some_and(|problem| problem.contains("No such file")), "it is silent");
    assert_eq!(source.ceilings, ceilings, "the last good word is kept");
}

#[tokio::test]
async fn nobody_but_an_operator_of_the_operators_authority_is_let_in() {
    let scene = Scene::new();
    let of_nodes = scene.cluster.authority();
    let (node_cert, node_key) = of_nodes.issue_pem(&name("n2")).expect("a certificate can be made");
    let (nobody_cert, nobody_key) = scene.operators.issue_pem(&name("n2")).expect("a certificate can be made");
    let strangers = [
        ("a node", scene.shows(&node_cert, &node_key)),
        ("an operator that the nodes' authority vouches for", scene.operator(of_nodes, "alice")),
        ("who is no operator by the certificate", scene.shows(&nobody_cert, &nobody_key)),
        ("who has no operator's name", scene.operator(&scene.operators, "Alice")),
    ];
    for (who, stranger) in strangers {
        let ask = OperatorAsk::Look { all: false, but: None };
        let refused = stranger.ask(&name("n1"), scene.port, &ask, LIMIT).await;
        assert!(refused.is_err(), "{who} was let in: {refused:?}");
    }
    assert_eq!(scene.trail().await.len(), 1, "none of them has asked anything");
    // And an operator is no member.
    let alice = scene.operator(&scene.operators, "alice");
    let of_member =
        alice.ask(&name("n1"), scene.cluster.address("n1"), &OperatorAsk::Look { all: false, but: None }, LIMIT).await;
    assert!(matches!(of_member, Err(OperatorError::NotReached { .. })), "{of_member:?}");
    let elsewhere = alice.ask(&name("n9"), scene.port, &OperatorAsk::Look { all: false, but: None }, LIMIT).await;
    assert!(matches!(elsewhere, Err(OperatorError::NotReached { .. })), "it is n1 and not n9: {elsewhere:?}");
}

#[tokio::test]
async fn a_command_goes_on_where_the_tool_that_asked_for_it_is_gone() {
    let scene = Scene::new();
    let alice = scene.operator(&scene.operators, "alice");
    let ask = OperatorAsk::Command { command: begin(), looked_at: None, ignored: BTreeMap::new() };
    let gone = alice.ask(&name("n1"), scene.port, &ask, Duration::from_micros(1)).await;
    assert!(matches!(gone, Err(OperatorError::NotReached { .. })), "it had no time: {gone:?}");
    assert_eq!(scene.nodes[0].kept().expect("it keeps a record").epoch(), 0);
    let asked = tokio::spawn(async move { alice.ask(&name("n1"), scene.port, &ask, LIMIT).await.map(|_| ()) });
    let n1 = scene.nodes[0].clone();
    until("it to have said yes", &n1, |n1| {
        let kept = n1.kept().expect("it keeps a record");
        kept.vote.is_some() || kept.epoch() == 1
    })
    .await;
    asked.abort();
    for node in &scene.nodes {
        until("the record to be there", node, |node| node.kept().expect("it keeps a record").epoch() == 1).await;
    }
}

/// A connection of alice's on which nothing is asked yet, by hand.
async fn connected(scene: &Scene) -> quinn::Connection {
    let (chain, key) = scene.operators.issue_operator_pem("alice").expect("a certificate can be made");
    let alice = Stranger::showing(Some(&Shown { chain, key }), OPERATE_ALPN);
    alice.connect(scene.port, "n1").await.expect("TLS succeeds")
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_asks_nothing_is_closed_after_3_s() {
    let scene = Scene::new();
    let (silent, began) = (connected(&scene).await, Instant::now());
    within("the close", silent.closed()).await;
    let took = began.elapsed();
    assert!((Duration::from_millis(2_900)..Duration::from_millis(3_100)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_does_not_leave_is_closed_after_10_s() {
    let scene = Scene::new();
    let stays = connected(&scene).await;
    let (mut send, mut recv) = stays.open_bi().await.expect("a stream");
    send.write_all(&OperatorAsk::Look { all: false, but: None }.encode().expect("it is short"))
        .await
        .expect("it is taken");
    send.finish().expect("it is open");
    let reply = recv.read_to_end(1 << 20).await.expect("a reply");
    assert!(matches!(OperatorReply::decode(&reply), Ok(OperatorReply::Looks(_))));
    let began = Instant::now();
    within("the close", stays.closed()).await;
    let took = began.elapsed();
    assert!((Duration::from_millis(9_900)..Duration::from_millis(10_100)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn more_operators_at_once_than_there_are_places_are_refused() {
    let scene = Scene::new();
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(connected(&scene).await);
    }
    let alice = scene.operator(&scene.operators, "alice");
    let ask = OperatorAsk::Look { all: false, but: None };
    let refused = alice.ask(&name("n1"), scene.port, &ask, LIMIT).await;
    assert!(matches!(refused, Err(OperatorError::NotReached { .. })), "{refused:?}");
    silent.pop().expect("there are some").close(0_u32.into(), b"");
    within("a place", async { while alice.ask(&name("n1"), scene.port, &ask, LIMIT).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_command_that_was_meant_for_an_earlier_record_is_not_begun() {
    let scene = Scene::new();
    scene.makes("alice", begin()).await;
    let looked_at = scene.nodes[0].kept().and_then(|kept| Some(kept.record.as_ref()?.digest()));
    let cap = |phase| {
        let ceilings = [(SERVER_PER_NODE.key().clone(), phase)].into();
        let command = OperatorCommand::Make(ClusterChange::Cap(ceilings));
        OperatorAsk::Command { command, looked_at, ignored: BTreeMap::new() }
    };
    let first = scene.asks("alice", cap(Phase::Introduce)).await;
    assert_eq!(first, OperatorReply::Outcome(CommandOutcome::Done(2)));
    let second = scene.asks("alice", cap(Phase::Switch)).await;
    assert!(matches!(second, OperatorReply::Outcome(CommandOutcome::Theirs { .. })), "{second:?}");
}

#[tokio::test]
async fn who_would_forget_everybody_is_told_that_nobody_would_be_left() {
    let scene = Scene::new();
    scene.makes("alice", begin()).await;
    let nodes = ["n1", "n2"].map(name).into();
    let forget = OperatorCommand::Make(ClusterChange::Forget { nodes, loss: rexi_proto::record::Loss::Destroyed });
    let OperatorReply::Outcome(CommandOutcome::Refused(whys)) = scene.makes("alice", forget).await else {
        panic!("it is refused")
    };
    assert!(whys.values().all(|why| why.to_string().contains("nobody would be left")), "{whys:?}");
}

#[tokio::test]
async fn a_denial_is_put_down_in_few_bytes_whatever_was_asked() {
    let scene = Scene::new();
    let nodes = (0..40).map(|number| name(&format!("n{number}.{}", "x".repeat(60)))).collect();
    let forget = ClusterChange::Forget { nodes, loss: rexi_proto::record::Loss::Wiped };
    let ignored = BTreeMap::from([("clocks".to_owned(), "\u{1}".repeat(50_000))]);
    let command = OperatorCommand::Make(forget);
    let denied = scene.asks("bob", OperatorAsk::Command { command, looked_at: None, ignored }).await;
    assert_eq!(denied, OperatorReply::Denied { operator: "bob".to_owned(), verb: "forget".to_owned() });
    let trail = scene.trail().await;
    assert_eq!((trail[0].told.chars().count(), trail[0].ignored.len()), (1_000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_answer_an_operator_is_given_up_after_3_s() {
    let scene = Scene::new();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port on loopback");
    let (alice, began) = (scene.operator(&scene.operators, "alice"), Instant::now());
    let address = silent.local_addr().expect("it is bound");
    let asked = alice.ask(&name("n1"), address, &OperatorAsk::Look { all: false, but: None }, LIMIT).await;
    assert!(matches!(asked, Err(OperatorError::NotReached { .. })), "{asked:?}");
    let took = began.elapsed();
    assert!((Duration::from_millis(2_990)..Duration::from_millis(3_200)).contains(&took), "{took:?}");
}
