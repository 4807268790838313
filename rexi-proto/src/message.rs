//! The messages as the core sees them: the newest meaning, whatever the wire version that carried them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::items::ItemList;
use crate::name::{CallRef, MonitorRef};
use crate::phase::ServerAddress;
use crate::rollout::PhaseNow;
pub use crate::trace::TraceContext;

/// What one node says to another on the ordered lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Run a function.
    Cast(ServerAddress, Cast),
    /// End the job of a call, without an exit.
    Kill(ServerAddress, CallRef),
    /// End the jobs of many calls, without exits.
    KillAll(ServerAddress, Vec<CallRef>),
    /// A job's reply, in one of its forms; the last one ends the call.
    Reply(Reply),
    /// Replies in the form [`ReplyForm::Item`], as many as a job had ready.
    Items(ItemBatch),
    /// A job wants to send a stream of items, and waits until its caller starts or cancels it. Said again after a
    /// reconnect for as long as there is no answer.
    StreamInit(CallRef),
    /// The caller takes the stream.
    StreamStart(ServerAddress, CallRef),
    /// The caller does not want the stream; its job ends.
    StreamCancel(ServerAddress, CallRef),
    /// The caller has consumed so many of the stream's items in all. A total and no difference, so that it can be said
    /// again.
    Ack(ServerAddress, CallRef, u64),
    /// The caller's response to a question.
    Response(ServerAddress, Response),
    /// After a reconnect: what the job of this call has sent, and waits for.
    Sent(Sent),
    /// A job ended without a further reply, or never started.
    Exit(Exit),
    /// The server that a cast was for is not here.
    NoSuchServer(ServerAddress, CallRef),
    /// The function that a cast names is not registered here.
    NoSuchFunction(CallRef),
    /// A job is still at work; restarts the caller's per-message time limit.
    Ping(CallRef),
    /// Tell me when this server ends.
    Monitor(ServerAddress, MonitorRef),
    /// No longer tell me.
    Demonitor(ServerAddress, MonitorRef),
    /// A monitored server ended, or was never there.
    Down(MonitorRef, DownReason),
    /// After a reconnect: every call that the sender has open with this server. The server ends jobs that are not in
    /// the list (their kill was lost) and answers calls it does not know (their cast or their reply was lost).
    Resume(ServerAddress, Vec<CallRef>),
    /// The sender's phase has changed, of the migration that bears this number in its hello.
    Announce(u8, PhaseNow),
    /// The sender takes no new casts and will leave.
    Draining,
    /// The sender of this does not know the frame kind it names.
    Unsupported(u8),
}

impl Message {
    /// Whether it tells that a call was lost with its connection, which only the next one's resume can tell.
    pub(crate) fn tells_lost(&self) -> bool {
        matches!(self, Self::Exit(Exit { reason: ExitReason::ConnectionLost, .. }))
    }

    /// The server that the message is for, where it is for one.
    pub fn server(&self) -> Option<ServerAddress> {
        match self {
            Self::Cast(server, _)
            | Self::Kill(server, _)
            | Self::KillAll(server, _)
            | Self::NoSuchServer(server, _)
            | Self::Monitor(server, _)
            | Self::Demonitor(server, _)
            | Self::Resume(server, _)
            | Self::StreamStart(server, _)
            | Self::StreamCancel(server, _)
            | Self::Ack(server, ..)
            | Self::Response(server, _) => Some(*server),
            _ => None,
        }
    }
}

/// A request to run a function on another node. Its argument is a [`Body`] between nodes, and [`Bytes`] once it is
/// whole; its function is [`Called`] between nodes, and named at both ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cast<B = Body, F = Called> {
    /// The caller's number for it.
    pub call: CallRef,
    /// The function.
    pub function: F,
    /// Time left until its caller no longer waits; on the wire in whole milliseconds, rounded up.
    pub time_left: Option<Duration>,
    /// The caller's id of the wider request this belongs to; 0 for none (R2 of docs/rexi.md).
    pub nonce: u64,
    /// W3C trace context. Apart, since most casts have none and all are moved from queue to queue.
    pub trace: Option<Box<TraceContext>>,
    /// The encoded argument.
    pub body: B,
}

/// The function of a cast between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Called {
    /// By its registered name, before it leaves for the wire.
    Name(FunctionName),
    /// By its number in the table of the node that is to run it.
    Number(u32),
}

impl Called {
    /// The name; empty once it is numbered.
    pub(crate) fn into_name(self) -> Arc<str> {
        match self {
            Self::Name(name) => name.into(),
            Self::Number(_) => "".into(),
        }
    }
}

