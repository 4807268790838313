//! Questions about the record, between members and by strangers: who is answered, from what, and within which bounds.

use std::time::Duration;

use rexi_proto::CloseCode;
use rexi_proto::record::{
    ClusterChange, CommandOutcome, Digest, KeeperAsk, MemberAsk, OperatorCommand, Question, RECORD_SAID_BYTES_MAX,
    RecordReply,
};
use rexi_server::{Node, PeerPresence, Phase, SERVER_PER_NODE};
use rexi_tests::{Cluster, Forge, Impostor, Stranger, name, pass, release, until, within};
use tokio::time::Instant;

use crate::record::{R12, Scene, begin, kept, make};

/// What n1 answers to a question, put by a member n3 that a test plays; or how it closes.
async fn asked(scene: &Scene, frame: &[u8]) -> Result<RecordReply, (u64, String)> {
    let mut lane =
        Stranger::member(scene.cluster.authority(), "n3").open(scene.cluster.address("n1"), "n1", frame).await;
    let _ = lane.send.finish();
    match lane.recv.read_to_end(RECORD_SAID_BYTES_MAX as usize).await {
        Ok(answer) if !answer.is_empty() => Ok(RecordReply::decode(&answer).expect("an answer")),
        _ => Err(lane.closed().await),
    }
}

