//! What only a simulation can see: who was connected with whom, who kept to which phase, how the cluster came to rest.
//!
//! What the ledgers show, the judge of `history/` finds in them. This asks the rest, as a list of oracles, so that the
//! tests can show that each finds something that no other finds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ledger::ScenarioEvent;
use super::outcome::Shows;
use super::records::History;
use super::seen::{Settled, Tally};
use super::skew::Skew;
use crate::history::evidence::Evidence;
use crate::history::judge::{Finding, Judgement};
use crate::history::ledger::{CallNumber, Entry, NodeIndex, Outcome};
use crate::name::node_name as node;
use crate::path::UpgradePath;
use crate::verdict::level::Breach;
use crate::verdict::oracle::oracles;

oracles! {
    RunsNoMore L1,
    RefusedForGood S11,
    ProbeUnserved S6,
    Skewed S11,
    Unhosted S13,
    OutOfBounds S12,
    CeilingUnheeded L5,
    StayedApart L3,
    HeldBack L4,
    RanThoughBarred S12,
    DiskFell S12,
    RecordsDiffer S14,
    ToldWrong L5,
    RecordUnsettled L4,
}

/// A scenario that is over.
pub(super) struct Scenario<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) events: &'a [(Duration, ScenarioEvent)],
    pub(super) tally: &'a Tally,
    pub(super) settled: &'a Settled,
    pub(super) history: &'a History,
    pub(super) train: &'a UpgradePath,
    pub(super) now: Duration,
}

/// A breach, and where a reader looks for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) breach: Breach,
    pub(super) shows: Shows,
}

impl Scenario<'_> {
    /// Everything that is wrong: what the judge has found, and what only a simulation can see.
    pub(super) fn breaches(&self, judged: &Judgement) -> Vec<Shown> {
        // Nothing was slow and every ledger is whole.
        assert_eq!(judged.doubts, [""; 0], "the evidence contradicts itself");
        judged.findings().iter().map(|finding| self.found(finding)).chain(self.asked(Oracles::ALL)).collect()
    }

    /// What the ledgers show to be wrong, as the judge has found it.
    fn found(&self, finding: &Finding) -> Shown {
        let example = finding.examples.first();
        let seen_us = example.and_then(|example| example.answered_us.max(example.ended_us));
        let case = example.map(|example| format!(": {}", example.line(0))).unwrap_or_default();
        Shown {
            breach: Breach { what: format!("{}{case}", finding.sentence), ..finding.into() },
            shows: Shows {
                at: seen_us.map_or(self.now, Duration::from_micros),
                call: example.and_then(|example| example.call).map(|id| id.call),
            },
        }
    }

    /// Everything that these oracles find.
    fn asked(&self, oracles: Oracles) -> Vec<Shown> {
        let mut asked = Asked { oracles, found: Vec::new() };
        self.calls(&mut asked);
        self.cluster(&mut asked);
        self.record(&mut asked);
        asked.found.into_iter().map(|(_, shown)| shown).collect()
    }

    fn calls(&self, asked: &mut Asked) {
        let Settled { silent, probes, .. } = self.settled;
        for &call in silent {
            let what = format!("{call} runs no more, and its caller was told nothing");
            asked.add(Oracle::RunsNoMore, self.now, Some(call), what);
        }
        let skew = Skew::of(self.evidence, self.events, self.train);
        for (process, ledger) in
            self.evidence.processes.iter().enumerate().filter_map(|(n, p)| Some((n, p.ledger.as_ref().ok()?)))
        {
            let mut targets: BTreeMap<CallNumber, NodeIndex> = BTreeMap::new();
            for record in &ledger.records {
                let (call, outcome) = match record.entry {
                    Entry::Cast { call, to, .. } => {
                        targets.insert(call, to);
                        continue;
                    }
                    Entry::Answered { call, outcome } => (call, outcome),
                    _ => continue,
                };
                let Some(&to) = targets.get(&call) else { continue };
                let at = Duration::from_micros(record.at_us);
                if outcome == Outcome::Incompatible
                    && !skew.may_refuse(process, to, record.at_us)
                    && !self.is_barred([ledger.header.index, to])
                {
                    let what = format!("{call} was refused for good, though the two nodes could speak");
                    asked.add(Oracle::RefusedForGood, at, Some(call), what);
                } else if probes.contains(&call) && outcome != Outcome::Reply {
                    let what = format!("{call} was not served, though all was well");
                    asked.add(Oracle::ProbeUnserved, at, Some(call), what);
                }
            }
        }
    }

    /// Whether a record ever forbade one of these nodes, or a release that it ran.
    fn is_barred(&self, nodes: [NodeIndex; 2]) -> bool {
        nodes.into_iter().any(|node| {
            let lives = self.evidence.processes.iter().filter(|process| process.node == node);
            let releases = lives.filter_map(|process| Some((&process.ledger.as_ref().ok()?.header.release).into()));
            self.history.ever_barred(node, &releases.collect::<Vec<_>>())
        })
    }

    fn record(&self, asked: &mut Asked) {
        let found = [
            (Oracle::RanThoughBarred, self.history.unbarred()),
            (Oracle::DiskFell, self.history.fell()),
            (Oracle::RecordsDiffer, self.history.differ()),
            (Oracle::ToldWrong, self.history.told_wrong()),
            (Oracle::RecordUnsettled, self.settled.unsettled.clone().map(|what| (self.now, what))),
        ];
        for (oracle, found) in found {
            if let Some((at, what)) = found {
                asked.add(oracle, at, None, what);
            }
        }
    }

    fn cluster(&self, asked: &mut Asked) {
        let (tally, now) = (self.tally, self.now);
        if let Some(&(at, one, other)) = tally.skewed.first() {
            let what = format!("{} and {} are connected, more than one release apart", node(one), node(other));
            asked.add(Oracle::Skewed, at, None, what);
        }
        if let Some(&(at, one, other)) = tally.unhosted.first() {
            let what =
                format!("{} sends to a server that {} does not run, and they are connected", node(one), node(other));
            asked.add(Oracle::Unhosted, at, None, what);
        }
        if let Some(&(at, one, phase)) = tally.out_of_bounds.first() {
            let what = format!("{} is in the phase {phase}, which its release does not have", node(one));
            asked.add(Oracle::OutOfBounds, at, None, what);
        }
        if let Some(&(at, one, phase)) = tally.unheeded.first() {
            let what = format!("{} has taken a ceiling, and stays at {phase} above it", node(one));
            asked.add(Oracle::CeilingUnheeded, at, None, what);
        }
        for &(one, other) in &self.settled.apart {
            let what = format!("{} did not come to see {} again", node(one), node(other));
            asked.add(Oracle::StayedApart, now, None, what);
        }
        for &(one, phase, expected) in &self.settled.held {
            let what = format!("{} stays at {phase}, and nothing keeps it from {expected}", node(one));
            asked.add(Oracle::HeldBack, now, None, what);
        }
    }
}

struct Asked {
    oracles: Oracles,
    found: Vec<(Oracle, Shown)>,
}

impl Asked {
    /// Tells the first that an oracle finds, and counts the others.
    fn add(&mut self, oracle: Oracle, at: Duration, call: Option<CallNumber>, what: String) {
        if !self.oracles.has(oracle) {
            return;
        }
        match self.found.iter_mut().find(|(of, _)| *of == oracle) {
            Some((_, shown)) => shown.breach.count += 1,
            None => self
                .found
                .push((oracle, Shown { breach: Breach::once(oracle.invariant(), what), shows: Shows { at, call } })),
        }
    }
}

#[cfg(test)]
mod tests;
