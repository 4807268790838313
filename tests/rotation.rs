//! Certificates, keys and authorities that change while nodes run: under calls from all to all, with connections lost
//! and made again, by hand and by files; and invalid ones, which change nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rexi_server::testing::TestCluster;
use rexi_server::{
    Bytes, DevAuthority, Identity, Node, NodeBuilder, PeerPresence, Request,
    identity::{IdentityError, IdentityFiles},
};
use rexi_tests::{Cluster, Log, functions, name, pass, peer, release, start_again, until, within};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];

fn authority() -> DevAuthority {
    DevAuthority::in_memory().expect("keys can be made")
}

/// What nodes believe and show, step by step. Each third step begins to replace an authority: first all believe both,
/// then they show certificates of the new one, then they believe that one alone. All have the same name.
struct Rotation {
    old: DevAuthority,
    new: DevAuthority,
    step: usize,
}

impl Rotation {
    fn new() -> Self {
        Self { old: authority(), new: authority(), step: 0 }
    }

    fn advance(&mut self) {
        self.step += 1;
        if self.step.is_multiple_of(3) {
            self.old = std::mem::replace(&mut self.new, authority());
        }
    }

    /// The authorities, and a new certificate and key for that node.
    fn pem(&self, of: &str) -> [String; 3] {
        let (old, new) = (&self.old, &self.new);
        let ca = if self.step % 3 == 2 { new.ca_pem().to_owned() } else { format!("{}{}", old.ca_pem(), new.ca_pem()) };
        let issuer = if self.step.is_multiple_of(3) { old } else { new };
        let (cert, key) = issuer.issue_pem(&name(of)).expect("a certificate can be made");
        [ca, cert, key]
    }

    fn identity(&self, of: &str) -> Identity {
        let [ca, cert, key] = self.pem(of);
        Identity::from_pem(ca.as_bytes(), cert.as_bytes(), key.as_bytes()).expect("an identity")
    }
}

/// Calls from each to each without an end, and a way to hold those between two nodes.
#[derive(Clone, Default)]
struct Calls {
    /// Held to read by each call between the two.
    pairs: Arc<BTreeMap<String, Arc<RwLock<()>>>>,
    answered: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Calls {
    fn between(nodes: &[&str]) -> Self {
        let pairs = nodes.iter().flat_map(|one| nodes.iter().map(move |other| pair_of(one, other)));
        Self { pairs: Arc::new(pairs.map(|pair| (pair, Arc::default())).collect()), ..Self::default() }
    }

    fn start(&self, nodes: &[&str], find: &(impl Fn(&str) -> Node + Clone + Send + 'static)) -> Vec<JoinHandle<()>> {
        let ordered = nodes.iter().flat_map(|&from| nodes.iter().map(move |&to| (from, to)));
        let all = ordered.flat_map(|pair| ["echo", "slow"].map(|function| (pair, function)));
        all.map(|((from, to), function)| {
            tokio::spawn(self.clone().run(from.to_owned(), to.to_owned(), function, find.clone()))
        })
        .collect()
    }

    async fn run(self, from: String, to: String, function: &'static str, find: impl Fn(&str) -> Node) {
        let (pair, peer) = (self.pair(&from, &to), name(&to));
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !self.stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let _held = pair.read().await;
            let asked = Instant::now();
            match find(&from).call(&peer, Request::new(function, from.clone())).await {
                Ok(reply) if reply == from => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                other => {
                    let line = format!("{function} of {from} to {to}, after {:?}: {other:?}", asked.elapsed());
                    self.failed.lock().expect("nothing panics while it notes a failure").push(line);
                }
            }
        }
    }

    /// Lets calls between the two end, and no other begin for as long as this is held.
    async fn hold(&self, one: &str, other: &str) -> OwnedRwLockWriteGuard<()> {
        within("the calls between the two", self.pair(one, other).write_owned()).await
    }

    /// Ends, and gives the number of calls, of which none failed.
    async fn end(self, callers: Vec<JoinHandle<()>>) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for caller in callers {
            within("the last calls", caller).await.expect("no caller panics");
        }
        let failed = self.failed.lock().expect("nothing panics while it notes a failure");
        assert_eq!(failed.len(), 0, "{:#?}", &failed[..failed.len().min(20)]);
        self.answered.load(Ordering::Relaxed)
    }

