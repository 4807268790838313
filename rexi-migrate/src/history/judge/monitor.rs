//! Monitors: those that fired without a good reason, and those that should have fired and did not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::finding::{Example, FindingKind, Findings};
use super::join::{Joined, Process};
use crate::history::ledger::{Entry, MonitorNumber, NodeIndex};

/// Monitors told that a node has no server, while the process of that node which they were set on lived and was not
/// asked to leave: of one that has ended since, the word may only have come late.
pub(super) fn find_unserved(joined: &Joined<'_>, found: &mut Findings) {
    for process in &joined.processes {
        for watch in watches(process) {
            let Some((at_us, NO_SERVER)) = watch.fired else { continue };
            let Some(target) = joined.process_at(watch.on, at_us) else { continue };
            if target.header.began_us > watch.since_us || target.end.at_us().is_some_and(|ended| ended <= at_us) {
                continue;
            }
            found.add(FindingKind::MonitorUnserved, || Example {
                caller: Some(process.header.node.to_string()),
                caller_release: Some(process.header.release.to_string()),
                target: Some(target.header.node.to_string()),
                target_release: Some(target.header.release.to_string()),
                answered_us: Some(at_us),
                note: Some(format!("monitor {}", watch.number.0)),
                ..Example::default()
            });
        }
    }
}

/// What is silent is a finding where the time is virtual, and a doubt on machines, which may be slow.
pub(super) fn find_silent(joined: &Joined<'_>, silent: Vec<String>, found: &mut Findings) {
    for note in silent.into_iter().filter(|_| joined.simulated) {
        found.add(FindingKind::MonitorSilent, || Example { note: Some(note), ..Example::default() });
    }
}

pub(super) fn silence(joined: &Joined<'_>) -> Option<String> {
    if joined.simulated {
        return None;
    }
    let silent = silent(joined);
    let first = silent.first()?;
    let (count, seconds) = (silent.len(), SILENCE.as_secs());
    let monitors = if count == 1 { "monitor" } else { "monitors" };
    Some(format!("{count} {monitors} stayed silent for {seconds} s after the watched process had ended: {first}"))
}

/// Monitors that outlived a process of the node they watch by [`SILENCE`] and did not fire, each in words.
pub(super) fn silent(joined: &Joined<'_>) -> Vec<String> {
    let mut silent = Vec::new();
    let limit_us = u64::try_from(SILENCE.as_micros()).unwrap_or(u64::MAX);
    for process in &joined.processes {
        // Of a process that lives, no more is known than it wrote.
        let last_us = process.records.last().map_or(process.header.began_us, |record| record.at_us);
        let gone_us = process.end.at_us().map_or(last_us, |_| process.gone_us);
        for watch in watches(process).filter(|watch| watch.fired.is_none()) {
            let ends = joined.processes.iter().filter(|p| p.header.index == watch.on);
            let first =
                ends.filter_map(|p| Some((p.end.at_us().filter(|&at| at > watch.since_us)?, p))).min_by_key(|e| e.0);
            let Some((ended_us, target)) = first else { continue };
            if Joined::awake_us([process], ended_us, watch.until_us.unwrap_or(gone_us)) >= limit_us {
                let (by, on) = (joined.name(process), joined.name(target));
                silent.push(format!("monitor {} of {by} on {on}", watch.number.0));
            }
        }
    }
    silent
}

/// One monitor, from its start to its end.
struct Watch {
    number: MonitorNumber,
    on: NodeIndex,
    since_us: u64,
    /// When it fired, and the code of the reason.
    fired: Option<(u64, u8)>,
    /// When it fired or was taken away.
    until_us: Option<u64>,
}

/// All monitors of a process, by number.
fn watches(process: &Process<'_>) -> impl Iterator<Item = Watch> {
    let mut watches = BTreeMap::new();
    for record in process.records {
        let at_us = record.at_us;
        match record.entry {
            Entry::Monitored { monitor: number, on } => {
                watches.insert(number, Watch { number, on, since_us: at_us, fired: None, until_us: None });
            }
            Entry::MonitorDown { monitor, reason } => {
                let Some(watch) = watches.get_mut(&monitor) else { continue };
                (watch.fired, watch.until_us) = (Some((at_us, reason)), Some(at_us));
            }
            Entry::Demonitored { monitor } => {
                let Some(watch) = watches.get_mut(&monitor) else { continue };
                watch.until_us = Some(at_us);
            }
            _ => {}
        }
    }
    watches.into_values()
}

/// The ledger's code for a target that has no such server.
const NO_SERVER: u8 = 2;

/// How long after an end a monitor of it may be silent: as long as the protocol may take to notice one (`evidence.rs`).
pub(super) const SILENCE: Duration = Duration::from_secs(25);
