//! Accepts what others dial. A stranger is refused, the log names the reason and its address, and the loop goes on.

use std::sync::Arc;
use std::time::Duration;

use quinn::Incoming;
use tokio::time::Instant;

use crate::engine::link::connection;
use crate::engine::link::handshake::{self, Accepted, ConnectError};
use crate::engine::link::places::{NoPlace, Places};
use crate::engine::member::HANDSHAKE_LIMIT;
use crate::engine::record::questions;
use crate::engine::shared::Shared;
use crate::net::canonical;

/// Runs for as long as the node lives.
pub(crate) async fn listen(shared: Arc<Shared>) {
    let places = Arc::new(Places::default());
    while let Some(incoming) = shared.endpoint.accept().await {
        if shared.flush.is_cancelled() {
            incoming.refuse();
            continue;
        }
        let address = canonical(incoming.remote_address());
        let place = places.take(address, shared.doorman.knows(address), incoming.remote_address_validated());
        let place = match place {
            Ok(place) => place,
            Err(NoPlace::Unvalidated) if incoming.may_retry() => {
                // Fails only where no retry may be sent, which was just asked.
                let _ = incoming.retry();
                continue;
            }
            Err(_) => {
                incoming.refuse();
                continue;
            }
        };
        let shared_by_task = Arc::clone(&shared);
        shared.spawn(async move {
            let shared = shared_by_task;
            let accepted = accept(&shared, incoming, place.is_scarce).await;
            drop(place);
            if let Err(error) = &accepted {
                handshake::count(&shared.name, error);
            }
            match accepted {
                Ok(Accepted::Link(established)) => connection::run(&shared, *established).await,
                Ok(Accepted::Question(question, send, connection)) => {
                    questions::answer(&shared, &connection, *question, send).await;
                }
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

async fn accept(shared: &Arc<Shared>, incoming: Incoming, is_scarce: bool) -> Result<Accepted, ConnectError> {
    let (now, late) = (Instant::now(), |_| ConnectError::TimedOut(HANDSHAKE_LIMIT));
    let (until, tls_limit) = (now + HANDSHAKE_LIMIT, if is_scarce { TLS_LIMIT_SCARCE } else { HANDSHAKE_LIMIT });
    let connecting = incoming.accept()?;
    let connected = tokio::time::timeout_at(now + tls_limit, connecting).await;
    let connection = connected.map_err(|_| ConnectError::TimedOut(tls_limit))??;
    let answered = tokio::time::timeout_at(until, handshake::answer(shared, &connection)).await;
    let answered = answered.map_err(late).flatten();
    match answered {
        Err(error) => Err(handshake::give_up(&connection, error).await),
        answered => answered,
    }
}

/// How long TLS may take a stranger while places are scarce.
const TLS_LIMIT_SCARCE: Duration = Duration::from_secs(1);
