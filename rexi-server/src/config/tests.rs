//! What a configuration may say, and the text of each refusal.

use rexi_proto::{Phase, Profile, SERVER_PER_NODE, WireVersion};

use super::*;

/// A service that goes through rexi's own migration, a release for each stage.
fn train() -> Train {
    let (v1, v2, v3) = (WireVersion::V1, WireVersion::V2, WireVersion::V3);
    Train::new("story")
        .release("1.0", |r| r.wire(v1))
        .release("1.1", |r| r.wire(v1..=v2).introduce(SERVER_PER_NODE))
        .release("1.2", |r| r.wire(v2).switch(SERVER_PER_NODE))
        .release("2.0", |r| r.wire(v2..=v3).remove(SERVER_PER_NODE))
}

fn profile(release: &str) -> Profile {
    train().profile(release).expect("a release of the train")
}

const FULL: &str = r#"
name = "n1"
listen = "127.0.0.1:4001"
release = "1.2"

[identity]
ca = "pki/ca.pem"
cert = "n1.pem"
key = "/keys/n1.key"

[peers]
n2 = "127.0.0.1:4002"
n1 = "127.0.0.1:4001"
"n3.example" = "[::1]:4003"

[rollout]
ceiling = "introduce"
file = "phase"
"#;

/// All that a node needs.
const HEAD: &str = "name = \"n1\"\nlisten = \"127.0.0.1:4001\"\nrelease = \"1.0\"\n";

/// The same without a release.
const BARE: &str = "name = \"n1\"\nlisten = \"127.0.0.1:4001\"\n";

fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

fn config(text: &str) -> Config {
    Config::from_toml(text, "node.toml", &train()).expect("a configuration")
}

/// The refusal of the text, which must hold all parts.
fn refused(text: &str, parts: &[&str]) -> ConfigError {
    let error = Config::from_toml(text, "node.toml", &train()).expect_err("refused");
    assert_contains(&error, parts);
    error
}

