//! The jobs that one server runs: each has a row, through which its worker is found, woken and ended.

use std::collections::HashMap;
use std::task::Waker;

use rexi_proto::{JobId, JobKey};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The jobs of one server.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    running: HashMap<JobId, Job>,
}

#[derive(Debug)]
struct Job {
    /// `None` until it has to wait for something; with the time of its start.
    task: Option<(AbortHandle, Instant)>,
    /// The task that waits for the job's caller.
    waker: Option<Waker>,
    /// Made when it is first asked for.
    cancellation: Option<CancellationToken>,
}

impl Jobs {
    /// Keeps a place for a job whose worker is not a task yet.
    pub(crate) fn insert(&mut self, job: JobKey) {
        self.running.insert(job.id, Job { task: None, waker: None, cancellation: None });
    }

    pub(crate) fn has(&self, job: JobKey) -> bool {
        self.running.contains_key(&job.id)
    }

    /// A worker that was started then becomes a task, if its job was not killed.
    pub(crate) fn hand_over(&mut self, job: JobKey, started: Instant, spawn: impl FnOnce() -> Option<AbortHandle>) {
        if let Some(row) = self.running.get_mut(&job.id) {
            row.task = spawn().map(|task| (task, started));
        }
    }

    /// When the oldest job was started, of those that have had to wait for something. Looks at all.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.running.values().filter_map(|row| row.task.as_ref()).map(|(_, started)| *started).min()
    }

    /// A worker has ended; what it has started and left behind is told.
    pub(crate) fn remove(&mut self, job: JobKey) {
        self.running.remove(&job.id);
    }

    pub(crate) fn abort(&mut self, job: JobKey) {
        if let Some(row) = self.running.remove(&job.id) {
            row.abort();
        }
    }

    pub(crate) fn abort_all(&mut self) {
        // By number, and not as they lie in the map: in the same order in each run of a seed.
        let mut running: Vec<_> = self.running.drain().collect();
        running.sort_unstable_by_key(|&(job, _)| job);
        running.iter().for_each(|(_, row)| row.abort());
    }

    pub(crate) fn wake(&mut self, job: JobKey) {
        if let Some(waker) = self.running.get_mut(&job.id).and_then(|row| row.waker.take()) {
            waker.wake();
        }
    }

    /// Notes whom to wake when the job's caller has said something.
    pub(crate) fn wait(&mut self, job: JobKey, waker: &Waker) {
        if let Some(row) = self.running.get_mut(&job.id) {
            row.waker = Some(waker.clone());
        }
    }

    /// Cancelled once the job is over, for whatever reason.
    pub(crate) fn cancellation(&mut self, job: JobKey) -> CancellationToken {
        match self.running.get_mut(&job.id) {
            Some(row) => row.cancellation.get_or_insert_default().clone(),
            None => {
                let over = CancellationToken::new();
                over.cancel();
                over
            }
        }
    }
}

impl Job {
    /// A worker that is not a task yet finds that its job is gone when it is about to become one.
    fn abort(&self) {
        if let Some((task, _)) = &self.task {
            task.abort();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(cancellation) = &self.cancellation {
            cancellation.cancel();
        }
    }
}
