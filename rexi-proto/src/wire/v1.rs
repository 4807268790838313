//! Wire v1, frozen: the layouts of release 1.0. No message names a server, since there is only the singleton.
//!
//! Later versions use these layouts for what they did not change. postcard is positional: the order of fields and of
//! variants *is* the format.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FrameReader, FrameWriter, clipped};
use crate::compat::Kind;
use crate::error::{DecodeError, EncodeError};
use crate::message::{self, Body, BulkId, ExitReason, Message, ReplyForm};
use crate::name::{CallRef, MonitorRef};
use crate::phase::ServerAddress;
use crate::version::WireVersion;

pub(super) fn encode(message: &Message, frame: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
    if let Some(server) = message.server().filter(|&server| server != ServerAddress::Singleton) {
        return Err(EncodeError::Unaddressable { server, version: WireVersion::V1 });
    }
    encode_unaddressed(message, frame);
    Ok(())
}

pub(super) fn decode(frame: FrameReader<'_>) -> Result<Message, DecodeError> {
    decode_unaddressed(frame, ServerAddress::Singleton)
}

/// Writes a message without the server that it is for.
pub(super) fn encode_unaddressed(message: &Message, frame: &mut FrameWriter<'_>) {
    match message {
        Message::Cast(_, cast) => {
            frame.header(&Cast::from(cast));
            frame.payload(&cast.body);
        }
        Message::Kill(_, call)
        | Message::Ping(call)
        | Message::NoSuchFunction(call)
        | Message::StreamInit(call)
        | Message::StreamStart(_, call)
        | Message::StreamCancel(_, call) => frame.header(&call.0),
        Message::KillAll(_, calls) | Message::Resume(_, calls) => {
            frame.header(&calls.iter().map(|call| call.0).collect::<Vec<u64>>());
        }
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
            let function = clipped(&exit.function, TEXT_BYTES_MAX);
            frame.header(&Exit {
                call: exit.call.0,
                replies: exit.replies,
                function,
                reason: Reason::from(&exit.reason),
            });
        }
        Message::NoSuchServer(_, call) => frame.header(&call.0),
        Message::Monitor(_, monitor) | Message::Demonitor(_, monitor) => frame.header(&monitor.0),
        Message::Down(monitor, reason) => {
            frame.header(&Down { monitor: monitor.0, reason: DownReason::from(*reason) });
        }
        Message::Announce(epoch, phase) => frame.header(&Announce { epoch: *epoch, phase: Phase::from(*phase) }),
        Message::Draining => {}
        Message::Unsupported(kind) => frame.header(kind),
    }
}

/// Writes a reply in the form that nobody emits yet: for a mutant.
pub(super) fn encode_tagged(message: &Message, frame: &mut FrameWriter<'_>) -> Result<(), EncodeError> {
    if let Message::Reply(message::Reply { call, number, form, body }) = message {
        let bulk = Bulk::of(body);
        let form = match form {
            ReplyForm::Plain => Form::Plain,
            ReplyForm::Last => Form::Last,
            ReplyForm::Item => Form::Item,
            ReplyForm::Question => Form::Question,
        };
        frame.header(&TaggedReply { call: call.0, number: *number, form, bulk });
        frame.payload(body);
    }
    Ok(())
}

/// Reads a message that is for `server`, where it is for a server at all.
pub(super) fn decode_unaddressed(mut frame: FrameReader<'_>, server: ServerAddress) -> Result<Message, DecodeError> {
    let calls = |numbers: Vec<u64>| numbers.into_iter().map(CallRef).collect();
    Ok(match frame.kind {
        Kind::Cast => {
            let header: Cast<'_> = frame.header()?;
            let body = frame.payload(header.bulk.map(Body::from))?;
            Message::Cast(server, header.with(body))
        }
        Kind::Kill => Message::Kill(server, CallRef(frame.only()?)),
        Kind::KillAll => Message::KillAll(server, calls(frame.only()?)),
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
        Kind::NoSuchServer => Message::NoSuchServer(server, CallRef(frame.only()?)),
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
            let Announce { epoch, phase } = frame.only()?;
            Message::Announce(epoch, phase.into())
        }
        Kind::Draining => {
            frame.only::<()>()?;
            Message::Draining
        }
        Kind::Unsupported => Message::Unsupported(frame.only()?),
        Kind::Hello => unreachable!("compat.rs has no row for a hello"),
    })
}

