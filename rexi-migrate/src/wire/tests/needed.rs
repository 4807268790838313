//! For each kind of change, two locks that differ in it alone: what the diff no longer looks for is noticed here.

use super::*;
use std::collections::BTreeMap;

use rexi_proto::Release;

/// What the diff says of a kind's two locks, and its directions.
struct Planted {
    locks: [Lock; 2],
    effects: [Effect; 2],
}

#[test]
fn each_kind_of_change_is_found_where_it_is_the_only_one() {
    for &kind in ChangeKind::ALL {
        let Planted { locks: [old, new], effects } = planted(kind);
        let diff = Diff::new(&old, &new);
        let found: Vec<_> = diff.changes.iter().map(|change| change.kind).collect();
        // What several changes come to together stands behind them.
        let expected = if kind == ChangeKind::Together { found.last().copied() } else { found.first().copied() };
        assert_eq!(expected, Some(kind), "{}", diff.to_text());
        assert!(found.len() == 1 || kind == ChangeKind::Together, "{kind:?}: {}", diff.to_text());
        let worst = |of: fn(&Change) -> Effect| diff.changes.iter().map(of).max().expect("there is one");
        let directions = [worst(|change| change.old_to_new.effect), worst(|change| change.new_to_old.effect)];
        assert_eq!(directions, effects, "{kind:?}: {}", diff.to_text());
        let breaks = effects.iter().any(|&effect| effect > Effect::Safe);
        let expected = if breaks { Conclusion::Unsafe } else { Conclusion::Safe };
        let (text, verdict) = diff.told();
        assert_eq!(verdict, expected, "{kind:?}: {text}");
        assert!(text.contains(&diff.changes[0].what) && !text.contains("0 changes"), "{kind:?}: {text}");
    }
}

#[test]
fn what_breaks_by_several_changes_alone_is_said_of_all_of_them() {
    let Planted { locks: [old, new], .. } = planted(ChangeKind::Together);
    let diff = Diff::new(&old, &new);
    let last = diff.changes.last().expect("there are changes");
    assert!(diff.changes.iter().rev().skip(1).all(|change| change.effect() < last.effect()), "{}", diff.to_text());
}

