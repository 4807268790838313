//! Tasks that wait until a state behind a lock is as they want it. A change wakes nobody where nobody waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Tasks that wait for one kind of change.
#[derive(Default)]
pub(crate) struct Waiters {
    notify: Notify,
    count: AtomicUsize,
}

impl Waiters {
    /// Waits until `ready` says so, which looks at the state.
    pub(crate) async fn wait(&self, ready: impl Fn() -> bool) {
        struct Counted<'a>(&'a AtomicUsize);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // Before the lock is taken, so that any later change of the state sees it.
        self.count.fetch_add(1, Ordering::Relaxed);
        let _counted = Counted(&self.count);
        loop {
            let woken = self.notify.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if ready() {
                return;
            }
            woken.await;
        }
    }

    /// Lets all who wait look again. The state must have been changed under its lock before.
    pub(crate) fn wake(&self) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.notify.notify_waiters();
        }
    }
}
