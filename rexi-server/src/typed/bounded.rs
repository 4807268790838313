//! Decoding that a hostile payload cannot turn into much memory, work or stack.
//!
//! A deserializer around another one. It counts how deeply values are nested, and charges each element of a sequence or
//! map with its size in memory, before the element is read. docs/threats.md has the attacks: a few bytes can claim
//! endless elements of no size, a byte each can become a kilobyte, and nested boxes can overflow the stack.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// How deeply values may be nested: options, newtypes, sequences, maps, tuples, structs and variants count.
pub(crate) const NESTING_MAX: usize = 128;

/// Memory that the elements of a value may take: this many times the payload, and beyond that as much as the longest
/// payload has by default, so that many short ones, such as options that are empty, are read back. Where a value is
/// encoded the same is asked, so that its sender hears of it. An element of no size counts as one byte.
const MEMORY_FACTOR_MAX: usize = 32;
const MEMORY_FREE_BYTES_MAX: usize = 4 << 20;

/// Bytes of the longest payload that is decoded on the spot: some hundred microseconds, where its elements are small.
pub(crate) const DECODED_AT_ONCE_BYTES_MAX: usize = 64 << 10;

/// Memory of elements after which a thread that decodes gives way. The system lets one go on for milliseconds else,
/// and a small call is over in less.
const TURN_BYTES: usize = 64 << 10;

/// The size of a part of a value up to which [`certainly_fits`] counts it. One that is larger is a type that is better
/// boxed.
const PART_BYTES_MAX: usize = 1024;

/// The memory that a value of this payload may take.
const fn memory_max(payload_bytes: usize) -> usize {
    payload_bytes.saturating_mul(MEMORY_FACTOR_MAX).saturating_add(MEMORY_FREE_BYTES_MAX)
}

/// Whether a value of so many parts will be decoded out of so many bytes, whatever its parts are. Where that is not
/// certain, only its decoding shows it: what is encoded does not tell how large its types are.
pub(super) const fn certainly_fits(parts: usize, payload_bytes: usize) -> bool {
    parts.saturating_mul(PART_BYTES_MAX) <= memory_max(payload_bytes)
}

/// What of a bound is left, and whether one was passed.
pub(crate) struct Budget {
    bytes_left: Cell<usize>,
    passed: Cell<Option<Bound>>,
    /// Whether the thread gives way now and then: it is one of its own, and others wait for the processor.
    gives_way: bool,
}

/// A bound that a payload has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Nesting,
    Memory,
}

impl Budget {
    pub(crate) fn of(payload_bytes: usize) -> Self {
        let gives_way = payload_bytes > DECODED_AT_ONCE_BYTES_MAX;
        Self { bytes_left: Cell::new(memory_max(payload_bytes)), passed: Cell::new(None), gives_way }
    }

    /// The bound that ended a decoding, if it was one.
    pub(crate) fn passed(&self) -> Option<Bound> {
        self.passed.get()
    }

    fn charge<T, E: de::Error>(&self) -> Result<(), E> {
        let before = self.bytes_left.get();
        let left = before.checked_sub(size_of::<T>().max(1)).ok_or_else(|| self.pass(Bound::Memory))?;
        self.bytes_left.set(left);
        if self.gives_way && left / TURN_BYTES != before / TURN_BYTES {
            std::thread::yield_now();
        }
        Ok(())
    }

    fn pass<E: de::Error>(&self, bound: Bound) -> E {
        self.passed.set(Some(bound));
        E::custom("a bound is passed")
    }
}

/// Decodes a value within the budget.
pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    inner: D,
    budget: &Budget,
) -> Result<T, D::Error> {
    T::deserialize(Bounded { inner, level: Level { budget, depth: 0 } })
}

#[derive(Clone, Copy)]
struct Level<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl Level<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > NESTING_MAX { Err(self.budget.pass(Bound::Nesting)) } else { Ok(Self { depth, ..self }) }
    }
}

/// Whatever it wraps - deserializer, visitor, seed, access - with the bounds that hold inside.
struct Bounded<'b, I> {
    inner: I,
    level: Level<'b>,
}

impl<'b, I> Bounded<'b, I> {
    fn around<J>(&self, inner: J) -> Bounded<'b, J> {
        Bounded { inner, level: self.level }
    }

    /// Takes itself apart: what it wraps, and what to wrap a visitor in, one level down.
    fn open<E: de::Error>(self) -> Result<(I, Level<'b>), E> {
        Ok((self.inner, self.level.deeper()?))
    }
}

macro_rules! plain {
    ($($method:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        })*
    };
}

macro_rules! nested {
    ($($method:ident($($name:ident: $type:ty),*)),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let (inner, level) = self.open()?;
            inner.$method($($name,)* Bounded { inner: visitor, level })
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    plain! {
        deserialize_bool, deserialize_i8, deserialize_i16, deserialize_i32, deserialize_i64, deserialize_i128,
        deserialize_u8, deserialize_u16, deserialize_u32, deserialize_u64, deserialize_u128, deserialize_f32,
        deserialize_f64, deserialize_char, deserialize_str, deserialize_string, deserialize_bytes,
        deserialize_byte_buf, deserialize_unit, deserialize_identifier,
    }

    nested! {
        deserialize_any(),
        deserialize_ignored_any(),
        deserialize_option(),
        deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str),
        deserialize_seq(),
        deserialize_tuple(parts: usize),
        deserialize_tuple_struct(name: &'static str, parts: usize),
        deserialize_map(),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A value that is not nested any further than its visitor already is.
impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let inner = self.around(inner);
        self.inner.visit_some(inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let inner = self.around(inner);
        self.inner.visit_newtype_struct(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        let elements = self.around(elements);
        self.inner.visit_seq(elements)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let entries = self.around(entries);
        self.inner.visit_map(entries)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let variant = self.around(variant);
        self.inner.visit_enum(variant)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let inner = self.around(inner);
        self.inner.deserialize(inner)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        // What stands in a tuple is charged too, which costs it nothing that its payload could not pay for.
        if self.inner.size_hint() != Some(0) {
            self.level.budget.charge::<S::Value, A::Error>()?;
        }
        let seed = self.around(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        if self.inner.size_hint() != Some(0) {
            self.level.budget.charge::<S::Value, A::Error>()?;
        }
        let seed = self.around(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.level.budget.charge::<S::Value, A::Error>()?;
        let seed = self.around(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let level = self.level;
        let (tag, variant) = self.inner.variant_seed(seed)?;
        Ok((tag, Bounded { inner: variant, level }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, parts: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.inner.tuple_variant(parts, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_take_32_times_the_payload_and_4_mib_and_not_one_byte_more() {
        for payload in [0, 1, 100] {
            let budget = Budget::of(payload);
            for _ in 0..payload * 32 + (4 << 20) {
                budget.charge::<u8, de::value::Error>().expect("it is within the bound");
            }
            assert_eq!(budget.passed(), None);
            budget.charge::<(), de::value::Error>().expect_err("an element of no size counts as one byte");
            assert_eq!(budget.passed(), Some(Bound::Memory));
        }
        Budget::of(0).charge::<u8, de::value::Error>().expect("the next payload has all of its own");
    }
}
