//! What happens between two parts of a list: what may, what may not, and that nothing is broken by it.

use super::super::witness::SENTENCES;
use super::*;

/// The scopes of `check` for it: of a peer's lists, and of the singleton's.
fn scopes() -> Vec<Scope> {
    let all = suite(2, 1, &crate::demo::path(), rexi_proto::Mutants::default());
    all.into_iter().filter(|scope| scope.parts).collect()
}

/// What may happen in a state.
fn possible(cluster: &Cluster, state: &State) -> Vec<Action> {
    let mut actions = Vec::new();
    cluster.actions(state, &mut actions);
    actions
}

/// The state after all these, each of which may happen and breaks nothing.
fn after(cluster: &Cluster, actions: &[Action]) -> State {
    let first = cluster.initial().remove(0);
    actions.iter().fold(first, |state, action| {
        assert!(possible(cluster, &state).contains(action), "{action:?} may not happen");
        let after = cluster.step(&state, action).expect("a step");
        assert!(cluster.check(&after).is_ok(), "{action:?} breaks {:?}", cluster.check(&after));
        after
    })
}

const KILLED: [Action; 7] = [
    Action::Connect(0, 1),
    Action::Cast(0, 1, false, 0),
    Action::Cast(0, 1, false, 0),
    Action::DeliverAll(0, 1),
    Action::KillAll(0, 1),
    Action::Cast(0, 1, false, 0),
    Action::Deliver(0, 1),
];

#[test]
fn between_two_parts_a_worker_may_end_and_its_caller_is_not_read() {
    let cluster = Cluster::new(Scope { jobs: 3, ..scopes()[0].clone() });
    let state = after(&cluster, &KILLED);
    assert_eq!(state.nodes[1].jobs.len(), 1, "one of two is aborted");
    let may = possible(&cluster, &state);
    for action in [Action::GoOn(1, 0), Action::End(1), Action::Cut(0, 1), Action::Restart(0, 0, Stop::Crash)] {
        assert!(may.contains(&action), "{may:?}");
    }
    let reads = |action: &Action| matches!(action, Action::Deliver(0, 1) | Action::DeliverAll(0, 1));
    assert!(!may.iter().any(reads), "{may:?}");
    let state = after(&cluster, &[&KILLED[..], &[Action::End(1)]].concat());
    assert!(state.nodes[1].jobs[0].over && state.way(1, 0).is_empty(), "nobody hears of its end");
    let state = after(&cluster, &[&KILLED[..], &[Action::End(1), Action::GoOn(1, 0), Action::Deliver(0, 1)]].concat());
    assert_eq!(state.nodes[1].jobs.len(), 1, "the last cast runs");
    assert!(!state.nodes[1].is_behind());
}

#[test]
fn whatever_happens_between_two_parts_nothing_is_broken() {
    let at = SENTENCES.iter().position(|case| *case == Case::BetweenParts.sentence()).expect("a case");
    for scope in scopes() {
        let outcome = exhausted(scope);
        assert!(outcome.tally.met[at] > 1_000, "{:?}", outcome.tally);
    }
}

#[test]
fn between_two_parts_a_singleton_takes_no_request_and_its_callers_are_read() {
    let [_, of_singleton] = &scopes()[..] else { panic!("two scopes") };
    let cluster = Cluster::new(of_singleton.clone());
    let cast = Action::Cast(0, 1, false, 0);
    let lost = [Action::Connect(0, 1), cast, cast, Action::Cut(0, 1), Action::Connect(0, 1), Action::Deliver(0, 1)];
    let state = after(&cluster, &[&lost[..], &[Action::Take(1)]].concat());
    let may = possible(&cluster, &state);
    assert!(may.contains(&Action::GoOn(1, 1)) && !may.contains(&Action::Take(1)), "{may:?}");
    let state = after(&cluster, &[&lost[..], &[Action::Take(1), Action::Deliver(1, 0), Action::Kill(1)]].concat());
    let may = possible(&cluster, &state);
    assert!(may.contains(&Action::Deliver(0, 1)), "{may:?}");
}
