//! Two operators at once, over links that lose, slow and cut, and members that crash: one change wins at each epoch,
//! each operator is told what came of theirs, and no two disks ever have different records of one epoch.
//!
//! `REXI_RACES=1000` plays so many, `REXI_SEED` says from which seed on; what came of them is printed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rexi_proto::record::{ClusterChange, CommandOutcome, Digest, Kept, OperatorCommand};
use rexi_server::testing::{TestCluster, TestDisk, TestMembers};
use rexi_server::{MigrationKey, Node, NodeName, Phase, Release, SERVER_PER_NODE};
use rexi_tests::{name, release};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];
const R12: Release = Release(1, 2, 0);
const R20: Release = Release(2, 0, 0);

/// What is drawn by chance: splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// Every record that was on a disk, by epoch, and who had it.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<u64, Had>>>);

/// A record's digest, who had it first, and with what.
struct Had(Digest, NodeName, Arc<Kept>);

impl Seen {
    /// Panics where another disk has another record of the same epoch.
    fn note(&self, seed: u64, node: &NodeName, kept: &Arc<Kept>) {
        let Some(record) = &kept.record else { return };
        let mut seen = self.0.lock().expect("nothing panics");
        let had = Had(record.digest(), node.clone(), Arc::clone(kept));
        let Had(digest, by, _) = seen.entry(record.epoch).or_insert(had);
        assert_eq!(*digest, record.digest(), "seed {seed}: epoch {} at {node} and at {by}", record.epoch);
    }

