//! The searches of records as a part of the level's report.

use super::bounds::Bounds;
use super::model::Records;
use super::tell::trace;
use super::witness::SENTENCES;
use crate::search::{Broken, End, Options, Outcome, Path, search_shown};
use crate::verdict::invariant::Invariant;
use crate::verdict::level::{Breach, Figure, LevelReport, Met};

/// Searches within these bounds and adds the outcome to the report.
pub(crate) fn report(
    bounds: &Bounds,
    options: &Options,
    (quiet, command): (bool, &str),
    report: &mut LevelReport,
) -> Outcome<Records> {
    let outcome = search_shown(&Records::new(bounds.clone()), &bounds.name, options, quiet);
    let states = format!("states of \"{}\" ({})", bounds.name, bounds.describe());
    report.figures.push(Figure::new(states, outcome.tally.states as f64, ""));
    let breach = |broken: &Broken, path: &Path<Records>| Breach {
        invariant: broken.invariant,
        what: format!("{} ({} steps, scope \"{}\")", broken.what, path.steps.len(), bounds.name),
        count: 1,
        trace: Some(trace(path, Some(broken))),
        command: command.to_owned(),
    };
    match &outcome.end {
        End::Exhausted => {}
        End::Bounded(bound) => report.doubts.push(format!("{}: {bound}", bounds.name)),
        End::Broken(broken, path) => report.breaches.push(breach(broken, path)),
        End::Stuck(path) => {
            let what = "from here no command brings the record to rest".to_owned();
            report.breaches.push(breach(&Broken { invariant: Invariant::L4, what }, path));
        }
    }
    outcome
}

/// Adds the cases that all of these searches together have met, each of which they must.
pub(crate) fn tell<'a>(searches: impl Iterator<Item = &'a [u64]>, report: &mut LevelReport) {
    let mut met = [0; SENTENCES.len()];
    searches.for_each(|search| met.iter_mut().zip(search).for_each(|(all, met)| *all += met));
    let of = |(what, count): (&&str, u64)| Met { what: (*what).to_owned(), count, required: true.into() };
    report.witnesses.extend(SENTENCES.iter().zip(met).map(of));
}
