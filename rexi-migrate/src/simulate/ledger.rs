//! The ledger of a scenario: every call and every job from both ends, in memory, and all that happened in order.
//!
//! In: what callers, jobs and the operator do. Out: the calls, which `verdict.rs` judges, and the list of events, by
//! which two runs of a plan are compared and from which a failure is described. `ledger/` does the same for processes.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rexi_proto::{Phase, ServerAddress};
use tokio::time::Instant;

use crate::history::ledger::{Ending, Outcome};
use crate::plan::train::Place;
use crate::plan::{Op, Work};

/// One life of a node, counted over all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life(pub(super) usize);

/// A life as it went.
#[derive(Clone, Debug)]
pub(super) struct LifeRecord {
    pub(super) node: usize,
    pub(super) release: Place,
    pub(super) began: Duration,
    pub(super) ended: Option<(Duration, LifeEnd)>,
    /// Its phases, each from when on.
    pub(super) phases: Vec<(Duration, Phase)>,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeEnd {
    /// As a process that is killed.
    Crashed,
    /// In good order.
    Left,
}

/// A call by its place in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallNumber(pub usize);

/// A call as both ends saw it.
#[derive(Clone, Debug)]
pub(super) struct CallRecord {
    pub(super) by: Life,
    /// `None`: to all nodes, for a majority.
    pub(super) to: Option<usize>,
    pub(super) work: Work,
    pub(super) phase: Phase,
    pub(super) cast: Duration,
    pub(super) answer: Option<(Duration, Outcome)>,
    /// Answers after the last one.
    pub(super) late_answers: u32,
    /// When, in which phase, and whether a job of it ran then.
    pub(super) killed: Option<(Duration, Phase, bool)>,
    pub(super) jobs: Vec<JobRecord>,
    /// Items of its stream, in the order in which the caller took them.
    pub(super) items: Vec<u32>,
    /// The caller's phase changed into or out of `Switch` while it had started the stream and not heard its end.
    pub(super) streamed_over_switch: bool,
    pub(super) streaming: bool,
}

/// A job as it ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobRecord {
    pub(super) on: Life,
    pub(super) server: ServerAddress,
    pub(super) started: Duration,
    pub(super) ended: Option<(Duration, Ending)>,
}

/// One thing that happened, by itself comparable with the same of another run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An operation of the plan was done.
    Did(Op),
    /// An operation made no sense where the cluster stood.
    Skipped(Op),
    /// A node started.
    Started {
        /// Which.
        node: usize,
        /// As which release.
        release: Place,
    },
    /// A node's life ended.
    Ended {
        /// Which.
        node: usize,
        /// How.
        how: LifeEnd,
    },
    /// A call was made.
    Cast {
        /// The call.
        call: CallNumber,
        /// Who made it.
        from: usize,
        /// To whom; `None` for all.
        to: Option<usize>,
        /// What for.
        work: Work,
        /// In which phase.
        phase: Phase,
    },
    /// A call had its last answer.
    Answered {
        /// The call.
        call: CallNumber,
        /// Who had made it.
        by: usize,
        /// What became of it.
        outcome: Outcome,
    },
    /// A caller killed its call.
    Killed {
        /// The call.
        call: CallNumber,
        /// Who.
        by: usize,
        /// In which phase.
        phase: Phase,
    },
    /// A job began.
    JobStarted {
        /// Its call.
        call: CallNumber,
        /// Where.
        on: usize,
        /// On which server.
        server: ServerAddress,
    },
    /// A job ended.
    JobEnded {
        /// Its call.
        call: CallNumber,
        /// Where.
        on: usize,
        /// How.
        how: Ending,
    },
    /// The caller took an item of a stream.
    Item {
        /// The call.
        call: CallNumber,
        /// Who.
        by: usize,
        /// The item's number, from 0.
        number: u32,
    },
    /// A node's phase changed.
    Phase {
        /// Whose.
        node: usize,
        /// To what.
        phase: Phase,
    },
    /// All links are as they were at first.
    Healed,
    /// The plan is over: ceilings are lifted, and nodes that do not run are started.
    Settling,
    /// Everybody casts to everybody.
    Probing,
}

/// The ledger. All may write to it at any time.
pub(super) struct Ledger {
    started: Instant,
    state: Mutex<State>,
}

