//! A disk that fails on command, for the real redb to work on.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

/// A file in memory and the disk under it. A clone is the same file, so it outlives the database that is on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyDisk(Arc<State>);

#[derive(Debug, Default)]
struct State {
    file: InMemoryBackend,
    faults: Mutex<Faults>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Faults {
    /// All writes and syncs fail.
    is_full: bool,
    /// So many syncs fail.
    syncs: usize,
    /// Syncs do not return.
    hangs: bool,
    /// How many writes and syncs have failed.
    failed: usize,
    /// Syncs are said to be done, and nothing is.
    lies: bool,
    /// The power has failed: nothing works any more.
    is_dead: bool,
    /// What was where it was written since the last sync, in this order.
    unsynced: Vec<(u64, Vec<u8>)>,
}

#[allow(dead_code, reason = "not each test needs all of them")]
impl FaultyDisk {
    /// The next sync fails.
    pub(crate) fn fail_once(&self) {
        self.faults().syncs += 1;
    }

    /// Whether all writes and syncs fail from now on.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.faults().is_full = is_full;
    }

    /// From now on no sync returns.
    pub(crate) fn hang(&self) {
        self.faults().hangs = true;
    }

    /// How many writes and syncs have failed.
    pub(crate) fn failed(&self) -> usize {
        self.faults().failed
    }

    /// All hangs end.
    pub(crate) fn go_on(&self) {
        self.faults().hangs = false;
        self.0.changed.notify_all();
    }

    /// From now on syncs do nothing, and say otherwise.
    pub(crate) fn lie(&self) {
        self.faults().lies = true;
    }

    /// The power fails: what was not synced is lost. The disk that is there after it is given; this one is dead.
    pub(crate) fn crash(&self) -> Self {
        let mut bytes = self.bytes();
        let mut faults = self.faults();
        for (offset, old) in std::mem::take(&mut faults.unsynced).into_iter().rev() {
            let at = usize::try_from(offset).expect("it is in memory");
            bytes.resize(bytes.len().max(at + old.len()), 0);
            bytes[at..at + old.len()].copy_from_slice(&old);
        }
        (faults.is_dead, faults.hangs) = (true, false);
        drop(faults);
        self.0.changed.notify_all();
        Self::with_file(&bytes)
    }

    /// A disk that is well, with this file on it.
    pub(crate) fn with_file(bytes: &[u8]) -> Self {
        let disk = Self::default();
        StorageBackend::set_len(&disk.0.file, bytes.len() as u64).expect("memory");
        StorageBackend::write(&disk.0.file, 0, bytes).expect("memory");
        disk
    }

    /// What the file holds.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = StorageBackend::len(&self.0.file).expect("memory");
        let mut bytes = vec![0; usize::try_from(length).expect("it is in memory")];
        StorageBackend::read(&self.0.file, 0, &mut bytes).expect("memory");
        bytes
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.faults.lock().expect("nothing panics while it holds the faults")
    }

    /// Keeps what is there, until the next sync.
    fn keep(&self, faults: &mut Faults, offset: u64, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        let mut old = vec![0; usize::try_from(length).expect("it is in memory")];
        StorageBackend::read(&self.0.file, offset, &mut old)?;
        faults.unsynced.push((offset, old));
        Ok(())
    }

    fn may_write(faults: &mut Faults) -> io::Result<()> {
        if faults.is_full || faults.is_dead {
            faults.failed += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> io::Result<u64> {
        StorageBackend::len(&self.0.file)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        StorageBackend::read(&self.0.file, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut faults = self.faults();
        Self::may_write(&mut faults)?;
        self.keep(&mut faults, len, StorageBackend::len(&self.0.file)?.saturating_sub(len))?;
        StorageBackend::set_len(&self.0.file, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut faults = self.0.changed.wait_while(self.faults(), |faults| faults.hangs).expect("as above");
        Self::may_write(&mut faults)?;
        if faults.syncs > 0 {
            (faults.syncs, faults.failed) = (faults.syncs - 1, faults.failed + 1);
            return Err(io::ErrorKind::StorageFull.into());
        }
        if !faults.lies {
            faults.unsynced.clear();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut faults = self.faults();
        Self::may_write(&mut faults)?;
        let known = StorageBackend::len(&self.0.file)?.saturating_sub(offset).min(data.len() as u64);
        self.keep(&mut faults, offset, known)?;
        StorageBackend::write(&self.0.file, offset, data)
    }
}
