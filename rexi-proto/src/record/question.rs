//! What members say to each other of the record: a stream of its own for each question, which its end ends.
//!
//! It needs no wire version in common and no phase, so that a member can be asked whatever the two may not say to each
//! other otherwise.

use serde::{Deserialize, Serialize};

use super::{Answer, KeeperAsk};
use crate::compat::Kind;
use crate::error::{DecodeError, EncodeError};
use crate::name::NodeName;
use crate::operate::MemberLook;
use crate::wire::{FrameReader, LENGTH_BYTES};

/// A question to a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The member that asks.
    pub from: NodeName,
    /// What it asks.
    pub ask: MemberAsk,
}

/// What members ask each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberAsk {
    /// Something of its keeper.
    Record(KeeperAsk),
    /// What it is and keeps.
    Look,
    /// The lines of its trail: the newest, as many as have room in a reply.
    Trail {
        /// From the first that is of this time, in seconds since 1970.
        since: u64,
    },
}

/// What a member says to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordReply {
    /// What its keeper answers.
    Answer(Box<Answer>),
    /// What it is and keeps.
    Look(Box<MemberLook>),
    /// The lines of its trail, oldest first, or why there are none to be had.
    Trail(Result<String, String>),
    /// It keeps no record.
    Unkept,
    /// It does not list who asks as a member.
    NotAMember,
}

impl Question {
    /// Its bytes, from the first of a stream to the last.
    ///
    /// # Errors
    /// [`EncodeError`] where there are more than [`RECORD_SAID_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        encode(QUESTION, self)
    }

    /// Whether a stream that begins with these bytes is a question: no frame's length is as long.
    pub fn opens(first: [u8; LENGTH_BYTES]) -> bool {
        first == QUESTION
    }

    /// Reads it out of what comes behind its first bytes.
    ///
    /// # Errors
    /// [`DecodeError`] where that is not a canonical question.
    pub fn decode(rest: &[u8]) -> Result<Self, DecodeError> {
        FrameReader::new(Kind::Hello, rest).only_with_maps()
    }
}

impl RecordReply {
    /// Its bytes, from the first of a stream to the last.
    ///
    /// # Errors
    /// [`EncodeError`] where there are more than [`RECORD_SAID_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        encode(REPLY, self)
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not a canonical reply.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.strip_prefix(&REPLY) {
            Some(rest) => FrameReader::new(Kind::Hello, rest).only_with_maps(),
            None => {
                let reason = "it does not open as a reply about the record".to_owned();
                Err(DecodeError::Malformed { kind: Kind::Hello as u8, reason })
            }
        }
    }
}

fn encode(magic: [u8; LENGTH_BYTES], said: &impl Serialize) -> Result<Vec<u8>, EncodeError> {
    let bytes = postcard::to_extend(said, magic.to_vec()).expect("a vector takes what is written");
    match u32::try_from(bytes.len()) {
        Ok(length) if length <= RECORD_SAID_BYTES_MAX => Ok(bytes),
        _ => Err(EncodeError::TooLong { bytes: bytes.len(), max: RECORD_SAID_BYTES_MAX }),
    }
}

/// Opens a question. Read as a length it is far above a hello's bound.
const QUESTION: [u8; LENGTH_BYTES] = *b"REXQ";

/// Opens a reply.
const REPLY: [u8; LENGTH_BYTES] = *b"REXR";

/// Bytes of a question about the record, or of a reply: as many as a member may keep.
pub const RECORD_SAID_BYTES_MAX: u32 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ClusterChange, Digest, Intent, KEPT_BYTES_MAX};

    fn question() -> Question {
        let from = NodeName::new("n2").expect("a name");
        Question { from, ask: MemberAsk::Record(KeeperAsk::Close { epoch: 7, attempt: 300 }) }
    }

    #[test]
    fn a_question_is_read_as_it_was_written_and_nothing_else_is_one() {
        let bytes = question().encode().expect("it is short");
        let (first, rest) = bytes.split_first_chunk().expect("it is long enough");
        assert!(Question::opens(*first) && u32::from_le_bytes(*first) > crate::HELLO_BYTES_MAX);
        assert_eq!(Question::decode(rest), Ok(question()));
        for cut in 0..rest.len() {
            assert!(Question::decode(&rest[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Question::decode(&[rest, &[0]].concat()).is_err(), "a byte too many");
        assert!(RecordReply::decode(&bytes).is_err(), "it is no reply");
        let reply = RecordReply::NotAMember.encode().expect("it is short");
        assert_eq!(RecordReply::decode(&reply), Ok(RecordReply::NotAMember));
    }

    #[test]
    fn members_that_are_named_out_of_order_or_twice_are_refused() {
        let question = |names: &[&str]| {
            let intent = Intent {
                cluster: "shop".into(),
                epoch: 3,
                attempt: 1,
                previous: Digest::default(),
                change: ClusterChange::Cap([].into()),
                members: [].into(),
                lives: [].into(),
                by: "alice".into(),
                at: 0,
            };
            let ask = MemberAsk::Record(KeeperAsk::Vote(intent.into()));
            let bytes = Question { ask, ..question() }.encode().expect("it is short");
            // The members' count, the lives' count, and what comes behind them: the operator and the time.
            let [before @ .., 0, lives, 5, b'a', b'l', b'i', b'c', b'e', at] = &bytes[LENGTH_BYTES..] else {
                panic!("an intent is written otherwise: {bytes:?}")
            };
            let members = names.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat());
            let mut asked = before.to_vec();
            asked.push(names.len() as u8);
            asked.extend(members);
            asked.extend([*lives, 5]);
            asked.extend(b"alice");
            asked.push(*at);
            Question::decode(&asked)
        };
        assert!(question(&["n1", "n2", "n3"]).is_ok());
        for names in [["n2", "n1", "n3"], ["n1", "n3", "n2"], ["n1", "n1", "n2"]] {
            let refused = question(&names);
            assert!(matches!(refused, Err(DecodeError::NotCanonical { .. })), "{names:?}: {refused:?}");
        }
    }

    #[test]
    fn there_is_room_for_all_that_a_member_may_keep() {
        assert_eq!(RECORD_SAID_BYTES_MAX as usize, KEPT_BYTES_MAX);
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let digest = Digest::default().to_string();
        let ceilings = (0..KEPT_BYTES_MAX / 64).map(|n| {
            let key = format!("m{n}.{}", &digest[..50]);
            (crate::MigrationKey::new(key).expect("a key"), crate::Phase::Switch)
        });
        let ask = KeeperAsk::Brake { ceilings: ceilings.collect(), by: "alice".into(), at: 0 };
        let ask = MemberAsk::Record(ask);
        assert!(Question { ask, ..question() }.encode().is_err());
    }
}
