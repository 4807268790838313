//! What became of a plan: its breaches, what it met, and its events, as a trace and for comparison with another run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::ledger::{CallNumber, Event, LifeEnd};
use super::verdict::{Breach, Rule};
use crate::name::node_name;
use crate::plan::Plan;
use crate::verdict::trace::{self, Place, Trace};

/// The end of a scenario.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What was run.
    pub plan: Plan,
    /// What went wrong; empty where nothing did.
    pub breaches: Vec<Breach>,
    /// How often each case was met that upgrades go wrong in.
    pub met: BTreeMap<&'static str, u64>,
    /// Calls that were made.
    pub calls: usize,
    /// Whether nodes of different releases ran side by side.
    pub mixed: bool,
    /// Virtual time that passed.
    pub passed: Duration,
    /// Time that it took.
    pub took: Duration,
    /// All that happened, in order, each with its time.
    pub events: Vec<(Duration, Event)>,
    /// Every datagram, in the order in which they were sent, if they were recorded.
    pub datagrams: Vec<Datagram>,
}

/// A datagram as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram {
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
        self.breaches.is_empty()
    }

    /// Whether a rule was broken.
    pub fn breaks(&self, rule: Rule) -> bool {
        self.breaches.iter().any(|breach| breach.rule == rule)
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
        let events = self.events.iter().take_while(|(_, event)| *event != Event::Probing || self.failed_late());
        let mut events: Vec<_> = events.filter_map(|(at, event)| Some(tell(event, self)?.at(*at))).collect();
        if let Some(breach) = self.breaches.first() {
            let place = breach.call.and_then(|call| self.place_of(call)).unwrap_or(Place::Everywhere);
            let event = trace::Event::new(place, format!("{}: {}", breach.rule, breach.what)).at(breach.at).breach();
            let behind = events.partition_point(|event: &trace::Event| event.at <= Some(breach.at));
            events.insert(behind, event);
        }
        Trace { lanes, events }
    }

    /// Whether the first breach is of a call that was made at the very end, to see that all is well.
    fn failed_late(&self) -> bool {
        let probing = self.events.iter().position(|(_, event)| *event == Event::Probing);
        let late = probing.map_or(&[][..], |at| &self.events[at..]);
        let call = self.breaches.first().and_then(|breach| breach.call);
        let casts = |event: &Event| matches!(event, Event::Cast { call: of, .. } if Some(*of) == call);
        call.is_some() && late.iter().any(|(_, event)| casts(event))
    }

    /// Where a call's job ran last, or where it was cast.
    fn place_of(&self, call: CallNumber) -> Option<Place> {
        let place = |event: &Event| match *event {
            Event::JobStarted { call: of, on, .. } if of == call => Some(Place::At(on)),
            Event::Cast { call: of, from, .. } if of == call => Some(Place::At(from)),
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

/// An event as a line of the trace; `None` for those that a reader can do without.
fn tell(event: &Event, of: &Outcome) -> Option<trace::Event> {
    let line = |place, what: String| Some(trace::Event::new(place, what));
    match event {
        Event::Did(op) => line(Place::Everywhere, op.to_string()),
        Event::Skipped(_) => None,
        Event::Started { node, release } => {
            line(Place::At(*node), format!("starts as {}", of.plan.train.release(*release)))
        }
        Event::Ended { node, how: LifeEnd::Crashed } => line(Place::At(*node), "crashes".to_owned()),
        Event::Ended { node, how: LifeEnd::Left } => line(Place::At(*node), "has left".to_owned()),
        Event::Cast { call, from, to: Some(to), work, phase } => {
            let place = if from == to { Place::At(*from) } else { Place::Between(*from, *to) };
            line(place, format!("{call}: cast, {work} ({phase})"))
        }
        Event::Cast { call, from, to: None, work, phase } => {
            line(Place::At(*from), format!("{call}: cast to all, {work} ({phase})"))
        }
        Event::Answered { call, by, outcome } => line(Place::At(*by), format!("{call}: {outcome:?}")),
        Event::Killed { call, by, phase } => {
            let on = of.events.iter().find_map(|(_, event)| match event {
                Event::Cast { call: of, to, .. } if of == call => *to,
                _ => None,
            });
            let place = on.filter(|on| on != by).map_or(Place::At(*by), |on| Place::Between(*by, on));
            line(place, format!("{call}: kill ({phase})"))
        }
        Event::JobStarted { call, on, server } => line(Place::At(*on), format!("{call} starts on the {server}")),
        Event::JobEnded { call, on, how } => line(Place::At(*on), format!("{call} ends: {how:?}")),
        Event::Item { call, by, number } => line(Place::At(*by), format!("{call}: item {number}")),
        Event::Phase { node, phase } => line(Place::At(*node), format!("is at {phase} now")),
        Event::Healed => None,
        Event::Settling => line(Place::Everywhere, SETTLING.to_owned()),
        Event::Probing => line(Place::Everywhere, "every node casts to every node".to_owned()),
    }
}

impl fmt::Display for Outcome {
    /// The plan, and each breach; the trace of the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan: {}", self.plan)?;
        if self.is_safe() {
            return writeln!(f, "safe: {} calls in {:.1} s of virtual time", self.calls, self.passed.as_secs_f64());
        }
        for Breach { rule, what, .. } in &self.breaches {
            writeln!(f, "{rule}: {what}")?;
        }
        write!(f, "{}", self.trace())
    }
}

#[cfg(test)]
mod tests;
