//! The ledgers of a scenario: one of each life, in memory, and what its plan did, all in one order of time.
//!
//! In: what lives record, and the operator. Out: the evidence for the judge of `history/`, what is open and runs just
//! now (`open.rs`), and the list of events, by which two runs of a plan are compared and a failure is told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rexi_proto::{Incarnation, NodeName};
use tokio::time::Instant;

use super::life::index;
use super::open::Open;
use crate::history::evidence::{Evidence, ProcessEnd, ProcessRecord};
use crate::history::ledger::{CallNumber, Entry, LedgerHeader, LedgerWriter, Memory, Outcome, ProcessLedger, Record};
use crate::path::{Place, UpgradePath};
use crate::plan::Op;
use crate::workload::called;
use crate::workload::work::record;

/// One life of a node, counted over all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life(pub(super) usize);

/// A life as it went.
#[derive(Debug)]
pub(super) struct LifeRecord {
    pub(super) node: usize,
    pub(super) release: Place,
    /// What the node calls this life; nothing before it runs.
    pub(super) incarnation: Incarnation,
    pub(super) began_us: u64,
    pub(super) end: ProcessEnd,
    /// Whether it is over. One that leaves is so only once it has left.
    pub(super) over: bool,
    pub(super) ledger: Arc<LedgerWriter>,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeEnd {
    /// As a process that is killed.
    Crashed,
    /// In good order.
    Left,
}

/// One thing that happened, by itself comparable with the same of another run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScenarioEvent {
    /// An operation of the plan was done.
    Did(Op),
    /// An operation made no sense where the cluster stood, for this reason.
    Skipped(Op, String),
    /// A node started.
    Started {
        /// Which.
        node: usize,
        /// As which release.
        release: Place,
    },
    /// A node did not start: its record did not let the release run.
    Barred {
        /// Which.
        node: usize,
        /// As which release.
        release: Place,
    },
    /// An operator was told what came of a command.
    Told {
        /// By which node.
        node: usize,
        /// The operator.
        by: String,
        /// What.
        told: String,
    },
    /// A node's life ended.
    Ended {
        /// Which.
        node: usize,
        /// How.
        how: LifeEnd,
    },
    /// A node wrote something down.
    Recorded {
        /// Which.
        node: usize,
        /// What.
        entry: Entry,
    },
    /// All links are as they were at first.
    Healed,
    /// The plan is over: ceilings are lifted, and nodes that do not run are started.
    Settling,
    /// Everybody casts to everybody.
    Probing,
}

/// All ledgers. All may write to theirs at any time.
pub(super) struct Ledger {
    clock: Arc<Clock>,
    /// What the next call is numbered.
    pub(super) numbers: Arc<AtomicU64>,
    state: Mutex<State>,
}

/// What is in it besides what lives have recorded.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) lives: Vec<LifeRecord>,
    notes: Vec<(u64, ScenarioEvent)>,
    open: Open,
}

/// Virtual time in microseconds. No two readings are alike, so that they tell the order of what happens at once.
struct Clock {
    started: Instant,
    last_us: AtomicU64,
}

impl Clock {
    fn now_us(&self) -> u64 {
        let now_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let next = |last_us: u64| now_us.max(last_us + 1);
        let last_us = self.last_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(last_us.expect("there is always a next"))
    }
}

impl Ledger {
    pub(super) fn new() -> Self {
        let clock = Arc::new(Clock { started: Instant::now(), last_us: AtomicU64::new(0) });
        Self { clock, numbers: Arc::new(AtomicU64::new(1)), state: Mutex::default() }
    }

    /// Time since the scenario began.
    pub(super) fn now(&self) -> Duration {
        self.clock.started.elapsed()
    }

