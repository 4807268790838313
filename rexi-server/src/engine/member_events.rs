//! What happens to members, one by one and in order: they join, come up, go down and leave.
//!
//! [`PresenceWatch`](crate::membership::PresenceWatch) says that something has changed, and the state is asked for
//! what; this says what has happened, so that a service can act on each step. A service that does not keep up is told
//! how much it has missed.

use rexi_proto::{Incarnation, NodeName};
use thiserror::Error;
use tokio::sync::broadcast;

/// A step in the life of a member, as this node sees it. Of one member they come in order: `Joined`, then `Up` and
/// `Down` in turns, then `Left`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberEvent {
    /// It is a member now. Members that were there when the node started have not joined.
    Joined(NodeName),
    /// It is connected, in that life. One that restarts goes down and comes up, even where nobody noticed the gap.
    Up(NodeName, Incarnation),
    /// It is no longer connected, in that life. It may come back: see [`PeerPresence`](crate::PeerPresence).
    Down(NodeName, Incarnation),
    /// It is no longer a member.
    Left(NodeName),
}

/// This many events were missed, since [`MEMBER_EVENTS_KEPT`] more recent ones had come before they were taken. The
/// reader is too slow; [`Node::status`](crate::Node::status) says how things are now, and the next events go on from
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} events of members were missed, since they were not taken in time; look at the node's status")]
pub struct EventsMissed(pub u64);

/// Where the node's members put their events.
pub(crate) struct EventSink(broadcast::Sender<MemberEvent>);

impl EventSink {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(MEMBER_EVENTS_KEPT))
    }

    pub(crate) fn send(&self, event: MemberEvent) {
        // Fails where nobody listens.
        let _ = self.0.send(event);
    }

    /// What is sent from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<MemberEvent> {
        self.0.subscribe()
    }
}

/// Events that are kept for a reader that does not take them.
pub const MEMBER_EVENTS_KEPT: usize = 256;
