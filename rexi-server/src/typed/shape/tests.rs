//! Which values share a shape, and that shapes stay what they are.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use super::{NESTING_MAX, Shape, ShapeError};

fn shape(value: &impl Serialize) -> u32 {
    Shape::of(value).expect("it has a shape").0
}

#[derive(Serialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Serialize)]
enum Color {
    Red,
    Named(String),
    Mixed { red: u8, green: u8 },
}

/// They are part of the format: a shape that changes is refused by every node of another build.
#[test]
fn shapes_are_what_they_always_were() {
    let golden = [
        ("bool", shape(&true), GOLDEN[0]),
        ("u32", shape(&1_u32), GOLDEN[1]),
        ("text", shape(&"text"), GOLDEN[2]),
        ("none", shape(&None::<u8>), GOLDEN[3]),
        ("some", shape(&Some(1_u8)), GOLDEN[4]),
        ("tuple", shape(&(1_u8, "a")), GOLDEN[5]),
        ("list", shape(&vec![1_u8, 2]), GOLDEN[6]),
        ("map", shape(&BTreeMap::from([("a", 1_u64)])), GOLDEN[7]),
        ("struct", shape(&Point { x: 1, y: 2 }), GOLDEN[8]),
        ("unit variant", shape(&Color::Red), GOLDEN[9]),
        ("newtype variant", shape(&Color::Named("red".into())), GOLDEN[10]),
        ("struct variant", shape(&Color::Mixed { red: 1, green: 2 }), GOLDEN[11]),
    ];
    for (name, now, known) in golden {
        assert_eq!(format!("{now:08x}"), format!("{known:08x}"), "{name}");
    }
}

const GOLDEN: [u32; 12] = [
    0x2962_0a60,
    0x2962_0788,
    0x2962_0212,
    0x2962_1d10,
    0xc162_61fa,
    0x85e9_53b4,
    0x4bea_1d89,
    0xc989_d259,
    0x4e07_3f77,
    0xc8c9_4e8a,
    0xbe04_5a74,
    0xc4a5_7806,
];

#[test]
fn every_primitive_has_a_shape_of_its_own() {
    let shapes = [
        shape(&true),
        shape(&1_i8),
        shape(&1_i16),
        shape(&1_i32),
        shape(&1_i64),
        shape(&1_i128),
        shape(&1_u8),
        shape(&1_u16),
        shape(&1_u32),
        shape(&1_u64),
        shape(&1_u128),
        shape(&1_f32),
        shape(&1_f64),
        shape(&'a'),
        shape(&"a"),
        shape(&()),
        shape(&None::<u8>),
        shape(&Some(1_u8)),
        shape(&[1_u8]),
        shape(&vec![1_u8]),
        shape(&BTreeMap::from([(1_u8, 1_u8)])),
    ];
    assert_eq!(shapes.iter().collect::<HashSet<_>>().len(), shapes.len(), "{shapes:x?}");
}

#[test]
fn what_a_value_holds_does_not_count() {
    assert_eq!(shape(&1_u32), shape(&u32::MAX));
    assert_eq!(shape(&Point { x: 1, y: 2 }), shape(&Point { x: -1, y: i32::MAX }));
    assert_eq!(shape(&vec!["a", "b"]), shape(&vec!["", "long"]));
}

#[test]
fn the_order_of_elements_does_not_count_and_their_number_does() {
    assert_eq!(shape(&vec![Some(1), None]), shape(&vec![None, Some(1)]));
    assert_ne!(shape(&vec![1]), shape(&vec![1, 2]));
    assert_ne!(shape(&vec![Some(1), None]), shape(&vec![Some(1), Some(1)]));
    assert_ne!(shape(&(Some(1), None::<i32>)), shape(&(None::<i32>, Some(1))), "in a tuple the order counts");
    assert_ne!(shape(&BTreeMap::from([(1_u8, 'a')])), shape(&BTreeMap::from([('a', 1_u8)])));
}

#[test]
fn a_type_takes_the_form_that_the_codec_sees() {
    // As text for readers, as a variant with four bytes for machines.
    let address = IpAddr::from(Ipv4Addr::LOCALHOST);
    assert_ne!(shape(&address), shape(&"127.0.0.1"));
}

#[derive(Serialize)]
struct Nested(Option<Box<Nested>>);

fn nested(levels: usize) -> Nested {
    (0..levels).fold(Nested(None), |inner, _| Nested(Some(Box::new(inner))))
}

#[test]
fn nesting_is_bounded() {
    // Two levels each, a newtype and an option, and the innermost too.
    assert!(Shape::of(&nested(NESTING_MAX / 2 - 1)).is_ok());
    assert_eq!(Shape::of(&nested(NESTING_MAX / 2)), Err(ShapeError::Nested));
}

#[test]
fn a_field_that_is_left_out_is_refused() {
    #[derive(Serialize)]
    struct Partial {
        #[serde(skip_serializing_if = "Option::is_none")]
        maybe: Option<u8>,
    }
    assert!(Shape::of(&Partial { maybe: Some(1) }).is_ok());
    assert_eq!(Shape::of(&Partial { maybe: None }), Err(ShapeError::Skipped("maybe")));
}
