//! L0 as one level of the verification: is the lock this build's, and does every version read every other as it must?

use std::time::Instant;

use super::diff::Diff;
use super::lock::{Lock, LockError};
use super::matrix::matrix;
use crate::verdict::invariant::Invariant;
use crate::verdict::level::{Breach, Figure, Level, LevelReport, Met};

/// The lock that is checked in.
pub const LOCKED: &str = include_str!("../../wire.lock.json");

/// Frames of each kind and version that are generated, unless told otherwise.
pub const GENERATED: usize = 500;

/// Checks the wire of this build, with this many generated frames of each kind and version by `seed`; `called` is the
/// command that has the tools.
///
/// # Errors
/// [`LockError`] where the lock cannot be read, or a layout cannot be told.
pub fn report(generated: usize, seed: u64, called: &str) -> Result<LevelReport, LockError> {
    let started = Instant::now();
    let command = format!("{called} wire report --generated {generated} --seed {seed}");
    let checked = "this build's schemas against their lock, and every version's frames read by every version";
    let mut report = LevelReport::new(Level::Wire, checked, command.clone());
    let lock = Lock::of_this_build()?;
    let breach = |invariant: Invariant, what: String, count: u64, command: &str| Breach {
        invariant,
        what,
        count,
        trace: None,
        command: command.to_owned(),
    };
    let locked = Lock { train: None, ..Lock::parse("wire.lock.json", LOCKED)? };
    for change in Diff::new(&locked, &lock).changes {
        let invariant = change.breaks.unwrap_or(Invariant::S8);
        report.breaches.push(breach(
            invariant,
            format!("not as it is locked: {change}"),
            1,
            &format!("{called} wire lock"),
        ));
    }
    let read = matrix(generated, seed, rexi_proto::Mutants::default())?;
    for wrong in &read.wrong {
        report.breaches.push(breach(wrong.breaks, wrong.what.clone(), 1, &format!("{called} wire matrix")));
    }
    report.figures = figures(&lock, &read);
    report.witnesses = vec![Met {
        what: "frames of another version that were refused".to_owned(),
        count: read.refused(),
        required: 1,
    }];
    Ok(report.concluded(started.elapsed()))
}

fn figures(lock: &Lock, read: &super::Matrix) -> Vec<Figure> {
    let count = |name: &str, value: u64| Figure::new(name, value as f64, "");
    vec![
        count("schemas locked", lock.schemas() as u64),
        count("frames read", read.frames()),
        count("read as what they are", read.same()),
        count("refused as they must be", read.refused()),
    ]
}