/// The two locks of a kind. A new kind has to be planted here, or this does not compile.
fn planted(kind: ChangeKind) -> Planted {
    use ChangeKind as K;
    use Effect::{Refused, Safe, Silent, WhenSent};
    let fields = |names: &[&str]| Type::fields("T", names.iter().map(|&name| (name, Type::U32)));
    let variants = |names: &[&str]| of_units("E", names);
    let one = |of: Type| Type::fields("T", [("a", of)]);
    let option = |of: Type| Type::Option(Box::new(of));
    let tuple = Type::Struct(Named { name: "T".to_owned(), parts: Parts::Tuple(vec![Type::U32, Type::U32]) });
    let payload = |of: Type, payload| Layout { headers: vec![of], payload };
    let both = |old: Type, new: Type, effects| layouts(Layout::of(old), Layout::of(new), effects);
    match kind {
        K::Headers => {
            let two = Layout { headers: vec![Type::U32, Type::U32], payload: false };
            layouts(Layout::of(Type::U32), two, [Refused, Refused])
        }
        K::PayloadCame => layouts(payload(Type::U32, false), payload(Type::U32, true), [Safe, Refused]),
        K::PayloadGone => layouts(payload(Type::U32, true), payload(Type::U32, false), [Refused, Safe]),
        K::Type => both(one(Type::U32), one(Type::Str), [Silent, Silent]),
        K::OptionWrapped => both(one(Type::U32), one(option(Type::U32)), [Silent, Silent]),
        K::OptionUnwrapped => both(one(option(Type::U32)), one(Type::U32), [Silent, Silent]),
        K::Width => both(one(Type::U32), one(Type::U64), [Safe, Refused]),
        K::Sign => both(one(Type::U32), one(Type::I32), [Silent, Silent]),
        K::SignAndWidth => both(one(Type::U32), one(Type::I64), [Silent, Silent]),
        K::TypeRenamed => both(fields(&["a"]), Type::fields("Other", [("a", Type::U32)]), [Safe, Safe]),
        K::PartsBuiltOtherwise => both(fields(&["a", "b"]), tuple, [Safe, Safe]),
        K::FieldsRemoved => both(fields(&["a", "b"]), fields(&["a"]), [Refused, Refused]),
        K::FieldsAppended => both(fields(&["a"]), fields(&["a", "b"]), [Refused, Refused]),
        K::FieldsInserted => both(fields(&["b"]), fields(&["a", "b"]), [Refused, Refused]),
        K::FieldsReordered => both(fields(&["a", "b"]), fields(&["b", "a"]), [Silent, Silent]),
        K::FieldsRenamed => both(fields(&["a", "b"]), fields(&["a", "c"]), [Safe, Safe]),
        K::FieldsMixed => both(fields(&["a", "b"]), fields(&["b", "c"]), [Silent, Silent]),
        K::VariantsRemoved => both(variants(&["A", "B", "C"]), variants(&["A", "B"]), [WhenSent, Safe]),
        K::VariantsAppended => both(variants(&["A", "B"]), variants(&["A", "B", "C"]), [Safe, WhenSent]),
        K::VariantsInserted => both(variants(&["A", "B"]), variants(&["C", "A", "B"]), [Silent, Silent]),
        K::VariantsReordered => both(variants(&["A", "B"]), variants(&["B", "A"]), [Silent, Silent]),
        K::VariantsRenamed => both(variants(&["A", "B"]), variants(&["A", "C"]), [Safe, Safe]),
        K::VariantsMixed => both(variants(&["A", "B"]), variants(&["B", "C", "D"]), [Silent, Silent]),
        K::Together => {
            // A field goes, and another takes as many bytes more: each alone is refused for its length, both are not.
            let old = Type::fields("T", [("a", Type::U8), ("b", Type::U8)]);
            let two = Type::fields("S", [("b", Type::U8), ("a", Type::U8)]);
            both(old, one(two), [Silent, Silent])
        }
        K::HelloCame | K::HelloGone | K::RowEarly | K::RowCame | K::RowGone | K::RowChanged => of_rows(kind),
        K::VersionCame | K::VersionGone => of_versions(kind),
        K::FrameCame | K::FrameGone | K::FrameNumber | K::FrameSent | K::FrameSilent => of_frames(kind),
        K::FunctionCame | K::FunctionGone | K::FunctionRow | K::FunctionAnswers | K::FunctionMissed => {
            of_functions(kind)
        }
        K::TrainRenamed | K::TrainCame | K::TrainGone | K::ReleaseCame | K::ReleaseGone | K::ReleaseChanged => {
            of_trains(kind)
        }
        K::Unnamed => {
            let other = Lock { format_version: LOCK_FORMAT_VERSION + 1, ..Lock::empty() };
            Planted { locks: [Lock::empty(), other], effects: [Refused, Refused] }
        }
    }
}

fn of_rows(kind: ChangeKind) -> Planted {
    use Effect::{Refused, Safe};
    let hello = || Lock { hello: Some(Layout::of(Type::U32)), ..Lock::empty() };
    let row = |accepted_since, emitted_since| {
        let row = RowLock { kind: "Cast".to_owned(), accepted_since, emitted_since, retired_in: None };
        Lock { rows: [(1, row)].into(), ..Lock::empty() }
    };
    let (locks, effects) = match kind {
        ChangeKind::HelloCame => ([Lock::empty(), hello()], [Safe, Safe]),
        ChangeKind::HelloGone => ([hello(), Lock::empty()], [Refused, Refused]),
        ChangeKind::RowEarly => ([row(2, Some(2)), row(2, Some(1))], [Safe, Refused]),
        ChangeKind::RowCame => ([Lock::empty(), row(1, Some(1))], [Safe, Safe]),
        ChangeKind::RowGone => ([row(1, None), Lock::empty()], [Safe, Safe]),
        _ => ([row(1, Some(1)), row(1, None)], [Safe, Safe]),
    };
    Planted { locks, effects }
}

