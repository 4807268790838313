//! Which values count as the same on both sides of a change, and how a value is shown.

use super::super::same::{same, show};
use super::*;

fn option(of: Type) -> Type {
    Type::Option(Box::new(of))
}

fn list(of: Type) -> Type {
    Type::Seq(Box::new(of))
}

fn map(key: Type, value: Type) -> Type {
    Type::Map(Box::new(key), Box::new(value))
}

fn structure(name: &str, parts: Parts) -> Type {
    Type::Struct(Named { name: name.to_owned(), parts })
}

fn newtype(name: &str, of: Type) -> Type {
    structure(name, Parts::Newtype(Box::new(of)))
}

/// An enum of a unit, a newtype, a tuple and fields.
fn variants(names: [&str; 4]) -> Type {
    let field = Field { name: "x".to_owned(), r#type: Type::U8 };
    let parts = [
        Parts::Unit,
        Parts::Newtype(Box::new(Type::U8)),
        Parts::Tuple(vec![Type::U8, Type::Bool]),
        Parts::Fields(vec![field]),
    ];
    let variants = names.into_iter().zip(parts).map(|(name, parts)| Named { name: name.to_owned(), parts });
    Type::Enum(Enum { name: "E".to_owned(), variants: variants.collect() })
}

const NAMES: [&str; 4] = ["A", "B", "C", "D"];

fn fields(fields: [(&str, Type); 2]) -> Type {
    Type::fields("T", fields)
}

fn n(number: u128) -> Value {
    Value::Unsigned(number)
}

fn some(value: Value) -> Value {
    Value::Option(Some(Box::new(value)))
}

fn float(bits: impl Into<u64>) -> Value {
    Value::Float(bits.into())
}

fn parts<const N: usize>(values: [Value; N]) -> Value {
    Value::Parts(values.into())
}

/// A list of numbers that refers to itself.
fn chain() -> Type {
    fields([("item", Type::U8), ("next", option(Type::Recursive("T".to_owned())))])
}

#[test]
fn each_value_is_shown_with_the_names_of_its_parts() {
    let text = |text: &str| Value::Str(text.to_owned());
    let two = parts([n(1), Value::Bool(true)]);
    let ends = parts([n(2), Value::Option(None)]);
    for (of, value, shown) in [
        (Type::Bool, Value::Bool(true), "true"),
        (Type::U8, n(5), "5"),
        (Type::I8, Value::Signed(-5), "-5"),
        (Type::F32, float(1.5_f32.to_bits()), "1.5e0"),
        (Type::F64, float(2.5_f64.to_bits()), "2.5e0"),
        (Type::Char, Value::Char('x'), "'x'"),
        (Type::Str, text("hi"), "\"hi\""),
        (Type::Bytes, Value::Bytes(vec![1, 2]), "[1, 2]"),
        (option(Type::U8), Value::Option(None), "None"),
        (option(Type::U8), some(n(5)), "Some(5)"),
        (list(Type::U8), Value::Seq(vec![]), "[]"),
        (list(Type::U8), Value::Seq(vec![n(1), n(2), n(3)]), "[1, 2, 3]"),
        (map(Type::U8, Type::Str), Value::Map(vec![(n(1), text("a")), (n(2), text("b"))]), "{1: \"a\", 2: \"b\"}"),
        (Type::Tuple(vec![Type::U8, Type::Bool]), two.clone(), "(1, true)"),
        (fields([("a", Type::U8), ("b", Type::Bool)]), two.clone(), "T { a: 1, b: true }"),
        (structure("T", Parts::Tuple(vec![Type::U8, Type::Bool])), two, "T(1, true)"),
        (newtype("N", Type::U8), parts([n(7)]), "N(7)"),
        (structure("U", Parts::Unit), parts([]), "U"),
        (variants(NAMES), Value::Variant(0, vec![]), "A"),
        (variants(NAMES), Value::Variant(1, vec![n(1)]), "B(1)"),
        (variants(NAMES), Value::Variant(2, vec![n(1), Value::Bool(false)]), "C(1, false)"),
        (variants(NAMES), Value::Variant(3, vec![n(1)]), "D { x: 1 }"),
        (variants(NAMES), Value::Variant(4, vec![]), "E #4"),
        (chain(), parts([n(1), some(ends)]), "T { item: 1, next: Some(T { item: 2, next: None }) }"),
    ] {
        assert_eq!(show(&Layout::of(of), &Carried::of(value)), shown);
    }
    let layout = Layout { headers: vec![Type::U8, Type::Bool], payload: true };
    let carried = |payload: &[u8]| Carried { headers: vec![n(1), Value::Bool(true)], payload: payload.into() };
    assert_eq!(show(&layout, &carried(&[])), "1 + true");
    assert_eq!(show(&layout, &carried(&[1, 255])), "1 + true + payload [01, ff]");
}

/// Whether one is the same as the other, either way about.
fn alike(one: (Type, Value), other: (Type, Value)) -> bool {
    let [one, other] = [one, other].map(|(of, value)| (Layout::of(of), Carried::of(value)));
    let there = same((&one.0, &one.1), (&other.0, &other.1));
    assert_eq!(there, same((&other.0, &other.1), (&one.0, &one.1)), "{one:?} and {other:?}");
    there
}

#[test]
fn numbers_are_the_same_if_they_are_whatever_their_width_and_sign() {
    let numbers = [
        (Type::U8, n(5)),
        (Type::U128, n(u128::MAX)),
        (Type::U128, n(1 << 127)),
        (Type::I8, Value::Signed(-1)),
        (Type::I128, Value::Signed(i128::MIN)),
        (Type::I128, Value::Signed(i128::MAX)),
    ];
    for (at, one) in numbers.iter().enumerate() {
        for (other_at, other) in numbers.iter().enumerate() {
            assert_eq!(alike(one.clone(), other.clone()), at == other_at, "{one:?} and {other:?}");
        }
    }
    for same in [(Type::U64, n(5)), (Type::I8, Value::Signed(5)), (Type::I128, Value::Signed(5))] {
        assert!(alike((Type::U8, n(5)), same.clone()), "{same:?}");
    }
    assert!(alike((Type::I8, Value::Signed(-1)), (Type::I64, Value::Signed(-1))));
}

#[test]
fn what_is_no_number_is_the_same_if_it_is_of_the_same_type_too() {
    let one = 1.0_f32.to_bits();
    let values = [
        (Type::Bool, Value::Bool(true)),
        (Type::Bool, Value::Bool(false)),
        (Type::U8, n(1)),
        (Type::Char, Value::Char('a')),
        (Type::Str, Value::Str("a".to_owned())),
        (Type::F32, float(one)),
        (Type::F64, float(one)),
        (option(Type::U8), Value::Option(None)),
        (option(Type::U8), some(n(1))),
        (option(Type::U8), some(n(2))),
        (list(Type::U16), Value::Seq(vec![n(1)])),
        (list(Type::U16), Value::Seq(vec![n(2)])),
        (list(Type::U16), Value::Seq(vec![n(1), n(2)])),
        (list(Type::U16), Value::Seq(vec![n(7)])),
        (list(Type::U8), Value::Seq(vec![n(7), n(8)])),
        (Type::Bytes, Value::Bytes(vec![7])),
        (map(Type::U8, Type::U8), Value::Map(vec![(n(1), n(2))])),
        (map(Type::U8, Type::U8), Value::Map(vec![(n(1), n(3))])),
        (fields([("a", Type::U8), ("b", Type::Bool)]), parts([n(1), Value::Bool(true)])),
        (fields([("a", Type::U8), ("b", Type::Bool)]), parts([n(1), Value::Bool(false)])),
        (fields([("b", Type::U8), ("a", Type::Bool)]), parts([n(1), Value::Bool(true)])),
        (variants(NAMES), Value::Variant(0, vec![])),
        (variants(NAMES), Value::Variant(1, vec![n(1)])),
        (variants(NAMES), Value::Variant(1, vec![n(2)])),
        (variants(NAMES), Value::Variant(3, vec![n(1)])),
        (variants(["D", "C", "B", "A"]), Value::Variant(0, vec![])),
    ];
    for (at, one) in values.iter().enumerate() {
        for (other_at, other) in values.iter().enumerate() {
            // A tuple's parts have no names, and names that are the same in another order are other parts.
            assert_eq!(alike(one.clone(), other.clone()), at == other_at, "{one:?} and {other:?}");
        }
    }
}

#[test]
fn other_names_and_what_is_wrapped_around_a_value_make_it_no_other_one() {
    let (byte, octets) = ((Type::U8, n(1)), (Type::Bytes, Value::Bytes(vec![7, 8])));
    let two = |of: Type| (of, parts([n(1), Value::Bool(true)]));
    let plain = two(fields([("a", Type::U8), ("b", Type::Bool)]));
    let unit_between = Type::Tuple(vec![Type::U8, Type::Unit, Type::Bool]);
    let held = |name, variants| (variants, Value::Variant(name, vec![n(1)]));
    let enum_of = |parts| {
        let variants = vec![Named { name: "A".to_owned(), parts }];
        Type::Enum(Enum { name: "E".to_owned(), variants })
    };
    let octets_of = || Type::Tuple(vec![Type::U8, Type::U8]);
    let around = |of| (enum_of(Parts::Newtype(Box::new(of))), Value::Variant(0, vec![parts([n(1), n(2)])]));
    let bare = (enum_of(Parts::Tuple(vec![Type::U8, Type::U8])), Value::Variant(0, vec![n(1), n(2)]));
    let named_unit = Type::fields("T", [("a", Type::U8), ("u", Type::Unit), ("b", Type::Bool)]);
    for (one, other) in [
        (byte.clone(), (newtype("N", Type::U8), parts([n(1)]))),
        (byte.clone(), (Type::Tuple(vec![Type::U8]), parts([n(1)]))),
        (byte, (newtype("N", newtype("M", Type::U8)), parts([parts([n(1)])]))),
        (octets, (list(Type::U8), Value::Seq(vec![n(7), n(8)]))),
        (plain.clone(), two(Type::fields("Other", [("a", Type::U8), ("b", Type::Bool)]))),
        (plain.clone(), two(fields([("a", Type::U8), ("c", Type::Bool)]))),
        (plain.clone(), two(Type::Tuple(vec![Type::U8, Type::Bool]))),
        (plain.clone(), (unit_between, parts([n(1), parts([]), Value::Bool(true)]))),
        (plain, (named_unit, parts([n(1), parts([]), Value::Bool(true)]))),
        (held(1, variants(NAMES)), held(1, variants(["A", "Other", "C", "D"]))),
        (around(octets_of()), around(fields([("a", Type::U8), ("b", Type::U8)]))),
        (around(octets_of()), bare),
        (
            (map(Type::U8, Type::U8), Value::Map(vec![(n(1), n(2))])),
            (list(Type::Tuple(vec![Type::U8, Type::U8])), Value::Seq(vec![parts([n(1), n(2)])])),
        ),
        ((map(Type::U8, Type::Unit), Value::Map(vec![(n(1), parts([]))])), (list(Type::U16), Value::Seq(vec![n(1)]))),
        (
            (map(octets_of(), Type::Unit), Value::Map(vec![(parts([n(1), n(2)]), parts([]))])),
            (list(octets_of()), Value::Seq(vec![parts([n(1), n(2)])])),
        ),
        ((list(newtype("N", Type::U16)), Value::Seq(vec![parts([n(1)])])), (list(Type::U32), Value::Seq(vec![n(1)]))),
        ((option(Type::U8), some(n(1))), (option(Type::U32), some(n(1)))),
    ] {
        assert!(alike(one.clone(), other.clone()), "{one:?} and {other:?}");
    }
}

#[test]
fn a_part_is_another_one_where_its_name_is_gone_and_the_new_one_was_there_before() {
    let of = |names: [&str; 2]| (fields(names.map(|name| (name, Type::U8))), parts([n(1), n(1)]));
    assert!(!alike(of(["a", "b"]), of(["b", "c"])));
    assert!(!alike(of(["a", "b"]), of(["b", "a"])));
    assert!(alike(of(["a", "b"]), of(["c", "b"])));
    assert!(alike(of(["a", "b"]), of(["c", "d"])));
    let first = |names: [&str; 2]| (of_units("E", &names), Value::Variant(0, vec![]));
    assert!(!alike(first(["A", "B"]), first(["B", "C"])), "of variants, one is all that a value shows");
    assert!(alike(first(["A", "B"]), first(["C", "B"])));
}

#[test]
fn all_headers_and_the_payload_count() {
    let layout = |headers: &[Type]| Layout { headers: headers.into(), payload: true };
    let two = layout(&[Type::U8, Type::U8]);
    let carried = |first, second, payload: u8| Carried { headers: vec![n(first), n(second)], payload: vec![payload] };
    let first = carried(1, 2, 3);
    for (other, expected) in
        [(carried(1, 2, 3), true), (carried(9, 2, 3), false), (carried(1, 9, 3), false), (carried(1, 2, 9), false)]
    {
        assert_eq!(same((&two, &first), (&two, &other)), expected, "{other:?}");
    }
    let one = Carried { headers: vec![n(1)], payload: vec![3] };
    assert!(!same((&two, &first), (&layout(&[Type::U8]), &one)) && !same((&layout(&[Type::U8]), &one), (&two, &first)));
    let empty = Carried { headers: vec![n(1), parts([]), n(2)], payload: vec![3] };
    assert!(same((&two, &first), (&layout(&[Type::U8, Type::Unit, Type::U8]), &empty)), "it takes no bytes");
}
