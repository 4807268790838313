//! The phase of running nodes: how it rises, who holds it, how it is set, and what a flip does to running jobs.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rexi_proto::{Body, CallRef, Cast, Form, Hello, Message, PhaseNow, SERVER_PER_NODE, Saying, WireVersion};
use rexi_server::testing::TestCluster;
use rexi_server::{
    Bytes, Ceilings, Config, LimitingFactor, Node, NodeBuilder, Phase, PhaseFile, PhaseSource, Request, ServerAddress,
    StartError, StartRollout, proto::PhaseError, rollout::PhaseSourceError,
};
use rexi_tests::{
    Cluster, Log, Stranger, encoded, hello_of, name, numbered, pass, peer, release, start_again, train, until, within,
};

async fn reaches(node: &Node, phase: Phase) {
    let mut watch = node.rollout().watch();
    within("the phase", watch.wait_for(|now| *now == phase)).await.expect("the node runs");
}

/// The jobs of a node's per-node server for a member; those of the singleton are the rest.
fn per_node_jobs(node: &Node, of: &str) -> usize {
    peer(node, of).stats.jobs
}

fn held_at(cluster: &Cluster, of: &str, phase: Phase) -> NodeBuilder {
    cluster.builder(of, release("1.2")).rollout(StartRollout::from_release().ceiling(phase))
}

#[tokio::test]
async fn nodes_switch_by_themselves_once_all_have_said_hello() {
    let cluster = Cluster::new(["n1", "n2", "n3"]);
    let (n1, n2) = (cluster.start("n1", "1.2"), cluster.start("n2", "1.2"));
    for (node, other) in [(&n1, "n2"), (&n2, "n1")] {
        until("the other to be there", node, |node| peer(node, other).release.is_some()).await;
        let status = node.rollout().status();
        assert_eq!((status.phase, &status.limiting_factor), (Phase::Introduce, &LimitingFactor::Unknown(name("n3"))));
        assert_eq!(status.limiting_factor.to_string(), "member n3 has not said hello yet");
    }
    let n3 = cluster.start("n3", "1.2");
    for node in [&n1, &n2, &n3] {
        reaches(node, Phase::Switch).await;
        let factor = node.rollout().status().limiting_factor;
        assert_eq!(factor, LimitingFactor::Release(release("1.2").release().clone()));
    }
}

#[tokio::test]
async fn a_member_of_the_first_release_would_hold_the_phase_and_is_refused() {
    let cluster = Cluster::new(["n1", "n2"]);
    let (n1, _n2) = (cluster.start("n1", "1.2"), cluster.start("n2", "1.0"));
    let new_servers = Saying { migration: SERVER_PER_NODE.key().clone(), form: Form::New };
    let not_taken = LimitingFactor::NotTaken(name("n2"), release("1.0").release().clone(), new_servers);
    until("n2 to be known", &n1, |n1| n1.rollout().status().limiting_factor == not_taken).await;
    assert_eq!(n1.rollout().phase(), Phase::Introduce);
}

/// Casts a job that never ends, changes n1's phase from `before` to `after`, and kills the job there.
async fn kill_across_a_flip(before: Phase, after: Phase) {
    let cluster = Cluster::new(["n1", "n2"]);
    let n1 = held_at(&cluster, "n1", before).start().expect("n1 starts");
    let n2 = cluster.start("n2", "1.2");
    reaches(&n1, before).await;
    let call = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
    until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
    assert_eq!(per_node_jobs(&n2, "n1"), usize::from(before == Phase::Switch), "the server that {before} casts to");

    n1.rollout().set_ceiling(Some(after)).expect("nobody stands in the way");
    reaches(&n1, after).await;
    // What is cast now goes to the other server, behind the announcement.
    let server = within("the server", n1.call(&name("n2"), Request::new("server", ""))).await.expect("a reply");
    assert_eq!(server, if after == Phase::Switch { "per-node" } else { "singleton" });
    assert_eq!(n2.status().jobs, 1, "a flip ends no job");
    drop(call);
    until("the job to be dropped", &n2, |n2| n2.status().jobs == 0).await;
    assert_eq!(n1.status().calls, 0);
}