/// Shows the layout of a message without the server that it is for.
#[cfg(feature = "schema")]
pub(super) fn show(kind: Kind, visitor: &mut impl crate::schema::LayoutVisitor) {
    match kind {
        Kind::Cast => visitor.header::<Cast<'_>>(kind),
        Kind::Reply => visitor.header::<Reply>(kind),
        Kind::TaggedReply => visitor.header::<TaggedReply>(kind),
        Kind::Item | Kind::Question | Kind::Response => visitor.header::<Numbered>(kind),
        Kind::Kill
        | Kind::NoSuchServer
        | Kind::NoSuchFunction
        | Kind::Ping
        | Kind::Monitor
        | Kind::Demonitor
        | Kind::StreamInit
        | Kind::StreamStart
        | Kind::StreamCancel => visitor.header::<u64>(kind),
        Kind::KillAll | Kind::Resume => visitor.header::<Vec<u64>>(kind),
        Kind::Ack => visitor.header::<Count>(kind),
        Kind::Sent => visitor.header::<Sent>(kind),
        Kind::Exit => visitor.header::<Exit<'_>>(kind),
        Kind::Down => visitor.header::<Down>(kind),
        Kind::Announce => visitor.header::<Announce>(kind),
        Kind::Draining => visitor.header::<()>(kind),
        Kind::Unsupported => visitor.header::<u8>(kind),
        Kind::Hello => unreachable!("compat.rs has no row for a hello"),
    }
    if matches!(kind, Kind::Cast | Kind::Reply | Kind::TaggedReply | Kind::Item | Kind::Question | Kind::Response) {
        visitor.payload(kind);
    }
}

fn decode_numbered(mut frame: FrameReader<'_>) -> Result<(CallRef, u64, Body), DecodeError> {
    let Numbered { call, number, bulk } = frame.header()?;
    Ok((CallRef(call), number, frame.payload(bulk.map(Body::from))?))
}

/// Bytes of a text that an exit carries; what is longer is cut.
const TEXT_BYTES_MAX: usize = 4_096;

#[derive(Serialize, Deserialize)]
struct Cast<'a> {
    call: u64,
    milliseconds_left: Option<u32>,
    nonce: u64,
    trace: Option<Trace>,
    function: &'a str,
    bulk: Option<Bulk>,
}

