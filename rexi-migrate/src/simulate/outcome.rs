//! What became of a plan: its breaches, what it met, and its events, as a trace and for comparison with another run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::ledger::{LifeEnd, ScenarioEvent};
use crate::history::ledger::{CallNumber, Entry};
use crate::name::node_name;
use crate::plan::Plan;
use crate::verdict::case::Witness;
use crate::verdict::invariant::Invariant;
use crate::verdict::level::Breach;
use crate::verdict::trace::{Place, Trace, TraceEvent};

/// The end of a scenario.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What was run.
    pub plan: Plan,
    /// What broke an invariant of docs/safety.md; empty where nothing did.
    pub breaches: Vec<Breach>,
    /// What broke the test's own invariant, as it says.
    pub own: Option<String>,
    /// Where the first breach shows.
    pub(super) shows: Shows,
    /// How often each case was met that upgrades go wrong in.
    pub met: BTreeMap<Witness, u64>,
    /// Calls that were made.
    pub calls: u64,
    /// Whether nodes of different releases ran side by side.
    pub mixed: bool,
    /// Virtual time that passed.
    pub passed: Duration,
    /// Time that it took.
    pub took: Duration,
    /// All that happened, in order, each with its time.
    pub events: Vec<(Duration, ScenarioEvent)>,
    /// Every datagram, in the order in which they were sent, if they were recorded.
    pub datagrams: Vec<SentDatagram>,
}

/// When something was seen to be wrong, and with which call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shows {
    pub(super) at: Duration,
    pub(super) call: Option<CallNumber>,
}

/// A datagram as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentDatagram {
    /// When, since the scenario began.
    pub at: Duration,
    /// The sender.
    pub from: Option<usize>,
    /// The receiver.
    pub to: Option<usize>,
    /// Its length.
    pub bytes: usize,
    /// A hash of what is in it.
    pub hash: u64,
    /// When it will arrive; `None` where it is lost.
    pub arrives: Option<Duration>,
}

impl Outcome {
    /// Of a plan that did not end.
    pub(super) fn none(plan: Plan) -> Self {
        Self {
            plan,
            breaches: Vec::new(),
            own: None,
            shows: Shows::default(),
            met: BTreeMap::new(),
            calls: 0,
            mixed: false,
            passed: Duration::ZERO,
            took: Duration::ZERO,
            events: Vec::new(),
            datagrams: Vec::new(),
        }
    }

    /// Whether nothing went wrong.
    pub fn is_safe(&self) -> bool {
        self.breaches.is_empty() && self.own.is_none()
    }

    /// Whether an invariant was broken.
    pub fn breaks(&self, invariant: Invariant) -> bool {
        self.breaches.iter().any(|breach| breach.invariant == invariant)
    }

    /// Where this run and another differ first, in words; `None` where they are the same, event for event, and datagram
    /// for datagram where both recorded them.
    pub fn differs(&self, other: &Self) -> Option<String> {
        let event = first_difference(&self.events, &other.events).map(|what| format!("event {what}"));
        let datagram = || first_difference(&self.datagrams, &other.datagrams).map(|what| format!("datagram {what}"));
        event.or_else(datagram)
    }

    /// What happened, as a sequence diagram's events; the event at which the first breach shows is marked.
    pub fn trace(&self) -> Trace {
        let lanes = (0..self.plan.nodes).map(node_name).collect();
        let (failed_late, mut probing) = (self.failed_late(), false);
        // Of the calls at the very end, the one that failed is told alone.
        let shown = self.events.iter().filter(|(_, event)| {
            probing |= *event == ScenarioEvent::Probing;
            !probing || failed_late && call_of(event).is_none_or(|call| Some(call) == self.shows.call)
        });
        let mut events: Vec<_> = shown.filter_map(|(at, event)| Some(tell(event, self)?.at(*at))).collect();
        if let Some(what) = self.told().next() {
            let Shows { at, call } = self.shows;
            let place = call.and_then(|call| self.place_of(call)).unwrap_or(Place::Everywhere);
            let behind = events.partition_point(|event: &TraceEvent| event.at <= Some(at));
            events.insert(behind, TraceEvent::new(place, what).at(at).breach());
        }
        Trace { lanes, events }
    }

    /// What went wrong, each in a line.
    fn told(&self) -> impl Iterator<Item = String> {
        let listed = self.breaches.iter().map(|breach| format!("{}: {}", breach.invariant, breach.what));
        listed.chain(self.own.iter().map(|what| format!("your invariant: {what}")))
    }

    /// Whether the first breach is of a call that was made at the very end, to see that all is well.
    fn failed_late(&self) -> bool {
        let probing = self.events.iter().position(|(_, event)| *event == ScenarioEvent::Probing);
        let late = probing.map_or(&[][..], |at| &self.events[at..]);
        let call = self.shows.call;
        let casts = |event: &ScenarioEvent| matches!(event, ScenarioEvent::Recorded { entry: Entry::Cast { .. }, .. });
        call.is_some() && late.iter().any(|(_, event)| casts(event) && call_of(event) == call)
    }

