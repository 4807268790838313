//! The generator of schemas and of edits: it makes every kind of type, within its depth, and each edit is what it says.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use super::edit::EditKind;
use super::edit::{edited, generate};
use super::*;

/// The types that a type is built of.
fn within(of: &Type) -> Vec<&Type> {
    match of {
        Type::Option(inner) | Type::Seq(inner) => vec![inner],
        Type::Map(key, value) => vec![key, value],
        Type::Tuple(parts) => parts.iter().collect(),
        Type::Struct(named) => named.parts.types(),
        Type::Enum(of) => of.variants.iter().flat_map(|variant| variant.parts.types()).collect(),
        _ => Vec::new(),
    }
}

/// How many types it is that hold others, one inside the other.
fn depth(of: &Type) -> usize {
    let holds = matches!(of, Type::Option(_) | Type::Seq(_) | Type::Map(..) | Type::Tuple(_));
    let holds = holds || matches!(of, Type::Struct(_) | Type::Enum(_));
    usize::from(holds) + within(of).into_iter().map(depth).max().unwrap_or(0)
}

/// The first word of what is written for tests.
fn word(of: &impl std::fmt::Debug) -> String {
    let text = format!("{of:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn note(of: &Type, seen: &mut BTreeSet<String>, names: &mut Vec<String>) {
    seen.insert(word(of));
    match of {
        Type::Struct(named) => {
            seen.insert(format!("struct of {} {}", named.parts.types().len(), word(&named.parts)));
            names.push(named.name.clone());
        }
        Type::Enum(of) => {
            seen.insert(format!("enum of {}", of.variants.len()));
            seen.extend(of.variants.iter().map(|variant| format!("variant of {}", word(&variant.parts))));
            names.push(of.name.clone());
        }
        _ => {}
    }
    for inner in within(of) {
        seen.extend((depth(inner) > 0).then(|| format!("{} in {}", word(inner), word(of))));
        note(inner, seen, names);
    }
}

#[test]
fn schemas_by_chance_have_every_kind_of_type_and_are_four_deep_at_most() {
    let (mut seen, mut depths) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..2_000 {
        let made = generate(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        let mut names = Vec::new();
        note(&made, &mut seen, &mut names);
        depths.insert((word(&made), depth(&made)));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "seed {seed}: each has its own name");
    }
    let plain = "Bool U8 U16 U32 U64 U128 I8 I16 I32 I64 F32 F64 Char Str Bytes";
    let holding = ["Option", "Seq", "Map", "Tuple", "Struct", "Enum"];
    let mut expected: BTreeSet<String> = plain.split(' ').chain(holding).map(str::to_owned).collect();
    expected.insert("Recursive".to_owned());
    expected.extend(holding.iter().flat_map(|inner| holding.map(|outer| format!("{inner} in {outer}"))));
    expected.extend((1..=4).flat_map(|count| [format!("struct of {count} Fields"), format!("enum of {count}")]));
    expected.extend(["Unit", "Newtype", "Tuple"].map(|parts| format!("variant of {parts}")));
    assert_eq!(seen, expected);
    let of = |root: &str| (1..=4).map(|depth| (root.to_owned(), depth)).collect::<Vec<_>>();
    assert_eq!(depths.into_iter().collect::<Vec<_>>(), [of("Enum"), of("Struct")].concat());
}

/// All that an edit may make of a type.
fn ways(original: &Type, kind: EditKind) -> Vec<Type> {
    let mut ways = Vec::new();
    for seed in 0..300 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        ways.extend(edited(original, kind, &mut rng).filter(|new| !ways.contains(new)));
    }
    ways
}

fn fields(names: &[&str]) -> Type {
    named("T", names)
}

fn named(name: &str, names: &[&str]) -> Type {
    Type::fields(name, names.iter().map(|&name| (name, Type::Bool)))
}

fn option(of: Type) -> Type {
    Type::Option(Box::new(of))
}

fn list(of: Type) -> Type {
    Type::Seq(Box::new(of))
}

/// A list of booleans that refers to itself.
fn recursive() -> Type {
    Type::fields("T", [("item", Type::Bool), ("next", option(Type::Recursive("T".to_owned())))])
}

fn pairs() -> Type {
    Type::Map(Box::new(Type::Char), Box::new(Type::Bool))
}

