//! What a rehearsal takes from the machine it runs on: signals, a directory for logs and ledgers, ports.
//!
//! In: where the operator wants the files, if anywhere. Out: the first signal that ends a run; a path; addresses. What
//! a signal means for the run is left to `rehearse.rs`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rand::RngExt;
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
            return Err(io::Error::other("it is not empty; name a new or empty directory"));
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

/// Addresses for this many nodes on the loopback interface, on ports that are free now.
///
/// Nothing holds a node's port while the node is down, so the ports lie where the system gives none to others; and they
/// are drawn anew for each run, so that two runs at once keep apart, of one seed too.
pub(crate) fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let first = rand::rng().random_range(PORTS);
    let ports = (first..PORTS.end).chain(PORTS.start..first);
    let mut bound = Vec::new();
    let mut failed = None;
    for port in ports {
        if bound.len() == count {
            break;
        }
        // For TCP too, at which a node may serve HTTP.
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        match tcp.and_then(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, port))) {
            Ok(socket) => bound.push(socket),
            Err(error) => failed = Some(error),
        }
    }
    if bound.len() < count {
        return Err(failed.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable)));
    }
    bound.iter().map(UdpSocket::local_addr).collect()
}

/// Below the ports that Linux (from 32768) and others (from 49152) give to those who ask for any port.
const PORTS: Range<u16> = 20_000..30_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_free_distinct_and_outside_the_ports_that_others_are_given() {
        let addresses = free_addresses(32).expect("ports");
        let ports: std::collections::BTreeSet<u16> = addresses.iter().map(SocketAddr::port).collect();
        assert_eq!(ports.len(), 32);
        assert!(ports.iter().all(|port| PORTS.contains(port)), "{ports:?}");
        assert!(free_addresses(PORTS.len() + 1).is_err());
    }
}
