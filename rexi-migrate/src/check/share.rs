//! One copy of what is the same in many states: there are many open states, but few nodes and peers that make them up.
//!
//! Fingerprints tell what is the same, as everywhere in a search. What no state holds any longer is dropped when a
//! table has doubled.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use rexi_proto::Peer;

use super::state::{Pair, Printed};
use crate::search::Fingerprint;

/// The copies that states share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) peers: Table<Peer<u16>>,
    pub(super) nodes: Table<Printed>,
    pub(super) pairs: Table<Pair>,
}

/// The copies of one kind, in parts, so that threads seldom wait for each other.
#[derive(Debug)]
pub(super) struct Table<T>([Mutex<Part<T>>; PARTS]);

#[derive(Debug)]
struct Part<T> {
    copies: HashMap<u128, Arc<T>>,
    /// How many there are when those are let go that nobody holds.
    purge_at: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(Part { copies: HashMap::new(), purge_at: PURGE_AT_LEAST })))
    }
}

impl<T> Table<T> {
    /// Puts the copy of this fingerprint into the place of `own`, or makes `own` that copy.
    pub(super) fn share(&self, print: Fingerprint, own: &mut Arc<T>) {
        let part = &self.0[(print.0 >> 64) as usize % PARTS];
        let mut part = part.lock().expect("no thread panics under the lock");
        match part.copies.entry(print.0) {
            Entry::Occupied(copy) => *own = Arc::clone(copy.get()),
            Entry::Vacant(place) => {
                place.insert(Arc::clone(own));
                if part.copies.len() >= part.purge_at {
                    part.copies.retain(|_, copy| Arc::strong_count(copy) > 1);
                    part.purge_at = PURGE_AT_LEAST.max(2 * part.copies.len());
                }
            }
        }
    }
}

const PARTS: usize = 64;

/// Copies in a part below which nothing is let go.
const PURGE_AT_LEAST: usize = 1_024;
