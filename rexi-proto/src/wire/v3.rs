//! Wire v3, frozen: the layouts of release 2.0. There is no singleton any more, so the address of v2 is gone, and with
//! it "no such server". Everything else is as in v2.

use super::v2;
use super::{FrameReader, FrameWriter};
use crate::error::{DecodeError, EncodeError};
use crate::message::Message;
use crate::phase::ServerAddress;
use crate::version::WireVersion;

pub(super) fn encode(message: &Message, frame: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
    if let Some(server) = message.server().filter(|&server| server != ServerAddress::PerNode) {
        return Err(EncodeError::Unaddressable { server, version: WireVersion::V3 });
    }
    v2::encode_unaddressed(message, frame)
}

pub(super) fn decode(frame: FrameReader<'_>) -> Result<Message, DecodeError> {
    v2::decode_unaddressed(frame, ServerAddress::PerNode)
}
