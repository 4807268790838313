//! For each reason to refuse a lock, a change that is refused for it alone, and similar changes that are allowed.

use rexi_proto::{Release, Train};

use super::super::relock::Frozen;
use super::*;

/// Declares the locks of each reason, once. A reason without any does not compile.
macro_rules! planted {
    ($($why:ident => $locks:expr,)+) => {
        const REASONS: &[Frozen] = &[$(Frozen::$why,)+];

        fn planted(why: Frozen) -> [Lock; 2] {
            match why { $(Frozen::$why => $locks,)+ }
        }
    };
}

planted! {
    Hello => [Type::U32, Type::U64].map(|of| Lock { hello: Some(Layout::of(of)), ..Lock::empty() }),
    VersionGone => [versions(&["v1", "v2"]), versions(&["v1"])],
    Frame => [framed(Layout::of(Type::U32)), framed(Layout::of(Type::U64))],
    NewFrameSent => [versions(&["v1"]), with_new_frame(true)],
    FunctionGone => [with(get()), Lock::empty()],
    FunctionRow => [with(get()), with(FunctionLock { emitted_since: Release(1, 1, 0), ..get() })],
    FunctionRetired => [with(retired("1.2.0")), with(retired("1.3.0"))],
    FunctionSilent => [with(silent(Release(1, 1, 0))), with(silent(Release(1, 2, 0)))],
    FunctionMissed => [with(get()), with(FunctionLock { silent_since: None, ..retired("1.2.0") })],
    TrainGone => [of_train(&["3.0"]), Lock::empty()],
    TrainRenamed => [of_train(&["3.0"]), renamed(of_train(&["3.0"]))],
    Release => [of_train(&["3.0"]), of_other_wire(of_train(&["3.0"]))],
    ReleaseGone => [of_train(&["3.0", "3.1"]), of_train(&["3.0"])],
    ReleaseCame => [of_train(&["3.0", "3.2"]), of_train(&["3.0", "3.1", "3.2"])],
    FunctionAnswers => [with(get()), with(FunctionLock { answer: AnswerType::Items(Type::U32), ..get() })],
    FunctionTypes => [with(get()), with(FunctionLock { argument: Type::I32, ..get() })],
}

fn get() -> FunctionLock {
    function(Type::U32, AnswerType::Reply(Type::U32), Type::Unit)
}

fn retired(release: &str) -> FunctionLock {
    let retired_in = Some(release.parse().expect("a release"));
    FunctionLock { silent_since: Some(Release(1, 1, 0)), retired_in, ..get() }
}

fn silent(release: Release) -> FunctionLock {
    FunctionLock { silent_since: Some(release), ..get() }
}

fn of_train(releases: &[&str]) -> Lock {
    let train = releases.iter().fold(Train::new("service"), |train, release| train.release(release, |r| r));
    let path = crate::path::UpgradePath::of(&train).expect("a train");
    Lock { train: Some(TrainLock::of(&path)), ..Lock::empty() }
}

fn renamed(mut lock: Lock) -> Lock {
    lock.train.as_mut().expect("it has one").name = "other".to_owned();
    lock
}

fn of_other_wire(mut lock: Lock) -> Lock {
    lock.train.as_mut().expect("it has one").releases[0].wire = "v9".to_owned();
    lock
}

fn with(function: FunctionLock) -> Lock {
    Lock { functions: [("get".to_owned(), function)].into(), ..Lock::empty() }
}

fn with_new_frame(emitted: bool) -> Lock {
    let mut lock = versions(&["v1"]);
    let frame = FrameLock { kind: "New".to_owned(), emitted, layout: Layout::of(Type::U32) };
    lock.versions.get_mut("v1").expect("it is there").insert(10, frame);
    lock
}

#[test]
fn each_reason_refuses_what_no_other_does() {
    for &why in REASONS {
        let [old, new] = planted(why);
        let found: Vec<_> = new.frozen(&old).into_iter().map(|(why, ..)| why).collect();
        assert_eq!(found, [why]);
        let Refused(places) = new.may_replace(&old, &Unshipped::nothing()).expect_err("it is refused");
        assert_eq!(places.len(), 1, "{why:?}: {places:?}");
        let part = new.frozen(&old).remove(0).1;
        assert_eq!(new.may_replace(&old, &part.parse().expect("a part")), Ok(()), "{why:?}: {part} is unshipped");
        let other = if part == "v9" { "v8" } else { "v9" };
        assert!(new.may_replace(&old, &other.parse().expect("a part")).is_err(), "{why:?}: {other} is unshipped");
    }
}

#[test]
fn a_change_of_a_functions_types_that_breaks_one_way_alone_is_refused() {
    // Callers of old may send the variant that is gone; what is sent the other way about is understood.
    let of = |variants: &[&str]| with(FunctionLock { argument: of_units("E", variants), ..get() });
    let refused = of(&["A"]).frozen(&of(&["A", "B"]));
    assert_eq!(refused.into_iter().map(|(why, ..)| why).collect::<Vec<_>>(), [Frozen::FunctionTypes]);
}

#[test]
fn what_may_be_added_is_not_refused() {
    for (old, new) in [
        (versions(&["v1"]), versions(&["v1", "v2"])),
        (versions(&["v1"]), with_new_frame(false)),
        (Lock::empty(), Lock { hello: Some(Layout::of(Type::U32)), ..Lock::empty() }),
        (Lock::empty(), with(get())),
        (Lock::empty(), of_train(&["3.0"])),
        (of_train(&["3.0"]), of_train(&["3.0", "3.1"])),
        (of_train(&["3.0", "3.1", "3.2"]), of_train(&["3.1", "3.2"])),
        (with(get()), with(silent(Release(1, 1, 0)))),
        (with(get()), with(retired("1.2.0"))),
        (with(retired("1.2.0")), Lock::empty()),
        (
            with(FunctionLock { error: of_units("E", &["A"]), ..get() }),
            with(FunctionLock { error: of_units("E", &["A", "B"]), ..get() }),
        ),
    ] {
        assert_eq!(new.may_replace(&old, &Unshipped::nothing()), Ok(()), "{}\n{}", old.to_text(), new.to_text());
    }
}

#[test]
fn every_other_change_of_a_lock_is_refused() {
    // Of what is shipped nothing but the retirement of a function is taken away, and nothing is changed.
    for &why in REASONS {
        let [old, new] = planted(why);
        let back = old.may_replace(&new, &Unshipped::nothing());
        let is_addition =
            matches!(why, Frozen::VersionGone | Frozen::FunctionGone | Frozen::TrainGone | Frozen::ReleaseGone);
        assert_eq!(back.is_ok(), is_addition, "{why:?}, the other way about: {back:?}");
    }
}
