//! The database and what is under it, which may fail and be well again.
//!
//! After one failed write or sync redb refuses all work until it is opened again. So the first error takes the database
//! away, and a thread opens it again and again, waiting longer each time. Until it has, all work is refused at once, so
//! that whoever asks goes on to another replica. At most one log line a second tells of that.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use redb::Database;
use redb::backends::InMemoryBackend;
use tokio::sync::watch;

use super::{StoreError, rows};
use crate::sparse::Sparse;

/// Opens the database: at the start, and after each failure.
pub(super) type Opener = dyn Fn() -> Result<Database, redb::DatabaseError> + Send + Sync;

/// A database that is opened again where it has failed.
pub(super) struct Disk {
    /// Or why it is away.
    database: Mutex<Result<Arc<Open>, StoreError>>,
    /// Wakes the thread; memory has none, since it does not fail.
    failed: Option<SyncSender<()>>,
    failures: Sparse,
    /// Since when a commit is under way, if one is.
    committing: Mutex<Option<Instant>>,
}

/// A database that works, as far as is known.
struct Open {
    database: Database,
    /// Behind the database: gone once that is closed.
    closed: watch::Sender<()>,
}

impl Disk {
    /// Opens the database, and starts the thread that does so again. Blocks.
    pub(super) fn open(open: Box<Opener>) -> Result<Arc<Self>, redb::Error> {
        let (failed, failures) = sync_channel(1);
        let disk = Arc::new(Self::new(opened(&open)?, Some(failed)));
        let weak = Arc::downgrade(&disk);
        let thread = std::thread::Builder::new().name("kv-reopen".to_owned());
        thread.spawn(move || reopen_each_time(&weak, &open, &failures))?;
        Ok(disk)
    }

    pub(super) fn in_memory() -> Arc<Self> {
        let open = || Database::builder().create_with_backend(InMemoryBackend::new());
        Arc::new(Self::new(opened(&open).expect("memory does not fail as a disk may"), None))
    }

    fn new(database: Database, failed: Option<SyncSender<()>>) -> Self {
        let database = Mutex::new(Ok(Open::new(database)));
        Self { database, failed, failures: Sparse::new(), committing: Mutex::default() }
    }

    /// Does some work, or says why it cannot be done.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let open = self.lock().clone()?;
        // redb may panic where it meets a page that was changed at rest.
        let done = catch_unwind(AssertUnwindSafe(|| work(&open.database)));
        let reason = match done {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("redb panicked: {}", text(panic.as_ref())),
        };
        self.take_away(&open, &reason);
        // What has panicked once may do so when it is closed.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
        Err(StoreError::Failed(reason))
    }

    /// As [`Disk::with`], for work that waits for the disk.
    pub(super) fn commit<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        *self.committing() = Some(Instant::now());
        let done = self.with(work);
        *self.committing() = None;
        done
    }

    /// Whether there is a database to work with, on a disk that takes commits.
    pub(super) fn check(&self, now: Instant) -> Result<(), StoreError> {
        self.lock().as_ref().map_err(StoreError::clone)?;
        match *self.committing() {
            Some(since) if now.saturating_duration_since(since) >= HANG_LIMIT => {
                Err(StoreError::Failed(format!("a commit has not come back for {HANG_LIMIT:?}")))
            }
            _ => Ok(()),
        }
    }

    fn committing(&self) -> MutexGuard<'_, Option<Instant>> {
        self.committing.lock().expect("nothing panics while it holds a time")
    }

    /// Lets the database go for good, and waits until the work under way is done and it is closed.
    pub(super) async fn close(&self) {
        let Ok(open) = std::mem::replace(&mut *self.lock(), Err(StoreError::Closed)) else { return };
        let mut closed = open.closed.subscribe();
        // Waits for the disk, too.
        tokio::task::spawn_blocking(|| drop(open));
        while closed.changed().await.is_ok() {}
    }

    fn take_away(&self, failed: &Arc<Open>, reason: &str) {
        let mut database = self.lock();
        // Late news of one that is away already changes nothing.
        if database.as_ref().is_ok_and(|current| Arc::ptr_eq(current, failed)) {
            *database = Err(StoreError::Failed(reason.to_owned()));
            // A full channel has woken the thread already.
            let _ = self.failed.as_ref().map(|failed| failed.try_send(()));
        }
        drop(database);
        self.log(reason);
    }

    fn log(&self, reason: &str) {
        if let Some(failures) = self.failures.line() {
            tracing::error!(reason, failures, "the store has failed, and is opened again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Result<Arc<Open>, StoreError>> {
        self.database.lock().expect("nothing panics while it holds the database")
    }
}

impl Open {
    fn new(database: Database) -> Arc<Self> {
        Arc::new(Self { database, closed: watch::Sender::new(()) })
    }
}

/// Opens the database after each failure, for as long as somebody has the disk.
fn reopen_each_time(disk: &Weak<Disk>, open: &Opener, failed: &Receiver<()>) {
    let mut pause = REOPEN_PAUSE_MIN;
    let mut opened_at = Instant::now();
    while failed.recv().is_ok() {
        if opened_at.elapsed() > REOPEN_PAUSE_MAX {
            pause = REOPEN_PAUSE_MIN;
        }
        loop {
            // Waits in any case: what failed just now hardly works at once.
            if failed.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            pause = (2 * pause).min(REOPEN_PAUSE_MAX);
            let Some(disk) = disk.upgrade() else { return };
            match opened(open) {
                Ok(database) => {
                    let mut state = disk.lock();
                    if matches!(*state, Err(StoreError::Closed)) {
                        return;
                    }
                    *state = Ok(Open::new(database));
                    opened_at = Instant::now();
                    tracing::info!("the store is open again");
                    break;
                }
                Err(error) => disk.log(&error.to_string()),
            }
        }
    }
}

/// Opens the database, and shows by a commit that the disk takes it.
fn opened(open: &Opener) -> Result<Database, redb::Error> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let database = open()?;
        rows::begin(&database)?;
        Ok(database)
    }));
    opened.unwrap_or_else(|panic| Err(redb::Error::Corrupted(text(panic.as_ref()))))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disk").field(&self.check(Instant::now())).finish()
    }
}

/// How long a commit may take before the replica is said to have failed. Longer than whoever writes waits for it.
pub(super) const HANG_LIMIT: Duration = Duration::from_secs(5);

/// The first wait before the database is opened again; each next one is twice as long.
const REOPEN_PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest: how long a store may stay away from a disk that is well again.
const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(1);
