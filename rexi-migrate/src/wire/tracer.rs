//! Reads the schema of a type out of its `Deserialize`: what it asks for is what is on the wire.
//!
//! The type is deserialized again and again from nothing but made-up values; each run notes what was asked for, and
//! takes another variant of the enums that are not known in full, wherever they stand. The schema is complete once
//! nothing is left to ask. What a type holds of itself is made up by a variant that ends. Each whole value is written
//! and read back, so that a type which does not read what it writes is found here. Places are told apart by where they
//! are and not by a name, so that two types of one name stay two. serde-reflection keys them by name: it makes one of
//! two enums of one name, and gives up on an enum inside an option; a test compares the two wherever it can tell.

use std::any::type_name;
use std::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess};
use serde::de::{VariantAccess, Visitor};
use serde::ser::Serialize;
use thiserror::Error;

use super::schema::{Enum, Field, Named, Parts, Type};

/// Why the schema of a type cannot be told. The type's author is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the schema of {name} cannot be read: {reason}")]
#[non_exhaustive]
pub struct TraceError {
    /// The type.
    pub name: &'static str,
    /// What it said.
    pub reason: String,
}

/// The schema of `T`.
///
/// # Errors
/// [`TraceError`] where the type checks what it reads and takes none of the values that were made up, is not positional
/// (`deserialize_any`, `flatten`, an untagged enum), does not read what it writes (`skip` on a variant), or is larger
/// than 10,000 variants.
pub fn trace<T: Serialize + Deserialize<'static>>() -> Result<Type, TraceError> {
    let mut root = Node::Unknown;
    let mut known = 0;
    for _ in 0..RUNS_MAX {
        let ended = T::deserialize(Probe { node: &mut root, inside: None });
        if let Ok(value) = &ended {
            read_back(value).map_err(|reason| TraceError { name: type_name::<T>(), reason })?;
        }
        if root.complete() {
            return Ok(root.into_type());
        }
        let reason = match ended {
            Ok(_) => "a part of it is never asked for".to_owned(),
            Err(stop) => stop.0,
        };
        if root.known() == known {
            return Err(TraceError { name: type_name::<T>(), reason });
        }
        known = root.known();
    }
    Err(TraceError { name: type_name::<T>(), reason: format!("it is not known in full after {RUNS_MAX} runs") })
}

/// Writes a value that was made up, and reads it.
fn read_back<T: Serialize + Deserialize<'static>>(value: &T) -> Result<(), String> {
    let written = postcard::to_allocvec(value).map_err(|error| format!("a value of it cannot be written: {error}"))?;
    // A value may borrow from its bytes for ever; there are a few for each variant of a type.
    let bytes: &'static [u8] = Box::leak(written.into_boxed_slice());
    let read = postcard::from_bytes::<T>(bytes).map(|read| postcard::to_allocvec(&read));
    if matches!(read, Ok(Ok(again)) if *again == *bytes) {
        return Ok(());
    }
    Err("it does not read what it writes, as a type does that skips a variant or a field in one direction".to_owned())
}

/// Runs for one type; each brings a variant at least, so this bounds the variants.
const RUNS_MAX: usize = 10_000;

