//! Tests of the search itself: healthy members break nothing, and each variant is found by its shortest trace.

use rexi_proto::Mutants;

use super::*;
use crate::search::{Broken, End, Options, Outcome, Path, search};
use crate::verdict::invariant::Invariant;

fn run(bounds: Bounds, states_max: u64) -> Outcome<Records> {
    search(&Records::new(bounds), &Options { reach_goal: true, states_max, ..Options::default() }, &mut |_| {})
}

/// What breaks, in how many steps, and the trace.
fn found(outcome: &Outcome<Records>) -> Option<(Invariant, usize, String)> {
    let told = |path: &Path<Records>, broken: Option<&Broken>| {
        trace(path, broken).events.iter().map(|event| format!("{:?} {}\n", event.place, event.what)).collect()
    };
    match &outcome.end {
        End::Broken(broken, path) => Some((broken.invariant, path.steps.len(), told(path, Some(broken)))),
        End::Stuck(path) => Some((Invariant::L4, path.steps.len(), told(path, None))),
        End::Exhausted | End::Bounded(_) => None,
    }
}

/// The next test goes on, in a build that takes seconds for it.
#[test]
fn nothing_breaks_in_the_first_states_of_every_scope() {
    for bounds in bounds(&crate::demo::path(), Mutants::default()) {
        let name = bounds.name.clone();
        let outcome = run(bounds, 2_500);
        assert_eq!(found(&outcome), None, "{name}");
        assert!(outcome.tally.states > 10, "{name}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn every_scope_is_exhausted_and_together_they_meet_each_case() {
    let mut met = vec![0; witness::SENTENCES.len()];
    for bounds in bounds(&crate::demo::path(), Mutants::default()) {
        let name = bounds.name.clone();
        let outcome = run(bounds, u64::MAX);
        assert!(matches!(outcome.end, End::Exhausted), "{name}: {:?}", found(&outcome));
        met.iter_mut().zip(&outcome.tally.met).for_each(|(all, met)| *all += met);
    }
    let never: Vec<_> = witness::SENTENCES.iter().zip(met).filter(|(_, met)| *met == 0).collect();
    assert!(never.is_empty(), "{never:?}");
}

#[test]
fn bounds_are_told_in_one_line() {
    let all = bounds(&crate::demo::path(), Mutants::default());
    let told: Vec<String> = all.iter().map(Bounds::describe).collect();
    assert_eq!(told[0], "3 members, 2 wishes, 1 meeting in between");
    assert_eq!(told[4], "3 members, 1 wish, 1 message doubled, 1 driver killed");
}
