//! What a node's peers may hold together: a floor for each that nobody else can take, and one pool for all beyond.
//!
//! Half of each total is shared out evenly as floors; the other half is the [`Pool`], first come, first served. So the
//! sum never passes the total, a peer that holds little never notices another's greed, and a single busy one is not
//! held to an even share of an otherwise idle node. Only a peer above its floor asks the pool, so what is shared
//! between locks is not touched on the usual path. A shell's pool is a few counters; the checker's is a value.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::limits::Limits;
use crate::phase::Servers;

/// What is bounded over all peers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Total {
    /// Jobs of all servers: [`Limits::jobs_total_max`].
    Jobs,
    /// Bytes of their arguments: [`Limits::job_bytes_total_max`].
    JobBytes,
    /// Their streams: [`Limits::streams_total_max`].
    Streams,
    /// Frames in all buffers: [`Limits::buffered_frames_total_max`].
    BufferedFrames,
    /// Bytes of payload of those: [`Limits::buffered_bytes_total_max`].
    BufferedBytes,
}

impl Total {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Jobs, Self::JobBytes, Self::Streams, Self::BufferedFrames, Self::BufferedBytes];

    /// The limit.
    pub fn max(self, limits: &Limits) -> usize {
        match self {
            Self::Jobs => limits.jobs_total_max,
            Self::JobBytes => limits.job_bytes_total_max,
            Self::Streams => limits.streams_total_max,
            Self::BufferedFrames => limits.buffered_frames_total_max,
            Self::BufferedBytes => limits.buffered_bytes_total_max,
        }
    }

    /// Among how many a node shares it out: what jobs hold, each server holds for each peer; there is one buffer for
    /// each.
    fn holders(self, members: usize, hosts: Servers) -> usize {
        match self {
            Self::Jobs | Self::JobBytes | Self::Streams => members * hosts.iter().count(),
            Self::BufferedFrames | Self::BufferedBytes => members,
        }
    }
}

/// What goes beyond the floors of a node's peers. Where peers are behind locks of their own, they share one.
pub trait Pool: fmt::Debug {
    /// What each holder has of that total for itself.
    fn floor(&self, total: Total) -> usize;

    /// Takes so much, or nothing. `false`: there is not as much left.
    fn take(&mut self, total: Total, amount: usize) -> bool;

    /// Gives so much back that was taken.
    fn give(&mut self, total: Total, amount: usize);
}

/// The pool of a node on which nothing is bounded in all: each peer's own bounds are all there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Unlimited;

impl Pool for Unlimited {
    fn floor(&self, _: Total) -> usize {
        usize::MAX
    }

    fn take(&mut self, _: Total, _: usize) -> bool {
        true
    }

    fn give(&mut self, _: Total, _: usize) {}
}

/// A node's floors, and what is left of its pool, as a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodePool {
    floors: [usize; Total::ALL.len()],
    left: [usize; Total::ALL.len()],
}

impl NodePool {
    /// The full pool of a node with so many members, itself among them.
    pub fn new(limits: &Limits, members: usize, hosts: Servers) -> Self {
        let holders = |total: Total| total.holders(members, hosts).max(1);
        let floors = Total::ALL.map(|total| total.max(limits) / 2 / holders(total));
        let left = Total::ALL.map(|total| total.max(limits) - floors[total as usize] * holders(total));
        Self { floors, left }
    }

    /// What is left of that total.
    pub fn left(&self, total: Total) -> usize {
        self.left[total as usize]
    }
}

impl Pool for NodePool {
    fn floor(&self, total: Total) -> usize {
        self.floors[total as usize]
    }

    fn take(&mut self, total: Total, amount: usize) -> bool {
        let left = &mut self.left[total as usize];
        let rest = left.checked_sub(amount);
        *left = rest.unwrap_or(*left);
        rest.is_some()
    }

    fn give(&mut self, total: Total, amount: usize) {
        self.left[total as usize] += amount;
    }
}

/// A pool that several share on one thread: each clone is the same one.
impl<P: Pool> Pool for Rc<RefCell<P>> {
    fn floor(&self, total: Total) -> usize {
        self.borrow().floor(total)
    }

    fn take(&mut self, total: Total, amount: usize) -> bool {
        self.borrow_mut().take(total, amount)
    }

    fn give(&mut self, total: Total, amount: usize) {
        self.borrow_mut().give(total, amount);
    }
}

/// Grows what one holder has. `false`, and nothing changed: the floor is passed, and the pool has not as much.
pub(crate) fn grow(pool: &mut impl Pool, total: Total, held: &mut usize, by: usize) -> bool {
    let floor = pool.floor(total);
    let beyond = (*held + by).saturating_sub(floor) - held.saturating_sub(floor);
    let grows = beyond == 0 || pool.take(total, beyond);
    *held += if grows { by } else { 0 };
    grows
}

