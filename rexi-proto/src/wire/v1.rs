//! Wire v1, frozen: the layouts of release 1.0. No message names a server, since there is only the singleton.
//!
//! Later versions use these layouts for what they did not change, and hand in what they brought. postcard is
//! positional: the order of fields and of variants *is* the format.

mod layouts;

use layouts::{
    Announce, Bulk, Cast, Count, Down, DownReason, Exit, ItemsHead, Numbered, Phase, Reason, Reply, Sent, TaggedReply,
};

use super::{FrameReader, FrameWriter, clipped};
use crate::compat::Kind;
use crate::error::{DecodeError, EncodeError};
use crate::items::ItemList;
use crate::message::{self, Body, Called, Message, ReplyForm};
use crate::name::{CallRef, MonitorRef};
use crate::phase::ServerAddress;
use crate::rollout::PhaseNow;
use crate::version::WireVersion;

pub(super) fn encode(message: &Message, frame: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
    if let Some(server) = message.server().filter(|&server| server != ServerAddress::Singleton) {
        return Err(EncodeError::Unaddressable { server, version: WireVersion::V1 });
    }
    encode_unaddressed(message, frame, |_, _| unreachable!("compat.rs has no row for it in v1"))
}

pub(super) fn decode(frame: FrameReader<'_>) -> Result<Message, DecodeError> {
    decode_unaddressed(frame, ServerAddress::Singleton, |_, _| unreachable!("compat.rs has no row for it in v1"))
}

