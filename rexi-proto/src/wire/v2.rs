//! Wire v2, frozen: the layouts of release 1.1. A message that is for a server opens with that server's address;
//! batched kills and "no such server" are new. All else is as in v1.

use serde::{Deserialize, Serialize};

use super::v1;
use super::{FrameReader, FrameWriter};
use crate::compat::Kind;
use crate::error::{DecodeError, EncodeError};
use crate::message::Message;
use crate::phase::ServerAddress;

pub(super) fn encode(message: &Message, frame: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
    if let Some(server) = message.server() {
        frame.header(&Address::from(server));
    }
    v1::encode_unaddressed(message, frame);
    Ok(())
}

pub(super) fn decode(mut frame: FrameReader<'_>) -> Result<Message, DecodeError> {
    // The others are for no server, so what stands here is not looked at.
    let server = if addressed(frame.kind) { frame.header::<Address>()?.into() } else { ServerAddress::Singleton };
    v1::decode_unaddressed(frame, server)
}

/// Shows the layout of a message, with the server that it is for.
#[cfg(feature = "schema")]
pub(super) fn show(kind: Kind, visitor: &mut impl crate::schema::LayoutVisitor) {
    if addressed(kind) {
        visitor.header::<Address>(kind);
    }
    v1::show(kind, visitor);
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
