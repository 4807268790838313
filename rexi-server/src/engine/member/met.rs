//! Which lives of a peer have said hello: no connection of one before the last is in use for longer than its handshake.

use std::sync::Arc;

use rexi_proto::Incarnation;

use super::Member;

/// That a life of a peer has said hello. Once its handshake has come to its end, whichever that is, no connection of an
/// earlier life is in use.
pub(crate) struct Met(Arc<Member>, Incarnation);

impl Met {
    pub(crate) fn new(member: &Arc<Member>, met: Incarnation) -> Self {
        let mut state = member.lock();
        state.met = state.met.max(Some(met));
        drop(state);
        Self(Arc::clone(member), met)
    }

    /// The peer.
    pub(crate) fn member(&self) -> &Arc<Member> {
        &self.0
    }
}

impl Drop for Met {
    fn drop(&mut self) {
        self.0.with(|peer, now| peer.handle_met(now, self.1));
    }
}
