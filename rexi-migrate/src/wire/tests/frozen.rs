//! For each reason to refuse a lock, a change that is refused for it alone, and similar changes that are allowed.

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
    FunctionRow => [with(get()), with(FunctionLock { emitted_since: "1.1.0".to_owned(), ..get() })],
    FunctionRetired => [with(retired("1.2.0")), with(retired("1.3.0"))],
    FunctionAnswers => [with(get()), with(FunctionLock { answer: AnswerType::Items(Type::U32), ..get() })],
    FunctionTypes => [with(get()), with(FunctionLock { argument: Type::I32, ..get() })],
}

fn get() -> FunctionLock {
    function(Type::U32, AnswerType::Reply(Type::U32), Type::Unit)
}

fn retired(release: &str) -> FunctionLock {
    FunctionLock { retired_in: Some(release.to_owned()), ..get() }
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
        let is_addition = matches!(why, Frozen::VersionGone | Frozen::FunctionGone);
        assert_eq!(back.is_ok(), is_addition, "{why:?}, the other way about: {back:?}");
    }
}
