//! Each check on a cluster that passes all of them, and on one that differs in a single thing.

use std::sync::Arc;

use rexi_proto::operate::{PeerLook, PhaseLook, SingletonLook, SourceLook};
use rexi_proto::record::{Answer, ClusterChange, ClusterRecord, Fence, Intent, Kept, Loss, SeenLife};
use rexi_proto::{Incarnation, SERVER_PER_NODE};

use super::*;
use crate::demo;
use crate::service::Service;

const R11: Release = Release(1, 1, 0);
const R12: Release = Release(1, 2, 0);
const R20: Release = Release(2, 0, 0);

fn name(of: &str) -> NodeName {
    NodeName::new(of).expect("a name")
}

fn train() -> UpgradePath {
    UpgradePath::of(&demo::train()).expect("a train")
}

fn intent(before: Option<&ClusterRecord>, change: ClusterChange) -> Intent {
    Intent {
        cluster: "demo".into(),
        epoch: before.map_or(1, |record| record.epoch + 1),
        attempt: 1,
        previous: before.map_or_else(Digest::default, ClusterRecord::digest),
        change,
        members: ["n1", "n2"].map(name).into(),
        lives: BTreeMap::new(),
        by: "alice".into(),
        at: 100,
    }
}

fn record(floor: Release, top: Release) -> Arc<ClusterRecord> {
    Arc::new(intent(None, ClusterChange::Begin { floor, top }).record(None).expect("it begins"))
}

/// A member that is as it should be.
fn look(of: &str, runs: Release, record: &Arc<ClusterRecord>) -> MemberLook {
    let life = SeenLife { incarnation: Incarnation(1), release: runs, build: Digest::of("a program") };
    let members: BTreeSet<NodeName> = ["n1", "n2"].map(name).into();
    let kept = Kept { record: Some(Arc::clone(record)), ..Kept::nothing(name(of)) };
    let highest = Phase::Introduce;
    let phase = PhaseLook { migration: SERVER_PER_NODE.key().clone(), phase: highest, highest, limit: None };
    let others = members.iter().filter(|other| other.as_str() != of).cloned();
    MemberLook {
        answer: Some(Answer { did: Ok(()), kept, life, members: members.clone() }),
        cluster: "demo".into(),
        life,
        version: Version::new(1, 1, 0),
        rexi: TOOL,
        stops: train().releases(),
        peers: others.map(|other| (other, PeerLook { is_connected: true, problem: None })).collect(),
        members,
        phases: vec![phase],
        singleton: Some(SingletonLook { queue: 0, jobs: 0, quiet_ms: 60_000 }),
        source: Some(SourceLook { problem: None, ceilings: [(SERVER_PER_NODE.key().clone(), highest)].into() }),
        jobs: 1,
        oldest_job_ms: Some(30_000),
        drain_limit_ms: 30_000,
        calls: 0,
        draining: false,
        unready: BTreeMap::new(),
        holds: BTreeMap::new(),
        disk_problem: None,
        certificate_expires: NOW + 8 * 86_400,
        clock: NOW * 1_000_000,
        pool_left: 20,
    }
}

const NOW: u64 = 1_000_000;
const TOOL: Version = Version::new(0, 1, 2);

/// The lock of a build of the demo.
fn lock() -> Lock {
    Service::new(train()).lock().expect("it has a schema")
}

/// Whose nodes ran this program, in each release.
fn verified(program: &str) -> Verified {
    let releases = [R11, R12, R20];
    Verified { releases: releases.into(), builds: releases.map(|stop| (stop, Digest::of(program))).into() }
}

fn settings() -> CheckSettings {
    CheckSettings {
        now: NOW,
        quiet: Duration::from_secs(60),
        soak: Duration::from_hours(24),
        build: None,
        verified: Ok(verified("a program")),
        locks: Some(Ok((lock(), lock()))),
        tool: TOOL,
    }
}

/// The check of that name, where n1 and n2 differ by `change` from what they should be.
fn found(check: &str, aim: &Aim, change: impl FnOnce(&mut [MemberLook; 2])) -> Check {
    found_by(check, aim, &settings(), change)
}

fn found_by(check: &str, aim: &Aim, settings: &CheckSettings, change: impl FnOnce(&mut [MemberLook; 2])) -> Check {
    let (floor, top) = match aim {
        Aim::Advance(R20) | Aim::Finalize(_) => (R12, R12),
        _ => (R11, R11),
    };
    let (floor, top) = if let Aim::Finalize(to) = aim { (floor, *to) } else { (floor, top) };
    let record = record(floor, top);
    let mut looks = ["n1", "n2"].map(|of| look(of, top, &record));
    change(&mut looks);
    let [n1, n2] = looks;
    let cluster = Cluster::new(BTreeMap::from([(name("n1"), Ok(n1)), (name("n2"), Ok(n2))]));
    let checks = preflight(&cluster, aim, &train(), settings);
    checks.into_iter().find(|found| found.name == check).expect("there is one")
}

