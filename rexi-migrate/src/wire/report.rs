//! L0 as one level of the verification: is the lock this build's, does every version read every other as it must, is
//! the diff right about thousands of changes, and does it find the breaks that are planted?

use std::time::{Duration, Instant};

use super::corpus;
use super::diff::{Diff, Effect};
use super::lock::{Lock, LockError};
use super::matrix::matrix;
use super::planted::mutants;
use crate::verdict::invariant::Invariant;
use crate::verdict::level::{Breach, Figure, Level, LevelReport, Met};

/// The lock that is checked in.
pub const LOCKED: &str = include_str!("../../wire.lock.json");

/// Frames of each kind and version that are generated.
pub const GENERATED: usize = 500;

/// Checks the wire of this build, with so many generated changes by `seed`; `progress` hears how many are done.
///
/// # Errors
/// [`LockError`] where the lock cannot be read, or a layout cannot be told.
pub fn report(evolutions: u64, seed: u64, progress: &mut dyn FnMut(u64)) -> Result<LevelReport, LockError> {
    let started = Instant::now();
    let command = format!("rexi-migrate wire report --evolutions {evolutions} --seed {seed}");
    let checked =
        "every version's frames read by every version, and generated changes of schemas judged by real values";
    let mut report = LevelReport::new(Level::Wire, checked, command.clone());
    let lock = Lock::of_this_build()?;
    let breach = |invariant: Invariant, what: String, count: u64, command: &str| Breach {
        invariant,
        what,
        count,
        trace: None,
        command: command.to_owned(),
    };
    for change in Diff::new(&Lock::parse("wire.lock.json", LOCKED)?, &lock).changes {
        let invariant = change.breaks.unwrap_or(Invariant::S8);
        report.breaches.push(breach(invariant, format!("not as it is locked: {change}"), 1, "rexi-migrate wire lock"));
    }
    let read = matrix(GENERATED, seed, rexi_proto::Mutants::default())?;
    for wrong in &read.wrong {
        report.breaches.push(breach(wrong.breaks, wrong.what.clone(), 1, "rexi-migrate wire matrix"));
    }
    let score = corpus::run(evolutions, seed, progress);
    for missed in &score.missed {
        report.doubts.push(format!("the diff missed a break: {missed}"));
    }
    for alarm in &score.false_alarms {
        report.doubts.push(format!("the diff cried wolf: {alarm}"));
    }
    let planted = mutants()?;
    for alive in planted.iter().filter(|planted| planted.breaks.is_none()) {
        report.doubts.push(format!("{} was planted and not found: {}", alive.id, alive.what));
    }
    report.figures = figures(&lock, &read, &score, planted.len());
    let met = |what: &str, count: u64| Met { what: what.to_owned(), count, required: 1 };
    report.witnesses = vec![
        met("changes that are misread in silence", score.directions(Effect::Silent)),
        met("appended variants that nothing breaks from old to new", score.safe_appends),
        met("frames of another version that were refused", read.refused()),
    ];
    Ok(report.concluded(started.elapsed()))
}

fn figures(lock: &Lock, read: &super::Matrix, score: &corpus::Score, planted: usize) -> Vec<Figure> {
    let count = |name: &str, value: u64| Figure::new(name, value as f64, "");
    vec![
        count("schemas locked", lock.schemas() as u64),
        count("frames read", read.frames()),
        count("read as what they are", read.same()),
        count("refused as they must be", read.refused()),
        count("generated changes of schemas", score.evolutions),
        count("values written and read for them", score.values),
        count("breaks missed", score.missed.len() as u64),
        count("false alarms", score.false_alarms.len() as u64),
        count("misreadings that the diff called errors", score.understated.len() as u64),
        count("directions that the diff could not tell", score.undecided),
        count("breaks planted into the real layouts", planted as u64),
        Figure::new("time of the corpus", seconds(score.elapsed), "s"),
    ]
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}