impl From<&'static str> for Called {
    fn from(name: &'static str) -> Self {
        Self::Name(name.into())
    }
}

/// The registered name of a function, as a caller has it. One that stands in the code is not allocated for each cast.
#[derive(Clone)]
pub enum FunctionName {
    /// It stands in the code.
    Static(&'static str),
    /// It was made.
    Shared(Arc<str>),
}

impl Deref for FunctionName {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl From<&'static str> for FunctionName {
    fn from(name: &'static str) -> Self {
        Self::Static(name)
    }
}

impl From<Arc<str>> for FunctionName {
    fn from(name: Arc<str>) -> Self {
        Self::Shared(name)
    }
}

impl From<String> for FunctionName {
    fn from(name: String) -> Self {
        Self::Shared(name.into())
    }
}

impl From<FunctionName> for Arc<str> {
    fn from(name: FunctionName) -> Self {
        match name {
            FunctionName::Static(name) => name.into(),
            FunctionName::Shared(name) => name,
        }
    }
}

impl PartialEq for FunctionName {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for FunctionName {}

impl Hash for FunctionName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<B, F> Cast<B, F> {
    /// The same with another form of the argument.
    #[inline]
    pub(crate) fn map_body<C>(self, map: impl FnOnce(B) -> C) -> Cast<C, F> {
        let Self { call, function, time_left, nonce, trace, body } = self;
        Cast { call, function, time_left, nonce, trace, body: map(body) }
    }

    /// The same with another form of the function.
    #[inline]
    pub(crate) fn map_function<G>(self, map: impl FnOnce(F) -> G) -> Cast<B, G> {
        let Self { call, function, time_left, nonce, trace, body } = self;
        Cast { call, function: map(function), time_left, nonce, trace, body }
    }
}

/// One reply of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The call it answers.
    pub call: CallRef,
    /// Replies that the job has sent before it. A caller that misses one ends the call: a gap is never passed over.
    pub number: u64,
    /// What it asks of its caller.
    pub form: ReplyForm,
    /// The encoded value.
    pub body: Body,
}

/// Items of a job's stream, each a reply that is counted as such.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ItemBatch {
    /// The call they answer.
    pub call: CallRef,
    /// Replies that the job has sent before the first of them.
    pub number: u64,
    /// The encoded values, one at least.
    pub list: ItemList,
}

/// What a reply asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyForm {
    /// Nothing; the job goes on.
    Plain,
    /// Nothing; the job ended with it.
    Last,
    /// An [`Message::Ack`]: it is an item of the job's stream.
    Item,
    /// A [`Response`], for which the job waits.
    Question,
}

/// Where a job stands, for its caller to find what a lost connection took along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    /// The call.
    pub call: CallRef,
    /// Replies that the job has sent so far. A caller that has fewer has lost some.
    pub replies: u64,
    /// The question whose response has not come. A caller that sent one has lost it.
    pub question: Option<u64>,
}

/// A caller's response to a question of its job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Response {
    /// The call whose job asked.
    pub call: CallRef,
    /// The number of the reply that was the question.
    pub number: u64,
    /// The encoded value.
    pub body: Body,
}

/// The end of a job that is not a reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    /// The call it answers.
    pub call: CallRef,
    /// Replies that the job has sent before it; looked at where the job ended well ([`ExitReason::Done`]).
    pub replies: u64,
    /// The function's name; empty where the server no longer knows it.
    pub function: Arc<str>,
    /// Why.
    pub reason: ExitReason,
}

/// The payload of a cast, a reply or a response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// Here, inside the frame.
    Inline(Bytes),
    /// On a QUIC stream of its own, which opens with this number.
    Bulk(BulkId, u32),
}

impl Body {
    /// Whether it is here, and longer than that.
    pub(crate) fn is_longer_than(&self, bytes: usize) -> bool {
        matches!(self, Self::Inline(body) if body.len() > bytes)
    }
}

/// A sender's number for a payload on a QUIC stream of its own, unique within a connection and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BulkId(pub u64);

