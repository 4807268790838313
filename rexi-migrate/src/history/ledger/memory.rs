//! Ledgers in memory, of lives that share one process and one clock: those of a simulation.
//!
//! Each record has a time of its own if its clock gives one, so that the records of all lives have one order.

use std::fmt;
use std::sync::{Mutex, MutexGuard};

use super::entry::{Entry, Record};

/// The records of one life.
pub struct Memory {
    now_us: Box<dyn Fn() -> u64 + Send + Sync>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    records: Vec<Record>,
    closed: bool,
}

impl Memory {
    pub(super) fn new(now_us: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { now_us: Box::new(now_us), kept: Mutex::default() }
    }

    pub(super) fn append(&self, entries: &[Entry]) {
        let mut kept = self.lock();
        if !kept.closed {
            kept.records.extend(entries.iter().map(|&entry| Record { at_us: (self.now_us)(), entry }));
        }
    }

    /// Takes no more, as the file of a process that is gone does: what its tasks do while they are dropped, no process
    /// could have recorded.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Shows the records from the one of this place on.
    pub fn read<T>(&self, from: usize, read: impl FnOnce(&[Record]) -> T) -> T {
        read(self.lock().records.get(from..).unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while it holds the records")
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("records", &self.lock().records.len()).finish_non_exhaustive()
    }
}