/// Shrinks what one holder has, and gives back what it had beyond its floor.
pub(crate) fn shrink(pool: &mut impl Pool, total: Total, held: &mut usize, by: usize) {
    let floor = pool.floor(total);
    let beyond = held.saturating_sub(floor) - (*held - by).saturating_sub(floor);
    *held -= by;
    if beyond > 0 {
        pool.give(total, beyond);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two members with one server each: 4 jobs each as a floor, 9 in the pool.
    fn pool() -> NodePool {
        let limits = Limits { jobs_total_max: 17, ..Limits::default() };
        NodePool::new(&limits, 2, Servers::PER_NODE)
    }

    #[test]
    fn a_floor_is_not_taken_by_who_holds_the_whole_pool() {
        let mut pool = pool();
        assert_eq!((pool.floor(Total::Jobs), pool.left(Total::Jobs)), (4, 9));
        let (mut greedy, mut other) = (0, 0);
        assert!(grow(&mut pool, Total::Jobs, &mut greedy, 13));
        assert!(!grow(&mut pool, Total::Jobs, &mut greedy, 1), "the total is reached");
        assert_eq!((greedy, pool.left(Total::Jobs)), (13, 0));
        assert!((0..4).all(|_| grow(&mut pool, Total::Jobs, &mut other, 1)));
        assert!(!grow(&mut pool, Total::Jobs, &mut other, 1));
        assert_eq!(greedy + other, 17);
        shrink(&mut pool, Total::Jobs, &mut greedy, 1);
        assert!(grow(&mut pool, Total::Jobs, &mut other, 1), "what one gives back another may take");
    }

    #[test]
    fn what_was_taken_comes_back_in_whatever_portions() {
        let mut pool = pool();
        let whole = pool.clone();
        let mut held = 0;
        for by in [3, 5, 2] {
            assert!(grow(&mut pool, Total::Jobs, &mut held, by));
        }
        assert_eq!(pool.left(Total::Jobs), 9 - 6);
        for by in [1, 8, 1] {
            shrink(&mut pool, Total::Jobs, &mut held, by);
        }
        assert_eq!((held, pool), (0, whole));
    }

    #[test]
    fn floors_and_pool_are_the_total_however_it_divides() {
        for (members, hosts) in [(1, Servers::PER_NODE), (3, Servers::BOTH), (64, Servers::SINGLETON)] {
            for max in [0, 1, 2, 5, 97, 1_000] {
                let limits = Limits { streams_total_max: max, buffered_frames_total_max: max, ..Limits::default() };
                let pool = NodePool::new(&limits, members, hosts);
                for total in [Total::Streams, Total::BufferedFrames] {
                    let sum = pool.floor(total) * total.holders(members, hosts) + pool.left(total);
                    assert_eq!(sum, max, "{total:?} of {members} members");
                }
            }
        }
    }

    #[test]
    fn what_jobs_hold_is_shared_among_servers_and_what_buffers_hold_among_members() {
        let limits = Limits { jobs_total_max: 24, buffered_frames_total_max: 24, ..Limits::default() };
        for (hosts, floor) in [(Servers::PER_NODE, 4), (Servers::BOTH, 2)] {
            let pool = NodePool::new(&limits, 3, hosts);
            assert_eq!((pool.floor(Total::Jobs), pool.floor(Total::BufferedFrames)), (floor, 4), "{hosts}");
        }
    }

    /// A pool that may not be asked, with a floor of 4.
    #[derive(Debug)]
    struct Untouched;

    impl Pool for Untouched {
        fn floor(&self, _: Total) -> usize {
            4
        }

        fn take(&mut self, total: Total, amount: usize) -> bool {
            panic!("{amount} of {total:?} were taken")
        }

        fn give(&mut self, total: Total, amount: usize) {
            panic!("{amount} of {total:?} were given")
        }
    }

    #[test]
    fn who_stays_within_its_floor_never_asks_the_pool() {
        let mut held = 0;
        assert!(grow(&mut Untouched, Total::Jobs, &mut held, 4));
        shrink(&mut Untouched, Total::Jobs, &mut held, 3);
        assert_eq!(held, 1);
    }

    #[test]
    fn clones_of_a_shared_pool_are_the_same_one() {
        let mut one = Rc::new(RefCell::new(pool()));
        let mut other = Rc::clone(&one);
        assert!(one.take(Total::Jobs, 9));
        assert!(!other.take(Total::Jobs, 1), "nothing is left");
        other.give(Total::Jobs, 2);
        assert_eq!((one.floor(Total::Jobs), one.borrow().left(Total::Jobs)), (4, 2));
    }

    #[test]
    fn a_node_without_totals_refuses_nothing() {
        for total in Total::ALL {
            assert_eq!(Unlimited.floor(total), usize::MAX, "nobody passes it");
            assert!(Unlimited.take(total, usize::MAX));
        }
    }
}