    fn watch(&self, seed: u64, node: &Node) {
        let (seen, of, mut kept) = (self.clone(), node.name().clone(), node.watch_kept().expect("it keeps a record"));
        tokio::spawn(async move {
            loop {
                let now = Arc::clone(&kept.borrow_and_update());
                seen.note(seed, &of, &now);
                if kept.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn at(&self, epoch: u64) -> Arc<Kept> {
        Arc::clone(&self.0.lock().expect("nothing panics")[&epoch].2)
    }
}

/// The disks of all, which outlive their processes.
type Disks = BTreeMap<&'static str, TestDisk>;

fn start(cluster: &TestCluster, disks: &Disks, seen: &Seen, of: &str) -> Node {
    let builder = cluster.builder(of, &release("1.2")).state_on(disks[of].clone());
    let node = cluster.adopt(builder.start().expect("it starts"));
    seen.watch(cluster.seed(), &node);
    node
}

async fn pass(time: u64) {
    rexi_tests::pass(Duration::from_millis(time)).await;
}

/// A word for what came of a command.
fn word(outcome: &Option<CommandOutcome>) -> &'static str {
    match outcome {
        None => "lost with its member",
        Some(CommandOutcome::Done(_)) => "done",
        Some(CommandOutcome::Already(_)) => "already",
        Some(CommandOutcome::Refused(_)) => "refused",
        Some(CommandOutcome::Unknown(_)) => "unknown",
        Some(CommandOutcome::UnderWay(_)) => "under way",
        Some(CommandOutcome::Theirs { .. }) => "theirs",
        Some(CommandOutcome::Aborted { .. }) => "aborted",
        Some(CommandOutcome::Spared(_)) => "spared",
        Some(CommandOutcome::Blocked(_)) => "blocked",
        Some(CommandOutcome::Overtaken(_)) => "overtaken",
        Some(CommandOutcome::Fork(_)) => "fork",
    }
}

/// One race; gives what each of the two was told.
async fn race(members: &TestMembers, seed: u64) -> (&'static str, &'static str, &'static str) {
    let disks: Disks = NAMES.map(|of| (of, TestDisk::new())).into();
    let (cluster, seen, mut chance) = (TestCluster::of(members, seed), Seen::default(), Chance(seed));
    let mut nodes = Vec::new();
    for of in NAMES {
        nodes.push(start(&cluster, &disks, &seen, of));
    }
    let begin = OperatorCommand::Make(ClusterChange::Begin { floor: R12, top: R12 });
    assert_eq!(nodes[0].command("alice", begin).await, Ok(CommandOutcome::Done(1)), "seed {seed}");
    let faults = chance.below(4);
    for (one, other) in [("n1", "n2"), ("n1", "n3"), ("n2", "n3")] {
        if faults > 0 {
            cluster.lose(one, other, [0.0, 0.05, 0.3][chance.below(3) as usize]);
            cluster.reorder(one, other, Duration::from_millis(chance.below(40)));
        }
        if faults > 1 && chance.below(3) == 0 {
            cluster.cut(one, other);
        }
    }
    let ask = |at: usize, by: &'static str, change: ClusterChange, after: u64| {
        let node = nodes[at].clone();
        tokio::spawn(async move {
            pass(after).await;
            node.command(by, OperatorCommand::Make(change)).await.expect("it is an operator's")
        })
    };
    let cap: BTreeMap<_, _> = [(SERVER_PER_NODE.key().clone(), Phase::Introduce)].into();
    let alice = ask(0, "alice", ClusterChange::Open { top: R20 }, chance.below(20));
    let bob = ask(1, "bob", ClusterChange::Cap(cap.clone()), chance.below(20));
    drop(nodes);
    let crashed = (faults == 3).then(|| NAMES[chance.below(3) as usize]);
    if let Some(of) = crashed {
        pass(chance.below(60)).await;
        cluster.crash(of);
    }
    // Who carries a command on a member that is gone, does not hear what came of it.
    let limit = Duration::from_secs(120);
    let told = async |asked: tokio::task::JoinHandle<CommandOutcome>| match tokio::time::timeout(limit, asked).await {
        Ok(outcome) => Some(outcome.expect("no panic")),
        Err(_) => None,
    };
    let is_gone = |of: &str| crashed == Some(of);
    let alice = if is_gone("n1") {
        alice.abort();
        None
    } else {
        told(alice).await
    };
    let bob = if is_gone("n2") {
        bob.abort();
        None
    } else {
        told(bob).await
    };

    end(&cluster, &disks, &seen, crashed).await;
    judge(&cluster, &seen, &cap, (&alice, &bob));
    (["all well", "lossy links", "lossy links and cuts", "a crash"][faults as usize], word(&alice), word(&bob))
}

/// All is well again, and somebody ends what is under way.
async fn end(cluster: &TestCluster, disks: &Disks, seen: &Seen, crashed: Option<&str>) {
    cluster.heal_all();
    if let Some(of) = crashed {
        start(cluster, disks, seen, of);
    }
    let mut tries = 0;
    loop {
        let ended = cluster.node("n3").command("carol", OperatorCommand::Resume).await.expect("it is an operator's");
        match ended {
            CommandOutcome::Done(_) | CommandOutcome::Already(_) => break,
            other => assert!(tries < 30, "seed {}: nothing ends it: {other:?}", cluster.seed()),
        }
        tries += 1;
        pass(1_000).await;
    }
}

/// What each was told is what the disks have come to say.
fn judge(
    cluster: &TestCluster,
    seen: &Seen,
    cap: &BTreeMap<MigrationKey, Phase>,
    (alice, bob): (&Option<CommandOutcome>, &Option<CommandOutcome>),
) {
    let seed = cluster.seed();
    let kept = NAMES.map(|of| cluster.node(of).kept().expect("it keeps a record"));
    kept.iter().zip(NAMES).for_each(|(kept, of)| seen.note(seed, &name(of), kept));
    assert!(kept.iter().all(|one| one.record == kept[0].record && one.vote.is_none()), "seed {seed}: {kept:?}");
    let says = |kept: &Arc<Kept>, is: &dyn Fn(&rexi_proto::record::ClusterRecord) -> bool| {
        is(kept.record.as_ref().expect("there is one"))
    };
    if let Some(CommandOutcome::Done(epoch)) = alice {
        assert!(says(&seen.at(*epoch), &|record| record.top == R20), "seed {seed}");
    }
    if let Some(CommandOutcome::Done(epoch)) = bob {
        assert!(says(&seen.at(*epoch), &|record| record.ceilings == *cap), "seed {seed}");
    }
    for (told, other) in [(alice, "bob"), (bob, "alice")] {
        if let Some(CommandOutcome::Theirs { by, .. }) = told {
            assert_eq!(&**by, other, "seed {seed}: the other is named");
        }
        assert!(!matches!(told, Some(CommandOutcome::Fork(_))), "seed {seed}");
    }
    for (told, is) in [(alice, true), (bob, false)] {
        if let Some(CommandOutcome::Refused(_) | CommandOutcome::Unknown(_) | CommandOutcome::Theirs { .. }) = told {
            let made = |record: &rexi_proto::record::ClusterRecord| {
                if is { record.top == R20 } else { record.ceilings == *cap }
            };
            let made = kept[0].record.as_ref().is_some_and(|record| made(record));
            assert!(!made, "seed {seed}: it was told that nothing has changed: {told:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_operators_one_wins_each_epoch_and_the_other_is_told() {
    let number = |of: &str, or: u64| std::env::var(of).map_or(or, |text| text.parse().expect("a number"));
    let (races, first) = (number("REXI_RACES", 24), number("REXI_SEED", 1));
    let members = TestMembers::new(NAMES);
    let mut told: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    println!("seeds {first} to {}", first + races - 1);
    // In 361 a link loses, and the first bytes of a question come twice before they are read.
    for seed in (first..first + races).chain([361]) {
        *told.entry(race(&members, seed).await).or_default() += 1;
    }
    for ((faults, alice, bob), times) in &told {
        println!("{times:>5} x {faults}: alice {alice}, bob {bob}");
    }
    let well = |(faults, ..): &&(&str, &str, &str)| *faults == "all well";
    for (_, alice, bob) in told.keys().filter(well) {
        let has_won = [alice, bob].into_iter().any(|told| *told == "done");
        let is_told = [alice, bob].into_iter().all(|told| ["done", "theirs", "refused"].contains(told));
        assert!(has_won && is_told, "with nothing in the way one wins, and the other is told: {alice}, {bob}");
    }
    assert!(told.keys().any(|key| well(&key)), "some went without a fault");
}
