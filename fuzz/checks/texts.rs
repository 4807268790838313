//! What must hold of the texts that people write and programs keep: a configuration, a plan of a scenario, a change of
//! a protocol, a lock of the wire, what a member keeps of the record. Each is refused with a reason, or is one that
//! agrees with itself.
//!
//! In: a text's bytes, which each reader is given. Out: a panic where that does not hold.

use rexi_migrate::migration;
use rexi_migrate::plan::Plan;
use rexi_migrate::wire::Lock;
use rexi_proto::record::{Digest, Kept};
use rexi_server::{Config, SERVER_PER_NODE, Train};

/// Panics where a rule is broken.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    configuration(text);
    plan(text);
    lock(text);
    kept(text);
    if let Err(problem) = migration::from_toml(text) {
        assert_ne!(problem.to_string(), "", "a reason");
    }
}

fn configuration(text: &str) {
    let train = Train::new("fuzzed")
        .release("1.1", |r| r.introduce(SERVER_PER_NODE))
        .release("1.2", |r| r.switch(SERVER_PER_NODE));
    match Config::from_toml(text, "node.toml", &train) {
        Ok(config) => {
            assert_eq!(config.limits().check(), Ok(()));
            assert!(config.limits().inbound_bytes_max(config.profile().hosts()) > 0);
            let mut again = config.clone();
            again.apply_env::<&str, &str>([]).expect("it is as it was");
            assert_eq!(again, config);
        }
        Err(problem) => assert!(problem.to_string().chars().count() < 2_000, "{problem}"),
    }
}

/// A plan is written as it is read.
fn plan(text: &str) {
    if let Ok(plan) = Plan::parse(text, &rexi_migrate::demo::path()) {
        let written = plan.to_string();
        let read = Plan::parse(&written, &rexi_migrate::demo::path());
        let read = read.unwrap_or_else(|problem| panic!("{written:?}: {problem}"));
        assert_eq!(read, plan, "{written:?}");
    }
}

/// So is a lock.
fn lock(text: &str) {
    if let Ok(lock) = Lock::parse("wire.lock.json", text) {
        let written = lock.to_text();
        let read = Lock::parse("wire.lock.json", &written).unwrap_or_else(|problem| panic!("{written}: {problem}"));
        assert_eq!(read.to_text(), written);
    }
}

/// So is what a member keeps; with the digest that its lines have, or none of them would be read.
fn kept(text: &str) {
    if let Err(problem) = Kept::from_text(text) {
        assert!(problem.to_string().chars().count() < 500, "{problem}");
    }
    let Some((lines, _)) = text.rsplit_once("sha256 ") else { return };
    let mended = format!("{lines}sha256 {}\n", Digest::of(lines));
    if let Ok(kept) = Kept::from_text(&mended) {
        assert_eq!(kept.to_text(), mended);
    }
}

/// What a fuzzer begins with: one text of each kind, and some that name everything.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let configuration = "name = \"n1\"\nlisten = \"127.0.0.1:4001\"\nrelease = \"1.2\"\n[identity]\nca = \"ca.pem\"\n\
        cert = \"n1.pem\"\nkey = \"n1.key\"\n[peers]\nn2 = \"[::1]:4002\"\nn3 = \"n3.example:4003\"\n[allow]\n\
        n2 = \"kv.get\"\nn3 = \"*\"\n[rollout]\nceiling = \"introduce\"\nfile = \"phase\"\n[admin]\n\
        listen = \"127.0.0.1:9100\"\nhosts = \"ops.example\"\n[calls]\ntime_limit_ms = 0\n[limits]\njobs_max = 20\n";
    let change = "name = \"new\"\n[[form]]\nname = \"call of kv.new\"\nrole = \"start\"\n[[release]]\nname = \"1.1\"\n\
        accepts = []\nemits = []\n[[release]]\nname = \"1.2\"\naccepts = [\"call of kv.new\"]\n\
        emits = [\"call of kv.new\"]\n";
    let plan = "nodes 3 start 1.1 seed 5; upgrade n1 kill; clock n2 -86400; crash n2; start n2; pass 500; cut n1 n3; \
        cast n1 n2 reply 1; pass 2000";
    let lock = Lock::empty().to_text();
    let kept = include_str!("../../rexi-proto/src/record/golden/kept-1.txt");
    [configuration, change, plan, &lock, kept].map(|text| text.as_bytes().to_vec()).to_vec()
}
