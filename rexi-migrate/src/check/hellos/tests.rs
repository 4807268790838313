//! Tests of the search itself: healthy nodes are searched exhaustively, and each variant is found by its shortest
//! trace.

use rexi_proto::Mutants;

use super::witness::{CASES, OF_THREE, SENTENCES};
use super::*;
use crate::model::Case;
use crate::search::{Bound, End, Options, Outcome, search};
#[cfg(feature = "mutants")]
use crate::verdict::invariant::Invariant;

mod needed;

/// The bounds of `check` from 1.2 alone.
fn from_the_switching_release(mutants: Mutants) -> Vec<Bounds> {
    let all = bounds(3, &crate::demo::path(), mutants);
    all.into_iter().map(|bounds| Bounds { starts: vec![2], ..bounds }).collect()
}

fn run(bounds: Bounds, depth_max: u32) -> Outcome<Hellos> {
    search(&Hellos::new(bounds), &Options { depth_max, ..Options::default() }, &mut |_| {})
}

fn is_of_three(case: usize) -> bool {
    OF_THREE.contains(&CASES[case])
}

fn is_of_starts(case: usize) -> bool {
    matches!(CASES[case], Case::Outlived | Case::StartsAhead)
}

/// The bounds of `check` about how nodes start: with clocks that are set, beside a second process, in any release.
fn of_starts(mutants: Mutants) -> [Bounds; 4] {
    let [_, _, _, clock, clocks, twins, astray] = bounds(3, &crate::demo::path(), mutants).try_into().expect("seven");
    [clock, clocks, twins, astray]
}

#[test]
fn however_a_node_was_started_those_that_may_speak_find_each_other() {
    for bounds in of_starts(Mutants::default()) {
        // `check` has two dials there, and takes a fifth of a minute.
        let dials = if bounds.clocks > 0 { 1 } else { bounds.dials };
        let bounds = Bounds { dials, ..bounds };
        let (name, set, second) = (bounds.name.clone(), bounds.clocks > 0, bounds.twins > 0);
        let outcome = run(bounds, u32::MAX);
        assert!(matches!(outcome.end, End::Exhausted), "{name}: {:?}", outcome.end);
        let met = |case| outcome.tally.met[CASES.iter().position(|&of| of == case).expect("it is counted")] > 0;
        assert_eq!((met(Case::Outlived), met(Case::StartsAhead)), (set || second, set), "{name}");
    }
}

#[test]
fn two_healthy_nodes_are_exhausted_and_meet_each_case_of_two() {
    let [two, ..] = &from_the_switching_release(Mutants::default())[..] else { panic!("three configurations") };
    let still = run(Bounds { lowers: 0, ..two.clone() }, u32::MAX);
    assert!(matches!(still.end, End::Exhausted), "{:?}", still.end);
    let lowered = run(Bounds { dials: 1, ..two.clone() }, u32::MAX);
    assert!(matches!(lowered.end, End::Exhausted), "{:?}", lowered.end);
    let cut = run(Bounds { dials: 1, cuts: 1, ..two.clone() }, u32::MAX);
    assert!(matches!(cut.end, End::Exhausted), "{:?}", cut.end);
    for (at, what) in SENTENCES.iter().enumerate().filter(|(at, _)| !is_of_three(*at) && !is_of_starts(*at)) {
        assert!(still.tally.met[at] + lowered.tally.met[at] > 0, "no {what}: {:?} {:?}", still.tally, lowered.tally);
    }
}

#[test]
fn three_healthy_nodes_break_nothing_within_six_steps_and_keep_a_remover_out() {
    let [_, three, ..] = &from_the_switching_release(Mutants::default())[..] else { panic!("three configurations") };
    let outcome = run(three.clone(), 6);
    assert!(matches!(outcome.end, End::Bounded(Bound::Depth(6))), "{:?}", outcome.end);
    for (at, what) in SENTENCES.iter().enumerate().filter(|(at, _)| is_of_three(*at)) {
        assert!(outcome.tally.met[at] > 0, "no {what}: {:?}", outcome.tally);
    }
}

/// What a variant breaks in the first configuration that notices it, in how many steps at least.
#[cfg(feature = "mutants")]
fn shortest(names: &str) -> Option<(usize, Invariant, usize)> {
    let mutants = Mutants::from_names(names).expect("known names");
    from_the_switching_release(mutants).into_iter().find_map(|bounds| match run(bounds.clone(), 8).end {
        End::Broken(broken, path) => Some((bounds.nodes, broken.invariant, path.steps.len())),
        _ => None,
    })
}

#[cfg(feature = "mutants")]
#[test]
fn variants_that_two_nodes_notice_are_found_by_their_shortest_traces() {
    for (names, invariant, steps) in [
        ("earlier-life-believed,past-connection-kept", Invariant::S12, 8),
        ("earlier-epoch-believed", Invariant::S12, 4),
        ("dead-life-welcome", Invariant::S7, 5),
        ("connect-unchecked,single-verdict", Invariant::S13, 8),
        ("unknown-is-ready", Invariant::S6, 0),
        ("ceiling-ignored", Invariant::L5, 1),
        ("refusal-outlived", Invariant::S11, 5),
    ] {
        assert_eq!(shortest(names), Some((2, invariant, steps)), "{names}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn variants_that_mistake_who_is_there_are_found_by_their_shortest_traces() {
    for (names, of, invariant, steps) in [
        ("shut-out-by-later-life", 1, Invariant::L7, 2),
        ("far-start-believed", 1, Invariant::L7, 4),
        ("past-connection-kept", 0, Invariant::S12, 11),
        ("shut-out-by-later-life", 2, Invariant::L7, 5),
        ("holdouts-of-removers", 3, Invariant::L7, 3),
    ] {
        let mutants = Mutants::from_names(names).expect("known names");
        let bounds = of_starts(mutants)[of].clone();
        match run(bounds.clone(), u32::MAX) {
            Outcome { end: End::Broken(broken, path), .. } => {
                assert_eq!((broken.invariant, path.steps.len()), (invariant, steps), "{names}");
            }
            outcome => panic!("{names}: {:?} {:?}", outcome.end, outcome.tally),
        }
    }
}

#[cfg(feature = "mutants")]
#[test]
fn variants_that_take_a_third_node_are_found_by_their_shortest_traces() {
    for (names, invariant, steps) in [("majority-is-enough", Invariant::S6, 2), ("holdouts-ignored", Invariant::S13, 6)]
    {
        let mutants = Mutants::from_names(names).expect("known names");
        let three = from_the_switching_release(mutants).swap_remove(1);
        match run(three, 8).end {
            End::Broken(broken, path) => {
                assert_eq!((broken.invariant, path.steps.len()), (invariant, steps), "{names}");
            }
            end => panic!("{names}: {end:?}"),
        }
    }
}
