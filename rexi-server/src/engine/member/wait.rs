//! What tasks wait for of a member: its connection, room in its link, payloads, the end of its stay.

use std::sync::Arc;
use std::time::Duration;

use rexi_proto::{BulkId, ConnectionId};
use tokio::time::Instant;

use super::{Member, State};
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

    /// Ends the peer's stay when its time has come, and tells callers whose time limits have passed, for as long as the
    /// node lives and has this member.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.has_left() {
                return;
            }
            let Some(started) = self.shared.upgrade().map(|shared| shared.started) else { return };
            match self.next_deadline(started) {
                Some(deadline) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = tokio::time::sleep_until(deadline) => {
                        self.tell_limits();
                        self.with(rexi_proto::Peer::handle_timeout);
                    }
                },
                None => changed.await,
            }
        }
    }

    fn next_deadline(&self, started: Instant) -> Option<Instant> {
        let state = self.lock();
        let of_stay = state.peer.deadline().map(|deadline| started + deadline);
        of_stay.into_iter().chain(state.next_limit).min()
    }

    /// A call to it ends then by its time limit.
    pub(super) fn keep_time_until(&self, state: &mut State, limit: Instant) {
        if state.next_limit.is_none_or(|next| limit < next) {
            state.next_limit = Some(limit);
            self.changed.notify_waiters();
        }
    }

    /// Looks at all open calls, which is once for each time limit that is let pass, and so not for most calls.
    fn tell_limits(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.next_limit.is_some_and(|limit| limit <= now) {
            let next = state.peer.mailboxes().filter_map(|inbox| inbox.tell_due(now)).min();
            state.next_limit = next.map(|next| next.max(now + LIMITS_INTERVAL_MIN));
        }
    }
}

/// How often all open calls are looked at, at most: time limits are kept to this.
const LIMITS_INTERVAL_MIN: Duration = Duration::from_millis(10);
