//! How much time each part of a verification is given, and how much it used.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::show::Show;
use crate::clock::millis;

/// A part of the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The known migrations, and the synthesis of one.
    Plans,
    /// L0.
    Wire,
    /// L1.
    Check,
    /// L2.
    Simulate,
    /// The variants that are broken on purpose.
    Mutants,
    /// L3.
    Rehearse,
}

/// A part's share of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The part.
    pub part: Part,
    /// What it was given, in milliseconds.
    pub given_ms: u64,
    /// What it used, in milliseconds.
    pub used_ms: u64,
}

impl Part {
    /// Every part, in the order in which they are run.
    pub const ALL: [Self; 6] = [Self::Plans, Self::Wire, Self::Check, Self::Simulate, Self::Mutants, Self::Rehearse];

    /// Percent of the budget. What the mutants find left over of the parts before them is theirs, too; the rehearsal,
    /// which is last, has all that is left.
    const fn percent(self) -> u32 {
        match self {
            Self::Plans => 2,
            Self::Wire => 5,
            Self::Check => 20,
            Self::Simulate => 10,
            Self::Mutants => 43,
            Self::Rehearse => 20,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plans => "plans",
            Self::Wire => "L0 wire",
            Self::Check => "L1 check",
            Self::Simulate => "L2 simulate",
            Self::Mutants => "mutants",
            Self::Rehearse => "L3 rehearse",
        })
    }
}

/// The budget while it is spent.
pub(super) struct Budget {
    all: Duration,
    started: Instant,
    shares: Vec<Share>,
}

impl Budget {
    pub(super) fn new(all: Duration, started: Instant) -> Self {
        Self { all, started, shares: Vec::new() }
    }

    /// Runs a part with what it is given, and notes what it used.
    pub(super) fn part<T>(&mut self, part: Part, show: &mut Show, run: impl FnOnce(Duration, &mut Show) -> T) -> T {
        let left = self.all.saturating_sub(self.started.elapsed());
        let given = given(part, self.all, left);
        let begun = Instant::now();
        show.begin(part, given, left);
        let result = run(given, show);
        self.shares.push(Share { part, given_ms: millis(given), used_ms: millis(begun.elapsed()) });
        result
    }

    pub(super) fn into_shares(self) -> Vec<Share> {
        self.shares
    }
}

/// What a part is given, where this much is left in all.
fn given(part: Part, all: Duration, left: Duration) -> Duration {
    let share = |part: Part| all * part.percent() / 100;
    match part {
        Part::Plans | Part::Wire | Part::Check | Part::Simulate => share(part).min(left),
        Part::Mutants => left.saturating_sub(share(Part::Rehearse)),
        Part::Rehearse => left,
    }
}

/// How long a verification may take unless it is said.
pub const BUDGET: Duration = Duration::from_secs(600);

/// What a rehearsal needs to have left: one of three nodes, with room for a busy machine. With its defaults it has
/// taken 56 s.
pub const REHEARSAL_MIN: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_all_of_the_budget_and_what_is_left_goes_to_the_last_two() {
        assert_eq!(Part::ALL.iter().map(|part| part.percent()).sum::<u32>(), 100);
        let seconds = Duration::from_secs;
        assert_eq!(given(Part::Check, seconds(600), seconds(590)), seconds(120));
        assert_eq!(given(Part::Check, seconds(600), seconds(7)), seconds(7), "a part has no more than is left");
        assert_eq!(given(Part::Mutants, seconds(600), seconds(500)), seconds(380), "what others left over is theirs");
        assert_eq!(given(Part::Mutants, seconds(600), seconds(100)), Duration::ZERO, "but not the rehearsal's share");
        assert_eq!(given(Part::Rehearse, seconds(600), seconds(300)), seconds(300));
    }
}
