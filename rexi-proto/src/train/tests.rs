//! Tests of trains: those that build, and each rule that refuses one.

use super::*;
use crate::phase::Servers;

const READS: Migration = Migration::of_functions("inventory.reads", "get", "get_with");
const WRITES: Migration = Migration::of_functions("inventory.writes", "put", "put_with");
const V1: WireVersion = WireVersion::V1;
const V2: WireVersion = WireVersion::V2;
const V3: WireVersion = WireVersion::V3;

/// What a train says of itself, a row for each release.
fn rows(train: &Train) -> Vec<String> {
    let row = |p: &Profile| {
        let stages: Vec<String> = p.migrations().map(|(migration, stage)| format!("{migration} {stage}")).collect();
        let follows = p.follows().map_or("nothing".to_owned(), |follows| follows.to_string());
        format!("{} follows {follows}, {}, {}", p.stop(), p.wire(), stages.join(", "))
    };
    train.profiles().expect("a train").iter().map(row).collect()
}

fn refused(train: &Train) -> String {
    let error = train.check().expect_err("refused");
    assert_eq!(train.profile("1.0"), Err(error.clone()), "no node is built of it");
    error.to_string()
}

#[test]
fn a_service_with_one_release_has_no_singleton_and_speaks_the_newest_wire() {
    let train = Train::new("inventory").release("1.0", |r| r);
    assert_eq!(rows(&train), ["1.0 follows nothing, v3, rexi.server-per-node remove"]);
    assert_eq!(train.profile("1.0").map(|profile| profile.hosts()), Ok(Servers::PER_NODE));
}

#[test]
fn a_release_goes_on_as_the_one_before_it_where_it_says_nothing() {
    let train = Train::new("inventory")
        .release("3.0", |r| r)
        .release("3.1", |r| r.introduce(READS))
        .release("3.2", |r| r.switch(READS))
        .release("3.3", |r| r.remove(READS).introduce(WRITES))
        .release("4.0", |r| r);
    let own = "rexi.server-per-node remove";
    assert_eq!(
        rows(&train),
        [
            format!("3.0 follows nothing, v3, {own}, inventory.reads absent, inventory.writes absent"),
            format!("3.1 follows 3.0, v3, {own}, inventory.reads introduce, inventory.writes absent"),
            format!("3.2 follows 3.1, v3, {own}, inventory.reads switch, inventory.writes absent"),
            format!("3.3 follows 3.2, v3, {own}, inventory.reads remove, inventory.writes introduce"),
            format!("4.0 follows 3.3, v3, {own}, inventory.reads remove, inventory.writes introduce"),
        ]
    );
}

#[test]
fn rexis_own_migration_is_declared_as_any_other() {
    let train = Train::new("story")
        .release("1.0", |r| r.wire(V1))
        .release("1.1", |r| r.wire(V1..=V2).introduce(SERVER_PER_NODE))
        .release("1.2", |r| r.wire(V2).switch(SERVER_PER_NODE))
        .release("2.0", |r| r.wire(V2..=V3).remove(SERVER_PER_NODE));
    let hosts: Vec<Servers> = train.profiles().expect("a train").iter().map(Profile::hosts).collect();
    assert_eq!(hosts, [Servers::SINGLETON, Servers::BOTH, Servers::BOTH, Servers::PER_NODE]);
}

#[test]
fn a_train_may_begin_where_a_migration_is_under_way() {
    let train = Train::new("inventory").release("3.2", |r| r.switch(READS)).release("3.3", |r| r.remove(READS));
    assert_eq!(rows(&train)[0], "3.2 follows nothing, v3, rexi.server-per-node remove, inventory.reads switch");
}

#[test]
fn the_only_migration_that_goes_on_is_the_one_that_is_meant_where_none_is_named() {
    let only = |train: Train| {
        let profiles = train.profiles().expect("a train");
        assert_eq!(profiles[0].stops().len(), profiles.len());
        profiles[0].only_migration().map(Migration::to_string)
    };
    let one = Train::new("inventory").release("1.0", |r| r);
    let (own, reads) = (Some("rexi.server-per-node".to_owned()), Some("inventory.reads".to_owned()));
    assert_eq!(only(one.clone()), own, "it goes on in none");
    let reading = one.release("1.1", |r| r.introduce(READS));
    assert_eq!(only(reading.clone()), reads);
    assert_eq!(only(reading.release("1.2", |r| r.introduce(WRITES))), None, "it goes on in two");
}