fn kept(look: &mut MemberLook) -> &mut Kept {
    &mut look.answer.as_mut().expect("it keeps one").kept
}

#[test]
fn a_cluster_that_is_as_it_should_be_passes_every_check_that_applies() {
    let aims = [
        (Aim::Advance(R12), vec!["singleton-quiet"]),
        (Aim::Advance(R20), vec![]),
        (Aim::Finalize(R20), vec!["functions-kept", "may-stop", "drain-fits"]),
    ];
    for (aim, skipped) in aims {
        for (check, _) in NAMES {
            let wanted = if skipped.contains(&check) { Found::Skipped } else { Found::Pass };
            let found = found(check, &aim, |_| ());
            assert_eq!(found.found, wanted, "{aim:?}: {found:?}");
        }
    }
}

#[test]
fn each_check_fails_for_its_own_reason_and_says_of_whom_and_what_to_do() {
    let (next, last) = (Aim::Advance(R12), Aim::Finalize(R20));
    let fails = |check: &str, aim: &Aim, change: &dyn Fn(&mut [MemberLook; 2]), says: &str| {
        let found = found(check, aim, change);
        assert_eq!(found.found, Found::Fail, "{found:?}");
        assert!(found.seen.contains(says) && !found.todo.is_empty(), "{found:?}");
    };
    let longer = |looks: &mut [MemberLook; 2]| looks[1].members = ["n1", "n2", "n3"].map(name).into();
    fails("members-agree", &next, &longer, "n1 lists n1 n2");
    fails("one-cluster", &next, &|looks| looks[1].cluster = "shop".into(), "demo, shop");
    fails("one-cluster", &next, &|looks| kept(&mut looks[1]).record = Some(record(R11, R12)), "began apart");
    fails("operable", &next, &|looks| looks[1].answer = None, "n2 keeps no record");
    fails("operable", &next, &|looks| looks[1].life.release = Release(9, 0, 0), "n2 runs 9.0, unknown to this tool");
    fails("epochs-agree", &next, &|looks| kept(&mut looks[1]).record = None, "n2 has none");
    let say_yes = |looks: &mut [MemberLook; 2]| {
        let before = kept(&mut looks[0]).record.clone();
        kept(&mut looks[0]).vote = Some(Arc::new(intent(before.as_deref(), ClusterChange::Open { top: R12 })));
    };
    fails("no-transition-open", &next, &say_yes, "alice asked to let release 1.2 in");
    let fence = |looks: &mut [MemberLook; 2]| {
        let (nodes, others) = ([name("n2")].into(), [name("n1")].into());
        let fence = Fence { nodes, loss: Loss::Destroyed, others, by: "bob".into(), at: 1 };
        kept(&mut looks[0]).fence = Some(Arc::new(fence));
    };
    fails("no-transition-open", &next, &fence, "bob asked to forget n2");
    let down = |looks: &mut [MemberLook; 2]| {
        let gone = PeerLook { is_connected: false, problem: Some("it is gone".to_owned()) };
        looks[1].peers.insert(name("n1"), gone);
    };
    fails("connected-both-ways", &next, &down, "n2 to n1: it is gone");
    fails("floor-durable", &next, &|looks| looks[0].disk_problem = Some("it is full".into()), "n1: it is full");
    fails("floor-durable", &next, &|looks| kept(&mut looks[0]).anew = Some(4), "came new at epoch 4");
    fails("within-window", &next, &|looks| looks[0].life.release = R12, "n1 runs 1.2");
    fails("within-window", &last, &|looks| looks[0].life.release = R12, "n1 runs 1.2");
    fails("next-release", &Aim::Advance(Release(1, 0, 0)), &|_| (), "1.0 does not follow 1.1");
    let held = |looks: &mut [MemberLook; 2]| looks[1].phases[0].limit = Some("a brake".to_owned());
    fails("phase-settled", &next, &held, "n2 is in introduce of rexi.server-per-node: a brake");
    let busy = |looks: &mut [MemberLook; 2]| looks[1].singleton.as_mut().expect("one").quiet_ms = 59_999;
    fails("singleton-quiet", &last, &busy, "n2: quiet for 59 s");
    let queued = |looks: &mut [MemberLook; 2]| looks[1].singleton.as_mut().expect("one").queue = 1;
    fails("singleton-quiet", &last, &queued, "1 wait");
    fails("builds-known", &next, &|looks| looks[1].life.build = Digest::of("another"), "1.1 runs as 2 builds");
    fails("certificates", &next, &|looks| looks[1].certificate_expires -= 1, "n2: at 1970-01-20T13:46:39Z");
    fails("clocks", &next, &|looks| looks[1].clock += 1_000_001, "1000 ms apart");
    fails("room", &next, &|looks| looks[1].pool_left = 19, "n2: 19 % are left");
    let newer = |looks: &mut [MemberLook; 2]| looks[1].rexi = Version::new(0, 1, 3);
    fails("tool-version", &next, &newer, "n2 has rexi 0.1.3, this tool 0.1.2");
    let held = |looks: &mut [MemberLook; 2]| drop(looks[1].holds.insert("quorum".into(), "1 of 3 is left".into()));
    fails("may-stop", &next, &held, "n2 should not stop: quorum: 1 of 3 is left");
    let old = |looks: &mut [MemberLook; 2]| looks[1].oldest_job_ms = Some(30_100);
    fails("drain-fits", &next, &old, "n2: a job has run for 30.1 s, and is given 30.0 s");
    let source = |look: &mut MemberLook, change: &dyn Fn(&mut SourceLook)| change(look.source.as_mut().expect("one"));
    let silent = |looks: &mut [MemberLook; 2]| source(&mut looks[1], &|source| source.problem = Some("no file".into()));
    fails("flag-source", &Aim::Raise(BTreeMap::new()), &silent, "n2 does not follow it: no file");
    let low = |looks: &mut [MemberLook; 2]| {
        let low = BTreeMap::from([(SERVER_PER_NODE.key().clone(), Phase::Singleton)]);
        source(&mut looks[1], &|source| source.ceilings = low.clone());
    };
    fails("flag-source", &last, &low, "n2 is held in singleton of rexi.server-per-node");
    let raise = |to| Aim::Raise([(SERVER_PER_NODE.key().clone(), to)].into());
    fails("flag-source", &raise(Phase::Switch), &low, "n2 is held in singleton");
    assert_eq!(found("flag-source", &raise(Phase::Singleton), low).found, Found::Pass, "no more is wanted");
}

