//! One caller's order, played: the time is taken, and what the process used meanwhile.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::measure::{Latencies, Usage, give_way};
use crate::order::{Play, Played};
use crate::systems::Caller;
use crate::systems::rexi::Nodes;
use crate::work::calls::{self, Echo, Quorum};
use crate::work::{SMALL_BYTES, items, probe};

/// What was counted while it was played.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) latencies: Latencies,
    /// Items, jobs and the like, which have no latency each.
    pub(crate) items: u64,
    pub(crate) bytes: u64,
}

/// Plays what any system can.
pub(crate) async fn play(caller: &impl Caller, play: Play, time: Duration) -> Result<Played, Failure> {
    let clock = Clock::start()?;
    let tally = match play {
        Play::Calls { in_flight, bytes } => calls::closed_loop(&Echo::new(caller, bytes), in_flight, time).await?,
        Play::Items { bytes, window } => items::take(caller, bytes, window, time).await?,
        Play::Probe { beside } => probe::run(caller, beside, time).await?,
        Play::Flood { .. } | Play::Quorum { .. } | Play::Hold { .. } | Play::Buffer { .. } => {
            return Err(Failure::new("only rexi plays this"));
        }
    };
    clock.stop(&tally)
}

/// Plays what rexi alone can, and the rest.
pub(crate) async fn play_rexi(nodes: &Nodes, order: Play, time: Duration) -> Result<Played, Failure> {
    let clock = Clock::start()?;
    let tally = match order {
        Play::Quorum { in_flight } => calls::closed_loop(&Quorum::new(nodes, SMALL_BYTES), in_flight, time).await?,
        Play::Hold { jobs } => {
            nodes.hold(jobs).await?;
            Tally { items: jobs as u64, ..Tally::default() }
        }
        Play::Buffer { frames } => {
            nodes.buffer(frames).await?;
            Tally { items: frames as u64, ..Tally::default() }
        }
        Play::Flood { in_flight } => {
            give_way()?;
            return play(nodes, Play::Calls { in_flight, bytes: SMALL_BYTES }, time).await;
        }
        Play::Calls { .. } | Play::Items { .. } | Play::Probe { .. } => return play(nodes, order, time).await,
    };
    clock.stop(&tally)
}

struct Clock {
    started: Instant,
    usage: Usage,
}

impl Clock {
    fn start() -> Result<Self, Failure> {
        Ok(Self { usage: Usage::now()?, started: Instant::now() })
    }

    fn stop(self, tally: &Tally) -> Result<Played, Failure> {
        // First of all: what it takes to sum up is no part of the work.
        let (elapsed, usage) = (self.started.elapsed(), Usage::now()?);
        let [p50_us, p99_us] = tally.latencies.quantiles_us([0.5, 0.99])?;
        Ok(Played {
            micros: elapsed.as_micros() as u64,
            count: tally.latencies.len() + tally.items,
            bytes: tally.bytes,
            p50_us,
            p99_us,
            cpu_us: usage.cpu_us.saturating_sub(self.usage.cpu_us),
            rss_kib: usage.rss_kib,
        })
    }
}
