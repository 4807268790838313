//! What a peer's state wants done, and what it counts.

use std::collections::VecDeque;

use crate::caller::{Answer, Delivery};
use crate::error::CloseCode;
use crate::message::DownReason;
use crate::name::{CallRef, Incarnation, MonitorRef};
use crate::reply_stream::StreamTimeouts;
use crate::rollout::PhaseNow;
use crate::server::{Caller, JobOutput, ServerRequest};

/// What a peer's state wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Output<M> {
    /// See to the worker of a job of the per-node server.
    Job(JobOutput),
    /// Hand this request to the node's singleton.
    Singleton(Caller, ServerRequest),
    /// Hand this answer to the mailbox.
    Deliver(M, CallRef, Answer),
    /// Tell the mailbox that what it monitors is down.
    MonitorDown(M, MonitorRef, DownReason),
    /// The peer, in this life, says that its phase has changed, of the migration that bears this number in its hello.
    Announced(Incarnation, u8, PhaseNow),
    /// The peer takes no new casts. Those that wait for it were answered, and so are those that are made now, until
    /// this life of the peer is over.
    Draining,
    /// The peer does not know the frame kind that we sent.
    Unsupported(u8),
    /// The peer has come or gone, or is given up: the life that was connected before, and the one that is now.
    Presence(Option<Incarnation>, Option<Incarnation>),
    /// Close the connection, with this reason in words. The state has let go of it, or does so once told that it is
    /// lost: a shell reports the end of every connection.
    Close(CloseCode, String),
    /// Let the writer take what is encoded: there is more of it.
    Writable,
    /// Let those go on who wait until [`Peer::is_clear`](super::Peer::is_clear).
    Room,
    /// Call [`Peer::go_on`](super::Peer::go_on), once others have had their turn. Until it has caught up, the peer is
    /// not to be read.
    More,
}

/// Counts of what this node and the peer have to do with each other now, and of what went wrong since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// Calls open to the peer.
    pub calls: usize,
    /// Jobs that the per-node server runs for the peer.
    pub jobs: usize,
    /// Bytes of their arguments.
    pub job_bytes: usize,
    /// Streams of those jobs.
    pub streams: usize,
    /// Streams that the peer did not drive in time.
    pub stream_timeouts: StreamTimeouts,
    /// Frames that wait in the buffer.
    pub buffered: usize,
    /// Bytes of their payloads.
    pub buffered_bytes: usize,
    /// Frames that had to wait there.
    pub waited: u64,
    /// Frames that the full buffer has dropped.
    pub dropped: u64,
    /// Frames of unknown kinds that came.
    pub unknown_frames: u64,
    /// Answers to calls that were no longer open.
    pub stray_answers: u64,
    /// Answers to an earlier life of the peer that were let go.
    pub stale_answers: u64,
    /// Payloads that were whole only after their connection had been replaced, and were let go.
    pub late_payloads: u64,
}

/// Hands answers to their mailboxes, behind what is to be done already.
pub(super) fn to_mailbox<M>(outputs: &mut VecDeque<Output<M>>) -> impl FnMut(Delivery<M>) {
    |(mailbox, call, answer)| outputs.push_back(Output::Deliver(mailbox, call, answer))
}
