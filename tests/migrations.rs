//! A service's own migration: calls of one function become calls of another, release by release and at run time, while
//! nodes of both kinds call each other.

use futures_util::StreamExt;
use rexi_server::testing::TestCluster;
use rexi_server::{
    AskError, CallError, Context, Items, Migrate, MigrateStream, Migration, Node, NodeBuilder, NodeName, PeerPresence,
    Phase, Profile, SendError, StartError, Train,
};
use rexi_tests::within;

rexi_server::function! {
    /// How many there are of an article.
    pub Count = "stock.count" (String) -> Option<u32>, error String, since 3.0;
    /// The same, at a place or at all of them; and who has counted.
    pub CountAt = "stock.count_at" (String, Option<String>) -> (u32, String), error String, since 3.1;
    /// The articles from a number on.
    pub List = "stock.list" (u32) -> stream u32, error String, since 3.0;
    /// Those between two numbers, each with its name.
    pub ListNamed = "stock.list_named" (u32, u32) -> stream (u32, String), error u8, since 3.1;
}

rexi_server::migration! {
    /// Articles are counted by place.
    pub CountByPlace = "stock.count-by-place": Count => CountAt;
    /// Lists have names.
    pub NamedLists = "stock.named-lists": stream List => ListNamed;
}

impl Migrate for CountByPlace {
    type Old = Count;

    // What is at one place is nothing that the old form can ask for.
    fn to_old((article, place): &(String, Option<String>)) -> Option<String> {
        place.is_none().then(|| article.clone())
    }

    fn from_old(article: String) -> (String, Option<String>) {
        (article, None)
    }

    fn answer_to_old(answer: Result<(u32, String), String>) -> Result<Option<u32>, String> {
        answer.map(|(count, _)| (count > 0).then_some(count))
    }

    fn answer_from_old(answer: Result<Option<u32>, String>) -> Result<(u32, String), String> {
        answer.map(|count| (count.unwrap_or(0), "nobody knows".to_owned()))
    }
}

impl MigrateStream for NamedLists {
    type Old = List;

    fn to_old(&(from, to): &(u32, u32)) -> Option<u32> {
        (to == u32::MAX).then_some(from)
    }

    fn from_old(from: u32) -> (u32, u32) {
        (from, u32::MAX)
    }

    fn item_to_old((number, _): (u32, String)) -> u32 {
        number
    }

    fn item_from_old(number: u32) -> (u32, String) {
        (number, format!("article {number}"))
    }

    fn error_to_old(code: u8) -> String {
        format!("failed with {code}")
    }

    fn error_from_old(text: String) -> u8 {
        text.rsplit(' ').next().and_then(|code| code.parse().ok()).unwrap_or(0)
    }
}

fn train() -> Train {
    Train::new("stock")
        .release("3.0", |r| r)
        .release("3.1", |r| r.introduce(CountByPlace).introduce(NamedLists))
        .release("3.2", |r| r.switch(CountByPlace).switch(NamedLists))
        .release("3.3", |r| r.remove(CountByPlace).remove(NamedLists))
}

fn release(number: &str) -> Profile {
    train().profile(number).expect("a release of the train")
}

/// The code of 3.0, which was written before anybody thought of a migration.
fn old(node: NodeBuilder) -> NodeBuilder {
    node.serve(Count, |_: Context, article: String| async move { count_of(&article).map(|n| (n > 0).then_some(n)) })
        .serve_stream(List, |mut items: Items<List>, from: u32| async move {
            for number in from..4 {
                items.send(&number).await;
            }
            if from > 4 { Err("failed with 7".to_owned()) } else { Ok(Some(4)) }
        })
}

/// The code of every later release: the new functions alone.
fn new(node: NodeBuilder) -> NodeBuilder {
    node.serve(CountByPlace, |job: Context, (article, _): (String, Option<String>)| async move {
        count_of(&article).map(|count| (count, job.function().to_owned()))
    })
    .serve_stream(NamedLists, |mut items: Items<NamedLists>, (from, _): (u32, u32)| async move {
        for number in from..4 {
            items.send(&(number, format!("n{number}"))).await;
        }
        if from > 4 { Err(7) } else { Ok(Some((4, "last".to_owned()))) }
    })
}

