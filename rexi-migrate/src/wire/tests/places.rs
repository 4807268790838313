//! No difference is overlooked: edits at both ends and in the middle of every list, at every depth, and at random.

use rexi_proto::Release;
use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::edit::EditKind;
use super::edit::{edited, generate};
use super::*;

/// What is done to a list, and the kinds that say so of fields and of variants.
const OF_LISTS: [(&str, ChangeKind, ChangeKind); 4] = [
    ("removed", ChangeKind::FieldsRemoved, ChangeKind::VariantsRemoved),
    ("added", ChangeKind::FieldsInserted, ChangeKind::VariantsInserted),
    ("swapped", ChangeKind::FieldsReordered, ChangeKind::VariantsReordered),
    ("renamed", ChangeKind::FieldsRenamed, ChangeKind::VariantsRenamed),
];

/// Does one of these at a place of a list; whether there is such a place.
fn at<T>(list: &mut Vec<T>, what: &str, place: usize, new: T, rename: fn(&mut T)) -> bool {
    match what {
        "added" if place <= list.len() => list.insert(place, new),
        "removed" if place < list.len() => drop(list.remove(place)),
        "swapped" if place + 1 < list.len() => list.swap(place, place + 1),
        "renamed" if place < list.len() => rename(&mut list[place]),
        _ => return false,
    }
    true
}

