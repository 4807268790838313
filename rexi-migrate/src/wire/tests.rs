//! The wire of this build against its lock, the diff on real and on generated schemas, and a service's functions.

use rexi_proto::Release;

use super::*;
use crate::service::Service;
use crate::verdict::conclusion::Conclusion;
use crate::verdict::invariant::Invariant;

mod corpus;
mod edit;
mod edits;
mod frozen;
mod matrix;
mod needed;
mod places;
mod tellers;
mod values;

/// A lock of one frame.
fn framed(layout: Layout) -> Lock {
    let frame = FrameLock { kind: "Cast".to_owned(), emitted: true, layout };
    Lock { versions: [("v1".to_owned(), [(1, frame)].into())].into(), ..Lock::empty() }
}

/// A lock of these versions, each with one frame.
fn versions(names: &[&str]) -> Lock {
    let frame = FrameLock { kind: "Ping".to_owned(), emitted: true, layout: Layout::of(Type::U32) };
    let version = |name: &&str| ((*name).to_owned(), [(9, frame.clone())].into());
    Lock { versions: names.iter().map(version).collect(), ..Lock::empty() }
}

/// A function of the first release.
fn function(argument: Type, answer: AnswerType, error: Type) -> FunctionLock {
    let (accepted_since, emitted_since) = (Release(1, 0, 0), Release(1, 0, 0));
    FunctionLock {
        accepted_since,
        emitted_since,
        silent_since: None,
        retired_in: None,
        migration: None,
        argument,
        answer,
        error,
    }
}

/// A variant that holds nothing.
fn unit(name: &str) -> Named {
    Named { name: name.to_owned(), parts: Parts::Unit }
}

/// An enum of such variants.
fn of_units(name: &str, variants: &[&str]) -> Type {
    let variants = variants.iter().map(|variant| unit(variant)).collect();
    Type::Enum(Enum { name: name.to_owned(), variants })
}

fn lock() -> Lock {
    Lock::of_this_build().expect("the layouts can be told")
}

#[test]
fn the_lock_that_is_checked_in_is_this_builds() {
    let locked = Lock::parse("wire.lock.json", LOCKED).expect("it is a lock");
    let ours = Service::new(crate::demo::path()).lock().expect("every layout can be told");
    let diff = Diff::new(&locked, &ours).to_text();
    assert!(locked == ours, "run `rexi-migrate wire lock`, where that is allowed:\n{diff}");
    assert_eq!(LOCKED, ours.to_text(), "the text is the same for the same schemas");
    assert!(ours.contradictions().is_empty());
}

#[test]
fn every_version_reads_every_other_as_it_must() {
    let read = matrix(30, 7, rexi_proto::Mutants::default()).expect("the layouts can be told");
    assert!(read.wrong.is_empty(), "{read}");
    // Each kind is read as itself by its own version, and refused by the others.
    assert!(read.same() > 1_000 && read.refused() > 2 * read.same(), "{read}");
    for cells in read.cells.values() {
        for (&(writer, reader), cell) in cells {
            assert!(writer == reader || cell.same == 0, "{read}");
        }
    }
}

#[test]
fn every_break_that_is_planted_into_the_real_layouts_is_found() {
    let planted = mutants().expect("the layouts can be told");
    let found: Vec<_> = planted.iter().map(|planted| (planted.id, planted.breaks, planted.silent)).collect();
    let (s8, s9) = (Some(Invariant::S8), Some(Invariant::S9));
    let expected = [
        ("M1", s8, true),
        ("M2", s8, true),
        ("M3", s9, false),
        ("M3", s9, false),
        ("M4", s8, true),
        ("M5", s8, true),
        ("M6", s8, true),
        ("M8", s8, true),
        ("M10", s8, true),
    ];
    assert_eq!(found, expected, "{planted:#?}");
}

#[test]
fn the_diff_misses_no_break_and_raises_no_false_alarm() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let (count, seed) = (number("WIRE_CHANGES").unwrap_or(300), number("WIRE_SEED").unwrap_or(1));
    let score = corpus::run(count, seed);
    println!("{}", score.to_text());
    assert!(score.missed.is_empty() && score.false_alarms.is_empty(), "{}", score.to_text());
    assert_eq!(score.safe_appends, count / edit::EditKind::ALL.len() as u64, "each appended variant is let pass");
    assert!(score.directions(Effect::Silent) > 0 && score.directions(Effect::Safe) > 0, "{}", score.to_text());
}

