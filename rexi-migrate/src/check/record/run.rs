//! The searches of records as a part of the level's report.

use super::bounds::Bounds;
use super::model::Records;
use super::tell::trace;
use super::witness::SENTENCES;
use crate::check::searched::Searched;
use crate::search::{Options, Outcome};
use crate::verdict::level::{LevelReport, Met};

/// Searches within these bounds and adds the outcome to the report.
pub(crate) fn report(
    bounds: &Bounds,
    options: &Options,
    (quiet, command): (bool, &str),
    report: &mut LevelReport,
) -> Outcome<Records> {
    let stuck = "from here no command brings the record to rest";
    let searched = Searched { name: &bounds.name, bounds: bounds.describe(), stuck, quiet, command };
    searched.run(&Records::new(bounds.clone()), options, trace, report)
}

/// Adds the cases that all of these searches together have met, each of which they must.
pub(crate) fn tell<'a>(searches: impl Iterator<Item = &'a [u64]>, report: &mut LevelReport) {
    let mut met = [0; SENTENCES.len()];
    searches.for_each(|search| met.iter_mut().zip(search).for_each(|(all, met)| *all += met));
    let of = |(what, count): (&&str, u64)| Met { what: (*what).to_owned(), count, required: true.into() };
    report.witnesses.extend(SENTENCES.iter().zip(met).map(of));
}
