//! Judges a scenario by the invariants of docs/safety.md: what its ledger shows, what was seen on the way, how it came
//! to rest.
//!
//! `judge.rs` does the same for processes; here there is one ledger with one clock for all. What it asks is a list of
//! oracles, so that the tests can show that each finds something that no other finds.

use std::fmt;
use std::time::Duration;

use super::ledger::{CallNumber, CallRecord, State};
use super::seen::{Settled, Tally};
use super::service::ITEMS;
use super::skew::may_refuse;
use crate::history::ledger::{Ending, Outcome};
use crate::plan::Work;
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
    NeverRan S1,
    RunsNoMore L1,
    LateAnswer S1,
    WrongReply S8,
    OtherExit S1,
    NoSuchServer S6,
    NoSuchFunction S1,
    RefusedForGood S11,
    ReplyOfNoJob S1,
    FailureOfNoJob S1,
    ProbeUnserved S6,
    StartedTwice S2,
    RanElsewhere S2,
    KilledRuns S3,
    OrphanRuns L2,
    AnsweredRuns L2,
    ItemOutOfOrder S5,
    StreamCutShort S5,
    Skewed S11,
    Unhosted S13,
    OutOfBounds S12,
    CeilingUnheeded L5,
    StayedApart L3,
    HeldBack L4,
}

/// Names of nodes, as breaches use them.
fn node(number: usize) -> String {
    crate::name::node_name(number)
}

/// Everything that is wrong, in the order of the calls.
pub(super) fn judge(state: &State, tally: &Tally, settled: &Settled, now: Duration) -> Vec<Breach> {
    judge_by(Oracles::ALL, state, tally, settled, now)
}

/// Everything that these oracles find.
fn judge_by(oracles: Oracles, state: &State, tally: &Tally, settled: &Settled, now: Duration) -> Vec<Breach> {
    let mut judge = Judge { oracles, state, settled, now, breaches: Vec::new() };
    for (number, call) in state.calls.iter().enumerate() {
        let number = CallNumber(number);
        judge.answer(number, call);
        judge.jobs(number, call);
        judge.items(number, call);
    }
    judge.cluster(tally);
    judge.breaches
}

struct Judge<'a> {
    oracles: Oracles,
    state: &'a State,
    settled: &'a Settled,
    now: Duration,
    breaches: Vec<Breach>,
}

