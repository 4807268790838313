//! Values of any schema, in the real postcard: written through serde, read through serde, as strictly as frames are.
//!
//! In: a schema and a value, or bytes. Out: bytes, or a value, or why not. What counts as the same value on the other
//! side of a change is said in `same.rs`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use postcard::ser_flavors::Size;
use rexi_server::typed::Shape;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::schema::{Layout, Parts, Type};

/// A value. Parts of a tuple, a struct or a variant are in order, without names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is serde's value of the same name")]
pub enum Value {
    Bool(bool),
    Unsigned(u128),
    Signed(i128),
    /// A float, by its bits.
    Float(u64),
    Char(char),
    Str(String),
    Bytes(Vec<u8>),
    Option(Option<Box<Self>>),
    Seq(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Parts(Vec<Self>),
    Variant(u32, Vec<Self>),
}

/// All that a frame or a typed payload carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// A value for each header.
    pub headers: Vec<Value>,
    /// What follows them.
    pub payload: Vec<u8>,
}

impl Carried {
    /// One value and nothing else.
    pub fn of(root: Value) -> Self {
        Self { headers: vec![root], payload: Vec::new() }
    }

    /// The bytes of it.
    ///
    /// # Panics
    /// Where the values are not of the layout.
    pub fn encode(&self, layout: &Layout) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (r#type, value) in layout.headers.iter().zip(&self.headers) {
            bytes = postcard::to_extend(&Typed::new(r#type, value), bytes).expect("a value of its own schema");
        }
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Reads bytes as this layout: all of them, in canonical form.
    ///
    /// # Errors
    /// What the real decoder would say.
    pub fn decode(layout: &Layout, mut bytes: &[u8]) -> Result<Self, String> {
        let mut headers = Vec::new();
        for r#type in &layout.headers {
            let mut codec = postcard::Deserializer::from_bytes(bytes);
            let value = Seed::new(r#type).deserialize(&mut codec).map_err(|error| error.to_string())?;
            let rest = codec.finalize().map_err(|error| error.to_string())?;
            let canonical = postcard::serialize_with_flavor(&Typed::new(r#type, &value), Size::default());
            let (read, canonical) = (bytes.len() - rest.len(), canonical.map_err(|error| error.to_string())?);
            if read != canonical {
                return Err(format!("it takes {read} bytes where {canonical} suffice"));
            }
            headers.push(value);
            bytes = rest;
        }
        let inline = layout.payload && !bulk(layout, &headers);
        if !inline && !bytes.is_empty() {
            return Err(format!("it has {} bytes after its end", bytes.len()));
        }
        Ok(Self { headers, payload: bytes.to_vec() })
    }
}

/// Whether the last header's field `bulk` is filled, so that no payload follows.
fn bulk(layout: &Layout, headers: &[Value]) -> bool {
    let (Some(Type::Struct(named)), Some(Value::Parts(values))) = (layout.headers.last(), headers.last()) else {
        return false;
    };
    let field = named.parts.labels().iter().position(|&label| label == "bulk");
    matches!(field.and_then(|field| values.get(field)), Some(Value::Option(Some(_))))
}

/// The shape that a typed payload of this value opens with.
///
/// # Errors
/// Where the server would refuse it: nested too deeply.
pub fn shape(r#type: &Type, value: &Value) -> Result<Shape, String> {
    Shape::of(&Typed::new(r#type, value)).map_err(|error| error.to_string())
}

/// A schema with the types that it is inside of, which it may refer to.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    pub(super) r#type: &'a Type,
    outer: Vec<&'a Type>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(r#type: &'a Type) -> Self {
        Self { r#type, outer: Vec::new() }
    }

    pub(super) fn inner(&self, r#type: &'a Type) -> Self {
        let mut outer = self.outer.clone();
        if matches!(self.r#type, Type::Struct(_) | Type::Enum(_)) {
            outer.push(self.r#type);
        }
        match r#type {
            Type::Recursive(name) => {
                let at =
                    outer.iter().rposition(|of| of.title() == *name).expect("a type refers to what it is inside of");
                let r#type = outer[at];
                outer.truncate(at);
                Self { r#type, outer }
            }
            r#type => Self { r#type, outer },
        }
    }
}

/// A value with its schema, as serde writes it.
struct Typed<'a> {
    scope: Scope<'a>,
    value: &'a Value,
}

impl<'a> Typed<'a> {
    fn new(r#type: &'a Type, value: &'a Value) -> Self {
        Self { scope: Scope::new(r#type), value }
    }

    fn inner(&self, r#type: &'a Type, value: &'a Value) -> Self {
        Self { scope: self.scope.inner(r#type), value }
    }

    fn parts(&self, parts: &'a Parts, values: &'a [Value]) -> Vec<(&'static str, Self)> {
        let labels = parts.labels().into_iter().map(kept);
        labels.zip(parts.types().into_iter().zip(values).map(|(r#type, value)| self.inner(r#type, value))).collect()
    }
}

macro_rules! each {
    ($access:expr, $method:ident, $parts:expr) => {{
        let mut access = $access;
        for (_, part) in $parts {
            access.$method(&part)?;
        }
        access.end()
    }};
    ($access:expr, named $parts:expr) => {{
        let mut access = $access;
        for (label, part) in $parts {
            access.serialize_field(label, &part)?;
        }
        access.end()
    }};
}

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match (self.scope.r#type, self.value) {
            (Type::Unit, _) => to.serialize_unit(),
            (Type::Bool, Value::Bool(value)) => to.serialize_bool(*value),
            (r#type, Value::Unsigned(value)) => unsigned(r#type, *value, to),
            (r#type, Value::Signed(value)) => signed(r#type, *value, to),
            (Type::F32, Value::Float(bits)) => to.serialize_f32(f32::from_bits(*bits as u32)),
            (Type::F64, Value::Float(bits)) => to.serialize_f64(f64::from_bits(*bits)),
            (Type::Char, Value::Char(value)) => to.serialize_char(*value),
            (Type::Str, Value::Str(value)) => to.serialize_str(value),
            (Type::Bytes, Value::Bytes(value)) => to.serialize_bytes(value),
            (Type::Option(_), Value::Option(None)) => to.serialize_none(),
            (Type::Option(inner), Value::Option(Some(value))) => to.serialize_some(&self.inner(inner, value)),
            (Type::Seq(inner), Value::Seq(values)) => {
                let mut seq = to.serialize_seq(Some(values.len()))?;
                for value in values {
                    seq.serialize_element(&self.inner(inner, value))?;
                }
                seq.end()
            }
            (Type::Map(key, inner), Value::Map(entries)) => {
                let mut map = to.serialize_map(Some(entries.len()))?;
                for (k, v) in entries {
                    map.serialize_entry(&self.inner(key, k), &self.inner(inner, v))?;
                }
                map.end()
            }
            (Type::Tuple(types), Value::Parts(values)) => {
                let parts = types.iter().zip(values).map(|(r#type, value)| ("", self.inner(r#type, value)));
                each!(to.serialize_tuple(types.len())?, serialize_element, parts)
            }
            (Type::Struct(named), Value::Parts(values)) => {
                let name = kept(&named.name);
                let mut parts = self.parts(&named.parts, values);
                match (&named.parts, parts.len()) {
                    (Parts::Unit, _) => to.serialize_unit_struct(name),
                    (Parts::Newtype(_), 1) => to.serialize_newtype_struct(name, &parts.remove(0).1),
                    (Parts::Fields(_), n) => each!(to.serialize_struct(name, n)?, named parts),
                    (_, n) => each!(to.serialize_tuple_struct(name, n)?, serialize_field, parts),
                }
            }
            (Type::Enum(of), Value::Variant(index, values)) => {
                let variant = of.variants.get(*index as usize).ok_or_else(|| S::Error::custom("no such variant"))?;
                let (of, name) = (kept(&of.name), kept(&variant.name));
                let mut parts = self.parts(&variant.parts, values);
                match (&variant.parts, parts.len()) {
                    (Parts::Unit, _) => to.serialize_unit_variant(of, *index, name),
                    (Parts::Newtype(_), 1) => to.serialize_newtype_variant(of, *index, name, &parts.remove(0).1),
                    (Parts::Fields(_), n) => {
                        each!(to.serialize_struct_variant(of, *index, name, n)?, named parts)
                    }
                    (_, n) => each!(to.serialize_tuple_variant(of, *index, name, n)?, serialize_field, parts),
                }
            }
            (r#type, value) => Err(S::Error::custom(format!("{value:?} is not a {type}"))),
        }
    }
}

fn unsigned<S: Serializer>(r#type: &Type, value: u128, to: S) -> Result<S::Ok, S::Error> {
    let out = |_| S::Error::custom(format!("{value} is not a {type}"));
    match r#type {
        Type::U8 => to.serialize_u8(value.try_into().map_err(out)?),
        Type::U16 => to.serialize_u16(value.try_into().map_err(out)?),
        Type::U32 => to.serialize_u32(value.try_into().map_err(out)?),
        Type::U64 => to.serialize_u64(value.try_into().map_err(out)?),
        Type::U128 => to.serialize_u128(value),
        r#type => Err(S::Error::custom(format!("{value} is not a {type}"))),
    }
}

fn signed<S: Serializer>(r#type: &Type, value: i128, to: S) -> Result<S::Ok, S::Error> {
    let out = |_| S::Error::custom(format!("{value} is not a {type}"));
    match r#type {
        Type::I8 => to.serialize_i8(value.try_into().map_err(out)?),
        Type::I16 => to.serialize_i16(value.try_into().map_err(out)?),
        Type::I32 => to.serialize_i32(value.try_into().map_err(out)?),
        Type::I64 => to.serialize_i64(value.try_into().map_err(out)?),
        Type::I128 => to.serialize_i128(value),
        r#type => Err(S::Error::custom(format!("{value} is not a {type}"))),
    }
}

/// A name that lives forever, as serde wants its names. Each is kept once; a program has few.
fn kept(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let known: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(known);
    known
}

/// Reads a value of a schema.
struct Seed<'a>(Scope<'a>);

impl<'a> Seed<'a> {
    fn new(r#type: &'a Type) -> Self {
        Self(Scope::new(r#type))
    }

    fn inner(&self, r#type: &'a Type) -> Self {
        Self(self.0.inner(r#type))
    }

    fn parts(&self, parts: &'a Parts) -> PartsSeed<'a> {
        PartsSeed(parts.types().into_iter().map(|r#type| self.inner(r#type)).collect())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        match self.0.r#type {
            Type::Unit => from.deserialize_unit(PartsSeed(Vec::new())).map(Value::Parts),
            Type::Bool => from.deserialize_bool(Plain),
            Type::I8 => from.deserialize_i8(Plain),
            Type::I16 => from.deserialize_i16(Plain),
            Type::I32 => from.deserialize_i32(Plain),
            Type::I64 => from.deserialize_i64(Plain),
            Type::I128 => from.deserialize_i128(Plain),
            Type::U8 => from.deserialize_u8(Plain),
            Type::U16 => from.deserialize_u16(Plain),
            Type::U32 => from.deserialize_u32(Plain),
            Type::U64 => from.deserialize_u64(Plain),
            Type::U128 => from.deserialize_u128(Plain),
            Type::F32 => from.deserialize_f32(Plain),
            Type::F64 => from.deserialize_f64(Plain),
            Type::Char => from.deserialize_char(Plain),
            Type::Str => from.deserialize_str(Plain),
            Type::Bytes => from.deserialize_bytes(Plain),
            Type::Option(inner) => from.deserialize_option(OptionSeed(self.inner(inner))),
            Type::Seq(inner) => from.deserialize_seq(SeqSeed(self.inner(inner))),
            Type::Map(key, inner) => from.deserialize_map(MapSeed(self.inner(key), self.inner(inner))),
            Type::Tuple(types) => {
                let seeds: Vec<_> = types.iter().map(|r#type| self.inner(r#type)).collect();
                from.deserialize_tuple(seeds.len(), PartsSeed(seeds)).map(Value::Parts)
            }
            // postcard knows neither names nor what brackets the parts; an empty tuple is how it reads a unit.
            Type::Struct(named) => {
                let seeds = self.parts(&named.parts);
                from.deserialize_tuple(seeds.0.len(), seeds).map(Value::Parts)
            }
            Type::Enum(_) => from.deserialize_enum("", &[], EnumSeed(self)),
            Type::Recursive(name) => unreachable!("a scope has resolved {name}"),
        }
    }
}

struct Plain;

macro_rules! visit {
    ($($method:ident: $type:ty => $value:ident),* $(,)?) => {
        $(fn $method<E>(self, value: $type) -> Result<Value, E> {
            Ok(Value::$value(value.into()))
        })*
    };
}

impl Visitor<'_> for Plain {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what the schema says")
    }

    visit! {
        visit_bool: bool => Bool, visit_char: char => Char, visit_str: &str => Str, visit_bytes: &[u8] => Bytes,
        visit_u8: u8 => Unsigned, visit_u16: u16 => Unsigned, visit_u32: u32 => Unsigned, visit_u64: u64 => Unsigned,
        visit_u128: u128 => Unsigned, visit_i8: i8 => Signed, visit_i16: i16 => Signed, visit_i32: i32 => Signed,
        visit_i64: i64 => Signed, visit_i128: i128 => Signed,
    }

    fn visit_f32<E>(self, value: f32) -> Result<Value, E> {
        Ok(Value::Float(value.to_bits().into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value.to_bits()))
    }
}

macro_rules! seed_visitor {
    ($seed:ident -> $value:ty { $($body:tt)* }) => {
        impl<'de> Visitor<'de> for $seed<'_> {
            type Value = $value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("what the schema says")
            }

            $($body)*
        }
    };
}

struct OptionSeed<'a>(Seed<'a>);

seed_visitor! { OptionSeed -> Value {
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Option(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Ok(Value::Option(Some(Box::new(self.0.deserialize(from)?))))
    }
} }

struct SeqSeed<'a>(Seed<'a>);

seed_visitor! { SeqSeed -> Value {
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(Seed(self.0.0.clone()))? {
            bounded(values.len())?;
            values.push(value);
        }
        Ok(Value::Seq(values))
    }
} }

struct MapSeed<'a>(Seed<'a>, Seed<'a>);

seed_visitor! { MapSeed -> Value {
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key_seed(Seed(self.0.0.clone()))? {
            bounded(entries.len())?;
            entries.push((key, access.next_value_seed(Seed(self.1.0.clone()))?));
        }
        Ok(Value::Map(entries))
    }
} }

/// Elements of no size cost no bytes, so that a few bytes could claim endlessly many.
fn bounded<E: serde::de::Error>(length: usize) -> Result<(), E> {
    if length < ELEMENTS_MAX { Ok(()) } else { Err(E::custom("it has more elements than are looked at")) }
}

/// Elements of one list that are read; more than any value that this module is given has.
const ELEMENTS_MAX: usize = 65_536;

struct PartsSeed<'a>(Vec<Seed<'a>>);

seed_visitor! { PartsSeed -> Vec<Value> {
    fn visit_unit<E>(self) -> Result<Vec<Value>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Vec<Value>, A::Error> {
        let missing = || serde::de::Error::custom("a part is missing");
        self.0.into_iter().map(|seed| access.next_element_seed(seed)?.ok_or_else(missing)).collect()
    }
} }

struct EnumSeed<'a>(Seed<'a>);

seed_visitor! { EnumSeed -> Value {
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        let (index, variant) = access.variant::<u32>()?;
        let Type::Enum(of) = self.0.0.r#type else { unreachable!("an enum's seed is of an enum") };
        let chosen = of.variants.get(index as usize);
        let chosen = chosen.ok_or_else(|| serde::de::Error::custom(format!("{} has no variant {index}", of.name)))?;
        let seeds = self.0.parts(&chosen.parts);
        Ok(Value::Variant(index, variant.tuple_variant(seeds.0.len(), seeds)?))
    }
} }
