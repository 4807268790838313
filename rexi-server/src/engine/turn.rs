//! A turn: one poll of a worker's function. What a job has ready in it leaves at its end, as one.
//!
//! In: who has something ready. Out: the word to let it leave. There is no timer, and outside a turn, in a task that a
//! function has started, nothing is held.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// What holds something until the end of a turn.
pub(crate) trait Ready: Send + Sync {
    /// Lets it leave.
    fn leave(&self);
}

thread_local! {
    /// Apart from what is ready, since most functions have nothing.
    static TURN: Cell<Turn> = const { Cell::new(Turn::None) };
    static READY: RefCell<Option<Arc<dyn Ready>>> = const { RefCell::new(None) };
}

/// What this thread polls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    None,
    /// A worker's function.
    Quiet,
    /// One that has something ready, which is kept here.
    Has,
}

/// Polls a worker's function, which must not panic through this.
#[inline]
pub(crate) fn run<T>(poll: impl FnOnce() -> T) -> T {
    // One worker can be started within another's turn.
    let before = TURN.replace(Turn::Quiet);
    let polled = poll();
    if TURN.replace(before) == Turn::Has
        && let Some(ready) = READY.take()
    {
        ready.leave();
    }
    polled
}

/// Lets this leave at the end of the turn. `false`: there is no turn, or the place is another's.
pub(crate) fn hold<R: Ready + 'static>(ready: &Arc<R>) -> bool {
    let is_it = |kept: &Arc<dyn Ready>| std::ptr::addr_eq(Arc::as_ptr(kept), Arc::as_ptr(ready));
    match TURN.get() {
        Turn::None => false,
        Turn::Has => READY.with_borrow(|kept| kept.as_ref().is_some_and(is_it)),
        Turn::Quiet => READY.with_borrow_mut(|kept| {
            let is_free = kept.is_none();
            if is_free {
                *kept = Some(Arc::<R>::clone(ready));
                TURN.set(Turn::Has);
            }
            is_free
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Ready for Count {
        fn leave(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn left(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn what_is_held_leaves_once_at_the_end_of_its_turn() {
        let count = Arc::new(Count::default());
        assert!(!hold(&count), "there is no turn");
        for turns in 1..=2 {
            run(|| {
                assert!(hold(&count) && hold(&count));
                assert_eq!(count.left(), turns - 1);
            });
            assert_eq!(count.left(), turns);
        }
        run(|| {});
        assert!(!hold(&count) && count.left() == 2);
    }

    #[test]
    fn a_turn_holds_for_one_and_a_turn_within_it_leaves_that_alone() {
        let [one, other] = [(); 2].map(|()| Arc::new(Count::default()));
        run(|| {
            assert!(hold(&one) && !hold(&other));
            run(|| assert!(!hold(&other)));
            assert!(hold(&one) && one.left() == 0);
        });
        assert_eq!((one.left(), other.left()), (1, 0));
        run(|| {
            run(|| assert!(hold(&other)));
            assert_eq!(other.left(), 1);
            assert!(hold(&one));
        });
        assert_eq!(one.left(), 2);
    }
}