impl Judge<'_> {
    fn add(&mut self, oracle: Oracle, at: Duration, call: Option<CallNumber>, what: String) {
        if self.oracles.has(oracle) {
            self.breaches.push(Breach { rule: Rule::Listed(oracle.invariant()), what, at, call });
        }
    }

    fn answer(&mut self, number: CallNumber, call: &CallRecord) {
        let (now, alive) = (self.now, self.state.lives[call.by.0].ended.is_none());
        let to = call.to.map_or_else(|| "all".to_owned(), node);
        let what = format!("{number} ({} to {to})", call.work);
        if (call.is_open() && alive) || self.settled.silent.contains(&number) {
            let (oracle, ran) = if call.jobs.is_empty() {
                (Oracle::NeverRan, "never ran")
            } else {
                (Oracle::RunsNoMore, "runs no more")
            };
            self.add(oracle, now, Some(number), format!("{what} {ran}, and its caller was told nothing"));
        }
        if call.late_answers > 0 {
            self.add(Oracle::LateAnswer, now, Some(number), format!("{what} was answered after its last answer"));
        }
        let Some((at, outcome)) = call.answer else { return };
        let by_life = &self.state.lives[call.by.0];
        let by = |how| move |job: &super::ledger::JobRecord| job.ended.is_some_and(|(_, ended)| ended == how);
        let wrong = match outcome {
            Outcome::WrongReply => Some((Oracle::WrongReply, "had an answer that is not the one to its order")),
            Outcome::OtherExit => Some((Oracle::OtherExit, "ended in an exit that nothing had asked for")),
            Outcome::NoSuchServer => Some((Oracle::NoSuchServer, "found no server on a peer that counted as ready")),
            Outcome::NoSuchFunction => Some((Oracle::NoSuchFunction, "found no function, which every node has")),
            Outcome::Incompatible if !call.to.is_some_and(|to| may_refuse(self.state, by_life, to, at)) => {
                Some((Oracle::RefusedForGood, "was refused for good, though the two nodes could speak"))
            }
            Outcome::Reply if !call.jobs.iter().any(by(Ending::Done)) => {
                Some((Oracle::ReplyOfNoJob, "was answered, though no job of it was done"))
            }
            Outcome::FailedAsAsked if !call.jobs.iter().any(by(Ending::Failed)) => {
                Some((Oracle::FailureOfNoJob, "failed, though no job of it did"))
            }
            outcome if self.settled.probes.contains(&number) && outcome != Outcome::Reply => {
                Some((Oracle::ProbeUnserved, "was not served, though all was well"))
            }
            _ => None,
        };
        if let Some((oracle, wrong)) = wrong {
            self.add(oracle, at, Some(number), format!("{what} {wrong}"));
        }
    }

    fn jobs(&mut self, number: CallNumber, call: &CallRecord) {
        let on = |life: super::ledger::Life| self.state.lives[life.0].node;
        let mut found = Vec::new();
        for (place, job) in call.jobs.iter().enumerate() {
            let twice = call.jobs[..place].iter().any(|earlier| call.to.is_some() || on(earlier.on) == on(job.on));
            let place = node(on(job.on));
            if twice {
                found.push((Oracle::StartedTwice, job.started, format!("a second job of {number} started on {place}")));
            }
            if call.to.is_some_and(|to| to != on(job.on)) {
                found.push((
                    Oracle::RanElsewhere,
                    job.started,
                    format!("{number} is for another node, and ran on {place}"),
                ));
            }
            if job.ended.is_none() {
                let ended = self.state.lives[call.by.0].ended.is_some();
                let (oracle, since) = match call.killed {
                    Some(_) => (Oracle::KilledRuns, "was killed"),
                    None if ended => (Oracle::OrphanRuns, "lost its caller"),
                    None => (Oracle::AnsweredRuns, "was answered"),
                };
                let server = job.server;
                let what = format!("the job of {number} on the {server} of {place} {since}, and still runs");
                found.push((oracle, self.now, what));
            }
        }
        for (oracle, at, what) in found {
            self.add(oracle, at, Some(number), what);
        }
    }

    fn items(&mut self, number: CallNumber, call: &CallRecord) {
        let gap = (0..).zip(&call.items).find(|(expected, item)| expected != *item);
        if let Some((expected, item)) = gap {
            let what = format!("{number} took item {item} of its stream where item {expected} was due");
            self.add(Oracle::ItemOutOfOrder, self.now, Some(number), what);
        }
        let whole = call.work == Work::Stream && call.answer.is_some_and(|(_, outcome)| outcome == Outcome::Reply);
        if whole && call.items.len() != ITEMS as usize {
            let what = format!("{number} ended well after {} of {ITEMS} items", call.items.len());
            self.add(Oracle::StreamCutShort, self.now, Some(number), what);
        }
    }

    fn cluster(&mut self, tally: &Tally) {
        let now = self.now;
        if let Some(&(at, one, other)) = tally.skewed.first() {
            let what = format!("{} and {} are connected, more than one release apart", node(one), node(other));
            self.add(Oracle::Skewed, at, None, what);
        }
        if let Some(&(at, one, other)) = tally.unhosted.first() {
            let what =
                format!("{} sends to a server that {} does not run, and they are connected", node(one), node(other));
            self.add(Oracle::Unhosted, at, None, what);
        }
        if let Some(&(at, one, phase)) = tally.out_of_bounds.first() {
            let what = format!("{} is in the phase {phase}, which its release does not have", node(one));
            self.add(Oracle::OutOfBounds, at, None, what);
        }
        if let Some(&(at, one, phase)) = tally.unheeded.first() {
            let what = format!("{} has taken a ceiling, and stays at {phase} above it", node(one));
            self.add(Oracle::CeilingUnheeded, at, None, what);
        }
        for &(one, other) in &self.settled.apart {
            self.add(
                Oracle::StayedApart,
                now,
                None,
                format!("{} did not come to see {} again", node(one), node(other)),
            );
        }
        for &(one, phase, expected) in &self.settled.held {
            let what = format!("{} stays at {phase}, and nothing keeps it from {expected}", node(one));
            self.add(Oracle::HeldBack, now, None, what);
        }
    }
}

#[cfg(test)]
mod tests;
