//! One search as a part of the level's report: its states, what it could not tell, what breaks.

use crate::search::{Broken, End, Model, Options, Outcome, Path, search_shown};
use crate::verdict::invariant::Invariant;
use crate::verdict::level::{Breach, Figure, LevelReport};
use crate::verdict::trace::Trace;

/// A search, by what people are told of it.
pub(super) struct Searched<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its bounds, in one line.
    pub(super) bounds: String,
    /// What it means that from a state no goal can be reached.
    pub(super) stuck: &'static str,
    /// Shows no progress.
    pub(super) quiet: bool,
    /// The command line that does it again.
    pub(super) command: &'a str,
}

impl Searched<'_> {
    /// Searches `model`, and adds the outcome to the report.
    pub(super) fn run<M: Model>(
        &self,
        model: &M,
        options: &Options,
        trace: impl Fn(&Path<M>, Option<&Broken>) -> Trace,
        report: &mut LevelReport,
    ) -> Outcome<M> {
        let Self { name, bounds, stuck, quiet, command } = self;
        let outcome = search_shown(model, name, options, *quiet);
        let states = outcome.tally.states as f64;
        report.figures.push(Figure::new(format!("states of \"{name}\" ({bounds})"), states, ""));
        let breach = |broken: &Broken, path: &Path<M>| Breach {
            invariant: broken.invariant,
            what: format!("{} ({} steps, scope \"{name}\")", broken.what, path.steps.len()),
            count: 1,
            trace: Some(trace(path, Some(broken))),
            command: (*command).to_owned(),
        };
        match &outcome.end {
            End::Exhausted => {}
            End::Bounded(bound) => report.doubts.push(format!("{name}: {bound}")),
            End::Broken(broken, path) => report.breaches.push(breach(broken, path)),
            End::Stuck(path) => {
                let broken = Broken { invariant: Invariant::L4, what: (*stuck).to_owned() };
                report.breaches.push(breach(&broken, path));
            }
        }
        outcome
    }
}

/// What it means for a cluster that goes through its train.
pub(super) const UPGRADE_STUCK: &str = "from here the upgrade cannot be brought to its end";
