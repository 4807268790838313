//! What a service adds to its own rehearsal: what its nodes serve, and the clients that use them meanwhile.
//!
//! A service that implements [`Workload`] rehearses its own upgrade in its own program, by a
//! [`Tool`](crate::Tool::workload). Each node of the rehearsal is that program again. `examples/kv` does so.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;

use rexi_server::{CancellationToken, Node, NodeBuilder, NodeName};
use serde::Serialize;

use crate::verdict::conclusion::Conclusion;

/// A future of a workload.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whatever a workload fails with; its text is told.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A service that is rehearsed alongside the casts that every rehearsal makes.
pub trait Workload: Send + Sync + 'static {
    /// In the process of a node, at each of its starts: adds the functions to its description. What is to outlive a
    /// `kill -9` belongs into a file in [`Site::dir`].
    ///
    /// # Errors
    /// What keeps the node from starting.
    fn define(&self, node: NodeBuilder, site: &Site) -> Result<NodeBuilder, BoxError>;

    /// In the process of a node, once it runs: serves clients until `stop` is cancelled, then ends what is under way.
    /// An end before that ends the process, and so does an error.
    fn serve(&self, node: Node, site: Site, stop: CancellationToken) -> Boxed<'static, Result<(), BoxError>>;

    /// In the process of the rehearsal: clients of these nodes, in their order, that rest until they are resumed. Their
    /// choices are the seed's.
    fn clients(&self, nodes: &[SocketAddr], seed: u64) -> Boxed<'static, Box<dyn Clients>>;
}

/// Where a node of a rehearsal lives.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name.
    pub name: NodeName,
    /// Where it listens for other nodes, over UDP. The same port is its own over TCP.
    pub listen: SocketAddr,
    /// The directory of the run, which all nodes share and which outlives their processes.
    pub dir: PathBuf,
}

/// The clients of a service that is rehearsed.
pub trait Clients: Send {
    /// Go on.
    fn resume(&mut self);

    /// Wait until what is under way is done, and begin nothing new.
    fn pause(&mut self) -> Boxed<'_, ()>;

    /// Come to rest for good, and look once more at all that was promised. Every node runs by then.
    fn finish(&mut self) -> Boxed<'_, ()>;

    /// What came of it, in a run with this many `kill -9`s.
    fn account(&self, kills: usize) -> Account;
}

/// What the clients of a service have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The workload's name.
    pub name: &'static str,
    /// All of it in a sentence or two.
    pub summary: String,
    /// Its figures, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// What was promised and not kept: the run is unsafe.
    pub breaches: Vec<String>,
    /// Why it proves nothing, if so: the run could not tell.
    pub doubts: Vec<String>,
}

impl Account {
    /// What it means for the run.
    pub fn conclusion(&self) -> Conclusion {
        match self {
            _ if !self.breaches.is_empty() => Conclusion::Unsafe,
            _ if !self.doubts.is_empty() => Conclusion::CouldNotTell,
            _ => Conclusion::Safe,
        }
    }
}
