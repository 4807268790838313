//! Replicas whose disks fail, fill up, hang or forget: what the store as a whole does meanwhile, and afterwards.

mod common;
mod faulty;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rexi_kv::{CALL_LIMIT, Consistency, Kv, KvError, Store, replica};
use rexi_server::admin::AdminPort;
use rexi_server::testing::TestCluster;
use rexi_server::{Bytes, Profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use common::{store, until};
use faulty::FaultyDisk;

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// Three nodes, each with a store on a disk that may fail.
struct Fixture {
    cluster: TestCluster,
    disks: [FaultyDisk; 3],
    stores: [Store; 3],
    release: Profile,
}

impl Fixture {
    async fn new() -> Self {
        let (cluster, disks) = (TestCluster::new(NAMES), [(); 3].map(|()| FaultyDisk::default()));
        let stores = disks.each_ref().map(store);
        let release = rexi_kv::train().profile("3.0").expect("a release");
        for (name, store) in NAMES.into_iter().zip(stores.clone()) {
            cluster.define(name, move |node| replica::serve(node, &store));
        }
        cluster.start_all(&release).expect("all start");
        cluster.ready().await;
        Self { cluster, disks, stores, release }
    }

    fn kv(&self, name: &str) -> Kv {
        Kv::new(self.cluster.node(name))
    }

    /// What the probe of readiness says.
    async fn ready(&self, name: &str) -> String {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let port = AdminPort::open(&self.cluster.node(name), any, None).await.expect("a free port").local_addr();
        let mut stream = TcpStream::connect(port).await.expect("it listens");
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }
}

/// Writes and reads one key, and counts how long it was between two times that both went well.
struct Client {
    kv: Kv,
    number: u64,
    last: Instant,
    longest: Duration,
}

impl Client {
    fn new(kv: Kv) -> Self {
        Self { kv, number: 0, last: Instant::now(), longest: Duration::ZERO }
    }

    /// What was written is read, and nothing older than what was acknowledged before.
    async fn goes_on(&mut self) -> Result<(), KvError> {
        self.number += 1;
        let value = Bytes::from(self.number.to_string());
        let version = self.kv.write("key", value.clone()).await?;
        let read = self.kv.read("key", Consistency::Linearizable).await?.expect("it was written");
        assert_eq!((read.version, read.value), (version, Some(value)));
        self.longest = self.longest.max(self.last.elapsed());
        self.last = Instant::now();
        Ok(())
    }
}

#[tokio::test]
async fn a_replica_whose_disk_has_failed_once_makes_a_majority_when_another_is_killed() {
    let nodes = Fixture::new().await;
    let mut client = Client::new(nodes.kv("n2"));
    client.goes_on().await.expect("all is well");
    nodes.disks[2].fail_once();
    while nodes.disks[2].failed() == 0 {
        client.goes_on().await.expect("two of three are well");
    }
    until("n3's store is open again", || nodes.stores[2].check().is_ok()).await;
    nodes.cluster.crash("n1");
    for _ in 0..200 {
        client.goes_on().await.expect("n3 is as good as before");
    }
    eprintln!("the longest that no write and read came through: {:?}", client.longest);
    assert!(client.longest < CALL_LIMIT, "{:?}", client.longest);
}

#[tokio::test]
async fn full_disks_on_two_of_three_stop_the_store_for_as_long_as_they_are_full() {
    let nodes = Fixture::new().await;
    let mut client = Client::new(nodes.kv("n1"));
    client.goes_on().await.expect("all is well");
    let full = &nodes.disks[1..];
    full.iter().for_each(|disk| disk.set_full(true));
    // Those that have failed to write refuse to read, too: what they hold of the last write is not known.
    while !nodes.stores[1..].iter().all(|store| store.check().is_err()) {
        let failed = client.goes_on().await;
        assert!(matches!(failed, Err(KvError::Unknown { .. } | KvError::Unavailable { .. })), "{failed:?}");
    }
    let said = nodes.ready("n2").await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("[-] store: the replica's store has failed"), "{said}");
    assert!(nodes.ready("n1").await.contains("[+] store\n"));

    full.iter().for_each(|disk| disk.set_full(false));
    let well = Instant::now();
    until("both stores are open again", || nodes.stores.iter().all(|store| store.check().is_ok())).await;
    client.goes_on().await.expect("all is well again");
    eprintln!("the first write and read came through {:?} after the disks were well", well.elapsed());
    assert!(nodes.ready("n2").await.starts_with("HTTP/1.1 200 "));
    nodes.cluster.crash("n1");
    Client::new(nodes.kv("n3")).goes_on().await.expect("the two are a majority");
}

#[tokio::test]
async fn a_value_that_was_changed_at_rest_is_read_from_the_other_replicas() {
    let nodes = Fixture::new().await;
    let value = Bytes::from_static(b"a value that is easy to find");
    let version = nodes.kv("n1").write("key", value.clone()).await.expect("written");
    until("all have it", || nodes.stores.iter().all(|store| store.version("key") == Ok(Some(version.clone())))).await;
    nodes.cluster.crash("n3");
    nodes.stores[2].close().await;
    let mut file = nodes.disks[2].bytes();
    let place = file.windows(value.len()).position(|window| window == value).expect("the value is in it");
    file[place] ^= 1;
    let changed = store(&FaultyDisk::with_file(&file));
    let again = changed.clone();
    nodes.cluster.define("n3", move |node| replica::serve(node, &again));
    nodes.cluster.start("n3", &nodes.release).expect("it starts again");
    nodes.cluster.ready().await;

    let error = changed.read("key").expect_err("it was changed").to_string();
    assert!(error.contains("\"key\" was changed at rest"), "{error}");
    for consistency in [Consistency::Majority, Consistency::Linearizable] {
        let read = nodes.kv("n3").read("key", consistency).await.expect("two are well").expect("it was written");
        assert_eq!(read.value.as_ref(), Some(&value), "{consistency}");
    }
    let alone = nodes.kv("n3").read("key", Consistency::One).await;
    assert!(matches!(alone, Err(KvError::Unavailable { .. })), "{alone:?}");
    // The next write mends it.
    let version = nodes.kv("n3").write("key", value.clone()).await.expect("written");
    until("n3 has it", || changed.read("key").is_ok_and(|entry| entry.is_some_and(|e| e.version == version))).await;
}
