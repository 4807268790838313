//! What an outcome says of itself: whether it is safe, where it differs from another, and its events as a trace.

use rexi_proto::{Phase, ServerAddress};

use super::*;
use crate::history::ledger::{Ending, Outcome as Answer};
use crate::plan::{Op, Work, train};
use crate::verdict::invariant::Invariant;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A run in which this happened, one event a second.
fn of(events: impl IntoIterator<Item = Event>) -> Outcome {
    let plan = "nodes 3 start 1.1 seed 7".parse().expect("a plan");
    Outcome { events: (1..).map(at).zip(events).collect(), ..Outcome::none(plan) }
}

fn breach(rule: Rule, seconds: u64, call: Option<usize>) -> Breach {
    Breach { rule, what: "it broke".to_owned(), at: at(seconds), call: call.map(CallNumber) }
}

const S1: Rule = Rule::Listed(Invariant::S1);
const S2: Rule = Rule::Listed(Invariant::S2);

fn cast(call: usize, from: usize, to: Option<usize>) -> Event {
    Event::Cast { call: CallNumber(call), from, to, work: Work::Reply, phase: Phase::Switch }
}

fn started(call: usize, on: usize) -> Event {
    Event::JobStarted { call: CallNumber(call), on, server: ServerAddress::PerNode }
}

fn killed(call: usize, by: usize) -> Event {
    Event::Killed { call: CallNumber(call), by, phase: Phase::Introduce }
}

#[test]
fn an_outcome_is_safe_without_a_breach_and_breaks_the_rules_of_those_it_has() {
    let mut outcome = of([]);
    assert!(outcome.is_safe() && ![S1, S2, Rule::Own].iter().any(|&rule| outcome.breaks(rule)));
    outcome.breaches = vec![breach(S2, 1, None), breach(Rule::Own, 2, None)];
    assert!(!outcome.is_safe());
    assert_eq!([S1, S2, Rule::Own].map(|rule| outcome.breaks(rule)), [false, true, true]);
}

#[test]
fn two_outcomes_differ_at_their_first_event_or_else_at_their_first_datagram_that_is_not_the_same() {
    let datagram = |bytes| Datagram { at: at(1), from: Some(0), to: Some(1), bytes, hash: 1, arrives: None };
    let run = |events: &[Event], datagrams: &[usize]| {
        let datagrams = datagrams.iter().copied().map(datagram).collect();
        Outcome { datagrams, ..of(events.iter().cloned()) }
    };
    let [healed, settling, probing] = [Event::Healed, Event::Settling, Event::Probing];
    let first = run(&[healed.clone(), settling.clone()], &[10, 20]);
    let differs = |events: &[Event], datagrams: &[usize]| first.differs(&run(events, datagrams)).unwrap_or_default();
    assert_eq!(differs(&[healed.clone(), settling.clone()], &[10, 20]), "");
    let text = "event 2 is Some((2s, Settling)) in one and Some((2s, Probing)) in the other";
    assert_eq!(differs(&[healed.clone(), probing.clone()], &[30]), text);
    assert!(differs(std::slice::from_ref(&healed), &[10, 20]).ends_with("in one and None in the other"));
    assert!(differs(&[healed.clone(), settling.clone(), probing], &[10, 20]).starts_with("event 3 is None"));
    let text = differs(&[healed.clone(), settling.clone()], &[10, 21]);
    assert!(text.starts_with("datagram 2 is") && text.contains("bytes: 20") && text.contains("bytes: 21"), "{text}");
    assert!(differs(&[healed, settling], &[10]).ends_with("in one and None in the other"));
}

#[test]
fn each_event_is_told_where_it_was_and_those_that_a_reader_can_do_without_are_not() {
    let (call, node) = (CallNumber(0), 1);
    let (op, how) = (Op::Pass { ms: 5 }, Ending::Dropped);
    let told: [(Event, Place, &str); 15] = [
        (Event::Did(op), Place::Everywhere, "pass 5"),
        (Event::Started { node, release: train::Place(2) }, Place::At(1), "starts as 1.2"),
        (Event::Ended { node, how: LifeEnd::Crashed }, Place::At(1), "crashes"),
        (Event::Ended { node, how: LifeEnd::Left }, Place::At(1), "has left"),
        (cast(0, 0, Some(2)), Place::Between(0, 2), "call 1: cast, reply (switch)"),
        (cast(0, 2, Some(2)), Place::At(2), "call 1: cast, reply (switch)"),
        (cast(0, 2, None), Place::At(2), "call 1: cast to all, reply (switch)"),
        (Event::Answered { call, by: 2, outcome: Answer::Down }, Place::At(2), "call 1: Down"),
        (killed(0, 2), Place::At(2), "call 1: kill (introduce)"),
        (started(0, 2), Place::At(2), "call 1 starts on the per-node server"),
        (Event::JobEnded { call, on: 2, how }, Place::At(2), "call 1 ends: Dropped"),
        (Event::Item { call, by: 2, number: 7 }, Place::At(2), "call 1: item 7"),
        (Event::Phase { node, phase: Phase::Remove }, Place::At(1), "is at remove now"),
        (Event::Settling, Place::Everywhere, SETTLING),
        (Event::Probing, Place::Everywhere, "every node casts to every node"),
    ];
    for (event, place, what) in told {
        assert_eq!(tell(&event, &of([])), Some(trace::Event::new(place, what)));
    }
    for event in [Event::Skipped(op), Event::Healed] {
        assert_eq!(tell(&event, &of([])), None);
    }
}

