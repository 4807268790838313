//! What an outcome says of itself: whether it is safe, where it differs from another, and its events as a trace.

use rexi_proto::{Incarnation, Phase, ServerAddress};

use super::*;
use crate::history::ledger::{
    CallId, Content, Ending, GatherEnd, GatherForm, MonitorNumber, NodeIndex, NodeSet, Outcome as Answer, Work,
};
use crate::path;
use crate::plan::Op;
use crate::verdict::invariant::Invariant;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A run in which this happened, one event a second.
fn of(events: impl IntoIterator<Item = ScenarioEvent>) -> Outcome {
    let plan = Plan::parse("nodes 3 start 1.1 seed 7", &crate::demo::path()).expect("a plan");
    Outcome { events: (1..).map(at).zip(events).collect(), ..Outcome::none(plan) }
}

/// The run with this breach of S1 first, and one of S2.
fn broken(run: Outcome, seconds: u64, call: Option<u64>) -> Outcome {
    let breaches = [Invariant::S1, Invariant::S2].map(|invariant| Breach::once(invariant, "it broke".to_owned()));
    Outcome { breaches: breaches.into(), shows: Shows { at: at(seconds), call: call.map(CallNumber) }, ..run }
}

fn recorded(node: usize, entry: Entry) -> ScenarioEvent {
    ScenarioEvent::Recorded { node, entry }
}

fn cast(call: u64, from: usize, to: u16) -> ScenarioEvent {
    let (call, to) = (CallNumber(call), NodeIndex(to));
    recorded(from, Entry::Cast { call, to, work: Work::Reply, phase: Phase::Switch })
}

fn id(call: u64) -> CallId {
    CallId { caller: NodeIndex(0), incarnation: Incarnation(0), call: CallNumber(call) }
}

fn started(call: u64, on: usize) -> ScenarioEvent {
    recorded(on, Entry::Started { id: id(call), server: ServerAddress::PerNode, work: Work::Reply })
}

fn killed(call: u64, by: usize) -> ScenarioEvent {
    recorded(by, Entry::Killed { call: CallNumber(call), phase: Phase::Introduce })
}

#[test]
fn an_outcome_is_safe_without_a_breach_and_breaks_the_invariants_of_those_it_has() {
    let safe = of([]);
    assert!(safe.is_safe() && ![Invariant::S1, Invariant::S2].iter().any(|&invariant| safe.breaks(invariant)));
    let listed = broken(of([]), 1, None);
    assert!(!listed.is_safe());
    assert_eq!([Invariant::S1, Invariant::S2, Invariant::S3].map(|one| listed.breaks(one)), [true, true, false]);
    assert!(!Outcome { own: Some("lost".to_owned()), ..of([]) }.is_safe());
}

#[test]
fn two_outcomes_differ_at_their_first_event_or_else_at_their_first_datagram_that_is_not_the_same() {
    let datagram = |bytes| SentDatagram { at: at(1), from: Some(0), to: Some(1), bytes, hash: 1, arrives: None };
    let run = |events: &[ScenarioEvent], datagrams: &[usize]| {
        let datagrams = datagrams.iter().copied().map(datagram).collect();
        Outcome { datagrams, ..of(events.iter().cloned()) }
    };
    let [healed, settling, probing] = [ScenarioEvent::Healed, ScenarioEvent::Settling, ScenarioEvent::Probing];
    let first = run(&[healed.clone(), settling.clone()], &[10, 20]);
    let differs =
        |events: &[ScenarioEvent], datagrams: &[usize]| first.differs(&run(events, datagrams)).unwrap_or_default();
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
    let (call, node) = (CallNumber(1), 1);
    let (op, how) = (Op::Pass { ms: 5 }, Ending::Dropped);
    let (content, members, votes) = (Content::Right, NodeSet::default(), NodeSet::default());
    let (form, limit_ms) = (GatherForm::Majority, 9);
    let told: [(ScenarioEvent, Place, &str); 18] = [
        (ScenarioEvent::Did(op), Place::Everywhere, "pass 5"),
        (ScenarioEvent::Started { node, release: path::Place(2) }, Place::At(1), "starts as 1.2"),
        (ScenarioEvent::Ended { node, how: LifeEnd::Crashed }, Place::At(1), "crashes"),
        (ScenarioEvent::Ended { node, how: LifeEnd::Left }, Place::At(1), "has left"),
        (cast(1, 0, 2), Place::Between(0, 2), "call 1: cast, reply (switch)"),
        (cast(1, 2, 2), Place::At(2), "call 1: cast, reply (switch)"),
        (recorded(2, Entry::Answered { call, outcome: Answer::Down }), Place::At(2), "call 1: down"),
        (killed(1, 2), Place::At(2), "call 1: kill (introduce)"),
        (started(1, 2), Place::At(2), "call 1 starts on the per-node server"),
        (recorded(2, Entry::Ended { id: id(1), how }), Place::At(2), "call 1 ends: dropped"),
        (recorded(2, Entry::ItemReceived { call, index: 7, content, kib: 0 }), Place::At(2), "call 1: item 7"),
        (
            recorded(2, Entry::GatherBegun { gather: call, form, need: 2, members, limit_ms }),
            Place::At(2),
            "call 1: asks all, and needs 2",
        ),
        (
            recorded(2, Entry::GatherEnded { gather: call, how: GatherEnd::Reached, votes, wrong: votes, odd: None }),
            Place::At(2),
            "call 1: reached",
        ),
        (recorded(2, Entry::Asked { id: id(1), index: 0 }), Place::At(2), "call 1 asks question 0"),
        (recorded(2, Entry::Responded { call, index: 0, content }), Place::At(2), "call 1: response to question 0"),
        (recorded(1, Entry::PhaseChanged { migration: 0, phase: Phase::Remove }), Place::At(1), "is at remove now"),
        (ScenarioEvent::Settling, Place::Everywhere, SETTLING),
        (ScenarioEvent::Probing, Place::Everywhere, "every node casts to every node"),
    ];
    for (event, place, what) in told {
        assert_eq!(tell(&event, &of([])), Some(TraceEvent::new(place, what)));
    }
    let fired = Entry::MonitorDown { monitor: MonitorNumber(3), reason: 1 };
    let sent = Entry::ItemSent { id: id(1), index: 0 };
    for event in [ScenarioEvent::Healed, recorded(2, sent), recorded(2, fired)] {
        assert_eq!(tell(&event, &of([])), None);
    }
}

