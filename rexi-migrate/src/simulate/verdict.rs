//! What only a simulation can see: who was connected with whom, who kept to which phase, how the cluster came to rest.
//!
//! What the ledgers show, the judge of `history/` finds in them. This asks the rest, as a list of oracles, so that the
//! tests can show that each finds something that no other finds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::ledger::Event;
use super::seen::{Settled, Tally};
use super::skew::Skew;
use crate::history::evidence::Evidence;
use crate::history::judge::{Finding, Judgement};
use crate::history::ledger::{CallNumber, Entry, NodeIndex, Outcome};
use crate::verdict::invariant::Invariant;
use crate::verdict::oracle::oracles;

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// What it breaks.
    pub rule: Rule,
    /// What happened, in a sentence.
    pub what: String,
    /// When it was seen, since the scenario began.
    pub at: Duration,
    /// The call, where it is about one.
    pub call: Option<CallNumber>,
}

/// What a breach is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An invariant of docs/safety.md.
    Listed(Invariant),
    /// The test's own.
    Own,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(invariant) => invariant.fmt(f),
            Self::Own => f.write_str("your invariant"),
        }
    }
}

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
}

/// Names of nodes, as breaches use them.
fn node(number: usize) -> String {
    format!("n{}", number + 1)
}

/// A scenario that is over.
pub(super) struct Scenario<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) events: &'a [(Duration, Event)],
    pub(super) tally: &'a Tally,
    pub(super) settled: &'a Settled,
    pub(super) now: Duration,
}

impl Scenario<'_> {
    /// Everything that is wrong: what the judge has found, and what only a simulation can see.
    pub(super) fn breaches(&self, judged: &Judgement) -> Vec<Breach> {
        // A plan drove all of it, so nothing excuses evidence that contradicts itself.
        debug_assert_eq!(judged.doubts, [""; 0], "the ledgers are whole");
        judged.findings().iter().map(|finding| self.found(finding)).chain(self.asked(Oracles::ALL)).collect()
    }

    /// What the ledgers show to be wrong, as the judge has found it.
    fn found(&self, finding: &Finding) -> Breach {
        let example = finding.examples.first();
        let seen_us = example.and_then(|example| example.answered_us.max(example.ended_us));
        Breach {
            rule: Rule::Listed(finding.invariant),
            what: example
                .map_or_else(|| finding.to_string(), |example| format!("{}: {}", finding.told(), example.line(0))),
            at: seen_us.map_or(self.now, Duration::from_micros),
            call: example.and_then(|example| example.call).map(|id| id.call),
        }
    }

    /// Everything that these oracles find.
    fn asked(&self, oracles: Oracles) -> Vec<Breach> {
        let mut asked = Asked { oracles, breaches: Vec::new() };
        self.calls(&mut asked);
        self.cluster(&mut asked);
        asked.breaches
    }

    fn calls(&self, asked: &mut Asked) {
        let Settled { silent, probes, .. } = self.settled;
        for &call in silent {
            let what = format!("{call} runs no more, and its caller was told nothing");
            asked.add(Oracle::RunsNoMore, self.now, Some(call), what);
        }
        let skew = Skew::of(self.evidence, self.events);
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
                if outcome == Outcome::Incompatible && !skew.may_refuse(process, to, record.at_us) {
                    let what = format!("{call} was refused for good, though the two nodes could speak");
                    asked.add(Oracle::RefusedForGood, at, Some(call), what);
                } else if probes.contains(&call) && outcome != Outcome::Reply {
                    let what = format!("{call} was not served, though all was well");
                    asked.add(Oracle::ProbeUnserved, at, Some(call), what);
                }
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
    breaches: Vec<Breach>,
}

impl Asked {
    fn add(&mut self, oracle: Oracle, at: Duration, call: Option<CallNumber>, what: String) {
        if self.oracles.has(oracle) {
            self.breaches.push(Breach { rule: Rule::Listed(oracle.invariant()), what, at, call });
        }
    }
}

#[cfg(test)]
mod tests;
