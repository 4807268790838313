//! Random values of a schema, including those at the bounds: zero, the widths of varints, the ends of each number.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;

use super::schema::{Layout, Parts, Type};
use super::value::{Carried, Scope, Value};

/// A value of a layout.
pub(super) fn carried(layout: &Layout, rng: &mut Xoshiro256PlusPlus) -> Carried {
    let headers: Vec<Value> = layout.headers.iter().map(|header| value(&Scope::new(header), DEPTH_MAX, rng)).collect();
    let mut carried = Carried { headers, payload: Vec::new() };
    if layout.payload {
        let with = Carried { payload: octets(rng), ..carried.clone() };
        // With `bulk` filled there is no payload, as the reader says.
        if Carried::decode(layout, &with.encode(layout)).is_ok() {
            carried = with;
        }
    }
    carried
}

/// How deeply a value of a recursive type is nested before it is ended.
const DEPTH_MAX: u32 = 12;

fn value(scope: &Scope<'_>, depth: u32, rng: &mut Xoshiro256PlusPlus) -> Value {
    let below = depth.saturating_sub(1);
    let inner = |r#type, rng: &mut Xoshiro256PlusPlus| value(&scope.inner(r#type), below, rng);
    match scope.r#type {
        Type::Unit => Value::Parts(Vec::new()),
        Type::Tuple(parts) => Value::Parts(parts.iter().map(|part| inner(part, rng)).collect()),
        Type::Struct(named) => Value::Parts(parts(&named.parts, |part| inner(part, rng))),
        Type::Enum(of) => {
            let plain = of.variants.iter().position(|variant| !variant.parts.types().iter().any(|part| recurs(part)));
            let index = if depth == 0 { plain.unwrap_or(0) } else { rng.random_range(0..of.variants.len()) };
            Value::Variant(index as u32, parts(&of.variants[index].parts, |part| inner(part, rng)))
        }
        Type::Option(r#type) => {
            let filled = depth > 0 && rng.random_bool(0.6);
            Value::Option(filled.then(|| Box::new(inner(r#type, rng))))
        }
        Type::Seq(r#type) => {
            let length = if depth == 0 { 0 } else { rng.random_range(0..4) };
            Value::Seq((0..length).map(|_| inner(r#type, rng)).collect())
        }
        Type::Map(key, r#type) => {
            let length = if depth == 0 { 0 } else { rng.random_range(0..3) };
            let mut entries: Vec<_> = (0..length).map(|_| (inner(key, rng), inner(r#type, rng))).collect();
            // A real map has each key once.
            entries.sort();
            entries.dedup_by(|a, b| a.0 == b.0);
            Value::Map(entries)
        }
        plain => primitive(plain, rng),
    }
}

fn parts<'a>(parts: &'a Parts, inner: impl FnMut(&'a Type) -> Value) -> Vec<Value> {
    parts.types().into_iter().map(inner).collect()
}

fn recurs(r#type: &Type) -> bool {
    matches!(r#type, Type::Recursive(_))
        || matches!(r#type, Type::Struct(named) if named.parts.types().into_iter().any(recurs))
}

fn primitive(r#type: &Type, rng: &mut Xoshiro256PlusPlus) -> Value {
    let unsigned = |max: u128, rng: &mut Xoshiro256PlusPlus| {
        let bounds =
            [0, 1, 2, 3, 5, 127, 128, 255, 256, 16_383, 16_384, u128::from(u16::MAX), max / 2, max / 2 + 1, max];
        let bound = bounds.choose(rng).copied().unwrap_or(0);
        Value::Unsigned(if rng.random_bool(0.7) { bound.min(max) } else { rng.random_range(0..=max) })
    };
    let signed = |max: i128, rng: &mut Xoshiro256PlusPlus| {
        let bounds = [0, 1, -1, 2, -2, 63, 64, -64, -65, 127, -128, 8_191, 8_192, max, -max - 1];
        let bound = bounds.choose(rng).copied().unwrap_or(0);
        Value::Signed(if rng.random_bool(0.7) { bound.clamp(-max - 1, max) } else { rng.random_range(-max..=max) })
    };
    match r#type {
        Type::Bool => Value::Bool(rng.random()),
        Type::U8 => unsigned(u8::MAX.into(), rng),
        Type::U16 => unsigned(u16::MAX.into(), rng),
        Type::U32 => unsigned(u32::MAX.into(), rng),
        Type::U64 => unsigned(u64::MAX.into(), rng),
        Type::U128 => unsigned(u128::MAX, rng),
        Type::I8 => signed(i8::MAX.into(), rng),
        Type::I16 => signed(i16::MAX.into(), rng),
        Type::I32 => signed(i32::MAX.into(), rng),
        Type::I64 => signed(i64::MAX.into(), rng),
        Type::I128 => signed(i128::MAX, rng),
        Type::F32 => Value::Float(f32::to_bits(*[0.0, 1.0, -1.5, 2e9].choose(rng).unwrap_or(&0.0)).into()),
        Type::F64 => Value::Float(f64::to_bits(*[0.0, 1.0, -1.5, 2e99].choose(rng).unwrap_or(&0.0))),
        Type::Char => Value::Char(*['a', '\0', '\u{1}', 'é', '€', '🦀'].choose(rng).unwrap_or(&'a')),
        Type::Bytes => Value::Bytes(octets(rng)),
        _ => {
            let length = rng.random_range(0..6);
            let chars = ['\0', '\u{1}', '\u{2}', 'a', 'z', 'é'];
            Value::Str((0..length).map(|_| *chars.choose(rng).unwrap_or(&'a')).collect())
        }
    }
}

fn octets(rng: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let length = rng.random_range(0..6);
    (0..length).map(|_| if rng.random_bool(0.5) { rng.random_range(0..4) } else { rng.random() }).collect()
}
