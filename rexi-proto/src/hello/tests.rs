//! Tests of hellos and of the verdict between any two of them.

use bytes::BytesMut;

use super::*;
use crate::compat::Kind;
use crate::error::DecodeError;
use crate::migration::{Migration, SERVER_PER_NODE};
use crate::release::Profile;
use crate::story::{hello, profiles, train};
use crate::train::Train;
use crate::wire::FrameWriter;

/// Every release at every phase it may be in.
fn hellos(name: &str) -> Vec<Hello> {
    let at = |p: &Profile, q| p.server_stage().allows(q).then(|| hello(name, p, q));
    profiles().iter().flat_map(|p| Phase::ALL.into_iter().filter_map(move |q| at(p, q))).collect()
}

#[test]
fn a_hello_survives_the_wire() {
    for mut hello in hellos("n1") {
        hello.migrations[0].holdouts = vec![NodeName::new("n7").expect("a name")];
        let mut bytes = BytesMut::new();
        hello.encode(&mut bytes);
        assert_eq!(Hello::decode(&bytes[4..]), Ok(hello));
    }
}

#[test]
fn both_sides_compute_the_same_verdict() {
    for a in hellos("n1") {
        for b in hellos("n2") {
            assert_eq!(verdict(&a, &b), verdict(&b, &a));
        }
    }
}

#[test]
fn only_neighbours_may_speak() {
    let allowed: Vec<String> = hellos("n1")
        .iter()
        .flat_map(|a| hellos("n2").into_iter().map(move |b| (a.clone(), b)))
        .filter_map(|(a, b)| {
            let agreement = verdict(&a, &b).ok()?;
            Some(format!(
                "{} {} - {} {}: {}",
                a.release,
                a.servers().phase,
                b.release,
                b.servers().phase,
                agreement.wire
            ))
        })
        .collect();
    let one_way = [
        "1.0.0 singleton - 1.0.0 singleton: v1",
        "1.0.0 singleton - 1.1.0 introduce: v1",
        "1.1.0 introduce - 1.0.0 singleton: v1",
        "1.1.0 introduce - 1.1.0 introduce: v2",
        "1.1.0 introduce - 1.2.0 introduce: v2",
        "1.1.0 introduce - 1.2.0 switch: v2",
        "1.2.0 introduce - 1.1.0 introduce: v2",
        "1.2.0 introduce - 1.2.0 introduce: v2",
        "1.2.0 introduce - 1.2.0 switch: v2",
        "1.2.0 switch - 1.1.0 introduce: v2",
        "1.2.0 switch - 1.2.0 introduce: v2",
        "1.2.0 switch - 1.2.0 switch: v2",
        "1.2.0 switch - 2.0.0 remove: v2",
        "2.0.0 remove - 1.2.0 switch: v2",
        "2.0.0 remove - 2.0.0 remove: v3",
    ];
    assert_eq!(allowed, one_way);
}

#[test]
fn a_refusal_names_both_releases_and_whether_it_is_final() {
    let [r10, r11, r12, r20] = profiles();
    let refusal = |p: &Profile, phase, q: &Profile| {
        *verdict(&hello("n1", p, phase), &hello("n2", q, q.server_stage().highest())).expect_err("an illegal pair")
    };
    let cases = [
        (refusal(&r10, Phase::Singleton, &r12), true, ["1.0.0", "1.2.0", "not neighbours"]),
        (refusal(&r11, Phase::Introduce, &r20), true, ["1.1.0", "2.0.0", "not neighbours"]),
        (refusal(&r12, Phase::Introduce, &r20), false, ["1.2.0", "2.0.0", "may be raised"]),
    ];
    for (refusal, is_final, parts) in cases {
        let text = refusal.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(refusal.is_final(), is_final, "{text}");
    }
}

#[test]
fn a_third_member_at_introduce_keeps_a_remover_out_by_name() {
    let [_, _, r12, r20] = profiles();
    let mut witness = hello("n1", &r12, Phase::Switch);
    witness.migrations[0].holdouts = vec![NodeName::new("n3").expect("a name")];
    let refusal = verdict(&hello("n2", &r20, Phase::Remove), &witness).expect_err("n3 is in the way");
    assert!(refusal.to_string().starts_with("old form still in use: n3 sends to the singleton, as n1"), "{refusal}");
    assert!(!refusal.is_final());
    assert!(verdict(&hello("n2", &r12, Phase::Switch), &witness).is_ok(), "who hosts it is let in");
}

