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
    let server = match frame.kind {
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
        | Kind::Response => frame.header::<Address>()?.into(),
        // The others are for no server, so what stands here is not looked at.
        _ => ServerAddress::Singleton,
    };
    v1::decode_unaddressed(frame, server)
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