#[test]
fn a_kill_goes_to_where_its_own_call_was_cast() {
    let run = of([cast(0, 0, 1), cast(1, 0, 2), cast(2, 0, 0)]);
    let place = |call| tell(&killed(call, 0), &run).map(|event| event.place);
    let places = [Place::Between(0, 1), Place::Between(0, 2), Place::At(0), Place::At(0)];
    assert_eq!([0, 1, 2, 3].map(place), places.map(Some), "nobody knows where the last one was cast");
}

/// The lines of a run's trace: the time, the place, and whether it is the breach.
fn lines(outcome: &Outcome) -> Vec<(u64, Place, bool)> {
    let seconds = |at: Option<Duration>| at.expect("each has its time").as_secs();
    outcome.trace().events.into_iter().map(|event| (seconds(event.at), event.place, event.breach)).collect()
}

#[test]
fn the_first_breach_stands_behind_all_that_was_no_later_and_where_its_call_ran_last() {
    let run = || of([cast(0, 0, 1), started(0, 1), cast(1, 0, 2), started(1, 2)]);
    let first = broken(run(), 3, Some(0));
    let trace = first.trace();
    assert_eq!(trace.lanes, ["n1", "n2", "n3"]);
    assert_eq!(trace.events[3].what, "S1: it broke");
    let (one, second) = ([(1, Place::Between(0, 1), false), (2, Place::At(1), false)], Place::Between(0, 2));
    assert_eq!(lines(&first)[..2], one);
    assert_eq!(lines(&first)[2..], [(3, second, false), (3, Place::At(1), true), (4, Place::At(2), false)]);
    assert_eq!(lines(&broken(run(), 4, Some(1)))[4], (4, Place::At(2), true), "of the other call");
    let without_job = || of([cast(0, 0, 1), started(0, 1), cast(1, 0, 2)]);
    let at_cast = lines(&broken(without_job(), 4, Some(1)));
    assert_eq!(at_cast[3], (4, Place::At(0), true), "it never ran, and is shown where it was cast");
    let unknown = lines(&broken(without_job(), 4, Some(9)));
    assert_eq!(unknown[3], (4, Place::Everywhere, true), "nobody knows the call");
    let of_none = lines(&broken(without_job(), 4, None));
    assert_eq!(of_none[3], (4, Place::Everywhere, true), "it is of no call");
    assert!(lines(&run()).iter().all(|(.., breach)| !breach));
}

#[test]
fn of_the_last_casts_only_one_that_failed_is_told() {
    let mut run = of([cast(0, 0, 1), ScenarioEvent::Probing, cast(1, 0, 2), cast(2, 0, 1)]);
    let shown = |run: &Outcome| lines(run).into_iter().filter(|(.., breach)| !breach).count();
    assert_eq!(shown(&run), 1);
    for (call, count) in [(Some(0), 1), (Some(1), 3), (None, 1), (Some(9), 1)] {
        run = broken(run, 9, call);
        assert_eq!(shown(&run), count, "{call:?}");
    }
    run.events.remove(1);
    run = broken(run, 9, Some(1));
    assert_eq!(shown(&run), 3, "there were none");
}

#[test]
fn the_text_of_an_outcome_has_its_plan_and_each_breach_with_the_trace_of_the_first() {
    let safe = Outcome { calls: 3, passed: Duration::from_millis(1_500), ..of([cast(0, 0, 1)]) };
    let plan = "plan: nodes 3 start 1.1 seed 7\n";
    assert_eq!(safe.to_string(), format!("{plan}safe: 3 calls in 1.5 s of virtual time\n"));
    let broken = Outcome { own: Some("all is lost".to_owned()), ..broken(safe, 3, None) };
    let text = format!("{plan}S1: it broke\nS2: it broke\nyour invariant: all is lost\n{}", broken.trace());
    assert_eq!(broken.to_string(), text);
}