/// What is in it.
#[derive(Default)]
pub(super) struct State {
    pub(super) lives: Vec<LifeRecord>,
    pub(super) calls: Vec<CallRecord>,
    pub(super) events: Vec<(Duration, Event)>,
    pub(super) open: usize,
    pub(super) running: usize,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), state: Mutex::default() }
    }

    /// Time since the scenario began.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the ledger")
    }

    pub(super) fn note(&self, event: Event) {
        let now = self.now();
        self.lock().events.push((now, event));
    }

    pub(super) fn begin_life(&self, node: usize, release: Place) -> Life {
        let began = self.now();
        let mut state = self.lock();
        state.lives.push(LifeRecord { node, release, began, ended: None, phases: Vec::new() });
        state.events.push((began, Event::Started { node, release }));
        Life(state.lives.len() - 1)
    }

    pub(super) fn end_life(&self, life: Life, how: LifeEnd) {
        let now = self.now();
        let mut state = self.lock();
        let State { lives, calls, open, events, .. } = &mut *state;
        if lives[life.0].ended.is_none() {
            lives[life.0].ended = Some((now, how));
            *open -= calls.iter().filter(|call| call.by == life && call.is_open()).count();
            events.push((now, Event::Ended { node: lives[life.0].node, how }));
        }
    }

    pub(super) fn cast(&self, by: Life, to: Option<usize>, work: Work, phase: Phase) -> CallNumber {
        let now = self.now();
        let mut state = self.lock();
        let call = CallNumber(state.calls.len());
        state.calls.push(CallRecord {
            by,
            to,
            work,
            phase,
            cast: now,
            answer: None,
            late_answers: 0,
            killed: None,
            jobs: Vec::new(),
            items: Vec::new(),
            streamed_over_switch: false,
            streaming: false,
        });
        state.open += 1;
        let from = state.lives[by.0].node;
        state.events.push((now, Event::Cast { call, from, to, work, phase }));
        call
    }

    pub(super) fn answered(&self, call: CallNumber, outcome: Outcome) {
        let now = self.now();
        let mut state = self.lock();
        let State { calls, lives, open, events, .. } = &mut *state;
        let record = &mut calls[call.0];
        if lives[record.by.0].ended.is_some() {
            return;
        }
        if record.is_open() {
            record.answer = Some((now, outcome));
            *open -= 1;
        } else if record.answer.is_some() {
            record.late_answers += 1;
        }
        record.streaming = false;
        events.push((now, Event::Answered { call, by: lives[record.by.0].node, outcome }));
    }

    pub(super) fn killed(&self, call: CallNumber, phase: Phase) {
        let now = self.now();
        let mut state = self.lock();
        let State { calls, lives, open, events, .. } = &mut *state;
        let record = &mut calls[call.0];
        if record.is_open() && lives[record.by.0].ended.is_none() {
            let ran = record.jobs.iter().any(|job| job.ended.is_none());
            record.killed = Some((now, phase, ran));
            *open -= 1;
            events.push((now, Event::Killed { call, by: lives[record.by.0].node, phase }));
        }
    }

    /// A majority was reached, or not: what still runs is killed by the quorum itself.
    pub(super) fn gathered(&self, call: CallNumber, outcome: Outcome, phase: Phase) {
        self.answered(call, outcome);
        let now = self.now();
        let record = &mut self.lock().calls[call.0];
        let ran = record.jobs.iter().any(|job| job.ended.is_none());
        record.killed = Some((now, phase, ran));
    }

    /// Returns the job's place in its call.
    pub(super) fn job_started(&self, call: CallNumber, on: Life, server: ServerAddress) -> Option<usize> {
        let now = self.now();
        let mut state = self.lock();
        let State { calls, lives, events, running, .. } = &mut *state;
        let record = calls.get_mut(call.0)?;
        record.jobs.push(JobRecord { on, server, started: now, ended: None });
        *running += 1;
        events.push((now, Event::JobStarted { call, on: lives[on.0].node, server }));
        Some(record.jobs.len() - 1)
    }

    pub(super) fn job_ended(&self, call: CallNumber, job: usize, how: Ending) {
        let now = self.now();
        let mut state = self.lock();
        let State { calls, lives, events, running, .. } = &mut *state;
        let job = &mut calls[call.0].jobs[job];
        job.ended = Some((now, how));
        *running -= 1;
        events.push((now, Event::JobEnded { call, on: lives[job.on.0].node, how }));
    }

    pub(super) fn streaming(&self, call: CallNumber) {
        self.lock().calls[call.0].streaming = true;
    }

    pub(super) fn item(&self, call: CallNumber, number: u32) {
        let now = self.now();
        let mut state = self.lock();
        let State { calls, lives, events, .. } = &mut *state;
        let record = &mut calls[call.0];
        record.items.push(number);
        events.push((now, Event::Item { call, by: lives[record.by.0].node, number }));
    }

    /// The phase that a node starts in.
    pub(super) fn first_phase(&self, life: Life, phase: Phase) {
        let now = self.now();
        self.lock().lives[life.0].phases.push((now, phase));
    }

    /// Notes an operation before what it has brought about, which began with event number `first`.
    pub(super) fn note_op(&self, first: usize, event: Event) {
        let mut state = self.lock();
        let at = state.events.get(first).map_or_else(|| self.now(), |(at, _)| *at);
        state.events.insert(first, (at, event));
    }

    /// A node's phase moved.
    pub(super) fn phase(&self, life: Life, from: Phase, to: Phase) {
        let now = self.now();
        let mut state = self.lock();
        let State { calls, lives, events, .. } = &mut *state;
        if (from == Phase::Switch) != (to == Phase::Switch) {
            let streams = calls.iter_mut().filter(|call| call.by == life && call.streaming);
            streams.for_each(|call| call.streamed_over_switch = true);
        }
        lives[life.0].phases.push((now, to));
        events.push((now, Event::Phase { node: lives[life.0].node, phase: to }));
    }
}

impl CallRecord {
    /// Neither answered nor killed.
    pub(super) fn is_open(&self) -> bool {
        self.answer.is_none() && self.killed.is_none()
    }
}

impl State {
    /// Calls that are open, of callers that live, the oldest first.
    pub(super) fn open_calls(&self) -> impl Iterator<Item = (CallNumber, &CallRecord)> {
        let calls = self.calls.iter().enumerate();
        calls
            .filter(|(_, call)| call.is_open() && self.lives[call.by.0].ended.is_none())
            .map(|(number, call)| (CallNumber(number), call))
    }

    /// Jobs that have not ended, each with its call.
    pub(super) fn running_jobs(&self) -> impl Iterator<Item = (CallNumber, &CallRecord, &JobRecord)> {
        let calls = self.calls.iter().enumerate();
        calls.flat_map(|(number, call)| {
            let running = call.jobs.iter().filter(|job| job.ended.is_none());
            running.map(move |job| (CallNumber(number), call, job))
        })
    }
}

impl fmt::Display for CallNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}", self.0 + 1)
    }
}
