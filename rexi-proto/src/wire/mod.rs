//! Messages to frames and back, by the wire version that a pair of nodes has settled on.
//!
//! A frame is its length (u32, little endian, of all that follows), a byte with its kind and its wire version, a
//! postcard header and, for a cast or a reply, the payload up to the frame's end. Each version's layouts stand in a
//! frozen file of its own; whether a version has a message at all is asked of `compat.rs`. Decoding takes the whole
//! frame, in canonical form, or none.

mod v1;
mod v2;
mod v3;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use postcard::de_flavors;
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::compat::Kind;
use crate::error::{DecodeError, EncodeError};
use crate::guards::Guards;
use crate::limits::FRAME_OVERHEAD_BYTES;
use crate::message::{Body, Message, ReplyForm};
use crate::version::WireVersion;

/// Bytes of a frame's length prefix.
pub const LENGTH_BYTES: usize = 4;

/// Appends `message` to `out` as one frame of wire `version`, at most `frame_bytes_max` long without its prefix.
///
/// # Errors
/// [`EncodeError`] where the version lacks the message or the frame would be too long; `out` is then as it was.
pub fn encode(
    version: WireVersion,
    message: &Message,
    frame_bytes_max: u32,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    encode_guarded(version, message, frame_bytes_max, out, Guards::default())
}

/// As [`encode`], by a node's guards.
pub(crate) fn encode_guarded(
    version: WireVersion,
    message: &Message,
    frame_bytes_max: u32,
    out: &mut BytesMut,
    guards: Guards,
) -> Result<(), EncodeError> {
    let kind = message.kind();
    if !guards.may_encode(kind, version) {
        return Err(EncodeError::NotEmitted { kind, version });
    }
    let start = out.len();
    let mut frame = FrameWriter::open(out, first_byte(guards.written_as(kind), version), frame_bytes_max);
    let encoded = match version {
        _ if guards.wrote_early(version, message, &mut frame) => Ok(()),
        WireVersion::V1 => v1::encode(message, &mut frame),
        WireVersion::V2 => v2::encode(message, &mut frame),
        _ => v3::encode(message, &mut frame),
    };
    let closed = encoded.and_then(|()| frame.close(start));
    if closed.is_err() {
        out.truncate(start);
    }
    closed
}

/// Reads the message out of one frame, its length prefix taken off.
///
/// Cost: one copy of the payload and one of each name; nothing else is allocated but lists of calls.
///
/// # Errors
/// [`DecodeError`] where the frame is not exactly one canonical message that `version` has.
pub fn decode(version: WireVersion, frame: &[u8]) -> Result<Message, DecodeError> {
    decode_guarded(version, frame, Guards::default())
}

/// As [`decode`], by a node's guards.
pub(crate) fn decode_guarded(version: WireVersion, frame: &[u8], guards: Guards) -> Result<Message, DecodeError> {
    let (&first, body) = frame.split_first().ok_or(DecodeError::FrameLength { claimed: 0, max: u32::MAX })?;
    if first & VERSION_BITS != version_bits(version) {
        return Err(DecodeError::OtherVersion { first, version });
    }
    let kind = first & !VERSION_BITS;
    let kind = guards.understood(kind, version).ok_or(DecodeError::UnknownKind { kind, version })?;
    let reader = FrameReader { guards, ..FrameReader::new(kind, body) };
    match version {
        WireVersion::V1 => v1::decode(reader),
        WireVersion::V2 => v2::decode(reader),
        _ => v3::decode(reader),
    }
}

/// Shows what a frame of `kind` is made of in `version`.
#[cfg(feature = "schema")]
pub(crate) fn show(version: WireVersion, kind: Kind, visitor: &mut impl crate::schema::LayoutVisitor) {
    match version {
        WireVersion::V1 => v1::show(kind, visitor),
        WireVersion::V2 => v2::show(kind, visitor),
        // v3 has the layouts of v2, without the address.
        _ => v2::show_unaddressed(kind, visitor),
    }
}

