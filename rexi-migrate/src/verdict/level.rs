//! What one level of the verification has to say: its verdict, its figures, what it met, what it found.
//!
//! Each level fills in a [`LevelReport`]; the report page, the JSON and the terminal show it, whatever the level. A run
//! that broke no invariant but met too little proves nothing, and its verdict says so.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::columns::{hanging, rerun, wrapped};
use crate::verdict::case::WitnessCount;
use crate::verdict::conclusion::Conclusion;
use crate::verdict::invariant::Invariant;
use crate::verdict::trace::Trace;

/// A level of the verification, from cheap to real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// L0: every release's frames decoded by every other, and the lock of all schemas.
    Wire,
    /// L1: all interleavings of a small cluster on the real state machines.
    Check,
    /// L2: the real server over a simulated network in virtual time.
    Simulate,
    /// L3: real processes under load.
    Rehearse,
}

impl Level {
    /// Every level, cheap to real.
    pub const ALL: [Self; 4] = [Self::Wire, Self::Check, Self::Simulate, Self::Rehearse];

    /// Its subcommand.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Check => "check",
            Self::Simulate => "simulate",
            Self::Rehearse => "rehearse",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wire => "L0 wire",
            Self::Check => "L1 check",
            Self::Simulate => "L2 simulate",
            Self::Rehearse => "L3 rehearse",
        })
    }
}

/// What a level has shown.
#[derive(Clone, Debug, Serialize)]
pub struct LevelReport {
    /// Which level.
    pub level: Level,
    /// What was checked, in a sentence.
    pub checked: String,
    /// What it means: the worst of findings and doubts.
    pub verdict: Conclusion,
    /// What was counted and measured, in the order in which it is to be read.
    pub figures: Vec<Figure>,
    /// The cases that matter, and how often each was met.
    pub witnesses: Vec<Met>,
    /// The invariants that were broken.
    pub breaches: Vec<Breach>,
    /// Why it proves less than it should.
    pub doubts: Vec<String>,
    /// The command that does it again.
    pub command: String,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Of what.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its unit; empty for a count.
    pub unit: &'static str,
}

/// How often a case was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Met {
    /// The case, as what it counts, of many.
    pub what: String,
    /// How often.
    pub count: u64,
    /// How often it had to be; 0 where nothing was asked.
    pub required: u64,
}

impl From<WitnessCount> for Met {
    fn from(WitnessCount { witness, count, required }: WitnessCount) -> Self {
        Self { what: witness.sentence().to_owned(), count, required }
    }
}

/// One invariant that was broken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Breach {
    /// Which.
    pub invariant: Invariant,
    /// What happened, in a sentence.
    pub what: String,
    /// How often, where that was counted.
    pub count: u64,
    /// The shortest case known.
    pub trace: Option<Trace>,
    /// The command that shows it again.
    pub command: String,
}

impl Breach {
    /// One that was seen once, so far without a trace and a command.
    pub(crate) fn once(invariant: Invariant, what: String) -> Self {
        Self { invariant, what, count: 1, trace: None, command: String::new() }
    }
}

impl Figure {
    /// A number with its unit; an empty unit for a count.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit }
    }
}

impl LevelReport {
    /// One that was not run at all, with the reason.
    pub fn not_run(level: Level, why: String, command: &str) -> Self {
        let mut report = Self::new(level, "nothing, since it was not run", command);
        report.doubts.push(why);
        report.concluded(Duration::ZERO)
    }

