//! One replica's data: a redb file, and the thread that commits to it.
//!
//! In: entries to keep, keys to look up. Out: what is held, and a confirmation once an entry is on disk. A commit waits
//! for the disk, so none is made on the runtime's threads: writes go through a bounded queue to a thread of the store's
//! own, which commits all that wait there at once. A read waits for no commit and is done in place.

mod disk;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use redb::{Database, StorageBackend};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use self::disk::{Disk, Opener};
use crate::version::{Entry, Version};

/// A replica's data. A clone is another handle of the same; the file is closed behind the last one to go.
#[derive(Clone, Debug)]
pub struct Store {
    /// To the thread, which ends when nobody can send any longer. `None`: writes are committed in place.
    queue: Option<mpsc::Sender<Write>>,
    disk: Arc<Disk>,
}

/// A file that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file was lost, or the caller has named another one. An empty replica would count in majorities, and what was
    /// acknowledged before would be gone.
    #[error(
        "there is no {}: for a node of a new cluster, make it with --init; if it was lost, first read every key once \
         while all other nodes run, so that they keep all that this one did",
        .0.display()
    )]
    Missing(PathBuf),
    /// A file that is to be made is there already. The caller is at fault.
    #[error("{} is there already: start this node without --init", .0.display())]
    There(PathBuf),
    /// The caller that named it, or the disk, is at fault.
    #[error("cannot use {} as a store: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        reason: Box<redb::Error>,
    },
}

/// A read or a write that failed. The replica is at fault; after a write, whether the entry is kept is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk or the file's content. Ask another replica; this one may be well again later.
    #[error("the replica's store has failed: {0}")]
    Failed(String),
    /// The node leaves. Ask another replica.
    #[error("the replica's store is closed")]
    Closed,
}

impl Store {
    /// Makes the file of a new replica, whole or not at all. Blocks.
    ///
    /// # Errors
    /// [`OpenError::There`], [`OpenError::Unusable`].
    pub fn create(path: impl AsRef<Path>) -> Result<(), OpenError> {
        let path = path.as_ref();
        if path.exists() {
            return Err(OpenError::There(path.to_owned()));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let made = || -> Result<(), redb::Error> {
            let database = Database::create(&unfinished)?;
            rows::begin(&database)?;
            database.close()?;
            std::fs::rename(&unfinished, path)?;
            // Or the name could be gone after a crash of the machine.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(std::fs::File::open(folder)?.sync_all()?)
        };
        made().map_err(|reason| unusable(path, reason))
    }

    /// Opens the file, and starts the thread. Blocks; longer after a crash, when the file is checked. Where the disk
    /// fails later, the file is opened again until it is well.
    ///
    /// # Errors
    /// [`OpenError`], also where another process has the file open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        if !path.exists() {
            return Err(OpenError::Missing(path));
        }
        let file = path.clone();
        Self::opened_by(Box::new(move || Database::open(&file))).map_err(|reason| unusable(&path, reason))
    }

    /// A store on storage of another kind, which is asked for anew after each failure: for tests that let it fail.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn on<B: StorageBackend>(storage: impl Fn() -> B + Send + Sync + 'static) -> Result<Self, redb::Error> {
        Self::opened_by(Box::new(move || Database::builder().create_with_backend(storage())))
    }

    /// A store that is gone with its last handle, for tests. It never waits for a disk, so it has no thread: a test's
    /// paused clock would run on while one works.
    pub fn in_memory() -> Self {
        Self { queue: None, disk: Disk::in_memory() }
    }

    fn opened_by(open: Box<Opener>) -> Result<Self, redb::Error> {
        let disk = Disk::open(open)?;
        let (queue, writes) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("kv-commit".to_owned());
        let committed = Arc::clone(&disk);
        thread.spawn(move || commit_all(&committed, writes))?;
        Ok(Self { queue: Some(queue), disk })
    }

    /// What is held of a key; `None` where it was never written.
    ///
    /// # Errors
    /// [`StoreError::Failed`], also where the value was changed at rest.
    pub fn read(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.disk.with(|database| rows::entry(database, key)).flatten()
    }

    /// The version of what is held of a key.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn version(&self, key: &str) -> Result<Option<Version>, StoreError> {
        self.disk.with(|database| rows::version(database, key)).flatten()
    }

    /// Keeps the entry unless a later one is held, and returns when what is held is on disk. Waits where
    /// [`QUEUE_MAX`] writes wait already. One that is no longer waited for may still happen.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write(&self, key: String, entry: Entry) -> Result<(), StoreError> {
        let Some(queue) = &self.queue else {
            return commit(&self.disk, &[(key, entry)]).swap_remove(0);
        };
        let (done, committed) = oneshot::channel();
        queue.send(Write { of: (key, entry), done }).await.map_err(|_| StoreError::Closed)?;
        committed.await.map_err(|_| StoreError::Closed)?
    }

    /// Whether it works, as far as is known: for a probe.
    ///
    /// # Errors
    /// [`StoreError::Failed`] from a failure of the disk on, until the file is open again, and while a commit hangs.
    pub fn check(&self) -> Result<(), StoreError> {
        self.disk.check(Instant::now())
    }

    /// Closes the file, whoever else has a handle, and returns when the commit under way is done and it is closed. What
    /// is asked from then on is refused.
    pub async fn close(&self) {
        self.disk.close().await;
    }
}

/// An entry on its way to the disk.
#[derive(Debug)]
struct Write {
    of: (String, Entry),
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// Commits what comes until nobody can send any longer: each time, what waits in the queue goes into one transaction,
/// so that many writers share the wait for the disk.
fn commit_all(disk: &Disk, mut queue: mpsc::Receiver<Write>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        // Where nobody waits any longer, as in a node that leaves, there is nothing to keep.
        let waited_for = batch.drain(..).filter(|write| !write.done.is_closed());
        let (entries, waiting): (Vec<_>, Vec<_>) = waited_for.map(|write| (write.of, write.done)).unzip();
        for (done, committed) in waiting.into_iter().zip(commit(disk, &entries)) {
            let _ = done.send(committed);
        }
    }
}

/// Keeps each entry that is later than what is held, all or none, and waits until they are on disk.
fn commit(disk: &Disk, entries: &[(String, Entry)]) -> Vec<Result<(), StoreError>> {
    if entries.is_empty() {
        return Vec::new();
    }
    let kept = disk.commit(|database| rows::keep(database, entries));
    kept.unwrap_or_else(|error| vec![Err(error); entries.len()])
}

fn unusable(path: &Path, reason: redb::Error) -> OpenError {
    OpenError::Unusable { path: path.to_owned(), reason: Box::new(reason) }
}

/// How many writes may wait for the thread; the next waits outside, bounded by what the node takes of jobs.
pub const QUEUE_MAX: usize = 256;

/// How many writes one transaction takes at most.
pub const BATCH_MAX: usize = 64;

#[cfg(test)]
mod tests;
