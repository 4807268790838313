//! L0, the wire: what every message is built of, which nodes break when that changes, and how each version reads each
//! other one.
//!
//! [`Lock`] writes the schemas of this build down, [`Diff`] compares two locks, [`matrix`] lets every version read
//! every version's frames, and [`report`] says all that as one level of the verification. That the diff is right is for
//! `wire/tests` to show: by thousands of changes whose outcome real values show, and by breaks that are planted.

mod schema;
mod tracer;
mod lock;
mod functions;
mod train;
mod relock;
mod value;
mod same;
mod machine;
mod pairing;
mod search;
mod kind;
mod changes;
mod diff;
mod sample;
mod matrix;
#[cfg(any(test, feature = "mutants"))]
mod planted;
mod report;

pub use diff::{Carrier, Change, Diff, Direction, Effect, compare};
pub use functions::{AnswerType, FunctionLock};
pub use kind::ChangeKind;
pub use lock::{FrameLock, LOCK_BYTES_MAX, LOCK_FORMAT_VERSION, Lock, LockError, RowLock};
pub use matrix::{Cell, Matrix, Wrong, matrix};
#[cfg(any(test, feature = "mutants"))]
pub use planted::{PlantedBreak, mutants};
pub use relock::{Refused, Unshipped};
pub use report::{GENERATED, LOCKED, report};
pub use schema::{Enum, Field, Layout, Named, Parts, Type};
pub use search::{Reading, reading};
pub use tracer::{TraceError, trace};
pub use train::{ReleaseLock, TrainLock};
pub use value::{Carried, Value, shape};

#[cfg(test)]
mod tests;
