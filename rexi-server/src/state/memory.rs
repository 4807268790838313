//! The disk of a node, in memory: what the node keeps of its cluster's record survives its crash, writes take their
//! time, and fail where a test says so.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rexi_proto::record::{Keeper, Kept};
use rexi_proto::{Mutants, NodeName};

use super::StateError;

/// A disk with the record of one node; see [`NodeBuilder::state_on`](crate::NodeBuilder::state_on). Clones are the same
/// disk.
///
/// A write takes 2 ms until it is on the disk, and 2 ms more until the node hears of it, so that a crash may come
/// before, between and after.
#[derive(Clone, Default)]
pub struct TestDisk {
    held: Arc<Mutex<Held>>,
    /// Which process has it: what an earlier one was about to write comes to nothing.
    process: u64,
}

#[derive(Default)]
struct Held {
    processes: u64,
    kept: Option<Arc<Kept>>,
    next: Option<DiskFault>,
    watch: Option<Arc<Watch>>,
}

type Watch = dyn Fn(&Arc<Kept>) + Send + Sync;

/// How a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing of it is on the disk.
    Refused,
    /// It is on the disk, and the node hears that it may not be.
    InDoubt,
}

impl TestDisk {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is on it.
    pub fn kept(&self) -> Option<Arc<Kept>> {
        self.lock().kept.clone()
    }

    /// Takes all from it. The node that has it is not to run.
    pub fn wipe(&self) {
        self.lock().kept = None;
    }

    /// Fails the next write.
    pub fn fail_next(&self, fault: DiskFault) {
        self.lock().next = Some(fault);
    }

    /// Fails no write any more.
    pub fn mend(&self) {
        self.lock().next = None;
    }

    /// Calls this with whatever is written from now on, once it is on the disk and before its node knows.
    pub fn observe(&self, watch: impl Fn(&Arc<Kept>) + Send + Sync + 'static) {
        self.lock().watch = Some(Arc::new(watch));
    }

    /// The same disk, for a process that starts.
    pub(crate) fn open(&self) -> Self {
        let mut held = self.lock();
        held.processes += 1;
        Self { held: Arc::clone(&self.held), process: held.processes }
    }

    pub(crate) fn keeper(&self, node: &NodeName) -> Result<Keeper, StateError> {
        let text = self.kept().map(|kept| kept.to_text());
        let failed = |source| StateError::Kept { file: Path::new(IN_MEMORY).to_owned(), source };
        Keeper::open(node, text.as_deref(), Mutants::default()).map_err(failed)
    }

    pub(crate) async fn write(&self, kept: Kept) -> Result<(), StateError> {
        tokio::time::sleep(half_a_write()).await;
        if self.lock().processes != self.process {
            return std::future::pending().await;
        }
        let fault = self.lock().next.take();
        if fault != Some(DiskFault::Refused) {
            let kept = Arc::new(kept);
            let watch = {
                let mut held = self.lock();
                held.kept = Some(Arc::clone(&kept));
                held.watch.clone()
            };
            if let Some(watch) = watch {
                watch(&kept);
            }
        }
        tokio::time::sleep(half_a_write()).await;
        match fault {
            None => Ok(()),
            Some(_) => Err(StateError::Write {
                file: Path::new(IN_MEMORY).to_owned(),
                source: io::Error::other("the test has asked for it"),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nothing panics while it holds a disk")
    }
}

impl fmt::Debug for TestDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestDisk").field(&self.kept()).finish()
    }
}

const IN_MEMORY: &str = "(in memory)";

fn half_a_write() -> Duration {
    Duration::from_millis(2)
}
