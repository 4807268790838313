//! How long a test waits for something: 30 s of virtual time, or of the time that the machine gives this process.
//!
//! A test that hangs ends at this limit and says what it waited for; one that is slow because the machine is busy does
//! not. What the machine gives is measured ([`Allowance`]), so the limit is as short on an idle machine as it can be.

use std::time::Duration;

use rexi_migrate::rehearse::pace::Allowance;
use tokio::time::{Instant, timeout};

/// Waits for `future`, but not for longer than [`LIMIT`]; `None` where that has passed.
pub(crate) async fn patiently<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let (begun, begun_virtual) = (std::time::Instant::now(), Instant::now());
    let mut allowance = Allowance::new(LIMIT);
    loop {
        let left = LIMIT.saturating_sub(begun_virtual.elapsed()).max(allowance.left([]).min(LOOK_INTERVAL));
        if let Ok(came) = timeout(left, &mut future).await {
            return Some(came);
        }
        // Where time is paused it passes by itself, and says nothing of the machine.
        let is_virtual = begun_virtual.elapsed() > 2 * begun.elapsed();
        if begun_virtual.elapsed() >= LIMIT && (is_virtual || allowance.left([]).is_zero()) {
            return None;
        }
    }
}

/// What a limit says of itself where it has passed.
pub(crate) fn waited(what: &str) -> String {
    format!("waited {} s, of the time that the machine gave, for {what}", LIMIT.as_secs())
}

/// Longer than anything takes that a test waits for.
const LIMIT: Duration = Duration::from_secs(30);

/// How often a limit that is being stretched is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_in_virtual_time_ends_by_virtual_time() {
        let begun = Instant::now();
        assert_eq!(patiently(std::future::pending::<()>()).await, None);
        assert!(begun.elapsed() >= LIMIT && begun.elapsed() <= LIMIT + Duration::from_secs(1), "{:?}", begun.elapsed());
        let late = timeout(LIMIT - Duration::from_millis(1), std::future::pending::<()>());
        assert!(patiently(late).await.is_some_and(|late| late.is_err()));
    }

    #[tokio::test]
    async fn what_comes_is_given_on() {
        assert_eq!(patiently(async { 7 }).await, Some(7));
    }
}