fn question(from: &str) -> Vec<u8> {
    Question { from: name(from), ask: MemberAsk::Record(KeeperAsk::Read) }.encode().expect("it is short")
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_from_the_disk_whatever_the_two_may_not_say_to_each_other() {
    let scene = Scene::new();
    let [n1, _n2, n3] = scene.begun().await;
    within("n3 to leave", n3.shutdown(Duration::from_secs(1))).await;
    // It has said no hello: whether the two may serve each other is not asked.
    let answer = asked(&scene, &question("n3")).await;
    let Ok(RecordReply::Answer(answer)) = answer else { panic!("{answer:?}") };
    assert_eq!((answer.did, answer.kept), (Ok(()), kept(&n1)));
    assert_eq!((answer.life.release, answer.life.incarnation, answer.members.len()), (R12, n1.incarnation(), 3));
    assert_ne!(answer.life.build, Digest::default());
    let unkept = Scene::new();
    let _n1 = unkept.cluster.start("n1", "1.2");
    assert_eq!(asked(&unkept, &question("n3")).await, Ok(RecordReply::Unkept));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_too_long_or_of_somebody_else_is_not_answered() {
    let scene = Scene::new();
    let _n1 = scene.start("n1", "1.2");
    let cases = [
        (question("n2"), "the certificate does not name n2"),
        ([&question("n3")[..], &[0]].concat(), "a question about the record that is none"),
        ([&question("n3")[..], &vec![0; RECORD_SAID_BYTES_MAX as usize]].concat(), "too long"),
        (question("n3")[..6].to_vec(), "a question about the record that is none"),
    ];
    for (frame, says) in cases {
        let (code, why) = asked(&scene, &frame).await.expect_err("it is no question");
        assert_eq!(code, u64::from(CloseCode::BadHandshake.code()), "{why}");
        assert!(why.contains(says), "{why:?} says nothing of {says:?}");
    }
    // Nobody of that name is a member.
    let stranger = Stranger::member(scene.cluster.authority(), "n9");
    let mut lane = stranger.open(scene.cluster.address("n1"), "n1", &question("n9")).await;
    let _ = lane.send.finish();
    let reply = lane.recv.read_to_end(RECORD_SAID_BYTES_MAX as usize).await.expect("a reply");
    assert_eq!(RecordReply::decode(&reply), Ok(RecordReply::NotAMember));
}

#[tokio::test(start_paused = true)]
async fn more_questions_at_once_than_there_are_places_are_turned_away() {
    let scene = Scene::new();
    let _n1 = scene.start("n1", "1.2");
    let n3 = Stranger::member(scene.cluster.authority(), "n3");
    let ask = async || {
        let mut lane = n3.open(scene.cluster.address("n1"), "n1", &question("n3")).await;
        let _ = lane.send.finish();
        let answered = lane.recv.read_to_end(RECORD_SAID_BYTES_MAX as usize).await.is_ok_and(|bytes| !bytes.is_empty());
        (lane, answered)
    };
    let mut stay = Vec::new();
    for number in 0..64 {
        let (lane, answered) = ask().await;
        assert!(answered, "question {number}");
        stay.push(lane);
    }
    let (lane, answered) = ask().await;
    assert!(!answered);
    assert_eq!(
        lane.closed().await,
        (u64::from(CloseCode::TryAgain.code()), "too many questions are being answered".to_owned())
    );
    stay.pop().expect("there are some").connection.close(0_u32.into(), b"");
    within("a place", async { while !ask().await.1 {} }).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_answer_counts_as_away_after_10_s() {
    let cluster = Cluster::new(["n1"]);
    let authority = Forge::new("an authority");
    let silent = Impostor::listen(&authority.sound("n2"), Vec::new());
    let disk = tempfile::tempdir().expect("a directory");
    let builder = Node::builder(name("n1"), release("1.2"), authority.identity("n1")).listen(cluster.address("n1"));
    let n1 = builder.peer(name("n2"), silent.address()).state(disk.path().join("n1")).start().expect("it starts");
    let began = Instant::now();
    assert_eq!(begin(&n1, R12).await, CommandOutcome::Unknown([name("n2")].into()));
    let took = began.elapsed();
    assert!((Duration::from_millis(9_990)..=Duration::from_millis(10_100)).contains(&took), "{took:?}");
}

/// `cargo test --release -p rexi-tests --test behaviour -- --ignored advance_takes --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn how_long_an_advance_takes_with_5_to_64_members() {
    for count in [5_usize, 16, 32, 64] {
        let names: Vec<String> = (0..count).map(|number| format!("n{number:02}")).collect();
        let disks = tempfile::tempdir().expect("a directory");
        let (authority, sockets): (_, Vec<_>) = (
            rexi_server::DevAuthority::in_memory().expect("keys can be made"),
            // Each has an address of its own, as on machines of their own: places for handshakes are by address.
            (1..=count)
                .map(|own| std::net::UdpSocket::bind(format!("127.0.1.{own}:0")).expect("a free port"))
                .collect(),
        );
        let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().expect("it is bound")).collect();
        drop(sockets);
        let mut nodes: Vec<Node> = Vec::new();
        for own in 0..count {
            let identity = authority.issue(&name(&names[own])).expect("a certificate can be made");
            let mut builder = Node::builder(name(&names[own]), release("1.2"), identity)
                .listen(addresses[own])
                .state(disks.path().join(&names[own]));
            for other in (0..count).filter(|&other| other != own) {
                builder = builder.peer(name(&names[other]), addresses[other]);
            }
            nodes.push(builder.start().expect("it starts"));
            // Two thousand handshakes at once are too many for one machine.
            pass(Duration::from_millis(100)).await;
        }
        begin(&nodes[0], R12).await;
        while !nodes.iter().all(|node| node.kept().is_some_and(|kept| kept.epoch() == 1)) {
            pass(Duration::from_secs(1)).await;
            nodes[0].command("alice", OperatorCommand::Resume).await.expect("it is an operator's");
        }
        let is_up = |node: &Node| node.status().peers.iter().all(|peer| peer.presence == PeerPresence::Connected);
        for node in &nodes {
            until("all to meet", node, is_up).await;
        }
        let mut took = Vec::new();
        for (round, node) in nodes.iter().take(5).enumerate() {
            let phase = if round % 2 == 0 { Phase::Introduce } else { Phase::Switch };
            let began = std::time::Instant::now();
            let cap = ClusterChange::Cap([(SERVER_PER_NODE.key().clone(), phase)].into());
            assert_eq!(make(node, cap).await, CommandOutcome::Done(round as u64 + 2));
            took.push(began.elapsed());
        }
        took.sort();
        println!("{count} members: {:?} (median of {:?})", took[2], took);
    }
}
