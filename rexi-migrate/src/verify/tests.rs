//! The common verdict of several parts.

use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::migration::known;
use crate::mutation::Score;
use crate::service::Service;
use crate::verdict::level::{Breach, Level};

fn level(level: Level) -> LevelReport {
    LevelReport::new(level, "a test", "rexi-migrate check").concluded(Duration::ZERO)
}

fn levels() -> Vec<LevelReport> {
    Level::ALL.map(level).to_vec()
}

fn untried() -> Mutation {
    Mutation::NotBuilt { command: "cargo run".to_owned() }
}

fn tried(doubts: &[&str]) -> Mutation {
    let score = Score::new(Vec::new(), "rexi-migrate mutants", Duration::ZERO);
    let doubts = doubts.iter().map(|&doubt| doubt.to_owned()).collect();
    Mutation::Tried(Tried { score, untried: Vec::new(), states_max: 1, scenarios: 1, doubts })
}

/// Searched once, since that takes long.
static PLANS: LazyLock<Vec<Plan>> =
    LazyLock::new(|| plans::plans(&Service::new(crate::demo::path()), &mut Show::new(true)));

#[test]
fn the_verdict_is_the_worst_of_all_parts() {
    let plans = &*PLANS;
    assert_eq!(plans.len(), known(&crate::demo::path()).len());
    assert_eq!(worst(&levels(), plans, &untried()), Conclusion::Safe);
    assert_eq!(worst(&levels(), plans, &tried(&["one is alive"])), Conclusion::CouldNotTell);
    let mut doubtful = levels();
    doubtful[1] = LevelReport::not_run(Level::Check, "there was no time".to_owned(), "rexi-migrate check");
    assert_eq!(worst(&doubtful, plans, &untried()), Conclusion::CouldNotTell);
    let mut broken = doubtful;
    broken[2].breaches.push(Breach {
        invariant: crate::verdict::invariant::Invariant::S3,
        what: "a killed job ran on".to_owned(),
        count: 1,
        trace: None,
        command: String::new(),
    });
    broken[2] = broken[2].clone().concluded(Duration::ZERO);
    assert_eq!(worst(&broken, plans, &tried(&["one is alive"])), Conclusion::Unsafe);
}

#[test]
fn the_plans_are_found_again_and_what_is_shorter_is_ruled_out_with_its_case() {
    let plans = &*PLANS;
    assert!(plans.iter().all(|plan| plan.verdict == Conclusion::Safe && plan.states > 100), "{plans:?}");
    let found: Vec<_> = plans.iter().filter_map(|plan| plan.synthesized.as_ref()).collect();
    let [found] = found.as_slice() else { panic!("one is synthesized") };
    assert_eq!(found.steps.as_ref().map(Vec::len), Some(3));
    assert!(found.ruled_out.len() > 2 && found.ruled_out.iter().all(|out| out.trace.events.iter().any(|e| e.breach)));
}
