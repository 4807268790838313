//! A node from a configuration file: what it takes from it, and what it refuses to start with.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rexi_server::config::CONFIG_KEYS;
use rexi_server::testing::TestCluster;
use rexi_server::{
    Bytes, Config, ConfigError, Context, DevAuthority, LimitingFactor, Node, NodeBuilder, Phase, Request, StartError,
};
use rexi_tests::{Cluster, functions, name, release, train, within};

/// Writes a node's certificate and key and its configuration, and gives the configuration's path.
fn write(dir: &Path, of: &str, cluster: &Cluster, rest: &str) -> PathBuf {
    let authority: &DevAuthority = cluster.authority();
    let (cert, key) = authority.issue_pem(&name(of)).expect("a certificate can be made");
    let put = |file: &str, text: &str| fs::write(dir.join(file), text).expect("written");
    put("ca.pem", authority.ca_pem());
    put(&format!("{of}.pem"), &cert);
    put(&format!("{of}.key"), &key);
    let (n1, n2, own) = (cluster.address("n1"), cluster.address("n2"), cluster.address(of));
    let text = format!(
        "name = \"{of}\"\nlisten = \"{own}\"\nrelease = \"1.2\"\n\n[identity]\nca = \"ca.pem\"\ncert = \"{of}.pem\"\n\
         key = \"{of}.key\"\n\n[peers]\nn1 = \"{n1}\"\nn2 = \"{n2}\"\n\n{rest}"
    );
    put(&format!("{of}.toml"), &text);
    dir.join(format!("{of}.toml"))
}

fn start(path: &Path) -> Node {
    let config = Config::from_file(path, &train()).expect("a good configuration");
    let builder = NodeBuilder::from_config(&config).expect("a good identity");
    let echo = |_: Context, argument: Bytes| async move { Ok::<_, String>(argument) };
    builder.function("echo", echo).start().expect("a node that is configured well starts")
}

#[tokio::test]
async fn nodes_start_from_files_and_call_each_other() {
    let cluster = Cluster::new(["n1", "n2"]);
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("phase"), "introduce\n").expect("written");
    let with_file = write(dir.path(), "n1", &cluster, "[rollout]\nfile = \"phase\"\n");
    let with_ceiling = write(dir.path(), "n2", &cluster, "[rollout]\nceiling = \"introduce\"\n");
    let (n1, n2) = (start(&with_file), start(&with_ceiling));
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    for (from, to) in [(&n1, "n2"), (&n2, "n1")] {
        let echo = within("the echo", from.call(&name(to), Request::new("echo", "hello"))).await;
        assert_eq!(echo, Ok(Bytes::from("hello")));
    }
    assert_eq!(n1.local_addr().expect("it listens"), cluster.address("n1"));
    assert_eq!(n1.rollout().status().limiting_factor, LimitingFactor::Source(Phase::Introduce));
    assert_eq!(n2.rollout().status().limiting_factor, LimitingFactor::Ceiling(Phase::Introduce));
    // The file is read again while the node runs.
    fs::write(dir.path().join("next"), "switch").expect("written");
    fs::rename(dir.path().join("next"), dir.path().join("phase")).expect("renamed");
    let mut watch = n1.rollout().watch();
    within("the switch", watch.wait_for(|phase| *phase == Phase::Switch)).await.expect("n1 runs");
}

