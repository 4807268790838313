//! What members say to each other of the record, as one frame each way: a stream of its own for each question.
//!
//! It needs no wire version in common and no phase, so that a member can be asked whatever the two may not say to each
//! other otherwise.

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use super::{Answer, KEPT_BYTES_MAX, KeeperAsk};
use crate::compat::Kind;
use crate::error::{DecodeError, EncodeError};
use crate::name::NodeName;
use crate::wire::{FrameReader, FrameWriter};

/// A question to a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The member that asks.
    pub from: NodeName,
    /// What it asks.
    pub ask: KeeperAsk,
}

/// What a member says to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heard {
    /// What its keeper answers.
    Answer(Box<Answer>),
    /// It keeps no record.
    Unkept,
    /// It does not list who asks as a member.
    NotAMember,
}

impl Question {
    /// Appends it to `out` as one frame.
    ///
    /// # Errors
    /// [`EncodeError`] where it is longer than [`RECORD_FRAME_BYTES_MAX`].
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        encode(QUESTION, self, out)
    }

    /// Whether a frame, its length prefix taken off, opens as a question does.
    pub fn opens(frame: &[u8]) -> bool {
        frame.first() == Some(&(Kind::Hello as u8)) && frame.get(1..).is_some_and(|body| body.starts_with(&QUESTION))
    }

    /// Reads it out of a frame, its length prefix taken off.
    ///
    /// # Errors
    /// [`DecodeError`] where the frame is not a canonical question.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        decode(QUESTION, frame)
    }
}

impl Heard {
    /// Appends it to `out` as one frame.
    ///
    /// # Errors
    /// [`EncodeError`] where it is longer than [`RECORD_FRAME_BYTES_MAX`].
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        encode(ANSWER, self, out)
    }

    /// Reads it out of a frame, its length prefix taken off.
    ///
    /// # Errors
    /// [`DecodeError`] where the frame is not a canonical answer.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        decode(ANSWER, frame)
    }
}

#[derive(Serialize, Deserialize)]
struct Layout<T> {
    magic: [u8; 4],
    said: T,
}

fn encode<T: Serialize>(magic: [u8; 4], said: &T, out: &mut BytesMut) -> Result<(), EncodeError> {
    let start = out.len();
    let mut frame = FrameWriter::open(out, Kind::Hello as u8, RECORD_FRAME_BYTES_MAX);
    frame.header(&Layout { magic, said });
    frame.close(start)
}

fn decode<T: Serialize + for<'a> Deserialize<'a>>(magic: [u8; 4], frame: &[u8]) -> Result<T, DecodeError> {
    let malformed = || {
        let reason = "it does not open as what is said of the record".to_owned();
        DecodeError::Malformed { kind: Kind::Hello as u8, reason }
    };
    let (&kind, body) = frame.split_first().ok_or_else(malformed)?;
    if kind != Kind::Hello as u8 || !body.starts_with(&magic) {
        return Err(malformed());
    }
    let layout: Layout<T> = FrameReader::new(Kind::Hello, body).only()?;
    Ok(layout.said)
}

/// Opens a question.
const QUESTION: [u8; 4] = *b"REXQ";

/// Opens an answer.
const ANSWER: [u8; 4] = *b"REXA";

/// Bytes of a frame that speaks of the record: as much as a member may keep.
pub const RECORD_FRAME_BYTES_MAX: u32 = KEPT_BYTES_MAX as u32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Digest;

    fn question() -> Question {
        let from = NodeName::new("n2").expect("a name");
        Question { from, ask: KeeperAsk::Close { epoch: 7, attempt: 300 } }
    }

    #[test]
    fn a_question_is_read_as_it_was_written_and_nothing_else_is_one() {
        let mut out = BytesMut::new();
        question().encode(&mut out).expect("it is short");
        let frame = &out[crate::LENGTH_BYTES..];
        assert!(Question::opens(frame));
        assert_eq!(Question::decode(frame), Ok(question()));
        for cut in 0..frame.len() {
            assert!(Question::decode(&frame[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Question::decode(&[frame, &[0]].concat()).is_err(), "a byte too many");
        assert!(Heard::decode(frame).is_err(), "it is no answer");
        assert!(crate::Hello::decode(frame).is_err(), "it is no hello");
    }

    #[test]
    fn what_is_longer_than_a_frame_may_be_is_not_written() {
        let digest = Digest::default().to_string();
        let ceilings = (0..KEPT_BYTES_MAX / 64).map(|n| {
            let key = format!("m{n}.{}", &digest[..50]);
            (crate::MigrationKey::new(key).expect("a key"), crate::Phase::Switch)
        });
        let ask = KeeperAsk::Brake { ceilings: ceilings.collect(), by: "alice".into(), at: 0 };
        assert!(Question { ask, ..question() }.encode(&mut BytesMut::new()).is_err());
    }
}