/// What is known of a place.
enum Node {
    Unknown,
    Plain(Type),
    Option(Box<Self>),
    Seq(Box<Self>),
    Map(Box<Self>, Box<Self>),
    Tuple(Vec<Self>),
    Struct(&'static str, PartNodes),
    Enum(&'static str, Vec<(&'static str, Option<PartNodes>)>),
    Recursive(&'static str),
}

enum PartNodes {
    Unit,
    Newtype(Box<Node>),
    Tuple(Vec<Node>),
    Fields(Vec<(&'static str, Node)>),
}

impl Node {
    fn children(&self) -> Vec<&Self> {
        match self {
            Self::Unknown | Self::Plain(_) | Self::Recursive(_) => Vec::new(),
            Self::Option(inner) | Self::Seq(inner) => vec![inner],
            Self::Map(key, value) => vec![key, value],
            Self::Tuple(parts) => parts.iter().collect(),
            Self::Struct(_, parts) => parts.nodes(),
            Self::Enum(_, variants) => {
                variants.iter().filter_map(|(_, parts)| parts.as_ref()).flat_map(PartNodes::nodes).collect()
            }
        }
    }

    fn complete(&self) -> bool {
        let own = match self {
            Self::Unknown => false,
            Self::Enum(_, variants) => variants.iter().all(|(_, parts)| parts.is_some()),
            _ => true,
        };
        own && self.children().iter().all(|child| child.complete())
    }

    /// How much is known: grows with each run that finds anything.
    fn known(&self) -> usize {
        let own = match self {
            Self::Unknown => 0,
            Self::Enum(_, variants) => 1 + variants.iter().filter(|(_, parts)| parts.is_some()).count(),
            _ => 1,
        };
        own + self.children().iter().map(|child| child.known()).sum::<usize>()
    }

    /// Whether a value of it may hold another of a type that it is inside of.
    fn recurs(&self) -> bool {
        matches!(self, Self::Recursive(_)) || self.children().iter().any(|child| child.recurs())
    }

    fn into_type(self) -> Type {
        match self {
            Self::Unknown => unreachable!("a complete node has no unknown ones"),
            Self::Plain(plain) => plain,
            Self::Option(inner) => Type::Option(Box::new(inner.into_type())),
            Self::Seq(inner) => Type::Seq(Box::new(inner.into_type())),
            Self::Map(key, value) => Type::Map(Box::new(key.into_type()), Box::new(value.into_type())),
            Self::Tuple(parts) => Type::Tuple(parts.into_iter().map(Self::into_type).collect()),
            Self::Struct(name, parts) => Type::Struct(parts.named(name)),
            Self::Enum(name, variants) => {
                let variant = |(name, parts): (&str, Option<PartNodes>)| parts.map(|parts| parts.named(name));
                let variants = variants.into_iter().filter_map(variant).collect();
                Type::Enum(Enum { name: name.to_owned(), variants })
            }
            Self::Recursive(name) => Type::Recursive(name.to_owned()),
        }
    }
}

impl PartNodes {
    fn nodes(&self) -> Vec<&Node> {
        match self {
            Self::Unit => Vec::new(),
            Self::Newtype(inner) => vec![inner],
            Self::Tuple(parts) => parts.iter().collect(),
            Self::Fields(fields) => fields.iter().map(|(_, node)| node).collect(),
        }
    }

    fn nodes_mut(&mut self) -> Vec<&mut Node> {
        match self {
            Self::Unit => Vec::new(),
            Self::Newtype(inner) => vec![inner],
            Self::Tuple(parts) => parts.iter_mut().collect(),
            Self::Fields(fields) => fields.iter_mut().map(|(_, node)| node).collect(),
        }
    }

    fn unknown_tuple(parts: usize) -> Self {
        Self::Tuple((0..parts).map(|_| Node::Unknown).collect())
    }

    fn unknown_fields(names: &'static [&'static str]) -> Self {
        Self::Fields(names.iter().map(|&name| (name, Node::Unknown)).collect())
    }

    fn named(self, name: &str) -> Named {
        let field = |(name, node): (&str, Node)| Field { name: name.to_owned(), r#type: node.into_type() };
        let parts = match self {
            Self::Unit => Parts::Unit,
            Self::Newtype(inner) => Parts::Newtype(Box::new(inner.into_type())),
            Self::Tuple(parts) => Parts::Tuple(parts.into_iter().map(Node::into_type).collect()),
            Self::Fields(fields) => Parts::Fields(fields.into_iter().map(field).collect()),
        };
        Named { name: name.to_owned(), parts }
    }
}

/// What ended a run before its value was whole. No failure by itself: what was asked for until then is noted.
#[derive(Debug)]
struct Stop(String);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The types that a place is inside of, from the nearest on.
#[derive(Clone, Copy)]
struct Inside<'a> {
    type_name: &'static str,
    /// The variant by which a value of it ends, where one is known.
    ends_by: Option<usize>,
    /// It is made up only to end what holds it: nothing is noted.
    is_end: bool,
    above: Option<&'a Self>,
}

/// Answers what a type asks for with made-up values, and notes it.
struct Probe<'a> {
    node: &'a mut Node,
    inside: Option<&'a Inside<'a>>,
}

impl<'a> Probe<'a> {
    fn plain(self, plain: Type) {
        *self.node = Node::Plain(plain);
    }

