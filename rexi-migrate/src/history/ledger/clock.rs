//! The clock of all ledgers of a run: it never steps, whatever becomes of the machine's time of day.
//!
//! Times count from 1970, so that they can be compared with a log; they advance by the machine's monotonic clock, which
//! is one for all of its processes. How far the two are apart is measured once, by the process that leads the run, and
//! handed on to its nodes: if each measured for itself, the results would differ once the time of day was set.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Microseconds since 1970, by the clock of this run.
pub fn now_us() -> u64 {
    monotonic_us().saturating_add(offset_us())
}

/// What a process of the run has to be told, so that its clock is this one.
pub fn offset_us() -> u64 {
    *OFFSET_US.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        micros(since).saturating_sub(monotonic_us())
    })
}

/// Takes the clock of the run that this process is a part of. The first word counts: a clock that was read stays.
pub fn take_offset(offset_us: u64) {
    // Fails where it was read or told before.
    let _ = OFFSET_US.set(offset_us);
}

fn monotonic_us() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanos / 1_000
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

static OFFSET_US: OnceLock<u64> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back_and_its_offset_stays() {
        let (first, offset) = (now_us(), offset_us());
        take_offset(offset + 1_000_000_000);
        assert_eq!(offset_us(), offset, "it was read before");
        assert!(now_us() >= first);
        assert!(first > 1_600_000_000_000_000, "it counts from 1970: {first}");
    }
}
