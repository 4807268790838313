//! The functions that nodes call of each other: to ask what a replica holds of a key, and to tell it to hold an entry.

use rexi_server::{Context, NodeBuilder};

use crate::store::{Store, StoreError};
use crate::version::{Entry, Version};

rexi_server::function! {
    /// What the replica holds of a key; `None` where it has never heard of it.
    pub Read = "kv.read" (String) -> Option<Entry>, error StoreError, since 1.0;
    /// The version of that, without the value.
    pub ReadVersion = "kv.version" (String) -> Option<Version>, error StoreError, since 1.0;
    /// Keeps the entry, unless a later one is held. Answered when what is held is on disk. Twice is as good as once.
    pub Write = "kv.write" (String, Entry) -> (), error StoreError, since 1.0;
}

/// Serves the functions of a replica with this store.
pub fn serve(node: NodeBuilder, store: &Store) -> NodeBuilder {
    let (reads, versions, writes) = (store.clone(), store.clone(), store.clone());
    node.serve(Read, move |_job: Context, key| std::future::ready(reads.read(&key)))
        .serve(ReadVersion, move |_job, key| std::future::ready(versions.version(&key)))
        .serve(Write, move |_job, (key, entry)| {
            let store = writes.clone();
            async move { store.write(key, entry).await }
        })
}
