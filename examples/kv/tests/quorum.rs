//! Quorum reads and writes on real nodes over a network in memory, in virtual time: with nodes down, with many writers,
//! and with replicas that do not keep what they are sent.

use std::collections::BTreeSet;
use std::time::Duration;

use rexi_kv::replica::{self, ReadVersion, Write};
use rexi_kv::{
    CALL_LIMIT, Consistency, Entry, KEY_BYTES_MAX, Kv, KvError, ReadConsistency, Store, VALUE_BYTES_MAX, Version,
};
use rexi_server::testing::TestCluster;
use rexi_server::{Bytes, Phase, Profile};
use tokio::time::Instant;

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// Three nodes, with the store of each, which outlives its node as a file would.
struct Fixture {
    cluster: TestCluster,
    stores: [Store; 3],
    release: Profile,
}

impl Fixture {
    async fn new(release: Profile) -> Self {
        let cluster = TestCluster::new(NAMES);
        let stores = NAMES.map(|name| {
            let store = Store::in_memory();
            let held = store.clone();
            cluster.define(name, move |node| replica::serve(node, &held));
            store
        });
        cluster.start_all(&release).expect("all start");
        cluster.ready().await;
        Self { cluster, stores, release }
    }

    /// Of the last but one release, which has everything but the end of the singleton.
    async fn usual() -> Self {
        Self::new(rexi_kv::train().profile("1.2").expect("a release")).await
    }

    fn kv(&self, name: &str) -> Kv {
        Kv::new(self.cluster.node(name))
    }

    async fn start(&self, name: &str) {
        self.cluster.start(name, &self.release).expect("it starts again");
        self.cluster.ready().await;
    }

    fn held(&self, number: usize) -> Option<Entry> {
        self.stores[number - 1].read("key").expect("memory can be read")
    }