    fn ends(&self) -> bool {
        self.inside.is_some_and(|inside| inside.is_end)
    }

    /// Enters a type that has a name. One that the place is inside of already is noted as such, and from there on the
    /// value is to end. Out: what is inside of it, and the node to note that in.
    fn open<'b, V>(
        &'b mut self,
        name: &'static str,
        unnoted: &'b mut Node,
        fresh: impl FnOnce() -> Node,
    ) -> Result<(Inside<'a>, &'b mut Node), Stop> {
        let mut inside = Inside { type_name: type_name::<V>(), ends_by: None, is_end: self.ends(), above: self.inside };
        let mut above = std::iter::successors(self.inside, |inside| inside.above);
        if let Some(outer) = above.find(|outer| outer.type_name == inside.type_name) {
            if !inside.is_end {
                *self.node = Node::Recursive(name);
            }
            if outer.is_end {
                return Err(Stop(format!("{name} holds itself in every value")));
            }
            (inside.is_end, inside.ends_by) = (true, outer.ends_by);
        }
        let node = if inside.is_end { unnoted } else { &mut *self.node };
        if matches!(node, Node::Unknown) {
            *node = fresh();
        }
        Ok((inside, node))
    }
}

macro_rules! plain {
    ($($method:ident: $type:ident => $visit:ident($($value:expr)?)),* $(,)?) => {
        $(fn $method<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Stop> {
            self.plain(Type::$type);
            visitor.$visit($($value)?)
        })*
    };
}

macro_rules! not_positional {
    ($($method:ident),*) => {
        $(fn $method<V: Visitor<'static>>(self, _: V) -> Result<V::Value, Stop> {
            Err(Stop("it asks what the bytes say of themselves, and postcard says nothing".to_owned()))
        })*
    };
}

impl Deserializer<'static> for Probe<'_> {
    type Error = Stop;

    // 1 and not 0, for types that are never 0.
    plain! {
        deserialize_bool: Bool => visit_bool(true),
        deserialize_i8: I8 => visit_i8(1),
        deserialize_i16: I16 => visit_i16(1),
        deserialize_i32: I32 => visit_i32(1),
        deserialize_i64: I64 => visit_i64(1),
        deserialize_i128: I128 => visit_i128(1),
        deserialize_u8: U8 => visit_u8(1),
        deserialize_u16: U16 => visit_u16(1),
        deserialize_u32: U32 => visit_u32(1),
        deserialize_u64: U64 => visit_u64(1),
        deserialize_u128: U128 => visit_u128(1),
        deserialize_f32: F32 => visit_f32(1.0),
        deserialize_f64: F64 => visit_f64(1.0),
        deserialize_char: Char => visit_char('a'),
        deserialize_str: Str => visit_borrowed_str("a"),
        deserialize_string: Str => visit_borrowed_str("a"),
        deserialize_bytes: Bytes => visit_borrowed_bytes(b"a"),
        deserialize_byte_buf: Bytes => visit_borrowed_bytes(b"a"),
        deserialize_unit: Unit => visit_unit(),
    }

    not_positional! { deserialize_any, deserialize_ignored_any, deserialize_identifier }