/// Edits that leave nothing to chance but the place.
fn exact() -> Vec<(EditKind, Type, Vec<Type>)> {
    use EditKind as E;
    let units = |names: &[&str]| of_units("E", names);
    let integers = [Type::U8, Type::U16, Type::U32, Type::U64, Type::U128];
    let signed = [Type::I8, Type::I16, Type::I32, Type::I64, Type::I128];
    let others = |of: &[Type], not: usize| [&of[..not], &of[not + 1..]].concat();
    let wrapper = Named { name: "Wrapper".to_owned(), parts: Parts::Newtype(Box::new(Type::Bool)) };
    let mut rows = vec![
        (E::RemoveField, fields(&["a", "b"]), vec![fields(&["b"]), fields(&["a"])]),
        (E::SwapFields, fields(&["a", "b"]), vec![fields(&["b", "a"])]),
        (
            E::SwapFields,
            fields(&["a", "b", "c"]),
            vec![fields(&["b", "a", "c"]), fields(&["a", "c", "b"]), fields(&["c", "b", "a"])],
        ),
        (E::RotateFields, fields(&["a", "b", "c"]), vec![fields(&["b", "c", "a"])]),
        (E::RenameField, fields(&["a"]), vec![fields(&["renamed"])]),
        (E::RenameField, fields(&["a", "b"]), vec![fields(&["renamed", "b"]), fields(&["a", "renamed"])]),
        (E::RenameType, fields(&["a"]), vec![named("Other", &["a"])]),
        (E::RenameType, units(&["A"]), vec![of_units("Other", &["A"])]),
        (E::RemoveVariant, units(&["A", "B"]), vec![units(&["B"]), units(&["A"])]),
        (E::SwapVariants, units(&["A", "B"]), vec![units(&["B", "A"])]),
        (E::RenameVariant, units(&["A"]), vec![units(&["Renamed"])]),
        (E::FloatWidth, Type::F32, vec![Type::F64]),
        (E::FloatWidth, Type::F64, vec![Type::F32]),
        (E::WrapOption, Type::Bool, vec![option(Type::Bool)]),
        (E::UnwrapOption, option(Type::Bool), vec![Type::Bool]),
        (E::WrapList, Type::Bool, vec![list(Type::Bool)]),
        (E::WrapNewtype, Type::Bool, vec![Type::Struct(wrapper)]),
        (E::MapToList, pairs(), vec![list(Type::Tuple(vec![Type::Char, Type::Bool]))]),
        (E::FieldsToTuple, fields(&["a"]), vec![Type::Tuple(vec![Type::Bool])]),
        (E::BytesToList, Type::Bytes, vec![list(Type::U8)]),
        (E::BytesToList, list(Type::U8), vec![Type::Bytes]),
    ];
    for at in 0..integers.len() {
        let (one, other) = (integers[at].clone(), signed[at].clone());
        rows.push((E::Sign, one.clone(), vec![other.clone()]));
        rows.push((E::Sign, other.clone(), vec![one.clone()]));
        rows.push((E::Width, one, others(&integers, at)));
        rows.push((E::Width, other, others(&signed, at)));
    }
    rows
}

#[test]
fn each_edit_does_what_it_says_in_each_place_that_it_may_take() {
    for (kind, original, expected) in exact() {
        let made = ways(&original, kind);
        let all = made.len() == expected.len() && expected.iter().all(|one| made.contains(one));
        assert!(all, "{} of {original:?}: {made:?}", kind.name());
    }
}

#[test]
fn an_edit_that_has_no_place_in_a_type_makes_nothing_of_it() {
    use EditKind as E;
    let none = fields(&[]);
    for (kind, original) in [
        (E::AppendField, none.clone()),
        (E::InsertField, none.clone()),
        (E::RenameField, none.clone()),
        (E::AppendField, of_units("E", &["A"])),
        (E::RemoveField, fields(&["a"])),
        (E::SwapFields, fields(&["a"])),
        (E::RotateFields, fields(&["a", "b"])),
        (E::RenameType, recursive()),
        (E::RenameType, Type::Bool),
        (E::AppendVariant, of_units("E", &[])),
        (E::InsertVariant, of_units("E", &[])),
        (E::RenameVariant, of_units("E", &[])),
        (E::VariantPayload, of_units("E", &[])),
        (E::AppendVariant, fields(&["a"])),
        (E::RemoveVariant, of_units("E", &["A"])),
        (E::SwapVariants, of_units("E", &["A"])),
        (E::Sign, Type::F32),
        (E::Width, Type::F32),
        (E::FloatWidth, Type::U32),
        (E::Primitive, Type::Unit),
        (E::WrapOption, Type::Unit),
        (E::WrapList, Type::Unit),
        (E::WrapNewtype, Type::Unit),
        (E::UnwrapOption, Type::Bool),
        (E::UnwrapOption, recursive()),
        (E::MapToList, list(Type::Bool)),
        (E::FieldsToTuple, none),
        (E::FieldsToTuple, recursive()),
        (E::FieldsToTuple, of_units("E", &["A"])),
        (E::BytesToList, list(Type::U16)),
        (E::BytesToList, Type::Str),
    ] {
        assert_eq!(ways(&original, kind), [], "{} of {original:?}", kind.name());
    }
}

