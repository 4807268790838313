//! What the record of a cluster does to a node's handshakes and phases.

use super::*;
use crate::record::{Apart, Bar, Brake, ClusterChange, ClusterRecord, Digest, Intent, RecordWord};

const R10: Release = Release(1, 0, 0);
const R11: Release = Release(1, 1, 0);
const R12: Release = Release(1, 2, 0);

fn begun(floor: Release, top: Release) -> Arc<ClusterRecord> {
    after(None, ClusterChange::Begin { floor, top }, &["n1", "n2", "n3"])
}

fn after(before: Option<&ClusterRecord>, change: ClusterChange, members: &[&str]) -> Arc<ClusterRecord> {
    let (epoch, previous) = before.map_or((0, Digest::default()), |record| (record.epoch, record.digest()));
    let intent = Intent {
        cluster: "shop".into(),
        epoch: epoch + 1,
        attempt: 1,
        previous,
        change,
        members: members.iter().copied().map(name).collect(),
        lives: BTreeMap::new(),
        by: "alice".into(),
        at: 0,
    };
    Arc::new(intent.record(before).expect("it follows"))
}

fn kept(node: &str, record: Option<&Arc<ClusterRecord>>) -> Arc<Kept> {
    Arc::new(Kept { record: record.cloned(), ..Kept::nothing(name(node)) })
}

/// n1 at a release of the train, with that record.
fn keeping(release: usize, record: Option<&Arc<ClusterRecord>>) -> Rollout {
    let mut rollout = rollout(release);
    rollout.set_kept(kept("n1", record));
    rollout
}

/// The hello of n2 at a release of the train, with that record.
fn of_n2(release: usize, phase: Phase, record: Option<&Arc<ClusterRecord>>) -> Hello {
    Hello { record: kept("n2", record).word(), ..hello("n2", release, phase, 1, 0) }
}

#[test]
fn who_is_behind_is_told_so_and_nothing_that_it_says_counts_before_it_has_the_record() {
    let first = begun(R11, R12);
    let second = after(Some(&first), ClusterChange::Finalize { floor: R12 }, &["n1", "n2", "n3"]);
    let behind = |record| of_n2(2, Phase::Switch, record);
    let mut ahead = keeping(2, Some(&second));
    for record in [None, Some(&first)] {
        assert_eq!(greet(&mut ahead, &behind(record)), Err(HandshakeError::TheyAreBehind(name("n2"))));
    }
    assert_eq!(ahead.last_met(&name("n2")), None, "it has not been met");
    for record in [None, Some(&first)] {
        let mut rollout = keeping(2, record);
        assert_eq!(greet(&mut rollout, &behind(Some(&second))), Err(HandshakeError::WeAreBehind(name("n2"))));
    }
    greet(&mut ahead, &behind(Some(&second))).expect("both have the same");
}

#[test]
fn a_release_that_the_record_does_not_let_run_is_refused_by_name() {
    let second = after(Some(&begun(R10, R11)), ClusterChange::Finalize { floor: R11 }, &["n1", "n2", "n3"]);
    let mut rollout = keeping(1, Some(&second));
    let of = |release, record| of_n2(release, Phase::Introduce, record);
    let bar = Bar::BelowFloor { release: R10, floor: R11, top: R11, epoch: 2 };
    for record in [None, Some(&second)] {
        let theirs = Hello { migrations: hello("n2", 0, Phase::Singleton, 1, 0).migrations, ..of(0, record) };
        assert_eq!(greet(&mut rollout, &theirs), Err(HandshakeError::Apart(Apart::Barred(bar.clone()))));
    }
    let bar = Bar::AboveTop { release: R12, floor: R11, top: R11, epoch: 2 };
    let unkept = Hello { record: RecordWord::Unkept, ..of(2, None) };
    for theirs in [of(2, Some(&second)), unkept] {
        let refused = greet(&mut rollout, &theirs);
        assert_eq!(refused, Err(HandshakeError::Apart(Apart::Barred(bar.clone()))));
        let told = refused.expect_err("it is refused").to_string();
        assert!(told.contains("1.2 was not announced") && told.contains("live advance --to 1.2"), "{told}");
    }
}

#[test]
fn a_member_that_keeps_no_record_is_judged_by_its_release_and_by_whether_it_was_forgotten() {
    let first = begun(R11, R12);
    let unkept = Hello { record: RecordWord::Unkept, ..of_n2(1, Phase::Introduce, None) };
    greet(&mut keeping(1, Some(&first)), &unkept).expect("its release may run");
    let forget = ClusterChange::Forget { nodes: [name("n2")].into(), loss: crate::record::Loss::Destroyed };
    let second = after(Some(&first), forget, &["n1", "n3"]);
    let refused = greet(&mut keeping(1, Some(&second)), &unkept);
    assert!(matches!(refused, Err(HandshakeError::Apart(Apart::Forgotten { .. }))), "{refused:?}");
    greet(&mut rollout(1), &of_n2(1, Phase::Introduce, Some(&first))).expect("what keeps none asks for none");
}