#[derive(Serialize, Deserialize)]
struct Trace {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Bulk {
    id: u64,
    bytes: u32,
}

#[derive(Serialize, Deserialize)]
struct Reply {
    call: u64,
    number: u64,
    last: bool,
    bulk: Option<Bulk>,
}

/// Any reply, in one frame that says its form. Nobody writes it yet.
#[derive(Serialize, Deserialize)]
struct TaggedReply {
    call: u64,
    number: u64,
    form: Form,
    bulk: Option<Bulk>,
}

#[derive(Serialize, Deserialize)]
enum Form {
    Plain,
    Last,
    Item,
    Question,
}

#[derive(Serialize, Deserialize)]
struct Numbered {
    call: u64,
    number: u64,
    bulk: Option<Bulk>,
}

#[derive(Serialize, Deserialize)]
struct Count {
    call: u64,
    count: u64,
}

#[derive(Serialize, Deserialize)]
struct Sent {
    call: u64,
    replies: u64,
    question: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Exit<'a> {
    call: u64,
    replies: u64,
    function: &'a str,
    #[serde(borrow)]
    reason: Reason<'a>,
}

#[derive(Serialize, Deserialize)]
enum Reason<'a> {
    Done,
    Failed(&'a str),
    Panicked(&'a str),
    DuplicateRef,
    TooManyJobs,
    TimePassed,
    Draining,
    ConnectionLost,
    ReplyDropped,
    ReplyTooLarge,
    Killed,
    ServerEnded,
    StreamTimeout,
    InvalidStreamMessage,
    MismatchedAck,
    TooManyStreams,
    TooManyBytes,
    WrongType(&'a str),
    TooManyJobsInAll,
    TooManyBytesInAll,
    TooManyStreamsInAll,
    ReplyDroppedInAll,
}

#[derive(Serialize, Deserialize)]
struct Down {
    monitor: u64,
    reason: DownReason,
}

#[derive(Serialize, Deserialize)]
enum DownReason {
    NoConnect,
    NoServer,
    NoConnection,
    Restarted,
    Shutdown,
    TooManyMonitors,
}

#[derive(Serialize, Deserialize)]
struct Announce {
    epoch: u64,
    phase: Phase,
}

#[derive(Serialize, Deserialize)]
enum Phase {
    Singleton,
    Introduce,
    Switch,
    Remove,
}

impl<'a> From<&'a message::Cast> for Cast<'a> {
    fn from(cast: &'a message::Cast) -> Self {
        let milliseconds = |left: Duration| u32::try_from(left.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
        Self {
            call: cast.call.0,
            milliseconds_left: cast.time_left.map(milliseconds),
            nonce: cast.nonce,
            trace: cast.trace.map(|t| Trace { trace_id: t.trace_id, span_id: t.span_id, flags: t.flags }),
            function: &cast.function,
            bulk: Bulk::of(&cast.body),
        }
    }
}

impl Cast<'_> {
    fn with(self, body: Body) -> message::Cast {
        message::Cast {
            call: CallRef(self.call),
            function: self.function.into(),
            time_left: self.milliseconds_left.map(|ms| Duration::from_millis(ms.into())),
            nonce: self.nonce,
            trace: self.trace.map(|t| message::Trace { trace_id: t.trace_id, span_id: t.span_id, flags: t.flags }),
            body,
        }
    }
}

impl Bulk {
    fn of(body: &Body) -> Option<Self> {
        match body {
            Body::Inline(_) => None,
            Body::Bulk(id, bytes) => Some(Self { id: id.0, bytes: *bytes }),
        }
    }
}

impl From<Bulk> for Body {
    fn from(bulk: Bulk) -> Self {
        Self::Bulk(BulkId(bulk.id), bulk.bytes)
    }
}

impl<'a> From<&'a ExitReason> for Reason<'a> {
    fn from(reason: &'a ExitReason) -> Self {
        match reason {
            ExitReason::Done => Self::Done,
            ExitReason::Failed(text) => Self::Failed(clipped(text, TEXT_BYTES_MAX)),
            ExitReason::Panicked(text) => Self::Panicked(clipped(text, TEXT_BYTES_MAX)),
            ExitReason::DuplicateRef => Self::DuplicateRef,
            ExitReason::TooManyJobs => Self::TooManyJobs,
            ExitReason::TimePassed => Self::TimePassed,
            ExitReason::Draining => Self::Draining,
            ExitReason::ConnectionLost => Self::ConnectionLost,
            ExitReason::ReplyDropped => Self::ReplyDropped,
            ExitReason::ReplyTooLarge => Self::ReplyTooLarge,
            ExitReason::Killed => Self::Killed,
            ExitReason::ServerEnded => Self::ServerEnded,
            ExitReason::StreamTimeout => Self::StreamTimeout,
            ExitReason::InvalidStreamMessage => Self::InvalidStreamMessage,
            ExitReason::MismatchedAck => Self::MismatchedAck,
            ExitReason::TooManyStreams => Self::TooManyStreams,
            ExitReason::TooManyBytes => Self::TooManyBytes,
            ExitReason::WrongType(text) => Self::WrongType(clipped(text, TEXT_BYTES_MAX)),
            ExitReason::TooManyJobsInAll => Self::TooManyJobsInAll,
            ExitReason::TooManyBytesInAll => Self::TooManyBytesInAll,
            ExitReason::TooManyStreamsInAll => Self::TooManyStreamsInAll,
            ExitReason::ReplyDroppedInAll => Self::ReplyDroppedInAll,
        }
    }
}

impl From<Reason<'_>> for ExitReason {
    fn from(reason: Reason<'_>) -> Self {
        match reason {
            Reason::Done => Self::Done,
            Reason::Failed(text) => Self::Failed(text.into()),
            Reason::Panicked(text) => Self::Panicked(text.into()),
            Reason::DuplicateRef => Self::DuplicateRef,
            Reason::TooManyJobs => Self::TooManyJobs,
            Reason::TimePassed => Self::TimePassed,
            Reason::Draining => Self::Draining,
            Reason::ConnectionLost => Self::ConnectionLost,
            Reason::ReplyDropped => Self::ReplyDropped,
            Reason::ReplyTooLarge => Self::ReplyTooLarge,
            Reason::Killed => Self::Killed,
            Reason::ServerEnded => Self::ServerEnded,
            Reason::StreamTimeout => Self::StreamTimeout,
            Reason::InvalidStreamMessage => Self::InvalidStreamMessage,
            Reason::MismatchedAck => Self::MismatchedAck,
            Reason::TooManyStreams => Self::TooManyStreams,
            Reason::TooManyBytes => Self::TooManyBytes,
            Reason::WrongType(text) => Self::WrongType(text.into()),
            Reason::TooManyJobsInAll => Self::TooManyJobsInAll,
            Reason::TooManyBytesInAll => Self::TooManyBytesInAll,
            Reason::TooManyStreamsInAll => Self::TooManyStreamsInAll,
            Reason::ReplyDroppedInAll => Self::ReplyDroppedInAll,
        }
    }
}