impl Message {
    /// The kind of frame that carries this message.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Cast(..) => Kind::Cast,
            Self::Kill(..) => Kind::Kill,
            Self::KillAll(..) => Kind::KillAll,
            Self::Reply(reply) => match reply.form {
                ReplyForm::Plain | ReplyForm::Last => Kind::Reply,
                ReplyForm::Item => Kind::Item,
                ReplyForm::Question => Kind::Question,
            },
            Self::Items(_) => Kind::Items,
            Self::StreamInit(_) => Kind::StreamInit,
            Self::StreamStart(..) => Kind::StreamStart,
            Self::StreamCancel(..) => Kind::StreamCancel,
            Self::Ack(..) => Kind::Ack,
            Self::Response(..) => Kind::Response,
            Self::Sent(..) => Kind::Sent,
            Self::Exit(_) => Kind::Exit,
            Self::NoSuchServer(..) => Kind::NoSuchServer,
            Self::NoSuchFunction(_) => Kind::NoSuchFunction,
            Self::Ping(_) => Kind::Ping,
            Self::Monitor(..) => Kind::Monitor,
            Self::Demonitor(..) => Kind::Demonitor,
            Self::Down(..) => Kind::Down,
            Self::Resume(..) => Kind::Resume,
            Self::Announce(..) => Kind::Announce,
            Self::Draining => Kind::Draining,
            Self::Unsupported(_) => Kind::Unsupported,
        }
    }
}

/// One frame being written: a place for the length, the kind, then headers and payload.
pub(crate) struct FrameWriter<'a> {
    out: &'a mut BytesMut,
    bytes_max: u32,
}

impl<'a> FrameWriter<'a> {
    pub(crate) fn open(out: &'a mut BytesMut, first_byte: u8, bytes_max: u32) -> Self {
        out.put_slice(&[0, 0, 0, 0, first_byte]);
        Self { out, bytes_max }
    }

    /// Bytes that each of two texts may have, beside which all other fields find room.
    pub(crate) fn text_bytes_max(&self) -> usize {
        (self.bytes_max as usize).saturating_sub(FRAME_OVERHEAD_BYTES) / 2
    }

    pub(crate) fn header(&mut self, header: &impl Serialize) {
        // Most are short, and by the byte a buffer that grows costs more than one that does not.
        let mut short = [0; SHORT_HEADER_BYTES];
        match postcard::to_slice(header, &mut short) {
            Ok(written) => self.out.put_slice(written),
            Err(_) => postcard::serialize_with_flavor(header, Sink(self.out)).expect("memory takes all our layouts"),
        }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    pub(crate) fn payload(&mut self, body: &Body) {
        if let Body::Inline(bytes) = body {
            self.raw(bytes);
        }
    }

    pub(crate) fn close(self, start: usize) -> Result<(), EncodeError> {
        let bytes = self.out.len() - start - LENGTH_BYTES;
        let length = u32::try_from(bytes).ok().filter(|&length| length <= self.bytes_max);
        let length = length.ok_or(EncodeError::TooLong { bytes, max: self.bytes_max })?;
        self.out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

/// Lets postcard append to a buffer that is used again, instead of making one of its own.
struct Sink<'a>(&'a mut BytesMut);

impl Flavor for Sink<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put_u8(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.put_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Lets postcard read, and notes what may be a number with a needless byte: a zero behind a byte that says that another
/// follows. Two numbers of one byte each can look so as well.
struct Watched<'a> {
    rest: &'a [u8],
    last: u8,
    is_doubtful: bool,
}

impl<'a> de_flavors::Flavor<'a> for Watched<'a> {
    type Remainder = (&'a [u8], bool);
    type Source = &'a [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.is_doubtful |= byte == 0 && self.last >= 0x80;
        (self.rest, self.last) = (rest, byte);
        Ok(byte)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }

    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        (self.rest, self.last) = (rest, 0);
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<(&'a [u8], bool)> {
        Ok((self.rest, self.is_doubtful))
    }
}

/// Compares what postcard writes with what was read: its output is the count of bytes that are the same from the first.
struct Same<'a> {
    read: &'a [u8],
    same: usize,
    differs: bool,
}

impl<'a> Same<'a> {
    fn with(read: &'a [u8]) -> Self {
        Self { read, same: 0, differs: false }
    }
}

impl Flavor for Same<'_> {
    type Output = usize;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.differs |= self.read.get(self.same) != Some(&byte);
        self.same += usize::from(!self.differs);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.same)
    }
}

/// One frame being read.
#[derive(Clone, Copy)]
pub(crate) struct FrameReader<'a> {
    pub(crate) kind: Kind,
    pub(crate) body: &'a [u8],
    guards: Guards,
}

impl<'a> FrameReader<'a> {
    pub(crate) fn new(kind: Kind, body: &'a [u8]) -> Self {
        Self { kind, body, guards: Guards::default() }
    }

