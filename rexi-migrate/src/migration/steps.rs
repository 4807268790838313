//! The steps of a migration in words: what each changes, what has to be true before it, and the way back.
//!
//! All of it is read from the rows: a form may be said once everybody understands it, and forgotten once nobody says
//! it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::data::{MessageForms, ProtocolChange};

/// One step of a migration: every node goes from one release to the next, one node at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanStep {
    /// The release before.
    pub from: String,
    /// The release after.
    pub to: String,
    /// What nodes do differently after it.
    pub changes: Vec<String>,
    /// What has to be true before the first node takes it.
    pub needs: Vec<String>,
    /// How it is taken back, and until when.
    pub way_back: String,
}

/// The steps of a migration, in order.
pub fn steps(migration: &ProtocolChange) -> Vec<PlanStep> {
    (1..migration.releases.len()).map(|to| step(migration, to)).collect()
}

fn step(migration: &ProtocolChange, to: usize) -> PlanStep {
    let (before, after) = (&migration.releases[to - 1], &migration.releases[to]);
    let gained = |one: MessageForms, other: MessageForms| other.without(one);
    let (accepted, dropped) = (gained(before.accepts, after.accepts), gained(after.accepts, before.accepts));
    let (emitted, silenced) = (gained(before.emits, after.emits), gained(after.emits, before.emits));
    let mut changes = Vec::new();
    let mut say = |what: &str, forms: MessageForms| {
        if !forms.is_empty() {
            changes.push(format!("{what} {}", migration.names(forms)));
        }
    };
    say("understands", accepted);
    say("says", emitted);
    say("no longer says", silenced);
    say("no longer understands", dropped);
    if before.remembers != after.remembers {
        let what = if after.remembers { "also goes" } else { "no longer goes" };
        changes.push(format!("a kill {what} where its call was cast, whatever is said by then"));
    }
    let mut needs =
        vec![format!("every node runs {}, and has for as long as its oldest call may be open", before.name)];
    let understood = emitted.without(emitted.without(before.accepts));
    if !understood.is_empty() {
        needs.push(format!("every node understands {}, since {} does", migration.names(understood), before.name));
    }
    if !dropped.is_empty() {
        needs.push(format!("no node says {} any more: its counter stands still everywhere", migration.names(dropped)));
        let gone: BTreeSet<&str> =
            servers(migration, before.accepts).difference(&servers(migration, after.accepts)).copied().collect();
        for server in gone {
            needs.push(format!("no job runs on the {server}, and no stream is open there, on any node"));
        }
    }
    let flips = before.accepts == after.accepts;
    let way_back = match (flips, migration.releases.get(to + 1)) {
        (true, _) => format!("at run time, with calls open, or by restarting node by node into {}", before.name),
        (false, Some(next)) => {
            format!("restart node by node into {}, as long as no node has gone on to {}", before.name, next.name)
        }
        (false, None) => format!("restart node by node into {}, as long as the upgrade is not finalized", before.name),
    };
    PlanStep { from: before.name.clone(), to: after.name.clone(), changes, needs, way_back }
}

fn servers(migration: &ProtocolChange, forms: MessageForms) -> BTreeSet<&str> {
    forms.iter().map(|form| migration.forms[form].server.as_str()).collect()
}
