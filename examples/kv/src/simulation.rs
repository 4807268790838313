//! The store in simulated upgrades: writes and reads of clients at every moment of one, and what must be true in the
//! end.
//!
//! Each scenario has replicas of its own, which outlive the crashes of their nodes as files do. Out: an error where a
//! write that was acknowledged is gone, or where a linearizable read has met less than was there before it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rexi_migrate::simulate::Simulation;
use rexi_server::testing::TestCluster;
use rexi_server::{Bytes, Node, NodeName};

use crate::coordinator::Kv;
use crate::replica::{self, Consistency};
use crate::store::Store;
use crate::version::Version;

/// A simulation whose every run has stores of its own.
pub fn simulation() -> Simulation {
    Simulation::new().each(|run| {
        let world = Arc::new(World::default());
        let [defined, acted, checked] = [(); 3].map(|()| Arc::clone(&world));
        run.define(move |node, name, _| replica::serve(node, &defined.store(name)))
            .act(move |node, number| Arc::clone(&acted).act(node, number))
            .check(move |cluster| Arc::clone(&checked).check(cluster))
    })
}

/// A scenario.
#[derive(Default)]
struct World {
    stores: Mutex<BTreeMap<NodeName, Store>>,
    keys: Mutex<BTreeMap<String, Version>>,
    stale: Mutex<Vec<String>>,
}

impl World {
    fn store(&self, name: &NodeName) -> Store {
        lock(&self.stores).entry(name.clone()).or_insert_with(Store::in_memory).clone()
    }

    /// A write, or a read of some consistency, of one of the keys.
    async fn act(self: Arc<Self>, node: Node, number: u16) {
        let (key, kind) = (format!("k{}", number / KINDS), usize::from(number % KINDS));
        let kv = Kv::new(node);
        let Some(&consistency) = Consistency::ALL.get(kind) else {
            // What is refused, or may have happened, was promised to nobody.
            if let Ok(version) = kv.write(&key, Bytes::from_static(b"value")).await {
                self.promise(&key, version);
            }
            return;
        };
        let floor = lock(&self.keys).get(&key).cloned();
        let Ok(found) = kv.read(&key, consistency).await else { return };
        let found = found.map(|entry| entry.version);
        if consistency != Consistency::One && found < floor {
            lock(&self.stale).push(format!("a {consistency} read of {key} met {found:?}, and {floor:?} was there"));
        }
        if let Some(found) = found.filter(|_| consistency == Consistency::Linearizable) {
            self.promise(&key, found);
        }
    }

    /// No later read of a majority may meet less.
    fn promise(&self, key: &str, version: Version) {
        let mut keys = lock(&self.keys);
        let floor = keys.entry(key.to_owned()).or_insert_with(|| version.clone());
        if version > *floor {
            *floor = version;
        }
    }

    async fn check(self: Arc<Self>, cluster: Arc<TestCluster>) -> Result<(), String> {
        let kv = Kv::new(cluster.node("n1"));
        let keys = lock(&self.keys).clone();
        for (key, floor) in keys {
            let found = kv.read(&key, Consistency::Linearizable).await.map_err(|error| error.to_string())?;
            if found.as_ref().is_none_or(|entry| entry.version < floor) {
                return Err(format!("{key} is {found:?} in the end, and {floor} was acknowledged"));
            }
        }
        lock(&self.stale).first().map_or(Ok(()), |stale| Err(stale.clone()))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().expect("nothing panics while it holds this")
}

/// Kinds of actions: a read of each consistency, and a write.
const KINDS: u16 = 4;

/// Different actions of a client.
pub const ACTIONS: u16 = 3 * KINDS;