    /// Takes a header off the front, refusing one that is not written as we would write it: postcard itself accepts
    /// numbers with needless bytes (docs/threats.md). It must have no map and no set.
    pub(crate) fn header<T: Deserialize<'a> + Serialize>(&mut self) -> Result<T, DecodeError> {
        let read = self.body;
        let (header, is_doubtful) = self.take::<T>()?;
        if is_doubtful {
            self.compare(&header, read)?;
        }
        Ok(header)
    }

    fn take<T: Deserialize<'a>>(&mut self) -> Result<(T, bool), DecodeError> {
        let mut reader = postcard::Deserializer::from_flavor(Watched { rest: self.body, last: 0, is_doubtful: false });
        let header = T::deserialize(&mut reader).map_err(|e| self.malformed(&e))?;
        let (rest, is_doubtful) = reader.finalize().map_err(|e| self.malformed(&e))?;
        self.body = rest;
        Ok((header, is_doubtful))
    }

    /// Compares what was taken with what we would write.
    fn compare(&self, header: &impl Serialize, read: &[u8]) -> Result<(), DecodeError> {
        let read = &read[..read.len() - self.body.len()];
        let same = postcard::serialize_with_flavor(header, Same::with(read)).map_err(|e| self.malformed(&e))?;
        if same < read.len() { Err(DecodeError::NotCanonical { kind: self.kind as u8, at: same }) } else { Ok(()) }
    }

    fn malformed(&self, problem: &postcard::Error) -> DecodeError {
        DecodeError::Malformed { kind: self.kind as u8, reason: problem.to_string() }
    }

    /// Takes the only header of a frame without payload.
    pub(crate) fn only<T: Deserialize<'a> + Serialize>(mut self) -> Result<T, DecodeError> {
        let header = self.header()?;
        self.end()?;
        Ok(header)
    }

    /// As [`FrameReader::only`], of what may have maps and sets, which postcard takes in any order.
    pub(crate) fn only_with_maps<T: Deserialize<'a> + Serialize>(mut self) -> Result<T, DecodeError> {
        let read = self.body;
        let (header, _) = self.take()?;
        self.compare(&header, read)?;
        self.end()?;
        Ok(header)
    }

    /// Takes the payload: the rest of the frame, or what a number stands for that is yet to come.
    fn payload(self, bulk: Option<Body>) -> Result<Body, DecodeError> {
        match bulk {
            Some(bulk) => self.end().map(|()| bulk),
            // Not borrowed: a job outlives the reader's buffer.
            None => Ok(Body::Inline(Bytes::copy_from_slice(self.body))),
        }
    }

    fn end(self) -> Result<(), DecodeError> {
        if self.guards.is_consumed(self.body) {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes { kind: self.kind as u8, bytes: self.body.len() })
        }
    }
}

/// Bytes of a header that has no long text and no list.
const SHORT_HEADER_BYTES: usize = 32;

/// The kind, and above it the version: without it some frames of one version read as other messages in its neighbour.
fn first_byte(kind: Kind, version: WireVersion) -> u8 {
    kind as u8 | version_bits(version)
}

/// The version's lowest two bits, which tell it from any that a pair could have settled on instead.
fn version_bits(version: WireVersion) -> u8 {
    (version.0 << 6).to_le_bytes()[0] & VERSION_BITS
}

const VERSION_BITS: u8 = 0b1100_0000;

/// At most `bytes_max` bytes of `text`, cut at a character.
fn clipped(text: &Arc<str>, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Exit, ExitReason};
    use crate::name::CallRef;

    #[test]
    fn a_frame_as_long_as_the_peer_takes_is_written_and_one_byte_longer_leaves_what_was_there() {
        let ping = Message::Ping(CallRef(300));
        let mut out = BytesMut::from(&b"before"[..]);
        let refused = encode(WireVersion::V3, &ping, 2, &mut out);
        assert_eq!(refused, Err(EncodeError::TooLong { bytes: 3, max: 2 }));
        assert_eq!(&out[..], b"before");
        assert_eq!(encode(WireVersion::V3, &ping, 3, &mut out), Ok(()));
        assert_eq!(&out[..], b"before\x03\0\0\0\xc8\xac\x02");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character_and_a_short_one_is_not() {
        let sent = |text: &str| {
            let (function, reason) = (text.into(), ExitReason::Failed(text.into()));
            let exit = Message::Exit(Exit { call: CallRef(1), replies: 0, function, reason });
            let mut out = BytesMut::new();
            encode(WireVersion::V1, &exit, 1 << 20, &mut out).expect("it fits");
            match decode(WireVersion::V1, &out[LENGTH_BYTES..]) {
                Ok(Message::Exit(Exit { function, reason: ExitReason::Failed(text), .. })) => (function, text),
                other => panic!("no failure: {other:?}"),
            }
        };
        let fits = "a".repeat(4_096);
        assert_eq!(sent(&fits), (fits.as_str().into(), fits.as_str().into()));
        let (long, cut) = (format!("{}é", "a".repeat(4_095)), "a".repeat(4_095));
        assert_eq!(sent(&long), (cut.as_str().into(), cut.as_str().into()), "half a character is none");
    }
}
