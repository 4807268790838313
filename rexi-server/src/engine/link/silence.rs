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
    let (mut last, mut waits, mut probes) = (now(), false, 0);
    loop {
        // A peer that is there acknowledges within a round trip and some milliseconds. Not the present one, which what
        // was late has made long.
        let interval = if waits { PROBE_INTERVAL.max(2 * connection.min_rtt()) } else { INTERVAL };
        tokio::time::sleep(interval).await;
        let (acknowledged, said) = now();
        if acknowledged != last.0 {
            (last, waits, probes) = ((acknowledged, said), progress.waited(), 0);
        } else if !waits {
            // Since a moment ago, perhaps: it is asked later.
            waits = said != last.1;
        } else if probes < PROBES_MAX {
            progress.probe();
            probes += 1;
        }
    }
}

/// How often a connection is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// How often while something waits: several times in the second that a link may take to be used again.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// How many probes in a row: for as long as a connection may be silent. A peer that speaks and acknowledges nothing
/// could make a node keep more of them otherwise.
const PROBES_MAX: usize = 32;
