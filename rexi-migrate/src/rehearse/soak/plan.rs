//! How a soak goes: for how long, what goes wrong in it, how long all is well in between.

use std::ops::Range;
use std::time::Duration;

use super::fault::Fault;

/// How to soak.
#[derive(Clone, Debug)]
pub struct Soak {
    /// For how long; with a script: until that is through.
    pub lasts: Duration,
    /// What goes wrong, one after the other; drawn from the run's seed where it is empty.
    pub script: Vec<Fault>,
    /// How long all is well after each fault and its recovery.
    pub calm: Range<Duration>,
    /// After how long the load comes to rest for a moment and the ledgers are judged.
    pub slice: Duration,
}

impl Soak {
    /// A soak of so many minutes at this many casts a second, of all nodes together.
    pub fn minutes(minutes: u32, rate: u32) -> Self {
        let slice = Duration::from_secs(SLICE_CASTS / u64::from(rate.max(1))).clamp(SLICE_MIN, SLICE_MAX);
        Self { lasts: Duration::from_secs(60) * minutes, script: Vec::new(), calm: CALM, slice }
    }
}

/// The most minutes of a soak: a day.
pub const MINUTES_MAX: u32 = 1_440;

/// How long all is well after each fault and its recovery.
const CALM: Range<Duration> = Duration::from_secs(3)..Duration::from_secs(6);

/// How many casts a slice has: its judge takes some seconds and some hundred MiB for them.
const SLICE_CASTS: u64 = 1_000_000;

const SLICE_MIN: Duration = Duration::from_secs(60);

const SLICE_MAX: Duration = Duration::from_secs(600);

/// Within what time of the end of a fault all nodes are ready and connected, and calls answered again; besides the time
/// that a slow load takes for a cast between two nodes. By the time that the machine gives.
pub(super) const RECOVERY_LIMIT: Duration = Duration::from_secs(20);
