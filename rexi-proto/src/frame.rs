//! Stream bytes to frames. One buffer, used again; a frame's length is checked before anything waits for its bytes, and
//! no memory is taken for bytes that have not arrived.

use bytes::{Buf, BytesMut};

use crate::error::DecodeError;
use crate::wire::LENGTH_BYTES;

/// Cuts the bytes of an ordered lane into frames.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FrameBuffer {
    bytes: BytesMut,
    /// Bytes of the frame that was handed out last, to be cleared before the next.
    handed_out: usize,
    frame_bytes_max: u32,
}

impl FrameBuffer {
    /// An empty buffer that takes frames of up to `frame_bytes_max` bytes, the prefix left out.
    pub fn new(frame_bytes_max: u32) -> Self {
        Self { bytes: BytesMut::new(), handed_out: 0, frame_bytes_max }
    }

    /// Adds bytes as they came off the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.advance(std::mem::take(&mut self.handed_out));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete frame without its prefix, or `None` until more bytes come.
    ///
    /// # Errors
    /// [`DecodeError::FrameLength`] as soon as a prefix claims nothing or more than the limit.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        self.bytes.advance(std::mem::take(&mut self.handed_out));
        let Some(&prefix) = self.bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let claimed = u32::from_le_bytes(prefix);
        if claimed == 0 || claimed > self.frame_bytes_max {
            return Err(DecodeError::FrameLength { claimed, max: self.frame_bytes_max });
        }
        let end = LENGTH_BYTES + claimed as usize;
        if self.bytes.len() < end {
            return Ok(None);
        }
        self.handed_out = end;
        Ok(Some(&self.bytes[LENGTH_BYTES..end]))
    }

    /// Bytes that wait for the rest of their frame.
    pub fn incomplete_bytes(&self) -> usize {
        self.bytes.len() - self.handed_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let stream = [&[2, 0, 0, 0, 7, 8][..], &[1, 0, 0, 0, 9], &[3, 0, 0, 0, 1, 2, 3]].concat();
        for step in 1..=stream.len() {
            let mut buffer = FrameBuffer::new(3);
            let mut frames = Vec::new();
            for piece in stream.chunks(step) {
                buffer.extend(piece);
                while let Some(frame) = buffer.next_frame().expect("lengths are in bounds") {
                    frames.push(frame.to_vec());
                }
            }
            assert_eq!(frames, [vec![7, 8], vec![9], vec![1, 2, 3]], "in pieces of {step}");
            assert_eq!(buffer.incomplete_bytes(), 0);
        }
    }

    #[test]
    fn a_length_out_of_bounds_is_refused_before_its_bytes_come() {
        for (prefix, claimed) in [([0, 0, 0, 0], 0), ([4, 0, 0, 0], 4), ([255; 4], u32::MAX)] {
            let mut buffer = FrameBuffer::new(3);
            buffer.extend(&prefix);
            assert_eq!(buffer.next_frame(), Err(DecodeError::FrameLength { claimed, max: 3 }));
        }
        // On another connection, as long as it may be.
        let mut buffer = FrameBuffer::new(3);
        buffer.extend(&[3, 0, 0, 0, 7, 8, 9]);
        assert_eq!(buffer.next_frame(), Ok(Some(&[7, 8, 9][..])));
    }

    #[test]
    fn bytes_wait_for_the_rest_of_their_frame_and_not_for_the_one_before() {
        let mut buffer = FrameBuffer::new(3);
        buffer.extend(&[1, 0, 0, 0, 9, 2, 0]);
        assert_eq!(buffer.incomplete_bytes(), 7, "nothing was taken out yet");
        assert_eq!(buffer.next_frame(), Ok(Some(&[9][..])));
        assert_eq!(buffer.incomplete_bytes(), 2);
        assert_eq!(buffer.next_frame(), Ok(None));
        assert_eq!(buffer.incomplete_bytes(), 2);
    }
}
