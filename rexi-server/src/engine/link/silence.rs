//! Asks again and again whether a silent peer is there, so that a link is used again soon after it is whole.

use std::convert::Infallible;
use std::time::Duration;

use quinn::Connection;
use rexi_proto::Limits;

use crate::net::Progress;

/// Sends a probe each [`PROBE_INTERVAL`] while what was said waits for an acknowledgement that does not come. QUIC's
/// own tries come after times that double, and once the window is full, nothing else is sent; with quinn not even what
/// acknowledges the peer's tries.
pub(super) async fn probe(connection: &Connection, limits: &Limits) -> Infallible {
    let progress = Progress::of(connection, limits);
    let now = || (progress.acknowledged(), progress.said());
    let (mut last, mut waits) = (now(), false);
    loop {
        tokio::time::sleep(if waits { PROBE_INTERVAL } else { INTERVAL }).await;
        let (acknowledged, said) = now();
        if acknowledged != last.0 {
            (last, waits) = ((acknowledged, said), progress.waited());
        } else if waits {
            progress.probe();
        } else {
            // Since a moment ago, perhaps: it is asked later.
            waits = said != last.1;
        }
    }
}

/// How often a connection is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// How often while something waits: a peer that is there acknowledges within some milliseconds. Several times in the
/// second that a link may take to be used again.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
