//! Which values of one type pass for another type, and which do not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;

use proptest::collection::{btree_map, hash_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{PayloadError, SHAPE_BYTES, Shape, decode, encode};
use crate::calls::CallError;
use crate::functions::{self, AskError};
use crate::typed::bounded::NESTING_MAX;
use crate::typed::function::Payload;

/// The types as another build has them: the same names, built otherwise.
mod other {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Point {
        pub(super) y: i32,
        pub(super) x: i32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Color {
        Green,
        Red,
        Blue,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Grown {
        Red,
        Green,
        Named(String),
        Blue,
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Size {
    x: i32,
    y: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Color {
    Red,
    Green,
    Named(String),
}

/// `Color` of the next release.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Color")]
enum NextColor {
    Red,
    Green,
    Named(String),
    Blue,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Meters(u32);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Feet(u32);

/// What `value` is as a `T`.
fn pass<T: Payload>(value: &impl Payload) -> Result<T, PayloadError> {
    decode(&encode(value).expect("it can be encoded"))
}

/// That the codec alone would take `value` for a `T`, and that the shape tells.
#[track_caller]
fn caught<T: Payload + Debug>(value: &impl Payload) {
    let body = postcard::to_stdvec(value).expect("it can be encoded");
    assert!(postcard::from_bytes::<T>(&body).is_ok(), "the codec would have found it");
    let error = pass::<T>(value).expect_err("another type");
    assert!(matches!(error, PayloadError::OtherShape { .. }), "{error}");
}

#[test]
fn bytes_travel_as_one_run_and_not_as_a_list_of_numbers() {
    let (bytes, numbers) = (bytes::Bytes::from_static(b"abc"), b"abc".to_vec());
    assert_eq!(encode(&bytes).expect("a payload")[4..], *b"\x03abc");
    assert_eq!(decode::<bytes::Bytes>(&encode(&bytes).expect("a payload")), Ok(bytes.clone()));
    let other = decode::<Vec<u8>>(&encode(&bytes).expect("a payload"));
    assert!(matches!(other, Err(PayloadError::OtherShape { .. })), "{other:?}");
    assert_ne!(encode(&bytes), encode(&numbers));
}

#[test]
fn what_the_codec_would_misread_is_caught() {
    caught::<i32>(&7_u32);
    caught::<u64>(&7_u32);
    caught::<u32>(&7_u64);
    caught::<f32>(&[0_u8; 4]);
    caught::<Vec<u8>>(&"text".to_owned());
    caught::<String>(&b"text".to_vec());
    caught::<bool>(&1_u8);
    caught::<Option<u8>>(&(true, 5_u8));
    caught::<Option<u8>>(&vec![5_u8]);
    caught::<Vec<Point>>(&BTreeMap::from([(1, 2)]));
    caught::<other::Point>(&Point { x: 1, y: 2 });
    caught::<Size>(&Point { x: 1, y: 2 });
    caught::<(i32, i32)>(&Point { x: 1, y: 2 });
    caught::<Feet>(&Meters(3));
    caught::<u32>(&Meters(3));
    caught::<other::Color>(&Color::Red);
    caught::<other::Color>(&Color::Green);
    caught::<other::Grown>(&Color::Red);
    caught::<Vec<Size>>(&vec![Point { x: 1, y: 2 }; 3]);
    caught::<HashMap<u8, Size>>(&HashMap::from([(1_u8, Point { x: 1, y: 2 })]));
    caught::<Result<Size, String>>(&Ok::<_, String>(Point { x: 1, y: 2 }));
}

#[test]
fn what_the_codec_finds_is_told_with_the_type_that_is_expected() {
    let error = pass::<other::Color>(&Color::Named("teal".into())).expect_err("more bytes");
    assert!(error.to_string().contains("Color"), "{error}");
    assert!(matches!(pass::<u8>(&(1_u8, 2_u8)), Err(PayloadError::TrailingBytes { bytes: 1, .. })));
    assert!(matches!(pass::<(u8, u8)>(&1_u8), Err(PayloadError::Malformed { .. })));
    assert!(matches!(pass::<bool>(&2_u8), Err(PayloadError::Malformed { .. })));
    for bytes in 0..4 {
        assert_eq!(decode::<()>(&vec![0; bytes]), Err(PayloadError::TooShort { bytes }));
    }
}

#[test]
fn an_enum_may_gain_variants_at_its_end() {
    assert_eq!(pass::<NextColor>(&Color::Red), Ok(NextColor::Red));
    assert_eq!(pass::<Color>(&NextColor::Named("teal".into())), Ok(Color::Named("teal".into())));
    assert!(matches!(pass::<Color>(&NextColor::Blue), Err(PayloadError::Malformed { .. })), "once it is used");
}

crate::function! {
    /// Points from here on.
    Points = "points" (u32) -> stream Point, error String, since 1.0;
}

#[test]
fn a_stream_has_items_and_an_end() {
    let point = Point { x: 1, y: 2 };
    let item = encode(&point).expect("it can be encoded");
    assert_eq!(functions::item(Points, &item), Ok(point.clone()));
    let end = |end: Result<Option<Point>, String>| functions::last(Points, &encode(&end).expect("it can be encoded"));
    assert_eq!(end(Ok(Some(point.clone()))), Ok(Some(point)));
    assert_eq!(end(Ok(None)), Ok(None));
    assert_eq!(end(Err("lost".into())), Err(AskError::Function("lost".into())));
    let is_wrong =
        |error: &CallError| matches!(error, CallError::WrongReply { function, .. } if &**function == "points");
    let error = functions::item(Points, &encode(&Size { x: 1, y: 2 }).expect("it can be encoded"));
    assert!(is_wrong(&error.expect_err("another struct")));
    let Err(AskError::Call(error)) = functions::last(Points, &item) else { panic!("an item is no end") };
    assert!(is_wrong(&error), "{error}");
}

/// These are the limits of it, as the module's documentation says.
#[test]
fn what_the_value_does_not_show_passes() {
    assert_eq!(pass::<Vec<Size>>(&Vec::<Point>::new()), Ok(vec![]));
    assert_eq!(pass::<Option<Size>>(&None::<Point>), Ok(None));
    assert_eq!(pass::<Result<u8, Size>>(&Ok::<u8, Point>(1)), Ok(Ok(1)));
    assert_eq!(pass::<u64>(&7_usize), Ok(7));
    assert_eq!(pass::<Vec<u8>>(&BTreeSet::from([1_u8, 2])), Ok(vec![1, 2]));
    assert_eq!(pass::<Box<Point>>(&Point { x: 1, y: 2 }), Ok(Box::new(Point { x: 1, y: 2 })));
}

#[test]
fn needless_bytes_are_refused() {
    let mut payload = encode(&5_u32).expect("it can be encoded").to_vec();
    assert_eq!(payload.pop(), Some(5));
    payload.extend([0x85, 0]);
    assert!(matches!(decode::<u32>(&payload), Err(PayloadError::NotCanonical { bytes: 2, canonical: 1, .. })));
}

#[test]
fn a_hash_set_may_be_walked_in_any_order() {
    let set: HashSet<Color> = (0..50).map(|i| Color::Named(i.to_string())).chain([Color::Red, Color::Green]).collect();
    assert_eq!(pass::<HashSet<Color>>(&set), Ok(set));
}

#[test]
fn a_long_list_of_bytes_is_taken() {
    let bytes = vec![7_u8; 1 << 20];
    assert!(pass::<Vec<u8>>(&bytes) == Ok(bytes));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested(Option<Box<Nested>>);

fn nested(levels: usize) -> Nested {
    (0..levels).fold(Nested(None), |inner, _| Nested(Some(Box::new(inner))))
}

#[test]
fn nesting_has_the_same_bound_on_both_sides() {
    let deepest = nested(NESTING_MAX / 2 - 1);
    let payload = encode(&deepest).expect("it is not too deep");
    assert_eq!(decode::<Nested>(&payload), Ok(deepest));
    assert!(matches!(encode(&nested(NESTING_MAX / 2)), Err(PayloadError::NoShape(_))));
    // One level more, by hand: 1 is Some.
    let deeper = [&payload[..4], &[1], &payload[4..]].concat();
    assert!(matches!(decode::<Nested>(&deeper), Err(PayloadError::Nested { .. })));
}

#[test]
fn a_payload_that_would_overflow_the_stack_is_refused() {
    assert!(matches!(decode::<Nested>(&[1; 100_000]), Err(PayloadError::Nested { .. })));
}

#[test]
fn a_few_bytes_do_not_become_endless_elements() {
    let endless = [0, 0, 0, 0, 255, 255, 255, 255, 127];
    assert!(matches!(decode::<Vec<()>>(&endless), Err(PayloadError::Memory { .. })));
    assert!(matches!(decode::<HashMap<(), ()>>(&endless), Err(PayloadError::Memory { .. })));
    assert!(decode::<Vec<Vec<()>>>(&[&[0, 0, 0, 0, 1][..], &endless[4..]].concat()).is_err());
}

#[test]
fn a_byte_each_does_not_become_a_kilobyte_each() {
    // By a sender to whom they are small.
    let nones = |count: usize| vec![None::<u8>; count];
    assert!(pass::<Vec<Option<[u128; 32]>>>(&nones(7_000)).is_ok(), "as many as 4 MiB hold may");
    let error = pass::<Vec<Option<[u128; 32]>>>(&nones(9_000)).expect_err("more may not");
    assert!(matches!(error, PayloadError::Memory { .. }), "{error}");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    numbers: (i8, u16, i64, u128),
    real: f64,
    letter: char,
    text: String,
    maybe: Option<Point>,
    colors: HashSet<Color>,
    table: BTreeMap<String, Vec<Point>>,
    nothing: (),
    outcome: Result<u8, String>,
}

fn everything() -> impl Strategy<Value = Everything> {
    let point = || (any::<i32>(), any::<i32>()).prop_map(|(x, y)| Point { x, y });
    let color = prop_oneof![Just(Color::Red), Just(Color::Green), ".{0,9}".prop_map(Color::Named)];
    let numbers = (any::<i8>(), any::<u16>(), any::<i64>(), any::<u128>());
    let first = (any::<bool>(), numbers, -1e9..1e9_f64, any::<char>(), ".{0,20}");
    let second = (
        option::of(point()),
        hash_set(color, 0..20),
        btree_map(".{0,9}", vec(point(), 0..5), 0..9),
        prop_oneof![any::<u8>().prop_map(Ok), ".{0,9}".prop_map(Err)],
    );
    (first, second).prop_map(|((flag, numbers, real, letter, text), (maybe, colors, table, outcome))| Everything {
        flag,
        numbers,
        real,
        letter,
        text,
        maybe,
        colors,
        table,
        nothing: (),
        outcome,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_survives(value in everything()) {
        prop_assert_eq!(pass::<Everything>(&value), Ok(value));
    }

    #[test]
    fn any_bytes_are_a_value_in_its_only_encoding_or_refused(
        value in everything(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut payload = encode(&value).expect("it can be encoded").to_vec();
        let at = at.index(payload.len());
        payload[at] = byte;
        if let Ok(other) = decode::<Everything>(&payload) {
            prop_assert_eq!(encode(&other).expect("it was decoded").len(), payload.len());
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    version: u64,
    value: String,
    etag: String,
}

#[test]
fn what_is_encoded_is_decoded_and_what_would_not_be_is_refused_where_it_is_encoded() {
    let row = |n: usize| Row { version: n as u64, value: "v".repeat(n % 7), etag: String::new() };
    let mut refused = 0;
    for n in [0, 1, 1_149, 2_000, 3_000, 5_000, 100_000, 200_000] {
        // Options that are empty take a byte each on the wire, and a row each in memory.
        let absent = vec![None::<Row>; n];
        match encode(&absent) {
            Ok(bytes) => assert_eq!(decode::<Vec<Option<Row>>>(&bytes).expect("as it was let out"), absent, "{n}"),
            Err(error) => {
                assert!(error.to_string().contains("send it in parts"), "{error}");
                refused += 1;
            }
        }
        let rows: Vec<(usize, Row)> = (0..n.min(5_000)).map(|n| (n, row(n))).collect();
        let map: BTreeMap<usize, Row> = rows.iter().cloned().collect();
        let bytes = encode(&(rows.clone(), map.clone())).expect("rows of some bytes each");
        assert_eq!(decode::<(Vec<(usize, Row)>, BTreeMap<usize, Row>)>(&bytes), Ok((rows, map)));
    }
    assert_eq!(refused, 1, "4 MiB hold 74,898 rows, and 32 bytes for each byte of the payload are 174,762");
}

/// A value that takes all that is allowed is let out and read back; with a byte more it is neither let out nor read.
#[test]
fn both_ends_charge_the_same() {
    type Nested = (Vec<Vec<Option<(u64, String)>>>, BTreeMap<u16, Vec<[u32; 3]>>, Vec<()>);
    let nested = |units: usize| -> Nested {
        (vec![vec![None; 10], vec![Some((7, "x".to_owned())); 3]], [(3, vec![[1, 2, 3]; 5])].into(), vec![(); units])
    };
    // Each unit takes no byte, and is charged with one.
    let (mut most, mut refused) = (4_194_304_usize - 1_000, 4_194_304 + 3_000);
    while refused - most > 1 {
        let between = most.midpoint(refused);
        if encode(&nested(between)).is_ok() { most = between } else { refused = between }
    }
    let payload = encode(&nested(most)).expect("all that is allowed");
    assert_eq!(decode::<Nested>(&payload), Ok(nested(most)));
    let error = encode(&nested(refused)).expect_err("one more");
    assert!(matches!(error, PayloadError::Memory { .. }), "{error}");
    let mut forged = payload.to_vec();
    forged[..SHAPE_BYTES].copy_from_slice(&Shape::of(&nested(refused)).expect("a shape").0.to_le_bytes());
    let [count, one_more] = [most, refused].map(|count| postcard::to_allocvec(&count).expect("it fits"));
    let end = forged.len() - count.len();
    assert_eq!(forged[end..], count);
    forged[end..].copy_from_slice(&one_more);
    assert!(matches!(decode::<Nested>(&forged), Err(PayloadError::Memory { .. })), "nor is it read");
}
