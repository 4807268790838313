//! The counters of a node's totals that its members and its singleton share, each from behind its own lock.
//!
//! Whoever holds no more than its floor does not come here (`rexi_proto`'s `pool.rs`), so that on the usual path
//! members still share nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rexi_proto::{NodePool, Pool, Total};

/// The one pool of a node. All clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct SharedPool(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    whole: NodePool,
    left: [AtomicUsize; Total::ALL.len()],
}

impl SharedPool {
    pub(crate) fn new(whole: NodePool) -> Self {
        let left = Total::ALL.map(|total| AtomicUsize::new(whole.left(total)));
        Self(Arc::new(Counters { whole, left }))
    }

    /// What is left of that total beyond the floors, a moment ago.
    pub(crate) fn left(&self, total: Total) -> usize {
        self.counter(total).load(Ordering::Relaxed)
    }

    fn counter(&self, total: Total) -> &AtomicUsize {
        &self.0.left[total as usize]
    }
}

// Counts alone, and no memory that one lock hands to another by them: relaxed is enough.
impl Pool for SharedPool {
    fn floor(&self, total: Total) -> usize {
        self.0.whole.floor(total)
    }

    fn take(&mut self, total: Total, amount: usize) -> bool {
        let less = |left: usize| left.checked_sub(amount);
        self.counter(total).fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give(&mut self, total: Total, amount: usize) {
        self.counter(total).fetch_add(amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rexi_proto::{Limits, Servers};

    use super::*;

    #[test]
    fn many_threads_never_take_more_than_there_is_and_give_all_back() {
        let limits = Limits { jobs_total_max: 1_000, ..Limits::default() };
        let whole = NodePool::new(&limits, 10, Servers::PER_NODE);
        let pool = SharedPool::new(whole.clone());
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
}