#[test]
fn a_kill_goes_to_where_its_own_call_was_cast() {
    let run = of([cast(0, 0, Some(1)), cast(1, 0, Some(2)), cast(2, 0, Some(0)), cast(3, 0, None)]);
    let place = |call| tell(&killed(call, 0), &run).map(|event| event.place);
    let places = [Place::Between(0, 1), Place::Between(0, 2), Place::At(0), Place::At(0)];
    assert_eq!([0, 1, 2, 3].map(place), places.map(Some));
}

/// The lines of a run's trace: the time, the place, and whether it is the breach.
fn lines(outcome: &Outcome) -> Vec<(u64, Place, bool)> {
    let seconds = |at: Option<Duration>| at.expect("each has its time").as_secs();
    outcome.trace().events.into_iter().map(|event| (seconds(event.at), event.place, event.breach)).collect()
}

#[test]
fn the_first_breach_stands_behind_all_that_was_no_later_and_where_its_call_ran_last() {
    let mut run = of([cast(0, 0, Some(1)), started(0, 1), cast(1, 0, Some(2)), started(1, 2)]);
    run.breaches = vec![breach(S1, 3, Some(0)), breach(S2, 4, Some(1))];
    let trace = run.trace();
    assert_eq!(trace.lanes, ["n1", "n2", "n3"]);
    assert_eq!(trace.events[3].what, "S1: it broke");
    let (first, second) = ([(1, Place::Between(0, 1), false), (2, Place::At(1), false)], Place::Between(0, 2));
    assert_eq!(lines(&run)[..2], first);
    assert_eq!(lines(&run)[2..], [(3, second, false), (3, Place::At(1), true), (4, Place::At(2), false)]);
    run.breaches.remove(0);
    assert_eq!(lines(&run)[4], (4, Place::At(2), true), "of the other call");
    run.events.remove(3);
    assert_eq!(lines(&run)[3], (4, Place::At(0), true), "it never ran, and is shown where it was cast");
    run.breaches[0].call = Some(CallNumber(9));
    assert_eq!(lines(&run)[3], (4, Place::Everywhere, true), "nobody knows the call");
    run.breaches[0].call = None;
    assert_eq!(lines(&run)[3], (4, Place::Everywhere, true), "it is of no call");
    run.breaches.clear();
    assert!(lines(&run).iter().all(|(.., breach)| !breach));
}

#[test]
fn what_comes_of_the_last_casts_is_told_only_where_one_of_them_failed() {
    let mut run = of([cast(0, 0, Some(1)), Event::Probing, cast(1, 0, Some(2))]);
    let shown = |run: &Outcome| lines(run).into_iter().filter(|(.., breach)| !breach).count();
    assert_eq!(shown(&run), 1);
    for (call, count) in [(Some(0), 1), (Some(1), 3), (None, 1), (Some(9), 1)] {
        run.breaches = vec![breach(S1, 9, call)];
        assert_eq!(shown(&run), count, "{call:?}");
    }
    run.events.remove(1);
    run.breaches = vec![breach(S1, 9, Some(1))];
    assert_eq!(shown(&run), 2, "there were none");
}

#[test]
fn the_text_of_an_outcome_has_its_plan_and_each_breach_with_the_trace_of_the_first() {
    let safe = Outcome { calls: 3, passed: Duration::from_millis(1_500), ..of([cast(0, 0, Some(1))]) };
    let plan = "plan: nodes 3 start 1.1 seed 7\n";
    assert_eq!(safe.to_string(), format!("{plan}safe: 3 calls in 1.5 s of virtual time\n"));
    let breaches = vec![breach(S1, 3, None), breach(Rule::Own, 4, None)];
    let broken = Outcome { breaches, ..safe };
    let text = format!("{plan}S1: it broke\nyour invariant: it broke\n{}", broken.trace());
    assert_eq!(broken.to_string(), text);
}
