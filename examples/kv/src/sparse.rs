//! Log lines about what may go wrong at each request: one a second, with how often it has.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When the last line was logged, and how often it has happened since.
#[derive(Debug)]
pub(crate) struct Sparse(Mutex<(Option<Instant>, u64)>);

impl Sparse {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// It has happened again: how often since the last line, where it is time for the next.
    pub(crate) fn line(&self) -> Option<u64> {
        self.line_at(Instant::now())
    }

    fn line_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, times) = &mut *state;
        *times += 1;
        if last.is_some_and(|last| now.duration_since(last) < LINE_INTERVAL) {
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(times))
    }
}

const LINE_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_line_a_second_and_each_says_how_often_it_has_happened() {
        let (sparse, began) = (Sparse::new(), Instant::now());
        let at = |ms| sparse.line_at(began + Duration::from_millis(ms));
        assert_eq!([0, 1, 500, 999, 1_000, 1_001].map(at), [Some(1), None, None, None, Some(4), None]);
        assert_eq!(at(9_000), Some(2));
    }
}
