//! What a command says: text for people or one JSON object for tools, and the exit code, which the object has too.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::ValueEnum;
use rexi_proto::operate::{MemberLook, PhaseLook};
use rexi_proto::record::CommandOutcome;
use rexi_proto::{MigrationKey, NodeName, Phase};
use serde_json::{Value, json};

use crate::cli::shared::print;
use crate::columns::wrapped;
use crate::live::{Check, Cluster, Found};

/// Done, or there was nothing to do.
pub(super) const DONE: u8 = 0;
/// No: a check failed, or a member refused. Nothing changed.
pub(super) const NO: u8 = 1;
/// It could not be told.
pub(super) const UNTOLD: u8 = 3;
/// Recorded, and not everywhere yet.
pub(super) const UNDER_WAY: u8 = 4;
/// Another operator's change came first, or what was planned on has moved.
pub(super) const THEIRS: u8 = 5;

/// With `--detailed-exitcode`: nothing was changed, and there is something to change.
pub(super) const WOULD_CHANGE: u8 = 6;

/// How a command says what it has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people, in lines of 80 columns.
    Text,
    /// One object, for tools.
    Json,
}

/// What came of a command.
#[derive(Debug)]
pub(super) struct Said {
    format: Format,
    code: u8,
    text: String,
    parts: serde_json::Map<String, Value>,
}

impl Said {
    pub(super) fn new(format: Format, command: &str) -> Self {
        let mut parts = serde_json::Map::new();
        parts.insert("format_version".to_owned(), json!(FORMAT_VERSION));
        parts.insert("command".to_owned(), json!(command));
        Self { format, code: DONE, text: String::new(), parts }
    }

    pub(super) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Adds text as it is.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.text += text;
        self
    }

    /// Adds a sentence, wrapped.
    pub(super) fn line(mut self, line: &str) -> Self {
        self.text += &wrapped("", "  ", line);
        self.text.push('\n');
        self
    }

    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        self.parts.insert(key.to_owned(), value);
        self
    }

    pub(super) fn with_cluster(self, cluster: &Cluster) -> Self {
        let json = cluster_json(cluster);
        self.with("cluster", json)
    }

    pub(super) fn with_checks(self, checks: &[Check]) -> Self {
        let json = checks.iter().map(check_json).collect();
        self.with("checks", json)
    }

    /// What came of what members were asked, with the code that it means.
    pub(super) fn with_outcome(self, outcome: &CommandOutcome) -> Self {
        let (kind, code, nodes) = outcome_parts(outcome);
        let told = outcome.told();
        let json = json!({ "kind": kind, "text": told, "nodes": nodes });
        self.code(code).line(&told).with("outcome", json)
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.code == UNDER_WAY
    }

    pub(super) fn tell(mut self) -> ExitCode {
        match self.format {
            Format::Text => print(&self.text),
            Format::Json => {
                self.parts.insert("exit_code".to_owned(), json!(self.code));
                print(&format!("{:#}\n", Value::Object(self.parts)));
            }
        }
        ExitCode::from(self.code)
    }
}

fn outcome_parts(outcome: &CommandOutcome) -> (&'static str, u8, Vec<String>) {
    let names = |nodes: &mut dyn Iterator<Item = &NodeName>| nodes.map(NodeName::to_string).collect();
    match outcome {
        CommandOutcome::Done(_) => ("done", DONE, Vec::new()),
        CommandOutcome::Already(_) => ("already", DONE, Vec::new()),
        CommandOutcome::Refused(whys) => ("refused", NO, names(&mut whys.keys())),
        CommandOutcome::Unknown(nodes) => ("unknown", UNTOLD, names(&mut nodes.iter())),
        CommandOutcome::UnderWay(nodes) => ("under_way", UNDER_WAY, names(&mut nodes.iter())),
        CommandOutcome::Theirs { .. } => ("theirs", THEIRS, Vec::new()),
        CommandOutcome::Aborted { .. } => ("aborted", DONE, Vec::new()),
        CommandOutcome::Spared(nodes) => ("spared", DONE, names(&mut nodes.iter())),
        CommandOutcome::Blocked(nodes) => ("blocked", UNDER_WAY, names(&mut nodes.iter())),
        CommandOutcome::Overtaken(_) => ("overtaken", UNTOLD, Vec::new()),
        CommandOutcome::Fork(_) => ("fork", UNTOLD, Vec::new()),
    }
}