    /// Starts a node again as one that keeps nothing: it never answers a write.
    async fn deafen(&self, number: usize) {
        let (reads, versions) = (self.stores[number - 1].clone(), self.stores[number - 1].clone());
        self.cluster.crash(NAMES[number - 1]);
        self.cluster.define(NAMES[number - 1], move |node| {
            let (reads, versions) = (reads.clone(), versions.clone());
            node.serve(ReadConsistency, move |_, (key, _)| std::future::ready(reads.read(&key)))
                .serve(ReadVersion, move |_, key| std::future::ready(versions.version(&key)))
                .serve(Write, |_, _| std::future::pending())
        });
        self.start(NAMES[number - 1]).await;
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn read(kv: &Kv) -> Option<Bytes> {
    kv.read("key", Consistency::Linearizable).await.expect("a majority answers").and_then(|entry| entry.value)
}

#[tokio::test(start_paused = true)]
async fn what_one_node_writes_another_reads_in_every_release() {
    for release in rexi_kv::train().profiles().expect("a train") {
        let nodes = Fixture::new(release).await;
        assert_eq!(nodes.kv("n1").read("key", Consistency::Linearizable).await, Ok(None));
        let first = nodes.kv("n1").write("key", bytes("one")).await.expect("written");
        let entry = Entry { version: first.clone(), value: Some(bytes("one")) };
        assert_eq!(nodes.kv("n2").read("key", Consistency::Linearizable).await, Ok(Some(entry)));
        let second = nodes.kv("n2").write("key", bytes("two")).await.expect("written");
        assert_eq!((second.counter, second > first), (2, true));
        assert_eq!(read(&nodes.kv("n3")).await, Some(bytes("two")));
        let deleted = nodes.kv("n3").delete("key").await.expect("deleted");
        assert_eq!(
            nodes.kv("n1").read("key", Consistency::Linearizable).await,
            Ok(Some(Entry { version: deleted, value: None }))
        );
    }
}

/// What a node holds by itself is read once the flag is up, and refused before; with a majority reads go on throughout.
#[tokio::test(start_paused = true)]
async fn reads_of_one_replica_come_and_go_with_the_flag() {
    let nodes = Fixture::new(rexi_kv::train().profile("2.2").expect("a release")).await;
    let (kv, n1) = (nodes.kv("n1"), nodes.cluster.node("n1"));
    let rollout = n1.rollout_of(ReadConsistency).expect("of its train");
    rollout.watch().wait_for(|phase| *phase == Phase::Switch).await.expect("it runs");
    let written = kv.write("key", bytes("one")).await.expect("written");
    for _ in 0..2 {
        for consistency in Consistency::ALL {
            let read = kv.read("key", consistency).await.map(|entry| entry.map(|entry| entry.version));
            assert_eq!(read, Ok(Some(written.clone())), "{consistency}");
        }
        rollout.set_ceiling(Some(Phase::Introduce)).expect("no member has removed the old form");
        assert_eq!(kv.read("key", Consistency::One).await, Err(KvError::NotYet));
        for consistency in [Consistency::Majority, Consistency::Linearizable] {
            assert!(kv.read("key", consistency).await.is_ok(), "{consistency}");
        }
        rollout.set_ceiling(None).expect("every member takes the new form");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_of_one_replica_needs_no_majority_and_may_be_old() {
    let nodes = Fixture::new(rexi_kv::train().profile("3.0").expect("a release")).await;
    nodes.kv("n1").write("key", bytes("old")).await.expect("written");
    nodes.cluster.crash("n3");
    nodes.kv("n1").write("key", bytes("new")).await.expect("two are a majority");
    nodes.cluster.crash("n1");
    nodes.cluster.crash("n2");
    nodes.cluster.start("n3", &nodes.release).expect("it starts alone");
    let read = nodes.kv("n3").read("key", Consistency::One).await.expect("it asks itself alone");
    assert_eq!(read.and_then(|entry| entry.value), Some(bytes("old")));
    let refused = nodes.kv("n3").read("key", Consistency::Majority).await;
    assert!(matches!(refused, Err(KvError::Unavailable { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn one_node_of_three_may_be_down_and_two_may_not() {
    let nodes = Fixture::usual().await;
    nodes.cluster.crash("n3");
    nodes.kv("n1").write("key", bytes("without n3")).await.expect("two of three are a majority");
    assert_eq!(read(&nodes.kv("n2")).await, Some(bytes("without n3")));

    nodes.cluster.crash("n2");
    let asked = Instant::now();
    let refused = nodes.kv("n1").write("key", bytes("alone")).await;
    assert!(matches!(refused, Err(KvError::Unavailable { .. })), "{refused:?}");
    let refused = nodes.kv("n1").read("key", Consistency::Linearizable).await;
    assert!(matches!(refused, Err(KvError::Unavailable { .. })), "{refused:?}");
    assert!(asked.elapsed() <= 2 * CALL_LIMIT + Duration::from_millis(100), "{:?}", asked.elapsed());

    nodes.start("n3").await;
    assert_eq!(read(&nodes.kv("n3")).await, Some(bytes("without n3")), "what was refused was not written");
}

#[tokio::test(start_paused = true)]
async fn a_read_hands_on_what_it_found_so_that_no_later_one_finds_less() {
    let nodes = Fixture::usual().await;
    nodes.kv("n1").write("key", bytes("old")).await.expect("written");
    // Its writer died when only n1 had it.
    let half = Entry {
        version: Version { counter: 2, writer: "n2".to_owned(), life: 1, write: 0 },
        value: Some(bytes("new")),
    };
    nodes.stores[0].write("key".to_owned(), half.clone()).await.expect("memory takes it");
    nodes.cluster.crash("n2");
    assert_eq!(nodes.kv("n3").read("key", Consistency::Linearizable).await, Ok(Some(half.clone())));
    assert_eq!(nodes.held(3), Some(half.clone()), "a majority has what was read");

    nodes.cluster.crash("n1");
    nodes.start("n2").await;
    assert_eq!(
        nodes.kv("n2").read("key", Consistency::Linearizable).await,
        Ok(Some(half)),
        "n1 alone had it, and n1 is down"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_down_for_a_write_does_not_bring_the_old_value_back() {
    let nodes = Fixture::usual().await;
    nodes.kv("n1").write("key", bytes("old")).await.expect("written");
    nodes.cluster.crash("n3");
    nodes.kv("n1").write("key", bytes("new")).await.expect("written");
    let held = nodes.held(3).and_then(|entry| entry.value);
    assert_eq!(held, Some(bytes("old")), "it was down");
    nodes.cluster.crash("n1");
    nodes.start("n3").await;
    assert_eq!(read(&nodes.kv("n3")).await, Some(bytes("new")));
}

#[tokio::test(start_paused = true)]
async fn writers_at_once_on_all_nodes_agree_on_one_that_is_the_latest() {
    let nodes = Fixture::usual().await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..30 {
        let kv = nodes.kv(NAMES[number % 3]);
        writers.spawn(async move {
            let value = bytes(&number.to_string());
            (kv.write("key", value.clone()).await.expect("written"), value)
        });
    }
    let written = writers.join_all().await;
    let versions: BTreeSet<_> = written.iter().map(|(version, _)| version).collect();
    assert_eq!(versions.len(), 30, "two writes have one version");
    let (latest, value) = written.iter().max().expect("there are some");
    for name in NAMES {
        let entry = nodes
            .kv(name)
            .read("key", Consistency::Linearizable)
            .await
            .expect("a majority answers")
            .expect("it was written");
        assert_eq!((&entry.version, entry.value.as_ref()), (latest, Some(value)));
    }
}

#[tokio::test(start_paused = true)]
async fn writes_of_one_node_at_once_have_versions_of_their_own() {
    let nodes = Fixture::usual().await;
    let kv = nodes.kv("n1");
    let (one, two) = tokio::join!(kv.write("key", bytes("one")), kv.write("key", bytes("two")));
    let (one, two) = (one.expect("written"), two.expect("written"));
    assert_eq!((one.counter, two.counter), (1, 1), "neither saw the other");
    assert_ne!(one, two);
    // In its next life the node does not know what it has written, and may count alike again.
    nodes.cluster.crash("n1");
    nodes.start("n1").await;
    let three = nodes.kv("n1").write("other", bytes("three")).await.expect("written");
    assert!(three.life > one.life, "{three} after {one}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_too_few_keep_in_time_is_unknown_and_may_be_read() {
    let nodes = Fixture::usual().await;
    nodes.deafen(2).await;
    nodes.deafen(3).await;
    let asked = Instant::now();
    let unknown = nodes.kv("n1").write("key", bytes("perhaps")).await;
    assert!(matches!(unknown, Err(KvError::Unknown { .. })), "{unknown:?}");
    assert!(asked.elapsed() >= CALL_LIMIT, "the answers might have come");
    let held = nodes.held(1).and_then(|entry| entry.value);
    assert_eq!(held, Some(bytes("perhaps")));
    // It cannot be read as long as no majority keeps it: a later read might not find it.
    let refused = nodes.kv("n1").read("key", Consistency::Linearizable).await;
    assert!(matches!(refused, Err(KvError::Unavailable { .. }) | Ok(None)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_and_values_at_their_bounds_are_taken_and_beyond_them_are_not() {
    let nodes = Fixture::usual().await;
    let kv = nodes.kv("n1");
    let (longest, largest) = ("k".repeat(KEY_BYTES_MAX), Bytes::from(vec![7; VALUE_BYTES_MAX]));
    kv.write(&longest, largest.clone()).await.expect("within the bounds");
    let read = nodes.kv("n2").read(&longest, Consistency::Linearizable).await.expect("a majority answers");
    assert!(read.is_some_and(|entry| entry.value == Some(largest)));
    for bytes in [0, KEY_BYTES_MAX + 1] {
        let key = "k".repeat(bytes);
        assert_eq!(kv.write(&key, Bytes::new()).await, Err(KvError::Key { bytes }));
        assert_eq!(kv.read(&key, Consistency::Linearizable).await, Err(KvError::Key { bytes }));
        assert_eq!(kv.delete(&key).await, Err(KvError::Key { bytes }));
    }
    assert_eq!(kv.write("key", vec![7; VALUE_BYTES_MAX + 1].into()).await, Err(KvError::Value));
    assert_eq!(kv.read("key", Consistency::Linearizable).await, Ok(None));
}
