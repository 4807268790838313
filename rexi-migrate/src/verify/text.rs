//! A verification in a dozen lines: the verdict of each part, what is in doubt, how to repeat it.

use std::fmt::{self, Write};

use super::budget::Part;
use super::verification::{Mutation, Verification};
use crate::columns::{hanging, rerun, wrapped};
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
            writeln!(out, "{}", row(&level.level.to_string(), verdict, &level.checked))?;
        }
        for plan in &self.plans {
            let (name, verdict, steps) = (&plan.name, plan.verdict.words(), plan.steps.len());
            let what = format!("{name}: {steps} steps, {} states", plan.states);
            writeln!(out, "{}", row(&Part::Plans.to_string(), verdict, &what))?;
        }
        let words = match &self.mutation {
            Mutation::NotBuilt { .. } => "this build has none; try them with:".to_owned(),
            tried @ Mutation::Tried(_) => tried.words(),
        };
        writeln!(out, "{}", row(&Part::Mutants.to_string(), self.mutation.word(), &words))?;
        if let Mutation::NotBuilt { command } = &self.mutation {
            writeln!(out, "{}", rerun(command))?;
        }
        for (part, doubt) in self.doubts() {
            writeln!(out, "{}", wrapped("", "  ", &format!("doubt: {part}: {doubt}")))?;
        }
        for level in &self.levels {
            for breach in &level.breaches {
                let what = format!("{}: {} ({})", breach.invariant, breach.what, level.level);
                writeln!(out, "{}", wrapped("", "  ", &what))?;
            }
        }
        let seconds = self.elapsed_ms as f64 / 1e3;
        writeln!(out, "{} in {seconds:.1} s\n{}", self.verdict.words(), rerun(&self.command))
    }
}

/// A part, its verdict, and what it looked at.
fn row(part: &str, verdict: &str, what: &str) -> String {
    hanging(&format!("{part:<12} {verdict:<15} "), what)
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
