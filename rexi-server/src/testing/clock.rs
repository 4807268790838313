//! Wall clocks in virtual time, one for each member, which can be set.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The members' wall clocks. They move with tokio's time and give no microsecond twice, so that each life of a node is
/// later than the one before it. One that is set back stands still, except for a microsecond a reading, until time has
/// caught up.
pub(super) struct Clock {
    started: Instant,
    clocks: Mutex<Vec<Reading>>,
}

#[derive(Clone, Copy, Default)]
struct Reading {
    last: Duration,
    /// What it is ahead of the time that has passed.
    ahead: Duration,
    behind: Duration,
}

impl Clock {
    pub(super) fn new(members: usize) -> Self {
        Self { started: Instant::now(), clocks: Mutex::new(vec![Reading::default(); members]) }
    }

    pub(super) fn next_microsecond(&self, member: usize) -> SystemTime {
        let clock = &mut self.lock()[member];
        let now = (self.started.elapsed() + clock.ahead).saturating_sub(clock.behind);
        clock.last = now.max(clock.last + Duration::from_micros(1));
        UNIX_EPOCH + START_OF_TIME + clock.last
    }

    pub(super) fn set_ahead(&self, member: usize, by: Duration) {
        let clock = &mut self.lock()[member];
        clock.ahead = (clock.ahead + by).min(AHEAD_MAX);
    }

    pub(super) fn set_back(&self, member: usize, by: Duration) {
        self.lock()[member].behind += by;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reading>> {
        self.clocks.lock().expect("nothing panics while it holds the clocks")
    }
}

/// Where a cluster's time begins: 2030-01-01, within the dates of its certificates.
const START_OF_TIME: Duration = Duration::from_secs(1_893_456_000);

/// 10 years, so that the certificates' dates are kept.
const AHEAD_MAX: Duration = Duration::from_hours(10 * 365 * 24);