    /// Where a call's job ran last, or where it was cast.
    fn place_of(&self, call: CallNumber) -> Option<Place> {
        let place = |event: &ScenarioEvent| match *event {
            ScenarioEvent::Recorded { node, entry: Entry::Started { .. } | Entry::Cast { .. } }
                if call_of(event) == Some(call) =>
            {
                Some(Place::At(node))
            }
            _ => None,
        };
        self.events.iter().rev().find_map(|(_, event)| place(event))
    }
}

const SETTLING: &str = "the plan is over: links are healed, ceilings lifted, nodes started";

fn first_difference<T: PartialEq + fmt::Debug>(one: &[T], other: &[T]) -> Option<String> {
    let at = (0..one.len().max(other.len())).find(|&at| one.get(at) != other.get(at))?;
    Some(format!("{} is {:?} in one and {:?} in the other", at + 1, one.get(at), other.get(at)))
}

/// The call that an event is of.
fn call_of(event: &ScenarioEvent) -> Option<CallNumber> {
    let ScenarioEvent::Recorded { entry, .. } = event else { return None };
    match *entry {
        Entry::Cast { call, .. }
        | Entry::Answered { call, .. }
        | Entry::Killed { call, .. }
        | Entry::ItemReceived { call, .. }
        | Entry::Responded { call, .. } => Some(call),
        Entry::Started { id, .. } | Entry::Ended { id, .. } | Entry::Asked { id, .. } => Some(id.call),
        _ => None,
    }
}

/// An event as a line of the trace; `None` for those that a reader can do without, such as the monitors that every node
/// sets anew each time that one has fired.
fn tell(event: &ScenarioEvent, of: &Outcome) -> Option<TraceEvent> {
    let line = |place, what: String| Some(TraceEvent::new(place, what));
    match event {
        ScenarioEvent::Did(op) => line(Place::Everywhere, op.to_string()),
        ScenarioEvent::Skipped(op, why) => line(Place::Everywhere, format!("{op}: not done, since {why}")),
        ScenarioEvent::Started { node, release } => {
            line(Place::At(*node), format!("starts as {}", of.plan.train.release(*release)))
        }
        ScenarioEvent::Barred { node, release } => line(
            Place::At(*node),
            format!("does not start: {} is barred by its record", of.plan.train.release(*release)),
        ),
        ScenarioEvent::Told { node, by, told } => line(Place::At(*node), format!("tells {by}: {told}")),
        ScenarioEvent::Ended { node, how: LifeEnd::Crashed } => line(Place::At(*node), "crashes".to_owned()),
        ScenarioEvent::Ended { node, how: LifeEnd::Left } => line(Place::At(*node), "has left".to_owned()),
        ScenarioEvent::Recorded { node, entry } => tell_entry(*node, entry, of),
        ScenarioEvent::Healed => None,
        ScenarioEvent::Settling => line(Place::Everywhere, SETTLING.to_owned()),
        ScenarioEvent::Probing => line(Place::Everywhere, "every node casts to every node".to_owned()),
    }
}

/// A record as a line of the trace.
fn tell_entry(node: usize, entry: &Entry, of: &Outcome) -> Option<TraceEvent> {
    let here = |what: String| Some(TraceEvent::new(Place::At(node), what));
    let towards = |to: usize, what: String| {
        let place = if node == to { Place::At(node) } else { Place::Between(node, to) };
        Some(TraceEvent::new(place, what))
    };
    match *entry {
        Entry::Cast { call, to, work, phase } => towards(to.0.into(), format!("{call}: cast, {work} ({phase})")),
        Entry::Answered { call, outcome } => here(format!("{call}: {outcome}")),
        Entry::Killed { call, phase } => {
            let to = of.events.iter().find_map(|(_, event)| match event {
                ScenarioEvent::Recorded { entry: Entry::Cast { call: of, to, .. }, .. } if *of == call => {
                    Some(to.0.into())
                }
                _ => None,
            });
            towards(to.unwrap_or(node), format!("{call}: kill ({phase})"))
        }
        Entry::Started { id, server, .. } => here(format!("{} starts on the {server}", id.call)),
        Entry::Ended { id, how } => here(format!("{} ends: {how}", id.call)),
        Entry::ItemReceived { call, index, .. } => here(format!("{call}: item {index}")),
        Entry::GatherBegun { gather, need, .. } => here(format!("{gather}: asks all, and needs {need}")),
        Entry::GatherEnded { gather, how, .. } => here(format!("{gather}: {how}")),
        Entry::Asked { id, index } => here(format!("{} asks question {index}", id.call)),
        Entry::Responded { call, index, .. } => here(format!("{call}: response to question {index}")),
        Entry::PhaseChanged { migration, phase } => {
            let mut migrations = of.plan.train.at(0).migrations();
            let several = migrations.len() > 1;
            match migrations.nth(migration.into()).filter(|_| several) {
                Some((migration, _)) => here(format!("is at {phase} of {migration} now")),
                None => here(format!("is at {phase} now")),
            }
        }
        _ => None,
    }
}

impl fmt::Display for Outcome {
    /// The plan, and each breach; the trace of the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan: {}", self.plan)?;
        if self.is_safe() {
            return writeln!(f, "safe: {} calls in {:.1} s of virtual time", self.calls, self.passed.as_secs_f64());
        }
        self.told().try_for_each(|line| writeln!(f, "{line}"))?;
        write!(f, "{}", self.trace())
    }
}

#[cfg(test)]
mod tests;
