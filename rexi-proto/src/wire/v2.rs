//! Wire v2, frozen: the layouts of release 1.1. A message that is for a server opens with that server's address;
//! batched kills and "no such server" are new. Everything else is as in v1.

use serde::{Deserialize, Serialize};

use super::v1;
use super::{FrameReader, FrameWriter};
use crate::compat::Kind;
use crate::error::{DecodeError, EncodeError};
use crate::message::Message;
use crate::name::CallRef;
use crate::phase::ServerAddress;

pub(super) fn encode(message: &Message, frame: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
    if let Some(server) = message.server() {
        frame.header(&Address::from(server));
    }
    encode_unaddressed(message, frame)
}

pub(super) fn decode(mut frame: FrameReader<'_>) -> Result<Message, DecodeError> {
    // The others are for no server, so what stands here is not looked at.
    let server = if addressed(frame.kind) { frame.header::<Address>()?.into() } else { ServerAddress::Singleton };
    decode_unaddressed(frame, server)
}

/// Writes a message without the server that it is for.
pub(super) fn encode_unaddressed(message: &Message, frame: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
    v1::encode_unaddressed(message, frame, |new, frame| match new {
        Message::KillAll(_, calls) => frame.header(&v1::numbers(calls)),
        Message::NoSuchServer(_, call) => frame.header(&call.0),
        _ => unreachable!("v1 writes all else"),
    })
}

/// Reads a message that is for `server`, where it is for a server at all.
pub(super) fn decode_unaddressed(frame: FrameReader<'_>, server: ServerAddress) -> Result<Message, DecodeError> {
    v1::decode_unaddressed(frame, server, |new, server| match new.kind {
        Kind::KillAll => Ok(Message::KillAll(server, v1::calls(new.only()?))),
        Kind::NoSuchServer => Ok(Message::NoSuchServer(server, CallRef(new.only()?))),
        _ => unreachable!("v1 reads all else"),
    })
}

/// Shows the layout of a message, with the server that it is for.
#[cfg(feature = "schema")]
pub(super) fn show(kind: Kind, visitor: &mut impl crate::schema::LayoutVisitor) {
    if addressed(kind) {
        visitor.header::<Address>(kind);
    }
    show_unaddressed(kind, visitor);
}

/// Shows the layout of a message without the server that it is for.
#[cfg(feature = "schema")]
pub(super) fn show_unaddressed(kind: Kind, visitor: &mut impl crate::schema::LayoutVisitor) {
    match kind {
        Kind::KillAll => visitor.header::<Vec<u64>>(kind),
        Kind::NoSuchServer => visitor.header::<u64>(kind),
        _ => v1::show(kind, visitor),
    }
}

/// Whether a message of this kind is for a server.
fn addressed(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Cast
            | Kind::Kill
            | Kind::KillAll
            | Kind::NoSuchServer
            | Kind::Monitor
            | Kind::Demonitor
            | Kind::Resume
            | Kind::StreamStart
            | Kind::StreamCancel
            | Kind::Ack
            | Kind::Response
    )
}

#[derive(Serialize, Deserialize)]
enum Address {
    Singleton,
    PerNode,
}

impl From<ServerAddress> for Address {
    fn from(server: ServerAddress) -> Self {
        match server {
            ServerAddress::Singleton => Self::Singleton,
            ServerAddress::PerNode => Self::PerNode,
        }
    }
}

impl From<Address> for ServerAddress {
    fn from(address: Address) -> Self {
        match address {
            Address::Singleton => Self::Singleton,
            Address::PerNode => Self::PerNode,
        }
    }
}
