//! What a node keeps of its cluster's record: a directory with one file in it, which is replaced as a whole.
//!
//! ```text
//!   lock      held by the one process that may write
//!   trail     what operators have asked of it, with the feature `operate`
//!   record    what the node keeps, as `rexi_proto::record::Kept` writes it
//! ```
//!
//! A file that cannot be read is never taken for one that is not there: what it held may have been a floor.

mod disk;
#[cfg(feature = "testing")]
mod memory;
#[cfg(feature = "operate")]
mod trail;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rexi_proto::record::{KEPT_BYTES_MAX, Keeper, Kept, KeptError};
use rexi_proto::{Mutants, NodeName};
use thiserror::Error;

pub(crate) use self::disk::{Disk, StatePlace};
#[cfg(feature = "testing")]
pub use self::memory::{DiskFault, TestDisk};
#[cfg(feature = "operate")]
pub(crate) use self::trail::Trail;
use crate::files::read_text;

/// A node's directory of state, which no other process has.
#[derive(Debug)]
pub struct StateDir {
    dir: PathBuf,
    #[cfg(feature = "operate")]
    trail: Trail,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Why a node's state cannot be read, or was not written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// The directory cannot be made or used.
    #[error(
        "the directory of state {dir} cannot be used ({source}): mount or make the one that it is in, or correct it"
    )]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "another process has the directory of state {dir}: stop that one, or give each node a directory of its own"
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The file is there, and cannot be read.
    #[error("{file} cannot be read ({source}): mend the disk; without it this node does not know its floor")]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what the node has written.
    #[error(
        "{file} is not what this node has written: {source}. It may have held a floor, so it does not count as \
         missing: repair it by what another member has"
    )]
    Kept {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: KeptError,
    },
    /// A write has failed: the disk may hold what was to be written, or what was there before.
    #[error("{file} was not written ({source}): mend the disk, and start the node again")]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl StateDir {
    /// Takes a directory for this process, until it is dropped. It is made if it is not there, with nobody else's
    /// access; the directory that it is in must exist, so that a volume that is not mounted is noticed. Blocks.
    ///
    /// # Errors
    /// [`StateError::Directory`] and [`StateError::InUse`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StateError> {
        let dir = dir.into();
        let failed = |source| StateError::Directory { dir: dir.clone(), source };
        match private().create(&dir) {
            Ok(()) => sync_dir(parent(&dir)).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed(source)),
        }
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StateError::InUse { dir }),
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        remove_unfinished(&dir).map_err(failed)?;
        #[cfg(feature = "operate")]
        let trail = Trail::open(&dir).map_err(failed)?;
        Ok(Self {
            dir,
            #[cfg(feature = "operate")]
            trail,
            _lock: lock,
        })
    }

    /// The keeper of what is on the disk; of nothing, where nothing was written yet. Blocks.
    ///
    /// # Errors
    /// [`StateError::Read`] and [`StateError::Kept`].
    pub fn keeper(&self, node: &NodeName) -> Result<Keeper, StateError> {
        let file = self.file();
        let text = match read_text(&file, KEPT_BYTES_MAX as u64) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(StateError::Read { file, source }),
        };
        Keeper::open(node, text.as_deref(), Mutants::default()).map_err(|source| StateError::Kept { file, source })
    }

    /// Puts what a node keeps in the place of what is there. Once it returns, it is on the disk, and so is the name by
    /// which it is found. Where it fails, the disk may hold the one or the other: tell
    /// [`Keeper::handle_written`], and do not try again. Blocks.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn write(&self, kept: &Kept) -> Result<(), StateError> {
        let replace = || {
            let mut unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.dir)?;
            unfinished.write_all(kept.to_text().as_bytes())?;
            unfinished.as_file().sync_all()?;
            unfinished.persist(self.file())?;
            sync_dir(&self.dir)
        };
        replace().map_err(|source| StateError::Write { file: self.file(), source })
    }

    /// What operators have asked of the node.
    #[cfg(feature = "operate")]
    pub(crate) fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Writes something beside the record, and takes it away again: whether the disk would take it. Blocks.
    pub(crate) fn probe(&self) -> io::Result<()> {
        let mut unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.dir)?;
        unfinished.write_all(b"a probe")?;
        unfinished.as_file().sync_all()?;
        unfinished.close()?;
        sync_dir(&self.dir)
    }

    fn file(&self) -> PathBuf {
        self.dir.join(RECORD)
    }
}

/// What a process that was killed in the middle of a write has left.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn parent(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A name in a directory is not on the disk before the directory is.
#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Directories cannot be opened here; the system writes names with their files.
#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn private() -> fs::DirBuilder {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(not(unix))]
fn private() -> fs::DirBuilder {
    fs::DirBuilder::new()
}

const LOCK: &str = "lock";
const RECORD: &str = "record";
const UNFINISHED: &str = ".record-";

#[cfg(test)]
mod tests;
