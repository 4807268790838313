//! What keeps a node running: everything that needs its answers holds one of these, and the last one dropped stops it
//! at once.

use std::fmt;
use std::sync::Arc;

use rexi_proto::CloseCode;

use crate::engine::shared::Shared;

/// A node that runs for as long as this, or a clone of it, is held.
#[derive(Clone)]
pub(crate) struct Running(Arc<StopOnDrop>);

struct StopOnDrop {
    shared: Arc<Shared>,
}

impl Running {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(StopOnDrop { shared }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        for member in self.shared.members().iter() {
            // Each by itself and at once: the endpoint only asks its connections to close, and one whose last handle is
            // dropped before it does closes without a reason, which peers take for a brief disconnect.
            member.close_connection(CloseCode::Shutdown, "this node has stopped");
        }
        self.shared.endpoint.close(CloseCode::Shutdown.code().into(), b"this node has stopped");
        self.shared.stop();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Node").field(&self.shared().name).finish()
    }
}
