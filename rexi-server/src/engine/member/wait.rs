//! What tasks wait for of a member: its connection, room in its link, payloads, the end of its stay.

use std::sync::Arc;

use rexi_proto::{BulkId, ConnectionId};

use super::Member;
use crate::engine::shared::Shared;

impl Member {
    /// Waits until the peer is connected, or until it is not.
    pub(crate) async fn wait_connected(&self, connected: bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_connected() == connected {
                return;
            }
            changed.await;
        }
    }

    /// Waits until a cast would go straight to the writer, or be answered at once.
    pub(crate) async fn wait_clear(&self) {
        self.room.wait(|| self.lock().peer.is_clear()).await;
    }

    /// Waits until the frame of this payload has come, or its connection has gone.
    pub(crate) async fn wait_for_frame(&self, connection: ConnectionId, bulk: BulkId) {
        self.joined.wait(|| !self.lock().peer.awaits_frame(connection, bulk)).await;
    }

    /// Waits until all that the peer has asked is done.
    pub(crate) async fn wait_caught_up(&self) {
        self.joined.wait(|| !self.lock().peer.is_behind()).await;
    }

    /// Lets the peer's state go on with what it has begun, once others have had their turn.
    pub(super) fn go_on_later(self: &Arc<Self>, shared: &Arc<Shared>) {
        let member = Arc::clone(self);
        shared.spawn(async move {
            tokio::task::yield_now().await;
            member.with(|peer, _| peer.go_on());
        });
    }

    /// Waits until no frame waits for its payload.
    pub(crate) async fn wait_for_payloads(&self) {
        self.joined.wait(|| !self.lock().peer.awaits_payload()).await;
    }

    /// Ends the peer's stay when its time has come, for as long as the node lives and has this member.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.has_left() {
                return;
            }
            let deadline = self.lock().peer.deadline();
            let Some(started) = self.shared.upgrade().map(|shared| shared.started) else { return };
            match deadline {
                Some(deadline) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = tokio::time::sleep_until(started + deadline) => self.with(rexi_proto::Peer::handle_timeout),
                },
                None => changed.await,
            }
        }
    }
}