#[tokio::test]
async fn a_kill_reaches_a_job_from_before_the_switch() {
    kill_across_a_flip(Phase::Introduce, Phase::Switch).await;
}

#[tokio::test]
async fn a_kill_reaches_a_job_from_before_the_way_back() {
    kill_across_a_flip(Phase::Switch, Phase::Introduce).await;
}

#[tokio::test]
async fn calls_go_on_while_the_phase_flips() {
    let cluster = Cluster::new(["n1", "n2"]);
    let (n1, n2) = (cluster.start("n1", "1.2"), cluster.start("n2", "1.2"));
    reaches(&n1, Phase::Switch).await;
    let mut servers = std::collections::BTreeSet::new();
    for flip in 0..40 {
        let to = if flip % 2 == 0 { Phase::Introduce } else { Phase::Switch };
        let calls: Vec<_> =
            (0..10).map(|_| n1.cast(&name("n2"), Request::new("server", "")).expect("n2 is a member")).collect();
        n1.rollout().set_ceiling(Some(to)).expect("nobody stands in the way");
        for call in calls {
            servers.insert(within("a reply", call.reply()).await.expect("a reply"));
        }
    }
    assert_eq!(servers.len(), 2, "both servers were used: {servers:?}");
    until("n2 to have no jobs", &n2, |n2| n2.status().jobs == 0).await;
}

