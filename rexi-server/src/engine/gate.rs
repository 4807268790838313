//! Who may call what: the list that an operator gives a node, checked where a cast is about to become a worker.
//!
//! In go a caller's authenticated name and the name of a function; out comes yes or no. A node without a list lets
//! every member call every function. With one, only what it names is run; everything else is answered with the exit
//! [`NotAllowed`](rexi_proto::ExitReason::NotAllowed) and counted, and it never reaches a worker or a handler.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rexi_proto::NodeName;

use crate::net::Line;

/// Which member may call which functions of a node. What it does not name is denied.
///
/// The node itself may call all of its functions, unless the list names it: then the list applies to it as to a peer.
///
/// ```
/// use rexi_server::{AllowList, NodeName};
///
/// let (n1, n2, n3) = (NodeName::new("n1")?, NodeName::new("n2")?, NodeName::new("n3")?);
/// let list = AllowList::new()
///     .allow(n1.clone(), "kv.get")
///     .allow(n1.clone(), "kv.put")
///     .allow_peer(n2.clone())
///     .allow_function("health");
/// assert!(list.allows(&n1, "kv.put") && !list.allows(&n1, "kv.drop"));
/// assert!(list.allows(&n2, "kv.drop"));
/// assert!(list.allows(&n3, "health") && !list.allows(&n3, "kv.get"));
/// # Ok::<(), rexi_server::proto::NodeNameError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a list does nothing until a node has it"]
pub struct AllowList {
    pairs: BTreeMap<NodeName, BTreeSet<Arc<str>>>,
    /// Those that may call every function.
    peers: BTreeSet<NodeName>,
    /// Those that every member may call.
    functions: BTreeSet<Arc<str>>,
}

impl AllowList {
    /// A list that allows nothing to any peer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets this member call this function.
    pub fn allow(mut self, peer: NodeName, function: &str) -> Self {
        self.pairs.entry(peer).or_default().insert(function.into());
        self
    }

    /// Lets this member call every function.
    pub fn allow_peer(mut self, peer: NodeName) -> Self {
        self.peers.insert(peer);
        self
    }

    /// Lets every member call this function.
    pub fn allow_function(mut self, function: &str) -> Self {
        self.functions.insert(function.into());
        self
    }

    /// Whether the list lets this peer call this function.
    pub fn allows(&self, peer: &NodeName, function: &str) -> bool {
        self.functions.contains(function)
            || self.peers.contains(peer)
            || self.pairs.get(peer).is_some_and(|functions| functions.contains(function))
    }

    /// The members that it names.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &NodeName> {
        self.peers.iter().chain(self.pairs.keys())
    }

    /// The functions that it names, each once.
    pub(crate) fn functions(&self) -> BTreeSet<&Arc<str>> {
        self.functions.iter().chain(self.pairs.values().flatten()).collect()
    }

    /// Whether the list says anything about this member.
    fn names(&self, peer: &NodeName) -> bool {
        self.peers.contains(peer) || self.pairs.contains_key(peer)
    }
}

/// A node's list, and the callers that it has turned away.
#[derive(Debug)]
pub(crate) struct Gate {
    list: ArcSwapOption<AllowList>,
    line: Line<1>,
}

impl Gate {
    pub(crate) fn new(list: Option<AllowList>) -> Self {
        Self { list: ArcSwapOption::from_pointee(list), line: Line::default() }
    }

    /// Whether `caller` may call `function` of the node `own`. At most one line a second is logged about those that may
    /// not.
    pub(crate) fn admits(&self, own: &NodeName, caller: &NodeName, function: &str) -> bool {
        let list = self.list.load();
        let Some(list) = list.as_deref() else { return true };
        if list.allows(caller, function) || caller == own && !list.names(own) {
            return true;
        }
        if self.line.next().is_some() {
            tracing::warn!(node = %own, peer = %caller, function, "denied a cast that the allow-list does not name");
        }
        false
    }

    pub(crate) fn set(&self, list: Option<AllowList>) {
        self.list.store(list.map(Arc::new));
    }

    /// The list as it is now.
    pub(crate) fn list(&self) -> Option<Arc<AllowList>> {
        self.list.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).expect("a name")
    }

    #[test]
    fn a_node_may_call_itself_until_a_list_names_it() {
        let (own, peer) = (name("n1"), name("n2"));
        let admits = |list: Option<AllowList>, caller: &NodeName| Gate::new(list).admits(&own, caller, "f");
        assert!(admits(None, &peer) && admits(None, &own));
        assert!(!admits(Some(AllowList::new()), &peer) && admits(Some(AllowList::new()), &own));
        let list = AllowList::new().allow(own.clone(), "g").allow(peer.clone(), "f");
        assert!(admits(Some(list.clone()), &peer) && !admits(Some(list.clone()), &own));
        assert!(admits(Some(list.allow_function("f")), &own));
    }

    #[test]
    fn a_name_is_compared_as_a_whole() {
        let list = AllowList::new().allow(name("n1"), "kv.get");
        for (peer, function) in [("n1", "kv.get2"), ("n1", "kv"), ("n1", "KV.GET"), ("n1", ""), ("n11", "kv.get")] {
            assert!(!list.allows(&name(peer), function), "{peer} {function}");
        }
    }
}
