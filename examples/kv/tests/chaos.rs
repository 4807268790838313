//! Bad days of the store: nodes crash, links are cut and lose datagrams, disks fail, fill up and hang, and the power
//! fails. What clients met meanwhile must have an order.
//!
//! `REXI_CHAOS_SECONDS=600 REXI_SEED=1 cargo test --release -p rexi-kv --test chaos -- --nocapture` goes on for longer.
//! A seed repeats the faults, and not in which order clients meet them: time is real.

mod common;
mod faulty;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rexi_kv::register::{Checked, Recorder};
use rexi_kv::{Consistency, Kv, KvError, Store, replica};
use rexi_server::testing::TestCluster;
use rexi_server::{Bytes, Profile};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use common::{LIMIT, store, until};
use faulty::FaultyDisk;

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Crash,
    PowerFails,
    SyncFails,
    DiskFull,
    DiskHangs,
    CutOff,
    Loss,
}

const FAULTS: [Fault; 7] =
    [Fault::Crash, Fault::PowerFails, Fault::SyncFails, Fault::DiskFull, Fault::DiskHangs, Fault::CutOff, Fault::Loss];

/// Three nodes, and what their clients share.
struct Cluster {
    nodes: TestCluster,
    release: Profile,
    disks: [FaultyDisk; 3],
    stores: [Store; 3],
    clients: Arc<Clients>,
}

struct Clients {
    /// The nodes that run.
    kvs: Mutex<[Option<Kv>; 3]>,
    recorder: Mutex<Recorder>,
    is_over: Mutex<bool>,
}

impl Cluster {
    async fn new(seed: u64) -> Self {
        let nodes = TestCluster::with_seed(seed, NAMES);
        let disks = [(); 3].map(|()| FaultyDisk::default());
        let stores = disks.each_ref().map(store);
        let clients = Clients { kvs: Mutex::default(), recorder: Mutex::new(Recorder::new(3)), is_over: false.into() };
        let release = rexi_kv::train().profile("3.0").expect("a release");
        let mut cluster = Self { nodes, release, disks, stores, clients: Arc::new(clients) };
        (0..3).for_each(|node| cluster.start(node));
        cluster.nodes.ready().await;
        cluster
    }

    fn start(&mut self, node: usize) {
        let store = self.stores[node].clone();
        self.nodes.define(NAMES[node], move |builder| replica::serve(builder, &store));
        let running = self.nodes.start(NAMES[node], &self.release).expect("it starts");
        self.clients.kvs()[node] = Some(Kv::new(running));
    }

    /// One thing goes wrong for a time, and is mended.
    async fn suffer(&mut self, fault: Fault, node: usize, time: Duration) {
        let (name, others) = (NAMES[node], NAMES.iter().filter(|&&name| name != NAMES[node]));
        match fault {
            Fault::Crash | Fault::PowerFails => {
                self.clients.kvs()[node] = None;
                self.nodes.crash(name);
                if fault == Fault::PowerFails {
                    self.disks[node] = self.disks[node].crash();
                } else {
                    self.stores[node].close().await;
                }
                pass(time).await;
                self.stores[node] = store(&self.disks[node]);
                self.start(node);
            }
            Fault::SyncFails => self.disks[node].fail_once(),
            Fault::DiskFull => {
                self.disks[node].set_full(true);
                pass(time).await;
                self.disks[node].set_full(false);
            }
            Fault::DiskHangs => {
                self.disks[node].hang();
                pass(time).await;
                self.disks[node].go_on();
            }
            Fault::CutOff => {
                others.for_each(|other| self.nodes.cut(name, other));
                pass(time).await;
                self.nodes.heal_all();
            }
            Fault::Loss => {
                others.for_each(|other| self.nodes.lose(name, other, 0.2));
                pass(time).await;
                self.nodes.heal_all();
            }
        }
        let well = || self.stores.iter().all(|store| store.check().is_ok());
        until(&format!("all stores to be well after {fault:?}"), well).await;
        timeout(LIMIT, self.nodes.ready()).await.expect("all nodes to be ready");
    }
}