/// A type within others, in each way in which one can be.
fn nested(inner: &Type) -> Vec<Type> {
    let boxed = || Box::new(inner.clone());
    let variant = |parts| Named { name: "Holds".to_owned(), parts };
    let within = |parts| Type::Enum(Enum { name: "Outer".to_owned(), variants: vec![unit("First"), variant(parts)] });
    let field = || Field { name: "inner".to_owned(), r#type: inner.clone() };
    vec![
        inner.clone(),
        Type::Option(boxed()),
        Type::Seq(boxed()),
        Type::Map(boxed(), Box::new(Type::U8)),
        Type::Map(Box::new(Type::U8), boxed()),
        Type::Tuple(vec![Type::U8, inner.clone()]),
        Type::Tuple(vec![inner.clone(), Type::U8]),
        Type::fields("Outer", [("inner", inner.clone()), ("last", Type::Bool)]),
        Type::fields("Outer", [("first", Type::Bool), ("inner", inner.clone())]),
        within(Parts::Newtype(boxed())),
        within(Parts::Tuple(vec![Type::U8, inner.clone()])),
        within(Parts::Fields(vec![field()])),
        Type::fields("Outer", [("inner", Type::Option(Box::new(Type::Seq(boxed()))))]),
    ]
}

/// Two types differ by one edit, wherever they stand: it is found, and as what it is.
fn is_said(old: &Type, new: &Type, kind: ChangeKind) {
    for (turn, (within, now)) in nested(old).iter().zip(nested(new)).enumerate() {
        // By itself in every place of a lock, within others in one after the other.
        let locks = carried_by(within, &now);
        let turn = if turn == 0 { 0..locks.len() } else { turn % locks.len()..turn % locks.len() + 1 };
        for [old, new] in &locks[turn] {
            for (old, new, kind) in [(old, new, Some(kind)), (new, old, None)] {
                let diff = Diff::new(old, new);
                let kinds: Vec<_> = diff.changes.iter().map(|change| change.kind).collect();
                assert!(!kinds.is_empty() && !kinds.contains(&ChangeKind::Together), "{}", diff.to_text());
                let expected = kind.unwrap_or(kinds[0]);
                // Behind the others stands what is appended.
                let appended = match expected {
                    ChangeKind::FieldsInserted => ChangeKind::FieldsAppended,
                    ChangeKind::VariantsInserted => ChangeKind::VariantsAppended,
                    other => other,
                };
                let said = kinds.iter().all(|kind| [expected, appended].contains(kind));
                assert!(said, "{kinds:?} for {expected:?}: {}", diff.to_text());
            }
        }
    }
}

/// Locks with a type in each place that a lock has for one.
fn carried_by(old: &Type, new: &Type) -> Vec<[Lock; 2]> {
    let both = |with: &dyn Fn(&Type) -> Lock| [with(old), with(new)];
    let get = |function: FunctionLock| Lock { functions: [("get".to_owned(), function)].into(), ..Lock::empty() };
    let (reply, unit) = (|of: &Type| AnswerType::Reply(of.clone()), || Type::Unit);
    vec![
        both(&|of| Lock { hello: Some(Layout::of(of.clone())), ..Lock::empty() }),
        both(&|of| framed(Layout::of(of.clone()))),
        both(&|of| framed(Layout { headers: vec![Type::U8, of.clone()], payload: true })),
        both(&|of| get(function(of.clone(), reply(&unit()), unit()))),
        both(&|of| get(function(unit(), reply(of), unit()))),
        both(&|of| get(function(unit(), AnswerType::Items(of.clone()), unit()))),
        both(&|of| get(function(unit(), reply(&unit()), of.clone()))),
    ]
}

#[test]
fn an_edit_at_any_place_of_a_list_of_fields_is_found() {
    let old = Type::fields("T", ["a", "b", "c"].map(|name| (name, Type::U8)));
    for (what, kind, _) in OF_LISTS {
        for place in 0..4 {
            let mut new = old.clone();
            let Type::Struct(Named { parts: Parts::Fields(list), .. }) = &mut new else {
                unreachable!("it has fields")
            };
            let added = Field { name: "x".to_owned(), r#type: Type::U8 };
            if at(list, what, place, added, |field| field.name = "y".to_owned()) {
                is_said(&old, &new, kind);
            }
        }
    }
}

#[test]
fn an_edit_at_any_place_of_a_list_of_variants_is_found() {
    let old = of_units("E", &["A", "B", "C"]);
    for (what, _, kind) in OF_LISTS {
        for place in 0..4 {
            let mut new = old.clone();
            let Type::Enum(of) = &mut new else { unreachable!("it is an enum") };
            if at(&mut of.variants, what, place, unit("X"), |variant| variant.name = "Y".to_owned()) {
                is_said(&old, &new, kind);
            }
        }
    }
}

#[test]
fn another_type_at_any_place_of_fields_and_variants_is_found() {
    for place in 0..3 {
        let of = |other: bool, at: usize| if other && at == place { Type::Bool } else { Type::U8 };
        let fields = |other| Type::fields("T", (0..3).map(|at| (["a", "b", "c"][at], of(other, at))));
        is_said(&fields(false), &fields(true), ChangeKind::Type);
        let variant = |other, at: usize| Named {
            name: ["A", "B", "C"][at].to_owned(),
            parts: Parts::Newtype(Box::new(of(other, at))),
        };
        let variants = |other| {
            let variants = (0..3).map(|at| variant(other, at)).collect();
            Type::Enum(Enum { name: "E".to_owned(), variants })
        };
        is_said(&variants(false), &variants(true), ChangeKind::Type);
    }
}

#[test]
fn an_edit_at_any_place_of_the_lists_of_a_lock_is_found() {
    let frame = |kind: &str| FrameLock { kind: kind.to_owned(), emitted: true, layout: Layout::of(Type::U32) };
    let row = |kind: &str| RowLock { kind: kind.to_owned(), accepted_since: 1, emitted_since: None, retired_in: None };
    let names = ["A", "B", "C"];
    let numbered = || (1..).zip(names);
    let mut whole = versions(&["v1", "v2", "v3"]);
    for frames in whole.versions.values_mut() {
        frames.extend(numbered().map(|(number, name)| (number, frame(name))));
    }
    whole.rows = numbered().map(|(number, name)| (number, row(name))).collect();
    let get = FunctionLock {
        emitted_since: Release(1, 1, 0),
        ..function(Type::Unit, AnswerType::Reply(Type::Unit), Type::Unit)
    };
    whole.functions = names.map(|name| (name.to_owned(), get.clone())).into();
    for number in 1..=3 {
        for version in ["v1", "v2", "v3"] {
            let mut without = whole.clone();
            without.versions.get_mut(version).expect("it is there").remove(&number);
            one_change(&whole, &without, [ChangeKind::FrameGone, ChangeKind::FrameCame]);
        }
        let mut without = whole.clone();
        without.rows.remove(&number);
        one_change(&whole, &without, [ChangeKind::RowGone, ChangeKind::RowCame]);
        let mut without = whole.clone();
        without.versions.remove(&format!("v{number}"));
        one_change(&whole, &without, [ChangeKind::VersionGone, ChangeKind::VersionCame]);
        let mut without = whole.clone();
        without.functions.remove(names[usize::from(number) - 1]);
        one_change(&whole, &without, [ChangeKind::FunctionGone, ChangeKind::FunctionCame]);
    }
}

#[test]
fn each_part_of_a_row_counts() {
    let old = RowLock { kind: "Cast".to_owned(), accepted_since: 1, emitted_since: Some(2), retired_in: None };
    let edits: [fn(&mut RowLock); 4] = [
        |row| row.kind = "Kill".to_owned(),
        |row| row.accepted_since = 2,
        |row| row.emitted_since = None,
        |row| row.retired_in = Some(3),
    ];
    for edit in edits {
        let mut new = old.clone();
        edit(&mut new);
        let [old, new] = [old.clone(), new].map(|row| Lock { rows: [(1, row)].into(), ..Lock::empty() });
        one_change(&old, &new, [ChangeKind::RowChanged; 2]);
    }
    let old = FunctionLock {
        silent_since: Some(Release(1, 1, 0)),
        ..function(Type::Unit, AnswerType::Reply(Type::Unit), Type::Unit)
    };
    let edits: [fn(&mut FunctionLock); 5] = [
        |row| row.accepted_since = Release(0, 9, 0),
        |row| row.emitted_since = Release(1, 0, 1),
        |row| row.silent_since = Some(Release(1, 2, 0)),
        |row| row.silent_since = None,
        |row| row.retired_in = Some(Release(1, 3, 0)),
    ];
    for edit in edits {
        let mut new = old.clone();
        edit(&mut new);
        let with = |function| Lock { functions: [("get".to_owned(), function)].into(), ..Lock::empty() };
        one_change(&with(old.clone()), &with(new), [ChangeKind::FunctionRow; 2]);
    }
}

/// One change there and one back.
fn one_change(old: &Lock, new: &Lock, kinds: [ChangeKind; 2]) {
    for (old, new, kind) in [(old, new, kinds[0]), (new, old, kinds[1])] {
        let diff = Diff::new(old, new);
        assert_eq!(diff.changes.iter().map(|change| change.kind).collect::<Vec<_>>(), [kind], "{}", diff.to_text());
    }
}

#[test]
fn a_renamed_variant_is_told_with_what_it_holds_beside_another_change() {
    let holds = |name: &str, of: Type| Named { name: name.to_owned(), parts: Parts::Newtype(Box::new(of)) };
    let of = |variant, last| {
        let of = Type::Enum(Enum { name: "E".to_owned(), variants: vec![unit("First"), variant] });
        Type::fields("T", [("a", of), ("b", last)])
    };
    let (old, new) = (of(holds("Old", Type::U32), Type::U8), of(holds("New", Type::Str), Type::I8));
    let kinds: Vec<_> =
        compare("", Carrier::Frame, &Layout::of(old), &Layout::of(new)).iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [ChangeKind::VariantsRenamed, ChangeKind::Type, ChangeKind::Sign]);
}

/// Random schemas, in pairs: with nothing in common, one edit apart, and many edits apart.
fn pairs(seed: u64) -> Vec<(Type, Type)> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let [mut one, other] = [generate(&mut rng), generate(&mut rng)];
    let mut pairs = vec![(one.clone(), other.clone())];
    for &kind in EditKind::ALL {
        let Some(new) = edited(&one, kind, &mut rng).filter(names_are_unique) else { continue };
        pairs.extend([(one.clone(), new.clone()), (other.clone(), new.clone())]);
        if rng.random_bool(0.3) {
            one = new;
        }
    }
    pairs
}

