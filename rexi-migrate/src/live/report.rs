//! The state of a cluster, and checks, as text of 80 columns.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use rexi_proto::operate::MemberLook;
use rexi_proto::{MigrationKey, NodeName, Phase};

use super::checks::{Check, Found};
use super::cluster::{Cluster, Standstill};
use crate::clock::{ago, utc};
use crate::columns::{hanging, table, wrapped};

/// A cluster, as `live status` prints it.
pub(crate) fn status_text(cluster: &Cluster, now: u64) -> String {
    let mut text = String::new();
    let mut say = |line: String| writeln!(text, "{line}").expect("a text takes what is written");
    let name = cluster.name().unwrap_or("unknown");
    match cluster.record() {
        None => say(format!("cluster {name}: no record yet; `live init` begins one")),
        Some(record) => {
            let window = match record.floor == record.top {
                true => format!("release {} alone", record.floor),
                false => format!("releases {} to {}, way back OPEN", record.floor, record.top),
            };
            say(format!("cluster {name}, epoch {}: {window}", record.epoch));
            let at = utc(UNIX_EPOCH + Duration::from_secs(record.at));
            say(format!("last change by {}, {at} ({})", record.by, ago(record.at, now)));
            if !record.ceilings.is_empty() {
                say(hanging("ceilings: ", &listed(&record.ceilings)));
            }
            let forgotten: Vec<&str> = record.forgotten.keys().map(NodeName::as_str).collect();
            if !forgotten.is_empty() {
                say(hanging("forgotten: ", &forgotten.join(", ")));
            }
        }
    }
    for (node, brake) in cluster.brakes() {
        say(hanging("brake: ", &format!("{}, put on at {node} by {}", listed(&brake.ceilings), brake.by)));
    }
    say(members(cluster));
    for (node, look) in cluster.answered() {
        let is_member = cluster.record().is_none_or(|record| record.members.contains(node));
        let is_void = look.answer.as_ref().is_some_and(|answer| cluster.is_void(node, &answer.kept));
        notes(look, is_member, is_void).into_iter().for_each(|note| say(hanging(&format!("{node} "), &note)));
    }
    if let Some(open) = cluster.transition() {
        say(wrapped("", "  ", &format!("under way: {} ({}, {})", open.what, open.by, ago(open.at, now))));
        let named = |nodes: &BTreeSet<NodeName>| nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
        for (what, nodes) in [("said yes", &open.yes), ("has it", &open.done), ("waited for", &open.waited_for)] {
            if !nodes.is_empty() {
                say(hanging(&format!("  {what}: "), &named(nodes)));
            }
        }
    }
    for (node, why) in cluster.silent() {
        say(hanging(&format!("{node} does not answer: "), why));
    }
    say(wrapped("", "  ", &verdict(cluster)));
    text
}

fn listed(ceilings: &BTreeMap<MigrationKey, Phase>) -> String {
    ceilings.iter().map(|(key, phase)| format!("{key}={phase}")).collect::<Vec<_>>().join(", ")
}

/// One sentence: what holds the cluster, and what to do.
fn verdict(cluster: &Cluster) -> String {
    match cluster.standstill() {
        Some(Standstill::Fork) => {
            "STOP: two members have different records, which cannot be: change nothing, and report it".to_owned()
        }
        Some(Standstill::UnderWay) => {
            "a change is under way: `live resume` goes on, `live abort` gives it up".to_owned()
        }
        Some(Standstill::Unreached) => {
            "could not tell: a member does not answer. Start it, or have it forgotten: `live forget`".to_owned()
        }
        None if cluster.record().is_none() => "nothing is settled: `live init` begins the record".to_owned(),
        None => "settled: nothing is under way".to_owned(),
    }
}

fn members(cluster: &Cluster) -> String {
    let mut table = table(["node", "release", "phase", "on disk", "connected", "jobs"]);
    let of = cluster.answered().count();
    for (node, look) in cluster.answered() {
        let seen = cluster.answered().filter(|(_, other)| other.peers.get(node).is_some_and(|peer| peer.is_connected));
        let phases: BTreeSet<&str> = look.phases.iter().map(|phase| phase.phase.as_str()).collect();
        let disk = match &look.answer {
            None => "no record kept".to_owned(),
            Some(answer) if answer.kept.record.is_none() => "none yet".to_owned(),
            Some(answer) => format!("epoch {}", answer.kept.epoch()),
        };
        table.add_row([
            node.to_string(),
            look.version.to_string(),
            phases.into_iter().collect::<Vec<_>>().join(", "),
            disk,
            format!("{} of {}", seen.count(), of.saturating_sub(1)),
            look.jobs.to_string(),
        ]);
    }
    table.to_string()
}

/// What is odd about a member.
fn notes(look: &MemberLook, is_member: bool, is_void: bool) -> Vec<String> {
    let kept = look.answer.as_ref().map(|answer| &answer.kept);
    // That there is no record yet is in the table.
    let is_told = |check: &str| check == "recorded" && kept.is_some_and(|kept| kept.record.is_none());
    let unready = look.unready.iter().filter(|(check, _)| !is_told(check));
    let mut notes: Vec<String> = unready.map(|(check, why)| format!("is not ready: {check}: {why}")).collect();
    if is_void {
        notes.push("was forgotten, and what its disk has is void: empty it, and it joins anew".to_owned());
    } else if !is_member {
        notes.push("is no member by the record yet: it is one with the next change".to_owned());
    }
    if look.draining {
        notes.push("is leaving".to_owned());
    }
    if let Some(since) = kept.and_then(|kept| kept.anew) {
        notes.push(format!("has a disk that came new at epoch {since}: have it forgotten with --wiped"));
    }
    if let Some(problem) = &look.disk_problem {
        notes.push(format!("has a disk that takes nothing: {problem}"));
    }
    notes
}

/// Checks, as `live preflight` prints them.
pub(crate) fn check_text(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let mark = match (check.found, &check.ignored) {
            (Found::Pass, _) => "pass   ",
            (Found::Skipped, _) => "skip   ",
            (_, Some(_)) => "ignored",
            (Found::Fail, None) => "FAIL   ",
            (Found::Unknown, None) => "UNKNOWN",
        };
        let mut say = |line: String| writeln!(text, "{line}").expect("a text takes what is written");
        say(hanging(&format!("{mark}  {:<20} ", check.name), &check.seen));
        if let (Found::Fail | Found::Unknown, None) = (check.found, &check.ignored) {
            say(hanging("         wanted: ", check.wanted));
            say(hanging("         do: ", &check.todo));
        }
        if let Some(reason) = &check.ignored {
            say(hanging("         because: ", reason));
        }
    }
    text
}
