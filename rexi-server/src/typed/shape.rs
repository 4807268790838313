//! The shape of a value: a hash of how it is built, and of nothing that it holds.
//!
//! A serde serializer walks the value and hashes the kind of each primitive with its width, the names of structs, enums
//! and fields, the index and name of each variant, whether an option is filled, and how many elements there are. It is
//! 64-bit FNV-1a, folded to 32 bits, and part of the wire format: the tests hold golden shapes.
//!
//! The elements of a sequence or map are added up, so that their order does not count: a hash set may be walked in
//! another order on each side.

use std::cell::Cell;
use std::fmt;

use serde::ser::{self, Serialize, Serializer};
use thiserror::Error;

use crate::typed::bounded::NESTING_MAX;

/// The shape of a value's own structure. Two types may share it where the value does not show how they differ: see
/// [`crate::typed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape(pub u32);

impl Shape {
    /// Walks `value`. Cost: a few nanoseconds for each primitive in it, but bytes and texts count as one.
    ///
    /// # Errors
    /// [`ShapeError`] where the value cannot be a payload.
    pub fn of(value: &impl Serialize) -> Result<Self, ShapeError> {
        Self::counted(value).map(|(shape, _)| shape)
    }

    /// As [`Shape::of`], and how many elements and fields it has that are no numbers: what may take more memory than
    /// its bytes on the wire tell.
    pub(super) fn counted(value: &impl Serialize) -> Result<(Self, usize), ShapeError> {
        let parts = Cell::new(0);
        let hash = value.serialize(Walk { depth: 0, parts: &parts })?.0;
        Ok((Self((hash ^ (hash >> 32)) as u32), parts.get()))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A value without a shape. The caller is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// It is nested too deeply.
    #[error("it is nested more than {NESTING_MAX} deep; make it flatter")]
    Nested,
    /// It leaves out a field, which a positional format cannot carry.
    #[error("it leaves out its field {0:?}, which the encoding cannot show; use an Option instead")]
    Skipped(&'static str),
    /// Its own `Serialize` refuses, and says so.
    #[error("it refuses to be serialized: {0}")]
    Refused(String),
}

impl ser::Error for ShapeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Refused(message.to_string())
    }
}

/// FNV-1a, 64 bits.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const fn new(tag: Tag) -> Self {
        Self(0xcbf2_9ce4_8422_2325).byte(tag as u8)
    }

    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(0x0100_0000_01b3))
    }

    fn number(self, number: u64) -> Self {
        number.to_le_bytes().into_iter().fold(self, Self::byte)
    }

    /// A name, closed by a byte that is in no text, so that two names never run into one.
    fn name(self, name: &str) -> Self {
        name.bytes().fold(self, Self::byte).byte(0xff)
    }

    fn then(self, inner: Self) -> Self {
        self.number(inner.0)
    }

    /// Spreads the bits, so that a sum of many says which they are (the finalizer of SplitMix64).
    fn spread(self) -> u64 {
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// What a node of the walk is. The numbers are hashed, so they are the format.
#[derive(Clone, Copy)]
enum Tag {
    Bool = 1,
    I8 = 2,
    I16 = 3,
    I32 = 4,
    I64 = 5,
    I128 = 6,
    U8 = 7,
    U16 = 8,
    U32 = 9,
    U64 = 10,
    U128 = 11,
    F32 = 12,
    F64 = 13,
    Char = 14,
    Str = 15,
    Bytes = 16,
    None = 17,
    Some = 18,
    Unit = 19,
    UnitStruct = 20,
    NewtypeStruct = 21,
    Seq = 22,
    Tuple = 23,
    TupleStruct = 24,
    Map = 25,
    Struct = 26,
    UnitVariant = 27,
    NewtypeVariant = 28,
    TupleVariant = 29,
    StructVariant = 30,
}

/// One step of the walk.
#[derive(Clone, Copy)]
struct Walk<'p> {
    depth: usize,
    parts: &'p Cell<usize>,
}

impl<'p> Walk<'p> {
    fn deeper(self) -> Result<Self, ShapeError> {
        let depth = self.depth + 1;
        if depth > NESTING_MAX { Err(ShapeError::Nested) } else { Ok(Self { depth, ..self }) }
    }

    /// Walks an element or a field.
    fn part<T: Serialize + ?Sized>(self, value: &T) -> Result<Hash, ShapeError> {
        self.parts.set(self.parts.get() + 1);
        value.serialize(self)
    }

    fn fields(self, hash: Hash) -> Result<Fields<'p>, ShapeError> {
        Ok(Fields { hash, inner: self.deeper()? })
    }

    fn elements(self, tag: Tag) -> Result<Elements<'p>, ShapeError> {
        Ok(Elements { tag, sum: 0, count: 0, key: None, inner: self.deeper()? })
    }
}

fn variant(tag: Tag, name: &str, index: u32, variant: &str) -> Hash {
    Hash::new(tag).name(name).number(index.into()).name(variant)
}

/// Parts whose order counts: fields of a struct, parts of a tuple.
struct Fields<'p> {
    hash: Hash,
    inner: Walk<'p>,
}

impl Fields<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), ShapeError> {
        self.hash = self.hash.name(name).then(self.inner.part(value)?);
        Ok(())
    }
}

/// Parts whose order does not count: elements of a sequence, entries of a map.
struct Elements<'p> {
    tag: Tag,
    sum: u64,
    count: u64,
    key: Option<Hash>,
    inner: Walk<'p>,
}

impl Elements<'_> {
    fn add(&mut self, hash: Hash) {
        self.sum = self.sum.wrapping_add(hash.spread());
        self.count += 1;
    }

    fn end(&self) -> Hash {
        Hash::new(self.tag).number(self.count).number(self.sum)
    }
}