    /// The report of a level, with the verdict that findings, doubts and witnesses come to. A case that was met less
    /// often than it had to be becomes a doubt.
    pub fn new(level: Level, checked: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            level,
            checked: checked.into(),
            verdict: Conclusion::Safe,
            figures: Vec::new(),
            witnesses: Vec::new(),
            breaches: Vec::new(),
            doubts: Vec::new(),
            command: command.into(),
            elapsed_ms: 0,
        }
    }

    /// Closes the report: the verdict follows from what was added to it.
    #[must_use]
    pub fn concluded(mut self, elapsed: Duration) -> Self {
        self.elapsed_ms = elapsed.as_millis().try_into().unwrap_or(u64::MAX);
        for Met { what, count, required } in self.witnesses.iter().filter(|met| met.count < met.required) {
            self.doubts.push(format!("met {count} {what}, but needs {required}"));
        }
        self.verdict = match (self.breaches.is_empty(), self.doubts.is_empty()) {
            (false, _) => Conclusion::Unsafe,
            (true, false) => Conclusion::CouldNotTell,
            (true, true) => Conclusion::Safe,
        };
        self
    }

    /// The report as text for a terminal.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes all that is written to it");
        text
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "{}", wrapped("", "  ", &format!("{}: {}", self.level, self.checked)))?;
        for figure in &self.figures {
            writeln!(out, "{}", wrapped("  ", "    ", &figure.to_string()))?;
        }
        for Met { what, count, required } in &self.witnesses {
            let needed = if *required > 0 { format!(" (needs {required})") } else { String::new() };
            writeln!(out, "{}", wrapped("  ", "    ", &format!("met {count} {what}{needed}")))?;
        }
        for breach in &self.breaches {
            let times = if breach.count == 1 { "once".to_owned() } else { format!("{} times", breach.count) };
            let what = format!("{}: {} ({times})", breach.invariant, breach.what);
            writeln!(out, "\n{}", wrapped("", "  ", &what))?;
            writeln!(out, "{}", hanging("  ", breach.invariant.sentence()))?;
            if let Some(trace) = &breach.trace {
                write!(out, "{trace}")?;
            }
            writeln!(out, "{}", rerun(&breach.command))?;
        }
        for doubt in &self.doubts {
            writeln!(out, "{}", wrapped("", "  ", &format!("doubt: {doubt}")))?;
        }
        writeln!(out, "{} in {:.1} s\n{}", self.verdict.words(), self.elapsed_ms as f64 / 1e3, rerun(&self.command))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, unit } = self;
        if value.fract() == 0.0 { write!(f, "{name}: {value:.0}") } else { write!(f, "{name}: {value:.2}") }?;
        if unit.is_empty() { Ok(()) } else { write!(f, " {unit}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::tests::{assert_fits, unwrapped};

    fn report() -> LevelReport {
        LevelReport::new(Level::Check, "three nodes", "rexi-migrate check")
    }

    #[test]
    fn a_report_without_findings_is_safe_only_if_it_met_what_it_had_to() {
        let met = |count| Met { what: "kills across the switch".to_owned(), count, required: 1 };
        let safe = LevelReport { witnesses: vec![met(1)], ..report() }.concluded(Duration::from_secs(2));
        assert_eq!((safe.verdict, safe.elapsed_ms), (Conclusion::Safe, 2_000));
        let vacuous = LevelReport { witnesses: vec![met(0)], ..report() }.concluded(Duration::ZERO);
        assert_eq!(vacuous.verdict, Conclusion::CouldNotTell);
        assert!(vacuous.to_text().contains("doubt: met 0 kills across the switch, but needs 1"));
    }

    #[test]
    fn a_breach_makes_it_unsafe_and_is_told_with_its_command() {
        let breach = Breach {
            invariant: Invariant::S3,
            what: "a killed job ran on".to_owned() + &" and on".repeat(20),
            count: 2,
            trace: None,
            command: "rexi-migrate check --mutant kill-follows-phase".to_owned(),
        };
        let figures = vec![Figure::new("states of \"a scope of many words\" ".repeat(4), 12.0, "")];
        let doubts = vec!["late ".repeat(30)];
        let found = LevelReport { breaches: vec![breach], doubts, figures, ..report() };
        let found = found.concluded(Duration::ZERO);
        assert_eq!(found.verdict, Conclusion::Unsafe);
        let text = found.to_text();
        let words = unwrapped(&text);
        assert!(words.contains("S3: a killed job ran on and on ") && words.contains("and on (2 times)"), "{text}");
        assert!(text.contains("rerun: rexi-migrate check --mutant kill-follows-phase"), "{text}");
        assert_fits(&text);
        assert_eq!(Figure::new("states", 12.0, "").to_string(), "states: 12");
        assert_eq!(Figure::new("rate", 1.5, "states/s").to_string(), "rate: 1.50 states/s");
    }
}
