//! The jobs of one server that have had to wait, or have something to be told: each has a row, through which its worker
//! is found, woken and ended. One that ends where its cast is read has none.

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

#[derive(Debug, Default)]
struct Job {
    /// `None` until it is one; with the time of its start.
    task: Option<(AbortHandle, Instant)>,
    /// The task that waits for the job's caller.
    waker: Option<Waker>,
    /// Made when it is first asked for.
    cancellation: Option<CancellationToken>,
}

impl Jobs {
    /// The worker of a job that runs, started then, is a task from now on.
    pub(crate) fn insert(&mut self, job: JobKey, task: AbortHandle, started: Instant) {
        self.row(job).task = Some((task, started));
    }

    /// When the oldest job was started, of those that have had to wait for something. Looks at all.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.running.values().filter_map(|row| row.task.as_ref()).map(|(_, started)| *started).min()
    }

    /// A worker has ended; what it has started and left behind is told.
    pub(crate) fn remove(&mut self, job: JobKey) {
        // Not worth a hash where no job has had to wait.
        if !self.running.is_empty() {
            self.running.remove(&job.id);
        }
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

    /// Notes whom to wake when the caller of a job that runs has said something.
    pub(crate) fn wait(&mut self, job: JobKey, waker: &Waker) {
        self.row(job).waker = Some(waker.clone());
    }

    /// Cancelled once a job that runs is over, for whatever reason.
    pub(crate) fn cancellation(&mut self, job: JobKey) -> CancellationToken {
        self.row(job).cancellation.get_or_insert_default().clone()
    }

    fn row(&mut self, job: JobKey) -> &mut Job {
        self.running.entry(job.id).or_default()
    }
}

impl Job {
    /// A worker that is not a task yet finds that its job does not run when it is about to become one.
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
