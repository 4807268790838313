//! A member that leaves, and what each member may hold once the number of members that share has changed.

use std::sync::{Arc, MutexGuard};

use rexi_proto::{CloseCode, Total};

use super::{LEFT, Member, State};
use crate::net::close;

impl Member {
    /// Lets go of the peer for good: tasks that wait for it are told, and so are those that ask later; its jobs are
    /// killed.
    pub(crate) fn leave(self: &Arc<Self>) {
        let mut state = self.lock();
        // Under the lock, so that no handshake is attached behind it.
        self.left.cancel();
        let connection = state.connection.take();
        state.last_error = Some(LEFT.to_owned());
        state.peer.stop();
        self.settle(state);
        if let Some(connection) = connection {
            // As if this node had left: to the peer, this life of it is over, and what it runs for us is to end.
            close(&connection, CloseCode::Shutdown, LEFT);
        }
    }

    /// Whether it is no longer a member.
    pub(crate) fn has_left(&self) -> bool {
        self.left.is_cancelled()
    }

    /// Waits until it is no longer a member.
    pub(crate) async fn wait_left(&self) {
        self.left.cancelled().await;
    }

    /// Holds all as it is.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held(self.lock())
    }
}

/// A member that nobody changes for as long as this lives.
pub(crate) struct Held<'a>(MutexGuard<'a, State>);

impl Held<'_> {
    /// What the peer holds of that total beyond floors of this size.
    pub(crate) fn beyond(&self, total: Total, floor: usize) -> usize {
        self.0.peer.beyond(total, floor)
    }
}
