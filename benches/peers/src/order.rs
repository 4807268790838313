//! What the processes of a cell are asked, and what they answer: a line of JSON each.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::measure::Usage;

/// What a caller's process is to do. A server's is only ever asked for its usage.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Says what the process has used so far.
    Usage,
    /// Plays some work for some time.
    Play { play: Play, micros: u64 },
}

/// Work as one caller plays it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Play {
    /// So many tasks, each of which calls again as soon as it is answered.
    Calls { in_flight: usize, bytes: usize },
    /// As `Calls` with small payloads, by a process that gives way to others on its core: whom it shares that with is
    /// to wait for the server, and not for it. For rexi alone.
    Flood { in_flight: usize },
    /// Streams from the server, one after the other.
    Items { bytes: u32, window: u32 },
    /// A small call every 2 ms, measured from when it was due, beside so many large ones at any time.
    Probe { beside: usize },
    /// As `Calls` with small payloads, but each asks all peers and waits for the majority. For rexi alone.
    Quorum { in_flight: usize },
    /// Starts so many jobs, which run until the process ends. For rexi alone.
    Hold { jobs: usize },
    /// Makes so many calls to a peer that is away, which wait until the process ends. For rexi alone.
    Buffer { frames: usize },
}

/// What became of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The process is ready for orders.
    Ready,
    Usage(Usage),
    Played(Played),
    Failed(String),
}

/// What was played, and what it took the caller's process.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Played {
    pub(crate) micros: u64,
    /// Calls that were answered, or items that were taken; of a probe, small calls alone.
    pub(crate) count: u64,
    /// Bytes of payload that went one way: of a probe, those of the large calls alone.
    pub(crate) bytes: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) cpu_us: u64,
    pub(crate) rss_kib: u64,
}

impl Order {
    pub(crate) fn play(play: Play, time: Duration) -> Self {
        Self::Play { play, micros: time.as_micros() as u64 }
    }
}

impl Played {
    pub(crate) fn count_per_second(&self) -> f64 {
        self.count as f64 * 1e6 / self.micros.max(1) as f64
    }

    pub(crate) fn mib_per_second(&self) -> f64 {
        self.bytes as f64 / (1 << 20) as f64 * 1e6 / self.micros.max(1) as f64
    }
}
