//! A verification in a dozen lines: the verdict of each part, what is in doubt, how to repeat it.

use std::fmt::{self, Write};

use super::budget::Part;
use super::verification::{Mutation, Verification};
use crate::mutation::{Fate, Score};
use crate::verdict::conclusion::Conclusion;

impl Verification {
    /// As text for a terminal.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes all that is written to it");
        text
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        for level in &self.levels {
            let verdict = level.verdict.words();
            writeln!(out, "{:<12} {verdict:<15} {}", level.level.to_string(), level.checked)?;
        }
        for plan in &self.plans {
            let (name, verdict, steps) = (&plan.name, plan.verdict.words(), plan.steps.len());
            writeln!(out, "{:<12} {verdict:<15} {name}: {steps} steps, {} states", Part::Plans, plan.states)?;
        }
        writeln!(out, "{:<12} {:<15} {}", Part::Mutants, self.mutation.word(), self.mutation.words())?;
        for (part, doubt) in self.doubts() {
            writeln!(out, "doubt: {part}: {doubt}")?;
        }
        for level in &self.levels {
            for breach in &level.breaches {
                writeln!(out, "{}: {} ({})", breach.invariant, breach.what, level.level)?;
            }
        }
        let seconds = self.elapsed_ms as f64 / 1e3;
        writeln!(out, "{} in {seconds:.1} s; rerun: {}", self.verdict.words(), self.command)
    }
}

impl Conclusion {
    /// As a report shouts it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Safe => "SAFE",
            Self::CouldNotTell => "COULD NOT TELL",
            Self::Unsafe => "UNSAFE",
        }
    }
}

impl Mutation {
    /// Its verdict, if it has one.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotBuilt { .. } => "NOT TRIED",
            Self::Tried(tried) if tried.alive().next().is_some() => "ALIVE",
            Self::Tried(tried) if !tried.doubts.is_empty() => Conclusion::CouldNotTell.words(),
            Self::Tried(_) => "ALL NOTICED",
        }
    }

    /// What became of them, in a line.
    pub fn words(&self) -> String {
        match self {
            Self::NotBuilt { command } => format!("this build has none; try them with: {command}"),
            Self::Tried(tried) => {
                let fates = tried.score.hunted.iter().map(|hunted| hunted.fate);
                let count = |fate: Fate| fates.clone().filter(|of| *of == fate).count();
                let impossible = Score::count(&tried.score.mutants, Fate::Impossible);
                format!(
                    "{} variants killed, {} equivalent by themselves, {} alive, {} not tried; {impossible} of the list \
                     impossible here",
                    count(Fate::Killed),
                    count(Fate::Equivalent),
                    count(Fate::Alive),
                    tried.untried.len()
                )
            }
        }
    }
}