#[test]
fn what_cannot_be_told_is_a_result_of_its_own() {
    let cluster = Cluster::new(BTreeMap::from([
        (name("n1"), Ok(look("n1", R11, &record(R11, R11)))),
        (name("n2"), Err("nobody answers there".to_owned())),
    ]));
    let checks = preflight(&cluster, &Aim::Advance(R12), &train(), &settings());
    assert_eq!((checks[0].found, &*checks[0].seen), (Found::Unknown, "n2: nobody answers there"));
    let unverified = CheckSettings { verified: Err("no report was given".to_owned()), ..settings() };
    let found = found_by("verified-mix", &Aim::Advance(R12), &unverified, |_| ());
    assert_eq!((found.found, &*found.seen), (Found::Unknown, "no report was given"));
    let elsewhere = CheckSettings { verified: Ok(Verified { releases: [R11].into(), ..verified("") }), ..settings() };
    assert_eq!(found_by("verified-mix", &Aim::Advance(R12), &elsewhere, |_| ()).found, Found::Fail);
    let strange = found_by("next-release", &Aim::Advance(Release(7, 0, 0)), &settings(), |_| ());
    assert_eq!((strange.found, &*strange.seen), (Found::Unknown, "this tool's train does not have 7.0"));
}

#[test]
fn a_mix_was_verified_where_the_builds_that_run_or_are_named_were() {
    let next = Aim::Advance(R12);
    let by = |verified: Verified, build: Option<&str>, change: &dyn Fn(&mut [MemberLook; 2])| {
        let settings = CheckSettings { verified: Ok(verified), build: build.map(Digest::of), ..settings() };
        let found = found_by("verified-mix", &next, &settings, change);
        (found.found, found.seen)
    };
    assert_eq!(by(verified("a program"), Some("a program"), &|_| ()).0, Found::Pass);
    let (other, seen) = by(verified("another"), None, &|_| ());
    assert!(other == Found::Fail && seen.starts_with("n1 has ") && seen.contains(" of 1.1, verified is "), "{seen}");
    let (named, seen) = by(verified("a program"), Some("another"), &|_| ());
    assert!(named == Found::Fail && seen.starts_with("--build has ") && seen.contains(" of 1.2"), "{seen}");
    let unnamed = Verified { builds: BTreeMap::new(), ..verified("") };
    assert_eq!(by(unnamed, None, &|_| ()), (Found::Unknown, "it does not say which build of 1.1 it ran".to_owned()));
    let unread = |looks: &mut [MemberLook; 2]| looks[1].life.build = Digest::default();
    let (unknown, seen) = by(verified("a program"), None, &unread);
    assert_eq!((unknown, &*seen), (Found::Unknown, "n2 could not read its own program"));
}

