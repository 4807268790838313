//! What became of all mutants: which were noticed, at which level, by which invariant, in how many steps.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::catalogue::{BUGS, Entry, How, MUTANTS};
use crate::columns::{each_line, rerun, table, wrapped};
use crate::verdict::invariant::Invariant;
use crate::verdict::level::Level;
use crate::verdict::trace::Trace;

/// What one level made of a mutant.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// The level.
    pub level: Level,
    /// What it noticed; `None` for nothing.
    pub found: Option<Found>,
    /// How much it looked at, in words.
    pub looked_at: String,
}

/// A mutant that was noticed.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// What it broke; `None` where the program itself gave up, by an assertion or a bound.
    pub invariant: Option<Invariant>,
    /// What happened, in a sentence.
    pub what: String,
    /// Steps of the case: of the shortest trace, or of the shrunk plan.
    pub steps: usize,
    /// The case.
    pub trace: Option<Trace>,
    /// The command that shows it again.
    pub command: String,
}

/// A broken variant, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Hunted {
    /// Its name.
    pub name: String,
    /// The ids of the catalogue that it stands for.
    pub ids: Vec<String>,
    /// What it does, in a sentence.
    pub sentence: String,
    /// The invariants that it is said to break, with spaces between; empty where that is not said.
    pub breaks: String,
    /// What came of it.
    pub fate: Fate,
    /// Level by level, with the mutants that take its second guard away, if it has one.
    pub tried: Vec<Tried>,
    /// The second guard, where it has one.
    pub cover: Option<Cover>,
}

/// A second guard, which makes a mutant equivalent by itself.
#[derive(Clone, Debug, Serialize)]
pub struct Cover {
    /// The guard.
    pub guard: String,
    /// The mutants that take it away.
    pub with: Vec<String>,
    /// The mutant by itself, level by level: none may notice it.
    pub alone: Vec<Tried>,
}

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Noticed by itself.
    Killed,
    /// Not noticed by itself, as its second guard says; noticed once that is gone.
    Equivalent,
    /// There is nothing that could go wrong so.
    Impossible,
    /// Not noticed.
    Alive,
}

/// An id of the catalogue, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreRow {
    /// The id.
    pub id: String,
    /// What goes wrong.
    pub what: String,
    /// The invariants that are to notice it.
    pub oracles: String,
    /// Of the variants that stand for it: alive if one is, equivalent if all are.
    pub fate: Fate,
    /// Their names.
    pub planted: Vec<String>,
    /// Why it cannot be here, and the test that holds that.
    pub impossible: Option<(String, String)>,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// The broken variants.
    pub hunted: Vec<Hunted>,
    /// The mutants, M1 to M51.
    pub mutants: Vec<ScoreRow>,
    /// The historical bugs, G1 to G18.
    pub bugs: Vec<ScoreRow>,
    /// The command that does it again.
    pub command: String,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::Equivalent => "equivalent",
            Self::Impossible => "impossible",
            Self::Alive => "ALIVE",
        })
    }
}

impl Hunted {
    /// The first level that noticed it, and how.
    pub fn first(&self) -> Option<(Level, &Found)> {
        self.tried.iter().find_map(|tried| Some((tried.level, tried.found.as_ref()?)))
    }

    /// Whether it was noticed, and by what it is said to break.
    pub fn is_as_said(&self) -> bool {
        self.fate != Fate::Alive && self.astray().is_none()
    }

    /// What it broke first, in a sentence, where that is no invariant that it is said to break.
    fn astray(&self) -> Option<String> {
        let broke = self.first().and_then(|(_, found)| found.invariant)?.to_string();
        let said = self.breaks.is_empty() || self.breaks.split(' ').any(|id| id == broke);
        (!said).then(|| format!("{} is said to break {}, and broke {broke}", self.name, self.breaks))
    }
}

impl Score {
    /// The score of these variants over all ids of the catalogue. An id whose variants were not tried counts as alive.
    pub fn new(hunted: Vec<Hunted>, command: impl Into<String>, elapsed: Duration) -> Self {
        let elapsed_ms = elapsed.as_millis().try_into().unwrap_or(u64::MAX);
        let rows = |entries: &[Entry]| entries.iter().map(|entry| ScoreRow::of(entry, &hunted)).collect();
        let (mutants, bugs) = (rows(&MUTANTS), rows(&BUGS));
        Self { hunted, mutants, bugs, command: command.into(), elapsed_ms }
    }

    /// How many of the rows had this fate.
    pub fn count(rows: &[ScoreRow], fate: Fate) -> usize {
        rows.iter().filter(|row| row.fate == fate).count()
    }

    /// Whether nobody is alive, and each was noticed by what it is said to break, where that is said.
    pub fn is_full(&self) -> bool {
        let alive = |rows| Self::count(rows, Fate::Alive) > 0;
        !alive(&self.mutants) && !alive(&self.bugs) && self.hunted.iter().all(Hunted::is_as_said)
    }

