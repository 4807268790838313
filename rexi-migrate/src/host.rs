//! What a rehearsal takes from the machine it runs on: signals, a directory for logs and ledgers, the wall clock.
//!
//! In: where the operator wants the files, if anywhere. Out: the first signal that ends a run; a path. What a signal
//! means for the run is left to `rehearse.rs`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a run early.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on these signals do not end the process.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them. Cancel safe.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

/// Where a run's logs and ledgers lie.
#[derive(Debug)]
pub(crate) enum Directory {
    /// Where the operator wants them; they stay.
    Named(PathBuf),
    /// They go when this is dropped.
    Temporary(TempDir),
}

impl Directory {
    /// Takes a directory that is new or empty.
    pub(crate) fn named(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        if std::fs::read_dir(path)?.next().is_some() {
            return Err(io::Error::other("it is not empty; name a new or an empty directory"));
        }
        std::path::absolute(path).map(Self::Named)
    }

    /// Makes one that goes with this value.
    pub(crate) fn temporary() -> io::Result<Self> {
        tempfile::Builder::new().prefix("rexi-rehearse-").tempdir().map(Self::Temporary)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }

    /// Leaves it on disk.
    pub(crate) fn keep(self) -> PathBuf {
        match self {
            Self::Named(path) => path,
            Self::Temporary(directory) => directory.keep(),
        }
    }
}

/// Microseconds since 1970 on the wall clock, which all processes of this machine share.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_micros().try_into().unwrap_or(u64::MAX)
}
