//! Whether two nodes could speak with each other, moment by moment, from what the ledgers have of their lives.
//!
//! A node that was refused for good reports so for every call until it learns otherwise. So a refusal is in order for
//! as long as the two are too far apart, and until the next handshake that can come through.

use std::time::Duration;

use rexi_proto::{Phase, Stage};

use super::ledger::ScenarioEvent;
use crate::history::evidence::{Evidence, ProcessEnd, ProcessRecord};
use crate::history::ledger::{Entry, NodeIndex};
use crate::path::{Place, UpgradePath};

/// All lives of a scenario, and when its links were not as at first.
pub(super) struct Skew<'a> {
    train: &'a UpgradePath,
    lives: Vec<Life>,
    /// From when on links were worse, or as at first again.
    faults: Vec<(u64, bool)>,
}

struct Life {
    node: NodeIndex,
    release: Place,
    began_us: u64,
    ended_us: Option<u64>,
    /// Its phases, each from when on and of which migration.
    phases: Vec<(u64, u8, Phase)>,
}

impl<'a> Skew<'a> {
    pub(super) fn of(evidence: &Evidence, events: &[(Duration, ScenarioEvent)], train: &'a UpgradePath) -> Self {
        let lives = evidence.processes.iter().filter_map(|process| Life::of(train, process)).collect();
        let fault = |(at, event): &(Duration, ScenarioEvent)| {
            let worse = match event {
                ScenarioEvent::Did(op) if op.is_fault() => true,
                ScenarioEvent::Healed => false,
                _ => return None,
            };
            Some((u64::try_from(at.as_micros()).unwrap_or(u64::MAX), worse))
        };
        Self { train, lives, faults: events.iter().filter_map(fault).collect() }
    }

    /// Whether a caller's life, by its place, may tell its calls to a node, at a time, that the two cannot speak.
    pub(super) fn may_refuse(&self, by: usize, to: NodeIndex, at_us: u64) -> bool {
        let others: Vec<&Life> = self.lives.iter().filter(|life| life.node == to && life.began_us <= at_us).collect();
        let last = others.iter().enumerate().filter_map(|(place, life)| {
            let last = self.last_apart(&self.lives[by], life, at_us)?;
            // Nobody says otherwise until the next life does.
            let is_end = life.ended_us == Some(last);
            Some(if is_end { others.get(place + 1).map_or(at_us, |next| next.began_us) } else { last })
        });
        let last = last.max();
        // What is said after a fault is as old as the fault.
        last.is_some_and(|last| at_us.saturating_sub(last.max(self.last_fault(at_us))) <= STALE_MAX_US)
    }

    /// The last moment up to `until` at which the two lives could not speak.
    fn last_apart(&self, one: &Life, other: &Life, until_us: u64) -> Option<u64> {
        let ended = |life: &Life| life.ended_us.map_or(until_us, |at| at.min(until_us));
        let (from, to) = (one.began_us.max(other.began_us), ended(one).min(ended(other)));
        if from > to {
            return None;
        }
        if !one.release.is_near(other.release) {
            return Some(to);
        }
        // A phase holds until the next; moments at which one changes cut time into stretches.
        let mut cuts: Vec<u64> = one.phases.iter().chain(&other.phases).map(|&(at, ..)| at.clamp(from, to)).collect();
        cuts.extend([from, to]);
        cuts.sort_unstable();
        let apart = |at: u64| {
            let says = |sender: &Life, receiver: &Life| {
                let taken = |(number, (_, stage)): (u8, (_, Stage))| {
                    let phase = sender.phase_at(number, at);
                    phase.is_none_or(|phase| stage.takes().contains(phase.says()))
                };
                (0..).zip(self.train.profile(receiver.release).migrations()).all(taken)
            };
            !says(one, other) || !says(other, one)
        };
        cuts.windows(2).rev().find(|two| apart(two[0])).map(|two| two[1]).or_else(|| apart(to).then_some(to))
    }

    /// The last moment up to `until` at which a link was not as at first.
    fn last_fault(&self, until_us: u64) -> u64 {
        match self.faults.iter().rev().find(|(at, _)| *at <= until_us) {
            Some((_, true)) => until_us,
            Some(&(at, false)) => at,
            None => 0,
        }
    }
}

impl Life {
    fn of(train: &UpgradePath, process: &ProcessRecord) -> Option<Self> {
        let ledger = process.ledger.as_ref().ok()?;
        let phase = |record: &crate::history::ledger::Record| match record.entry {
            Entry::PhaseChanged { migration, phase } => Some((record.at_us, migration, phase)),
            _ => None,
        };
        let left = ledger.records.iter().rev().find(|record| record.entry == Entry::Drained);
        Some(Self {
            node: process.node,
            release: train.places().find(|&place| *train.profile(place).release() == ledger.header.release)?,
            began_us: ledger.header.began_us,
            ended_us: match process.end {
                ProcessEnd::KilledNine { at_us } | ProcessEnd::Crashed { at_us } => Some(at_us),
                // From when it was asked on it was still there.
                ProcessEnd::Drained { .. } => left.map(|record| record.at_us),
                ProcessEnd::LiveAtEnd => None,
            },
            phases: ledger.records.iter().filter_map(phase).collect(),
        })
    }

    fn phase_at(&self, migration: u8, at_us: u64) -> Option<Phase> {
        let before = |&&(since, of, _): &&(u64, u8, Phase)| since <= at_us && of == migration;
        self.phases.iter().rev().find(before).map(|&(_, _, phase)| phase)
    }
}

/// A second between two tries, and a try's own limits.
const STALE_MAX_US: u64 = 8_000_000;