    /// As text for a terminal.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes all that is written to it");
        text
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        let mut table = table(["variant", "ids", "fate", "L0", "L1", "L2", "L3"]);
        for hunted in &self.hunted {
            let mut name = hunted.name.clone();
            if let Some(cover) = &hunted.cover {
                _ = write!(name, "\nwith {}", cover.with.join(", "));
            }
            let cell = |level| hunted.cell(level);
            let levels = [Level::Wire, Level::Check, Level::Simulate, Level::Rehearse].map(cell);
            let [wire, check, simulate, rehearse] = levels;
            table.add_row([name, hunted.ids.join(" "), hunted.fate.to_string(), wire, check, simulate, rehearse]);
        }
        writeln!(out, "{table}")?;
        for (name, rows) in [("mutants", &self.mutants), ("historical bugs", &self.bugs)] {
            let count = |fate| Self::count(rows, fate);
            let sums = format!(
                "{} {name}: {} killed, {} equivalent by themselves but killed without their second guard, \
                 {} impossible here, {} alive",
                rows.len(),
                count(Fate::Killed),
                count(Fate::Equivalent),
                count(Fate::Impossible),
                count(Fate::Alive)
            );
            writeln!(out, "{}", wrapped("", "  ", &sums))?;
        }
        for row in self.mutants.iter().chain(&self.bugs) {
            let fate = match &row.impossible {
                Some((construction, held_by)) => format!("impossible: {construction} ({held_by})"),
                None if row.fate == Fate::Alive => "ALIVE".to_owned(),
                None => continue,
            };
            writeln!(out, "{}", wrapped("", "  ", &format!("{} {}: {fate}", row.id, row.what)))?;
        }
        for said in self.hunted.iter().filter_map(Hunted::astray) {
            writeln!(out, "{}", wrapped("", "  ", &said))?;
        }
        writeln!(out, "in {:.1} s\n{}", self.elapsed_ms as f64 / 1e3, rerun(&self.command))
    }
}

impl Hunted {
    /// As text for a terminal: each level, and the case that was found first.
    pub fn to_text(&self) -> String {
        let mut text = wrapped("", "  ", &format!("{} ({}): {}", self.name, self.fate, self.sentence)) + "\n";
        let mut shown = false;
        for tried in &self.tried {
            let said = format!("{}: {} ({})", tried.level, self.cell(tried.level), tried.looked_at);
            let _ = writeln!(text, "{}", wrapped("  ", "    ", &said));
            let Some(found) = &tried.found else { continue };
            let what: Vec<String> = found.what.lines().map(|line| format!("    {line}")).collect();
            let _ = writeln!(text, "{}\n  {}", each_line(&what.join("\n")), rerun(&found.command));
            if let (false, Some(trace)) = (shown, &found.trace) {
                let _ = write!(text, "{trace}");
                shown = true;
            }
        }
        if let Some(said) = self.astray() {
            let _ = writeln!(text, "{}", wrapped("  ", "    ", &said));
        }
        if let Some(cover) = &self.cover {
            let covered = format!("without {}, since by itself it is covered: {}", cover.with.join(", "), cover.guard);
            let _ = writeln!(text, "{}", wrapped("  ", "    ", &covered));
            for tried in &cover.alone {
                let found = tried.found.as_ref().map_or("nothing", |found| &found.what);
                let alone = format!("alone, {}: {found} ({})", tried.level, tried.looked_at);
                let _ = writeln!(text, "{}", wrapped("    ", "      ", &alone));
            }
        }
        text + "\n"
    }

    fn cell(&self, level: Level) -> String {
        let Some(tried) = self.tried.iter().find(|tried| tried.level == level) else { return String::new() };
        match &tried.found {
            Some(Found { invariant: Some(invariant), steps, .. }) => format!("{invariant} in {steps}"),
            Some(Found { invariant: None, steps, .. }) => format!("panic in {steps}"),
            None => "-".to_owned(),
        }
    }
}

impl ScoreRow {
    fn of(entry: &Entry, hunted: &[Hunted]) -> Self {
        let id = entry.wire_id();
        let standing = hunted.iter().filter(|hunted| hunted.ids.iter().any(|of| of == id || of == entry.id));
        let standing: Vec<&Hunted> = standing.collect();
        let impossible = match entry.how {
            How::Impossible { construction, held_by } => Some((construction.to_owned(), held_by.to_owned())),
            _ => None,
        };
        let fates = || standing.iter().map(|hunted| hunted.fate);
        let alive = fates().any(|fate| fate == Fate::Alive);
        let fate = if alive { Fate::Alive } else { fates().min().unwrap_or(Fate::Alive) };
        Self {
            id: entry.id.to_owned(),
            what: entry.what.to_owned(),
            oracles: entry.oracles.to_owned(),
            fate: if impossible.is_some() { Fate::Impossible } else { fate },
            planted: standing.iter().map(|hunted| hunted.name.clone()).collect(),
            impossible,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_that_breaks_something_else_than_is_said_of_it_is_no_full_score() {
        let found = |invariant| Found { invariant, what: String::new(), steps: 1, trace: None, command: String::new() };
        let hunted = |breaks: &str, invariant| Hunted {
            name: "kill-only-per-node".to_owned(),
            ids: Vec::new(),
            sentence: String::new(),
            breaks: breaks.to_owned(),
            fate: Fate::Killed,
            tried: vec![Tried { level: Level::Check, found: Some(found(invariant)), looked_at: String::new() }],
            cover: None,
        };
        assert!(hunted("S3", Some(Invariant::S3)).is_as_said());
        assert!(hunted("S5 S3", Some(Invariant::S3)).is_as_said());
        assert!(hunted("S5", None).is_as_said(), "it panicked");
        assert!(hunted("", Some(Invariant::S3)).is_as_said(), "nothing is said of it");
        let astray = hunted("S5 S13", Some(Invariant::S3));
        assert!(!astray.is_as_said());
        let text = astray.to_text();
        assert!(text.contains("kill-only-per-node is said to break S5 S13, and broke S3"), "{text}");
    }
}
