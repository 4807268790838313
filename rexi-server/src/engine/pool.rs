//! The counters of a node's totals that its members and its singleton share, each from behind its own lock.
//!
//! Floors follow the number of members, which changes while the node runs. A holder of no more than its floor does not
//! come here (`rexi_proto`'s `pool.rs`), so that on the usual path members still share nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use rexi_proto::{NodePool, Pool, Total};

/// The one pool of a node. All clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct SharedPool(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    floors: [AtomicUsize; Total::ALL.len()],
    /// What is left of each total beyond the floors while nobody holds more.
    most: [AtomicUsize; Total::ALL.len()],
    /// Below 0, that much is owed: floors that were given to members that joined while others held everything there
    /// was. Nothing is taken until it has come back.
    left: [AtomicIsize; Total::ALL.len()],
}

impl SharedPool {
    pub(crate) fn new(whole: &NodePool) -> Self {
        let pool = Self(Arc::default());
        pool.share_out(whole, |_, _| 0);
        pool
    }

    /// Takes these floors and this pool for its own. `beyond` says what all holders have of a total beyond floors of
    /// this size; none of them may change meanwhile.
    pub(crate) fn share_out(&self, whole: &NodePool, beyond: impl Fn(Total, usize) -> usize) {
        for total in Total::ALL {
            let floor = whole.floor(total);
            self.0.floors[total as usize].store(floor, Ordering::Relaxed);
            self.0.most[total as usize].store(whole.left(total), Ordering::Relaxed);
            let left = signed(whole.left(total)).saturating_sub(signed(beyond(total, floor)));
            self.counter(total).store(left, Ordering::Relaxed);
        }
    }

    /// What is left of that total beyond the floors, a moment ago.
    pub(crate) fn left(&self, total: Total) -> usize {
        usize::try_from(self.counter(total).load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// What is left of the scarcest total, in percent of what is while nobody holds more than the floor.
    pub(crate) fn left_percent(&self) -> u8 {
        let percent = |total: Total| {
            let most = self.0.most[total as usize].load(Ordering::Relaxed);
            self.left(total).saturating_mul(100).checked_div(most).unwrap_or(100)
        };
        u8::try_from(Total::ALL.into_iter().map(percent).min().unwrap_or(100).min(100)).expect("100 at most")
    }

    fn counter(&self, total: Total) -> &AtomicIsize {
        &self.0.left[total as usize]
    }
}

// These are counts alone, by which no lock hands memory to another: relaxed is enough.
impl Pool for SharedPool {
    fn floor(&self, total: Total) -> usize {
        self.0.floors[total as usize].load(Ordering::Relaxed)
    }

    fn take(&mut self, total: Total, amount: usize) -> bool {
        let less = |left: isize| left.checked_sub(signed(amount)).filter(|&rest| rest >= 0);
        self.counter(total).fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give(&mut self, total: Total, amount: usize) {
        self.counter(total).fetch_add(signed(amount), Ordering::Relaxed);
    }
}

/// No memory has more than that.
fn signed(amount: usize) -> isize {
    isize::try_from(amount).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use rexi_proto::{Limits, Servers};

    use super::*;

    #[test]
    fn many_threads_never_take_more_than_there_is_and_give_all_back() {
        let limits = Limits { jobs_total_max: 1_000, ..Limits::default() };
        let whole = NodePool::new(&limits, 10, Servers::PER_NODE);
        let pool = SharedPool::new(&whole);
        let there = whole.left(Total::Jobs);
        let held = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let (mut pool, held) = (pool.clone(), &held);
                scope.spawn(move || {
                    for round in 0..20_000 {
                        let amount = (thread * 7 + round) % 400;
                        if pool.take(Total::Jobs, amount) {
                            assert!(held.fetch_add(amount, Ordering::SeqCst) + amount <= there);
                            held.fetch_sub(amount, Ordering::SeqCst);
                            pool.give(Total::Jobs, amount);
                        }
                    }
                });
            }
        });
        assert_eq!(pool.left(Total::Jobs), there);
    }

    #[test]
    fn a_floor_that_is_owed_is_paid_before_anything_is_taken_again() {
        let limits = Limits { jobs_total_max: 24, ..Limits::default() };
        let shares = |members| NodePool::new(&limits, members, Servers::PER_NODE);
        let mut pool = SharedPool::new(&shares(2));
        assert_eq!((pool.floor(Total::Jobs), pool.left(Total::Jobs)), (6, 12));
        // One holds its floor and all beyond, 18, when a third member joins.
        assert!(pool.take(Total::Jobs, 12));
        let beyond = |total, floor: usize| if total == Total::Jobs { 18_usize.saturating_sub(floor) } else { 0 };
        pool.share_out(&shares(3), beyond);
        assert_eq!((pool.floor(Total::Jobs), pool.left(Total::Jobs)), (4, 0));
        assert!(!pool.take(Total::Jobs, 1));
        pool.give(Total::Jobs, 2);
        assert_eq!(pool.left(Total::Jobs), 0, "two floors of 4 and 16: that is all there is");
        pool.give(Total::Jobs, 12);
        assert_eq!(pool.left(Total::Jobs), 12, "with its own floor alone in use, the whole pool is there");
        pool.share_out(&shares(2), |_, _| 0);
        assert_eq!((pool.floor(Total::Jobs), pool.left(Total::Jobs)), (6, 12), "one has left again");
    }
}
