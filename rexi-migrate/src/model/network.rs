//! What is on its way to one end of a connection: frames of the ordered lane, and payloads that come in any order.

use bytes::{Bytes, BytesMut};
use rexi_proto::{BulkId, FrameBuffer, HELLO_BYTES_MAX, Hello, LENGTH_BYTES, WireVersion};

/// What is on its way to one end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Way {
    /// Frames, or the beginning of one.
    pub lane: Vec<u8>,
    /// Payloads beside them.
    pub bulk: Vec<(BulkId, Bytes)>,
}

impl Way {
    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.lane.is_empty() && self.bulk.is_empty()
    }

    /// Takes the first frame, or what there is of one.
    pub fn take_frame(&mut self) -> Vec<u8> {
        let bytes = frames(&self.lane).next().map_or(self.lane.len(), <[u8]>::len);
        self.lane.drain(..bytes).collect()
    }

    /// Nothing of it arrives.
    pub fn clear(&mut self) {
        self.lane.clear();
        self.bulk.clear();
    }
}

/// The frames of a lane, their lengths with them.
pub fn frames(mut lane: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(*lane.first_chunk()?) as usize;
        let (frame, rest) = lane.split_at_checked(LENGTH_BYTES + length)?;
        lane = rest;
        Some(frame)
    })
}

/// The kind of a frame.
pub fn kind(frame: &[u8]) -> Option<u8> {
    frame.get(LENGTH_BYTES).map(|first| first & KIND_BITS)
}

/// A frame of that kind with two bytes of a body, which no node sends.
pub(super) fn planted(version: WireVersion, kind: u8) -> [u8; LENGTH_BYTES + 3] {
    let version = u8::try_from(version.0).expect("a few versions") << KIND_BITS.count_ones();
    [3, 0, 0, 0, kind | version, 100, 2]
}

/// A hello as its receiver reads it; `None` where that is not what was sent.
pub fn over_the_wire(hello: &Hello) -> Option<Hello> {
    let mut bytes = BytesMut::new();
    hello.encode(&mut bytes);
    let mut buffer = FrameBuffer::new(HELLO_BYTES_MAX);
    buffer.extend(&bytes);
    let read = Hello::decode(buffer.next_frame().ok()??).ok()?;
    (read == *hello).then_some(read)
}

/// The lower bits of a frame's first byte, which say its kind.
const KIND_BITS: u8 = 0b0011_1111;

/// A kind that no version has.
pub(super) const UNKNOWN_KIND: u8 = 45;
