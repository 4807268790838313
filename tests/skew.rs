//! Which releases may run side by side: every ordered pair of the train, as two real nodes over QUIC.

use rexi_server::{Answer, Bytes, Node, PeerPresence, Phase, Request, StartRollout, proto::Refusal};
use rexi_tests::{Cluster, RELEASES, Witness, name, peer, release, until, within};

/// The answer to a cast of `witness`.
async fn cast(from: &Node, to: &str) -> Answer {
    let mut call = from.cast(&name(to), Request::new("witness", "hello")).expect("it is a member");
    within("an answer", call.next()).await.expect("every cast is answered")
}

fn is_refused(node: &Node, by: &str) -> bool {
    let peer = peer(node, by);
    peer.refusal.is_some() && matches!(peer.presence, PeerPresence::Refused(_))
}

#[tokio::test]
async fn neighbours_connect_and_all_others_are_refused_on_both_sides() {
    let reply = Answer::Reply { body: Bytes::from("hello"), last: true };
    let mut table = Vec::new();
    for (i, dialed) in RELEASES.into_iter().enumerate() {
        for (j, dialing) in RELEASES.into_iter().enumerate() {
            let (cluster, witness) = (Cluster::new(["n1", "n2"]), Witness::default());
            let start = |of, number| witness.on(cluster.builder(of, release(number))).start().expect("a node");
            let (n1, n2) = (start("n1", dialed), start("n2", dialing));
            if i.abs_diff(j) <= 1 {
                within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
                assert_eq!(cast(&n1, "n2").await, reply, "{dialed} to {dialing}");
                assert_eq!(cast(&n2, "n1").await, reply, "{dialing} to {dialed}");
                assert_eq!(witness.count(), 2, "{dialed} and {dialing}");
                table.push(format!("{dialed} - {dialing}  connected, a cast each way answered"));
                continue;
            }
            until("n1 to refuse", &n1, |n1| is_refused(n1, "n2")).await;
            until("n2 to refuse", &n2, |n2| is_refused(n2, "n1")).await;
            let refusals = [peer(&n1, "n2"), peer(&n2, "n1")].map(|peer| peer.refusal.expect("a refusal"));
            assert_eq!(refusals[0], refusals[1], "both sides say the same");
            let text = refusals[0].to_string();
            for number in [dialed, dialing] {
                assert!(text.contains(&format!("release {number}.0")), "{dialed} - {dialing}: {text}");
            }
            let incompatible = Answer::Incompatible(Box::new(refusals[0].clone()));
            assert_eq!(cast(&n1, "n2").await, incompatible, "{dialed} to {dialing}");
            assert_eq!(cast(&n2, "n1").await, incompatible, "{dialing} to {dialed}");
            assert_eq!(witness.count(), 0, "nothing runs between {dialed} and {dialing}");
            assert_eq!((n1.status().jobs, n2.status().jobs), (0, 0));
            table.push(format!("{dialed} - {dialing}  refused: {text}"));
        }
    }
    println!("{}", table.join("\n"));
    let refused = table.iter().filter(|row| row.contains("refused")).count();
    assert_eq!((table.len() - refused, refused), (10, 6));
}

#[tokio::test]
async fn a_node_held_at_introduce_meets_a_remover_once_its_ceiling_is_lifted() {
    let (cluster, witness) = (Cluster::new(["n1", "n2"]), Witness::default());
    let held = cluster.builder("n1", release("1.2")).rollout(StartRollout::from_release().ceiling(Phase::Introduce));
    let n1 = witness.on(held).start().expect("n1 starts");
    let n2 = witness.on(cluster.builder("n2", release("2.0"))).start().expect("n2 starts");
    until("n1 to refuse", &n1, |n1| is_refused(n1, "n2")).await;
    until("n2 to refuse", &n2, |n2| is_refused(n2, "n1")).await;
    let text = peer(&n2, "n1").refusal.expect("a refusal").to_string();
    assert!(text.contains("1.2.0") && text.contains("2.0.0") && text.contains("introduce"), "{text}");
    assert!(matches!(cast(&n1, "n2").await, Answer::Incompatible(_)));
    assert!(matches!(cast(&n2, "n1").await, Answer::Incompatible(_)));
    assert_eq!(witness.count(), 0);
    println!("1.2 at introduce - 2.0  refused: {text}");

    n1.rollout().set_ceiling(None).expect("1.2 may be raised");
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    assert!(matches!(cast(&n1, "n2").await, Answer::Reply { .. }));
    assert!(matches!(cast(&n2, "n1").await, Answer::Reply { .. }));
    assert_eq!(peer(&n1, "n2").refusal, None);
}

#[tokio::test]
async fn a_third_member_at_introduce_keeps_a_remover_out_and_is_named() {
    let (cluster, witness) = (Cluster::new(["n1", "n2", "n3"]), Witness::default());
    let n1 = witness.on(cluster.builder("n1", release("1.2"))).start().expect("n1 starts");
    let n2 = witness.on(cluster.builder("n2", release("2.0"))).start().expect("n2 starts");
    let held = cluster.builder("n3", release("1.2")).rollout(StartRollout::from_release().ceiling(Phase::Introduce));
    let n3 = witness.on(held).start().expect("n3 starts");
    // n1 is at Switch itself, so that n2 would be let in if the two were alone.
    within("n1 to switch", n1.rollout().watch().wait_for(|phase| *phase == Phase::Switch)).await.expect("n1 runs");
    let names_n3 = |node: &Node, of: &str| match peer(node, of).refusal {
        Some(Refusal::OldFormInUse { holdout, .. }) => holdout == name("n3"),
        _ => false,
    };
    until("n2 to be kept out by n1", &n2, |n2| names_n3(n2, "n1")).await;
    until("n1 to keep n2 out", &n1, |n1| names_n3(n1, "n2")).await;
    let text = peer(&n2, "n1").refusal.expect("a refusal").to_string();
    assert!(text.contains("n3") && text.contains("2.0.0") && text.contains("1.2.0"), "{text}");
    assert_eq!(witness.count(), 0);
    println!("2.0 beside a third at introduce  refused: {text}");

    n3.rollout().set_ceiling(None).expect("1.2 may be raised");
    within("all to be ready", async { tokio::join!(n1.ready(), n2.ready(), n3.ready()) }).await;
    assert!(matches!(cast(&n2, "n1").await, Answer::Reply { .. }));
    assert!(matches!(cast(&n2, "n3").await, Answer::Reply { .. }));
}
