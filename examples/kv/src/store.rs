//! One replica's data: a redb file, and the thread that commits to it.
//!
//! In: entries to keep, keys to look up. Out: what is held, and a confirmation once an entry is on disk. A commit waits
//! for the disk, so none is made on the runtime's threads: writes go through a bounded queue to a thread of the store's
//! own, which commits all that wait there at once. A read waits for no commit and is done in place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use rexi_server::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::version::{Entry, Version};

/// A replica's data. A clone is another handle of the same; the last one to go closes the file.
#[derive(Clone, Debug)]
pub struct Store {
    /// Before the database, so that the thread has let go of it when it is closed.
    committer: Option<Arc<Committer>>,
    database: Arc<Database>,
}

/// A file that cannot be used. The caller that named it, or the disk, is at fault.
#[derive(Debug, Error)]
#[error("cannot use {} as a store: {reason}", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub reason: Box<redb::Error>,
}

/// A read or a write that failed. The replica is at fault; after a write, whether the entry is kept is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk or the file's content. Trying again does not help.
    #[error("the replica's store has failed: {0}")]
    Failed(String),
    /// The thread that commits is gone.
    #[error("the replica's store is closed")]
    Closed,
}

impl Store {
    /// Opens the file, or makes it, and starts the thread. Blocks; longer after a crash, when the file is checked.
    ///
    /// # Errors
    /// [`OpenError`], also where another process has the file open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let unusable = |reason: redb::Error| OpenError { path: path.to_owned(), reason: Box::new(reason) };
        let database = Arc::new(with_table(Database::create(path)).map_err(unusable)?);
        let committer = Committer::start(Arc::clone(&database)).map_err(|error| unusable(error.into()))?;
        Ok(Self { committer: Some(Arc::new(committer)), database })
    }

    /// A store that is gone with its last handle, for tests. It never waits for a disk, so it has no thread: a test's
    /// paused clock would run on while one works.
    ///
    /// # Panics
    /// Never: there is always memory for an empty one.
    pub fn in_memory() -> Self {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let database = with_table(database).expect("memory does not fail as a disk may");
        Self { committer: None, database: Arc::new(database) }
    }

    /// What is held of a key; `None` where it was never written.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn read(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.look_up(key, |(counter, writer, life, write, value)| Entry {
            version: Version { counter, writer: writer.to_owned(), life, write },
            value: value.map(Bytes::copy_from_slice),
        })
    }

    /// The version of what is held of a key.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn version(&self, key: &str) -> Result<Option<Version>, StoreError> {
        self.look_up(key, |(counter, writer, life, write, _)| Version {
            counter,
            writer: writer.to_owned(),
            life,
            write,
        })
    }

    /// Keeps the entry unless a later one is held, and returns when what is held is on disk. Waits where
    /// [`QUEUE_MAX`] writes wait already. One that is no longer waited for may still happen.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write(&self, key: String, entry: Entry) -> Result<(), StoreError> {
        let Some(committer) = &self.committer else { return commit(&self.database, &[(key, entry)]) };
        let (done, committed) = oneshot::channel();
        committer.queue().send(Write { of: (key, entry), done }).await.map_err(|_| StoreError::Closed)?;
        committed.await.map_err(|_| StoreError::Closed)?
    }

    fn look_up<T>(&self, key: &str, take: impl Fn(Row<'_>) -> T) -> Result<Option<T>, StoreError> {
        let looked_up = || -> Result<Option<T>, redb::Error> {
            let table = self.database.begin_read()?.open_table(ENTRIES)?;
            Ok(table.get(key)?.map(|row| take(row.value())))
        };
        looked_up().map_err(|error| failed(&error))
    }
}

/// The thread that commits, and the queue before it.
#[derive(Debug)]
struct Committer {
    /// `None` only while this is dropped.
    queue: Option<mpsc::Sender<Write>>,
    thread: Option<JoinHandle<()>>,
}

/// An entry on its way to the disk.
#[derive(Debug)]
struct Write {
    of: (String, Entry),
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Committer {
    fn start(database: Arc<Database>) -> std::io::Result<Self> {
        let (queue, writes) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("kv-store".to_owned());
        let thread = thread.spawn(move || commit_all(&database, writes))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    fn queue(&self) -> &mpsc::Sender<Write> {
        self.queue.as_ref().expect("it is taken only when this is dropped")
    }
}

impl Drop for Committer {
    /// Waits for the commit under way, so that the file is closed in good order.
    fn drop(&mut self) {
        drop(self.queue.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            tracing::error!("the thread of the store has panicked");
        }
    }
}

/// Commits what comes until nobody can send any longer: each time, what waits in the queue goes into one transaction,
/// so that many writers share the wait for the disk.
fn commit_all(database: &Database, mut queue: mpsc::Receiver<Write>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        let (entries, waiting): (Vec<_>, Vec<_>) = batch.drain(..).map(|write| (write.of, write.done)).unzip();
        let committed = commit(database, &entries);
        for done in waiting {
            // Nobody waits any longer where the caller's time has passed.
            let _ = done.send(committed.clone());
        }
    }
}

/// Keeps each entry that is later than what is held, all or none, and waits until they are on disk.
fn commit(database: &Database, entries: &[(String, Entry)]) -> Result<(), StoreError> {
    let committed = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        let mut table = transaction.open_table(ENTRIES)?;
        for (key, Entry { version, value }) in entries {
            let row = (version.counter, version.writer.as_str(), version.life, version.write, value.as_deref());
            let held = table.get(key.as_str())?;
            if held.is_none_or(|held| age(held.value()) < age(row)) {
                table.insert(key.as_str(), row)?;
            }
        }
        drop(table);
        Ok(transaction.commit()?)
    };
    committed().map_err(|error| failed(&error))
}

/// What of a row makes its version, in the order of [`Version`].
fn age((counter, writer, life, write, _): Row<'_>) -> (u64, &str, u64, u64) {
    (counter, writer, life, write)
}

fn failed(error: &redb::Error) -> StoreError {
    tracing::error!(%error, "the store has failed");
    StoreError::Failed(error.to_string())
}

/// A new file has no table, and reading one that is not there is an error.
fn with_table(database: Result<Database, redb::DatabaseError>) -> Result<Database, redb::Error> {
    let database = database?;
    let transaction = database.begin_write()?;
    transaction.open_table(ENTRIES)?;
    transaction.commit()?;
    Ok(database)
}

/// Counter, writer, life and write of the version, then the value.
type Row<'a> = (u64, &'a str, u64, u64, Option<&'a [u8]>);

const ENTRIES: TableDefinition<'_, &str, Row<'static>> = TableDefinition::new("entries");

/// How many writes may wait for the thread; the next waits outside, bounded by what the node takes of jobs.
pub const QUEUE_MAX: usize = 256;

/// How many writes one transaction takes at most.
pub const BATCH_MAX: usize = 64;

#[cfg(test)]
mod tests;
