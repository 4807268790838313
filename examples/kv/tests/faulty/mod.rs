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

    fn may_write(faults: &mut Faults) -> io::Result<()> {
        if faults.is_full {
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
        Self::may_write(&mut self.faults())?;
        StorageBackend::set_len(&self.0.file, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut faults = self.0.changed.wait_while(self.faults(), |faults| faults.hangs).expect("as above");
        Self::may_write(&mut faults)?;
        if faults.syncs > 0 {
            (faults.syncs, faults.failed) = (faults.syncs - 1, faults.failed + 1);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Self::may_write(&mut self.faults())?;
        StorageBackend::write(&self.0.file, offset, data)
    }
}
