//! What becomes of each answer of a membership: who joins, moves, stays and leaves because of it, which answers are not
//! followed, and how often it is asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rexi_server::{
    LimitingFactor, Membership, Node, NodeBuilder, NodeName, PeerPresence, Phase, Request,
    membership::{MEMBERS_MAX, MemberList, MembershipError},
};
use rexi_tests::{Cluster, Log, functions, name, pass, peer, release, until};
use tokio::time::Instant;

/// Says what it is told to, and notes when it was asked.
#[derive(Clone)]
struct Told {
    says: Arc<Mutex<Option<MemberList>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
    known: Option<MemberList>,
    interval: Option<Duration>,
    /// How long an answer takes.
    takes: Arc<Mutex<Duration>>,
}

impl Told {
    fn new(interval: Option<Duration>) -> Self {
        let (says, asked, takes) = (Arc::default(), Arc::default(), Arc::default());
        Self { says, asked, known: None, interval, takes }
    }

    fn say(&self, list: MemberList) {
        *self.says.lock().expect("nothing panics") = Some(list);
    }

    fn asked(&self) -> usize {
        self.asked.lock().expect("nothing panics").len()
    }
}

impl Membership for Told {
    async fn members(&self) -> Result<MemberList, MembershipError> {
        self.asked.lock().expect("nothing panics").push(Instant::now());
        let takes = *self.takes.lock().expect("nothing panics");
        if !takes.is_zero() {
            pass(takes).await;
        }
        self.says.lock().expect("nothing panics").clone().ok_or_else(|| MembershipError::new("test", "out of order"))
    }

    fn known(&self) -> Option<MemberList> {
        self.known.clone()
    }

    fn interval(&self) -> Option<Duration> {
        self.interval
    }
}

const SECOND: Option<Duration> = Some(Duration::from_secs(1));
const OTHERS: [&str; 3] = ["n1", "n2", "n3"];

/// n2 and n3 run; n1 follows `told`, and knows of n2 and n3 by it alone.
fn followed(told: &Told, number: &str) -> (Cluster, Node, [Node; 2]) {
    followed_from(told, number, |node, _| node)
}

fn followed_from(
    told: &Told,
    number: &str,
    build: impl FnOnce(NodeBuilder, &Cluster) -> NodeBuilder,
) -> (Cluster, Node, [Node; 2]) {
    let cluster = Cluster::new(OTHERS);
    let others = ["n2", "n3"].map(|other| cluster.start(other, number));
    let n1 = Node::builder(name("n1"), release(number), cluster.identity("n1")).listen(cluster.address("n1"));
    let n1 = build(functions(n1), &cluster).membership(told.clone()).start().expect("it starts");
    (cluster, n1, others)
}

fn list(cluster: &Cluster, names: &[&str]) -> MemberList {
    names.iter().map(|n| (name(n), cluster.address(n))).collect()
}

fn names(names: &[&str]) -> Vec<NodeName> {
    names.iter().map(|n| name(n)).collect()
}

async fn connected(node: &Node, to: &str) {
    until("it to be met", node, |node| peer(node, to).presence == PeerPresence::Connected).await;
}

async fn followed_to(node: &Node, members: &[&str]) {
    until("the members", node, |node| node.members() == names(members)).await;
}

#[tokio::test(start_paused = true)]
async fn members_of_the_start_and_by_hand_stay_whatever_the_answers_say() {
    let told = Told::new(SECOND);
    let (cluster, n1, _others) =
        followed_from(&told, "2.0", |node, cluster| node.peer(name("n2"), cluster.address("n2")));
    n1.add_member(name("n3"), cluster.address("n3")).expect("no member yet");
    // Named as well, and then no longer: neither came from this membership.
    for named in [&["n2", "n3", "n4"][..], &["n4"]] {
        let mut said = list(&cluster, &named[..named.len() - 1]);
        said.insert(name("n4"), cluster.address("n2"));
        told.say(said);
        pass(Duration::from_secs(5)).await;
        assert_eq!(n1.members(), names(&["n1", "n2", "n3", "n4"]), "{named:?}");
    }
    connected(&n1, "n2").await;
    connected(&n1, "n3").await;
}