/// What an edit brings has one name, so that two edits may bring two of a name, which no compiler takes.
fn names_are_unique(of: &Type) -> bool {
    let unique = |names: Vec<&str>| {
        let named = names.iter().filter(|name| !name.is_empty());
        named.clone().count() == named.collect::<BTreeSet<_>>().len()
    };
    let parts = |parts: &Parts| unique(parts.labels()) && parts.types().into_iter().all(names_are_unique);
    match of {
        Type::Option(inner) | Type::Seq(inner) => names_are_unique(inner),
        Type::Map(key, value) => names_are_unique(key) && names_are_unique(value),
        Type::Tuple(types) => types.iter().all(names_are_unique),
        Type::Struct(named) => parts(&named.parts),
        Type::Enum(of) => {
            unique(of.variants.iter().map(|variant| variant.name.as_str()).collect())
                && of.variants.iter().all(|variant| parts(&variant.parts))
        }
        _ => true,
    }
}

#[test]
fn layouts_that_differ_always_have_an_edit_and_equal_ones_have_none() {
    for seed in 0..1_000 {
        for (old, new) in pairs(seed) {
            let [old, new] = [old, new].map(Layout::of);
            for (old, new) in [(&old, &new), (&new, &old), (&old, &old)] {
                let edits = super::super::changes::edits(old, new);
                assert_eq!(edits.is_empty(), old == new, "seed {seed}: {old:?}\n{new:?}");
            }
        }
    }
}

