//! The keeper of a running node behind its lock, its disk, and what holds by it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rexi_proto::NodeName;
use rexi_proto::record::{Answer, Keeper, Kept};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::state::Disk;

/// What a node has of its cluster's record.
pub(crate) struct RecordKeeper {
    disk: Disk,
    state: Mutex<State>,
    /// What holds from now on, once it is on the disk.
    applied: watch::Sender<Arc<Kept>>,
    /// Members that are being given the record.
    given: Mutex<BTreeSet<NodeName>>,
    /// Since when all that is wanted for closing the way back is there, in the node's time.
    due_since: Mutex<Option<Duration>>,
    /// Whether a write has failed since the start.
    is_broken: AtomicBool,
    /// Whether the disk is being probed.
    is_probed: AtomicBool,
    /// How many answers may be on their way at once.
    pub(super) answers: Semaphore,
}

pub(super) struct State {
    pub(super) keeper: Keeper,
    pub(super) asked: HashMap<u64, oneshot::Sender<Answer>>,
    pub(super) next_ticket: u64,
}

impl RecordKeeper {
    pub(crate) fn new(disk: Disk, keeper: Keeper) -> Self {
        let applied = watch::Sender::new(Arc::new(keeper.kept().clone()));
        let state = State { keeper, asked: HashMap::new(), next_ticket: 0 };
        Self {
            disk,
            state: Mutex::new(state),
            applied,
            given: Mutex::default(),
            due_since: Mutex::default(),
            is_broken: AtomicBool::new(false),
            is_probed: AtomicBool::new(false),
            answers: Semaphore::new(ANSWERS_AT_ONCE_MAX),
        }
    }

    /// What holds now.
    pub(crate) fn kept(&self) -> Arc<Kept> {
        Arc::clone(&self.applied.borrow())
    }

    /// What holds, as it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Kept>> {
        self.applied.subscribe()
    }

    /// Whether a write has failed since the start.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the keeper")
    }

    /// How long the way back could have been closed, and was not.
    pub(super) fn due(&self, is_due: bool, now: Duration) -> Duration {
        let mut since = self.due_since.lock().expect("nothing panics while it holds the time");
        *since = if is_due { since.or(Some(now)) } else { None };
        since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// A write has failed.
    pub(super) fn note_broken(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    /// Probes the disk; one that does not answer is not probed again. Blocks.
    pub(super) fn probe(&self) -> Option<String> {
        if self.is_probed.swap(true, Ordering::Relaxed) {
            return Some("it has not answered an earlier probe yet".to_owned());
        }
        let probed = self.disk.probe();
        self.is_probed.store(false, Ordering::Relaxed);
        probed.err().map(|error| error.to_string())
    }

    /// Where it is kept.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// From now on this holds.
    pub(super) fn apply(&self, kept: Arc<Kept>) {
        self.applied.send_replace(kept);
    }

    /// The members that are being given the record.
    pub(super) fn given(&self) -> MutexGuard<'_, BTreeSet<NodeName>> {
        self.given.lock().expect("nothing panics while it holds the names")
    }
}

/// Answers about the record that may be on their way at once: a member asks for one at a time.
const ANSWERS_AT_ONCE_MAX: usize = 64;