#[test]
fn two_without_a_record_serve_each_other_only_where_they_are_told_to() {
    let theirs = of_n2(1, Phase::Introduce, None);
    assert_eq!(greet(&mut keeping(1, None), &theirs), Err(HandshakeError::NoRecord(name("n2"))));
    let mut told = keeping(1, None).without_record();
    greet(&mut told, &theirs).expect("it serves without one");
    assert!(told.has_record() && !keeping(1, None).has_record() && rollout(1).has_record());
    let known = greet(&mut told, &of_n2(1, Phase::Introduce, Some(&begun(R11, R11))));
    assert_eq!(known, Err(HandshakeError::WeAreBehind(name("n2"))), "there is one, so it takes that");
}

#[test]
fn two_clusters_of_one_name_and_two_records_of_one_epoch_are_told_apart() {
    let (ours, theirs) = (begun(R11, R12), begun(R11, R11));
    let refused = greet(&mut keeping(1, Some(&ours)), &of_n2(1, Phase::Introduce, Some(&theirs)));
    assert!(matches!(refused, Err(HandshakeError::Apart(Apart::OtherCluster { .. }))), "{refused:?}");
    let cap = |phase| ClusterChange::Cap([(SERVER_PER_NODE.key().clone(), phase)].into());
    let [one, other] =
        [Phase::Introduce, Phase::Switch].map(|phase| after(Some(&ours), cap(phase), &["n1", "n2", "n3"]));
    let refused = greet(&mut keeping(1, Some(&one)), &of_n2(1, Phase::Introduce, Some(&other)));
    assert!(matches!(refused, Err(HandshakeError::Apart(Apart::Fork { epoch: 2, .. }))), "{refused:?}");
}

#[test]
fn the_record_that_has_moved_since_our_hello_is_said_again_first() {
    let first = begun(R11, R12);
    let mut rollout = keeping(2, None);
    let ours = rollout.hello(Incarnation(9), &story::functions(), &Limits::default());
    rollout.set_kept(kept("n1", Some(&first)));
    let said = rollout.handle_hello(&ours, &of_n2(2, Phase::Switch, Some(&first)), CLOCK);
    assert_eq!(said, Err(HandshakeError::RecordMoved));
}

#[test]
fn the_record_and_the_brakes_limit_the_phase_and_what_lifts_them_lets_it_rise_again() {
    let mut rollout = raised();
    let brake = |phase| {
        let ceilings = [(SERVER_PER_NODE.key().clone(), phase)].into();
        let brakes = [(name("n3"), Brake { number: 1, ceilings, by: "alice".into(), at: 0 })].into();
        Arc::new(Kept { brakes, ..(*kept("n1", Some(&begun(R11, R12)))).clone() })
    };
    rollout.set_kept(brake(Phase::Introduce));
    assert_eq!((rollout.server_phase(), limit(&rollout)), (Phase::Introduce, LimitingFactor::Record(Phase::Introduce)));
    rollout.set_kept(brake(Phase::Singleton));
    assert_eq!(rollout.server_phase(), Phase::Introduce, "no lower than the release goes");
    rollout.set_kept(kept("n1", Some(&begun(R11, R12))));
    assert_eq!(rollout.server_phase(), Phase::Switch);
}

#[test]
fn a_brake_does_not_lower_to_what_a_member_has_removed() {
    let mut rollout = raised();
    greet(&mut rollout, &hello("n3", 3, Phase::Remove, 2, 0)).expect("legal");
    let ceilings: BTreeMap<_, _> = [(SERVER_PER_NODE.key().clone(), Phase::Introduce)].into();
    let brakes = [(name("n3"), Brake { number: 1, ceilings, by: "alice".into(), at: 0 })].into();
    rollout.set_kept(Arc::new(Kept { brakes, ..(*kept("n1", None)).clone() }));
    assert_eq!(rollout.server_phase(), Phase::Switch);
}

#[test]
fn a_connected_member_is_judged_again_when_the_record_moves() {
    let first = begun(R10, R11);
    let mut rollout = keeping(1, Some(&first));
    let theirs = Hello { record: RecordWord::Known(first_words(&first)), ..hello("n2", 0, Phase::Singleton, 1, 0) };
    greet(&mut rollout, &theirs).expect("its release may run");
    assert_eq!(rollout.may_speak_to(&name("n2")), Ok(()));
    let second = after(Some(&first), ClusterChange::Finalize { floor: R11 }, &["n1", "n2", "n3"]);
    rollout.set_kept(kept("n1", Some(&second)));
    assert!(matches!(rollout.may_speak_to(&name("n2")), Err(Apart::Barred(Bar::BelowFloor { .. }))));
    assert_eq!(rollout.may_speak_to(&name("n3")), Ok(()), "it was not met");
}

#[test]
fn all_run_a_release_once_each_has_said_so() {
    let mut rollout = rollout(1);
    greet(&mut rollout, &hello("n2", 1, Phase::Introduce, 1, 0)).expect("legal");
    assert!(!rollout.all_run(R11), "n3 is not known");
    greet(&mut rollout, &hello("n3", 0, Phase::Singleton, 1, 0)).expect("legal");
    assert!(!rollout.all_run(R11), "n3 is behind");
    greet(&mut rollout, &hello("n3", 1, Phase::Introduce, 2, 0)).expect("legal");
    assert!(rollout.all_run(R11) && !rollout.all_run(R10) && !rollout.all_run(R12));
}

fn first_words(record: &Arc<ClusterRecord>) -> crate::record::Words {
    kept("n2", Some(record)).words().expect("it has one")
}