#[test]
fn locks_that_differ_always_have_a_change_and_equal_ones_have_none() {
    for seed in 0..10 {
        let pairs = pairs(seed);
        for (old, new) in [&pairs[0], &pairs[seed as usize % pairs.len()]] {
            // The carriers differ in what they make of a change, and not in whether there is one.
            let locks = carried_by(old, new);
            let [old, new] = &locks[seed as usize % locks.len()];
            for (old, new) in [(old, new), (new, old), (old, old)] {
                let diff = Diff::new(old, new);
                assert_eq!(diff.changes.is_empty(), old == new, "seed {seed}: {}\n{}", old.to_text(), new.to_text());
                let unnamed = diff.changes.iter().all(|change| change.kind == ChangeKind::Together);
                assert_eq!(unnamed, old == new, "seed {seed}: it is not said what: {}", diff.to_text());
            }
        }
    }
}

#[test]
fn edits_taken_one_after_the_other_lead_from_the_old_to_the_new() {
    for seed in 0..300 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let old = generate(&mut rng);
        let mut new = old.clone();
        for _ in 0..3 {
            new = edited(&new, EditKind::TwoEdits, &mut rng).unwrap_or(new);
        }
        let (mut at, new) = (Layout::of(old), Layout::of(new));
        let mut steps = 0;
        while at != new {
            let next = super::super::changes::edits(&at, &new).swap_remove(0).alone;
            assert_ne!(next, at, "seed {seed}: an edit that changes nothing");
            (at, steps) = (next, steps + 1);
            assert!(steps < 100, "seed {seed}: it does not come to an end");
        }
    }
}

#[test]
fn a_type_that_refers_to_itself_may_have_another_name_beside_another_change() {
    let of = |name: &str, item| {
        let next = Type::Option(Box::new(Type::Recursive(name.to_owned())));
        Layout::of(Type::fields(name, [("item", item), ("next", next)]))
    };
    let changes = compare("", Carrier::Frame, &of("List", Type::U8), &of("Chain", Type::Str));
    let kinds: Vec<_> = changes.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::TypeRenamed, ChangeKind::Type, ChangeKind::Type]);
    assert!(changes.iter().all(|change| change.breaks == Some(Invariant::S8)), "{changes:?}");
}

#[test]
fn what_no_edit_tells_is_looked_at_as_a_whole() {
    // Two variants of one name, which no compiler takes and a file may have.
    let of = |second: Type| {
        let variant = |of: Type| Named { name: "A".to_owned(), parts: Parts::Newtype(Box::new(of)) };
        Layout::of(Type::Enum(Enum { name: "E".to_owned(), variants: vec![variant(Type::U8), variant(second)] }))
    };
    let changes = compare("", Carrier::Frame, &of(Type::U8), &of(Type::Str));
    let [only] = &changes[..] else { panic!("one change: {changes:?}") };
    assert_eq!((only.kind, only.breaks), (ChangeKind::Together, Some(Invariant::S8)));
}

#[test]
fn locks_of_all_parts_at_once_tell_each() {
    let get = function(Type::U32, AnswerType::Reply(Type::U32), Type::Unit);
    let mut old = versions(&["v1"]);
    old.hello = Some(Layout::of(Type::U32));
    old.functions = BTreeMap::from([("get".to_owned(), get.clone())]);
    let mut new = old.clone();
    new.hello = Some(Layout::of(Type::I32));
    new.versions.get_mut("v1").expect("it is there").get_mut(&9).expect("a frame").layout = Layout::of(Type::Bool);
    let (silent_since, retired_in) = (Some(Release(1, 1, 0)), Some(Release(2, 0, 0)));
    let changed = FunctionLock { silent_since, retired_in, argument: Type::Str, error: Type::U8, ..get };
    new.functions = BTreeMap::from([("get".to_owned(), changed)]);
    let diff = Diff::new(&old, &new);
    let kinds: Vec<_> = diff.changes.iter().map(|change| change.kind).collect();
    let (ty, row) = (ChangeKind::Type, ChangeKind::FunctionRow);
    assert_eq!(kinds, [ChangeKind::Sign, ty, row, ty, ty], "hello, frame, row, argument, error: {}", diff.to_text());
}
