//! All of the verification in one run within a stated budget of time: the plans, every level, the broken variants.
//!
//! In: the budget, a seed, the executable that rehearses. Out: a [`Verification`], which `page.rs` renders and serde
//! writes. `verify/budget.rs` has what each part is given; `levels`, `plans` and `mutants` run the parts, `rehearsed`
//! presents a rehearsal as a level, `mixes` says what was checked of each mix of releases. Judges nothing itself: the
//! verdict is the worst one of any part.

mod budget;
mod levels;
mod mixes;
mod mutants;
mod plans;
mod rehearsed;
mod show;
mod text;
mod verification;

use std::time::{Instant, SystemTime};

use self::show::Show;
use crate::clock::{millis, utc};
use crate::verdict::conclusion::Conclusion;
use crate::verdict::level::LevelReport;

pub use budget::{BUDGET, Part, REHEARSAL_MIN, Share};
pub use mixes::{Checked, Mix, Mixes, ServerKind, Stop, Target};
pub use plans::{Plan, Ruled, Synthesized};
pub use verification::{FORMAT_VERSION, Mutation, Options, Tried, Verification};

/// Runs every part in turn.
pub fn verify(options: &Options) -> Verification {
    let show = &mut Show::new(options.quiet);
    let (started, wall) = (Instant::now(), SystemTime::now());
    let mut budget = budget::Budget::new(options.budget, started);
    let plans = budget.part(Part::Plans, show, |_, show| plans::plans(&options.service, show));
    let wire = budget.part(Part::Wire, show, |_, _| levels::wire(&options.service, options.seed));
    let check = budget.part(Part::Check, show, |given, show| levels::check(&options.service, given, show));
    let simulate = budget.part(Part::Simulate, show, |given, show| levels::simulate(options, given, show));
    let mutation = budget.part(Part::Mutants, show, |given, show| mutants::mutants(given, options, show));
    // Last, since it takes the signals that would end the other parts.
    let (rehearse, rehearsal) =
        budget.part(Part::Rehearse, show, |given, show| rehearsed::rehearse(given, options, show));
    let levels = vec![wire, check, simulate, rehearse];
    let mixes = mixes::mixes(&options.service.train, &levels, rehearsal.as_ref());
    let builds = rehearsal.as_ref().map(|_| &options.builds);
    let builds = builds.into_iter().flatten().map(|(release, build)| (release.to_string(), build.clone())).collect();
    let verdict = worst(&levels, &plans, &mutation);
    show.clear();
    Verification {
        format_version: FORMAT_VERSION,
        verdict,
        version: version(),
        started_at: utc(wall),
        seed: options.seed,
        budget_ms: millis(options.budget),
        elapsed_ms: millis(started.elapsed()),
        command: options.command.clone(),
        shares: budget.into_shares(),
        train: mixes::train(&options.service.train),
        builds,
        mixes,
        levels,
        plans,
        mutation,
        rehearsal,
    }
}

fn worst(levels: &[LevelReport], plans: &[Plan], mutation: &Mutation) -> Conclusion {
    let levels = levels.iter().map(|level| level.verdict);
    levels.chain(plans.iter().map(|plan| plan.verdict)).fold(mutation.verdict(), Conclusion::max)
}

fn version() -> String {
    let features = if cfg!(feature = "mutants") { "with mutants" } else { "without mutants" };
    let assertions = if cfg!(debug_assertions) { "with assertions" } else { "without assertions" };
    format!("rexi-migrate {} ({features}, {assertions})", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests;
