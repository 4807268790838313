//! Wall clocks in virtual time, one for each member, which can be set.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The members' wall clocks. They move with tokio's time and give no microsecond twice, so that no two lives of a node
/// are the same. One that is set back gives earlier times.
pub(super) struct Clock {
    started: Instant,
    clocks: Mutex<Vec<Reading>>,
}

#[derive(Clone, Default)]
struct Reading {
    /// What it is ahead of the time that has passed, or behind it.
    ahead: Duration,
    behind: Duration,
    /// All that it has given.
    given: BTreeSet<Duration>,
}

impl Clock {
    pub(super) fn new(members: usize) -> Self {
        Self { started: Instant::now(), clocks: Mutex::new(vec![Reading::default(); members]) }
    }

    pub(super) fn next_microsecond(&self, member: usize) -> SystemTime {
        let elapsed = self.started.elapsed();
        let clock = &mut self.lock()[member];
        let mut now = START_OF_TIME + elapsed + clock.ahead - clock.behind;
        while !clock.given.insert(now) {
            now += Duration::from_micros(1);
        }
        UNIX_EPOCH + now
    }

    pub(super) fn set_ahead(&self, member: usize, by: Duration) {
        let clock = &mut self.lock()[member];
        clock.ahead = clock.ahead.saturating_add(by);
        clock.keep_to_dates();
    }

    pub(super) fn set_back(&self, member: usize, by: Duration) {
        let clock = &mut self.lock()[member];
        clock.behind = clock.behind.saturating_add(by);
        clock.keep_to_dates();
    }

    pub(super) fn set_right(&self, member: usize) {
        let clock = &mut self.lock()[member];
        (clock.ahead, clock.behind) = (Duration::ZERO, Duration::ZERO);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reading>> {
        self.clocks.lock().expect("nothing panics while it holds the clocks")
    }
}

impl Reading {
    /// No further from the time that has passed than certificates are good for.
    fn keep_to_dates(&mut self) {
        let (ahead, behind) = (self.ahead.saturating_sub(self.behind), self.behind.saturating_sub(self.ahead));
        (self.ahead, self.behind) = (ahead.min(AHEAD_MAX), behind.min(BEHIND_MAX));
    }
}

/// Where a cluster's time begins: 2030-01-01, within the dates of its certificates.
const START_OF_TIME: Duration = Duration::from_secs(1_893_456_000);

/// 10 years, so that the certificates' dates are kept.
const AHEAD_MAX: Duration = Duration::from_hours(10 * 365 * 24);

/// 25 years, for the same reason.
const BEHIND_MAX: Duration = Duration::from_hours(25 * 365 * 24);