/// Why a job ended without a (further) reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitReason {
    /// The function ended normally and had nothing more to say.
    Done,
    /// The function returned this error. It ran.
    Failed(Arc<str>),
    /// The function panicked with this message. It ran.
    Panicked(Arc<str>),
    /// The call's number is in use by a running job. It did not run.
    DuplicateRef,
    /// The server runs as many jobs as it may. It did not run; try again, or elsewhere.
    TooManyJobs,
    /// The cast's time had passed before its end. It may have run.
    TimePassed,
    /// The node is leaving. It did not run; try elsewhere.
    Draining,
    /// The connection broke, and the cast or its reply with it. It may have run.
    ConnectionLost,
    /// The reply was dropped from the callee's full buffer for this caller. It ran.
    ReplyDropped,
    /// The reply was larger than the limit. It ran.
    ReplyTooLarge,
    /// A kill for it came first. It did not run.
    Killed,
    /// The server ended under it. It ran.
    ServerEnded,
    /// Its caller neither started nor cancelled its stream in time, or did not acknowledge items in time. It ran.
    StreamTimeout,
    /// Its caller acknowledged items of a stream that it had not started. It ran.
    InvalidStreamMessage,
    /// Its caller acknowledged more items than there were. It ran.
    MismatchedAck,
    /// The server has as many streams open to the caller as it may. It ran.
    TooManyStreams,
    /// The arguments of the caller's jobs take as many bytes as they may. It did not run; try again, or elsewhere.
    TooManyBytes,
    /// The argument is not of the type that the function takes. It did not run.
    WrongType(Arc<str>),
    /// The node runs as many jobs for all its peers as it may, and this caller's above its floor. It did not run; try
    /// elsewhere, or again.
    TooManyJobsInAll,
    /// The arguments of all jobs of the node take as many bytes as they may, and this caller's more than its floor. It
    /// did not run; try elsewhere, or again.
    TooManyBytesInAll,
    /// The node has as many streams open to all its peers as it may, and to this caller more than its floor. It ran.
    TooManyStreamsInAll,
    /// The reply was dropped since the callee's buffers for all its peers are full. It ran.
    ReplyDroppedInAll,
    /// The callee's operator does not allow its caller this function. It did not run, and will not on a second try; a
    /// node with another list may run it.
    NotAllowed,
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Failed(text) => return write!(f, "failed: {text}"),
            Self::Panicked(text) => return write!(f, "panicked: {text}"),
            Self::DuplicateRef => "its reference is in use",
            Self::TooManyJobs => "the server runs as many jobs as it may",
            Self::TimePassed => "its time has passed",
            Self::Draining => "the node is leaving",
            Self::ConnectionLost => "the connection broke under it",
            Self::ReplyDropped => "its reply was dropped from a full buffer",
            Self::ReplyTooLarge => "its reply was larger than the limit",
            Self::Killed => "a kill came before it",
            Self::ServerEnded => "its server ended under it",
            Self::StreamTimeout => "its caller did not drive its stream in time",
            Self::InvalidStreamMessage => "its caller acknowledged a stream that it had not started",
            Self::MismatchedAck => "its caller acknowledged more items than there were",
            Self::TooManyStreams => "the server has as many streams open as it may",
            Self::TooManyBytes => "the caller's jobs hold as many bytes of arguments as they may",
            Self::WrongType(text) => return write!(f, "the argument is not what the function takes: {text}"),
            Self::TooManyJobsInAll => "the node runs as many jobs for all its peers as it may",
            Self::TooManyBytesInAll => "the node's jobs hold as many bytes of arguments in all as they may",
            Self::TooManyStreamsInAll => "the node has as many streams open to all its peers as it may",
            Self::ReplyDroppedInAll => "its reply was dropped, since the node's buffers are full in all",
            Self::NotAllowed => "the node's operator does not allow its caller this function",
        })
    }
}

/// Why a monitored server, or the node that a call went to, counts as down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DownReason {
    /// Not connected at the start, and not since.
    NoConnect,
    /// The node is there, the server is not.
    NoServer,
    /// The connection was lost and did not come back within the stability period.
    NoConnection,
    /// The node has restarted.
    Restarted,
    /// The node has left in good order.
    Shutdown,
    /// The server keeps as many monitors of this node as it may, and does not keep this one.
    TooManyMonitors,
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoConnect => "not connected",
            Self::NoServer => "no such server",
            Self::NoConnection => "connection lost",
            Self::Restarted => "node restarted",
            Self::Shutdown => "node shut down",
            Self::TooManyMonitors => "too many monitors",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_in_words_with_what_the_function_said() {
        let told = |reason: ExitReason| reason.to_string();
        assert_eq!(told(ExitReason::Failed("disk full".into())), "failed: disk full");
        assert_eq!(told(ExitReason::Panicked("index 7".into())), "panicked: index 7");
        assert!(told(ExitReason::WrongType("u64".into())).ends_with("takes: u64"));
        assert_ne!(
            told(ExitReason::TooManyJobs),
            told(ExitReason::TooManyJobsInAll),
            "an operator turns to another limit"
        );
        assert_eq!(DownReason::NoServer.to_string(), "no such server");
        assert_ne!(DownReason::NoConnect.to_string(), DownReason::NoConnection.to_string());
    }
}
