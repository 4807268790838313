//! rexi's own three migrations, each in the order it has to follow: one server per node, batched kills, tagged replies.
//!
//! Source: CouchDB's public history; G5 and G6 of docs/safety.md are what went wrong with the last two.

use super::data::{Behaviour, MessageForm, MessageForms, ProtocolChange, Role, Unknown};

/// All of them.
pub fn known() -> [ProtocolChange; 3] {
    [server_per_node(), kill_all(), tagged_reply()]
}

/// One server for all nodes is replaced by one server per remote node.
pub fn server_per_node() -> ProtocolChange {
    let [cast_old, cast_new, kill_old, kill_new] = [0, 1, 2, 3];
    ProtocolChange {
        name: "server-per-node".to_owned(),
        about: "one server for all nodes is replaced by one server per remote node".to_owned(),
        forms: vec![
            form("cast to the singleton", Role::Start, SINGLETON, Unknown::Breach),
            form("cast to the per-node server", Role::Start, PER_NODE, Unknown::Breach),
            form("kill to the singleton", Role::End, SINGLETON, Unknown::Ignored),
            form("kill to the per-node server", Role::End, PER_NODE, Unknown::Ignored),
        ],
        releases: vec![
            release("1.0", &[cast_old, kill_old], &[cast_old, kill_old]),
            remembering("1.1", &[cast_old, cast_new, kill_old, kill_new], &[cast_old, kill_old]),
            remembering("1.2", &[cast_old, cast_new, kill_old, kill_new], &[cast_new, kill_old, kill_new]),
            release("2.0", &[cast_new, kill_new], &[cast_new, kill_new]),
        ],
    }
}

/// Many kills in one message, which old nodes cannot read.
pub fn kill_all() -> ProtocolChange {
    let [cast, kill, kill_all] = [0, 1, 2];
    ProtocolChange {
        name: "kill-all".to_owned(),
        about: "kills are sent in batches, which old nodes cannot read".to_owned(),
        forms: vec![
            form("cast", Role::Start, SERVER, Unknown::Breach),
            form("single kill", Role::End, SERVER, Unknown::Breach),
            form("batch of kills", Role::End, SERVER, Unknown::Breach),
        ],
        releases: vec![
            release("before", &[cast, kill], &[cast, kill]),
            release("accept", &[cast, kill, kill_all], &[cast, kill]),
            release("emit", &[cast, kill, kill_all], &[cast, kill_all]),
            release("retire", &[cast, kill_all], &[cast, kill_all]),
        ],
    }
}

/// Replies carry a tag, which callers of old do not expect.
pub fn tagged_reply() -> ProtocolChange {
    let [cast, kill, plain, tagged] = [0, 1, 2, 3];
    ProtocolChange {
        name: "tagged-reply".to_owned(),
        about: "replies carry a tag, which old callers do not expect".to_owned(),
        forms: vec![
            form("cast", Role::Start, SERVER, Unknown::Breach),
            form("kill", Role::End, SERVER, Unknown::Breach),
            form("plain reply", Role::Answer, SERVER, Unknown::Breach),
            form("tagged reply", Role::Answer, SERVER, Unknown::Breach),
        ],
        releases: vec![
            release("before", &[cast, kill, plain], &[cast, kill, plain]),
            release("accept", &[cast, kill, plain, tagged], &[cast, kill, plain]),
            release("emit", &[cast, kill, plain, tagged], &[cast, kill, tagged]),
            release("retire", &[cast, kill, tagged], &[cast, kill, tagged]),
        ],
    }
}

fn form(name: &str, role: Role, server: &str, unknown: Unknown) -> MessageForm {
    MessageForm { name: name.to_owned(), role, server: server.to_owned(), unknown }
}

fn release(name: &str, accepts: &[usize], emits: &[usize]) -> Behaviour {
    let forms = |places: &[usize]| places.iter().copied().collect::<MessageForms>();
    Behaviour { name: name.to_owned(), accepts: forms(accepts), emits: forms(emits), remembers: false }
}

/// A release whose kills also go to where their call was cast.
fn remembering(name: &str, accepts: &[usize], emits: &[usize]) -> Behaviour {
    Behaviour { remembers: true, ..release(name, accepts, emits) }
}

const SINGLETON: &str = "singleton";
const PER_NODE: &str = "per-node server";
const SERVER: &str = "server";
