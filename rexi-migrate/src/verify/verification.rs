//! What a verification is asked to do, and what it has shown: plain data, for the page, for JSON and for the terminal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rexi_proto::Release;
use serde::Serialize;

use super::budget::{Part, Share};
use super::mixes::{Mixes, Stop};
use super::plans::Plan;
use crate::mutation::{Fate, Score};
use crate::rehearse::report::Report;
use crate::service::Service;
use crate::verdict::conclusion::Conclusion;
use crate::verdict::level::LevelReport;

/// What to verify, and in how much time.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is verified.
    pub service: Service,
    /// How long it may take, [`BUDGET`](super::BUDGET) unless said; what does not fit is cut short and says so.
    pub budget: Duration,
    /// Seed of all that is drawn; the broken variants have one of their own.
    pub seed: u64,
    /// The executable of the nodes that rehearse; none to leave the rehearsal out.
    pub program: Option<PathBuf>,
    /// Other executables for the nodes of some releases.
    pub programs: BTreeMap<Release, PathBuf>,
    /// What the executable of each release is: its SHA-256, in hexadecimal digits.
    pub builds: BTreeMap<Release, String>,
    /// Shows no progress.
    pub quiet: bool,
    /// The command line that does it again.
    pub command: String,
}

/// What a verification has shown.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// Version of this format: [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The worst verdict of any part.
    pub verdict: Conclusion,
    /// Of this program, with what it was built with.
    pub version: String,
    /// When it began, in UTC.
    pub started_at: String,
    /// The seed.
    pub seed: u64,
    /// How long it might take, in milliseconds.
    pub budget_ms: u64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// The command line that does it again.
    pub command: String,
    /// What each part was given of the budget, and what it used.
    pub shares: Vec<Share>,
    /// The releases, oldest first.
    pub train: Vec<Stop>,
    /// The build of each that its nodes ran in the rehearsal, by the SHA-256 of its executable; of none without one.
    pub builds: BTreeMap<String, String>,
    /// Which mixes of them are legal, and what was checked of each.
    pub mixes: Mixes,
    /// The levels, cheap to real.
    pub levels: Vec<LevelReport>,
    /// The migrations.
    pub plans: Vec<Plan>,
    /// The variants that are broken on purpose.
    pub mutation: Mutation,
    /// The rehearsal step by step, if there was one.
    pub rehearsal: Option<Report>,
}

/// What became of the variants that are broken on purpose.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Mutation {
    /// This build has none.
    NotBuilt {
        /// The command that tries them.
        command: String,
    },
    /// They were tried.
    Tried(Tried),
}

/// The variants that were tried, and why that may say too little.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// What became of each.
    pub score: Score,
    /// Those for which there was no time.
    pub untried: Vec<String>,
    /// States that L1 met of each scope of a variant at most.
    pub states_max: u64,
    /// Scenarios that L2 played of a variant at most.
    pub scenarios: u64,
    /// Why it proves less than it should.
    pub doubts: Vec<String>,
}

impl Tried {
    /// Those that nobody noticed.
    pub fn alive(&self) -> impl Iterator<Item = &str> {
        let alive = self.score.hunted.iter().filter(|hunted| hunted.fate == Fate::Alive);
        alive.map(|hunted| hunted.name.as_str())
    }
}

impl Mutation {
    /// What it means: a variant that nobody notices breaks nothing, but a verification that does not notice it cannot
    /// tell.
    pub fn verdict(&self) -> Conclusion {
        match self {
            Self::NotBuilt { .. } => Conclusion::Safe,
            Self::Tried(tried) if tried.doubts.is_empty() => Conclusion::Safe,
            Self::Tried(_) => Conclusion::CouldNotTell,
        }
    }
}

impl Verification {
    /// As JSON, indented, with a line's end.
    ///
    /// # Panics
    /// Never: it is plain data.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a verification is plain data");
        text.push('\n');
        text
    }

    /// Every doubt with the part that has it, in the order of the page.
    pub fn doubts(&self) -> Vec<(String, &str)> {
        let mut doubts = Vec::new();
        for level in &self.levels {
            doubts.extend(level.doubts.iter().map(|doubt| (level.level.to_string(), doubt.as_str())));
        }
        if let Mutation::Tried(tried) = &self.mutation {
            doubts.extend(tried.doubts.iter().map(|doubt| (Part::Mutants.to_string(), doubt.as_str())));
        }
        doubts
    }
}

/// Version of the JSON. Raised where a field changes its meaning or goes.
pub const FORMAT_VERSION: u32 = 1;
