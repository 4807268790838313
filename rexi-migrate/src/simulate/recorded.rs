//! What must hold of a record over the history of all disks, and of what operators were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rexi_proto::Release;
use rexi_proto::record::{ClusterChange, ClusterRecord, CommandOutcome, OperatorCommand};

use super::records::{History, Told, forbids};
use crate::history::ledger::NodeIndex;
use crate::name::node_name;
use crate::verdict::case::Witness;

/// When something was seen, and what.
pub(super) type Found = (Duration, String);

impl History {
    /// A node that ran, or was spoken to, though a disk forbade it.
    pub(super) fn unbarred(&self) -> Option<Found> {
        self.unbarred.first().cloned()
    }

    /// A disk whose floor or epoch fell while nobody emptied it.
    pub(super) fn fell(&self) -> Option<Found> {
        let mut last: BTreeMap<usize, (u64, Release)> = BTreeMap::new();
        for written in &self.writes {
            let record = written.kept.as_ref().and_then(|kept| kept.record.as_ref());
            let Some(record) = record else {
                // What is written before there is a record has none to fall from.
                if written.kept.is_none() {
                    last.remove(&written.node);
                }
                continue;
            };
            let now = (record.epoch, record.floor);
            if let Some(was) = last.insert(written.node, now)
                && (now.0 < was.0 || now.1 < was.1)
            {
                let of = node_name(written.node);
                let what =
                    format!("the disk of {of} fell from epoch {} and {} to {} and {}", was.0, was.1, now.0, now.1);
                return Some((written.at, what));
            }
        }
        None
    }

    /// Two disks that had different records of one epoch, neither of which is void.
    pub(super) fn differ(&self) -> Option<Found> {
        let mut seen: BTreeMap<u64, Vec<(usize, &ClusterRecord)>> = BTreeMap::new();
        for written in &self.writes {
            let Some(record) = written.kept.as_ref().and_then(|kept| kept.record.as_deref()) else { continue };
            let of_epoch = seen.entry(record.epoch).or_default();
            // What a member had that was forgotten is void.
            let forgets = |record: &ClusterRecord, node: usize| {
                let forgotten = record.forgotten.iter().find(|(name, _)| name.as_str() == node_name(node));
                forgotten.is_some_and(|(_, &at)| at >= record.epoch)
            };
            let other = of_epoch
                .iter()
                .find(|(node, other)| *other != record && !forgets(other, written.node) && !forgets(record, *node));
            if let Some((node, _)) = other {
                let (one, two) = (node_name(*node), node_name(written.node));
                return Some((written.at, format!("{one} and {two} had different records of epoch {}", record.epoch)));
            }
            if !of_epoch.contains(&(written.node, record)) {
                of_epoch.push((written.node, record));
            }
        }
        let forked = |told: &&Told| matches!(told.outcome, CommandOutcome::Fork(_));
        self.told.iter().find(forked).map(|told| (told.at, format!("{} was told: {}", told.by, told.outcome.told())))
    }

    /// An operator who was told what the disks do not say.
    pub(super) fn told_wrong(&self) -> Option<Found> {
        let wrong = |told: &Told| {
            let OperatorCommand::Make(change) = &told.command else { return None };
            let what = match &told.outcome {
                CommandOutcome::Done(epoch) => self.lacks(told, change, *epoch)?,
                CommandOutcome::Refused(_) | CommandOutcome::Unknown(_) | CommandOutcome::Theirs { .. } => {
                    let epoch = self.records().find(|record| *record.by == told.by)?.epoch;
                    format!("and epoch {epoch} is what it asked for")
                }
                _ => return None,
            };
            Some((
                told.at,
                format!("{} asked to {} and was told: {}; {what}", told.by, change.told(), told.outcome.told()),
            ))
        };
        self.told.iter().find_map(wrong).or_else(|| self.made_twice())
    }

    /// An operator whose one change was made at two epochs.
    fn made_twice(&self) -> Option<Found> {
        let told = self.told.iter().find(|told| {
            let epochs: BTreeSet<u64> =
                self.records().filter(|record| *record.by == told.by).map(|record| record.epoch).collect();
            epochs.len() > 1
        })?;
        Some((told.at, format!("what {} asked for was made twice", told.by)))
    }

    /// What the disks lack of a change that was told to be done.
    fn lacks(&self, told: &Told, change: &ClusterChange, epoch: u64) -> Option<String> {
        let made = |record: &&ClusterRecord| {
            record.epoch == epoch && (matches!(change, ClusterChange::Begin { .. }) || change.is_made(Some(record)))
        };
        let Some(record) = self.records().find(made) else {
            return Some(format!("no record of epoch {epoch} says so"));
        };
        let before = || self.writes.iter().filter(|written| written.at <= told.at);
        let emptied: BTreeSet<usize> = before().filter(|w| w.kept.is_none()).map(|written| written.node).collect();
        let has = |name: &str| {
            let of = |node: usize| node_name(node) == name;
            emptied.iter().any(|&node| of(node))
                || before().any(|w| of(w.node) && w.kept.as_ref().is_some_and(|kept| kept.epoch() >= epoch))
        };
        let lacking = record.members.iter().find(|member| !has(member.as_str()))?;
        Some(format!("{lacking} does not have it"))
    }

    fn records(&self) -> impl Iterator<Item = &ClusterRecord> {
        self.writes.iter().filter_map(|written| written.kept.as_ref()?.record.as_deref())
    }

    /// Whether a disk ever forbade a node, or a release that it ran: who meets it may have told it so.
    pub(super) fn ever_barred(&self, node: NodeIndex, releases: &[Release]) -> bool {
        let name = node_name(usize::from(node.0));
        let kept = self.writes.iter().filter_map(|written| written.kept.as_deref());
        { kept }.any(|kept| {
            let forgotten = kept.record.iter().flat_map(|record| record.forgotten.keys());
            { forgotten }.any(|forgotten| forgotten.as_str() == name)
                || releases.iter().any(|&release| forbids(kept, release))
        })
    }

    /// How often each case was met.
    pub(super) fn met(&self) -> [(Witness, u64); 4] {
        let count = |is: fn(&Told) -> bool| self.told.iter().filter(|told| is(told)).count() as u64;
        let is_made =
            |told: &Told| matches!((&told.command, &told.outcome), (OperatorCommand::Make(_), CommandOutcome::Done(_)));
        let is_resumed =
            |told: &Told| matches!((&told.command, &told.outcome), (OperatorCommand::Resume, CommandOutcome::Done(_)));
        [
            (Witness::RecordMoved, count(is_made)),
            (Witness::ChangeResumed, count(is_resumed)),
            (Witness::ChangeAborted, count(|told| matches!(told.outcome, CommandOutcome::Aborted { .. }))),
            (Witness::OperatorRefused, count(|told| matches!(told.outcome, CommandOutcome::Theirs { .. }))),
        ]
    }
}
