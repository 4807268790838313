//! The functions that nodes call of each other: to ask what a replica holds of a key, and to tell it to hold an entry.
//!
//! Code is written for the newest release. What [`ReadConsistency`] says of the form before it is all that is left of
//! that: while the train goes through its releases, nodes of both kinds read from each other.

use std::fmt;
use std::str::FromStr;

use rexi_migrate::wire::{Lock, LockError};
use rexi_server::{Context, Migrate, NodeBuilder, NodeStatus, PeerPresence};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::store::{Store, StoreError};
use crate::version::{Entry, Version};

rexi_server::function! {
    /// What the replica holds of a key; `None` where it has never heard of it.
    pub Read = "kv.read" (String) -> Option<Entry>, error StoreError, since 1.0;
    /// As [`Read`], and what the read is for.
    pub ReadAs = "kv.read_as" (String, Consistency) -> Option<Entry>, error StoreError, since 2.1;
    /// The version of that, without the value.
    pub ReadVersion = "kv.version" (String) -> Option<Version>, error StoreError, since 1.0;
    /// Keeps the entry, unless a later one is held. Answered when what is held is on disk. Twice is as good as once.
    pub Write = "kv.write" (String, Entry) -> (), error StoreError, since 1.0;
}

rexi_server::migration! {
    /// Reads say how consistent they are to be.
    pub ReadConsistency = "kv.read-consistency": Read => ReadAs;
}

/// How consistent a read is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Consistency {
    /// What one replica holds: fast, there while a majority is not, and maybe old.
    One,
    /// The latest of a majority: no older than any write that was acknowledged before.
    Majority,
    /// As [`Consistency::Majority`], and no older than what any such read has returned before: what it returns is kept
    /// by a majority.
    #[default]
    Linearizable,
}

/// A text that names no consistency. Its author is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a consistency: use one, majority or linearizable")]
pub struct UnknownConsistency(String);

impl Consistency {
    /// Each of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::One, Self::Majority, Self::Linearizable];
}

impl Migrate for ReadConsistency {
    type Old = Read;

    // A replica of old cannot tell that it is asked alone, and counts on a majority beside it.
    fn to_old((key, consistency): &(String, Consistency)) -> Option<String> {
        (*consistency != Consistency::One).then(|| key.clone())
    }

    // All reads were, before they said so.
    fn from_old(key: String) -> (String, Consistency) {
        (key, Consistency::Linearizable)
    }

    fn answer_to_old(answer: Result<Option<Entry>, StoreError>) -> Result<Option<Entry>, StoreError> {
        answer
    }

    fn answer_from_old(answer: Result<Option<Entry>, StoreError>) -> Result<Option<Entry>, StoreError> {
        answer
    }
}

/// The lock with the functions of a replica.
///
/// # Errors
/// As [`Lock::function`].
pub fn lock(lock: Lock) -> Result<Lock, LockError> {
    lock.function(Read)?.function(ReadConsistency)?.function(ReadVersion)?.function(Write)
}

/// Serves the functions of a replica with this store. The node is ready while the store works.
pub fn serve(node: NodeBuilder, store: &Store) -> NodeBuilder {
    let checked = store.clone();
    let node = node.ready_check("store", move || checked.check()).stop_check("quorum", keeps_majority);
    node.serve_with(ReadConsistency, store, |store: Store, job: Context, (key, consistency)| {
        tracing::trace!(caller = %job.caller(), %consistency, "a read");
        std::future::ready(store.read(&key))
    })
    .serve_with(ReadVersion, store, |store: Store, _job, key| std::future::ready(store.version(&key)))
    .serve_with(Write, store, |store: Store, _job, (key, entry)| async move { store.write(key, entry).await })
}

/// Whether a majority of the replicas is left without this one.
fn keeps_majority(status: &NodeStatus) -> Result<(), String> {
    let others = status.peers.iter().filter(|peer| peer.name != status.name);
    let left = others.filter(|peer| peer.presence == PeerPresence::Connected).count();
    let all = status.peers.len();
    if 2 * left > all { Ok(()) } else { Err(format!("without it {left} of {all} replicas are left, and no majority")) }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "one",
            Self::Majority => "majority",
            Self::Linearizable => "linearizable",
        })
    }
}

impl FromStr for Consistency {
    type Err = UnknownConsistency;

    fn from_str(text: &str) -> Result<Self, UnknownConsistency> {
        let named = Self::ALL.into_iter().find(|consistency| consistency.to_string() == text);
        named.ok_or_else(|| UnknownConsistency(text.to_owned()))
    }
}