#[test]
fn a_patch_is_a_node_of_its_release() {
    let train = Train::new("inventory").release("3.0", |r| r).release("3.1", |r| r);
    let profile = train.profile("3.1.4").expect("a patch");
    assert_eq!(
        (profile.release().to_string(), profile.stop(), profile.follows()),
        ("3.1.4".to_owned(), Release(3, 1, 0), Some(Release(3, 0, 0)))
    );
    assert_eq!(train.profile("3.1").map(|profile| profile.release().to_string()), Ok("3.1.0".to_owned()));
    assert_eq!(train.profile("3.1.0-rc.1").map(|profile| profile.stop()), Ok(Release(3, 1, 0)));
    for (unknown, said) in [("3.2", "3.2"), ("soon", "soon"), ("", "")] {
        let error = train.profile(unknown).expect_err(unknown).to_string();
        assert_eq!(error, format!("the train inventory has no release {said}: it has 3.0, 3.1"));
    }
    assert!(train.profile(&format!("3.1.0+{}", "a".repeat(250))).is_err(), "its text would not fit a hello");
    let later = Train::new("inventory").release("3.1.2", |r| r);
    assert!(later.profile("3.1.1").is_err(), "what was before the train began is none of it");
}

#[test]
fn a_train_that_contradicts_itself_names_the_release_and_the_rule() {
    let train = || Train::new("inventory");
    let row = |accepted, emitted, silent_since, retired_in| FunctionRow {
        name: "f".into(),
        accepted_since: accepted,
        emitted_since: emitted,
        silent_since,
        retired_in,
    };
    let (r10, r11, r12) = (Release(1, 0, 0), Release(1, 1, 0), Release(1, 2, 0));
    let two = || train().release("1.0", |r| r).release("1.1", |r| r);
    let cases = [
        (Train::new("My Service").release("1.0", |r| r), "\"My Service\" is not a train's name"),
        (train(), "the train inventory has no release"),
        (
            (0..17).fold(train(), |train, minor| train.release(&format!("1.{minor}"), |r| r)),
            "has 17 releases, allowed are 16",
        ),
        (train().release("one", |r| r), "\"one\" is not a release"),
        (train().release("1.1", |r| r).release("1.0", |r| r), "release 1.0 stands behind 1.1"),
        (train().release("1.1", |r| r).release("1.1.1", |r| r), "release 1.1.1 stands behind 1.1"),
        (train().release("1.0", |r| r.wire(V3..=V2)), "release 1.0: v3..v2 is not a range"),
        (train().release("1.0", |r| r.wire(V2..=WireVersion(4))), "release 1.0: v2..v4 is not a range"),
        (train().release("1.0", |r| r.wire(V2)).release("1.1", |r| r.wire(V3)), "they share no wire version"),
        (train().release("1.0", |r| r.wire(V1).remove(SERVER_PER_NODE)), "runs the per-node server, which wire v1"),
        (
            train().release("1.0", |r| r.wire(V1..=V2).switch(SERVER_PER_NODE)),
            "runs the per-node server, which wire v1",
        ),
        (train().release("1.0", |r| r.wire(V2..=V3).introduce(SERVER_PER_NODE)), "runs the singleton, which wire v3"),
        (
            train().release("1.0", |r| r).release("1.1", |r| r.switch(READS)),
            "release 1.1 may not switch inventory.reads: 1.0 before it does not have it",
        ),
        (
            train().release("1.0", |r| r.introduce(READS)).release("1.1", |r| r.remove(READS)),
            "1.0 before it introduces it",
        ),
        (
            train().release("1.0", |r| r.switch(READS)).release("1.1", |r| r.introduce(READS)),
            "1.0 before it switches it",
        ),
        (train().release("1.0", |r| r.introduce(READS).switch(READS)), "release 1.0 says twice how far"),
        (
            train()
                .release("1.0", |r| r.introduce(READS))
                .release("1.1", |r| r.introduce(Migration::of_functions("inventory.reads", "get", "get_once"))),
            "release 1.1: two migrations of the train bear the key inventory.reads",
        ),
        (
            train().release("1.0", |r| r.introduce(READS).introduce(Migration::of_functions("x", "get_with", "get_2"))),
            "both concern the function \"get_with\"",
        ),
        (
            two().function(row(r10, r10, None, None)).function(row(r10, r10, None, None)),
            "function \"f\": it is declared twice",
        ),
        (two().function(row(r11, r10, None, None)), "asked for since 1.0 and taken since 1.1"),
        (two().function(row(r10, r10, None, Some(r11))), "it is retired in 1.1 and silent in no release before"),
        (two().release("1.3", |r| r).function(row(r10, r12, None, None)), "its row names 1.2, which the train"),
    ];
    for (train, says) in cases {
        let error = refused(&train);
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    }
    let released = two()
        .function(row(r10, r11, None, None))
        .function(FunctionRow { name: "g".into(), ..row(Release(0, 3, 0), r12, None, None) });
    assert_eq!(released.check(), Ok(()), "rows may begin before the train and end behind it");
}
