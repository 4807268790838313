//! Random legal histories: whatever a correct cluster writes down, with `kill -9` at any point, is not a finding.
//!
//! A history is a few nodes with their lives (`legal/life.rs`) and what was asked of them, each by a script of its own
//! (`legal/script.rs`, `legal/talk.rs`). Every script has a seed, so a history that is found guilty is shown with as
//! few scripts as it takes. `LEGAL_HISTORIES` says how many are played, `LEGAL_SEED` with which seed they begin.

mod life;
mod script;
mod talk;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::*;
use life::{Features, World};

/// One history: its seed, and the scripts that are played, by their number.
#[derive(Clone, Debug)]
struct History {
    seed: u64,
    scripts: Vec<u64>,
    features: Features,
}

impl History {
    fn drawn(seed: u64, features: Features) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { seed, scripts: (0..rng.random_range(1..12)).collect(), features }
    }

    fn evidence(&self) -> Evidence {
        let mut world = World::drawn(self.seed, self.features);
        for &number in &self.scripts {
            script::play(&mut world, self.seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        let (outlives_max, doubtful_after) = (Some(Duration::from_secs(25)), Some(Duration::from_secs(5)));
        Evidence { outlives_max, doubtful_after, ..run(world.into_records()) }
    }

    /// The kinds that are found in it.
    fn found(&self) -> Vec<FindingKind> {
        judge(&self.evidence()).findings().iter().map(|finding| finding.kind).collect()
    }

    /// The same with as few scripts as still are found guilty.
    fn shrunk(mut self) -> Self {
        while let Some(less) = (0..self.scripts.len()).find_map(|at| {
            let mut less = self.clone();
            less.scripts.remove(at);
            (!less.found().is_empty()).then_some(less)
        }) {
            self = less;
        }
        self
    }

    fn told(&self) -> String {
        let mut text = format!("LEGAL_SEED={}: {:?}", self.seed, self.found());
        for process in &self.evidence().processes {
            let ledger = process.ledger.as_ref().expect("made here");
            let _ = write!(text, "\n{} {:?}, torn {}", ledger.header.node, process.end, ledger.torn);
            for record in &ledger.records {
                let _ = write!(text, "\n  {:>9} {:?}", record.at_us, record.entry);
            }
        }
        text
    }
}

/// Plays histories until one is found guilty, which is told in its smallest form.
fn guilty(first: u64, count: u64, features: Features) -> Option<History> {
    let mut histories = (first..first + count).map(|seed| History::drawn(seed, features));
    histories.find(|history| !history.found().is_empty()).map(History::shrunk)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn no_legal_history_is_found_guilty() {
    let (seed, count) = (number("LEGAL_SEED", rand::random::<u32>().into()), number("LEGAL_HISTORIES", 25_000));
    println!("{count} histories from LEGAL_SEED={seed} on");
    if let Some(history) = guilty(seed, count, Features::ALL) {
        panic!("a legal history is found guilty: {}", history.told());
    }
}

#[test]
fn histories_have_every_record_every_ending_and_every_outcome_that_is_legal() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for seed in 0..2_000 {
        for process in History::drawn(seed, Features::ALL).evidence().processes {
            let ledger = process.ledger.expect("made here");
            let end = format!("{:?}", process.end);
            seen.insert(end.split_once(' ').map_or(end.clone(), |(name, _)| name.to_owned()));
            for record in ledger.records {
                seen.extend(traits(&record.entry));
            }
        }
    }
    let works = Work::ALL.iter().map(|work| format!("work {work}"));
    let endings = Ending::ALL.iter().map(|ending| format!("ending {ending}"));
    let legal = Outcome::ALL.iter().filter(|&&outcome| is_legal(outcome));
    let outcomes = legal.map(|outcome| format!("outcome {outcome}"));
    let gathers = GatherEnd::ALL.iter().map(|end| format!("gather {end}"));
    let ends = ["KilledNine", "Drained", "LiveAtEnd"].map(str::to_owned);
    let wanted: BTreeSet<String> = works.chain(endings).chain(outcomes).chain(gathers).chain(ends).collect();
    let missing: Vec<_> = wanted.difference(&seen).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
    let missing: Vec<_> = Entry::NAMES.iter().filter(|name| !seen.contains(**name)).collect();
    assert!(missing.is_empty(), "never recorded: {missing:?}");
}

/// What a record shows that a history should have.
fn traits(entry: &Entry) -> Vec<String> {
    let name = entry.name().to_owned();
    match *entry {
        Entry::Cast { work, .. } => vec![name, format!("work {work}")],
        Entry::Answered { outcome, .. } => vec![name, format!("outcome {outcome}")],
        Entry::Started { work, .. } => vec![name, format!("work {work}")],
        Entry::Ended { how, .. } => vec![name, format!("ending {how}")],
        Entry::GatherEnded { how, .. } => vec![name, format!("gather {how}")],
        _ => vec![name],
    }
}

/// Whether a correct cluster of legal releases may give this answer to the load.
fn is_legal(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Reply | Outcome::FailedAsAsked | Outcome::Down | Outcome::ConnectionLost => true,
        Outcome::Draining | Outcome::Dropped | Outcome::StreamDone | Outcome::Cancelled => true,
        Outcome::WrongReply | Outcome::NoSuchServer | Outcome::NoSuchFunction | Outcome::OtherExit => false,
        Outcome::Incompatible | Outcome::TimedOut => false,
    }
}