/// Writes a message without the server that it is for; `later` writes what v1 lacks.
pub(super) fn encode_unaddressed(
    message: &Message,
    frame: &mut FrameWriter<'_>,
    later: impl FnOnce(&Message, &mut FrameWriter<'_>),
) -> Result<(), EncodeError> {
    match message {
        Message::Cast(_, cast) => {
            let number = match &cast.function {
                Called::Number(number) => *number,
                Called::Name(name) => return Err(EncodeError::NotNumbered { function: name.clone().into() }),
            };
            frame.header(&Cast::of(cast, number));
            frame.payload(&cast.body);
        }
        Message::Kill(_, call)
        | Message::Ping(call)
        | Message::NoSuchFunction(call)
        | Message::StreamInit(call)
        | Message::StreamStart(_, call)
        | Message::StreamCancel(_, call) => frame.header(&call.0),
        Message::Resume(_, calls) => frame.header(&numbers(calls)),
        Message::Reply(reply) => {
            let message::Reply { call, number, form, ref body } = *reply;
            let (call, bulk) = (call.0, Bulk::of(body));
            match form {
                ReplyForm::Plain | ReplyForm::Last => {
                    frame.header(&Reply { call, number, last: form == ReplyForm::Last, bulk });
                }
                ReplyForm::Item | ReplyForm::Question => frame.header(&Numbered { call, number, bulk }),
            }
            frame.payload(&reply.body);
        }
        Message::Items(items) => {
            let (call, number, count) = (items.call.0, items.number, items.list.len() as u64);
            frame.header(&ItemsHead { call, number, count });
            frame.raw(items.list.bytes());
        }
        Message::Response(_, response) => {
            let message::Response { call, number, ref body } = *response;
            frame.header(&Numbered { call: call.0, number, bulk: Bulk::of(body) });
            frame.payload(body);
        }
        Message::Ack(_, call, count) => frame.header(&Count { call: call.0, count: *count }),
        Message::Sent(message::Sent { call, replies, question }) => {
            frame.header(&Sent { call: call.0, replies: *replies, question: *question });
        }
        Message::Exit(exit) => {
            let text_bytes_max = TEXT_BYTES_MAX.min(frame.text_bytes_max());
            let function = clipped(&exit.function, text_bytes_max);
            frame.header(&Exit {
                call: exit.call.0,
                replies: exit.replies,
                function,
                reason: Reason::of(&exit.reason, text_bytes_max),
            });
        }
        Message::Monitor(_, monitor) | Message::Demonitor(_, monitor) => frame.header(&monitor.0),
        Message::Down(monitor, reason) => {
            frame.header(&Down { monitor: monitor.0, reason: DownReason::from(*reason) });
        }
        Message::Announce(migration, PhaseNow { epoch, phase }) => {
            frame.header(&Announce { migration: *migration, epoch: *epoch, phase: Phase::from(*phase) });
        }
        Message::Draining => {}
        Message::Unsupported(kind) => frame.header(kind),
        Message::KillAll(..) | Message::NoSuchServer(..) => later(message, frame),
    }
    Ok(())
}

/// Reads a message that is for `server`, where it is for a server at all; `later` reads what v1 lacks.
pub(super) fn decode_unaddressed<'a>(
    mut frame: FrameReader<'a>,
    server: ServerAddress,
    later: impl FnOnce(FrameReader<'a>, ServerAddress) -> Result<Message, DecodeError>,
) -> Result<Message, DecodeError> {
    Ok(match frame.kind {
        Kind::Cast => {
            let header: Cast = frame.header()?;
            let body = frame.payload(header.bulk.map(Body::from))?;
            Message::Cast(server, header.with(body))
        }
        Kind::Kill => Message::Kill(server, CallRef(frame.only()?)),
        Kind::Reply => {
            let Reply { call, number, last, bulk } = frame.header()?;
            let body = frame.payload(bulk.map(Body::from))?;
            let form = if last { ReplyForm::Last } else { ReplyForm::Plain };
            Message::Reply(message::Reply { call: CallRef(call), number, form, body })
        }
        Kind::Item | Kind::Question => {
            let form = if frame.kind == Kind::Item { ReplyForm::Item } else { ReplyForm::Question };
            let (call, number, body) = decode_numbered(frame)?;
            Message::Reply(message::Reply { call, number, form, body })
        }
        Kind::Items => Message::Items(decode_items(frame)?),
        Kind::TaggedReply => {
            let TaggedReply { call, number, form, bulk } = frame.header()?;
            let body = frame.payload(bulk.map(Body::from))?;
            Message::Reply(message::Reply { call: CallRef(call), number, form: form.into(), body })
        }
        Kind::Response => {
            let (call, number, body) = decode_numbered(frame)?;
            Message::Response(server, message::Response { call, number, body })
        }
        Kind::StreamInit => Message::StreamInit(CallRef(frame.only()?)),
        Kind::StreamStart => Message::StreamStart(server, CallRef(frame.only()?)),
        Kind::StreamCancel => Message::StreamCancel(server, CallRef(frame.only()?)),
        Kind::Ack => {
            let Count { call, count } = frame.only()?;
            Message::Ack(server, CallRef(call), count)
        }
        Kind::Sent => {
            let Sent { call, replies, question } = frame.only()?;
            Message::Sent(message::Sent { call: CallRef(call), replies, question })
        }
        Kind::Exit => {
            let Exit { call, replies, function, reason } = frame.only()?;
            let (call, function) = (CallRef(call), function.into());
            Message::Exit(message::Exit { call, replies, function, reason: reason.into() })
        }
        Kind::NoSuchFunction => Message::NoSuchFunction(CallRef(frame.only()?)),
        Kind::Ping => Message::Ping(CallRef(frame.only()?)),
        Kind::Monitor => Message::Monitor(server, MonitorRef(frame.only()?)),
        Kind::Demonitor => Message::Demonitor(server, MonitorRef(frame.only()?)),
        Kind::Down => {
            let Down { monitor, reason } = frame.only()?;
            Message::Down(MonitorRef(monitor), reason.into())
        }
        Kind::Resume => Message::Resume(server, calls(frame.only()?)),
        Kind::Announce => {
            let Announce { migration, epoch, phase } = frame.only()?;
            Message::Announce(migration, PhaseNow { epoch, phase: phase.into() })
        }
        Kind::Draining => {
            frame.only::<()>()?;
            Message::Draining
        }
        Kind::Unsupported => Message::Unsupported(frame.only()?),
        Kind::KillAll | Kind::NoSuchServer => later(frame, server)?,
        Kind::Hello => unreachable!("compat.rs has no row for a hello"),
    })
}

/// Shows the layout of a message without the server that it is for.
#[cfg(feature = "schema")]
pub(super) fn show(kind: Kind, visitor: &mut impl crate::schema::LayoutVisitor) {
    match kind {
        Kind::Cast => visitor.header::<Cast>(kind),
        Kind::Reply => visitor.header::<Reply>(kind),
        Kind::TaggedReply => visitor.header::<TaggedReply>(kind),
        Kind::Item | Kind::Question | Kind::Response => visitor.header::<Numbered>(kind),
        Kind::Kill
        | Kind::NoSuchFunction
        | Kind::Ping
        | Kind::Monitor
        | Kind::Demonitor
        | Kind::StreamInit
        | Kind::StreamStart
        | Kind::StreamCancel => visitor.header::<u64>(kind),
        Kind::Resume => visitor.header::<Vec<u64>>(kind),
        Kind::Items => visitor.header::<layouts::Items>(kind),
        Kind::Ack => visitor.header::<Count>(kind),
        Kind::Sent => visitor.header::<Sent>(kind),
        Kind::Exit => visitor.header::<Exit<'_>>(kind),
        Kind::Down => visitor.header::<Down>(kind),
        Kind::Announce => visitor.header::<Announce>(kind),
        Kind::Draining => visitor.header::<()>(kind),
        Kind::Unsupported => visitor.header::<u8>(kind),
        Kind::KillAll | Kind::NoSuchServer => unreachable!("v2 shows what it brought"),
        Kind::Hello => unreachable!("compat.rs has no row for a hello"),
    }
    if matches!(kind, Kind::Cast | Kind::Reply | Kind::TaggedReply | Kind::Item | Kind::Question | Kind::Response) {
        visitor.payload(kind);
    }
}

/// A list of calls, as it is written.
pub(super) fn numbers(calls: &[CallRef]) -> Vec<u64> {
    calls.iter().map(|call| call.0).collect()
}

/// And as it was read.
pub(super) fn calls(numbers: Vec<u64>) -> Vec<CallRef> {
    numbers.into_iter().map(CallRef).collect()
}

fn decode_items(mut frame: FrameReader<'_>) -> Result<message::ItemBatch, DecodeError> {
    let ItemsHead { call, number, count } = frame.header()?;
    let no_list = || DecodeError::Malformed { kind: frame.kind as u8, reason: format!("it has no {count} items") };
    let (list, rest) = ItemList::read(count, frame.body).ok_or_else(no_list)?;
    frame.body = rest;
    frame.end()?;
    Ok(message::ItemBatch { call: CallRef(call), number, list })
}

fn decode_numbered(mut frame: FrameReader<'_>) -> Result<(CallRef, u64, Body), DecodeError> {
    let Numbered { call, number, bulk } = frame.header()?;
    Ok((CallRef(call), number, frame.payload(bulk.map(Body::from))?))
}

/// Bytes of a text that an exit carries; what is longer is cut.
const TEXT_BYTES_MAX: usize = 4_096;