fn assert_contains(error: &ConfigError, parts: &[&str]) {
    let text = error.to_string();
    assert!(!text.contains('\n'), "an error is one line: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn a_full_file_gives_every_part() {
    let config = config(FULL);
    assert_eq!(config.name(), &name("n1"));
    assert_eq!(config.listen().to_string(), "127.0.0.1:4001");
    assert_eq!(config.profile(), profile("1.2"));
    assert_eq!(config.ceilings(), &Ceilings::only(Phase::Introduce));
    assert_eq!(config.phase_file(), Some(Path::new("phase")));
    let peers: Vec<String> = config.peers().map(|(name, address)| format!("{name} {address}")).collect();
    assert_eq!(peers, ["n2 127.0.0.1:4002", "n3.example [::1]:4003"]);
    let files = config.identity_files().expect("files");
    assert_eq!(
        [&files.ca, &files.cert, &files.key].map(|file| file.display().to_string()),
        ["pki/ca.pem", "n1.pem", "/keys/n1.key"]
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = config(HEAD);
    assert_eq!(config.profile(), profile("1.0"));
    assert_eq!((config.peers().count(), config.ceilings(), config.phase_file()), (0, &Ceilings::none(), None));
    assert_eq!(config.cluster(), None, "the train's name");
    assert_eq!((config.limits(), config.admin()), (&Limits::default(), None));
    assert_eq!(config.drain_limit(), Duration::from_secs(30));
    assert!(config.identity_files().is_none());
    assert!(config.load_identity().expect("nothing to load").is_none());
    assert_eq!(config.read_phase_file().expect("nothing to read"), None);
}

#[test]
fn the_record_and_its_operators_are_configured_and_each_slip_is_named() {
    let text = "[rollout]\nstate = \"state\"\nwithout_record = \"serve\"\n[operate]\nlisten = \"127.0.0.1:4101\"\n\
                ca = \"ops.pem\"\n[operators]\nalice = \"*\"\nbob = \"status hold\"\n";
    let config = config(&format!("{HEAD}{text}"));
    assert_eq!((config.state(), config.serves_without_record()), (Some(Path::new("state")), true));
    let (address, ca) = config.operate().expect("a port");
    assert_eq!((address.port(), ca), (4_101, Path::new("ops.pem")));
    assert!(config.operators().allows("alice", "finalize") && !config.operators().allows("bob", "finalize"));
    let bare = super::Config::from_toml(HEAD, "node.toml", &train()).expect("a configuration");
    assert_eq!((bare.state(), bare.serves_without_record(), bare.operate()), (None, false, None));
    for (text, parts) in [
        ("[rollout]\nwithout_record = \"yes\"\n", ["`rollout.without_record` = \"yes\"", "is none of: wait, serve"]),
        ("[operate]\nlisten = \"127.0.0.1:4101\"\n", ["no key `operate.ca`", "PEM file"]),
        ("[operators]\nalice = \"statsu\"\n", ["`operators.alice`", "\"statsu\" is nothing that an operator may"]),
        ("[operators]\nAlice = \"*\"\n", ["`operators.Alice`", "cannot name an operator"]),
    ] {
        refused(&format!("{HEAD}{text}"), &parts);
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_and_all_allowed() {
    let top = "allowed here: name, listen, release, cluster, identity, peers, membership, allow, rollout, \
               operate, operators, admin, calls, drain, limits";
    refused(&format!("{BARE}relase = \"1.1\"\n"), &["node.toml:3: unknown key `relase`", "is `release`", top]);
    refused(&format!("{HEAD}[peer]\nn2 = \"127.0.0.1:4002\"\n"), &["node.toml:4", "`peer`", "is `peers`", top]);
    refused(&format!("{HEAD}limits.jobs = 3\n"), &["unknown key `limits.jobs`", "is `limits.jobs_max`"]);
    // Known, but in another table.
    refused(&format!("ceiling = \"switch\"\n{HEAD}"), &["node.toml:1: unknown key `ceiling`", "is `rollout.ceiling`"]);
    refused(&format!("{HEAD}ceilng = \"switch\"\n"), &["unknown key `ceilng`", "is `rollout.ceiling`"]);
    // Nearer to `name` than to `file`, but not near enough for another table.
    refused(&format!("{HEAD}[rollout]\nphase = \"switch\"\n"), &["unknown key `rollout.phase`", "is `rollout.state`"]);
    refused(
        &format!("{HEAD}[rollout]\n\nceilling = \"switch\"\n"),
        &["node.toml:6: unknown key `rollout.ceilling`", "is `rollout.ceiling`", "allowed here: ceiling, file, state,"],
    );
    refused(
        &format!("{HEAD}[identity]\nca = \"a\"\ncret = \"b\"\nkey = \"c\"\n"),
        &["node.toml:6: unknown key `identity.cret`", "is `identity.cert`", "allowed here: ca, cert, key, interval_ms"],
    );
    // The first of several is named, and unknown keys go before bad values.
    let error = refused(&format!("{BARE}release = \"9\"\nzzz = 1\naaa = 2\n"), &["`zzz`"]);
    assert!(matches!(error, ConfigError::UnknownKey { allowed, .. } if allowed.len() == 15));
}

#[test]
fn a_phase_that_the_release_does_not_allow_is_refused() {
    let rollout =
        |release: &str, ceiling: &str| format!("{BARE}release = \"{release}\"\n[rollout]\nceiling = \"{ceiling}\"\n");
    let at = "node.toml:5: rollout.ceiling";
    let impossible = [
        ("1.0", "introduce", "release 1.0 allows: singleton"),
        ("1.1", "switch", "release 1.1 allows: introduce"),
        ("1.1", "singleton", "release 1.1 allows: introduce"),
        ("1.2", "singleton", "release 1.2 allows: introduce, switch"),
        ("1.2", "remove", "release 1.2 allows: introduce, switch"),
        ("2.0", "switch", "release 2.0 allows: remove"),
        ("1.2.7", "remove", "release 1.2.7 allows: introduce, switch"),
    ];
    for (release, ceiling, allowed) in impossible {
        let error = refused(&rollout(release, ceiling), &[at, &format!("{ceiling:?} is impossible"), allowed]);
        assert!(matches!(error, ConfigError::ImpossiblePhase { .. }));
    }
    for bad in ["swich", "", "2"] {
        let error = refused(
            &rollout("1.2", bad),
            &[at, &format!("{bad:?} is not a phase"), "release 1.2 allows: introduce, switch"],
        );
        assert!(matches!(error, ConfigError::BadCeilings { .. }));
    }
    for profile in train().profiles().expect("a train") {
        for phase in Phase::ALL {
            let text = rollout(&profile.release().to_string(), phase.as_str());
            assert_eq!(Config::from_toml(&text, "node.toml", &train()).is_ok(), profile.server_stage().allows(phase));
        }
    }
}

#[test]
fn a_release_is_found_by_major_and_minor() {
    let release = |text: &str| format!("{BARE}release = \"{text}\"\n");
    for (text, index) in [("1.0", 0), ("1.1", 1), ("1.2", 2), ("2.0", 3), ("1.1.0", 1)] {
        assert_eq!(config(&release(text)).profile(), train().profiles().expect("a train")[index]);
    }
    let patched = config(&release("1.2.7")).profile();
    assert_eq!((patched.release().to_string().as_str(), patched.server_stage().highest()), ("1.2.7", Phase::Switch));
    for bad in ["1.3", "3.0", "1", "", "v1.1", "1.1-rc1", "latest"] {
        let said = format!("node.toml:3: release: the train story has no release {bad}: it has 1.0, 1.1, 1.2, 2.0");
        refused(&release(bad), &[&said]);
    }
}

#[test]
fn a_bad_name_or_address_is_refused_where_it_stands() {
    let listen = "listen = \"127.0.0.1:4001\"\nrelease = \"1.0\"\n";
    refused(&format!("name = \"N1\"\n{listen}"), &["node.toml:1: `name`: \"N1\" is not a node name", "a-z"]);
    for bad in ["127.0.0.1", "localhost:4001", "127.0.0.1:99999", ""] {
        refused(
            &format!("name = \"n1\"\nlisten = \"{bad}\"\nrelease = \"1.0\"\n"),
            &["node.toml:2: listen = ", &format!("{bad:?}"), "such as \"127.0.0.1:4001\""],
        );
    }
    config("name = \"n1\"\nlisten = \"0.0.0.0:0\"\nrelease = \"1.0\"\n");

    let peers = |rest: &str| format!("{HEAD}[peers]\n{rest}\n");
    refused(&peers("n_2 = \"127.0.0.1:4002\""), &["node.toml:5: `peers.n_2`: \"n_2\" is not a node name"]);
    for (value, reason) in [
        ("4002", "it has no port"),
        ("n2.rexi.svc", "it has no port"),
        ("[::1]", "it has no port"),
        ("127.0.0.1:0", "its port cannot be dialled; give one from 1 to 65535"),
        ("n2.rexi.svc:0", "its port cannot be dialled"),
        ("n2.rexi.svc:http", "its port cannot be dialled"),
        (":4002", "it has a port and no host"),
        ("0.0.0.0:4002", "it stands for all addresses of a machine"),
        ("[::]:4002", "it stands for all addresses of a machine"),
        ("n2..svc:4002", "its host is neither an IP address nor a DNS name"),
        ("300.0.0.1:4002", "its host is neither an IP address nor a DNS name"),
    ] {
        let said = format!("node.toml:5: peers.n2 = {value:?}: {reason}");
        let error = refused(&peers(&format!("n2 = \"{value}\"")), &[&said]);
        assert!(matches!(error, ConfigError::BadPeerAddress { .. }));
    }
}

#[test]
fn a_peer_is_at_an_address_or_a_host() {
    let config = config(&format!("{HEAD}[peers]\nn1 = \"n1.svc:4001\"\nn2 = \"N2.svc:4001\"\nn3 = \"[::1]:4003\"\n"));
    let host = PeerAddress::Host { host: "n2.svc".to_owned(), port: 4001 };
    let at = PeerAddress::At("[::1]:4003".parse().expect("an address"));
    assert_eq!(config.peers().collect::<Vec<_>>(), [(&name("n2"), &host), (&name("n3"), &at)]);
    let mut by_env = self::config(HEAD);
    by_env.apply_env([("REXI_PEERS", "n2=n2.svc:4001,n3=[::1]:4003")]).expect("a list");
    assert_eq!(by_env.peers().collect::<Vec<_>>(), config.peers().collect::<Vec<_>>());
}

#[cfg(feature = "dns")]
#[test]
fn hosts_and_srv_records_are_followed_at_one_interval() {
    use crate::follow::Membership;

    let (hosts, srv) = ("[peers]\nn2 = \"n2.svc:4001\"\n", "srv = \"_rexi._udp.rexi.example.\"\n");
    let found = |rest: &str| config(&format!("{HEAD}{rest}")).dns_membership().expect("names");
    let [n2, n1] = ["n2", "n1"].map(|of| format!("[peers]\n{of} = \"127.0.0.1:4002\"\n"));
    assert!(found("").is_none() && found(&n2).is_none() && found(&n1).is_none(), "nothing to look up");
    let own = "[peers]\nn1 = \"n1.svc:4001\"\n";
    assert!(found(own).is_none(), "its own host is not looked up");
    // Whether the hosts are all members.
    for (rest, is_all, interval) in [
        (hosts.to_owned(), Some(true), 5_000),
        (format!("{hosts}[membership]\ninterval_ms = 900\n"), Some(true), 900),
        (format!("{hosts}[membership]\n{srv}interval_ms = 900\n"), Some(false), 900),
        (format!("[membership]\n{srv}"), None, 5_000),
    ] {
        let found = found(&rest).expect("something to look up");
        let known = found.known();
        assert_eq!(known.as_ref().map(|known| known.is_complete()), is_all, "{rest}");
        assert!(known.is_none_or(|known| known.contains(&name("n2")) && known.len() == 1), "{rest}");
        assert_eq!(Membership::interval(&found), Some(Duration::from_millis(interval)), "{rest}");
    }
}

#[test]
fn two_members_at_one_address_are_refused() {
    let peers = |rest: &str| format!("{HEAD}[peers]\n{rest}\n");
    refused(
        &peers("n3 = \"127.0.0.1:4002\"\nn2 = \"127.0.0.1:4002\""),
        &["node.toml:6: n3 and n2 have the same address, 127.0.0.1:4002"],
    );
    refused(
        &peers("n3 = \"n2.rexi.svc:4002\"\nn2 = \"N2.rexi.svc:4002\""),
        &["node.toml:6: n3 and n2 have the same address, n2.rexi.svc:4002"],
    );
    // Its own host counts, and one address is one however it is written.
    refused(&peers("n1 = \"a.svc:1\"\nn2 = \"a.svc:1\""), &["node.toml:6: n1 and n2 have the same address, a.svc:1"]);
    refused(
        &peers("n3 = \"127.0.0.1:4002\"\nn2 = \"[::ffff:127.0.0.1]:4002\""),
        &["node.toml:6: n3 and n2 have the same address, 127.0.0.1:4002"],
    );
    refused(&peers("n2 = \"[::ffff:127.0.0.1]:4001\""), &["node.toml:2: n2 and n1 have the same address"]);
    config(&peers("n3 = \"n2.rexi.svc:4002\"\nn2 = \"n2.rexi.svc:4003\""));
    refused(&peers("n2 = \"127.0.0.1:4001\""), &["node.toml:2: n2 and n1 have the same address, 127.0.0.1:4001"]);
    refused(&peers("n2 = \"127.0.0.1:4002\"\nn2 = \"127.0.0.1:4003\""), &["node.toml:6: not TOML", "duplicate key"]);
    // Behind a translated address, a node does not listen where it is dialled.
    config(&peers("n1 = \"10.0.0.1:4001\"\nn2 = \"10.0.0.2:4001\""));
}

#[test]
fn a_missing_key_is_named_with_what_to_set_it_to() {
    refused("listen = \"127.0.0.1:4001\"\n", &["node.toml: no key `name`; set it to the node's name"]);
    refused(BARE, &["node.toml: no key `release`; set it to a release of the train, such as \"1.0\""]);
    refused("name = \"n1\"\n", &["node.toml: no key `listen`; set it to an address such as \"127.0.0.1:4001\""]);
    refused(
        &format!("{HEAD}[identity]\nca = \"ca.pem\"\nkey = \"n1.key\"\n"),
        &["node.toml:4: no key `identity.cert`; set it to the path of a PEM file"],
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    refused("\nname = 1\n", &["node.toml:2: `name` must be a string in quotes, not of type integer"]);
    refused(
        &format!("{BARE}release = 1.1\n"),
        &["node.toml:3: `release` must be a string in quotes, not of type float"],
    );
    refused(&format!("{HEAD}peers = []\n"), &["node.toml:4: `peers` must be a table, not of type array"]);
    refused(&format!("{HEAD}rollout = \"switch\"\n"), &["`rollout` must be a table, not of type string"]);
    refused(&format!("{HEAD}[[identity]]\nca = \"x\"\n"), &["`identity` must be a table, not of type array"]);
    refused(
        &format!("{HEAD}[peers]\nn2.example = \"127.0.0.1:4002\"\n"),
        &[
            "node.toml:5: `peers.n2` must be an address or a host, and a port, in quotes",
            "a name with dots needs quotes",
            "not of type table",
        ],
    );
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    refused(&format!("{HEAD}what is this\n"), &["node.toml:4: not TOML: "]);
    refused(&format!("{BARE}release = \"1.1\nx = 1\n"), &["node.toml:3: not TOML: "]);
    refused(&format!("x = {}1{}", "[".repeat(5_000), "]".repeat(5_000)), &["node.toml:1: not TOML: "]);
}

#[test]
fn a_long_text_is_cut_in_errors() {
    let long = "é".repeat(5_000);
    for text in [format!("{BARE}release = \"{long}\"\n"), format!("{HEAD}\"{long}\" = 1\n")] {
        let error = Config::from_toml(&text, "node.toml", &train()).expect_err("refused").to_string();
        assert!(error.chars().count() < 400, "{} characters", error.chars().count());
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let mut config = config(FULL);
    config.apply_env::<&str, &str>([]).expect("nothing to change");
    assert_eq!(config, self::config(FULL));
    let set = [("REXI_NAME", "n2"), ("REXI_LISTEN", "127.0.0.1:4002"), ("REXI_PHASE", "switch"), ("OTHER", "x")];
    config.apply_env(set).expect("all three at once");
    assert_eq!((config.name(), config.listen().port()), (&name("n2"), 4002));
    assert_eq!(config.ceilings(), &Ceilings::only(Phase::Switch));
    let peers: Vec<&NodeName> = config.peers().map(|(name, _)| name).collect();
    assert_eq!(peers, [&name("n1"), &name("n3.example")]);
}

#[test]
fn an_environment_that_is_refused_changes_nothing() {
    let cases: [(&str, &str, &[&str]); 7] = [
        ("REXI_PHASE", "remove", &["REXI_PHASE = \"remove\" is impossible", "release 1.2 allows: introduce, switch"]),
        ("REXI_PHASE", "singleton", &["REXI_PHASE = \"singleton\" is impossible"]),
        ("REXI_PHASE", "swich", &["REXI_PHASE: \"swich\" is not a phase", "release 1.2 allows: introduce, switch"]),
        ("REXI_PHASE", "", &["REXI_PHASE holds nothing: unset it"]),
        ("REXI_NAME", "N1", &["`REXI_NAME`: \"N1\" is not a node name"]),
        ("REXI_LISTEN", "4001", &["REXI_LISTEN = \"4001\" is not an IP address and port"]),
        // The name of another node with the address of this one.
        ("REXI_NAME", "n2", &["n1 and n2 have the same address, 127.0.0.1:4001"]),
    ];
    for (key, value, parts) in cases {
        let mut config = config(FULL);
        let error = config.apply_env([(key, value)]).expect_err("refused");
        assert_contains(&error, parts);
        assert_contains(&error, &["environment: "]);
        assert_eq!(config, self::config(FULL), "{key}={value} changed it");
    }
}

#[test]
fn a_file_gives_its_directory_to_the_paths_in_it_and_its_path_to_errors() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("n1.toml");
    std::fs::write(&path, FULL).expect("written");
    let config = Config::from_file(&path, &train()).expect("a configuration");
    let files = config.identity_files().expect("files");
    assert_eq!(files.ca, dir.path().join("pki/ca.pem"));
    assert_eq!(files.key, Path::new("/keys/n1.key"));
    assert_eq!(config.phase_file(), Some(dir.path().join("phase").as_path()));

    std::fs::write(&path, "nam = \"n1\"\n").expect("written");
    let shown = format!("{}:1: unknown key `nam`", path.display());
    assert_contains(&Config::from_file(&path, &train()).expect_err("refused"), &[&shown]);

    let missing = Config::from_file(dir.path().join("n9.toml"), &train()).expect_err("refused");
    assert_contains(&missing, &["cannot read", "n9.toml", "check the path"]);
    std::fs::write(&path, [0xff, 0xfe]).expect("written");
    assert_contains(&Config::from_file(&path, &train()).expect_err("refused"), &["cannot read", "n1.toml"]);
}

#[test]
fn the_phase_file_is_judged_like_the_ceiling() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, phase) = (dir.path().join("n1.toml"), dir.path().join("phase"));
    std::fs::write(&path, FULL).expect("written");
    let config = Config::from_file(&path, &train()).expect("a configuration");
    let missing = config.read_phase_file().expect_err("a deleted file holds the phase");
    assert!(matches!(missing, ConfigError::Unreadable { .. }));
    std::fs::write(&phase, " switch\n").expect("written");
    assert_eq!(config.read_phase_file().expect("a phase"), Some(Ceilings::only(Phase::Switch)));
    for (text, part) in [("remove", "is impossible"), ("", "is not a phase"), ("switch introduce", "is not a phase")] {
        std::fs::write(&phase, text).expect("written");
        let error = config.read_phase_file().expect_err("refused");
        let shown = phase.display().to_string();
        assert_contains(&error, &[&shown, "phase", part, "release 1.2 allows: introduce, switch"]);
    }
    std::fs::write(&phase, "x".repeat(usize::try_from(PHASE_FILE_BYTES_MAX).expect("small") + 1)).expect("written");
    assert_contains(&config.read_phase_file().expect_err("refused"), &["cannot read", "longer than 1024 bytes"]);
    std::fs::write(&phase, "introduce").expect("written");
    assert_eq!(config.read_phase_file().expect("a phase"), Some(Ceilings::only(Phase::Introduce)));
}

#[cfg(feature = "dev-certs")]
#[test]
fn the_identity_is_loaded_and_must_be_the_nodes_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = crate::DevAuthority::open_or_create(dir.path()).expect("an authority");
    authority.issue(&name("n1")).expect("issued");
    let path = dir.path().join("n1.toml");
    let text = format!("{HEAD}[identity]\nca = \"ca.pem\"\ncert = \"n1.pem\"\nkey = \"n1.key\"\n");
    std::fs::write(&path, text).expect("written");
    let mut config = Config::from_file(&path, &train()).expect("a configuration");
    assert!(config.load_identity().expect("loaded").expect("there").certifies_name(&name("n1")));

    config.apply_env([("REXI_NAME", "n2")]).expect("a name");
    let error = config.load_identity().expect_err("n1's certificate for n2").to_string();
    assert!(error.contains("n1.pem") && error.contains("not a certificate of node n2"), "{error}");
}

#[test]
fn limits_are_numbers_and_agree_with_each_other() {
    let limits = |rest: &str| format!("{HEAD}[limits]\n{rest}\n");
    let set = config(&limits("jobs_max = 1_000\nstability_period_ms = 500"));
    let expected = Limits { jobs_max: 1_000, stability_period: Duration::from_millis(500), ..Limits::default() };
    assert_eq!(set.limits(), &expected);
    refused(&limits("jobs_max = \"10\""), &["node.toml:5: `limits.jobs_max` must be a whole number", "string"]);
    refused(&limits("jobs_max = 0x10"), &["`limits.jobs_max` must be a whole number in decimal digits"]);
    refused(&limits("jobs_max = -1"), &["node.toml:5: limits.jobs_max = -1 is not a number that the key can hold"]);
    refused(&limits("stream_window = 4294967296"), &["limits.stream_window = 4294967296 is not a number"]);
    let apart = refused(&limits("jobs_max = 2\njobs_total_max = 1"), &["limits: jobs_max (2) needs jobs_total_max"]);
    assert!(matches!(apart, ConfigError::Limits { .. }));
}

#[test]
fn every_key_can_be_set_and_its_default_is_the_one_that_is_documented() {
    let default = config(HEAD);
    for known in CONFIG_KEYS.iter().filter(|known| known.table == "limits") {
        let text = format!("{HEAD}[limits]\n{} = {}\n", known.key, known.default);
        assert_eq!(config(&text).limits(), default.limits(), "{}", known.key);
        // None is ignored: another value is another configuration, or is refused.
        let text = text.replace(&format!("= {}", known.default), &format!("= {}1", known.default));
        let other = Config::from_toml(&text, "node.toml", &train()).map(|other| other.limits() != default.limits());
        assert!(other.unwrap_or(true), "{}", known.key);
        let mut by_env = config(HEAD);
        let variable = known.variable();
        by_env.apply_env([(&variable, known.default)]).expect("its default");
        assert_eq!(by_env.limits(), default.limits(), "{variable}");
    }
    let rest = "[admin]\nlisten = \"127.0.0.1:9100\"\n[drain]\nlimit_ms = 1500\n";
    let set = config(&format!("{HEAD}{rest}"));
    assert_eq!(set.admin().map(|address| address.port()), Some(9_100));
    assert_eq!(set.drain_limit(), Duration::from_millis(1_500));
}

#[test]
fn the_environment_alone_makes_a_node() {
    let mut by_env = config("name = \"x\"\nlisten = \"127.0.0.1:1\"\nrelease = \"1.0\"\n");
    let set = [
        ("REXI_NAME", "n1"),
        ("REXI_LISTEN", "0.0.0.0:4001"),
        ("REXI_RELEASE", "1.2"),
        ("REXI_IDENTITY_CA", "/pki/ca.pem"),
        ("REXI_IDENTITY_CERT", "/pki/n1.pem"),
        ("REXI_IDENTITY_KEY", "/pki/n1.key"),
        ("REXI_PEERS", "n1=10.0.0.1:4001, n2=10.0.0.2:4001"),
        ("REXI_ROLLOUT_FILE", "/flags/phase"),
        ("REXI_LIMITS_JOBS_MAX", "10"),
        // An orchestrator's own, for a service that is called rexi.
        ("REXI_SERVICE_HOST", "10.0.0.9"),
    ];
    by_env.apply_env(set).expect("all at once");
    assert_eq!((by_env.limits().jobs_max, by_env.peers().count()), (10, 1));
    assert_eq!(by_env.identity_files().expect("files").key, Path::new("/pki/n1.key"));
    for (variable, value, part) in [
        ("REXI_LIMITS_JOBS_MAX", "many", "environment: REXI_LIMITS_JOBS_MAX = many is not a number"),
        (
            "REXI_PEERS",
            "n2",
            "environment: REXI_PEERS: \"n2\" is not an entry; give name=value for each, separated by commas",
        ),
        ("REXI_PEERS", "", "environment: REXI_PEERS holds nothing: unset it"),
        ("REXI_PEERS", " ", "environment: REXI_PEERS holds nothing: unset it"),
        ("REXI_PEERS", ",", "environment: REXI_PEERS names nobody: unset it"),
        ("REXI_ALLOW", "", "environment: REXI_ALLOW holds nothing: unset it"),
        (
            "REXI_PEERS",
            "n2=127.0.0.1:4002,n2=127.0.0.1:4003",
            "environment: REXI_PEERS has \"n2\" twice: name each once",
        ),
        ("REXI_PEERS", "n2=4", "environment: REXI_PEERS = \"4\": it has no port"),
    ] {
        assert_contains(&by_env.clone().apply_env([(variable, value)]).expect_err("refused"), &[part]);
    }
}

#[test]
fn every_variable_that_holds_nothing_or_is_nearly_a_keys_is_refused() {
    let mut config = config(FULL);
    for variable in CONFIG_KEYS.iter().map(ConfigKey::variable) {
        for nothing in ["", " ", "\t\n"] {
            let error = config.apply_env([(&variable, nothing)]).expect_err("nothing");
            assert_contains(&error, &["environment: ", &variable, "holds nothing: unset it"]);
        }
        let swapped = {
            let (start, end) = variable.split_at(variable.len() - 2);
            start.to_owned() + &end.chars().rev().collect::<String>()
        };
        for misspelt in [variable.clone() + "S", variable[..variable.len() - 1].to_owned(), swapped] {
            if CONFIG_KEYS.iter().all(|known| known.variable() != misspelt) {
                let error = config.apply_env([(&misspelt, "5")]).expect_err("none of ours");
                assert_contains(&error, &["environment: ", &misspelt, "is no key's variable", "nearest"]);
            }
        }
    }
    for (variable, nearest) in [
        ("REXI_LIMITS_JOB_MAX", "REXI_LIMITS_JOBS_MAX"),
        ("REXI_IDENTITY_INTERVAL", "REXI_IDENTITY_INTERVAL_MS"),
        ("REXI_ROLLOUT_CEILLING", "REXI_ROLLOUT_CEILING"),
        ("REXI_PEERS_N2", "REXI_PEERS"),
        ("REXI_RELAESE", "REXI_RELEASE"),
    ] {
        let error = config.apply_env([(variable, "5")]).expect_err("none of ours").to_string();
        assert!(error.ends_with(&format!("the nearest that is one is {nearest}")), "{error}");
    }
    // An orchestrator's, and other people's.
    let others = ["REXI_SERVICE_HOST", "REXI_PORT", "REXI_PORT_4001_TCP", "REXI_HOME", "REXIX", "PATH", ""];
    config.apply_env(others.map(|variable| (variable, ""))).expect("nobody's");
    assert_eq!(config, self::config(FULL));
}

#[test]
fn the_ceiling_has_two_variables_of_which_one_may_be_set() {
    let mut config = config(FULL);
    config.apply_env([("REXI_ROLLOUT_CEILING", "switch")]).expect("its other name");
    assert_eq!(config.ceilings(), &Ceilings::only(Phase::Switch));
    let both = [("REXI_ROLLOUT_CEILING", "switch"), ("REXI_PHASE", "switch")];
    assert_contains(&config.apply_env(both).expect_err("both"), &["set the same key: unset one of them"]);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_refused_where_it_is_a_keys() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let bytes = OsStr::from_bytes(b"n\xff");
    let mut config = config(FULL);
    config.apply_env([("HOME", bytes), ("REXI_SERVICE_HOST", bytes)]).expect("nobody's");
    config.apply_env([(bytes, bytes)]).expect("nobody's");
    assert_contains(&config.apply_env([("REXI_NAME", bytes)]).expect_err("ours"), &["REXI_NAME is not UTF-8 text"]);
}

#[test]
fn the_page_of_the_configuration_has_every_key() {
    let page = include_str!("../../../docs/configuration.md");
    let rows: String = CONFIG_KEYS
        .iter()
        .map(|known| format!("| `{}` | `{}` | {} | {} |\n", known.name(), known.variable(), known.value, known.default))
        .collect();
    assert!(page.contains(&rows), "docs/configuration.md is to have these rows:\n{rows}");
}

#[test]
fn a_list_of_who_may_call_what_denies_all_else() {
    assert_eq!(config(HEAD).allow_list(), None);
    let none = config(&format!("{HEAD}[allow]\n"));
    assert_eq!(none.allow_list(), Some(&AllowList::new()));
    let list = AllowList::new().allow(name("n2"), "kv.get").allow(name("n2"), "kv.put").allow_peer(name("n3"));
    let set = config(&format!("{HEAD}[allow]\nn2 = \"kv.get kv.put\"\nn3 = \"*\"\n"));
    assert_eq!(set.allow_list(), Some(&list));
    let mut by_env = config(HEAD);
    by_env.apply_env([("REXI_ALLOW", "n2=kv.get kv.put, n3=*")]).expect("a list");
    assert_eq!(by_env.allow_list(), Some(&list));
    refused(&format!("{HEAD}[allow]\nn2 = [\"kv.get\"]\n"), &["node.toml:5: `allow.n2` must be functions in quotes"]);
    refused(&format!("{HEAD}[allow]\nN2 = \"*\"\n"), &["node.toml:5: `allow.N2`: \"N2\" is not a node name"]);
}

#[test]
fn intervals_and_the_source_of_members_are_given() {
    let default = config(HEAD);
    assert_eq!((default.identity_interval(), default.membership_srv()), (Duration::from_secs(30), None));
    assert_eq!(default.membership_interval(), None);
    let text = format!("{HEAD}[membership]\nsrv = \"_rexi._udp.rexi.example.\"\ninterval_ms = 900\n");
    let set = config(&text);
    assert_eq!(set.membership_srv(), Some("_rexi._udp.rexi.example."));
    assert_eq!(set.membership_interval(), Some(Duration::from_millis(900)));
    let files = "[identity]\nca = \"a\"\ncert = \"b\"\nkey = \"c\"\ninterval_ms = 50\n";
    assert_eq!(config(&format!("{HEAD}{files}")).identity_interval(), Duration::from_millis(50));
}

#[test]
fn a_file_is_as_long_as_it_may_be_and_one_byte_longer_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("n1.toml");
    let most = usize::try_from(CONFIG_FILE_BYTES_MAX).expect("it is small");
    let mut text = format!("{HEAD}# ");
    text.push_str(&"x".repeat(most - text.len()));
    std::fs::write(&path, &text).expect("written");
    Config::from_file(&path, &train()).expect("it is as long as it may be");
    std::fs::write(&path, format!("{text}x")).expect("written");
    assert_contains(
        &Config::from_file(&path, &train()).expect_err("refused"),
        &["cannot read", "longer than 1048576 bytes"],
    );
    std::fs::write(&path, HEAD).expect("written");
    Config::from_file(&path, &train()).expect("it is short again");
}

#[test]
fn an_error_repeats_80_characters_of_a_text_and_no_more() {
    let kept = "x".repeat(80);
    for longer in ["", "x"] {
        let error = refused(&format!("{HEAD}{kept}{longer} = 1\n"), &[&kept]);
        assert!(!error.to_string().contains(&format!("{kept}x")), "{error}");
    }
}
