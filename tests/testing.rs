//! The test cluster that users are given: calls, faults, crashes and upgrades in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rexi_server::testing::{TestCluster, TestMembers};
use rexi_server::{
    Answer, Bytes, CallError, Context, DownReason, ExitReason, Node, NodeBuilder, NodeName, PeerPresence, Phase,
    Request, StartError, StartRollout, proto::Refusal,
};
use rexi_tests::{RELEASES, name, peer, release};
use tokio::runtime::Handle;
use tokio::time::Instant;

const SEED: u64 = 5;

fn functions(node: NodeBuilder) -> NodeBuilder {
    node.function("echo", |_, argument: Bytes| async move { Ok::<_, String>(argument) })
        .function("forever", |_, _| std::future::pending::<Result<(), String>>())
        .function("slowly", |job: Context, argument: Bytes| async move {
            // A job's own time is virtual too.
            pass(Duration::from_secs(30)).await;
            drop(job);
            Ok::<_, String>(argument)
        })
}

/// n1, n2 and n3, connected.
async fn cluster(number: &str) -> TestCluster {
    let cluster = TestCluster::with_seed(SEED, ["n1", "n2", "n3"]);
    cluster.define_all(functions);
    cluster.start_all(&release(number)).expect("all start");
    cluster.ready().await;
    cluster
}

async fn echo(node: &Node, to: &str) -> Result<Bytes, CallError> {
    node.call(&name(to), Request::new("echo", "hello")).await
}

fn hello() -> Result<Bytes, CallError> {
    Ok(Bytes::from("hello"))
}

/// Moves time on.
async fn pass(time: Duration) {
    assert!(tokio::time::timeout(time, std::future::pending::<()>()).await.is_err());
}

/// Lets what is about to happen now happen, without moving time.
async fn settle() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