macro_rules! primitives {
    ($($method:ident: $type:ty = $tag:ident),* $(,)?) => {
        $(fn $method(self, _: $type) -> Result<Hash, ShapeError> {
            // Its size is in proportion to its bytes. The value as a whole may be a number too, and is no part.
            self.parts.set(self.parts.get().saturating_sub(1));
            Ok(const { Hash::new(Tag::$tag) })
        })*
    };
}

impl<'p> Serializer for Walk<'p> {
    type Ok = Hash;
    type Error = ShapeError;
    type SerializeSeq = Elements<'p>;
    type SerializeTuple = Fields<'p>;
    type SerializeTupleStruct = Fields<'p>;
    type SerializeTupleVariant = Fields<'p>;
    type SerializeMap = Elements<'p>;
    type SerializeStruct = Fields<'p>;
    type SerializeStructVariant = Fields<'p>;

    primitives! {
        serialize_bool: bool = Bool,
        serialize_i8: i8 = I8,
        serialize_i16: i16 = I16,
        serialize_i32: i32 = I32,
        serialize_i64: i64 = I64,
        serialize_i128: i128 = I128,
        serialize_u8: u8 = U8,
        serialize_u16: u16 = U16,
        serialize_u32: u32 = U32,
        serialize_u64: u64 = U64,
        serialize_u128: u128 = U128,
        serialize_f32: f32 = F32,
        serialize_f64: f64 = F64,
        serialize_char: char = Char,
        serialize_str: &str = Str,
        serialize_bytes: &[u8] = Bytes,
    }

    fn serialize_none(self) -> Result<Hash, ShapeError> {
        self.deeper()?;
        Ok(Hash::new(Tag::None))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Hash, ShapeError> {
        Ok(Hash::new(Tag::Some).then(value.serialize(self.deeper()?)?))
    }

    fn serialize_unit(self) -> Result<Hash, ShapeError> {
        Ok(Hash::new(Tag::Unit))
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<Hash, ShapeError> {
        self.deeper()?;
        Ok(Hash::new(Tag::UnitStruct).name(name))
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, of: &'static str) -> Result<Hash, ShapeError> {
        self.deeper()?;
        Ok(variant(Tag::UnitVariant, name, index, of))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Hash, ShapeError> {
        Ok(Hash::new(Tag::NewtypeStruct).name(name).then(value.serialize(self.deeper()?)?))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        of: &'static str,
        value: &T,
    ) -> Result<Hash, ShapeError> {
        Ok(variant(Tag::NewtypeVariant, name, index, of).then(value.serialize(self.deeper()?)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements<'p>, ShapeError> {
        self.elements(Tag::Seq)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Elements<'p>, ShapeError> {
        self.elements(Tag::Map)
    }

    fn serialize_tuple(self, parts: usize) -> Result<Fields<'p>, ShapeError> {
        self.fields(Hash::new(Tag::Tuple).number(parts as u64))
    }

    fn serialize_tuple_struct(self, name: &'static str, parts: usize) -> Result<Fields<'p>, ShapeError> {
        self.fields(Hash::new(Tag::TupleStruct).name(name).number(parts as u64))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        of: &'static str,
        parts: usize,
    ) -> Result<Fields<'p>, ShapeError> {
        self.fields(variant(Tag::TupleVariant, name, index, of).number(parts as u64))
    }

    fn serialize_struct(self, name: &'static str, fields: usize) -> Result<Fields<'p>, ShapeError> {
        self.fields(Hash::new(Tag::Struct).name(name).number(fields as u64))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        of: &'static str,
        fields: usize,
    ) -> Result<Fields<'p>, ShapeError> {
        self.fields(variant(Tag::StructVariant, name, index, of).number(fields as u64))
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<Hash, ShapeError> {
        Ok(Hash::new(Tag::Str))
    }

    /// As postcard says of itself: some types take another form for readers.
    fn is_human_readable(&self) -> bool {
        false
    }
}

impl ser::SerializeSeq for Elements<'_> {
    type Ok = Hash;
    type Error = ShapeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ShapeError> {
        let hash = self.inner.part(value)?;
        self.add(hash);
        Ok(())
    }

    fn end(self) -> Result<Hash, ShapeError> {
        Ok(Elements::end(&self))
    }
}

impl ser::SerializeMap for Elements<'_> {
    type Ok = Hash;
    type Error = ShapeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ShapeError> {
        self.key = Some(self.inner.part(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ShapeError> {
        let key = self.key.take().ok_or_else(|| ShapeError::Refused("a map's value came before its key".into()))?;
        let value = self.inner.part(value)?;
        self.add(key.then(value));
        Ok(())
    }

    fn end(self) -> Result<Hash, ShapeError> {
        Ok(Elements::end(&self))
    }
}

macro_rules! unnamed {
    ($($trait:ident :: $method:ident),* $(,)?) => {
        $(impl ser::$trait for Fields<'_> {
            type Ok = Hash;
            type Error = ShapeError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ShapeError> {
                self.add("", value)
            }

            fn end(self) -> Result<Hash, ShapeError> {
                Ok(self.hash)
            }
        })*
    };
}

unnamed! {
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

macro_rules! named {
    ($($trait:ident),* $(,)?) => {
        $(impl ser::$trait for Fields<'_> {
            type Ok = Hash;
            type Error = ShapeError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T)
                -> Result<(), ShapeError>
            {
                self.add(name, value)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), ShapeError> {
                Err(ShapeError::Skipped(name))
            }

            fn end(self) -> Result<Hash, ShapeError> {
                Ok(self.hash)
            }
        })*
    };
}

named! { SerializeStruct, SerializeStructVariant }

#[cfg(test)]
mod tests;