#[test]
fn garbage_is_no_hello() {
    let mut good = BytesMut::new();
    hello("n1", &profiles()[0], Phase::Singleton).encode(&mut good);
    let good = &good[4..];
    for cut in 0..good.len() {
        assert!(Hello::decode(&good[..cut]).is_err(), "cut at {cut}");
    }
    assert!(matches!(Hello::decode(&[good, &[0]].concat()), Err(DecodeError::TrailingBytes { bytes: 1, .. })));
    assert!(Hello::decode(b"GET / HTTP/1.1\r\n").expect_err("http").to_string().contains("another protocol"));
    for (at, what) in [(0, "another kind"), (1, "another magic")] {
        let mut changed = good.to_vec();
        changed[at] ^= 1;
        assert!(Hello::decode(&changed).expect_err(what).to_string().contains("another protocol"), "{what}");
    }
}

/// What becomes of a hello on the wire, with so many holdouts whatever its sender may name.
fn sent(hello: &Hello, holdouts: usize) -> Result<Hello, DecodeError> {
    let (mut out, release, stop) = (BytesMut::new(), hello.release.to_string(), hello.stop.to_string());
    let mut layout = hello.layout(|_| vec!["n7"; holdouts]);
    (layout.release, layout.stop) = (&release, &stop);
    FrameWriter::open(&mut out, Kind::Hello as u8, crate::HELLO_BYTES_MAX).header(&layout);
    Hello::decode(&out[4..])
}

#[test]
fn a_hello_is_refused_one_beyond_its_bounds_and_not_at_them() {
    let good = hello("n1", &profiles()[1], Phase::Introduce);
    let field = |hello: Result<Hello, DecodeError>| match hello {
        Err(DecodeError::OutOfBounds { field, value, .. }) => Some((field, value)),
        other => {
            assert!(other.is_ok(), "{other:?}");
            None
        }
    };
    for (frame_bytes_max, found) in [(1_024, None), (1_023, Some(("frame_bytes_max", 1_023)))] {
        assert_eq!(field(sent(&Hello { frame_bytes_max, ..good.clone() }, 0)), found);
    }
    assert_eq!(field(sent(&good, 4)), None);
    assert_eq!(field(sent(&good, 5)), Some(("number of holdouts", 5)));
    let reversed = VersionRange::new(WireVersion::V2, WireVersion::V1);
    assert_eq!(field(sent(&Hello { wire: reversed, ..good.clone() }, 0)), Some(("oldest wire version", 2)));
    let with = |more: usize| {
        let other =
            |n| Standing { key: MigrationKey::new(format!("m{n}")).expect("a key"), ..good.migrations[0].clone() };
        let migrations = good.migrations.iter().cloned().chain((0..more).map(other)).collect();
        sent(&Hello { migrations, ..good.clone() }, 0)
    };
    assert_eq!(field(with(15)), None);
    assert_eq!(field(with(16)), Some(("number of migrations", 17)));
    let elsewhere = Hello { migrations: vec![Standing { takes: Forms::NEW, ..good.migrations[0].clone() }], ..good };
    assert_eq!(field(sent(&elsewhere, 0)), Some(("phase", 1)), "it says a form that it does not take");
}

#[test]
fn a_hello_that_no_node_could_say_is_refused_in_words() {
    let good = hello("n1", &profiles()[1], Phase::Introduce);
    let standing = |key: &'static str| Standing { key: MigrationKey::constant(key), ..good.migrations[0].clone() };
    let own = || good.migrations[0].clone();
    let cases = [
        (Hello { cluster: "My Cluster".into(), ..good.clone() }, "its cluster's name, of 10 bytes, is none"),
        (Hello { migrations: Vec::new(), ..good.clone() }, "its first migration is not rexi's own"),
        (Hello { migrations: vec![standing("a"), own()], ..good.clone() }, "its first migration is not rexi's own"),
        (
            Hello { migrations: vec![own(), standing("a"), standing("a")], ..good.clone() },
            "it names the migration a twice",
        ),
    ];
    for (hello, says) in cases {
        let refused = sent(&hello, 0).expect_err(says).to_string();
        assert!(refused.contains(says), "{refused}");
    }
    let mut out = BytesMut::new();
    let mut layout = good.layout(|_| Vec::new());
    (layout.functions, layout.release, layout.stop) = (vec!["g", "f"], "1.1.0", "1.1");
    FrameWriter::open(&mut out, Kind::Hello as u8, crate::HELLO_BYTES_MAX).header(&layout);
    let refused = Hello::decode(&out[4..]).expect_err("they number calls").to_string();
    assert!(refused.contains("its functions are not in the order of their names"), "{refused}");
}

