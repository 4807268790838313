//! The changes of the protocol that are known beforehand: what a train declares, in the order in which it does, and two
//! of rexi's own messages, batched kills and tagged replies.
//!
//! Source of the latter: CouchDB's public history; G5 and G6 of docs/safety.md are what went wrong with them.

use rexi_proto::{Form, Migration, Stage};

use super::data::{self, Behaviour, MessageForm, MessageForms, ProtocolChange, Role, Unknown};
use crate::path::{Changing, UpgradePath};

/// What the releases of a path change, a migration each; and two changes of rexi's own messages.
pub fn known(train: &UpgradePath) -> Vec<ProtocolChange> {
    let mut known = of_train(train);
    known.extend([kill_all(), tagged_reply()]);
    known
}

/// The migrations that the releases of a path go on in, each through the releases in which it does, and the functions
/// that come or go on the way.
pub fn of_train(train: &UpgradePath) -> Vec<ProtocolChange> {
    let numbers = 0..train.at(0).migrations().count();
    let migrations = numbers.map(|number| {
        let (migration, _) = train.at(0).migrations().nth(number).expect("every release has all of them");
        let all = (0..train.len()).map(|release| (train.name(release), train.at(release).stage_at(number)));
        of_migration(migration, &data::changes(all, |(_, one), (_, other)| one == other))
    });
    let rows = train.changing().iter().filter_map(|changing| match changing {
        Changing::Function(row) => Some(ProtocolChange::of_functions(&row.name, std::slice::from_ref(row), train)),
        Changing::Migration(..) => None,
    });
    migrations.filter(|change| change.releases.len() > 1).chain(rows).collect()
}

fn of_migration(migration: &Migration, stages: &[(String, Stage)]) -> ProtocolChange {
    match (migration.function(Form::Old), migration.function(Form::New)) {
        (Some(old), Some(new)) => of_functions(migration.key().as_str(), [old, new], stages),
        _ => server_per_node(stages),
    }
}

/// Calls of one function become calls of another.
fn of_functions(key: &str, functions: [&str; 2], stages: &[(String, Stage)]) -> ProtocolChange {
    let behaviour = |(release, stage): &(String, Stage)| {
        let taken = [Form::Old, Form::New].map(|form| stage.takes().contains(form));
        let accepts = (0..2).filter(|&place| taken[place]).collect();
        let emits = MessageForms::of(usize::from(stage.highest().says() == Form::New));
        // A kill names its call, whichever function that is of.
        Behaviour { name: release.clone(), accepts, emits, remembers: true }
    };
    let [old, new] = functions;
    ProtocolChange {
        name: key.to_owned(),
        about: format!("calls of {old} become calls of {new}"),
        forms: functions.map(|name| form(&format!("call of {name}"), Role::Start, name, Unknown::Breach)).into(),
        releases: stages.iter().map(behaviour).collect(),
    }
}

/// One server for all nodes is replaced by one server per remote node.
fn server_per_node(stages: &[(String, Stage)]) -> ProtocolChange {
    let [cast_old, cast_new, kill_old, kill_new] = [0, 1, 2, 3];
    let behaviour = |(name, stage): &(String, Stage)| match stage {
        Stage::Absent => release(name, &[cast_old, kill_old], &[cast_old, kill_old]),
        Stage::Introduce => remembering(name, &[cast_old, cast_new, kill_old, kill_new], &[cast_old, kill_old]),
        Stage::Switch => remembering(name, &[cast_old, cast_new, kill_old, kill_new], &[cast_new, kill_old, kill_new]),
        Stage::Remove => release(name, &[cast_new, kill_new], &[cast_new, kill_new]),
    };
    ProtocolChange {
        name: "server-per-node".to_owned(),
        about: "one server for all nodes is replaced by one server per remote node".to_owned(),
        forms: vec![
            form("cast to the singleton", Role::Start, SINGLETON, Unknown::Breach),
            form("cast to the per-node server", Role::Start, PER_NODE, Unknown::Breach),
            form("kill to the singleton", Role::End, SINGLETON, Unknown::Ignored),
            form("kill to the per-node server", Role::End, PER_NODE, Unknown::Ignored),
        ],
        releases: stages.iter().map(behaviour).collect(),
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
