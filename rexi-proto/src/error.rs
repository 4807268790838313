//! What can be wrong with a peer's bytes, and the QUIC close code that each error ends a connection with.
//!
//! Codes are frozen: added, never changed, never used twice.

use std::sync::Arc;

use thiserror::Error;

use crate::compat::Kind;
use crate::phase::ServerAddress;
use crate::version::WireVersion;

/// Why a connection was closed: the application error code of QUIC's CONNECTION_CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum CloseCode {
    /// The node has left in good order; its calls and jobs are over.
    Shutdown = 0x100,
    /// The handshake's verdict is that these two may not speak.
    Refused = 0x101,
    /// The handshake was malformed or late.
    BadHandshake = 0x102,
    /// A frame was malformed or too long.
    BadFrame = 0x103,
    /// Another connection to the same peer is in use.
    Replaced = 0x104,
    /// The certificate does not name the node that the handshake names, or the node is not a member.
    NotTrusted = 0x105,
    /// The peer did not read for longer than the write deadline.
    TooSlow = 0x106,
    /// The sender's own state has changed since its hello; dial again.
    TryAgain = 0x107,
    /// A rule of the protocol was broken by well-formed frames.
    ProtocolBroken = 0x108,
}

impl CloseCode {
    /// The code on the wire.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The close code of this number, if there is one.
    pub fn from_code(code: u64) -> Option<Self> {
        [
            Self::Shutdown,
            Self::Refused,
            Self::BadHandshake,
            Self::BadFrame,
            Self::Replaced,
            Self::NotTrusted,
            Self::TooSlow,
            Self::TryAgain,
            Self::ProtocolBroken,
        ]
        .into_iter()
        .find(|known| u64::from(known.code()) == code)
    }
}

/// A frame that cannot be read. The peer is at fault; the frame changed nothing, and the connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The length prefix claims more than the limit, or nothing.
    #[error("a frame claims {claimed} bytes, allowed are 1 to {max}")]
    FrameLength {
        /// Bytes claimed.
        claimed: u32,
        /// Bytes allowed.
        max: u32,
    },
    /// The bytes are not a message of the kind that the frame names.
    #[error("a frame of kind {kind} does not hold what that kind must: {reason}")]
    Malformed {
        /// The frame's first byte.
        kind: u8,
        /// What the codec found.
        reason: String,
    },
    /// The message is complete before its frame ends.
    #[error("a frame of kind {kind} has {bytes} bytes after its message")]
    TrailingBytes {
        /// The frame's first byte.
        kind: u8,
        /// Bytes left over.
        bytes: usize,
    },
    /// A number or tag is written longer than it needs to be, or the keys of a map or a set are out of order or double.
    #[error(
        "a frame of kind {kind} is not in canonical form: byte {at} behind its kind is not what it says, written anew"
    )]
    NotCanonical {
        /// The frame's first byte.
        kind: u8,
        /// The first byte that would be another, counted from 0 behind the first.
        at: usize,
    },
    /// The negotiated version has no such frame. Not fatal: it is counted and answered with [`Kind::Unsupported`].
    #[error("a frame of kind {kind} is not part of wire {version}")]
    UnknownKind {
        /// The frame's first byte.
        kind: u8,
        /// The negotiated version.
        version: WireVersion,
    },
    /// The frame is laid out in another wire version than the one that was negotiated.
    #[error("a frame that opens with {first:#04x} is not laid out in wire {version}")]
    OtherVersion {
        /// The frame's first byte: its kind, and the version in the two highest bits.
        first: u8,
        /// The negotiated version.
        version: WireVersion,
    },
    /// A field is outside its bounds.
    #[error("a frame of kind {kind}: {field} is {value}, allowed is {allowed}")]
    OutOfBounds {
        /// The frame's first byte.
        kind: u8,
        /// The field.
        field: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        allowed: &'static str,
    },
}

/// A message that may not be sent to this peer. We are at fault; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The negotiated version lacks the message.
    #[error("{kind:?} is not emitted in wire {version}")]
    NotEmitted {
        /// The message's kind.
        kind: Kind,
        /// The negotiated version.
        version: WireVersion,
    },
    /// The negotiated version has no address for the server.
    #[error("wire {version} has no address for the {server}")]
    Unaddressable {
        /// The server.
        server: ServerAddress,
        /// The negotiated version.
        version: WireVersion,
    },
    /// The cast has not been given the number of its function in the peer's table.
    #[error("the function {function:?} has no number of the peer's yet")]
    NotNumbered {
        /// The function.
        function: Arc<str>,
    },
    /// The frame would be longer than the peer takes.
    #[error("a frame of {bytes} bytes is longer than the {max} that the peer takes")]
    TooLong {
        /// Bytes needed.
        bytes: usize,
        /// Bytes allowed.
        max: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_frozen() {
        let frozen = [
            (0x100, CloseCode::Shutdown),
            (0x101, CloseCode::Refused),
            (0x102, CloseCode::BadHandshake),
            (0x103, CloseCode::BadFrame),
            (0x104, CloseCode::Replaced),
            (0x105, CloseCode::NotTrusted),
            (0x106, CloseCode::TooSlow),
            (0x107, CloseCode::TryAgain),
            (0x108, CloseCode::ProtocolBroken),
        ];
        for (code, close) in frozen {
            assert_eq!(close.code(), code);
            assert_eq!(CloseCode::from_code(u64::from(code)), Some(close));
        }
        assert_eq!(CloseCode::from_code(0), None);
    }
}