    fn deserialize_option<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Stop> {
        let ends = self.ends();
        if matches!(self.node, Node::Unknown) {
            *self.node = Node::Option(Box::new(Node::Unknown));
        }
        let Node::Option(inner) = self.node else { return Err(changed()) };
        if ends || inner.complete() && inner.recurs() {
            return visitor.visit_none();
        }
        visitor.visit_some(Probe { node: inner, inside: self.inside })
    }

    fn deserialize_unit_struct<V: Visitor<'static>>(self, name: &'static str, visitor: V) -> Result<V::Value, Stop> {
        *self.node = Node::Struct(name, PartNodes::Unit);
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'static>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let fresh = || Node::Struct(name, PartNodes::Newtype(Box::new(Node::Unknown)));
        let mut unnoted = Node::Unknown;
        let (inside, node) = self.open::<V::Value>(name, &mut unnoted, fresh)?;
        let Node::Struct(_, PartNodes::Newtype(inner)) = node else { return Err(changed()) };
        visitor.visit_newtype_struct(Probe { node: inner, inside: Some(&inside) })
    }

    fn deserialize_seq<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Stop> {
        let ends = self.ends();
        if matches!(self.node, Node::Unknown) {
            *self.node = Node::Seq(Box::new(Node::Unknown));
        }
        let Node::Seq(inner) = self.node else { return Err(changed()) };
        let ends = ends || inner.complete() && inner.recurs();
        let nodes = if ends { Vec::new() } else { vec![&mut **inner] };
        visitor.visit_seq(Parted { nodes: nodes.into_iter(), inside: self.inside })
    }

    fn deserialize_tuple<V: Visitor<'static>>(self, parts: usize, visitor: V) -> Result<V::Value, Stop> {
        if matches!(self.node, Node::Unknown) {
            *self.node = Node::Tuple((0..parts).map(|_| Node::Unknown).collect());
        }
        let Node::Tuple(nodes) = self.node else { return Err(changed()) };
        visitor.visit_seq(Parted { nodes: nodes.iter_mut().collect::<Vec<_>>().into_iter(), inside: self.inside })
    }

    fn deserialize_tuple_struct<V: Visitor<'static>>(
        mut self,
        name: &'static str,
        parts: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let (mut unnoted, fresh) = (Node::Unknown, || Node::Struct(name, PartNodes::unknown_tuple(parts)));
        let (inside, node) = self.open::<V::Value>(name, &mut unnoted, fresh)?;
        let Node::Struct(_, parts) = node else { return Err(changed()) };
        visitor.visit_seq(Parted { nodes: parts.nodes_mut().into_iter(), inside: Some(&inside) })
    }

    fn deserialize_map<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Stop> {
        let ends = self.ends();
        if matches!(self.node, Node::Unknown) {
            *self.node = Node::Map(Box::new(Node::Unknown), Box::new(Node::Unknown));
        }
        let Node::Map(key, value) = self.node else { return Err(changed()) };
        let done = key.complete() && value.complete() && (key.recurs() || value.recurs());
        let ends = ends || done;
        let nodes = if ends { Vec::new() } else { vec![&mut **key, &mut **value] };
        visitor.visit_map(Parted { nodes: nodes.into_iter(), inside: self.inside })
    }

    fn deserialize_struct<V: Visitor<'static>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let (mut unnoted, fresh) = (Node::Unknown, || Node::Struct(name, PartNodes::unknown_fields(fields)));
        let (inside, node) = self.open::<V::Value>(name, &mut unnoted, fresh)?;
        let Node::Struct(_, parts) = node else { return Err(changed()) };
        visitor.visit_seq(Parted { nodes: parts.nodes_mut().into_iter(), inside: Some(&inside) })
    }

    fn deserialize_enum<V: Visitor<'static>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let fresh = || Node::Enum(name, variants.iter().map(|&variant| (variant, None)).collect());
        let mut unnoted = Node::Unknown;
        let (mut inside, node) = self.open::<V::Value>(name, &mut unnoted, fresh)?;
        let Node::Enum(_, variants) = node else { return Err(changed()) };
        let open = |parts: &PartNodes| parts.nodes().iter().any(|node| !node.complete());
        let recurs = |parts: &PartNodes| parts.nodes().iter().any(|node| node.recurs());
        let place = |of: &dyn Fn(&Option<PartNodes>) -> bool| variants.iter().position(|(_, parts)| of(parts));
        let plain = place(&|parts| parts.as_ref().is_some_and(|parts| !open(parts) && !recurs(parts)));
        let index = if inside.is_end {
            inside.ends_by.unwrap_or(0)
        } else {
            inside.ends_by = plain;
            // One that was never taken first: by it what the others hold may end.
            let unknown = place(&Option::is_none).or_else(|| place(&|parts| parts.as_ref().is_some_and(open)));
            unknown.or(plain).unwrap_or(0)
        };
        let (_, parts) = variants.get_mut(index).ok_or_else(|| Stop(format!("{name} has no variants")))?;
        let number = u32::try_from(index).map_err(de::Error::custom)?;
        visitor.visit_enum(Chosen { number, parts, inside })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