#[test]
fn what_is_locked_is_frozen_unless_no_release_has_it() {
    let mut changed = lock();
    let frames = changed.versions.get_mut("v3").expect("this build speaks it");
    frames.remove(&1);
    let refused = changed.may_replace(&lock(), &Unshipped::nothing()).expect_err("v3 is locked");
    assert!(refused.to_string().contains("v3 Cast, kind 1"), "{refused}");
    let unshipped: Unshipped = "v3".parse().expect("a version");
    assert_eq!(changed.may_replace(&lock(), &unshipped), Ok(()));
    let wrong = "v3,v9x".parse::<Unshipped>().expect_err("no part").to_string();
    assert!(wrong.contains("\"v9x\" is not a part of the lock"), "{wrong}");
}

#[test]
fn a_new_version_is_no_change_of_an_old_one() {
    let mut next = lock();
    let frames = next.versions["v3"].clone();
    next.versions.insert("v4".to_owned(), frames);
    assert_eq!(next.may_replace(&lock(), &Unshipped::nothing()), Ok(()));
    assert_eq!(Diff::new(&lock(), &next).verdict(), Conclusion::Safe);
    let back = Diff::new(&next, &lock());
    assert_eq!(back.verdict(), Conclusion::Unsafe, "a version that goes is: {}", back.to_text());
}

/// What a service declared, and three ways in which it may go on.
mod service {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) enum Old {
        Full,
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename = "Old")]
    pub(super) enum Appended {
        Full,
        Locked,
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename = "Old")]
    pub(super) enum Renamed {
        Fuller,
    }
    macro_rules! error {
        ($($name:ident),+) => { $(
            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("no") }
            }
            impl std::fmt::Debug for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("no") }
            }
        )+ };
    }
    error!(Old, Appended, Renamed);

    rexi_server::function! {
        /// As it was.
        pub(super) Get = "get" (u32) -> u64, error Old, since 1.0;
        /// Its error has one variant more.
        pub(super) GetAppended = "get" (u32) -> u64, error Appended, since 1.0;
        /// Its error's variant has another name.
        pub(super) GetRenamed = "get" (u32) -> u64, error Renamed, since 1.0;
        /// It takes a signed number.
        pub(super) GetSigned = "get" (i32) -> u64, error Old, since 1.0;
    }
}

#[test]
fn a_services_functions_are_locked_by_structure_and_their_shape_turns_misreadings_into_errors() {
    fn of<F: rexi_server::Function>(function: F) -> Lock {
        Lock::empty().function(function).expect("its types can be told")
    }
    let old = of(service::Get);
    let appended = Diff::new(&old, &of(service::GetAppended));
    assert_eq!(appended.verdict(), Conclusion::Safe, "{}", appended.to_text());
    assert_eq!(appended.changes[0].new_to_old.effect, Effect::WhenSent);
    assert_eq!(of(service::GetAppended).may_replace(&old, &Unshipped::nothing()), Ok(()));
    for (changed, says) in [
        (of(service::GetRenamed), "another shape, by its names alone"),
        (of(service::GetSigned), "the shape makes it a typed error"),
    ] {
        let diff = Diff::new(&old, &changed);
        assert_eq!(diff.verdict(), Conclusion::Unsafe, "{}", diff.to_text());
        assert!(diff.changes.iter().all(|change| change.effect() < Effect::Silent), "{}", diff.to_text());
        assert!(diff.to_text().contains(says), "{}", diff.to_text());
        assert!(changed.may_replace(&old, &Unshipped::nothing()).is_err(), "a change of a type is a new function");
    }
}

#[test]
fn files_that_are_no_locks_are_named_with_what_is_wrong() {
    for (text, says) in [
        ("", "x.json is not a lock: EOF"),
        ("{}", "it has no format_version"),
        (r#"{"format_version": 99}"#, "a newer one wrote it: use that"),
        (r#"{"format_version": 0}"#, "write it again"),
        (r#"{"format_version": 1, "other": 1}"#, "unknown field `other`"),
        (
            r#"{"format_version": 1, "hello": {"headers": [{"recursive": "T"}]}}"#,
            "refers to \"T\", which it is not inside",
        ),
    ] {
        let error = Lock::parse("x.json", text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let missing = Lock::read(std::path::Path::new("no-such.lock")).expect_err("missing").to_string();
    assert!(missing.contains("cannot read no-such.lock"), "{missing}");
}
