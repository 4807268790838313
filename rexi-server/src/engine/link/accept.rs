//! Accepts what others dial. A stranger is refused, the log names the reason and its address, and the loop goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::Incoming;
use tokio::time::Instant;

use crate::engine::link::connection;
use crate::engine::link::handshake::{self, ConnectError, Established};
use crate::engine::member::HANDSHAKE_LIMIT;
use crate::engine::shared::Shared;
use crate::net::{INCOMING_MAX, INCOMING_UNVALIDATED_MAX, canonical};

/// Runs for as long as the node lives.
pub(crate) async fn listen(shared: Arc<Shared>) {
    let half_open = Arc::new(AtomicUsize::new(0));
    while let Some(incoming) = shared.endpoint.accept().await {
        let waiting = half_open.load(Ordering::Relaxed);
        if waiting >= INCOMING_MAX || shared.flush.is_cancelled() {
            incoming.refuse();
            continue;
        }
        if waiting >= INCOMING_UNVALIDATED_MAX && incoming.may_retry() {
            // Fails only where no retry may be sent, which was just asked.
            let _ = incoming.retry();
            continue;
        }
        let guard = HalfOpen::new(&half_open);
        let shared_by_task = Arc::clone(&shared);
        shared.spawn(async move {
            let shared = shared_by_task;
            let address = canonical(incoming.remote_address());
            let accepted = accept(&shared, incoming).await;
            drop(guard);
            if let Err(error) = &accepted {
                handshake::count(&shared.name, error);
            }
            match accepted {
                Ok(established) => connection::run(&shared, established).await,
                Err(error) if error.is_routine() => tracing::debug!(node = %shared.name, %address, %error, "refused"),
                Err(error) => {
                    if let Some(unsaid) = shared.refused.next() {
                        tracing::warn!(node = %shared.name, %address, %error, unsaid, "refused a connection");
                    }
                }
            }
        });
    }
}

async fn accept(shared: &Arc<Shared>, incoming: Incoming) -> Result<Established, ConnectError> {
    let (until, late) = (Instant::now() + HANDSHAKE_LIMIT, |_| ConnectError::TimedOut(HANDSHAKE_LIMIT));
    let connecting = incoming.accept()?;
    let connection = tokio::time::timeout_at(until, connecting).await.map_err(late)??;
    let answered = tokio::time::timeout_at(until, handshake::answer(shared, &connection)).await;
    let answered = answered.map_err(late).flatten();
    if let Err(error) = &answered {
        handshake::give_up(&connection, error).await;
    }
    answered
}

/// Counts one connection as half open for as long as it lives.
struct HalfOpen(Arc<AtomicUsize>);

impl HalfOpen {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
