//! A replicated key-value store: an example of a service that embeds `rexi-server`.
//!
//! Every node holds all keys in a file of its own, and any node takes requests. A request's way, in the order of the
//! modules:
//!
//! ```text
//!   curl ─► http ─► coordinator (Kv) ══ rexi: kv.read, kv.version, kv.write ══► replica ─► store (redb, one thread)
//! ```
//!
//! It stays linearizable while a minority of the nodes is down, by the protocol of Attiya, Bar-Noy and Dolev: see
//! [`Kv`]. `node` puts these parts together into one process, `cluster` starts three of them, and `client` speaks to
//! them; `register` says whether what clients met is possible; `rehearsal` and `simulation` take the store through its
//! upgrades, and `planted` has some that are not safe.

pub mod http;
mod coordinator;
pub mod replica;
mod sparse;
mod store;
mod version;
mod train;
pub mod node;
pub mod cluster;
pub mod client;
pub mod register;
pub mod rehearsal;
pub mod simulation;
pub mod planted;

pub use coordinator::{CALL_LIMIT, KEY_BYTES_MAX, Kv, KvError, VALUE_BYTES_MAX};
pub use replica::{Consistency, ReadConsistency};
pub use store::{BATCH_MAX, OpenError, QUEUE_MAX, Store, StoreError};
pub use train::train;
pub use version::{Entry, Version, VersionError};
