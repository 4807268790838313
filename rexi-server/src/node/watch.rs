//! Two ways to follow a node's members: one reports that something has changed, and the node's status says what; the
//! other reports each step by itself, in order. Either keeps the node running.

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::engine::{EventsMissed, MemberEvent};
use crate::node::Node;

/// Hears of members that come and go: see [`Node::watch_presence`]. It keeps the node running.
#[derive(Clone, Debug)]
pub struct PresenceWatch {
    node: Node,
    changes: watch::Receiver<u64>,
}

impl PresenceWatch {
    pub(super) fn new(node: Node) -> Self {
        Self { changes: node.shared().presence.subscribe(), node }
    }

    /// Waits until a member has come or gone, or a try to connect has failed, since the last report or since the watch
    /// was made: what changes while nobody waits is not missed. Several changes may be reported as one, so look at
    /// [`Node::status`] before each wait.
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) {
        self.changes.changed().await.expect("the node, which sends, is kept by this");
    }

    /// The node that is watched.
    pub fn node(&self) -> &Node {
        &self.node
    }
}

/// Hears of what happens to members: see [`Node::watch_members`]. It keeps the node running.
#[derive(Debug)]
pub struct MemberEvents {
    node: Node,
    events: broadcast::Receiver<MemberEvent>,
}

impl MemberEvents {
    pub(super) fn new(node: Node) -> Self {
        Self { events: node.shared().events.subscribe(), node }
    }

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
