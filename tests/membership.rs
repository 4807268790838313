//! Nodes that join and leave a cluster while it runs: who is called, who is notified, what holds the phase.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rexi_server::testing::TestCluster;
use rexi_server::{
    Answer, Bytes, CallError, DownReason, Event, LimitingFactor, Membership, Node, NodeBuilder, NodeName, Phase,
    Request, SendError,
    membership::{MemberError, MemberEvent, MemberList, MembershipError},
};
use rexi_tests::{functions, name, pass, peer, release, until, within};

const OTHERS: [&str; 3] = ["n1", "n2", "n3"];

async fn cluster(number: &str) -> TestCluster {
    let cluster = TestCluster::new(OTHERS);
    cluster.define_all(functions);
    cluster.start_all(&release(number)).expect("all start");
    cluster.ready().await;
    cluster
}

/// n1 and n2, that know nothing of n3; n3 does not run.
async fn pair(number: &str) -> TestCluster {
    let cluster = TestCluster::new(OTHERS);
    cluster.define_all(functions);
    for own in ["n1", "n2"] {
        cluster.start(own, &release(number)).expect("it starts").remove_member(&name("n3")).expect("a member");
    }
    cluster.ready().await;
    cluster
}

fn joined_by(cluster: &TestCluster, nodes: &[&str]) {
    for node in nodes {
        cluster.node(node).add_member(name("n3"), cluster.address("n3")).expect("no member yet");
    }
}

async fn echo(from: &Node, to: &str) -> Result<Bytes, CallError> {
    from.call(&name(to), Request::new("echo", "hello")).await
}

