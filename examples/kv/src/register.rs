//! Whether a history of one key is that of a register: whether its operations can be put into one order in which each
//! read returns what was written last, and no operation comes before one that had ended before it began.
//!
//! It looks at times and values alone, and at nothing that the store says of itself. In: operations with the values
//! that they wrote or returned, each value written once. Out: that there is such an order, or the operation that fits
//! into none. The search is Wing and Gong's, with the memory that Lowe added: what was tried is not tried again.

mod recorder;

use std::collections::HashSet;
use std::fmt;

use thiserror::Error;

pub use recorder::{Checked, Recorder, Ticket};

/// What a client did to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// When it began, on the one clock of all clients.
    pub began: u64,
    /// When it ended; `None` where its client was never told, so that it may take effect at any later time, or never.
    pub ended: Option<u64>,
    /// What it did.
    pub act: Act,
}

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It wrote this value, which no other operation writes.
    Write(u64),
    /// It returned this value; `None` where there was none.
    Read(Option<u64>),
}

/// A history that is not that of a register.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct NoOrder {
    /// The one that ended first of those that fit into no order, and what may have happened until then.
    pub operation: Operation,
    /// The values that may have been there when it had to have happened.
    pub possible: Vec<Option<u64>>,
}

impl fmt::Display for NoOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation: Operation { began, ended, act }, possible } = self;
        write!(f, "{act:?} from {began} to {} fits into no order; ", ended.unwrap_or(u64::MAX))?;
        write!(f, "at best {possible:?} was there")
    }
}

/// Looks for an order.
///
/// # Errors
/// [`NoOrder`] where there is none.
pub fn check(operations: &[Operation]) -> Result<(), NoOrder> {
    let mut operations: Vec<&Operation> = operations.iter().filter(|operation| counts(operation, operations)).collect();
    operations.sort_by_key(|operation| operation.began);
    Search::new(&operations).run()
}

/// A write that nobody was told of, and whose value nobody has read, may have been left out. A read without an answer
/// says nothing.
fn counts(operation: &Operation, all: &[Operation]) -> bool {
    match (operation.act, operation.ended) {
        (_, Some(_)) => true,
        (Act::Read(_), None) => false,
        (Act::Write(value), None) => all.iter().any(|other| other.act == Act::Read(Some(value))),
    }
}

/// Operations by the time that they began.
struct Search<'a> {
    operations: &'a [&'a Operation],
    /// Which have happened, and the value that was there then.
    tried: HashSet<(Vec<u64>, Option<u64>)>,
}

/// A state of the search: what has happened, and what is there.
struct State {
    /// A bit each.
    happened: Vec<u64>,
    value: Option<u64>,
    /// The next one to try.
    next: usize,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [&'a Operation]) -> Self {
        Self { operations, tried: HashSet::new() }
    }

    fn run(mut self) -> Result<(), NoOrder> {
        let empty = vec![0; self.operations.len().div_ceil(64)];
        let mut path = vec![State { happened: empty, value: None, next: 0 }];
        // How far any order came: the end that it could not pass, and the values that were there.
        let mut furthest: (u64, Option<usize>, Vec<Option<u64>>) = (0, None, Vec::new());
        while let Some(state) = path.last_mut() {
            let first = self.first_end(&state.happened);
            let Some((limit, of)) = first else { return Ok(()) };
            if limit > furthest.0 {
                furthest = (limit, Some(of), Vec::new());
            }
            if limit == furthest.0 && !furthest.2.contains(&state.value) {
                furthest.2.push(state.value);
            }
            // Only what began before the first end may happen next.
            let may_be_next = |at: usize| {
                let operation = self.operations[at];
                !has(&state.happened, at) && operation.began <= limit && fits(operation.act, state.value)
            };
            let begun = self.operations.partition_point(|operation| operation.began <= limit);
            match (state.next..begun).find(|&at| may_be_next(at)) {
                None => drop(path.pop()),
                Some(at) => {
                    state.next = at + 1;
                    let mut happened = state.happened.clone();
                    happened[at / 64] |= 1 << (at % 64);
                    let value = match self.operations[at].act {
                        Act::Write(value) => Some(value),
                        Act::Read(_) => state.value,
                    };
                    if self.tried.insert((happened.clone(), value)) {
                        path.push(State { happened, value, next: 0 });
                    }
                }
            }
        }
        let (_, of, possible) = furthest;
        let operation = self.operations[of.expect("an empty history has an order")].clone();
        Err(NoOrder { operation, possible })
    }

    /// Of those that have not happened and must, the one that ended first.
    fn first_end(&self, happened: &[u64]) -> Option<(u64, usize)> {
        let left = (0..self.operations.len()).filter(|&at| !has(happened, at));
        left.filter_map(|at| Some((self.operations[at].ended?, at))).min()
    }
}

fn has(happened: &[u64], at: usize) -> bool {
    happened[at / 64] & (1 << (at % 64)) != 0
}

fn fits(act: Act, value: Option<u64>) -> bool {
    match act {
        Act::Write(_) => true,
        Act::Read(read) => read == value,
    }
}

#[cfg(test)]
mod tests;