#[tokio::test]
async fn going_back_is_refused_while_a_member_has_removed_the_singleton() {
    let cluster = Cluster::new(["n1", "n2"]);
    let (n1, n2) = (cluster.start("n1", "1.2"), cluster.start("n2", "2.0"));
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    let refused = n1.rollout().set_ceiling(Some(Phase::Introduce)).expect_err("n2 has no singleton");
    assert!(matches!(&refused, PhaseError::Blocked { member, .. } if *member == name("n2")), "{refused:?}");
    let text = refused.to_string();
    assert!(["introduce", "n2", "2.0.0", "singleton"].iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(n1.rollout().phase(), Phase::Switch);
    assert_eq!(within("the echo", n1.call(&name("n2"), Request::new("echo", "on"))).await, Ok(Bytes::from("on")));
    // n2 goes back to 1.2 first; then nobody stands in the way.
    within("n2 to leave", n2.shutdown(Duration::from_secs(5))).await;
    let n2 = start_again(|| cluster.builder("n2", release("1.2"))).await;
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    n1.rollout().set_ceiling(Some(Phase::Introduce)).expect("n2 runs the singleton again");
    reaches(&n1, Phase::Introduce).await;
    assert_eq!(n1.rollout().status().limiting_factor, LimitingFactor::Ceiling(Phase::Introduce));
}

#[tokio::test]
async fn a_node_follows_its_phase_file_and_keeps_the_last_good_word() {
    let (cluster, log) = (Cluster::new(["n1"]), Log::here());
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("phase");
    // Renamed into place, so that no word is read by halves.
    let write = |word: &str| {
        let whole = dir.path().join("next");
        std::fs::write(&whole, word).and_then(|()| std::fs::rename(&whole, &file)).expect("written");
    };
    let shown = file.display().to_string();
    write("introduce\n");
    let with_file =
        || cluster.builder("n1", release("1.2")).rollout(StartRollout::from_release().source(PhaseFile(file.clone())));
    let n1 = with_file().start().expect("n1 starts");
    assert_eq!(n1.rollout().phase(), Phase::Introduce);
    assert_eq!(n1.rollout().status().limiting_factor, LimitingFactor::Source(Phase::Introduce));
    write("switch");
    reaches(&n1, Phase::Switch).await;
    write("introduce");
    reaches(&n1, Phase::Introduce).await;
    // A word that is not a phase, one that the release cannot follow, no word, no file: none of them raises the node.
    write("swicth");
    let line = log.line(&["not followed", &shown, "swicth"]).await;
    assert!(line.contains("singleton, introduce, switch, remove"), "{line}");
    write("remove");
    log.line(&["not followed", "does not allow the phase remove", "introduce to switch"]).await;
    write("");
    log.line(&["not followed", &shown, "\"\" is not a phase"]).await;
    std::fs::remove_file(&file).expect("removed");
    log.line(&["not followed", &shown, "No such file"]).await;
    assert_eq!(n1.rollout().phase(), Phase::Introduce);
    write(" SWITCH ");
    reaches(&n1, Phase::Switch).await;
    drop(n1);

    std::fs::remove_file(&file).expect("removed");
    let error = start_refused(with_file()).to_string();
    assert!(error.contains(&shown), "{error}");
}

fn start_refused(builder: NodeBuilder) -> StartError {
    builder.start().expect_err("the node must not start")
}

#[tokio::test]
async fn code_sets_the_phase() {
    let cluster = Cluster::new(["n1", "n2"]);
    let n1 = held_at(&cluster, "n1", Phase::Introduce).start().expect("n1 starts");
    let _n2 = cluster.start("n2", "1.2");
    within("n1 to be ready", n1.ready()).await;
    assert_eq!(n1.rollout().status().limiting_factor, LimitingFactor::Ceiling(Phase::Introduce));
    n1.rollout().set_ceiling(None).expect("lifted");
    reaches(&n1, Phase::Switch).await;
    let refused = n1.rollout().set_ceiling(Some(Phase::Remove)).expect_err("not of this release");
    let says = "release 1.2.0 does not allow the phase remove of rexi.server-per-node; it allows introduce to switch";
    assert_eq!(refused.to_string(), says);
    assert_eq!(n1.rollout().phase(), Phase::Switch);
}

#[tokio::test]
async fn a_fixed_rollout_waits_for_nobody() {
    let cluster = Cluster::new(["n1", "n2"]);
    let fixed = cluster.builder("n1", release("1.2")).rollout(StartRollout::fixed(Phase::Switch));
    let n1 = fixed.start().expect("n1 starts");
    assert_eq!(n1.rollout().phase(), Phase::Switch, "though n2 has never said hello");
    let fixed = cluster.builder("n2", release("1.2")).rollout(StartRollout::fixed(Phase::Introduce));
    let n2 = fixed.start().expect("n2 starts");
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    assert_eq!((n1.rollout().phase(), n2.rollout().phase()), (Phase::Switch, Phase::Introduce));
}

#[tokio::test]
async fn a_phase_that_the_release_does_not_have_is_refused_at_start() {
    let cluster = Cluster::new(["n1"]);
    for (number, phase, allowed) in [
        ("1.0", Phase::Switch, "it allows singleton to singleton"),
        ("1.2", Phase::Remove, "it allows introduce to switch"),
        ("2.0", Phase::Introduce, "it allows remove to remove"),
    ] {
        for rollout in [StartRollout::from_release().ceiling(phase), StartRollout::fixed(phase)] {
            let error = start_refused(cluster.builder("n1", release(number)).rollout(rollout));
            assert!(matches!(error, StartError::Phase(PhaseError::NotAllowed { .. })), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(&format!("release {number}.0")) && text.contains(allowed), "{text}");
        }
    }
}

/// Runs the ignored test `child` of this file in a process of its own, with `REXI_PHASE` set.
fn with_variable(phase: &str) -> String {
    let this = std::env::current_exe().expect("a test runs");
    let mut child = Command::new(this);
    child.args(["--exact", "rollout::child_that_reads_the_variable", "--ignored", "--nocapture"]);
    child.env("REXI_PHASE", phase);
    let output = child.output().expect("the test runs again");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_environment_sets_the_ceiling() {
    assert!(with_variable("introduce").contains("phase introduce, limited: the operator's ceiling is introduce"));
    assert!(with_variable("switch").contains("phase switch, limited: release 1.2.0 allows no more"));
    let refused = with_variable("swicth");
    for part in ["refused: ", "REXI_PHASE", "\"swicth\"", "singleton, introduce, switch, remove"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(with_variable("remove").contains("refused: release 1.2.0 does not allow the phase remove"));
}

#[tokio::test]
#[ignore = "run as a process of its own by the_environment_sets_the_ceiling"]
async fn child_that_reads_the_variable() {
    let cluster = Cluster::new(["n1"]);
    let started = StartRollout::from_release()
        .from_env()
        .map_err(StartError::from)
        .and_then(|rollout| cluster.builder("n1", release("1.2")).rollout(rollout).start());
    match started {
        Ok(n1) => {
            let status = n1.rollout().status();
            println!("phase {}, limited: {}", status.phase, status.limiting_factor);
        }
        Err(error) => println!("refused: {error}"),
    }
}

#[test]
fn the_environment_overrides_the_ceiling_of_a_configuration() {
    let text = "name = \"n1\"\nlisten = \"127.0.0.1:0\"\nrelease = \"1.2\"\n[rollout]\nceiling = \"switch\"\n";
    let mut config = Config::from_toml(text, "n1.toml", &train()).expect("a configuration");
    let set = |phase: &'static str| [("REXI_PHASE", phase)];
    config.apply_env(set("introduce")).expect("1.2 allows it");
    assert_eq!(config.ceilings(), &Ceilings::only(Phase::Introduce));
    let error = config.apply_env(set("remove")).expect_err("1.2 does not").to_string();
    for part in ["environment", "REXI_PHASE", "remove", "introduce, switch"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(config.ceilings(), &Ceilings::only(Phase::Introduce), "unchanged");
}

/// A flag service that says what it is told to.
#[derive(Clone)]
struct Flag(Arc<Mutex<Ceilings>>);

impl PhaseSource for Flag {
    fn ceilings(&self) -> Result<Ceilings, PhaseSourceError> {
        Ok(self.0.lock().expect("nothing panics").clone())
    }
}

#[tokio::test(start_paused = true)]
async fn a_flag_source_is_asked_once_a_second() {
    let (cluster, flag) = (TestCluster::new(["n1"]), Flag(Arc::default()));
    let source = flag.clone();
    cluster.define("n1", move |node| node.rollout(StartRollout::from_release().source(source.clone())));
    let n1 = cluster.start("n1", &release("1.2")).expect("it starts");
    for (said, other) in [(Phase::Introduce, Phase::Switch), (Phase::Switch, Phase::Introduce)] {
        assert_eq!(n1.rollout().phase(), other);
        // A moment after it was asked.
        pass(Duration::from_millis(10)).await;
        *flag.0.lock().expect("nothing panics") = Ceilings::only(said);
        pass(Duration::from_millis(970)).await;
        assert_eq!(n1.rollout().phase(), other, "it is not asked before");
        pass(Duration::from_millis(30)).await;
        assert_eq!(n1.rollout().phase(), said);
    }
}

/// A node without a singleton may only come once nobody sends to one, so a word to the contrary must be heard.
#[tokio::test(start_paused = true)]
async fn what_a_member_announces_is_told_to_the_next_one_that_says_hello() {
    let (cluster, profile) = (Cluster::new(["n1", "n3", "n4", "n5"]), release("1.2"));
    let _n1 = cluster.start("n1", "1.2");
    let at_switch = |of: &str| hello_of(of, &profile);
    let stranger = |of: &str| Stranger::member(cluster.authority(), of);
    let holdouts = async |of: &str| {
        let mut lane = stranger(of).open(cluster.address("n1"), "n1", &encoded(&at_switch(of))).await;
        Hello::decode(&lane.frame().await).expect("a hello").servers().holdouts.clone()
    };
    let mut lane = stranger("n3").shake_hands(cluster.address("n1"), "n1", &at_switch("n3")).await;
    assert_eq!(holdouts("n4").await, []);
    let mut said = bytes::BytesMut::new();
    let body = Body::Inline(Bytes::new());
    let cast = Cast { call: CallRef(1), function: "echo".into(), time_left: None, nonce: 0, trace: None, body };
    let now = PhaseNow { epoch: 1, phase: Phase::Introduce };
    for message in [Message::Announce(0, now), Message::Cast(ServerAddress::PerNode, cast)] {
        let message = numbered(&message, &lane.functions);
        rexi_proto::encode(WireVersion::V2, &message, 1 << 20, &mut said).expect("v2 has it");
    }
    lane.say(&said).await;
    // The reply shows that the word before the cast was read.
    while !matches!(rexi_proto::decode(WireVersion::V2, &lane.frame().await), Ok(Message::Reply(_))) {}
    assert_eq!(holdouts("n5").await, [name("n3")]);
}
