//! What is open and what runs just now, as the records of all lives tell it so far.

use std::collections::BTreeMap;

use super::ledger::{Life, LifeRecord};
use crate::history::ledger::{CallId, CallNumber, Entry, MonitorNumber, NodeIndex, Record, Work};

/// Calls without an end and jobs without one.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// How many records of each life have been read.
    read: Vec<usize>,
    calls: BTreeMap<CallNumber, Call>,
    /// By life; a job that runs twice is there twice.
    jobs: Vec<(Life, CallId)>,
    /// Which node each monitor watches, and since when.
    monitors: BTreeMap<(Life, MonitorNumber), (NodeIndex, u64)>,
}

/// A call, or a gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) by: Life,
    /// `None`: to all nodes, for a majority.
    pub(super) to: Option<NodeIndex>,
    pub(super) work: Work,
}

impl Open {
    /// Reads what has been recorded since the last time.
    pub(super) fn read(&mut self, lives: &[LifeRecord]) {
        self.read.resize(lives.len(), 0);
        for (number, life) in lives.iter().enumerate() {
            let (of, from) = (Life(number), self.read[number]);
            self.read[number] += life.memory().read(from, |records| {
                records.iter().for_each(|record| self.take(of, record));
                records.len()
            });
            if life.over {
                self.calls.retain(|_, call| call.by != of);
                self.jobs.retain(|(on, _)| *on != of);
                self.monitors.retain(|(by, _), _| *by != of);
            }
        }
    }

    fn take(&mut self, life: Life, record: &Record) {
        match record.entry {
            Entry::Cast { call, to, work, .. } => {
                self.calls.insert(call, Call { by: life, to: Some(to), work });
            }
            Entry::GatherBegun { gather, .. } => {
                self.calls.insert(gather, Call { by: life, to: None, work: Work::Vote });
            }
            Entry::Answered { call, .. } | Entry::Killed { call, .. } | Entry::GatherEnded { gather: call, .. } => {
                self.calls.remove(&call);
            }
            Entry::Started { id, .. } => self.jobs.push((life, id)),
            Entry::Ended { id, .. } => {
                if let Some(at) = self.jobs.iter().position(|job| *job == (life, id)) {
                    self.jobs.swap_remove(at);
                }
            }
            Entry::Monitored { monitor, on } => {
                self.monitors.insert((life, monitor), (on, record.at_us));
            }
            Entry::MonitorDown { monitor, .. } | Entry::Demonitored { monitor } => {
                self.monitors.remove(&(life, monitor));
            }
            _ => {}
        }
    }

    /// The node that each monitor watches, and since when.
    pub(super) fn monitors(&self) -> impl Iterator<Item = (usize, u64)> {
        self.monitors.values().map(|&(on, since_us)| (usize::from(on.0), since_us))
    }

    /// Calls, the oldest first.
    pub(super) fn calls(&self) -> impl Iterator<Item = (CallNumber, Call)> {
        self.calls.iter().map(|(&number, &call)| (number, call))
    }

    /// Calls that wait for their kill, each with whether a job of it runs.
    pub(super) fn held(&self) -> impl Iterator<Item = (CallNumber, Call, bool)> {
        let runs = |number| self.jobs.iter().any(|(_, id)| id.call == number);
        self.calls().filter(|(_, call)| call.work == Work::Hold).map(move |(number, call)| (number, call, runs(number)))
    }

    /// Whether nothing is open and nothing runs.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.jobs.is_empty()
    }

    /// Whether nothing is open and nothing runs but what waits for its kill, and all that does so runs: without a job,
    /// its cast is still on the way, or the end of its job is.
    pub(super) fn is_held_only(&self) -> bool {
        let held = |call: &CallNumber| self.calls.get(call).is_some_and(|call| call.work == Work::Hold);
        self.calls.keys().all(held)
            && self.jobs.iter().all(|(_, id)| held(&id.call))
            && self.held().all(|(.., runs)| runs)
    }
}