fn changed() -> Stop {
    Stop("it asks for another type each time".to_owned())
}

/// The parts of a tuple, a struct, a sequence or a map, one after the other.
struct Parted<'a, I> {
    nodes: I,
    inside: Option<&'a Inside<'a>>,
}

impl<'a, I: Iterator<Item = &'a mut Node>> SeqAccess<'static> for Parted<'a, I> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'static>>(&mut self, seed: S) -> Result<Option<S::Value>, Stop> {
        self.nodes.next().map(|node| seed.deserialize(Probe { node, inside: self.inside })).transpose()
    }
}

impl<'a, I: Iterator<Item = &'a mut Node>> MapAccess<'static> for Parted<'a, I> {
    type Error = Stop;

    fn next_key_seed<S: DeserializeSeed<'static>>(&mut self, seed: S) -> Result<Option<S::Value>, Stop> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'static>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        self.next_element_seed(seed)?.ok_or_else(changed)
    }
}

/// The variant that a run takes.
struct Chosen<'a> {
    number: u32,
    parts: &'a mut Option<PartNodes>,
    inside: Inside<'a>,
}

impl<'a> EnumAccess<'static> for Chosen<'a> {
    type Error = Stop;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'static>>(self, seed: S) -> Result<(S::Value, Self), Stop> {
        let number: U32Deserializer<Stop> = self.number.into_deserializer();
        Ok((seed.deserialize(number)?, self))
    }
}

impl VariantAccess<'static> for Chosen<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        *self.parts = Some(PartNodes::Unit);
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'static>>(self, seed: S) -> Result<S::Value, Stop> {
        let parts = self.parts.get_or_insert_with(|| PartNodes::Newtype(Box::new(Node::Unknown)));
        let PartNodes::Newtype(node) = parts else { return Err(changed()) };
        seed.deserialize(Probe { node, inside: Some(&self.inside) })
    }

    fn tuple_variant<V: Visitor<'static>>(self, parts: usize, visitor: V) -> Result<V::Value, Stop> {
        let parts = self.parts.get_or_insert_with(|| PartNodes::unknown_tuple(parts));
        visitor.visit_seq(Parted { nodes: parts.nodes_mut().into_iter(), inside: Some(&self.inside) })
    }

    fn struct_variant<V: Visitor<'static>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let parts = self.parts.get_or_insert_with(|| PartNodes::unknown_fields(fields));
        visitor.visit_seq(Parted { nodes: parts.nodes_mut().into_iter(), inside: Some(&self.inside) })
    }
}

#[cfg(test)]
mod tests;