#[test]
fn a_hello_names_as_many_holdouts_as_it_may() {
    let mut crowded = hello("n1", &profiles()[1], Phase::Introduce);
    crowded.migrations[0].holdouts = (0..40).map(|n| NodeName::new(format!("n{n}")).expect("a name")).collect();
    let mut bytes = BytesMut::new();
    crowded.encode(&mut bytes);
    let read = Hello::decode(&bytes[4..]).expect("it keeps to the bound");
    assert_eq!(read.migrations[0].holdouts, crowded.migrations[0].holdouts[..4]);
}

#[test]
fn a_refusal_names_the_two_in_the_order_of_their_names() {
    let [r10, _, r12, _] = profiles();
    let (a, b) = (hello("a", &r12, Phase::Switch), hello("b", &r10, Phase::Singleton));
    let said = "not neighbours: a (release 1.2.0, wire v2) and b (release 1.0.0, wire v1) are more than one release \
                apart";
    for refusal in [verdict(&a, &b), verdict(&b, &a)] {
        assert_eq!(refusal.expect_err("two releases apart").to_string(), said);
    }
}

#[test]
fn two_nodes_of_one_name_may_never_speak() {
    let node = hello("n1", &profiles()[1], Phase::Introduce);
    let refusal = verdict(&node, &node).expect_err("the same name");
    assert!(matches!(&*refusal, Refusal::SameName { first } if first.node == node.node), "{refusal}");
    assert!(refusal.is_final());
}

#[test]
fn a_remover_is_let_in_where_it_was_the_last_to_send_to_the_singleton() {
    let [_, _, r12, r20] = profiles();
    let mut witness = hello("n1", &r12, Phase::Switch);
    witness.migrations[0].holdouts = vec![NodeName::new("n2").expect("a name")];
    assert!(verdict(&hello("n2", &r20, Phase::Remove), &witness).is_ok(), "what is known of it is of the past");
    witness.migrations[0].holdouts.push(NodeName::new("n3").expect("a name"));
    assert!(verdict(&hello("n2", &r20, Phase::Remove), &witness).is_err());
}

const READS: Migration = Migration::of_functions("inventory.reads", "get", "get_with");

/// A train of five releases that nobody but this test has declared, all of one wire version.
fn inventory() -> Train {
    Train::new("inventory")
        .release("3.0", |r| r)
        .release("3.1", |r| r.introduce(READS))
        .release("3.2", |r| r.switch(READS))
        .release("3.3", |r| r.remove(READS))
        .release("3.4", |r| r)
}

/// A node that stands in that phase of the reads.
fn reads(name: &str, release: &str, phase: Phase) -> Hello {
    let mut hello = hello(name, &inventory().profile(release).expect("a release"), Phase::Remove);
    hello.migrations[1].phase = phase;
    hello
}

#[test]
fn of_a_train_of_five_releases_neighbours_alone_may_speak() {
    let releases = ["3.0", "3.1", "3.2", "3.3", "3.4"];
    let phase = |release: &str| match release {
        "3.0" => Phase::Singleton,
        "3.1" => Phase::Introduce,
        "3.2" => Phase::Switch,
        _ => Phase::Remove,
    };
    let spoken =
        |one: &str, other: &str| match verdict(&reads("n1", one, phase(one)), &reads("n2", other, phase(other))) {
            Ok(Agreement { wire: WireVersion::V3 }) => "speak",
            Err(refusal) if matches!(*refusal, Refusal::NotNeighbours { .. }) && refusal.is_final() => {
                let said = refusal.to_string();
                assert!([one, other].iter().all(|release| said.contains(&format!("release {release}.0"))), "{said}");
                "-"
            }
            other => panic!("{other:?}"),
        };
    let table: Vec<String> = releases.iter().map(|one| releases.map(|other| spoken(one, other)).join(" ")).collect();
    assert_eq!(
        table,
        [
            "speak speak - - -",
            "speak speak speak - -",
            "- speak speak speak -",
            "- - speak speak speak",
            "- - - speak speak",
        ]
    );
}

