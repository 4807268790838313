//! Reads and writes as a client expects them: agreed on by a majority of the replicas.
//!
//! In: a key, and a value to write. Out: what a majority holds, or an error that says whether anything was written.
//! Source: Attiya, Bar-Noy, Dolev, Sharing Memory Robustly in Message-Passing Systems, 1995; with many writers: Lynch
//! and Shvartsman, 1997.

use std::sync::Arc;
use std::time::Duration;

use rexi_server::{AskError, Bytes, CallError, Function, Node, NodeName, Quorum, Request, SendError, functions};
use thiserror::Error;

use crate::replica::{Consistency, ReadConsistency, ReadVersion, Write};
use crate::version::{Entry, Version};

/// The store as a whole, seen from one node. A clone is another handle of the same.
///
/// Any two majorities share a replica. So a write that a majority has stored is met by each majority that is read
/// later; and a read first stores what it answers with a majority that may not have it yet, so that no later read finds
/// something older. A value counts from its answer on, whichever nodes fail then, as long as a majority is there.
///
/// The replicas are the node's members at its start: a majority of a set that changes meanwhile would be none.
#[derive(Clone, Debug)]
pub struct Kv {
    node: Node,
    replicas: Arc<[NodeName]>,
}

/// Why there is no answer, and whether anything was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KvError {
    /// The caller is at fault; nothing was done.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes, this one has {bytes}")]
    Key {
        /// How many bytes it has.
        bytes: usize,
    },
    /// The caller is at fault; nothing was done.
    #[error("a value has at most {VALUE_BYTES_MAX} bytes, this one has more")]
    Value,
    /// Reads of one replica are not said yet, or not any more: the cluster is on its way through an upgrade, or an
    /// operator holds it there. Nothing was done; ask for a stronger consistency.
    #[error(
        "this node does not read of one replica yet: ask for a majority, or wait until {} has switched",
        ReadConsistency::MIGRATION
    )]
    NotYet,
    /// Too few replicas have answered. Nothing was written; try again later.
    #[error("no majority of the replicas has answered, and nothing was written: {reason}")]
    Unavailable {
        /// Which replicas have failed, and how.
        reason: String,
    },
    /// Too few replicas have said that they keep the value, and some may. Read the key to know; to write it again is
    /// as good where the key has no other writer.
    #[error("the write may or may not have happened, and may still: {reason}")]
    Unknown {
        /// Which replicas have failed, and how.
        reason: String,
    },
}

impl Kv {
    /// The store whose replicas are this node and its members.
    pub fn new(node: Node) -> Self {
        Self { replicas: node.members().into(), node }
    }

    /// The entry of a key, as new as the consistency promises: `None` where it was never written, an entry without a
    /// value where it was deleted.
    ///
    /// # Errors
    /// [`KvError::Key`], [`KvError::NotYet`], [`KvError::Unavailable`].
    pub async fn read(&self, key: &str, consistency: Consistency) -> Result<Option<Entry>, KvError> {
        let key = checked(key)?;
        if consistency == Consistency::One {
            return self.read_here(key).await;
        }
        let held = self.ask(ReadConsistency, &(key.clone(), consistency)).await.map_err(unavailable)?;
        let held: Vec<_> = held.into_iter().map(|vote| vote.value).collect();
        let latest = held.iter().max_by_key(|entry| entry.as_ref().map(|entry| &entry.version)).cloned().flatten();
        let Some(latest) = latest else { return Ok(None) };
        let all_have_it = held.iter().flatten().filter(|entry| entry.version == latest.version).count() == held.len();
        if consistency == Consistency::Linearizable && !all_have_it {
            self.store(key, &latest).await.map_err(unavailable)?;
        }
        Ok(Some(latest))
    }

    /// What this node's own replica holds.
    async fn read_here(&self, key: String) -> Result<Option<Entry>, KvError> {
        let read = self.node.ask(ReadConsistency, self.node.name(), &(key, Consistency::One)).await;
        read.map_err(|error| match error {
            AskError::Call(CallError::Send(SendError::NotSayable { .. })) => KvError::NotYet,
            error => unavailable(error),
        })
    }

    /// Writes a value, and tells its version.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn write(&self, key: &str, value: Bytes) -> Result<Version, KvError> {
        if value.len() > VALUE_BYTES_MAX { Err(KvError::Value) } else { self.replace(key, Some(value)).await }
    }

    /// Deletes a key, whether or not it is there, and tells the version of that.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn delete(&self, key: &str) -> Result<Version, KvError> {
        self.replace(key, None).await
    }

    async fn replace(&self, key: &str, value: Option<Bytes>) -> Result<Version, KvError> {
        let key = checked(key)?;
        let versions = self.ask(ReadVersion, &key).await.map_err(unavailable)?;
        let highest = versions.into_iter().filter_map(|vote| vote.value).map(|version| version.counter).max();
        let entry = Entry { version: self.next_version(highest.unwrap_or(0)), value };
        match self.store(key, &entry).await {
            Ok(()) => Ok(entry.version),
            Err(error) => Err(KvError::Unknown { reason: error.to_string() }),
        }
    }

    /// A version above this count, and unlike that of any other write.
    fn next_version(&self, highest: u64) -> Version {
        Version {
            // The count comes from a peer: it must not overflow here, however wrong it is.
            counter: highest.saturating_add(1),
            writer: self.node.name().to_string(),
            life: self.node.incarnation().0,
            write: self.node.next_call().0,
        }
    }

    /// Has a majority keep the entry; the other replicas are sent it too.
    async fn store(
        &self,
        key: String,
        entry: &Entry,
    ) -> Result<(), rexi_server::QuorumError<AskError<<Write as Function>::Error>>> {
        self.ask(Write, &(key, entry.clone())).let_rest_finish().await.map(drop)
    }

    /// Asks all replicas, for as many answers as make a majority.
    fn ask<F: Function>(&self, function: F, argument: &F::Argument) -> Quorum<F::Reply, AskError<F::Error>> {
        let request = Request::of(function, argument).time_limit(CALL_LIMIT);
        let replies = self.node.quorum(self.replicas.iter().cloned(), request).time_limit(CALL_LIMIT);
        replies.decode(move |body| functions::reply(function, &body))
    }
}

fn checked(key: &str) -> Result<String, KvError> {
    let bytes = key.len();
    if (1..=KEY_BYTES_MAX).contains(&bytes) { Ok(key.to_owned()) } else { Err(KvError::Key { bytes }) }
}

fn unavailable(error: impl std::fmt::Display) -> KvError {
    KvError::Unavailable { reason: error.to_string() }
}

/// How long a majority may take to answer. A read or a write asks for up to two answers, one after the other.
pub const CALL_LIMIT: Duration = Duration::from_secs(2);

/// The longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 256;

/// The longest value, in bytes: 1 MiB.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
