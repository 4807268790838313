//! The searches of hellos as a part of the level's report.

use rexi_proto::Stage;

use super::bounds::Bounds;
use super::model::Hellos;
use super::tell::trace;
use super::witness::{CASES, OF_REMOVED, OF_THREE, SENTENCES};
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
    // From a release that can move in a migration every case is within reach, but for those that take one that has
    // removed the old form; a case is counted where it takes this many nodes, and in the search with a cut, which has
    // one dial alone, none.
    let any = |of: fn(&Bounds, usize) -> bool| bounds.starts.iter().any(|&release| of(bounds, release));
    let (moves, removes) = (any(|bounds, release| bounds.train.at(release).moves()), any(may_meet_removed));
    for (at, (what, &count)) in SENTENCES.iter().zip(&outcome.tally.met).enumerate() {
        if OF_THREE.contains(&CASES[at]) == (bounds.nodes > 2) && bounds.cuts == 0 {
            let required = u64::from(if OF_REMOVED.contains(&CASES[at]) { removes } else { moves });
            report.witnesses.push(Met { what: (*what).to_owned(), count, required });
        }
    }
    outcome
}

/// Whether a node of this release may say a form that one of the next release has removed.
fn may_meet_removed(bounds: &Bounds, release: usize) -> bool {
    let (train, next) = (&bounds.train, release + 1);
    let migrations = 0..train.at(release).migrations().len();
    let meets = |number: usize| (train.at(release).stage_at(number), train.at(next).stage_at(number));
    next < train.len() && migrations.map(meets).any(|(now, next)| now == Stage::Switch && next == Stage::Remove)
}
