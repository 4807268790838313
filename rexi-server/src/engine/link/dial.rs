//! Keeps one member connected: dials whenever it is not, with a jittered backoff, and gives up its own try when the
//! member's comes first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rexi_proto::CloseCode;

use crate::engine::link::connection;
use crate::engine::link::handshake::{self, ConnectError, Established};
use crate::engine::member::{HANDSHAKE_LIMIT, LEFT, Member};
use crate::engine::shared::Shared;
use crate::net::{Random, close};

/// Runs for as long as the node lives and has this member.
pub(crate) async fn keep_connected(shared: Arc<Shared>, member: Arc<Member>) {
    let mut backoff = Backoff::default();
    let mut said = None;
    loop {
        member.wait_connected(false).await;
        if member.has_left() {
            return;
        }
        if shared.draining.load(Ordering::Relaxed) {
            return;
        }
        tokio::select! {
            biased;
            () = member.wait_left() => return,
            () = member.kicked.notified() => {}
            () = member.wait_connected(true) => continue,
            () = tokio::time::sleep(backoff.next_delay(longest_delay(&shared), shared.env.random())) => {}
        }
        let tried = tokio::select! {
            biased;
            () = member.wait_left() => return,
            () = member.wait_connected(true) => continue,
            tried = dial(&shared, &member) => tried,
        };
        match tried {
            Ok(established) => {
                said = None;
                let since = shared.now();
                connection::run(&shared, established).await;
                if shared.now().saturating_sub(since) > BACKOFF_MAX {
                    backoff = Backoff::default();
                }
            }
            Err(error) => {
                handshake::count(&shared.name, &error);
                let text = error.to_string();
                member.note_error(text.clone(), error.is_turned_away());
                let (node, peer, address) = (&shared.name, member.name(), member.address());
                // Said once, until it changes: a peer that is down for a day is one line, not 86,400.
                if error.is_routine() || said.as_ref() == Some(&text) {
                    tracing::debug!(%node, %peer, ?address, error = text, "could not connect");
                } else {
                    tracing::warn!(%node, %peer, ?address, error = text, "could not connect");
                    said = Some(text);
                }
                member.presence_changed();
            }
        }
    }
}

async fn dial(shared: &Arc<Shared>, member: &Arc<Member>) -> Result<Established, ConnectError> {
    let address = loop {
        match member.address() {
            Some(address) => break address,
            None => member.kicked.notified().await,
        }
    };
    let connecting = shared.endpoint.connect_with(shared.credentials.client(), address, member.name().as_str())?;
    let late = |_| ConnectError::TimedOut(HANDSHAKE_LIMIT);
    let connection = tokio::time::timeout(HANDSHAKE_LIMIT, connecting).await.map_err(late)??;
    let mut dropped = CloseOnDrop(Some(connection.clone()), Arc::clone(member));
    // Not what is left of the time for TLS: where a link is back, QUIC's third try comes just before 3 s, and a dial
    // that is given up between the other side's welcome and its arrival loses what was sent behind that.
    let shaken = tokio::time::timeout(HANDSHAKE_LIMIT, handshake::dial(shared, member, &connection)).await;
    let shaken = shaken.map_err(late).flatten();
    dropped.0 = None;
    match shaken {
        Err(error) => Err(handshake::give_up(&connection, error).await),
        shaken => shaken,
    }
}

/// Tells the peer why a try was given up partway through: the peer's own came first, or the peer has left.
struct CloseOnDrop(Option<quinn::Connection>, Arc<Member>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        match &self.0 {
            Some(connection) if self.1.has_left() => close(connection, CloseCode::NotTrusted, LEFT),
            Some(connection) => close(connection, CloseCode::Replaced, "the other side's connection came first"),
            None => {}
        }
    }
}

/// While a node waits for a record it is connected to nobody, and the record's coming lets it dial at once.
fn longest_delay(shared: &Shared) -> Duration {
    if shared.rollout().has_record() { BACKOFF_MAX } else { AWAITED_MAX }
}

/// Delays that double from 25 ms, each shortened by a random part of up to a half, so that nodes that failed together
/// do not try again together.
#[derive(Debug, Default)]
struct Backoff {
    tries: u32,
}

impl Backoff {
    fn next_delay(&mut self, longest: Duration, random: &Random) -> Duration {
        if self.tries == 0 {
            self.tries = 1;
            return Duration::ZERO;
        }
        let full = BACKOFF_MIN.saturating_mul(1 << (self.tries - 1).min(10)).min(longest);
        self.tries += 1;
        full.mul_f64(random.between(0.5..=1.0))
    }
}

const BACKOFF_MIN: Duration = Duration::from_millis(25);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// As long while no record is known: 64 nodes that wait for one would dial each other 5,000 times a second else.
const AWAITED_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_try_is_at_once_and_later_ones_wait_longer_up_to_their_longest() {
        let (mut backoff, random) = (Backoff::default(), Random::seeded(1));
        assert_eq!(backoff.next_delay(BACKOFF_MAX, &random), Duration::ZERO);
        for tries in 0..40_u32 {
            let longest = if tries < 30 { BACKOFF_MAX } else { AWAITED_MAX };
            let full = longest.min(BACKOFF_MIN * 2_u32.pow(tries.min(10)));
            let delay = backoff.next_delay(longest, &random);
            assert!(delay >= full / 2 && delay <= full, "try {tries}: {delay:?} of {full:?}");
        }
    }
}
