//! The variants that are broken on purpose, tried within a share of the budget; or, in a build that has none, how to
//! try them.

use std::time::Duration;

use super::show::Show;
use super::verification::{Mutation, Options};

/// Tells that this build has no variants, and which command tries them.
#[cfg(not(feature = "mutants"))]
pub(super) fn mutants(_given: Duration, options: &Options, _show: &mut Show) -> Mutation {
    let called = options.service.called();
    let words = options.command.strip_prefix(&called).map_or("verify", str::trim_start);
    let command = format!("cargo run --profile verification -p rexi-migrate --features mutants -- {words}");
    Mutation::NotBuilt { command }
}

#[cfg(feature = "mutants")]
pub(super) use tried::mutants;

#[cfg(feature = "mutants")]
mod tried {
    use std::time::Instant;

    use super::*;
    use crate::clock::millis;
    use crate::mutation::{Budget, Fate, Hunt, Hunted, Score, hunt, hunts};
    use crate::verdict::level::Level;
    use crate::verify::verification::Tried;

    /// Tries every variant for which there is time.
    pub(in crate::verify) fn mutants(given: Duration, _options: &Options, show: &mut Show) -> Mutation {
        let started = Instant::now();
        let all = hunts().expect("every type of this build's wire has a schema, as its tests show");
        let budget = bounds(given);
        let (mut hunted, mut untried) = (Vec::new(), Vec::new());
        // What a variant panics with is given in its row.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        for (number, subject) in all.iter().enumerate() {
            if started.elapsed() >= given {
                untried.push(subject.name.clone());
                continue;
            }
            show.tick(|| format!("{} of {}: {}", number + 1, all.len(), subject.name));
            match tried(subject, &budget) {
                Some(one) => hunted.push(one),
                None => untried.push(subject.name.clone()),
            }
        }
        std::panic::set_hook(hook);
        let Budget { states_max, scenarios, seed, .. } = budget;
        let command = format!(
            "rexi-migrate mutants --levels wire,check,simulate --budget-states {states_max} --scenarios {scenarios} \
             --seed {seed}"
        );
        let score = Score::new(hunted, command, started.elapsed());
        let mut tried = Tried { score, untried, states_max, scenarios, doubts: Vec::new() };
        tried.doubts = doubts(&tried, all.len());
        Mutation::Tried(tried)
    }

    /// What came of it; `None` where nobody noticed, but nobody looked for long enough either. Such a variant is
    /// untried, not alive.
    fn tried(subject: &Hunt, budget: &Budget) -> Option<Hunted> {
        let hunted = hunt(subject, budget);
        (hunted.fate != Fate::Alive || !is_cut_short(budget)).then_some(hunted)
    }

    fn is_cut_short(budget: &Budget) -> bool {
        budget.states_max < STATES || budget.scenarios < SCENARIOS
    }

    /// The bounds of each variant: those of `rexi-migrate mutants`, or their part where the share is small.
    fn bounds(given: Duration) -> Budget {
        let part = |whole: u64| (whole * millis(given).min(FULL_MS) / FULL_MS).max(whole / 200);
        Budget {
            frames: 50,
            states_max: part(STATES),
            scenarios: part(SCENARIOS),
            // None of the levels below starts a process.
            program: std::path::PathBuf::new(),
            levels: vec![Level::Wire, Level::Check, Level::Simulate],
            until_noticed: false,
            threads: crate::search::Options::default().threads,
            seed: 1,
        }
    }

    fn doubts(tried: &Tried, all: usize) -> Vec<String> {
        let mut doubts: Vec<String> =
            tried.alive().map(|name| format!("{name} is alive: no level noticed it")).collect();
        if !tried.untried.is_empty() {
            let untried = tried.untried.len();
            doubts.push(format!("cut short: {untried} of {all} variants were not tried, or not for long enough"));
        }
        let Tried { states_max, scenarios, .. } = tried;
        if *states_max < STATES || *scenarios < SCENARIOS {
            doubts.push(format!(
                "cut short: {states_max} states and {scenarios} scenarios a variant instead of {STATES} and {SCENARIOS}"
            ));
        }
        // What is alive for lack of a variant is a row of the list that means nothing.
        let rows = tried.score.mutants.iter().chain(&tried.score.bugs);
        let bare = rows.filter(|row| row.fate == Fate::Alive && row.planted.is_empty());
        let bare: Vec<&str> = bare.map(|row| row.id.as_str()).collect();
        if tried.untried.is_empty() && !bare.is_empty() {
            doubts.push(format!("nothing is planted for {}", bare.join(", ")));
        }
        doubts
    }

    /// States of each scope and scenarios of each variant, where nothing is cut short, and the share for which nothing
    /// is.
    const STATES: u64 = 60_000;
    const SCENARIOS: u64 = 600;
    const FULL_MS: u64 = 180_000;

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_variant_that_nobody_noticed_for_want_of_time_is_not_tried_and_not_alive() {
            let subject = Hunt::of_names("kill-follows-phase").expect("a variant");
            let check = |states_max| Budget { states_max, levels: vec![Level::Check], ..bounds(Duration::MAX) };
            assert!(tried(&subject, &check(1)).is_none());
            assert_eq!(tried(&subject, &check(STATES)).map(|hunted| hunted.fate), Some(Fate::Killed));
            let harmless = Hunt::of_names("").expect("no variant at all");
            let alive = tried(&harmless, &Budget { levels: vec![Level::Wire], ..check(STATES) });
            assert_eq!(alive.map(|hunted| hunted.fate), Some(Fate::Alive), "with all that it takes");
        }
    }
}