#[test]
fn locks_are_compared_and_have_to_be_those_of_the_two_releases() {
    let by = |aim: &Aim, locks: Option<Result<(Lock, Lock), String>>| {
        let settings = CheckSettings { locks, ..settings() };
        let found = found_by("functions-kept", aim, &settings, |_| ());
        (found.found, found.seen)
    };
    let next = Aim::Advance(R12);
    let mut broken = lock();
    let frames = broken.versions.get_mut("v2").expect("the demo speaks it");
    frames.pop_first().expect("it has messages");
    let (found, seen) = by(&next, Some(Ok((lock(), broken))));
    assert!(found == Found::Fail && seen.contains("BREAK") && seen.contains("v2"), "{seen}");
    assert_eq!(by(&next, None), (Found::Skipped, "no locks were given: --locks".to_owned()));
    assert_eq!(by(&next, Some(Err("no lock".to_owned()))), (Found::Unknown, "no lock".to_owned()));
    let mut elsewhere = lock();
    elsewhere.train.as_mut().expect("a train").releases.retain(|of| of.release != R12);
    let (found, seen) = by(&next, Some(Ok((lock(), elsewhere))));
    assert_eq!((found, &*seen), (Found::Unknown, "the lock for 1.2 does not have it"));
}

#[test]
fn who_runs_the_release_already_is_not_stopped_for_it() {
    let upgraded = |looks: &mut [MemberLook; 2]| {
        looks[1].life.release = R12;
        (looks[1].oldest_job_ms, looks[1].drain_limit_ms) = (Some(2), 1);
        looks[1].holds.insert("quorum".into(), "no".into());
    };
    let all = |looks: &mut [MemberLook; 2]| looks.iter_mut().for_each(|look| look.life.release = R12);
    for check in ["may-stop", "drain-fits"] {
        assert_eq!(found(check, &Aim::Advance(R12), upgraded).found, Found::Pass, "{check}");
        let none = found(check, &Aim::Advance(R12), all);
        assert_eq!((none.found, &*none.seen), (Found::Skipped, "all run 1.2 already"));
        let raised = found(check, &Aim::Raise(BTreeMap::new()), |_| ());
        assert_eq!((raised.found, &*raised.seen), (Found::Skipped, "no restart is needed for it"));
    }
    let without = |looks: &mut [MemberLook; 2]| looks.iter_mut().for_each(|look| look.source = None);
    let none = found("flag-source", &Aim::Advance(R12), without);
    assert_eq!((none.found, &*none.seen), (Found::Pass, "no member has one"));
}

#[test]
fn the_build_that_is_finalized_is_the_one_that_was_named() {
    let named = |text: &str| CheckSettings { build: Some(Digest::of(text)), ..settings() };
    let by = |text: &str| found_by("builds-known", &Aim::Finalize(R20), &named(text), |_| ()).found;
    assert_eq!((by("a program"), by("another")), (Found::Pass, Found::Fail));
}

#[test]
fn a_first_record_needs_no_connections_and_releases_that_follow_each_other() {
    let begin = |change: &dyn Fn(&mut [MemberLook; 2])| {
        let mut looks = ["n1", "n2"].map(|of| look(of, R11, &record(R11, R11)));
        looks.iter_mut().for_each(|look| kept(look).record = None);
        change(&mut looks);
        let [n1, n2] = looks;
        let cluster = Cluster::new(BTreeMap::from([(name("n1"), Ok(n1)), (name("n2"), Ok(n2))]));
        let checks = preflight(&cluster, &Aim::Begin, &train(), &settings());
        checks.into_iter().filter(|check| check.found == Found::Fail).map(|check| check.name).collect::<Vec<_>>()
    };
    let away = |looks: &mut [MemberLook; 2]| {
        looks.iter_mut().flat_map(|look| look.peers.values_mut()).for_each(|peer| peer.is_connected = false);
    };
    assert!(begin(&away).is_empty(), "they wait for a record before they meet");
    assert!(begin(&|looks| looks[1].life.release = R12).is_empty());
    assert_eq!(begin(&|looks| looks[1].life.release = R20), ["next-release"]);
}

#[test]
fn what_nobody_may_pass_over_is_said() {
    let names: BTreeSet<&str> = NAMES.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), NAMES.len(), "each once");
    assert_eq!(
        (may_be_ignored("clocks"), may_be_ignored("epochs-agree"), may_be_ignored("x")),
        (Some(true), Some(false), None)
    );
}