    fn pair(&self, one: &str, other: &str) -> Arc<RwLock<()>> {
        Arc::clone(&self.pairs[&pair_of(one, other)])
    }
}

/// `echo`, and the same after some of a second.
fn served(node: NodeBuilder) -> NodeBuilder {
    functions(node).function("slow", |_, argument: Bytes| async move {
        pass(Duration::from_millis(300)).await;
        Ok::<_, String>(argument)
    })
}

fn pair_of(one: &str, other: &str) -> String {
    format!("{}-{}", one.min(other), one.max(other))
}

/// Nodes in virtual time, which have never had another identity than the rotation's.
fn start(cluster: &TestCluster, rotation: &Rotation) {
    cluster.define_all(served);
    for of in NODES {
        // Before the node's tasks have run for the first time.
        let node = cluster.start(of, &release("1.2")).expect("it starts");
        node.reload_identity(rotation.identity(of)).expect("it is good");
    }
}

fn connected(cluster: &TestCluster, one: &str, other: &str) -> [bool; 2] {
    [(one, other), (other, one)].map(|(a, b)| peer(&cluster.node(a), b).presence == PeerPresence::Connected)
}

async fn until_both(cluster: &TestCluster, one: &str, other: &str, are: bool) {
    let seen = |_: &Node| connected(cluster, one, other) == [are; 2];
    until("the two to agree on whether they are connected", &cluster.node(one), seen).await;
}

/// Takes away the connections of these pairs until calls wait for them, and lets them meet anew. Gives the number of
/// nodes that had calls waiting.
async fn reconnect(cluster: &TestCluster, calls: &Calls, pairs: [(&str, &str); 2]) -> usize {
    let mut held = Vec::new();
    for (one, other) in pairs {
        // What is lost on a connection that this test takes away is not the rotation's fault.
        held.push(calls.hold(one, other).await);
        cluster.cut(one, other);
    }
    for (one, other) in pairs {
        until_both(cluster, one, other, false).await;
    }
    drop(held);
    // Now they call each other: what they say waits, and is answered once they have met anew.
    pass(Duration::from_secs(1)).await;
    let mut waited = 0;
    for (one, other) in pairs {
        waited += cluster.node(one).status().calls.min(1) + cluster.node(other).status().calls.min(1);
        cluster.heal(one, other);
        until_both(cluster, one, other, true).await;
    }
    waited
}

#[tokio::test(start_paused = true)]
async fn no_call_fails_while_certificates_and_authorities_change_each_second() {
    // It ends where nodes believe but the newest authority.
    const SECONDS: usize = 62;
    // Each pair loses its connection in turn: two pairs at once, all other calls go on.
    const ROUNDS: [[(&str, &str); 2]; 3] =
        [[("n1", "n2"), ("n3", "n4")], [("n1", "n3"), ("n2", "n4")], [("n1", "n4"), ("n2", "n3")]];
    let cluster = Arc::new(TestCluster::new(NODES));
    let mut rotation = Rotation::new();
    start(&cluster, &rotation);
    cluster.ready().await;
    let (calls, of_calls) = (Calls::between(&NODES), Arc::clone(&cluster));
    let callers = calls.start(&NODES, &move |of: &str| of_calls.node(of));

    let rotated = Arc::clone(&cluster);
    let rotating = tokio::spawn(async move {
        for _ in 0..SECONDS {
            rotation.advance();
            // One after the other, so that nodes of two steps meet.
            for of in NODES {
                pass(Duration::from_secs(1) / 4).await;
                rotated.node(of).reload_identity(rotation.identity(of)).expect("it is good");
            }
        }
    });
    let (mut reconnects, mut over_a_reconnect) = (0, 0);
    for round in ROUNDS.into_iter().cycle().take_while(|_| !rotating.is_finished()) {
        over_a_reconnect += reconnect(&cluster, &calls, round).await;
        reconnects += round.len();
    }
    rotating.await.expect("every identity was taken");
    // Each pair meets once more: who showed what is not of the newest authority would be refused.
    for round in ROUNDS {
        over_a_reconnect += reconnect(&cluster, &calls, round).await;
        reconnects += round.len();
    }
    let changes: u64 = NODES.iter().map(|of| cluster.node(of).status().identity_changes).sum();
    let answered = calls.end(callers).await;
    println!(
        "{answered} calls, 0 failed; {changes} changes of identity, {} authorities replaced; {reconnects} reconnects, \
              at which {over_a_reconnect} nodes had calls waiting",
        SECONDS / 3
    );
    assert_eq!(changes, (NODES.len() * (SECONDS + 1)) as u64);
    assert!(answered > 30_000 && reconnects >= 16 && over_a_reconnect >= 2 * reconnects);
}

