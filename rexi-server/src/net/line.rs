//! How often a line of the log may be written that others can cause: so many at once, then one a second, and how many
//! were left out.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// One kind of line, about one peer or about all that nobody knows; so many may be written at once.
#[derive(Debug, Default)]
pub(crate) struct Line<const AT_ONCE: u32 = 8>(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When there was room for the next line. Before the first one there is room for all.
    since: Option<Instant>,
    /// Lines that may not be written yet, beyond one.
    ahead: u32,
    unsaid: u64,
}

impl<const AT_ONCE: u32> Line<AT_ONCE> {
    /// Whether a line may be written now: then how many were left out since the last one.
    pub(crate) fn next(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.0.lock().expect("nothing panics while it holds a line");
        // What was written ahead of its time is paid off, a line a second.
        let passed = state.since.map_or(u64::MAX, |since| now.saturating_duration_since(since).as_secs());
        let paid = u32::try_from(passed).unwrap_or(u32::MAX);
        if paid >= state.ahead {
            (state.ahead, state.since) = (0, Some(now));
        } else {
            state.ahead -= paid;
            state.since = state.since.map(|since| since + INTERVAL * paid);
        }
        if state.ahead >= AT_ONCE {
            state.unsaid += 1;
            return None;
        }
        state.ahead += 1;
        Some(std::mem::take(&mut state.unsaid))
    }
}

const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_and_then_one_a_second_with_a_count_of_the_others() {
        let line = Line::<3>::default();
        let said = |tries: usize| (0..tries).filter_map(|_| line.next()).collect::<Vec<_>>();
        assert_eq!(said(10), [0, 0, 0]);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(said(5).is_empty());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(said(5), [12], "7 and 5 were left out");
        for _ in 0..100 {
            tokio::time::advance(Duration::from_millis(500)).await;
            said(7);
        }
        let mut lines = 0;
        for _ in 0..100 {
            tokio::time::advance(Duration::from_millis(500)).await;
            lines += said(7).len();
        }
        assert_eq!(lines, 50, "one a second");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(said(10).len(), 3, "after a rest as many at once as before");
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_once_is_one_a_second() {
        let line = Line::<1>::default();
        assert_eq!((line.next(), line.next()), (Some(0), None));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((line.next(), line.next()), (Some(1), None));
    }
}
