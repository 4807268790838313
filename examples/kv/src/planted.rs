//! Changes of the store's functions that are not safe, and the same done safely: the tools tell them apart.

use clap::ValueEnum;
use rexi_migrate::wire::{Lock, LockError};

use crate::store::StoreError;

/// A change that is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Planted {
    /// A function is called in the release that brings it.
    Eager,
    /// A function is gone in the release after the last that calls it.
    Early,
    /// One comes and one goes, each with a release in which it is run and not called.
    Safe,
}

rexi_server::function! {
    EagerPurge = "kv.purge" (String) -> (), error StoreError, since 2.1;
    SafePurge = "kv.purge" (String) -> (), error StoreError, since 2.1, emitted 2.2;
    EarlyCount = "kv.count" () -> u64, error StoreError, since 1.0, retired 2.2;
    SafeCount = "kv.count" () -> u64, error StoreError, since 1.0, silent 2.1, retired 2.2;
}

impl Planted {
    /// The lock with the functions of the change.
    ///
    /// # Errors
    /// As [`Lock::function`].
    pub fn lock(self, lock: Lock) -> Result<Lock, LockError> {
        match self {
            Self::Eager => lock.function(EagerPurge),
            Self::Early => lock.function(EarlyCount),
            Self::Safe => lock.function(SafePurge)?.function(SafeCount),
        }
    }
}
