//! The layouts of v1 on the wire, field by field, and what they mean in the protocol.
//!
//! Frozen, as `v1.rs` says: the order of fields and of variants is the format.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::{self, Body, BulkId, ExitReason, ReplyForm};
use crate::name::CallRef;
use crate::wire::clipped;

#[derive(Serialize, Deserialize)]
pub(super) struct Cast {
    pub(super) call: u64,
    pub(super) milliseconds_left: Option<u32>,
    pub(super) nonce: u64,
    pub(super) trace: Option<TraceContext>,
    /// By its number in the table of the node that runs it.
    pub(super) function: u32,
    pub(super) bulk: Option<Bulk>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TraceContext {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) flags: u8,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Bulk {
    pub(super) id: u64,
    pub(super) bytes: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) call: u64,
    pub(super) number: u64,
    pub(super) last: bool,
    pub(super) bulk: Option<Bulk>,
}

/// Any reply, in one frame that says its form. No release writes it yet.
#[derive(Serialize, Deserialize)]
pub(super) struct TaggedReply {
    pub(super) call: u64,
    pub(super) number: u64,
    pub(super) form: Form,
    pub(super) bulk: Option<Bulk>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Form {
    Plain,
    Last,
    Item,
    Question,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Numbered {
    pub(super) call: u64,
    pub(super) number: u64,
    pub(super) bulk: Option<Bulk>,
}

/// Items of a stream, each the value of one.
#[cfg(feature = "schema")]
#[derive(Serialize, Deserialize)]
pub(super) struct Items {
    pub(super) call: u64,
    pub(super) number: u64,
    pub(super) items: Vec<Vec<u8>>,
}

/// As [`Items`] begins: the list is written and read by itself.
#[derive(Serialize, Deserialize)]
pub(super) struct ItemsHead {
    pub(super) call: u64,
    pub(super) number: u64,
    /// The list's own length.
    pub(super) count: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) call: u64,
    pub(super) count: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) call: u64,
    pub(super) replies: u64,
    pub(super) question: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Exit<'a> {
    pub(super) call: u64,
    pub(super) replies: u64,
    pub(super) function: &'a str,
    #[serde(borrow)]
    pub(super) reason: Reason<'a>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Reason<'a> {
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
    NotAllowed,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Down {
    pub(super) monitor: u64,
    pub(super) reason: DownReason,
}

#[derive(Serialize, Deserialize)]
pub(super) enum DownReason {
    NoConnect,
    NoServer,
    NoConnection,
    Restarted,
    Shutdown,
    TooManyMonitors,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Announce {
    /// By its number in the sender's hello.
    pub(super) migration: u8,
    pub(super) epoch: u64,
    pub(super) phase: Phase,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Phase {
    Singleton,
    Introduce,
    Switch,
    Remove,
}

impl Cast {
    pub(super) fn of(cast: &message::Cast, function: u32) -> Self {
        let milliseconds = |left: Duration| u32::try_from(left.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
        Self {
            call: cast.call.0,
            milliseconds_left: cast.time_left.map(milliseconds),
            nonce: cast.nonce,
            trace: cast.trace.as_deref().map(|t| TraceContext {
                trace_id: t.trace_id,
                span_id: t.span_id,
                flags: t.flags,
            }),
            function,
            bulk: Bulk::of(&cast.body),
        }
    }
}

impl Cast {
    pub(super) fn with(self, body: Body) -> message::Cast {
        message::Cast {
            call: CallRef(self.call),
            function: message::Called::Number(self.function),
            time_left: self.milliseconds_left.map(|ms| Duration::from_millis(ms.into())),
            nonce: self.nonce,
            trace: self
                .trace
                .map(|t| Box::new(message::TraceContext { trace_id: t.trace_id, span_id: t.span_id, flags: t.flags })),
            body,
        }
    }
}

impl Bulk {
    pub(super) fn of(body: &Body) -> Option<Self> {
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

impl<'a> Reason<'a> {
    /// As it is written, with no more than so many bytes of text.
    pub(super) fn of(reason: &'a ExitReason, text_bytes_max: usize) -> Self {
        match reason {
            ExitReason::Done => Self::Done,
            ExitReason::Failed(text) => Self::Failed(clipped(text, text_bytes_max)),
            ExitReason::Panicked(text) => Self::Panicked(clipped(text, text_bytes_max)),
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
            ExitReason::WrongType(text) => Self::WrongType(clipped(text, text_bytes_max)),
            ExitReason::TooManyJobsInAll => Self::TooManyJobsInAll,
            ExitReason::TooManyBytesInAll => Self::TooManyBytesInAll,
            ExitReason::TooManyStreamsInAll => Self::TooManyStreamsInAll,
            ExitReason::ReplyDroppedInAll => Self::ReplyDroppedInAll,
            ExitReason::NotAllowed => Self::NotAllowed,
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
            Reason::NotAllowed => Self::NotAllowed,
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
