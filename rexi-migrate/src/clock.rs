//! Times as people are told them: a date and a time in UTC, how long ago; and a number of milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// As RFC 3339 has it, to the second: `2026-11-26T02:13:14Z`.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// The date this many days after 1970-01-01, in the Gregorian calendar. Years are counted from March, so that the leap
/// day comes last (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

const DAY: u64 = 86_400;

/// How long ago that was, roughly; both in seconds since 1970.
pub(crate) fn ago(then: u64, now: u64) -> String {
    let passed = now.saturating_sub(then);
    match passed {
        0..120 => format!("{passed} s ago"),
        120..7_200 => format!("{} min ago", passed / 60),
        7_200..172_800 => format!("{} h ago", passed / 3_600),
        _ => format!("{} days ago", passed / DAY),
    }
}

/// For JSON.
pub(crate) fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_has_passed_is_told_roughly() {
        let passed =
            [(0, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7_200, "2 h ago"), (172_800, "2 days ago")];
        for (passed, text) in passed {
            assert_eq!(ago(5, 5 + passed), text);
        }
        assert_eq!(ago(9, 5), "0 s ago", "by another clock");
    }

    #[test]
    fn a_time_is_told_in_utc_over_leap_days_and_the_turn_of_a_century() {
        for (seconds, told) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), told);
        }
    }
}