#[tokio::test(start_paused = true)]
async fn a_node_left_behind_by_a_change_of_authority_is_refused_until_it_follows() {
    let cluster = TestCluster::new(NODES);
    let mut rotation = Rotation::new();
    start(&cluster, &rotation);
    cluster.ready().await;
    for _ in 0..4 {
        rotation.advance();
        for of in &NODES[..3] {
            cluster.node(of).reload_identity(rotation.identity(of)).expect("it is good");
        }
    }
    pass(Duration::from_secs(30)).await;
    assert_eq!(connected(&cluster, "n1", "n4"), [true; 2], "a connection that stands is kept");
    for pair in [("n1", "n4"), ("n1", "n2")] {
        cluster.cut(pair.0, pair.1);
        until_both(&cluster, pair.0, pair.1, false).await;
        cluster.heal(pair.0, pair.1);
    }
    until_both(&cluster, "n1", "n2", true).await;
    pass(Duration::from_secs(30)).await;
    assert_eq!(connected(&cluster, "n1", "n4"), [false; 2], "n1 and n4 have no authority in common");
    let error = peer(&cluster.node("n1"), "n4").last_error.expect("an error");
    assert!(error.contains("certificate"), "{error}");
    cluster.node("n4").reload_identity(rotation.identity("n4")).expect("it is good");
    until_both(&cluster, "n1", "n4", true).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_start_would_refuse_is_refused_and_the_last_good_one_stays() {
    let cluster = TestCluster::new(["n1", "n2"]);
    cluster.define_all(functions);
    let n1 = cluster.start("n1", &release("2.0")).expect("it starts");
    let (ca, other) = (authority(), authority());
    let of = |believed: &DevAuthority, issuer: &DevAuthority, node: &str| {
        let (cert, key) = issuer.issue_pem(&name(node)).expect("a certificate can be made");
        Identity::from_pem(believed.ca_pem().as_bytes(), cert.as_bytes(), key.as_bytes()).expect("an identity")
    };
    let until = n1.status().certificate_expires;
    assert!(until > SystemTime::now());
    assert!(matches!(n1.reload_identity(of(&ca, &ca, "n2")), Err(IdentityError::WrongName { .. })));
    assert!(matches!(n1.reload_identity(of(&ca, &other, "n1")), Err(IdentityError::Untrusted { .. })));
    assert_eq!((n1.status().identity_changes, n1.status().certificate_expires), (0, until));
    // It still is who it was.
    cluster.start("n2", &release("2.0")).expect("it starts");
    cluster.ready().await;
    n1.reload_identity(of(&ca, &ca, "n1")).expect("it is good");
    assert_eq!(n1.status().identity_changes, 1);
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_secures_nothing_is_refused() {
    let cluster = TestCluster::new(["n1"]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clock = Arc::new(rustls::time_provider::DefaultTimeProvider);
    cluster.secure(move |identity| identity.crypto_with(Arc::clone(&provider), clock.clone()));
    let n1 = cluster.start("n1", &release("2.0")).expect("it starts");
    let identity = authority().issue(&name("n1")).expect("an identity");
    assert!(matches!(n1.reload_identity(identity), Err(IdentityError::NotInUse)));
    assert_eq!(n1.status().identity_changes, 0);
}

/// The PEM files of a node in a directory.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn new(dir: &Path, of: &str, pem: &[String; 3]) -> Self {
        let files = Self { dir: dir.join(of) };
        fs::create_dir(&files.dir).expect("a directory");
        for (file, text) in ["ca", "cert", "key"].iter().zip(pem) {
            files.put(file, text);
        }
        files
    }

    /// Puts a file in place whole, as an agent that renews certificates does.
    fn put(&self, file: &str, text: &str) {
        fs::write(self.dir.join("new"), text).expect("written");
        fs::rename(self.dir.join("new"), self.dir.join(file)).expect("renamed");
    }

    fn followed(&self) -> IdentityFiles {
        let path = |file: &str| self.dir.join(file);
        IdentityFiles::new(path("ca"), path("cert"), path("key"))
    }

    fn identity(&self) -> Identity {
        let IdentityFiles { ca, cert, key, .. } = self.followed();
        Identity::from_pem_files(ca, cert, key).expect("an identity")
    }
}

#[tokio::test(start_paused = true)]
async fn files_are_followed_and_the_last_good_ones_kept_for_as_long_as_they_are_no_good() {
    const LOOK: Duration = Duration::from_secs(10);
    let dir = tempfile::tempdir().expect("a directory");
    let ca = authority();
    let pem = |issuer: &DevAuthority, of: &str| {
        let (cert, key) = issuer.issue_pem(&name(of)).expect("a certificate can be made");
        [ca.ca_pem().to_owned(), cert, key]
    };
    let first = pem(&ca, "n1");
    let files = Files::new(dir.path(), "n1", &first);
    let cluster = TestCluster::new(["n1"]);
    let followed = files.followed();
    cluster.define("n1", move |node| node.identity_files(followed.clone(), LOOK));
    let (log, n1) = (Log::here(), cluster.start("n1", &release("2.0")).expect("it starts"));
    let seen = async |n1: &Node| {
        pass(2 * LOOK).await;
        let status = n1.status();
        (status.identity_changes, status.identity_error)
    };
    assert_eq!(seen(&n1).await, (1, None), "the files hold another identity than the start was given");
    assert_eq!(seen(&n1).await, (1, None), "the same files are no change");

    let [_, cert, key] = pem(&ca, "n1");
    let [_, wrong_name, its_key] = pem(&ca, "n2");
    let [_, untrusted, other_key] = pem(&authority(), "n1");
    let half = &cert[..cert.len() / 2];
    // What is in place of certificate and key, and what is said of it.
    let bad: [(&str, &str, &str); 6] = [
        (&cert, &first[2], "not the key of"),
        (&first[1], &key, "not the key of"),
        (half, &key, "damaged PEM"),
        ("", &key, "no CERTIFICATE section"),
        (&wrong_name, &its_key, "not a certificate of node n1"),
        (&untrusted, &other_key, "do not accept it"),
    ];
    for (cert, key, reason) in bad {
        files.put("cert", cert);
        files.put("key", key);
        let (changes, error) = seen(&n1).await;
        assert!(changes == 1 && error.as_ref().is_some_and(|error| error.contains(reason)), "{error:?}, not {reason}");
        let line = ["are not followed", &dir.path().display().to_string(), reason];
        let before = log.lines(&line).len();
        pass(10 * LOOK).await;
        assert_eq!(log.lines(&line).len(), before, "said once");
    }
    fs::remove_file(files.dir.join("ca")).expect("removed");
    let (changes, error) = seen(&n1).await;
    assert!(changes == 1 && error.as_ref().is_some_and(|error| error.contains("cannot read")), "{error:?}");

    // Good again, file by file.
    files.put("ca", ca.ca_pem());
    files.put("cert", &cert);
    assert!(seen(&n1).await.1.is_some(), "the key is not there yet");
    files.put("key", &key);
    assert_eq!(seen(&n1).await, (2, None));
}

#[tokio::test]
async fn no_call_fails_while_files_are_replaced_on_loopback() {
    const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];
    const TIME: Duration = Duration::from_secs(5);
    let (cluster, dir) = (Cluster::new(MEMBERS), tempfile::tempdir().expect("a directory"));
    let mut rotation = Rotation::new();
    let files = MEMBERS.map(|of| Files::new(dir.path(), of, &rotation.pem(of)));
    let build = |i: usize| -> NodeBuilder {
        let own = Node::builder(name(MEMBERS[i]), release("1.2"), files[i].identity())
            .listen(cluster.address(MEMBERS[i]))
            .identity_files(files[i].followed(), Duration::from_millis(20));
        let others = MEMBERS.iter().filter(|&&of| of != MEMBERS[i]);
        served(others.fold(own, |node, of| node.peer(name(of), cluster.address(of))))
    };
    let nodes = [0, 1, 2].map(|i| (MEMBERS[i].to_owned(), build(i).start().expect("it starts")));
    let nodes = Arc::new(Mutex::new(BTreeMap::from(nodes)));
    let found = Arc::clone(&nodes);
    let find = move |of: &str| found.lock().expect("nothing panics while it looks")[of].clone();
    within("all to be connected", async {
        for of in MEMBERS {
            find(of).ready().await;
        }
    })
    .await;
    let log = Log::here();
    let calls = Calls::between(&MEMBERS);
    let callers = calls.start(&MEMBERS, &find);
    let (began, mut steps, mut halves, mut reconnects) = (Instant::now(), 0, 0, 0);
    // On a busy machine longer, until enough has happened.
    while began.elapsed() < TIME || reconnects < 4 {
        rotation.advance();
        steps += 1;
        for (i, of) in MEMBERS.into_iter().enumerate() {
            let ([ca, cert, key], node) = (rotation.pem(of), find(of));
            files[i].put("ca", &ca);
            files[i].put("cert", &cert);
            let unmatched = |node: &Node| node.status().identity_error.is_some_and(|e| e.contains("not the key of"));
            until("the node to find that the key does not match", &node, unmatched).await;
            halves += 1;
            let changes = node.status().identity_changes;
            files[i].put("key", &key);
            until("the node to follow", &node, |node| node.status().identity_changes > changes).await;
        }
        if rotation.step % 3 == 2 {
            // Who believes the old authority alone, or shows its certificate, does not meet n3 again.
            let _held = (calls.hold("n1", "n3").await, calls.hold("n2", "n3").await, calls.hold("n3", "n3").await);
            let n3 = nodes.lock().expect("nothing panics while it looks").remove("n3").expect("it runs");
            n3.shutdown(TIME).await;
            let n3 = start_again(|| build(2)).await;
            within("n3 to be connected", n3.ready()).await;
            nodes.lock().expect("nothing panics while it looks").insert("n3".to_owned(), n3);
            for of in ["n1", "n2"] {
                until("n3 to be back", &find(of), |node| peer(node, "n3").presence == PeerPresence::Connected).await;
            }
            reconnects += 2;
        }
    }
    let answered = calls.end(callers).await;
    println!(
        "{answered} calls, 0 failed in {:?}; {steps} changes of each node's files, {halves} times seen half done, {} \
              authorities replaced; {reconnects} connections made anew",
        began.elapsed(),
        steps / 3
    );
    // Either direction would do for a connection, so each is looked at by itself.
    for of in MEMBERS {
        let address = format!("{}", cluster.address(of));
        assert_eq!(log.lines(&["invalid peer certificate", &address]), Vec::<String>::new());
    }
    assert!(answered > 500 && steps >= 4, "too little happened to show anything");
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_every_10_ms_at_most() {
    let dir = tempfile::tempdir().expect("a directory");
    let ca = authority();
    let pem = || {
        let (cert, key) = ca.issue_pem(&name("n1")).expect("a certificate can be made");
        [ca.ca_pem().to_owned(), cert, key]
    };
    let files = Files::new(dir.path(), "n1", &pem());
    let cluster = TestCluster::new(["n1"]);
    let followed = files.followed();
    cluster.define("n1", move |node| node.identity_files(followed.clone(), Duration::ZERO));
    let n1 = cluster.start("n1", &release("2.0")).expect("it starts");
    let began = Instant::now();
    for changes in 1..4 {
        let before = n1.status().identity_changes;
        let [_, cert, key] = pem();
        files.put("cert", &cert);
        files.put("key", &key);
        pass(Duration::from_millis(9)).await;
        let asked_early = began.elapsed() < Duration::from_millis(10) && n1.status().identity_changes > before;
        assert!(!asked_early, "it was looked at before 10 ms");
        within("the change", async {
            while n1.status().identity_changes < changes {
                pass(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
    assert!(began.elapsed() >= Duration::from_millis(30), "{:?}", began.elapsed());
}