fn count_of(article: &str) -> Result<u32, String> {
    match article {
        "" => Err("which article?".to_owned()),
        "nails" => Ok(900),
        _ => Ok(0),
    }
}

/// n1 and n2 of these releases, which know each other.
async fn pair(one: &str, other: &str) -> (TestCluster, Node, NodeName) {
    let cluster = TestCluster::new(["n1", "n2"]);
    cluster.define_all(|node| if node.profile().stop().to_string() == "3.0" { old(node) } else { new(node) });
    let n1 = cluster.start("n1", &release(one)).expect("n1 starts");
    let n2 = cluster.start("n2", &release(other)).expect("n2 starts");
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    (cluster, n1, n2.name().clone())
}

/// All places, which both forms can say.
fn nails() -> (String, Option<String>) {
    ("nails".to_owned(), None)
}

async fn until_at(node: &Node, phase: Phase) {
    for migration in [CountByPlace::MIGRATION, NamedLists::MIGRATION] {
        let mut watch = node.rollout_of(&migration).expect("of its train").watch();
        within("the phase", watch.wait_for(|now| *now == phase)).await.expect("it runs");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_follow_the_phase_between_all_neighbours_and_come_back_in_the_new_form() {
    let said = |form: &str| (900, form.to_owned());
    let cases = [
        ("3.1", "3.0", Phase::Introduce, said("nobody knows")),
        ("3.1", "3.1", Phase::Introduce, said("nobody knows")),
        ("3.1", "3.2", Phase::Introduce, said("nobody knows")),
        ("3.2", "3.1", Phase::Switch, said("stock.count_at")),
        ("3.2", "3.2", Phase::Switch, said("stock.count_at")),
        ("3.2", "3.3", Phase::Switch, said("stock.count_at")),
        ("3.3", "3.2", Phase::Remove, said("stock.count_at")),
        ("3.3", "3.3", Phase::Remove, said("stock.count_at")),
    ];
    for (one, other, phase, expected) in cases {
        let (_cluster, n1, n2) = pair(one, other).await;
        until_at(&n1, phase).await;
        let counted = within("the count", n1.ask(CountByPlace, &n2, &nails())).await;
        assert_eq!(counted, Ok(expected), "{one} asks {other}");
        let failed = within("the error", n1.ask(CountByPlace, &n2, &(String::new(), None))).await;
        assert_eq!(failed, Err(AskError::Function("which article?".to_owned())), "{one} asks {other}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_from_before_the_migration_is_served_by_the_code_of_the_new_form() {
    let (_cluster, n1, n2) = pair("3.0", "3.1").await;
    assert_eq!(within("the count", n1.ask(Count, &n2, &"nails".to_owned())).await, Ok(Some(900)));
    assert_eq!(within("the count", n1.ask(Count, &n2, &"screws".to_owned())).await, Ok(None));
    let items = n1.ask_stream(List, &n2, &2);
    let items: Vec<_> = within("the stream", items.collect::<Vec<_>>()).await;
    assert_eq!(items, [Ok(2), Ok(3), Ok(4)]);
    let failed: Vec<_> = within("the stream", n1.ask_stream(List, &n2, &5).collect()).await;
    assert_eq!(failed, [Err(AskError::Function("failed with 7".to_owned()))]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_follows_the_phase_as_well() {
    let items = async |one: &str, other: &str, from: u32| {
        let (_cluster, n1, n2) = pair(one, other).await;
        until_at(&n1, if one == "3.1" { Phase::Introduce } else { Phase::Switch }).await;
        let items = n1.ask_stream(NamedLists, &n2, &(from, u32::MAX));
        within("the stream", items.collect::<Vec<_>>()).await
    };
    let named = |number: u32, name: &str| Ok((number, name.to_owned()));
    assert_eq!(items("3.1", "3.0", 3).await, [named(3, "article 3"), named(4, "article 4")]);
    assert_eq!(items("3.2", "3.1", 3).await, [named(3, "n3"), named(4, "last")]);
    for (one, other) in [("3.1", "3.0"), ("3.2", "3.2")] {
        assert_eq!(items(one, other, 5).await, [Err(AskError::Function(7))], "{one} asks {other}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flag_moves_calls_there_and_back_while_the_nodes_run() {
    let (_cluster, n1, n2) = pair("3.2", "3.2").await;
    let rollout = n1.rollout_of(CountByPlace).expect("of its train");
    let asked = async || within("the count", n1.ask(CountByPlace, &n2, &nails())).await.expect("counted").1;
    until_at(&n1, Phase::Switch).await;
    for _ in 0..2 {
        assert_eq!(asked().await, "stock.count_at");
        rollout.set_ceiling(Some(Phase::Introduce)).expect("n2 takes the old form");
        assert_eq!(asked().await, "nobody knows", "said in the old form");
        rollout.set_ceiling(None).expect("n2 takes the new form");
    }
    let lists = n1.rollout_of(NamedLists).expect("of its train");
    assert_eq!(lists.phase(), Phase::Switch, "each migration has its own flag");
    assert_eq!(
        n1.rollout().migration(),
        rexi_server::SERVER_PER_NODE.key(),
        "of two that go on, neither is the only one"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_old_form_cannot_say_fails_before_it_is_sent() {
    let (_cluster, n1, n2) = pair("3.1", "3.2").await;
    let at_dock = ("nails".to_owned(), Some("dock".to_owned()));
    let refused =
        within("the refusal", n1.ask(CountByPlace, &n2, &at_dock)).await.expect_err("the old form has no places");
    assert!(refused.did_not_run() && !refused.is_safe_to_retry(), "{refused}");
    let says =
        "stock.count_at: this call cannot be said in the old form of stock.count-by-place, which this node still says";
    assert_eq!(refused.to_string(), says);
    let unsent: Vec<_> = within("the refusal", n1.ask_stream(NamedLists, &n2, &(1, 2)).collect()).await;
    let [Err(AskError::Call(CallError::Send(SendError::NotSayable { .. })))] = &unsent[..] else {
        panic!("one error, and no more: {unsent:?}")
    };
}

#[tokio::test(start_paused = true)]
async fn a_quorum_counts_the_answers_of_both_forms_alike() {
    let cluster = TestCluster::new(["n1", "n2", "n3"]);
    cluster.define_all(new);
    for (name, number) in [("n1", "3.2"), ("n2", "3.1"), ("n3", "3.2")] {
        cluster.start(name, &release(number)).expect("it starts");
    }
    within("all to be ready", cluster.ready()).await;
    let n1 = cluster.node("n1");
    let peers = || ["n1", "n2", "n3"].map(|name| cluster.name(name));
    let rollout = n1.rollout_of(CountByPlace).expect("of its train");
    for (ceiling, by) in [(Some(Phase::Introduce), "nobody knows"), (None, "stock.count_at")] {
        rollout.set_ceiling(ceiling).expect("all take both");
        let votes = within("the quorum", n1.ask_quorum(CountByPlace, peers(), &nails()).all().run()).await;
        let votes: Vec<_> = votes.expect("all answer").into_iter().map(|vote| vote.value).collect();
        assert_eq!(votes, vec![(900, by.to_owned()); 3]);
    }
}

/// A cast waits in the buffer while the peer restarts at a release that does not take what it says.
#[tokio::test(start_paused = true)]
async fn a_call_that_waited_over_a_change_of_its_peer_is_said_in_the_form_that_is_taken_then() {
    let (cluster, n1, n2) = pair("3.2", "3.2").await;
    until_at(&n1, Phase::Switch).await;
    cluster.crash("n2");
    rexi_tests::until("n2 to be gone", &n1, |n1| rexi_tests::peer(n1, "n2").presence != PeerPresence::Connected).await;
    let asking = tokio::spawn({
        let (n1, n2) = (n1.clone(), n2.clone());
        async move { n1.ask(CountByPlace, &n2, &nails()).await }
    });
    tokio::task::yield_now().await;
    for migration in [CountByPlace::MIGRATION, NamedLists::MIGRATION] {
        let rollout = n1.rollout_of(&migration).expect("of its train");
        rollout.set_ceiling(Some(Phase::Introduce)).expect("nobody has removed the old form");
    }
    // A build of 3.1 whose train has the migration a release later: it takes the old form alone.
    let late = Train::new("stock")
        .release("3.0", |r| r)
        .release("3.1", |r| r)
        .release("3.2", |r| r.introduce(CountByPlace).introduce(NamedLists));
    let late = late.profile("3.1").expect("a train");
    cluster.start("n2", &late).expect("it starts");
    let counted = within("the count", asking).await.expect("no panic");
    assert_eq!(counted, Ok((900, "nobody knows".to_owned())), "it did not run in the form that it was cast in");
}

#[tokio::test(start_paused = true)]
async fn a_kill_follows_its_call_whatever_the_phase_says_by_then() {
    let cluster = TestCluster::new(["n1", "n2"]);
    cluster
        .define_all(|node| node.serve(CountByPlace, |_: Context, _: (String, Option<String>)| std::future::pending()));
    cluster.start_all(&release("3.2")).expect("they start");
    cluster.ready().await;
    let (n1, n2) = (cluster.node("n1"), cluster.node("n2"));
    let rollout = n1.rollout_of(CountByPlace).expect("of its train");
    for (before, after) in [(None, Some(Phase::Introduce)), (Some(Phase::Introduce), None)] {
        rollout.set_ceiling(before).expect("both take both");
        let asking = tokio::spawn({
            let (n1, to) = (n1.clone(), n2.name().clone());
            async move { n1.ask(CountByPlace, &to, &nails()).await }
        });
        rexi_tests::until("the job to run", &n2, |n2| n2.status().jobs == 1).await;
        rollout.set_ceiling(after).expect("both take both");
        asking.abort();
        rexi_tests::until("the job to be gone", &n2, |n2| n2.status().jobs == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_serves_the_forms_of_its_release_and_refuses_a_migration_that_its_train_lacks() {
    let served = |number: &str| {
        let node = new(TestCluster::new(["n1"]).builder("n1", &release(number))).start().expect("it starts");
        node.functions().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(served("3.0"), ["stock.count", "stock.list"]);
    assert_eq!(served("3.1"), ["stock.count", "stock.count_at", "stock.list", "stock.list_named"]);
    assert_eq!(served("3.3"), ["stock.count_at", "stock.list_named"]);
    let cluster = TestCluster::new(["n1"]);
    let other = Train::new("other").release("1.0", |r| r).profile("1.0").expect("a train");
    let refused = new(cluster.builder("n1", &other)).start().expect_err("the train has no such migration");
    assert!(
        matches!(&refused, StartError::UnknownMigration(key) if key.as_str() == "stock.count-by-place"),
        "{refused}"
    );
    let n1 = cluster.builder("n1", &other).start().expect("it starts");
    let asked = n1.ask(CountByPlace, n1.name(), &nails()).await;
    assert!(matches!(asked, Err(AskError::Call(CallError::Send(SendError::UnknownMigration { .. })))), "{asked:?}");
    let both = new(TestCluster::new(["n1"]).builder("n1", &release("3.1"))).serve(Count, |_, _| async { Ok(None) });
    assert!(matches!(both.start(), Err(StartError::FunctionTwice(name)) if name == "stock.count"));
}

#[test]
fn a_migration_is_a_constant_of_its_service() {
    const COUNT: Migration = CountByPlace::MIGRATION;
    assert_eq!(COUNT, Migration::from(CountByPlace));
    assert_eq!(train().check(), Ok(()));
}