fn of_versions(kind: ChangeKind) -> Planted {
    let (without, with) = (versions(&["v1"]), versions(&["v1", "v2"]));
    if kind == ChangeKind::VersionCame {
        Planted { locks: [without, with], effects: [Effect::Safe; 2] }
    } else {
        Planted { locks: [with, without], effects: [Effect::Refused; 2] }
    }
}

fn of_frames(kind: ChangeKind) -> Planted {
    use Effect::{Refused, Safe, Silent};
    let frame = |kind: &str, emitted| FrameLock { kind: kind.to_owned(), emitted, layout: Layout::of(Type::U32) };
    let lock = |frames: &[FrameLock]| {
        let frames = (1..).zip(frames.iter().cloned()).collect();
        Lock { versions: [("v1".to_owned(), frames)].into(), ..Lock::empty() }
    };
    let (cast, kill) = (frame("Cast", true), frame("Kill", true));
    let (old, new, effects) = match kind {
        ChangeKind::FrameCame => (vec![cast.clone()], vec![cast, kill], [Safe, Refused]),
        ChangeKind::FrameGone => (vec![cast.clone(), kill], vec![cast], [Refused, Safe]),
        ChangeKind::FrameNumber => (vec![cast], vec![kill], [Silent, Silent]),
        ChangeKind::FrameSent => (vec![frame("Cast", false)], vec![cast], [Safe, Safe]),
        _ => (vec![cast], vec![frame("Cast", false)], [Safe, Safe]),
    };
    Planted { locks: [lock(&old), lock(&new)], effects }
}

fn of_functions(kind: ChangeKind) -> Planted {
    use Effect::{Refused, Safe};
    let plain = function(Type::U32, AnswerType::Reply(Type::U32), Type::Unit);
    let with = |function: FunctionLock| Lock { functions: [("get".to_owned(), function)].into(), ..Lock::empty() };
    let (old, new, effects) = match kind {
        ChangeKind::FunctionCame => (Lock::empty(), with(plain), [Safe, Safe]),
        ChangeKind::FunctionGone => (with(plain), Lock::empty(), [Refused, Safe]),
        ChangeKind::FunctionMissed => {
            let gone = FunctionLock { retired_in: Some(Release(1, 1, 0)), ..plain.clone() };
            (with(plain), with(gone), [Refused, Refused])
        }
        ChangeKind::FunctionRow => {
            let later = FunctionLock { emitted_since: Release(1, 1, 0), ..plain.clone() };
            (with(plain), with(later), [Refused, Refused])
        }
        _ => {
            let stream = function(Type::U32, AnswerType::Items(Type::U32), Type::Unit);
            (with(plain), with(stream), [Refused, Refused])
        }
    };
    Planted { locks: [old, new], effects }
}

fn of_trains(kind: ChangeKind) -> Planted {
    use Effect::{Refused, Safe};
    let of = |name: &str, releases: &[(&str, &str)]| {
        let release = |(release, wire): &(&str, &str)| ReleaseLock {
            release: release.parse().expect("a release"),
            wire: (*wire).to_owned(),
            migrations: BTreeMap::new(),
        };
        let functions = BTreeMap::new();
        let train = TrainLock { name: name.to_owned(), functions, releases: releases.iter().map(release).collect() };
        Lock { train: Some(train), ..Lock::empty() }
    };
    let two = || of("service", &[("3.0", "v3"), ("3.1", "v3")]);
    let (old, new, effect) = match kind {
        ChangeKind::TrainCame => (Lock::empty(), two(), Safe),
        ChangeKind::TrainGone => (two(), Lock::empty(), Refused),
        ChangeKind::TrainRenamed => (two(), of("other", &[("3.0", "v3"), ("3.1", "v3")]), Refused),
        ChangeKind::ReleaseCame => (of("service", &[("3.0", "v3")]), two(), Safe),
        ChangeKind::ReleaseGone => (two(), of("service", &[("3.1", "v3")]), Safe),
        _ => (two(), of("service", &[("3.0", "v3"), ("3.1", "v2")]), Refused),
    };
    Planted { locks: [old, new], effects: [effect; 2] }
}

/// Two layouts of one frame.
fn layouts(old: Layout, new: Layout, effects: [Effect; 2]) -> Planted {
    Planted { locks: [old, new].map(framed), effects }
}
