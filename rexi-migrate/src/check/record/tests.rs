//! Tests of the search itself: healthy members are searched exhaustively, and each variant is found by its shortest
//! trace.

use rexi_proto::Mutants;

use super::*;
use crate::search::{End, Options, Outcome, search};

fn run(bounds: Bounds) -> Outcome<Records> {
    search(
        &Records::new(bounds),
        &Options { reach_goal: true, states_max: 1_000_000, ..Options::default() },
        &mut |_| {},
    )
}

#[test]
fn every_scope_is_exhausted_and_breaks_nothing() {
    for bounds in bounds(&crate::demo::path(), Mutants::default()) {
        if std::env::var("SCOPE").is_ok_and(|of| !bounds.name.contains(&of)) {
            continue;
        }
        let name = bounds.name.clone();
        let outcome = run(bounds);
        println!(
            "{name}: {} states, {} steps deep, {:?}, {:?}",
            outcome.tally.states, outcome.tally.depth, outcome.elapsed, outcome.tally.met
        );
        let told = match &outcome.end {
            End::Broken(broken, path) => told(path, Some(broken)),
            End::Stuck(path) => told(path, None),
            _ => String::new(),
        };
        assert!(matches!(outcome.end, End::Exhausted), "{name}: {told}");
    }
}

fn told(path: &crate::search::Path<Records>, broken: Option<&crate::search::Broken>) -> String {
    let events = trace(path, broken).events;
    let mut told: String = events.iter().map(|event| format!("\n  {:?} {}", event.place, event.what)).collect();
    let end = path.end();
    for node in &end.nodes {
        told += &format!(
            "\n--- {} {}",
            node.process.is_some(),
            node.disk.kept().map_or_else(String::new, |kept| kept.to_text())
        );
    }
    told
}

#[cfg(feature = "mutants")]
#[test]
fn each_variant_is_found_by_what_it_breaks() {
    use rexi_proto::Mutant;
    let of_record = |planted: &&rexi_proto::Planted| planted.mutant >= Mutant::StartIgnoresFloor;
    for planted in Mutant::ALL.iter().filter(of_record) {
        let alone = Mutants::default().with(planted.mutant);
        let on = planted.with.iter().fold(alone, |on, &other| on.with(other));
        for (mutants, expected) in [(alone, planted.covered_by.is_none()), (on, true)] {
            if std::env::var("ONLY").is_ok_and(|of| !of.split(',').any(|of| of == planted.name)) {
                continue;
            }
            let mut found = None;
            let mut states = 0;
            for bounds in bounds(&crate::demo::path(), mutants) {
                let name = bounds.name.clone();
                let outcome = search(
                    &Records::new(bounds),
                    &Options { reach_goal: true, states_max: 300_000, ..Options::default() },
                    &mut |_| {},
                );
                states += outcome.tally.states;
                found = match outcome.end {
                    End::Broken(broken, path) => Some((name, broken.invariant, path.steps.len(), broken.what)),
                    End::Stuck(path) => {
                        Some((name, crate::verdict::invariant::Invariant::L4, path.steps.len(), String::new()))
                    }
                    _ => None,
                };
                if found.is_some() {
                    break;
                }
            }
            println!("{} {expected} {states}: {found:?}", planted.name);
            if expected == (planted.covered_by.is_none()) && planted.with.is_empty() {
                break;
            }
        }
    }
}
