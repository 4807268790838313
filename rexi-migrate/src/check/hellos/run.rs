//! The searches of hellos as a part of the level's report.

use super::bounds::Bounds;
use super::model::Hellos;
use super::tell::trace;
use super::witness::{CASES, OF_THREE, SENTENCES};
use crate::search::{End, Options, Outcome, search_shown};
use crate::verdict::level::{Breach, Figure, LevelReport, Met};

/// Searches within these bounds and adds the outcome to the report.
pub(crate) fn report(
    bounds: &Bounds,
    options: &Options,
    (quiet, command): (bool, &str),
    report: &mut LevelReport,
) -> Outcome<Hellos> {
    let outcome = search_shown(&Hellos::new(bounds.clone()), &bounds.name, options, quiet);
    let states = format!("states of \"{}\" ({})", bounds.name, bounds.describe());
    report.figures.push(Figure::new(states, outcome.tally.states as f64, ""));
    match &outcome.end {
        End::Exhausted | End::Stuck(_) => {}
        End::Bounded(bound) => report.doubts.push(format!("{}: {bound}", bounds.name)),
        End::Broken(broken, path) => report.breaches.push(Breach {
            invariant: broken.invariant,
            what: format!("{} ({} steps, scope \"{}\")", broken.what, path.steps.len(), bounds.name),
            count: 1,
            trace: Some(trace(path, Some(broken))),
            command: command.to_owned(),
        }),
    }
    // From a release that can move in a migration every case is within reach; a case is counted where it takes this
    // many nodes, and in the search with a cut, which has one dial alone, none.
    let required = u64::from(bounds.starts.iter().any(|&release| bounds.train.at(release).moves()));
    for (at, (what, &count)) in SENTENCES.iter().zip(&outcome.tally.met).enumerate() {
        if OF_THREE.contains(&CASES[at]) == (bounds.nodes > 2) && bounds.cuts == 0 {
            report.witnesses.push(Met { what: (*what).to_owned(), count, required });
        }
    }
    outcome
}
