//! What a node records of its members besides calls: that a connection is gone.

use rexi_server::Node;
use rexi_server::membership::{EventsMissed, MemberEvent};

use super::load::index_of;
use crate::history::ledger::Entry;

/// The record that a member's connection is gone: what ends of that has no other cause in any ledger.
pub(crate) fn away(node: &Node, event: Result<MemberEvent, EventsMissed>) -> Vec<Entry> {
    let names = match event {
        Ok(MemberEvent::Down(name, _)) => vec![name],
        Ok(_) => Vec::new(),
        // Some connection may be gone; of which member is not known, and every end of all of them is in doubt.
        Err(EventsMissed(_)) => node.members(),
    };
    names.iter().filter_map(index_of).map(|node| Entry::Away { node }).collect()
}
