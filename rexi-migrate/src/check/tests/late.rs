//! What arrives late from a connection that has ended: the sound core ignores it, and each variant that does not is
//! found by its shortest trace.

use super::*;

/// The scope of `check` for it.
fn scope() -> Scope {
    let all = suite(2, 1, &crate::demo::path(), rexi_proto::Mutants::default());
    all.into_iter().find(|scope| scope.stragglers > 0).expect("check has a scope for it")
}

#[test]
fn what_comes_late_of_an_earlier_connection_breaks_nothing_in_any_order() {
    // One job: `check` itself goes over two.
    let outcome = exhausted(Scope { jobs: 1, ..scope() });
    let met = |what: &str| {
        let at = super::super::witness::SENTENCES.iter().position(|case| *case == what).expect("a case");
        outcome.tally.met[at]
    };
    assert!(met("things of an earlier connection that came late") > 100, "{:?}", outcome.tally);
    assert!(met("calls lost with their connection") > 0, "{:?}", outcome.tally);
}

#[test]
fn frames_and_payloads_that_were_on_their_way_are_among_what_comes_late() {
    let cluster = Cluster::new(scope());
    let late = |state: &State| state.pairs[0].late.iter().flatten().cloned().collect::<Vec<_>>();
    let mut state = cluster.initial().remove(0);
    for action in [Action::Connect(0, 1), Action::Cast(0, 1, false, 0), Action::Cut(0, 1), Action::Connect(0, 1)] {
        state = cluster.step(&state, &action).expect("a step");
    }
    let kinds: Vec<bool> =
        late(&state).iter().map(|late| matches!(late, super::super::state::Late::Payload(..))).collect();
    assert!(kinds.contains(&true) && kinds.contains(&false), "{kinds:?}");
    let mut actions = Vec::new();
    cluster.actions(&state, &mut actions);
    for number in 0..kinds.len() {
        assert!(actions.contains(&Action::Straggle(1, 0, Straggler::OnItsWay(number))), "{actions:?}");
    }
    for straggler in [Straggler::End, Straggler::Departure, Straggler::Refusal] {
        assert!(actions.contains(&Action::Straggle(0, 1, straggler)), "{actions:?}");
    }
    let after = cluster.step(&state, &Action::Straggle(1, 0, Straggler::OnItsWay(0))).expect("a step");
    assert_eq!(late(&after), [], "nothing more may come late");
}

#[cfg(feature = "mutants")]
#[test]
fn a_core_that_heeds_an_earlier_connection_is_found_by_its_shortest_trace() {
    for (name, invariant, steps) in [
        ("old-frames-heeded", Invariant::S8, 7),
        ("old-payload-joins", Invariant::S8, 7),
        ("old-end-heeded", Invariant::S1, 5),
        ("old-departure-heeded", Invariant::S1, 5),
        ("old-refusal-heeded", Invariant::L2, 7),
    ] {
        let mutants = rexi_proto::Mutants::from_names(name).expect("a known name");
        match run(Scope { mutants, reach_goal: false, ..scope() }).end {
            End::Broken(broken, path) => {
                assert_eq!((broken.invariant, path.steps.len()), (invariant, steps), "{name}: {}", broken.what);
            }
            end => panic!("{name}: {end:?}"),
        }
    }
}
