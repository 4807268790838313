//! What is searched, within what bounds, and what a search results in.

use std::fmt::{self, Debug};
use std::time::Duration;

use super::fingerprint::Fingerprint;
use crate::verdict::invariant::Invariant;

/// What can be searched: states, what may happen in each, and what must hold.
///
/// All of it must be pure: the same arguments give the same result. Otherwise neither counts nor paths can be trusted.
pub trait Model: Sync {
    /// A state. Cloned once for each action, so parts that an action leaves alone are best shared.
    type State: Clone + Send + Sync;
    /// What may happen.
    type Action: Clone + Debug + Send + Sync;

    /// Where it may begin.
    fn initial(&self) -> Vec<Self::State>;

    /// Appends what may happen in `state`, at most 65,535 actions, in an order that depends on nothing else.
    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>);

    /// The state after `action`; `None` where it turns out that it cannot happen.
    fn step(&self, state: &Self::State, action: &Self::Action) -> Option<Self::State>;

    /// What `state` breaks, if it breaks something.
    ///
    /// # Errors
    /// The invariant and what happened.
    fn check(&self, state: &Self::State) -> Result<(), Broken>;

    /// What `state` is known by. States of the same fingerprint are taken for one, so it must be of all that can make
    /// a difference to what may still happen. With symmetry: the least fingerprint of all that the state may be
    /// renamed to.
    fn fingerprint(&self, state: &Self::State) -> Fingerprint;

    /// The cases worth counting, each by what it is; at most 64.
    fn cases(&self) -> &[&'static str] {
        &[]
    }

    /// Which of [`Model::cases`] the step that made `state` has met, a bit each.
    fn met(&self, _state: &Self::State) -> u64 {
        0
    }

    /// Whether `state` is one where all is well and done. Asked only with [`Options::reach_goal`].
    fn is_goal(&self, _state: &Self::State) -> bool {
        true
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// What happened.
    pub what: String,
}

/// How far to search, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Distinct states at most. Default 100 million; never above 2³² - 2.
    pub states_max: u64,
    /// Steps from the start at most. Default: no bound.
    pub depth_max: u32,
    /// For how long at most; looked at between batches. The one bound whose counts depend on the machine. Default: no
    /// bound.
    pub time_max: Option<Duration>,
    /// Resident memory of the process at most, in bytes; looked at between batches, where the system tells it. Default
    /// 8 GiB.
    pub memory_bytes_max: u64,
    /// Threads. Default: as many as there are processors. Counts and paths do not depend on it.
    pub threads: usize,
    /// Whether every state must be able to reach a [goal](Model::is_goal); takes 8 more bytes for each transition.
    /// Default: no.
    pub reach_goal: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            states_max: 100_000_000,
            depth_max: u32::MAX,
            time_max: None,
            memory_bytes_max: 8 << 30,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            reach_goal: false,
        }
    }
}

/// Counts of a search so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Distinct states met.
    pub states: u64,
    /// Steps taken, those to known states included.
    pub transitions: u64,
    /// Steps from the start of the states met last.
    pub depth: u32,
    /// States whose steps are still to be taken.
    pub open: u64,
    /// How often each of [`Model::cases`] was met, over all transitions.
    pub met: Vec<u64>,
}

/// How a search ended, and what it has met.
pub struct Outcome<M: Model> {
    /// How it ended.
    pub end: End<M>,
    /// What was counted.
    pub tally: Tally,
    /// The most states that were open at once.
    pub open_max: u64,
    /// Bytes that were kept for all states met: fingerprints, parents and the table, not the open states themselves.
    pub kept_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// How a search ended.
pub enum End<M: Model> {
    /// Every state that can be reached was met, and none breaks anything.
    Exhausted,
    /// It was stopped by a bound; the states met up to there break nothing.
    Bounded(Bound),
    /// An invariant does not hold.
    Broken(Broken, Path<M>),
    /// From here no goal can be reached; everything was met.
    Stuck(Path<M>),
}

impl<M: Model> Debug for End<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted => f.write_str("exhausted"),
            Self::Bounded(bound) => fmt::Display::fmt(bound, f),
            Self::Broken(broken, path) => write!(f, "{broken:?} after {path:?}"),
            Self::Stuck(path) => write!(f, "stuck after {path:?}"),
        }
    }
}

/// A bound that stopped a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Distinct states.
    States(u64),
    /// Steps from the start.
    Depth(u32),
    /// Time.
    Time(Duration),
    /// Resident memory in bytes.
    Memory(u64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::States(states) => write!(f, "bounded at {states} states"),
            Self::Depth(depth) => write!(f, "bounded at {depth} steps from the start"),
            Self::Time(time) => write!(f, "bounded at {:.1} s", time.as_secs_f64()),
            Self::Memory(bytes) => write!(f, "bounded at {} MiB of memory", bytes >> 20),
        }
    }
}

/// How a state was reached, in as few steps as can be.
pub struct Path<M: Model> {
    /// Where it began.
    pub start: M::State,
    /// What happened, and what followed.
    pub steps: Vec<(M::Action, M::State)>,
}

impl<M: Model> Path<M> {
    /// The state that it leads to.
    pub fn end(&self) -> &M::State {
        self.steps.last().map_or(&self.start, |(_, state)| state)
    }
}

impl<M: Model> Clone for Path<M> {
    fn clone(&self) -> Self {
        Self { start: self.start.clone(), steps: self.steps.clone() }
    }
}

impl<M: Model> Debug for Path<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|(action, _)| action)).finish()
    }
}