    /// The time of what happens now.
    pub(super) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the ledgers")
    }

    pub(super) fn note(&self, event: ScenarioEvent) {
        self.note_at(self.now_us(), event);
    }

    /// Notes what began at a time before now.
    pub(super) fn note_at(&self, at_us: u64, event: ScenarioEvent) {
        self.lock().notes.push((at_us, event));
    }

    pub(super) fn begin_life(&self, node: usize, release: Place) -> (Life, Arc<LedgerWriter>) {
        let clock = Arc::clone(&self.clock);
        let ledger = Arc::new(LedgerWriter::in_memory(move || clock.now_us()));
        let (began_us, incarnation, end) = (self.now_us(), Incarnation(0), ProcessEnd::LiveAtEnd);
        let life = LifeRecord { node, release, incarnation, began_us, end, over: false, ledger: Arc::clone(&ledger) };
        let mut state = self.lock();
        state.lives.push(life);
        state.notes.push((began_us, ScenarioEvent::Started { node, release }));
        (Life(state.lives.len() - 1), ledger)
    }

    /// The last life that began did not: its start was barred.
    pub(super) fn bar_life(&self, life: Life) {
        let mut state = self.lock();
        let barred = state.lives.pop().expect("it is the last");
        assert_eq!(life.0, state.lives.len(), "nothing begins in between");
        let LifeRecord { node, release, began_us, .. } = barred;
        *state.notes.last_mut().expect("its start") = (began_us, ScenarioEvent::Barred { node, release });
    }

    /// The node of a life runs.
    pub(super) fn runs(&self, life: Life, incarnation: Incarnation) {
        self.lock().lives[life.0].incarnation = incarnation;
    }

    /// A life is asked to end in good order.
    pub(super) fn asked_to_leave(&self, life: Life) {
        let at_us = self.now_us();
        self.lock().lives[life.0].end = ProcessEnd::Drained { at_us };
    }

    pub(super) fn end_life(&self, life: Life, how: LifeEnd) {
        let at_us = self.now_us();
        let mut state = self.lock();
        let State { lives, notes, .. } = &mut *state;
        let life = &mut lives[life.0];
        match how {
            LifeEnd::Crashed => life.end = ProcessEnd::KilledNine { at_us },
            LifeEnd::Left => record(&life.ledger, &[Entry::Drained]),
        }
        life.over = true;
        life.memory().close();
        notes.push((at_us, ScenarioEvent::Ended { node: life.node, how }));
    }

    /// All that happened, in order.
    pub(super) fn events(&self) -> Vec<(Duration, ScenarioEvent)> {
        let state = self.lock();
        let mut events = state.notes.clone();
        for life in &state.lives {
            let of = |record: &Record| (record.at_us, ScenarioEvent::Recorded { node: life.node, entry: record.entry });
            life.memory().read(0, |records| events.extend(records.iter().map(of)));
        }
        events.sort_by_key(|(at_us, _)| *at_us);
        events.into_iter().map(|(at_us, event)| (Duration::from_micros(at_us), event)).collect()
    }

    /// What the judge judges.
    pub(super) fn evidence(&self, names: &[NodeName], train: &UpgradePath) -> Evidence {
        let process = |life: &LifeRecord| {
            let header = LedgerHeader {
                node: names[life.node].clone(),
                index: index(life.node),
                release: train.profile(life.release).release().clone(),
                incarnation: life.incarnation,
                pid: 0,
                began_us: life.began_us,
            };
            let records = life.memory().read(0, <[_]>::to_vec);
            let ledger = Ok(ProcessLedger { header, records, torn: false });
            ProcessRecord { node: index(life.node), ledger, end: life.end }
        };
        let processes = self.lock().lives.iter().map(process).collect();
        Evidence { processes, functions: called(train), simulated: true, ..Evidence::default() }
    }
}

impl LifeRecord {
    pub(super) fn memory(&self) -> &Memory {
        self.ledger.memory().expect("a life's ledger is in memory")
    }
}

impl State {
    /// What is open and runs now, of lives that are not over.
    pub(super) fn open(&mut self) -> &Open {
        self.open.read(&self.lives);
        &self.open
    }

    /// Whether a monitor has not fired, though the life that it watches is over.
    pub(super) fn is_overdue(&mut self) -> bool {
        self.open.read(&self.lives);
        let ended = |life: &LifeRecord| life.end.at_us().filter(|_| life.over);
        let has_ended = |on, since_us| self.lives.iter().any(|life| life.node == on && ended(life) > Some(since_us));
        self.open.monitors().any(|(on, since_us)| has_ended(on, since_us))
    }

    /// How a call ended, if it has.
    pub(super) fn answer(&self, call: CallNumber) -> Option<Outcome> {
        let of = |record: &Record| match record.entry {
            Entry::Answered { call: answered, outcome } if answered == call => Some(outcome),
            _ => None,
        };
        self.lives.iter().rev().find_map(|life| life.memory().read(0, |records| records.iter().rev().find_map(of)))
    }
}

#[cfg(test)]
mod tests;
