//! The messages as the core sees them: the newest meaning, whatever the wire version that carried them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::name::{CallRef, MonitorRef};
use crate::phase::{Phase, ServerAddress};

/// What one node says to another on the ordered lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Run a function.
    Cast(ServerAddress, Cast),
    /// End the job of a call, without an exit.
    Kill(ServerAddress, CallRef),
    /// End the jobs of many calls, without exits.
    KillAll(ServerAddress, Vec<CallRef>),
    /// A job's reply; the last one ends the call.
    Reply(Reply),
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
    /// The sender's phase has changed; the number grows with each change.
    Announce(u64, Phase),
    /// The sender takes no new casts and will leave.
    Draining,
    /// The sender of this does not know the frame kind it names.
    Unsupported(u8),
}

impl Message {
    /// The server that the message is for, where it is for one.
    pub fn server(&self) -> Option<ServerAddress> {
        match self {
            Self::Cast(server, _)
            | Self::Kill(server, _)
            | Self::KillAll(server, _)
            | Self::NoSuchServer(server, _)
            | Self::Monitor(server, _)
            | Self::Demonitor(server, _)
            | Self::Resume(server, _) => Some(*server),
            _ => None,
        }
    }
}

/// A request to run a function on another node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cast {
    /// The caller's number for it.
    pub call: CallRef,
    /// The function's registered name.
    pub function: Arc<str>,
    /// Time that remains until nobody waits any more; on the wire in whole milliseconds, rounded up.
    pub time_left: Option<Duration>,
    /// The caller's id of the wider request this belongs to; 0 for none (REXI.md R2).
    pub nonce: u64,
    /// W3C trace context.
    pub trace: Option<Trace>,
    /// The encoded argument.
    pub body: Body,
}

/// One reply of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The call it answers.
    pub call: CallRef,
    /// Replies that the job has sent before it. A caller that misses one ends the call: a gap is never passed over.
    pub number: u64,
    /// Whether the job ended with it.
    pub last: bool,
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

/// The payload of a cast or a reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// Here, inside the frame.
    Inline(Bytes),
    /// On a QUIC stream of its own, which opens with this number.
    Bulk(BulkId, u32),
}

/// A sender's number for a payload on a QUIC stream of its own, unique within a connection and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BulkId(pub u64);

/// W3C trace context: <https://www.w3.org/TR/trace-context/>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trace {
    /// Trace id.
    pub trace_id: u128,
    /// The caller's span id.
    pub span_id: u64,
    /// Flags; bit 0 means sampled.
    pub flags: u8,
}

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
    /// The reply was dropped from the callee's full buffer. It ran.
    ReplyDropped,
    /// The reply was larger than the limit. It ran.
    ReplyTooLarge,
    /// A kill for it came first. It did not run.
    Killed,
    /// The server ended under it. It ran.
    ServerEnded,
    /// The argument is not of the type that the function takes; the text says what differs. The function did not run.
    WrongType(Arc<str>),
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
            Self::WrongType(text) => return write!(f, "the argument is not what the function takes: {text}"),
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
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoConnect => "not connected",
            Self::NoServer => "no such server",
            Self::NoConnection => "connection lost",
            Self::Restarted => "node restarted",
            Self::Shutdown => "node shut down",
        })
    }
}