impl Clients {
    fn kvs(&self) -> MutexGuard<'_, [Option<Kv>; 3]> {
        self.kvs.lock().expect("no panic")
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().expect("no panic")
    }

    fn is_over(&self) -> bool {
        *self.is_over.lock().expect("no panic")
    }

    /// Writes and reads until it is told to stop.
    async fn run(self: Arc<Self>, mut rng: StdRng) {
        let mut ticks = interval(Duration::from_millis(2));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_over() {
            ticks.tick().await;
            let node = self.kvs().iter().flatten().cloned().collect::<Vec<_>>().choose(&mut rng).cloned();
            let Some(node) = node else { continue };
            let place = rng.random_range(0..3);
            if rng.random() {
                let write = self.recorder().begin_write(place);
                let done = timeout(LIMIT, node.write(&write.key(), Bytes::from(write.body()))).await;
                match done {
                    Ok(Ok(_)) => self.recorder().written(write),
                    Ok(Err(KvError::Unknown { .. })) | Err(_) => self.recorder().unknown(write),
                    Ok(Err(_)) => self.recorder().without_effect(write),
                }
            } else {
                let read = self.recorder().begin_read(place);
                match timeout(LIMIT, node.read(&read.key(), Consistency::Linearizable)).await {
                    Ok(Ok(entry)) => {
                        let value = entry.and_then(|entry| entry.value);
                        self.recorder().read(read, value.as_deref());
                    }
                    _ => self.recorder().without_effect(read),
                }
            }
        }
    }
}

/// Lets time pass, in which clients go on.
async fn pass(time: Duration) {
    let mut ticks = interval(time);
    ticks.tick().await;
    ticks.tick().await;
}

fn number(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_meet_on_bad_days_has_an_order() {
    let seed = number("REXI_SEED").unwrap_or_else(rand::random);
    println!("REXI_SEED={seed}");
    let (mut rng, mut cluster) = (StdRng::seed_from_u64(seed), Cluster::new(seed).await);
    let mut clients = JoinSet::new();
    for number in 1..=6 {
        clients.spawn(Arc::clone(&cluster.clients).run(StdRng::seed_from_u64(seed.wrapping_add(number))));
    }
    let (begun, seconds) = (Instant::now(), number("REXI_CHAOS_SECONDS").unwrap_or(0));
    let mut suffered = 0;
    loop {
        // Each once, in any order, and again for as long as was asked for.
        let mut faults = FAULTS;
        for at in (1..faults.len()).rev() {
            faults.swap(at, rng.random_range(0..=at));
        }
        for fault in faults {
            let (node, millis) = (rng.random_range(0..3), rng.random_range(50..800));
            cluster.suffer(fault, node, Duration::from_millis(millis)).await;
            suffered += 1;
        }
        if begun.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    *cluster.clients.is_over.lock().expect("no panic") = true;
    clients.join_all().await;
    let checked = cluster.clients.recorder().finish();
    println!("{suffered} faults in {:?}: {checked:?}", begun.elapsed());
    let Checked { operations, broken, .. } = checked;
    assert_eq!(broken, [""; 0]);
    assert!(operations > 200, "{operations} operations");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_that_only_say_that_they_sync_are_found_out() {
    let mut cluster = Cluster::new(1).await;
    cluster.disks.iter().for_each(FaultyDisk::lie);
    for _ in 0..10 {
        let kv = cluster.clients.kvs()[0].clone().expect("it runs");
        let write = cluster.clients.recorder().begin_write(0);
        let done = kv.write(&write.key(), Bytes::from(write.body())).await;
        done.expect("all is well, it seems");
        cluster.clients.recorder().written(write);
    }
    for node in 0..3 {
        cluster.suffer(Fault::PowerFails, node, Duration::from_millis(1)).await;
    }
    let kv = cluster.clients.kvs()[0].clone().expect("it runs");
    let read = cluster.clients.recorder().begin_read(0);
    let found = kv.read(&read.key(), Consistency::Linearizable).await.expect("all are well");
    cluster.clients.recorder().read(read, found.and_then(|entry| entry.value).as_deref());
    let broken = cluster.clients.recorder().finish().broken;
    assert!(broken.len() == 1 && broken[0].contains("fits into no order"), "{broken:?}");
}
