//! The searches of hellos as a part of the level's report.

use rexi_proto::Stage;

use super::bounds::Bounds;
use super::model::Hellos;
use super::tell::trace;
use super::witness::{CASES, OF_REMOVED, OF_THREE, SENTENCES};
use crate::check::searched::{Searched, UPGRADE_STUCK};
use crate::model::Case;
use crate::search::{Options, Outcome};
use crate::verdict::level::{LevelReport, Met};

/// Searches within these bounds and adds the outcome to the report.
pub(crate) fn report(
    bounds: &Bounds,
    options: &Options,
    (quiet, command): (bool, &str),
    report: &mut LevelReport,
) -> Outcome<Hellos> {
    let searched = Searched { name: &bounds.name, bounds: bounds.describe(), stuck: UPGRADE_STUCK, quiet, command };
    let outcome = searched.run(&Hellos::new(bounds.clone()), options, trace, report);
    // From a release that can move in a migration every case is within reach, but for those that take one that has
    // removed the old form.
    let any = |of: fn(&Bounds, usize) -> bool| bounds.starts.iter().any(|&release| of(bounds, release));
    let (moves, removes) = (any(|bounds, release| bounds.train.at(release).moves()), any(may_meet_removed));
    for (at, (what, &count)) in SENTENCES.iter().zip(&outcome.tally.met).enumerate() {
        if is_within_reach(CASES[at], bounds) {
            let required = match CASES[at] {
                Case::Outlived | Case::StartsAhead => true,
                case if OF_REMOVED.contains(&case) => removes,
                _ => moves,
            };
            report.witnesses.push(Met { what: (*what).to_owned(), count, required: required.into() });
        }
    }
    outcome
}

/// Whether a search within these bounds is to meet the case: where it takes this many nodes, clocks that are set, or a
/// second process. In the search with a cut, which has one dial alone, none; nor in that for one of any release.
fn is_within_reach(case: Case, bounds: &Bounds) -> bool {
    let Bounds { nodes, clocks, twins, astray, cuts, .. } = *bounds;
    match case {
        Case::Outlived => clocks > 0 || twins > 0,
        Case::StartsAhead => clocks > 0,
        _ if clocks > 0 || twins > 0 || astray || cuts > 0 => false,
        _ => OF_THREE.contains(&case) == (nodes > 2),
    }
}

/// Whether a node of this release may say a form that one of the next release has removed.
fn may_meet_removed(bounds: &Bounds, release: usize) -> bool {
    let (train, next) = (&bounds.train, release + 1);
    let migrations = 0..train.at(release).migrations().len();
    let meets = |number: usize| (train.at(release).stage_at(number), train.at(next).stage_at(number));
    next < train.len() && migrations.map(meets).any(|(now, next)| now == Stage::Switch && next == Stage::Remove)
}
