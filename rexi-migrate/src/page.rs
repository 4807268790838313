//! The report as one page of HTML that needs nothing but itself: no script, no font, no image from elsewhere.
//!
//! In: a [`Verification`]. Out: text. The templates are in `templates/`; askama escapes everything that they show
//! except the diagrams, which escape their own text (`trace.rs`, `page/train.rs`). The page is well-formed XML as well,
//! so that a test can read it.

mod train;
mod words;

use askama::Template;

use crate::mutation::{Fate, Found, Hunted, Score, ScoreRow};
use crate::rehearse::report::Report;
use crate::screen::grouped;
use crate::verdict::conclusion::Conclusion;
use crate::verdict::invariant::Invariant;
use crate::verdict::level::{Figure, Level, LevelReport};
use crate::verdict::trace::Trace;
use crate::verify::{Mutation, Part, Tried, Verification};

use words::duration;

/// Renders the page.
///
/// # Errors
/// Never, except for a formatter that fails: the template is checked when it is compiled.
pub fn render(verification: &Verification) -> Result<String, askama::Error> {
    Page { v: verification }.render()
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    v: &'a Verification,
}

/// What the templates ask for; all of it is looked up, nothing is judged.
impl Page<'_> {
    /// The name of a verdict among the classes of the style sheet.
    fn class(&self, verdict: &Conclusion) -> &'static str {
        match verdict {
            Conclusion::Safe => "safe",
            Conclusion::CouldNotTell => "doubt",
            Conclusion::Unsafe => "unsafe",
        }
    }

    /// A sign next to the colour and the word.
    fn sign(&self, verdict: &Conclusion) -> &'static str {
        match verdict {
            Conclusion::Safe => "✓",
            Conclusion::CouldNotTell => "?",
            Conclusion::Unsafe => "✕",
        }
    }

    fn meaning(&self) -> &'static str {
        match self.v.verdict {
            Conclusion::Safe => {
                "No invariant was broken at any level, every case that matters was met, and nothing was cut short."
            }
            Conclusion::CouldNotTell => {
                "No invariant was seen broken, but too little was looked at to call it safe. The doubts say why."
            }
            Conclusion::Unsafe => "An invariant was broken. Do not take this step; the case is shown below.",
        }
    }

    fn title(&self) -> String {
        format!("{} – rexi-migrate verify", self.v.verdict.words())
    }

    fn time(&self, ms: &u64) -> String {
        duration(*ms)
    }

    fn count(&self, number: &u64) -> String {
        grouped(*number)
    }

    fn places(&self, number: &usize) -> String {
        grouped(*number as u64)
    }

    fn figure(&self, figure: &Figure) -> String {
        let Figure { value, unit, .. } = figure;
        let number = if value.fract() == 0.0 && (0.0..1e15).contains(value) {
            grouped(*value as u64)
        } else {
            format!("{value:.2}")
        };
        if unit.is_empty() { number } else { format!("{number} {unit}") }
    }

    /// What a level counted, in a few words: the figures by which it is measured.
    fn counted(&self, level: &LevelReport) -> String {
        let names: &[(&str, &str)] = match level.level {
            Level::Wire => &[("schemas locked", "schemas"), ("frames read", "frames")],
            Level::Check => &[("states", "states"), ("transitions", "transitions")],
            Level::Simulate => &[("scenarios", "scenarios"), ("calls", "calls")],
            Level::Rehearse => &[("casts", "casts"), ("processes", "processes")],
        };
        let of = |(name, word): &(&str, &str)| {
            let figure = level.figures.iter().find(|figure| figure.name == *name)?;
            Some(format!("{} {word}", self.figure(figure)))
        };
        let counted: Vec<String> = names.iter().filter_map(of).collect();
        if counted.is_empty() { "nothing".to_owned() } else { counted.join(", ") }
    }

    /// What the part of a level used of the budget.
    fn used(&self, level: &LevelReport) -> String {
        duration(level.elapsed_ms)
    }

    fn short(&self, part: &Part) -> bool {
        let share = self.v.shares.iter().find(|share| share.part == *part);
        share.is_some_and(|share| share.used_ms > share.given_ms)
    }

    /// The diagram without the namespace, which HTML does not need and which reads like a reference to outside.
    fn svg(&self, trace: &Trace) -> String {
        trace.to_svg().replacen(r#" xmlns="http://www.w3.org/2000/svg""#, "", 1)
    }

    fn train_svg(&self) -> String {
        train::svg(&self.v.train, &self.v.mixes)
    }

    fn doubts(&self) -> Vec<(String, &str)> {
        self.v.doubts()
    }

    fn tried(&self) -> Option<&Tried> {
        match &self.v.mutation {
            Mutation::Tried(tried) => Some(tried),
            Mutation::NotBuilt { .. } => None,
        }
    }

    fn untried_command(&self) -> &str {
        match &self.v.mutation {
            Mutation::NotBuilt { command } => command,
            Mutation::Tried(_) => "",
        }
    }

    fn fates(&self, rows: &[ScoreRow]) -> Vec<(&'static str, usize)> {
        let not_tried = rows.iter().filter(|row| not_tried(row)).count();
        let count = |fate| Score::count(rows, fate);
        vec![
            ("killed", count(Fate::Killed)),
            ("equivalent", count(Fate::Equivalent)),
            ("impossible", count(Fate::Impossible)),
            ("alive", count(Fate::Alive) - not_tried),
            ("not tried", not_tried),
        ]
    }

    fn fate(&self, row: &ScoreRow) -> &'static str {
        if not_tried(row) { "not tried" } else { self.fate_word(&row.fate) }
    }

    fn fate_word(&self, fate: &Fate) -> &'static str {
        match fate {
            Fate::Killed => "killed",
            Fate::Equivalent => "equivalent",
            Fate::Impossible => "impossible",
            Fate::Alive => "alive",
        }
    }

    /// The class of a fate: alive is the one to look at.
    fn fate_class(&self, row: &ScoreRow) -> &'static str {
        match row.fate {
            Fate::Alive => "doubt",
            _ => "calm",
        }
    }

    /// The variants that stand for a row.
    fn standing<'a>(&self, tried: &'a Tried, row: &ScoreRow) -> Vec<&'a Hunted> {
        let stands = |hunted: &&Hunted| row.planted.contains(&hunted.name);
        tried.score.hunted.iter().filter(stands).collect()
    }

    /// What was found first, from the cheapest level on.
    fn first<'a>(&self, hunted: &'a Hunted) -> Option<(Level, &'a Found)> {
        hunted.first()
    }

    fn broke(&self, found: &Found) -> String {
        found.invariant.map_or_else(|| "panic".to_owned(), |invariant| invariant.to_string())
    }

    /// The shortest case that has a diagram.
    fn shortest<'a>(&self, hunted: &'a Hunted) -> Option<(Level, &'a Found, &'a Trace)> {
        let found = hunted.tried.iter().filter_map(|tried| Some((tried.level, tried.found.as_ref()?)));
        let drawn = found.filter_map(|(level, found)| Some((level, found, found.trace.as_ref()?)));
        drawn.min_by_key(|(_, _, trace)| trace.events.len())
    }

    /// Every level that noticed a variant, in a line: `L1 S3 in 16, L2 S3 in 4`.
    fn noticed(&self, hunted: &Hunted) -> String {
        let of = |tried: &crate::mutation::Tried| {
            let found = tried.found.as_ref()?;
            let level = tried.level.to_string();
            let number = level.split(' ').next().unwrap_or_default().to_owned();
            Some(format!("{number} {} in {}", self.broke(found), found.steps))
        };
        let noticed: Vec<String> = hunted.tried.iter().filter_map(of).collect();
        if noticed.is_empty() { "nobody".to_owned() } else { noticed.join(", ") }
    }

    /// The pairs of guards and other variants that stand for no row of the list.
    fn others<'a>(&self, tried: &'a Tried) -> Vec<&'a Hunted> {
        tried.score.hunted.iter().filter(|hunted| hunted.ids.is_empty()).collect()
    }

    fn invariants(&self) -> &'static [Invariant] {
        Invariant::ALL
    }

    fn rehearsal(&self) -> Option<&Report> {
        self.v.rehearsal.as_ref()
    }

    /// The casts and orphans of a step, by its place.
    fn step_counts(&self, report: &Report, index: &usize) -> (String, String, String, String) {
        let judged = report.judgement.as_ref().and_then(|judged| judged.steps.get(*index));
        let Some(step) = judged else { return Default::default() };
        (grouped(step.casts), grouped(step.answered), grouped(step.killed), grouped(step.lost))
    }

    fn level_id(&self, level: &LevelReport) -> &'static str {
        level.level.word()
    }
}

/// A row of the list whose variants there was no time for.
fn not_tried(row: &ScoreRow) -> bool {
    row.fate == Fate::Alive && row.planted.is_empty()
}