#[test]
fn a_configuration_without_an_identity_says_what_to_do() {
    let text = "name = \"n1\"\nlisten = \"127.0.0.1:0\"\nrelease = \"2.0\"";
    let config = Config::from_toml(text, "n1.toml", &train()).expect("a configuration");
    let error = NodeBuilder::from_config(&config).expect_err("nobody to be");
    assert!(matches!(error, StartError::NoIdentity(_)), "{error:?}");
    let text = error.to_string();
    for part in ["n1", "[identity]", "ca, cert and key", "PEM", "Node::builder"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn an_identity_that_is_not_the_nodes_is_refused() {
    let cluster = Cluster::new(["n1", "n2"]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = write(dir.path(), "n1", &cluster, "");
    write(dir.path(), "n2", &cluster, "");
    for file in ["pem", "key"] {
        fs::copy(dir.path().join(format!("n2.{file}")), dir.path().join(format!("n1.{file}"))).expect("copied");
    }
    let config = Config::from_file(&path, &train()).expect("the text is good");
    let error = NodeBuilder::from_config(&config).expect_err("n2's certificate");
    let text = error.to_string();
    assert!(
        text.contains("n1.pem") && text.contains("not a certificate of node n1") && text.contains("[n2]"),
        "{text}"
    );
    fs::remove_file(dir.path().join("n1.key")).expect("removed");
    let text = NodeBuilder::from_config(&config).expect_err("no key").to_string();
    assert!(text.contains("cannot read the key file") && text.contains("n1.key"), "{text}");
}

#[test]
fn an_unknown_key_is_refused_with_what_is_allowed() {
    let cluster = Cluster::new(["n1", "n2"]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = write(dir.path(), "n1", &cluster, "[rollout]\ncieling = \"introduce\"\n");
    let error = Config::from_file(&path, &train()).expect_err("a misspelt key");
    assert!(matches!(error, ConfigError::UnknownKey { .. }), "{error:?}");
    let text = error.to_string();
    println!("{}", text.replace(&dir.path().display().to_string(), "DIR"));
    for part in ["n1.toml:15", "`rollout.cieling`", "`rollout.ceiling`", "ceiling, file"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn an_impossible_phase_is_refused_with_what_is_allowed() {
    let cluster = Cluster::new(["n1", "n2"]);
    let dir = tempfile::tempdir().expect("a directory");
    for (phase, parts) in [
        ("remove", ["rollout.ceiling = \"remove\"", "is impossible"]),
        ("swicth", ["rollout.ceiling: \"swicth\"", "is not a phase"]),
    ] {
        let path = write(dir.path(), "n1", &cluster, &format!("[rollout]\nceiling = \"{phase}\"\n"));
        let text = Config::from_file(&path, &train()).expect_err("impossible").to_string();
        println!("{}", text.replace(&dir.path().display().to_string(), "DIR"));
        for part in parts.into_iter().chain(["n1.toml:15", "release 1.2 allows: introduce, switch"]) {
            assert!(text.contains(part), "{text}");
        }
    }
}

/// Every number that a key takes: a node that is started with it works as far as the number lets it, or is not started.
#[tokio::test(start_paused = true)]
async fn every_limit_at_its_edges_is_refused_or_works() {
    let (mut refused, mut works) = (0, 0);
    for key in CONFIG_KEYS.iter().filter(|key| key.table == "limits") {
        for value in [0, 1, 2, u64::from(u32::MAX) - 1, u32::MAX.into(), u64::MAX - 1, u64::MAX] {
            let text = format!(
                "name = \"n1\"\nlisten = \"127.0.0.1:0\"\nrelease = \"2.0\"\n[limits]\n{} = {value}\n",
                key.key
            );
            let Ok(config) = Config::from_toml(&text, "node.toml", &train()) else {
                refused += 1;
                continue;
            };
            let cluster = TestCluster::new(["n1", "n2"]);
            let limits = config.limits().clone();
            assert!(limits.inbound_bytes_max(config.profile().hosts()) > 0);
            cluster.define("n1", move |node| functions(node).limits(limits.clone()));
            cluster.define("n2", functions);
            cluster.start_all(&release("2.0")).expect("what was not refused starts");
            cluster.ready().await;
            for (from, to) in [("n1", "n2"), ("n2", "n1")] {
                let (node, to) = (cluster.node(from), name(to));
                let call = node.call(&to, Request::new("echo", "hello"));
                let end = tokio::time::timeout(Duration::from_secs(90), call).await;
                assert!(end.is_ok(), "{} = {value}: a call from {from} does not end", key.key);
            }
            works += 1;
        }
    }
    assert!(refused > 50 && works > 50, "{refused} refused, {works} work");
}
