//! What tests of whole stores need: one on a disk that may fail, and to wait until something is so.

use std::time::Duration;

use rexi_kv::Store;

use crate::faulty::FaultyDisk;

/// A store on that disk.
pub(crate) fn store(disk: &FaultyDisk) -> Store {
    let disk = disk.clone();
    Store::on(move || disk.clone()).expect("the disk is well at first")
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    for _ in 0..LIMIT.as_millis() / LOOK_INTERVAL.as_millis() {
        ticks.tick().await;
        if is_so() {
            return;
        }
    }
    panic!("waited {LIMIT:?} for {what}");
}

/// Longer than anything takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

const LOOK_INTERVAL: Duration = Duration::from_millis(5);