#[tokio::test(start_paused = true)]
async fn a_third_node_joins_under_load_and_is_called() {
    for number in ["1.0", "1.2", "2.0"] {
        let cluster = pair(number).await;
        let n1 = cluster.node("n1");
        let refused = echo(&n1, "n3").await;
        assert!(matches!(refused, Err(CallError::Send(SendError::NotAMember { .. }))), "{refused:?}");
        let caller = n1.clone();
        let load = tokio::spawn(async move {
            for _ in 0..500 {
                assert_eq!(echo(&caller, "n2").await, Ok("hello".into()));
            }
        });
        cluster.start("n3", &release(number)).expect("it starts");
        joined_by(&cluster, &["n1", "n2"]);
        assert_eq!(echo(&n1, "n3").await, Ok("hello".into()), "release {number}");
        assert_eq!(echo(&cluster.node("n3"), "n2").await, Ok("hello".into()));
        load.await.expect("no call of the others fails");
        assert_eq!(n1.members(), OTHERS.map(name));
        assert_eq!(n1.add_member(name("n3"), cluster.address("n3")), Err(MemberError::AlreadyAMember(name("n3"))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_ends_calls_jobs_and_monitors_and_nothing_of_the_others() {
    for number in ["1.0", "1.2", "2.0"] {
        let cluster = cluster(number).await;
        let (n1, n2, n3) = (cluster.node("n1"), cluster.node("n2"), cluster.node("n3"));
        let mut mailbox = n1.mailbox();
        let monitor = mailbox.monitor(&name("n3")).expect("a member");
        let call = mailbox.cast(&name("n3"), Request::new("forever", "")).expect("a member");
        let mut other = n1.cast(&name("n2"), Request::new("forever", "")).expect("a member");
        let _of_n3 = n3.cast(&name("n1"), Request::new("forever", "")).expect("a member");
        until("both jobs", &n3, |n3| n3.status().jobs == 1 && n1.status().jobs == 1).await;
        n1.remove_member(&name("n3")).expect("a member");
        let mut heard = vec![within("an event", mailbox.recv()).await, mailbox.recv().await];
        heard.sort_by_key(|event| matches!(event, Event::Down(..)));
        let down = DownReason::NoConnection;
        assert_eq!(heard, [Event::Answer(call, Answer::Down(down)), Event::Down(monitor, down)], "release {number}");
        until("its jobs to end", &n1, |n1| n1.status().jobs == 0 && n3.status().jobs == 0).await;
        assert!(matches!(mailbox.cast(&name("n3"), Request::new("echo", "")), Err(SendError::NotAMember { .. })));
        pass(Duration::from_secs(60)).await;
        assert_eq!(echo(&n1, "n2").await, Ok("hello".into()));
        assert!(tokio::time::timeout(Duration::from_secs(1), other.next()).await.is_err(), "it runs on");
        assert_eq!(n2.status().jobs, 1);
        let said = peer(&n3, "n1").last_error.expect("its handshakes are refused");
        assert!(said.contains("not a member"), "{said}");
        assert_eq!(n1.remove_member(&name("n3")), Err(MemberError::NotAMember(name("n3"))));
        assert_eq!(n1.remove_member(&name("n1")), Err(MemberError::Itself));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_leaves_and_joins_again_and_events_tell_so_in_order() {
    let cluster = cluster("2.0").await;
    let (n1, n3) = (cluster.node("n1"), name("n3"));
    let mut events = n1.watch_members();
    let first = cluster.node("n3").incarnation();
    n1.remove_member(&n3).expect("a member");
    assert_eq!(within("an event", events.next()).await, Ok(MemberEvent::Down(n3.clone(), first)));
    assert_eq!(within("an event", events.next()).await, Ok(MemberEvent::Left(n3.clone())));
    let second = cluster.restart("n3", &release("2.0")).expect("it starts").incarnation();
    assert!(second > first);
    joined_by(&cluster, &["n1"]);
    assert_eq!(within("an event", events.next()).await, Ok(MemberEvent::Joined(n3.clone())));
    assert_eq!(within("an event", events.next()).await, Ok(MemberEvent::Up(n3.clone(), second)));
    assert_eq!(echo(&n1, "n3").await, Ok("hello".into()));
}

#[tokio::test(start_paused = true)]
async fn the_phase_rises_when_the_node_in_its_way_leaves() {
    let cluster = TestCluster::new(OTHERS);
    cluster.define_all(functions);
    for own in ["n1", "n2"] {
        cluster.start(own, &release("1.2")).expect("it starts");
    }
    cluster.ready().await;
    let n1 = cluster.node("n1");
    assert_eq!(n1.rollout().status().limiting_factor, LimitingFactor::Unknown(name("n3")));
    n1.remove_member(&name("n3")).expect("a member");
    assert_eq!(n1.rollout().phase(), Phase::Switch);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_must_not_speak_with_the_others_joins_and_lowers_nothing() {
    let cluster = pair("1.2").await;
    let n1 = cluster.node("n1");
    until("the phase", &n1, |n1| n1.rollout().phase() == Phase::Switch).await;
    cluster.start("n3", &release("1.0")).expect("it starts");
    joined_by(&cluster, &["n1", "n2"]);
    until("the refusal", &n1, |n1| peer(n1, "n3").refusal.is_some()).await;
    assert_eq!(n1.rollout().phase(), Phase::Switch);
    assert!(matches!(echo(&n1, "n3").await, Err(CallError::Incompatible(_))));
    assert_eq!(echo(&n1, "n2").await, Ok("hello".into()));
}

/// Says what it is told to.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Option<MemberList>>>);

impl Told {
    fn say(&self, list: Option<MemberList>) {
        *self.0.lock().expect("nothing panics") = list;
    }
}

impl Membership for Told {
    async fn members(&self) -> Result<MemberList, MembershipError> {
        self.0.lock().expect("nothing panics").clone().ok_or_else(|| MembershipError::new("test", "out of order"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_membership_is_followed_and_one_that_fails_or_is_empty_keeps_the_last() {
    let cluster = TestCluster::new(OTHERS);
    let told = Told::default();
    cluster.define_all(functions);
    let source = told.clone();
    let alone = move |node: NodeBuilder| functions(node).membership(source.clone());
    cluster.define("n1", alone);
    let n1 = cluster.start("n1", &release("1.2")).expect("it starts");
    for other in ["n2", "n3"] {
        n1.remove_member(&name(other)).expect("a member");
        cluster.start(other, &release("1.2")).expect("it starts");
    }
    pass(Duration::from_secs(20)).await;
    assert_eq!(n1.rollout().status().limiting_factor, LimitingFactor::Unlisted, "it does not know who there is");
    let list = |names: &[&str]| -> MemberList { names.iter().map(|n| (name(n), cluster.address(n))).collect() };
    let names = |names: &[&str]| -> Vec<NodeName> { names.iter().map(|n| name(n)).collect() };
    told.say(Some(list(&OTHERS)));
    until("all", &n1, |n1| n1.rollout().phase() == Phase::Switch).await;
    assert_eq!(n1.members(), names(&OTHERS));
    for wrong in [None, Some(MemberList::new()), Some(list(&["n1"]))] {
        told.say(wrong);
        pass(Duration::from_secs(60)).await;
        assert_eq!(n1.members(), names(&OTHERS), "the last good answer holds");
    }
    told.say(Some(list(&["n1", "n2"])));
    // A stability period, and one answer.
    pass(Duration::from_secs(25)).await;
    assert_eq!(n1.members(), names(&["n1", "n2"]));
    assert_eq!(echo(&n1, "n2").await, Ok("hello".into()));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_has_moved_is_dialed_where_it_is_now() {
    let cluster = pair("2.0").await;
    let n1 = cluster.node("n1");
    // Nobody is there.
    n1.add_member(name("n3"), cluster.address("n2")).expect("no member yet");
    cluster.node("n2").add_member(name("n3"), cluster.address("n3")).expect("no member yet");
    cluster.start("n3", &release("2.0")).expect("it starts").remove_member(&name("n1")).expect("a member");
    until("n1 to fail", &n1, |n1| peer(n1, "n3").last_error.is_some()).await;
    assert_ne!(peer(&n1, "n3").presence, rexi_server::PeerPresence::Connected);

    n1.move_member(&name("n3"), cluster.address("n3")).expect("a member");
    cluster.node("n3").add_member(name("n1"), cluster.address("n1")).expect("no member yet");
    until("n3 to be met", &n1, |n1| peer(n1, "n3").presence == rexi_server::PeerPresence::Connected).await;
    assert_eq!(peer(&n1, "n3").address, Some(cluster.address("n3")));
    assert_eq!(within("the echo", echo(&n1, "n3")).await, Ok("hello".into()));
    // Where it is already, nothing changes; who is none is named.
    n1.move_member(&name("n3"), cluster.address("n3")).expect("a member");
    let nobody = n1.move_member(&name("n9"), cluster.address("n3")).expect_err("no member");
    assert!(nobody.to_string().contains("n9"), "{nobody}");
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_takes_are_counted_and_the_next_ones_are_heard() {
    let cluster = pair("2.0").await;
    let n1 = cluster.node("n1");
    let mut events = n1.watch_members();
    let times = rexi_server::membership::MEMBER_EVENTS_KEPT;
    for _ in 0..times {
        n1.add_member(name("n3"), cluster.address("n3")).expect("no member yet");
        n1.remove_member(&name("n3")).expect("a member");
    }
    // Two events each, of which the last ones are kept.
    let missed = within("the count", events.next()).await.expect_err("some were missed");
    assert_eq!(missed.0, times as u64);
    for _ in 0..times / 2 {
        assert_eq!(within("an event", events.next()).await, Ok(MemberEvent::Joined(name("n3"))));
        assert_eq!(within("an event", events.next()).await, Ok(MemberEvent::Left(name("n3"))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_has_as_many_members_as_may_be_and_one_more_when_one_leaves() {
    let cluster = pair("2.0").await;
    let n1 = cluster.node("n1");
    let add = |number: usize| n1.add_member(name(&format!("m{number}")), cluster.address("n3"));
    let more = rexi_server::membership::MEMBERS_MAX - n1.members().len();
    for number in 0..more {
        add(number).expect("there is room");
    }
    assert!(matches!(add(more), Err(MemberError::TooMany { max, .. }) if max == rexi_server::membership::MEMBERS_MAX));
    n1.remove_member(&name("m0")).expect("a member");
    add(more).expect("there is room again");
    assert!(matches!(add(more), Err(MemberError::AlreadyAMember(_))));
    assert_eq!(within("the echo", echo(&n1, "n2")).await, Ok("hello".into()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_takes_nobody_in() {
    let cluster = pair("2.0").await;
    let n1 = cluster.node("n1");
    let held = cluster.node("n2").cast(&name("n1"), Request::new("forever", "")).expect("a member");
    until("the job", &n1, |n1| n1.status().jobs == 1).await;
    let leaving = tokio::spawn(n1.clone().shutdown(Duration::from_secs(60)));
    until("n1 to say so", &n1, |n1| n1.status().draining).await;
    assert_eq!(n1.add_member(name("n3"), cluster.address("n3")), Err(MemberError::Leaving));
    assert_eq!(n1.members(), ["n1", "n2"].map(name));
    drop(held);
    within("n1 to leave", leaving).await.expect("no panic");
    assert_eq!(n1.add_member(name("n3"), cluster.address("n3")), Err(MemberError::Leaving), "nor one that has left");
}

#[tokio::test(start_paused = true)]
async fn who_has_left_is_dialed_no_more() {
    let cluster = cluster("2.0").await;
    for (own, other) in [("n1", "n3"), ("n3", "n1")] {
        cluster.node(own).remove_member(&name(other)).expect("a member");
    }
    // What is on its way, and the last word of each connection.
    pass(Duration::from_secs(5)).await;
    let said = Arc::new(Mutex::new(0));
    let (count, ends) = (Arc::clone(&said), ["n1", "n3"].map(|of| cluster.address(of)));
    cluster.observe(move |datagram| {
        if ends.contains(&datagram.from) && ends.contains(&datagram.to) {
            *count.lock().expect("nothing panics") += 1;
        }
    });
    pass(Duration::from_secs(60)).await;
    assert_eq!(*said.lock().expect("nothing panics"), 0);
    assert_eq!(echo(&cluster.node("n1"), "n2").await, Ok("hello".into()));
}