fn between(seconds: std::ops::RangeInclusive<u64>, since: Instant) {
    let passed = since.elapsed();
    assert!(seconds.contains(&passed.as_secs()), "{passed:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_cross_nodes_in_virtual_time() {
    for number in RELEASES {
        let started = Instant::now();
        let cluster = cluster(number).await;
        between(0..=0, started);
        for (from, to) in [("n1", "n2"), ("n2", "n3"), ("n3", "n1"), ("n1", "n1")] {
            assert_eq!(echo(&cluster.node(from), to).await, hello(), "{number}: {from} to {to}");
        }
        let called = Instant::now();
        let reply = cluster.node("n1").call(&cluster.name("n2"), Request::new("slowly", "late")).await;
        assert_eq!(reply, Ok(Bytes::from("late")));
        between(30..=30, called);
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_repeated_by_the_seed() {
    async fn run(seed: u64) -> Vec<Duration> {
        let started = Instant::now();
        let cluster = TestCluster::with_seed(seed, ["n1", "n2"]);
        assert_eq!(cluster.seed(), seed);
        cluster.define_all(functions);
        cluster.lose("n1", "n2", 0.3);
        cluster.start_all(&release("1.2")).expect("both start");
        cluster.ready().await;
        let mut times = vec![started.elapsed()];
        for _ in 0..20 {
            assert_eq!(echo(&cluster.node("n1"), "n2").await, hello());
            times.push(started.elapsed());
        }
        times
    }
    let first = run(1).await;
    assert_eq!(run(1).await, first);
    assert_ne!(run(2).await, first);
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_heard_of_after_8_s_of_silence_and_15_s_of_grace() {
    let cluster = cluster("1.2").await;
    let n1 = cluster.node("n1");
    let mut open = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
    pass(Duration::from_secs(5)).await;
    cluster.cut("n1", "n2");
    let cut = Instant::now();
    assert_eq!(open.next().await, Some(Answer::Down(DownReason::NoConnection)));
    // The last word that came was a keep-alive, of up to 2 s before.
    between(20..=24, cut);
    assert_eq!(peer(&n1, "n2").presence, PeerPresence::Gone);
    assert_eq!(cluster.node("n2").status().jobs, 0, "n2 has given n1 up as well");
    assert_eq!(echo(&n1, "n2").await, Err(CallError::Down(DownReason::NoConnect)));
    assert_eq!(echo(&n1, "n3").await, hello(), "the others are still connected");
    cluster.heal("n1", "n2");
    cluster.ready().await;
    assert_eq!(echo(&n1, "n2").await, hello());
}

#[tokio::test(start_paused = true)]
async fn a_brief_cut_ends_no_job_that_runs() {
    // Shorter than the 8 s in which a connection may be silent, and longer.
    for seconds in [4, 12] {
        let cluster = cluster("1.2").await;
        let n1 = cluster.node("n1");
        let slowly = n1.cast(&name("n2"), Request::new("slowly", "late")).expect("n2 is a member");
        pass(Duration::from_secs(1)).await;
        cluster.cut("n1", "n2");
        let during = n1.cast(&name("n2"), Request::new("echo", "hello")).expect("n2 is a member");
        pass(Duration::from_secs(seconds)).await;
        let presence = if seconds < 8 { PeerPresence::Connected } else { PeerPresence::Away };
        assert_eq!(peer(&n1, "n2").presence, presence);
        cluster.heal_all();
        // What was written to a connection that has died since may have run: the caller is told.
        let lost = Err(CallError::Ended(ExitReason::ConnectionLost));
        assert_eq!(during.reply().await, if seconds < 8 { hello() } else { lost }, "{seconds} s");
        assert_eq!(slowly.reply().await, Ok(Bytes::from("late")), "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_cut_one_way_is_of_no_use_either_way() {
    let cluster = cluster("1.2").await;
    let (n1, n2) = (cluster.node("n1"), cluster.node("n2"));
    cluster.cut_one_way("n2", "n1");
    let cut = Instant::now();
    let (one, two) = tokio::join!(echo(&n1, "n2"), echo(&n2, "n1"));
    assert_eq!(one, Err(CallError::Down(DownReason::NoConnection)));
    assert_eq!(two, Err(CallError::Down(DownReason::NoConnection)));
    // n2 still hears n1, until n1 gives the connection up.
    between(28..=32, cut);
    cluster.heal("n1", "n2");
    cluster.ready().await;
    assert_eq!(tokio::join!(echo(&n1, "n2"), echo(&n2, "n1")), (hello(), hello()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_answers_after_its_delay_each_way() {
    let cluster = cluster("2.0").await;
    cluster.slow("n1", "n2", Duration::from_millis(300));
    let called = Instant::now();
    assert_eq!(echo(&cluster.node("n1"), "n2").await, hello());
    let passed = called.elapsed();
    assert!((600..1_200).contains(&passed.as_millis()), "{passed:?}");
    cluster.heal("n1", "n2");
    pass(Duration::from_secs(1)).await;
    let called = Instant::now();
    assert_eq!(echo(&cluster.node("n1"), "n2").await, hello());
    assert!(called.elapsed() < Duration::from_millis(100), "{:?}", called.elapsed());
}

#[tokio::test(start_paused = true)]
async fn calls_are_answered_over_a_link_that_loses_a_fifth() {
    let cluster = cluster("1.2").await;
    cluster.lose("n1", "n2", 0.2);
    let n1 = cluster.node("n1");
    let calls = (0..200_usize).map(|number| {
        let body = Bytes::from(vec![b'x'; number * 10]);
        (n1.cast(&name("n2"), Request::new("echo", body.clone())).expect("n2 is a member"), body)
    });
    for (call, body) in calls.collect::<Vec<_>>() {
        assert_eq!(call.reply().await, Ok(body));
    }
    cluster.lose("n1", "n2", f64::NAN);
    cluster.lose("n1", "n2", 7.0);
    assert_eq!(echo(&n1, "n2").await, Err(CallError::Down(DownReason::NoConnection)), "all is lost");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_crashes_comes_back_at_the_next_release_of_the_train() {
    for pair in RELEASES.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        let cluster = cluster(before).await;
        let n1 = cluster.node("n1");
        let mut open = n1.cast(&name("n2"), Request::new("forever", "")).expect("n2 is a member");
        let first_life = cluster.node("n2").incarnation();
        pass(Duration::from_secs(1)).await;
        let n2 = cluster.restart("n2", &release(after)).expect("n2 starts again");
        assert!(n2.incarnation() > first_life);
        cluster.ready().await;
        assert_eq!(open.next().await, Some(Answer::Down(DownReason::Restarted)), "{before} to {after}");
        for (from, to) in [("n1", "n2"), ("n2", "n1"), ("n3", "n2")] {
            assert_eq!(echo(&cluster.node(from), to).await, hello(), "{before} to {after}: {from} to {to}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_rolled_through_the_whole_train_node_by_node() {
    let cluster = cluster("1.0").await;
    for number in &RELEASES[1..] {
        for (next, node) in ["n1", "n2", "n3"].into_iter().enumerate() {
            assert_eq!(cluster.stop(node).await, 0);
            cluster.start(node, &release(number)).expect("starts again");
            cluster.ready().await;
            let other = ["n2", "n3", "n1"][next];
            let (one, two) = (cluster.node(node), cluster.node(other));
            let calls = tokio::join!(echo(&one, other), echo(&two, node));
            assert_eq!(calls, (hello(), hello()), "{node} at {number}");
        }
        if *number == "1.2" {
            for node in ["n1", "n2", "n3"] {
                let mut phase = cluster.node(node).rollout().watch();
                phase.wait_for(|phase| *phase == Phase::Switch).await.expect("the node runs");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn releases_that_may_not_speak_refuse_each_other() {
    let cluster = TestCluster::with_seed(SEED, ["n1", "n2"]);
    cluster.define_all(|node| functions(node).rollout(StartRollout::fixed(Phase::Singleton)));
    cluster.start("n1", &release("1.0")).expect("n1 starts");
    cluster.define("n2", |node| functions(node).rollout(StartRollout::fixed(Phase::Switch)));
    let n2 = cluster.start("n2", &release("1.2")).expect("n2 starts");
    let refused = echo(&n2, "n1").await;
    assert!(matches!(refused, Err(CallError::Incompatible(_))), "{refused:?}");
    assert!(matches!(peer(&n2, "n1").presence, PeerPresence::Refused(_)));
    let refusal: Option<Refusal> = peer(&cluster.node("n1"), "n2").refusal;
    assert!(refusal.is_some());
}

/// Counts what is dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_crashes_leaves_no_task_and_says_nothing() {
    for number in RELEASES {
        let cluster = TestCluster::with_seed(SEED, ["n1", "n2"]);
        let dropped = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&dropped);
        cluster.define_all(move |node| {
            let seen = Arc::clone(&seen);
            functions(node).function("held", move |_, _| {
                let held = Dropped(Arc::clone(&seen));
                async move {
                    let _held = held;
                    std::future::pending::<Result<(), String>>().await
                }
            })
        });
        let alive = || Handle::current().metrics().num_alive_tasks();
        let before = alive();
        cluster.start_all(&release(number)).expect("both start");
        cluster.ready().await;
        let (n1, n2) = (cluster.node("n1"), cluster.node("n2"));
        let open = n1.cast(&name("n2"), Request::new("held", "")).expect("n2 is a member");
        let mut mine = n2.cast(&name("n1"), Request::new("held", "")).expect("n1 is a member");
        pass(Duration::from_secs(1)).await;
        assert_eq!((n1.status().jobs, n2.status().jobs), (1, 1));

        let crashed = Instant::now();
        cluster.crash("n2");
        cluster.crash("n2");
        settle().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 1, "n2's worker was dropped");
        assert!(matches!(mine.next().await, Some(Answer::Down(_))));
        assert!(matches!(echo(&n2, "n1").await, Err(CallError::Down(_))));
        assert!(matches!(echo(&n2, "n2").await, Err(CallError::Down(_))));
        assert_eq!(crashed.elapsed(), Duration::ZERO, "all that at once");
        pass(Duration::from_secs(5)).await;
        assert_eq!(peer(&n1, "n2").presence, PeerPresence::Connected, "n1 has heard nothing");
        assert_eq!(open.reply().await, Err(CallError::Down(DownReason::NoConnection)));
        between(20..=24, crashed);

        assert_eq!(n2.clone().shutdown(Duration::from_secs(1)).await, 0, "nothing is left to be ended");
        assert_eq!((n2.status().jobs, n2.status().calls), (0, 0));
        cluster.crash("n1");
        settle().await;
        assert_eq!(alive(), before, "release {number}: no task is left, though handles are held");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        cluster.start_all(&release(number)).expect("both addresses are free");
        cluster.ready().await;
        assert_eq!(echo(&cluster.node("n1"), "n2").await, hello());
        ["n1", "n2"].iter().for_each(|node| cluster.crash(node));
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_in_good_order_lets_its_jobs_finish_and_leaves_no_task() {
    let cluster = cluster("1.2").await;
    let (n1, n2) = (cluster.node("n1"), cluster.node("n2"));
    let slowly = n2.cast(&name("n1"), Request::new("slowly", "late")).expect("n1 is a member");
    let mut open = n2.cast(&name("n1"), Request::new("forever", "")).expect("n1 is a member");
    pass(Duration::from_secs(25)).await;
    let stopped = Instant::now();
    assert_eq!(cluster.stop("n1").await, 1, "one never ends by itself");
    between(10..=13, stopped);
    assert_eq!(slowly.reply().await, Ok(Bytes::from("late")));
    assert!(matches!(open.next().await, Some(Answer::Exit { .. } | Answer::Down(DownReason::Shutdown))));
    assert_eq!(cluster.stop("n1").await, 0, "it does not run");
    cluster.start("n1", &release("1.2")).expect("its address is free, though its handle is held");
    cluster.ready().await;
    drop(n1);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_a_cluster_in_vain_is_said() {
    let cluster = TestCluster::with_seed(SEED, ["n1", "n2"]);
    cluster.define("n1", |node| functions(functions(node)));
    assert!(matches!(cluster.start("n1", &release("1.2")), Err(StartError::FunctionTwice(_))));
    cluster.define("n1", functions);
    cluster.start("n1", &release("1.2")).expect("n1 starts");
    assert!(matches!(cluster.start("n1", &release("1.2")), Err(StartError::Listen { .. })), "it runs already");
    let node = cluster.builder("n2", &release("1.2")).start().expect("n2 starts");
    cluster.adopt(node);
    cluster.ready().await;
    cluster.crash("n2");
    cluster.restart("n2", &release("1.2")).expect("restarted");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "\"n4\" is not a member of this test cluster; members are n1, n2")]
async fn a_name_that_is_no_members_is_said() {
    TestCluster::with_seed(SEED, ["n1", "n2"]).cut("n1", "n4");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "n2 (1.2.0) sees n1 away (no handshake within 3s)")]
async fn nodes_that_do_not_connect_are_named_with_their_reasons() {
    let cluster = TestCluster::with_seed(SEED, ["n1", "n2"]);
    cluster.cut("n1", "n2");
    // A minute of tries, of which the stability period must not be the end.
    cluster.define_all(|node| {
        node.limits(rexi_server::Limits { stability_period: Duration::from_secs(300), ..Default::default() })
    });
    cluster.start_all(&release("1.2")).expect("both start");
    cluster.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_works_on_several_threads_in_real_time() {
    let cluster = cluster("2.0").await;
    let n1 = cluster.node("n1");
    let calls: Vec<_> =
        (0..200).map(|_| n1.cast(&name("n2"), Request::new("echo", "hello")).expect("n2 is a member")).collect();
    for call in calls {
        assert_eq!(call.reply().await, hello());
    }
    cluster.restart("n2", &release("2.0")).expect("restarted");
    cluster.ready().await;
    assert_eq!(echo(&n1, "n2").await, hello());
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_is_set_is_taken_when_it_starts_again() {
    let cluster = cluster("1.2").await;
    let mut life = cluster.node("n1").incarnation();
    let day = Duration::from_secs(86_400);
    let (back, ahead) = (TestCluster::set_clock_back as fn(&_, &_, _), TestCluster::set_clock_ahead as fn(&_, &_, _));
    for (set, days) in [(back, -1_i32), (ahead, 1), (ahead, 1), (back, -2)] {
        pass(Duration::from_secs(1)).await;
        set(&cluster, "n1", day * days.unsigned_abs());
        let again = cluster.restart("n1", &release("1.2")).expect("it starts");
        let moved = i128::from(again.incarnation().0) - i128::from(life.0) - 86_400_000_000 * i128::from(days);
        // It takes a while until a later life that nobody saw end is given up.
        assert!((1_000_000..30_000_000).contains(&moved), "{moved} us beside {days} days");
        life = again.incarnation();
        cluster.ready().await;
        assert_eq!(echo(&again, "n2").await, hello(), "whether its life is later or earlier");
    }
    // Within what certificates are good for: ten years ahead, and 25 back.
    cluster.set_clock_right("n1");
    for (set, days) in [(ahead, 10 * 365), (back, 25 * 365)] {
        set(&cluster, "n1", 40 * 365 * day);
        let set = cluster.wall_clock("n1");
        cluster.set_clock_right("n1");
        let right = cluster.wall_clock("n1");
        let off = set.duration_since(right).unwrap_or_else(|behind| behind.duration());
        assert!(off.abs_diff(days * day) < Duration::from_secs(1), "{off:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_clusters_share_their_members_and_each_repeats_with_its_seed() {
    let members = TestMembers::new(["n2", "n1", "n2"]);
    assert_eq!(members.names().map(NodeName::as_str).collect::<Vec<_>>(), ["n1", "n2"]);
    let mut lives = Vec::new();
    for seed in [1, 1, 2] {
        let cluster = TestCluster::of(&members, seed);
        assert_eq!(cluster.seed(), seed);
        let seen = Arc::new(AtomicUsize::new(0));
        let (count, of) = (Arc::clone(&seen), members.clone());
        cluster.observe(move |datagram| {
            assert!(of.at(datagram.from).is_some() && of.at(datagram.to).is_some());
            count.fetch_add(1, Ordering::Relaxed);
        });
        cluster.define_all(functions);
        cluster.start_all(&release("1.2")).expect("all start");
        assert!(cluster.running("n1").is_some());
        cluster.reorder("n1", "n2", Duration::from_millis(9));
        cluster.duplicate("n1", "n2", 0.5);
        let started = Instant::now();
        cluster.ready().await;
        assert_eq!(echo(&cluster.node("n1"), "n2").await, hello());
        lives.push((started.elapsed(), seen.load(Ordering::Relaxed) > 4));
        cluster.crash("n1");
        assert!(cluster.running("n1").is_none());
    }
    assert_eq!(lives[0], lives[1]);
    assert!(lives.iter().all(|(_, seen)| *seen));
}

/// How a datagram fared from n1 to n2, or back.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fared {
    back: bool,
    at: Instant,
    took: Option<Duration>,
}

/// How the datagrams of ten echoes fare.
async fn fared(cluster: &TestCluster, fault: impl FnOnce()) -> Vec<Fared> {
    let (seen, into) = (Arc::new(Mutex::new(Vec::new())), cluster.address("n1"));
    let (noted, other) = (Arc::clone(&seen), cluster.address("n2"));
    fault();
    cluster.observe(move |datagram| {
        if [datagram.from, datagram.to].iter().all(|end| [into, other].contains(end)) {
            let took = datagram.arrives.map(|arrives| arrives - datagram.at);
            noted.lock().expect("no panic").push(Fared { back: datagram.from == other, at: datagram.at, took });
        }
    });
    let n1 = cluster.node("n1");
    for _ in 0..10 {
        let _ = tokio::time::timeout(Duration::from_secs(1), echo(&n1, "n2")).await;
    }
    cluster.heal("n1", "n2");
    let fared = seen.lock().expect("no panic").clone();
    assert!(fared.iter().any(|one| !one.back), "n1 has sent something");
    fared
}

#[tokio::test(start_paused = true)]
async fn each_fault_of_a_link_does_what_it_says_and_is_healed() {
    let ms = Duration::from_millis;
    let cluster = cluster("2.0").await;
    let all = |fared: &[Fared], is: fn(&Fared) -> bool| fared.iter().all(is);
    let sound = |one: &Fared| one.took == Some(Duration::from_millis(1));
    let twice = |fared: &[Fared]| fared.chunks(2).all(|two| two.len() == 2 && two[0].at == two[1].at);
    let plain = fared(&cluster, || {}).await;
    assert!(all(&plain, sound) && !twice(&plain), "{plain:?}");
    let slow = fared(&cluster, || cluster.slow("n1", "n2", ms(70))).await;
    assert!(all(&slow, |one| one.took == Some(Duration::from_millis(70))), "{slow:?}");
    let doubled = fared(&cluster, || cluster.duplicate("n1", "n2", 1.0)).await;
    assert!(all(&doubled, sound) && twice(&doubled), "{doubled:?}");
    let mixed = fared(&cluster, || cluster.reorder("n1", "n2", ms(9))).await;
    assert!(mixed.iter().all(|one| one.took.is_some_and(|took| (ms(1)..=ms(10)).contains(&took))), "{mixed:?}");
    assert!(mixed.iter().any(|one| one.back && one.took > Some(ms(1))), "{mixed:?}");
    let lossy = fared(&cluster, || cluster.lose("n1", "n2", 0.5)).await;
    let lost = lossy.iter().filter(|one| one.took.is_none()).count();
    assert!(lost * 5 > lossy.len() && lost * 5 < 4 * lossy.len(), "{lost} of {}", lossy.len());
    let one_way = fared(&cluster, || cluster.cut_one_way("n1", "n2")).await;
    assert!(all(&one_way, |one| one.back == one.took.is_some()), "{one_way:?}");
    // Of each fault nothing is left, but what TLS and QUIC send again.
    assert!(all(&fared(&cluster, || {}).await, sound));
    let cut = fared(&cluster, || cluster.cut("n1", "n2")).await;
    assert!(all(&cut, |one| one.took.is_none()), "{cut:?}");
}