/// The labels of a struct's fields, or the names and parts of an enum's variants.
fn told(of: &Type) -> Vec<String> {
    match of {
        Type::Struct(named) => named.parts.labels().into_iter().map(str::to_owned).collect(),
        Type::Enum(of) => of.variants.iter().map(|v| format!("{} {}", v.name, word(&v.parts))).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn what_an_edit_brings_stands_in_its_place_and_is_of_any_type() {
    use EditKind as E;
    let holding =
        |parts| Type::Enum(Enum { name: "E".to_owned(), variants: vec![Named { name: "A".to_owned(), parts }] });
    let (one, two) = (Parts::Newtype(Box::new(Type::Bool)), Parts::Tuple(vec![Type::Bool, Type::Char]));
    for (kind, original, expected) in [
        (E::AppendField, fields(&["a", "b"]), &[&["a", "b", "added"][..]][..]),
        (E::InsertField, fields(&["a", "b"]), &[&["added", "a", "b"], &["a", "added", "b"]]),
        (E::AppendVariant, of_units("E", &["A"]), &[&["A Unit", "Added Unit"], &["A Unit", "Added Newtype"]]),
        (E::InsertVariant, of_units("E", &["A"]), &[&["Added Unit", "A Unit"], &["Added Newtype", "A Unit"]]),
        (E::VariantPayload, of_units("E", &["A"]), &[&["A Newtype"]]),
        (E::VariantPayload, holding(one), &[&["A Tuple"]]),
        (E::VariantPayload, holding(two), &[&["A Unit"]]),
    ] {
        let made: BTreeSet<_> = ways(&original, kind).iter().map(told).collect();
        let expected: BTreeSet<Vec<String>> =
            expected.iter().map(|names| names.iter().map(|&name| name.to_owned()).collect()).collect();
        assert_eq!(made, expected, "{} of {original:?}", kind.name());
    }
    let primitives: BTreeSet<_> = ways(&Type::Bool, E::Primitive).iter().map(word).collect();
    assert_eq!(primitives.len(), 14, "every other one: {primitives:?}");
    let added: BTreeSet<_> = ways(&fields(&["a"]), E::AppendField).iter().map(|of| word(within(of)[1])).collect();
    assert_eq!(added.len(), 16, "every one, and options of them: {added:?}");
}

#[test]
fn an_edit_changes_one_place_and_each_in_its_turn() {
    let variant = |name: &str, parts| Named { name: name.to_owned(), parts };
    let boxed = || Box::new(Type::U16);
    let field = Field { name: "x".to_owned(), r#type: Type::U16 };
    let variants = vec![
        variant("A", Parts::Newtype(boxed())),
        variant("B", Parts::Tuple(vec![Type::U16, Type::U16])),
        variant("C", Parts::Fields(vec![field])),
        variant("D", Parts::Unit),
    ];
    let original = Type::fields(
        "T",
        [
            ("a", Type::U16),
            ("b", option(Type::U16)),
            ("c", list(Type::U16)),
            ("d", Type::Map(boxed(), boxed())),
            ("e", Type::Tuple(vec![Type::Bool, Type::U16])),
            ("f", Type::Enum(Enum { name: "E".to_owned(), variants })),
        ],
    );
    let made = ways(&original, EditKind::Sign);
    assert_eq!(made.len(), 10);
    for new in made {
        assert_eq!(format!("{new:?}").matches("I16").count(), 1, "{new:?}");
    }
}

#[test]
fn two_edits_are_never_none() {
    let made = ways(&fields(&["a", "b"]), EditKind::TwoEdits);
    assert!(made.len() > 50 && !made.contains(&fields(&["a", "b"])), "{}", made.len());
}