#[tokio::test(start_paused = true)]
async fn who_was_removed_by_hand_joins_again_only_after_an_answer_without_it() {
    let told = Told::new(SECOND);
    let (cluster, n1, _others) = followed(&told, "2.0");
    told.say(list(&cluster, &["n2", "n3"]));
    followed_to(&n1, &OTHERS).await;
    n1.remove_member(&name("n3")).expect("a member");
    for _ in 0..5 {
        let asked = told.asked();
        pass(Duration::from_secs(2)).await;
        assert!(told.asked() > asked, "it is named again and again");
        assert_eq!(n1.members(), names(&["n1", "n2"]));
    }
    told.say(list(&cluster, &["n2"]));
    pass(Duration::from_secs(2)).await;
    told.say(list(&cluster, &["n2", "n3"]));
    followed_to(&n1, &OTHERS).await;
    connected(&n1, "n3").await;
}

#[tokio::test(start_paused = true)]
async fn who_is_named_elsewhere_is_dialed_there_the_next_time_and_a_connection_that_stands_is_kept() {
    let told = Told::new(SECOND);
    let (cluster, n1, [_n2, n3]) = followed(&told, "2.0");
    // Nobody else is there.
    let elsewhere = cluster.address("n1");
    told.say(list(&cluster, &["n2", "n3"]));
    followed_to(&n1, &OTHERS).await;
    connected(&n1, "n3").await;
    let (mut events, open) = (n1.watch_members(), n1.cast(&name("n3"), Request::new("forever", "")).expect("a member"));
    let mut moved = list(&cluster, &["n2"]);
    moved.insert(name("n3"), elsewhere);
    told.say(moved);
    until("n3 to be elsewhere", &n1, |n1| peer(n1, "n3").address == Some(elsewhere)).await;
    pass(Duration::from_secs(30)).await;
    let news = tokio::time::timeout(Duration::ZERO, events.next()).await;
    assert!(news.is_err(), "the connection is kept: {news:?}");
    assert_eq!(n3.status().jobs, 1);
    drop(open);
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_address_cannot_be_looked_up_keeps_the_one_it_had_and_stays() {
    let (told, log) = (Told::new(SECOND), Log::here());
    let (cluster, n1, _others) = followed(&told, "1.2");
    told.say(list(&cluster, &["n2", "n3"]));
    followed_to(&n1, &OTHERS).await;
    connected(&n1, "n3").await;
    let mut unresolved = list(&cluster, &["n2"]);
    unresolved.insert_unresolved(name("n3"), "no such host: nobody.example");
    told.say(unresolved);
    pass(Duration::from_secs(10)).await;
    assert_eq!(n1.members(), names(&OTHERS));
    assert_eq!(peer(&n1, "n3").address, Some(cluster.address("n3")));
    assert_eq!(peer(&n1, "n3").presence, PeerPresence::Connected);
    assert_eq!(log.lines(&["no such host: nobody.example"]).len(), 1, "it is said once");
}

/// n3 is not dialed, but it dials, since it knows n1.
#[tokio::test(start_paused = true)]
async fn a_member_that_never_had_an_address_counts_and_may_dial() {
    let told = Told::new(SECOND);
    let cluster = Cluster::new(OTHERS);
    let n1 = Node::builder(name("n1"), release("1.2"), cluster.identity("n1")).listen(cluster.address("n1"));
    let n1 = functions(n1).membership(told.clone()).start().expect("it starts");
    let _n2 = cluster.start("n2", "1.2");
    let mut unresolved = list(&cluster, &["n2"]);
    unresolved.insert_unresolved(name("n3"), "it is not up yet");
    told.say(unresolved);
    followed_to(&n1, &OTHERS).await;
    connected(&n1, "n2").await;
    pass(Duration::from_secs(10)).await;
    assert_eq!(peer(&n1, "n3").address, None);
    assert_eq!(n1.rollout().status().limiting_factor, LimitingFactor::Unknown(name("n3")), "it holds the phase");
    assert_eq!(n1.rollout().phase(), Phase::Introduce);
    let _n3 = cluster.start("n3", "1.2");
    connected(&n1, "n3").await;
    until("the phase", &n1, |n1| n1.rollout().phase() == Phase::Switch).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_be_dialed_from_here_is_one_all_the_same_and_told() {
    let (told, log) = (Told::new(SECOND), Log::here());
    let (cluster, n1, _others) = followed(&told, "1.2");
    let mut members = list(&cluster, &["n2"]);
    members.insert(name("n3"), "[::1]:4000".parse().expect("an address"));
    told.say(members);
    followed_to(&n1, &OTHERS).await;
    assert_eq!(peer(&n1, "n3").address, None);
    log.line(&["a part of the membership is not followed", "[::1]:4000"]).await;
    // It dials by itself.
    connected(&n1, "n3").await;
    pass(Duration::from_secs(10)).await;
    assert_eq!(peer(&n1, "n3").last_error, None, "it is connected");
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_10_s_at_most() {
    let (told, log) = (Told::new(SECOND), Log::here());
    let (cluster, n1, _others) = followed(&told, "2.0");
    told.say(list(&cluster, &["n2", "n3"]));
    followed_to(&n1, &OTHERS).await;
    *told.takes.lock().expect("nothing panics") = Duration::from_millis(10_100);
    told.say(list(&cluster, &["n2"]));
    pass(Duration::from_secs(120)).await;
    assert_eq!(n1.members(), names(&OTHERS), "it came too late");
    log.line(&["the membership is not followed", "there was no answer within 10s"]).await;
    *told.takes.lock().expect("nothing panics") = Duration::from_millis(9_900);
    // Three answers, until n3 has not been named for a stability period.
    pass(Duration::from_secs(30)).await;
    followed_to(&n1, &["n1", "n2"]).await;
    log.line(&["the membership is followed again"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_names_256_members_at_most() {
    let told = Told::new(SECOND);
    let (cluster, n1, _others) = followed(&told, "2.0");
    let crowd = |others: usize| -> MemberList {
        (0..others).map(|number| (name(&format!("m{number}")), cluster.address("n3"))).collect()
    };
    let own = |mut list: MemberList| {
        list.insert(name("n1"), cluster.address("n1"));
        list
    };
    told.say(list(&cluster, &["n2"]));
    followed_to(&n1, &["n1", "n2"]).await;
    told.say(own(crowd(MEMBERS_MAX)));
    pass(Duration::from_secs(5)).await;
    assert_eq!(n1.members(), names(&["n1", "n2"]), "one too many, so none");
    told.say(own(crowd(MEMBERS_MAX - 1)));
    until("all of them", &n1, |n1| n1.members().len() == MEMBERS_MAX).await;
    told.say(list(&cluster, &["n2"]));
    followed_to(&n1, &["n1", "n2"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_followed_is_said_once_until_it_changes() {
    let (told, log) = (Told::new(SECOND), Log::here());
    let own = "said-once";
    let cluster = Cluster::new([own, "n2"]);
    let node = Node::builder(name(own), release("2.0"), cluster.identity(own)).listen(cluster.address(own));
    let node = functions(node).membership(told.clone()).start().expect("it starts");
    let field = format!("node={own}");
    let said = |what: &str| log.lines(&[what, &field]).len();
    pass(Duration::from_secs(60)).await;
    assert_eq!((said("out of order"), said("followed again")), (1, 0));
    told.say(list(&cluster, &["n2"]));
    pass(Duration::from_secs(60)).await;
    assert_eq!((node.members().len(), said("followed again")), (2, 1));
    told.say(MemberList::new());
    pass(Duration::from_secs(60)).await;
    assert_eq!((node.members().len(), said("it names no other member")), (2, 1));
    *told.says.lock().expect("nothing panics") = None;
    pass(Duration::from_secs(60)).await;
    assert_eq!((said("out of order"), said("followed again")), (2, 1), "another reason is news");
}

#[tokio::test(start_paused = true)]
async fn a_membership_is_asked_at_its_interval_or_every_5_s_and_10_times_a_second_at_most() {
    for (interval, expected) in [(Some(Duration::ZERO), 100), (SECOND, 1_000), (None, 5_000)] {
        // One that fails is asked on, whatever its interval.
        let told = Told::new(interval);
        let (_cluster, _n1, _others) = followed(&told, "2.0");
        pass(Duration::from_secs(20)).await;
        let asked = told.asked.lock().expect("nothing panics").clone();
        assert!(asked.len() > 3);
        for two in asked.windows(2) {
            let gap = (two[1] - two[0]).as_millis();
            assert!((expected..expected + 5).contains(&gap), "{gap} ms between two of {interval:?}");
        }
    }
    assert_eq!(ByDefault.interval(), Some(Duration::from_secs(5)));
}

/// Says nothing of how often.
struct ByDefault;

impl Membership for ByDefault {
    async fn members(&self) -> Result<MemberList, MembershipError> {
        Ok(MemberList::new())
    }
}

#[tokio::test(start_paused = true)]
async fn a_membership_without_an_interval_is_asked_until_it_is_followed_and_never_again() {
    let told = Told::new(None);
    let (cluster, n1, _others) = followed(&told, "2.0");
    pass(Duration::from_secs(20)).await;
    let before = told.asked();
    told.say(list(&cluster, &["n2", "n3"]));
    followed_to(&n1, &OTHERS).await;
    let followed = told.asked();
    assert!(before >= 4 && followed > before);
    told.say(list(&cluster, &["n2"]));
    pass(Duration::from_secs(60)).await;
    assert_eq!((told.asked(), n1.members()), (followed, names(&OTHERS)));
}

#[tokio::test(start_paused = true)]
async fn members_that_are_known_beforehand_are_members_from_the_start_and_the_memberships_to_let_go() {
    let cluster = Cluster::new(OTHERS);
    let told = Told { known: Some(list(&cluster, &["n1", "n2", "n3"])), ..Told::new(SECOND) };
    let others = ["n2", "n3"].map(|other| cluster.start(other, "1.2"));
    let n1 = Node::builder(name("n1"), release("1.2"), cluster.identity("n1")).listen(cluster.address("n1"));
    let n1 = functions(n1).membership(told.clone()).start().expect("it starts");
    assert_eq!(n1.members(), names(&OTHERS), "the node itself is passed over");
    assert_ne!(n1.rollout().status().limiting_factor, LimitingFactor::Unlisted);
    connected(&n1, "n2").await;
    connected(&n1, "n3").await;
    // No answer was needed for it.
    until("the phase", &n1, |n1| n1.rollout().phase() == Phase::Switch).await;
    told.say(list(&cluster, &["n2"]));
    followed_to(&n1, &["n1", "n2"]).await;
    drop(others);
}

#[tokio::test(start_paused = true)]
async fn of_several_addresses_the_first_is_dialed_that_can_be() {
    let (told, log) = (Told::new(SECOND), Log::here());
    let (cluster, n1, _others) = followed(&told, "1.2");
    let long: [SocketAddr; 2] = ["[::1]:4000", "[fd00::1]:4000"].map(|at| at.parse().expect("an address"));
    let mut members = list(&cluster, &["n2"]);
    members.insert_all(name("n3"), [long[0], cluster.address("n3"), cluster.address("n2")]);
    members.insert_all(name("n4"), long);
    told.say(members.clone());
    followed_to(&n1, &["n1", "n2", "n3", "n4"]).await;
    assert_eq!(peer(&n1, "n3").address, Some(cluster.address("n3")));
    connected(&n1, "n3").await;
    // None of n4's can be, and the first stands for all.
    until("the reason", &n1, |n1| peer(n1, "n4").last_error.is_some()).await;
    let reason = peer(&n1, "n4").last_error.expect("the reason");
    assert!(reason.contains("n4 at [::1]:4000 cannot be dialed from 127.0.0.1:"), "{reason}");
    log.line(&["a part of the membership is not followed", &reason]).await;
    // It has an address that can be dialed, and then it has none at all: it keeps that one.
    members.insert_all(name("n4"), [long[0], cluster.address("n2")]);
    told.say(members.clone());
    until("the address", &n1, |n1| peer(n1, "n4").address == Some(cluster.address("n2"))).await;
    members.insert_all(name("n4"), []);
    told.say(members);
    log.line(&["a part of the membership is not followed", "the address of n4 is not known: it has none"]).await;
    assert_eq!(peer(&n1, "n4").address, Some(cluster.address("n2")));
}

#[tokio::test(start_paused = true)]
async fn what_names_no_member_is_said_once_and_the_rest_is_followed() {
    let (told, log) = (Told::new(SECOND), Log::here());
    let (cluster, n1, _others) = followed(&told, "1.2");
    let mut members = list(&cluster, &["n2", "n3"]);
    members.add_problem("what_is this");
    told.say(members);
    followed_to(&n1, &OTHERS).await;
    until("the phase", &n1, |n1| n1.rollout().phase() == Phase::Switch).await;
    pass(Duration::from_secs(30)).await;
    assert_eq!(log.lines(&["a part of the membership is not followed", "what_is this"]).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn by_an_incomplete_list_nodes_join_and_none_leaves_and_the_whole_is_still_waited_for() {
    let (told, log) = (Told::new(SECOND), Log::here());
    let (cluster, n1, _others) = followed(&told, "1.2");
    let part = |names: &[&str]| {
        let mut part = list(&cluster, names);
        part.set_incomplete("the rest is out of order");
        part
    };
    told.say(part(&["n2"]));
    followed_to(&n1, &["n1", "n2"]).await;
    connected(&n1, "n2").await;
    pass(Duration::from_secs(10)).await;
    assert_eq!(n1.rollout().status().limiting_factor, LimitingFactor::Unlisted);
    assert_eq!(log.lines(&["the rest is out of order"]).len(), 1);
    told.say(list(&cluster, &["n2", "n3"]));
    followed_to(&n1, &OTHERS).await;
    until("the phase", &n1, |n1| n1.rollout().phase() == Phase::Switch).await;
    for names in [&["n2"][..], &[]] {
        told.say(part(names));
        pass(Duration::from_secs(10)).await;
        assert_eq!(n1.members(), self::names(&OTHERS), "{names:?}");
    }
    // Who was removed by hand was not left out of a whole list yet.
    n1.remove_member(&name("n3")).expect("a member");
    pass(Duration::from_secs(10)).await;
    told.say(list(&cluster, &["n2", "n3"]));
    pass(Duration::from_secs(10)).await;
    assert_eq!(n1.members(), self::names(&["n1", "n2"]));
}

#[test]
fn a_list_has_the_addresses_of_each_that_were_given_last() {
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let shown = |list: &MemberList| {
        list.iter().map(|(name, at)| (name.clone(), at.iter().map(SocketAddr::port).collect())).collect::<Vec<_>>()
    };
    let mut list = MemberList::new();
    assert!(list.is_empty() && !list.contains(&name("n1")));
    list.insert(name("n1"), address(1));
    list.insert(name("n1"), address(2));
    list.insert_unresolved(name("n2"), "gone");
    assert_eq!(shown(&list), [(name("n1"), vec![2]), (name("n2"), vec![])]);
    list.insert_all(name("n2"), [address(3), address(1)]);
    list.insert_all(name("n1"), []);
    assert_eq!(shown(&list), [(name("n1"), vec![]), (name("n2"), vec![3, 1])]);
    assert!(list.len() == 2 && list.contains(&name("n2")) && !list.is_empty());
}