impl From<Form> for ReplyForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Plain => Self::Plain,
            Form::Last => Self::Last,
            Form::Item => Self::Item,
            Form::Question => Self::Question,
        }
    }
}

impl From<message::DownReason> for DownReason {
    fn from(reason: message::DownReason) -> Self {
        match reason {
            message::DownReason::NoConnect => Self::NoConnect,
            message::DownReason::NoServer => Self::NoServer,
            message::DownReason::NoConnection => Self::NoConnection,
            message::DownReason::Restarted => Self::Restarted,
            message::DownReason::Shutdown => Self::Shutdown,
            message::DownReason::TooManyMonitors => Self::TooManyMonitors,
        }
    }
}

impl From<DownReason> for message::DownReason {
    fn from(reason: DownReason) -> Self {
        match reason {
            DownReason::NoConnect => Self::NoConnect,
            DownReason::NoServer => Self::NoServer,
            DownReason::NoConnection => Self::NoConnection,
            DownReason::Restarted => Self::Restarted,
            DownReason::Shutdown => Self::Shutdown,
            DownReason::TooManyMonitors => Self::TooManyMonitors,
        }
    }
}

impl From<crate::phase::Phase> for Phase {
    fn from(phase: crate::phase::Phase) -> Self {
        match phase {
            crate::phase::Phase::Singleton => Self::Singleton,
            crate::phase::Phase::Introduce => Self::Introduce,
            crate::phase::Phase::Switch => Self::Switch,
            crate::phase::Phase::Remove => Self::Remove,
        }
    }
}

impl From<Phase> for crate::phase::Phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Singleton => Self::Singleton,
            Phase::Introduce => Self::Introduce,
            Phase::Switch => Self::Switch,
            Phase::Remove => Self::Remove,
        }
    }
}
