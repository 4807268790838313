//! The systems, each behind the same two calls: an echo, and a stream of items.
//!
//! Handlers do the same in all of them: they are started as the system starts handlers, and return what they were
//! given.

pub(crate) mod rexi;
pub(crate) mod frames;
pub(crate) mod tls;
pub(crate) mod quinn;
pub(crate) mod tcp;
pub(crate) mod tarpc;
pub(crate) mod tonic;
pub(crate) mod irpc;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use clap::ValueEnum;

use crate::cli::Setup;
use crate::failure::Failure;

/// A system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum System {
    Rexi,
    Quinn,
    Tcp,
    Tarpc,
    Tonic,
    Irpc,
}

/// What is between the two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl System {
    /// Its key on the command line.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Rexi => "rexi",
            Self::Quinn => "quinn",
            Self::Tcp => "tcp",
            Self::Tarpc => "tarpc",
            Self::Tonic => "tonic",
            Self::Irpc => "irpc",
        }
    }

    /// What it is, for the foot of the tables.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Rexi => {
                "rexi-server, per-node-only: a worker per job, polled where its cast is read and a task if it has to \
                 wait, typed arguments and replies (shape checked), jobs that can be killed, mTLS"
            }
            Self::Quinn => {
                "raw frames on one QUIC stream, the limit: quinn with rexi's transport settings (but its own window), \
                 batched writes, a slot table, a task per request, mTLS; nothing else"
            }
            Self::Tcp => "the same frames over TCP: no encryption",
            Self::Tarpc => {
                "tarpc 0.38 over TCP, its frames in postcard (its default, bincode, is unmaintained): no \
                 encryption, no streams"
            }
            Self::Tonic => "tonic 0.14 with prost over HTTP/2, mTLS",
            Self::Irpc => "irpc 0.17 over noq, a QUIC stream per request, an actor that starts a task each, mTLS",
        }
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Rexi | Self::Quinn | Self::Irpc => Transport::Udp,
            Self::Tcp | Self::Tarpc | Self::Tonic => Transport::Tcp,
        }
    }

    pub(crate) fn has_streams(self) -> bool {
        self != Self::Tarpc
    }
}

/// The caller's side of a system, connected.
pub(crate) trait Caller: Clone + Send + Sync + 'static {
    /// Has the server return `body`.
    fn echo(&self, body: Bytes) -> impl Future<Output = Result<Bytes, Failure>> + Send;

    /// Asks for a stream and hands each item to `take`, until it has come to its end or `take` says that it is enough.
    fn items(
        &self,
        ask: Items,
        take: impl FnMut(&[u8]) -> Taken + Send,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A stream to ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Items {
    pub(crate) count: u64,
    pub(crate) bytes: u32,
    /// How many may be unacknowledged, of those systems that acknowledge items.
    pub(crate) window: u32,
}

/// Whether another item is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    More,
    Enough,
}

/// An item of a stream, as all servers send it.
pub(crate) fn item(bytes: u32) -> Bytes {
    Bytes::from(vec![ITEM_BYTE; bytes as usize])
}

/// What items consist of.
pub(crate) const ITEM_BYTE: u8 = 0x69;

/// The addresses of all members of a cell, by name.
#[derive(Debug)]
pub(crate) struct Members(BTreeMap<String, SocketAddr>);

impl Members {
    pub(crate) fn read(setup: &Setup) -> Result<Self, Failure> {
        Ok(Self(serde_json::from_slice(&std::fs::read(&setup.members)?)?))
    }

    pub(crate) fn address(&self, name: &str) -> Result<SocketAddr, Failure> {
        self.0.get(name).copied().ok_or_else(|| Failure::new(format!("no member is called {name}")))
    }

    /// The address of the process itself, of those systems that have one name each.
    pub(crate) fn own(&self, setup: &Setup) -> Result<SocketAddr, Failure> {
        self.address(setup.names.first().map_or("", String::as_str))
    }

    /// The address of the one peer, of those systems that have one.
    pub(crate) fn peer(&self, setup: &Setup) -> Result<SocketAddr, Failure> {
        self.address(setup.peers.first().map_or("", String::as_str))
    }
}

#[cfg(test)]
mod tests;