#[test]
fn a_service_that_switches_meets_no_node_that_has_removed_the_old_form_until_it_has() {
    let refusal = verdict(&reads("n1", "3.2", Phase::Introduce), &reads("n2", "3.3", Phase::Remove));
    let refusal = refusal.expect_err("n2 does not take it");
    let said = "form not taken: n1 (release 3.2.0, wire v3) is in phase introduce and says the old form of \
                inventory.reads, which n2 (release 3.3.0, wire v3) does not take; it may be raised";
    assert_eq!((refusal.to_string().as_str(), refusal.is_final()), (said, false));
    let mut witness = reads("n1", "3.2", Phase::Switch);
    witness.migrations[1].holdouts = vec![NodeName::new("n3").expect("a name")];
    let refusal = verdict(&witness, &reads("n2", "3.3", Phase::Remove)).expect_err("n3 is in the way");
    assert!(
        refusal.to_string().starts_with("old form still in use: n3 says the old form of inventory.reads, as n1"),
        "{refusal}"
    );
}

#[test]
fn a_migration_that_only_one_of_two_trains_has_is_old_to_the_earlier_release_and_done_in_the_later() {
    let without = |mut hello: Hello| {
        hello.migrations.truncate(1);
        hello
    };
    let speak = |one: &Hello, other: &Hello| verdict(one, other).is_ok();
    let [before, introduce] = [reads("n1", "3.0", Phase::Singleton), reads("n2", "3.1", Phase::Introduce)];
    assert!(speak(&without(before), &introduce), "a build of 3.0 from before the migration was thought of");
    let [remove, after] = [reads("n1", "3.3", Phase::Remove), reads("n2", "3.4", Phase::Remove)];
    assert!(speak(&remove, &without(after)), "a train that has let go of it");
    let eager = without(reads("n2", "3.3", Phase::Remove));
    let early = verdict(&reads("n1", "3.2", Phase::Introduce), &eager).expect_err("it is not done yet");
    assert!(matches!(*early, Refusal::NotTaken { .. }), "{early}");
}

#[test]
fn two_clusters_never_speak() {
    let [theirs, ours] = ["staging", "production"]
        .map(|cluster| Hello { cluster: cluster.into(), ..hello("n1", &profiles()[3], Phase::Remove) });
    let ours = Hello { node: NodeName::new("n2").expect("a name"), ..ours };
    let refusal = verdict(&ours, &theirs).expect_err("two clusters");
    assert!(refusal.is_final());
    let said = refusal.to_string();
    assert!(said.contains("of \"staging\"") && said.contains("of \"production\""), "{said}");
    assert_eq!(Err(refusal), verdict(&theirs, &ours));
}

#[test]
fn every_train_begins_with_rexis_own_migration() {
    for profile in inventory().profiles().expect("a train").iter().chain(&train().profiles().expect("a train")) {
        assert_eq!(hello("n1", profile, profile.server_stage().lowest()).servers().key, *SERVER_PER_NODE.key());
    }
}

#[test]
fn a_release_of_a_hello_is_as_long_as_a_trains_and_no_longer() {
    let of = |bytes: usize| {
        let release = format!("1.2.0-{}", "a".repeat(bytes - 6)).parse().expect("a version");
        let mut out = BytesMut::new();
        Hello { release, ..hello("n1", &profiles()[2], Phase::Switch) }.encode(&mut out);
        Hello::decode(&out[crate::LENGTH_BYTES..]).map(|hello| hello.release.to_string().len())
    };
    assert_eq!(of(255), Ok(255));
    assert!(matches!(of(256), Err(DecodeError::OutOfBounds { field: "bytes of the release", value: 256, .. })));
    assert!(of(15_000).is_err());
}
