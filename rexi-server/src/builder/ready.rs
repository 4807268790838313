//! What a service itself says of its node, beside what the node knows: whether it is ready, and whether it may stop.

#[cfg(feature = "admin")]
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::NodeBuilder;
use crate::engine::{NodeStatus, ServiceCheck};

#[cfg(feature = "admin")]
impl NodeBuilder {
    /// A check of the service's own that `/readyz` makes beside the node's: whether its store can be written, say.
    /// While it is an error, the node is not ready, and the probe shows the reason as `[-] name: reason`, in one line.
    /// The node serves all the same: an orchestrator sends it no clients meanwhile.
    ///
    /// It is called at each probe, on a thread of the runtime: it must answer at once from what is known, without
    /// waiting for a disk or a peer. What depends on other nodes does not belong here: where all are unready at once,
    /// nobody serves, and a rolling upgrade waits for itself.
    ///
    /// [`NodeBuilder::start`] fails where the name is not one word, is another check's, or one of the node's own:
    /// `started`, `admitting`, `admitted`, `recorded`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// use rexi_server::NodeBuilder;
    ///
    /// fn register(node: NodeBuilder, has_failed: Arc<AtomicBool>) -> NodeBuilder {
    ///     node.ready_check("store", move || match has_failed.load(Ordering::Relaxed) {
    ///         true => Err("the disk is full"),
    ///         false => Ok(()),
    ///     })
    /// }
    /// ```
    pub fn ready_check<E: fmt::Display>(
        mut self,
        name: &str,
        check: impl Fn() -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let check = move |_: &NodeStatus| check().map_err(in_one_line);
        self.ready_checks.0.push((name.to_owned(), Box::new(check)));
        self
    }
}

impl NodeBuilder {
    /// A check of the service's own of whether this node may stop now, which operators' tools ask before they restart
    /// it: an error says what would be lost, such as a majority of replicas. It is given the node's status, and must
    /// answer at once, as [`NodeBuilder::ready_check`]; unlike that, it may look at other nodes.
    ///
    /// ```
    /// use rexi_server::{NodeBuilder, NodeStatus, PeerPresence};
    ///
    /// fn register(node: NodeBuilder) -> NodeBuilder {
    ///     node.stop_check("quorum", |status: &NodeStatus| {
    ///         let others = status.peers.iter().filter(|peer| peer.name != status.name);
    ///         let connected = others.filter(|peer| peer.presence == PeerPresence::Connected).count();
    ///         match 2 * connected > status.peers.len() {
    ///             true => Ok(()),
    ///             false => Err(format!("without it {connected} of {} are left", status.peers.len())),
    ///         }
    ///     })
    /// }
    /// ```
    pub fn stop_check<E: fmt::Display>(
        mut self,
        name: &str,
        check: impl Fn(&NodeStatus) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let check = move |status: &NodeStatus| check(status).map_err(in_one_line);
        self.stop_checks.0.push((name.to_owned(), Box::new(check)));
        self
    }

    /// How long jobs will be given when the node leaves, for operators' tools, which say where a job has run for longer
    /// already. Default: 30 s, as of `drain.limit_ms`. [`Node::shutdown`](crate::Node::shutdown) goes by its argument.
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.drain_limit = limit;
        self
    }
}

/// A line for each check, whatever it says.
fn in_one_line(reason: impl fmt::Display) -> String {
    reason.to_string().replace(['\r', '\n'], " ")
}

/// The service's checks, in the order in which they are shown.
#[derive(Default)]
pub(super) struct Checks(pub(super) Vec<(String, Box<ServiceCheck>)>);

#[cfg(feature = "admin")]
impl Checks {
    /// The first name that a check of readiness cannot have.
    pub(super) fn name_at_fault(&self) -> Option<&str> {
        let mut taken = BTreeSet::from(["started", "admitting", "admitted", "recorded"]);
        let mut names = self.0.iter().map(|(name, _)| name.as_str());
        let is_word = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
        names.find(|name| !is_word(name) || !taken.insert(name))
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
