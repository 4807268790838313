//! Typed payloads: a value's [`Shape`] (u32, little endian), then the value in postcard.
//!
//! Postcard alone says nothing of types: a `u32` reads as an `i32`, a struct as any other of the same layout. So the
//! sender hashes the shape of the value, the receiver that of what it has decoded, and a difference is an error.
//!
//! *Caught*: another width or sign; another number, order or name of fields; another struct or enum name (serde's);
//! reordered or renamed variants; bytes left over or needlessly long; what `bounded.rs` bounds. *Passes on purpose*: an
//! enum that has gained variants at its end, as long as the value uses none of them.
//!
//! *Not caught*: what the value does not show. An empty `Vec<A>` passes for an empty `Vec<B>`, `None` for any other
//! `None`, `Ok` whatever the error type is, `usize` for `u64`, a type for another of the same name and build. Nor is a
//! field that keeps name and type and changes its meaning. Two shapes are equal by chance once in 2^32.

mod function;
mod migration;
mod shape;
mod bounded;

use bytes::Bytes;
use postcard::ser_flavors::Size;
use thiserror::Error;

pub(crate) use self::bounded::DECODED_AT_ONCE_BYTES_MAX;
use self::bounded::{Bound, Budget};
pub use self::function::{Function, Life, Payload, StreamFunction};
pub use self::migration::{Migrate, MigrateStream, OldForm, OldStream, old_function, old_stream};
pub use self::shape::{Shape, ShapeError};

/// A payload that is not what it is taken for, or a value that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value has no encoding. The sender is at fault.
    #[error(transparent)]
    NoShape(#[from] ShapeError),
    /// The codec cannot write the value. The sender is at fault.
    #[error("the codec refuses it: {0}")]
    NotWritten(postcard::Error),
    /// Too short for a typed payload. The sender is at fault: it may have sent raw bytes.
    #[error("{bytes} bytes are not a typed payload, which opens with {SHAPE_BYTES} bytes of shape")]
    TooShort {
        /// Bytes that came.
        bytes: usize,
    },
    /// The bytes do not decode as the type.
    #[error("it does not decode as {expected}: {problem}")]
    Malformed {
        /// The type that is expected here.
        expected: &'static str,
        /// What the codec found.
        problem: postcard::Error,
    },
    /// The value is complete before the payload ends.
    #[error("it has {bytes} bytes after a {expected}")]
    TrailingBytes {
        /// The type that is expected here.
        expected: &'static str,
        /// Bytes left over.
        bytes: usize,
    },
    /// The payload is longer than the value's only encoding.
    #[error("it has {bytes} bytes for a {expected} that takes {canonical}")]
    NotCanonical {
        /// The type that is expected here.
        expected: &'static str,
        /// Bytes that came.
        bytes: usize,
        /// Bytes that the value takes.
        canonical: usize,
    },
    /// The bytes decode, but what was sent is built otherwise.
    #[error("it was sent with the shape {sent}, but as {expected} it has {decoded}")]
    OtherShape {
        /// The type that is expected here.
        expected: &'static str,
        /// The shape of what was sent.
        sent: Shape,
        /// The shape of what was decoded.
        decoded: Shape,
    },
    /// The value is nested too deeply to be read.
    #[error("as {expected} it is nested more than {} deep", bounded::NESTING_MAX)]
    Nested {
        /// The type that is expected here.
        expected: &'static str,
    },
    /// The value would take far more memory than its payload.
    #[error("as {expected} it takes far more memory than its {bytes} bytes account for; send it in parts")]
    Memory {
        /// The type that is expected here.
        expected: &'static str,
        /// Bytes that came.
        bytes: usize,
    },
}

/// Encodes a value. Cost: three walks of it. A long `Vec<u8>` is walked byte by byte; as serde bytes it is one step. A
/// value of thousands of parts of a few bytes each is decoded too, to see that it can be.
///
/// # Errors
/// [`PayloadError`] where it cannot be a payload: nested more than 128 deep, a field left out by `skip_serializing_if`,
/// a sequence of unknown length, a `Serialize` that fails, or parts that take more memory than
/// [`decode`] allows.
pub fn encode<T: Payload>(value: &T) -> Result<Bytes, PayloadError> {
    // The shape comes first, since it also bounds the nesting that the codec then follows.
    let (shape, parts) = Shape::counted(value)?;
    let bytes = postcard::serialize_with_flavor(value, Size::default()).map_err(PayloadError::NotWritten)?;
    // Of the very length: a `Bytes` takes such a vector over as it is, and another into a block of its own.
    let mut payload = Vec::with_capacity(SHAPE_BYTES + bytes);
    payload.extend_from_slice(&shape.0.to_le_bytes());
    let payload = postcard::to_extend(value, payload).map_err(PayloadError::NotWritten)?;
    if !bounded::certainly_fits(parts, bytes) {
        read::<T>(&payload[SHAPE_BYTES..])?;
    }
    Ok(Bytes::from(payload))
}

/// Decodes a value and makes sure that it is what was sent. Cost: the decoding and two walks of the value; what it is
/// built of takes at most 32 times the payload's length and 4 MiB, as [`encode`] has made sure of.
///
/// # Errors
/// [`PayloadError`] where the payload is anything else than one value of this type in its only encoding.
pub fn decode<T: Payload>(payload: &[u8]) -> Result<T, PayloadError> {
    let expected = std::any::type_name::<T>();
    let Some((shape, body)) = payload.split_first_chunk::<SHAPE_BYTES>() else {
        return Err(PayloadError::TooShort { bytes: payload.len() });
    };
    let malformed = |problem| PayloadError::Malformed { expected, problem };
    let value = read::<T>(body)?;
    let (sent, decoded) = (Shape(u32::from_le_bytes(*shape)), Shape::of(&value)?);
    if sent != decoded {
        return Err(PayloadError::OtherShape { expected, sent, decoded });
    }
    let canonical = postcard::serialize_with_flavor(&value, Size::default()).map_err(malformed)?;
    if body.len() != canonical {
        return Err(PayloadError::NotCanonical { expected, bytes: body.len(), canonical });
    }
    Ok(value)
}

/// Reads a value behind its shape, within the bounds of memory and nesting, to its last byte.
fn read<T: Payload>(body: &[u8]) -> Result<T, PayloadError> {
    let expected = std::any::type_name::<T>();
    let malformed = |problem| PayloadError::Malformed { expected, problem };
    let budget = Budget::of(body.len());
    let mut codec = postcard::Deserializer::from_bytes(body);
    let decoded = bounded::deserialize::<T, _>(&mut codec, &budget);
    let value = decoded.map_err(|problem| match budget.passed() {
        Some(Bound::Nesting) => PayloadError::Nested { expected },
        Some(Bound::Memory) => PayloadError::Memory { expected, bytes: body.len() },
        None => malformed(problem),
    })?;
    match codec.finalize().map_err(malformed)?.len() {
        0 => Ok(value),
        bytes => Err(PayloadError::TrailingBytes { expected, bytes }),
    }
}

/// Bytes of the shape that a typed payload opens with.
const SHAPE_BYTES: usize = 4;

#[cfg(test)]
mod tests;