fn check_json(check: &Check) -> Value {
    json!({
        "name": check.name,
        "result": check.found.as_str(),
        "seen": check.seen,
        "wanted": check.wanted,
        "do": if check.todo.is_empty() { Value::Null } else { json!(check.todo) },
        "ignored": check.ignored,
    })
}

/// The code that checks mean: a failure counts before what could not be told.
pub(super) fn code_of(checks: &[Check]) -> u8 {
    let any = |found: Found| checks.iter().any(|check| check.found == found && check.ignored.is_none());
    match () {
        () if any(Found::Fail) => NO,
        () if any(Found::Unknown) => UNTOLD,
        () => DONE,
    }
}

fn cluster_json(cluster: &Cluster) -> Value {
    let record = cluster.record().map(|record| {
        json!({
            "epoch": record.epoch,
            "digest": record.digest().to_string(),
            "floor": record.floor.to_string(),
            "top": record.top.to_string(),
            "way_back": if record.floor == record.top { "closed" } else { "open" },
            "ceilings": ceilings_json(&record.ceilings),
            "members": record.members.iter().map(NodeName::to_string).collect::<Vec<_>>(),
            "forgotten": object(record.forgotten.iter().map(|(node, at)| (node.to_string(), json!(at)))),
            "by": &*record.by,
            "at": record.at,
        })
    });
    let brakes = cluster.brakes();
    let brakes = brakes.iter().map(|(node, brake)| {
        let brake = json!({ "ceilings": ceilings_json(&brake.ceilings), "by": &*brake.by, "at": brake.at });
        (node.to_string(), brake)
    });
    let names =
        |nodes: &mut dyn Iterator<Item = &NodeName>| -> Vec<String> { nodes.map(NodeName::to_string).collect() };
    let transition = cluster.transition().map(|open| {
        json!({
            "what": open.what,
            "by": &*open.by,
            "at": open.at,
            "yes": names(&mut open.yes.iter()),
            "done": names(&mut open.done.iter()),
            "waited_for": names(&mut open.waited_for.iter()),
        })
    });
    let answered = cluster.answered().map(|(node, look)| (node.to_string(), member_json(look)));
    let silent = cluster.silent().map(|(node, why)| (node.to_string(), json!({ "reached": false, "problem": why })));
    json!({
        "name": cluster.name(),
        "record": record,
        "brakes": object(brakes),
        "transition": transition,
        "members": object(answered.chain(silent)),
    })
}

fn ceilings_json(ceilings: &BTreeMap<MigrationKey, Phase>) -> Value {
    object(ceilings.iter().map(|(key, phase)| (key.to_string(), json!(phase.as_str()))))
}

fn object(entries: impl Iterator<Item = (String, Value)>) -> Value {
    Value::Object(entries.collect())
}

fn member_json(look: &MemberLook) -> Value {
    let kept = look.answer.as_ref().map(|answer| &answer.kept);
    let phase = |look: &PhaseLook| {
        let (migration, phase) = (look.migration.to_string(), look.phase.as_str());
        json!({ "migration": migration, "phase": phase, "limit": look.limit })
    };
    let peers = look
        .peers
        .iter()
        .map(|(node, peer)| (node.to_string(), json!({ "connected": peer.is_connected, "problem": peer.problem })));
    json!({
        "reached": true,
        "release": look.version.to_string(),
        "rexi": look.rexi.to_string(),
        "build": look.life.build.to_string(),
        "incarnation": look.life.incarnation.0,
        "epoch": kept.map(|kept| kept.epoch()),
        "digest": kept.and_then(|kept| kept.record.as_ref()).map(|record| record.digest().to_string()),
        "anew": kept.and_then(|kept| kept.anew),
        "phases": look.phases.iter().map(phase).collect::<Vec<_>>(),
        "peers": object(peers),
        "source": look.source.as_ref().map(|source| {
            json!({ "problem": source.problem, "ceilings": ceilings_json(&source.ceilings) })
        }),
        "jobs": look.jobs,
        "oldest_job_ms": look.oldest_job_ms,
        "drain_limit_ms": look.drain_limit_ms,
        "calls": look.calls,
        "draining": look.draining,
        "unready": look.unready,
        "holds": look.holds,
        "disk_problem": look.disk_problem,
        "certificate_expires": look.certificate_expires,
        "pool_left_percent": look.pool_left,
        "singleton_quiet_ms": look.singleton.as_ref().map(|singleton| singleton.quiet_ms),
    })
}

/// The version of the JSON. Keys are added within one, and never renamed, removed or given another meaning.
const FORMAT_VERSION: u32 = 1;
