//! What happens to members, one by one and in order: they join, come up, go down and leave.
//!
//! [`PresenceWatch`](crate::PresenceWatch) says that something has changed, and the state is asked for what; this says
//! what has happened, so that a service can act on each step. Who does not keep up is told how much it has missed.

use rexi_proto::{Incarnation, NodeName};
use thiserror::Error;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver};

use crate::node::Node;

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
    /// It is no member any more.
    Left(NodeName),
}

/// So many events were missed, since [`MEMBER_EVENTS_KEPT`] more recent ones had come before they were taken. The
/// reader is too slow; [`Node::status`] says how things are now, and the next events go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} events of members were missed, since they were not taken in time; look at the node's status")]
pub struct EventsMissed(pub u64);

/// Hears of what happens to members: see [`Node::watch_members`]. It keeps the node running.
#[derive(Debug)]
pub struct MemberEvents {
    node: Node,
    events: Receiver<MemberEvent>,
}

impl MemberEvents {
    /// The next event. Waits for as long as none comes.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`EventsMissed`] where events were let go before they were taken; the next call goes on with the oldest that is
    /// kept.
    pub async fn next(&mut self) -> Result<MemberEvent, EventsMissed> {
        match self.events.recv().await {
            Ok(event) => Ok(event),
            Err(RecvError::Lagged(missed)) => Err(EventsMissed(missed)),
            Err(RecvError::Closed) => unreachable!("the node, which sends, is kept by this"),
        }
    }

    /// The node whose members these are.
    pub fn node(&self) -> &Node {
        &self.node
    }
}

impl Node {
    /// Hears of what happens to members from now on. What is so already, [`Node::status`] says: ask for it after this,
    /// and nothing is missed.
    pub fn watch_members(&self) -> MemberEvents {
        MemberEvents { node: self.clone(), events: self.shared().events.0.subscribe() }
    }
}

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
}

/// Events that are kept for a reader that does not take them.
pub const MEMBER_EVENTS_KEPT: usize = 256;
