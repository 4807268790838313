//! The search on models whose states can be counted by hand.

use std::time::Duration;

use super::{Bound, Broken, End, Fingerprint, Model, Options, Outcome, Tally, search};
use crate::verdict::invariant::Invariant;

/// Counters that go up to a bound, one at a time; interchangeable if so wished.
struct Counters {
    count: usize,
    max: u8,
    symmetric: bool,
    forbidden: Option<Vec<u8>>,
    /// A counter that has got there stays.
    trap: Option<u8>,
}

impl Counters {
    fn new(count: usize, max: u8) -> Self {
        Self { count, max, symmetric: false, forbidden: None, trap: None }
    }

    fn run(&self, options: &Options) -> Outcome<Self> {
        search(self, options, &mut |_| {})
    }
}

impl Model for Counters {
    type State = Vec<u8>;
    type Action = usize;

    fn initial(&self) -> Vec<Vec<u8>> {
        vec![vec![0; self.count]]
    }

    fn actions(&self, _: &Vec<u8>, actions: &mut Vec<usize>) {
        actions.extend(0..self.count);
    }

    fn step(&self, state: &Vec<u8>, &action: &usize) -> Option<Vec<u8>> {
        let mut after = state.clone();
        if after[action] >= self.max || self.trap == Some(after[action]) {
            return None;
        }
        after[action] += 1;
        Some(after)
    }

    fn check(&self, state: &Vec<u8>) -> Result<(), Broken> {
        match &self.forbidden {
            Some(forbidden) if forbidden == state => {
                Err(Broken { invariant: Invariant::S1, what: format!("{state:?} was reached") })
            }
            _ => Ok(()),
        }
    }

    fn fingerprint(&self, state: &Vec<u8>) -> Fingerprint {
        let mut state = state.clone();
        if self.symmetric {
            state.sort_unstable();
        }
        Fingerprint::of(&state)
    }

    fn cases(&self) -> &[&'static str] {
        &["steps to a full counter"]
    }

    fn met(&self, state: &Vec<u8>) -> u64 {
        u64::from(state.contains(&self.max))
    }

    fn is_goal(&self, state: &Vec<u8>) -> bool {
        state.iter().all(|&counter| counter == self.max)
    }
}

fn threads(threads: usize) -> Options {
    Options { threads, ..Options::default() }
}

#[test]
fn every_state_is_met_once_and_every_transition_counted() {
    let outcome = Counters::new(3, 9).run(&threads(2));
    assert!(matches!(outcome.end, End::Exhausted));
    assert_eq!(outcome.tally.states, 1_000);
    assert_eq!(outcome.tally.transitions, 3 * 900);
    assert_eq!(outcome.tally.depth, 27);
    assert_eq!(outcome.tally.open, 0);
}

#[test]
fn interchangeable_counters_leave_one_state_of_each_orbit() {
    let outcome = Counters { symmetric: true, ..Counters::new(3, 9) }.run(&threads(2));
    assert_eq!(outcome.tally.states, 220, "multisets of 3 out of 10");
}

#[test]
fn the_path_is_the_shortest_and_leads_to_what_broke() {
    let model = Counters { forbidden: Some(vec![2, 0, 1]), ..Counters::new(3, 9) };
    let outcome = model.run(&threads(2));
    let End::Broken(broken, path) = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(broken.invariant, Invariant::S1);
    assert_eq!((path.steps.len(), path.end()), (3, &vec![2, 0, 1]));
    assert_eq!(outcome.tally.depth, 3);
}

#[test]
fn the_outcome_does_not_depend_on_the_threads() {
    let model = Counters { forbidden: Some(vec![9, 9, 9, 8]), ..Counters::new(4, 9) };
    let told = |count| {
        let outcome = model.run(&threads(count));
        let End::Broken(_, path) = outcome.end else { panic!("it is reached") };
        (format!("{path:?}"), outcome.tally)
    };
    let alone = told(1);
    for _ in 0..3 {
        assert_eq!(told(2), alone);
        assert_eq!(told(5), alone);
    }
    assert!(alone.1.met[0] > 0);
}

#[test]
fn each_bound_stops_the_search_and_is_named() {
    let model = Counters::new(3, 9);
    let bound = |options: Options| match model.run(&options) {
        Outcome { end: End::Bounded(bound), tally, .. } => Some((bound, tally.states)),
        Outcome { end: End::Exhausted, .. } => None,
        other => panic!("{:?}", other.end),
    };
    let states = |states_max| Options { states_max, ..threads(2) };
    assert_eq!(bound(states(999)), Some((Bound::States(999), 999)));
    assert_eq!(
        bound(states(1_000)).map(|(bound, _)| bound),
        Some(Bound::States(1_000)),
        "no room to know that it is all"
    );
    assert_eq!(bound(states(1_001)), None);
    let depth = |depth_max| Options { depth_max, ..threads(2) };
    assert_eq!(bound(depth(2)), Some((Bound::Depth(2), 10)));
    assert_eq!(bound(depth(28)), None);
    let time = Options { time_max: Some(Duration::ZERO), ..threads(2) };
    assert!(matches!(bound(time), Some((Bound::Time(Duration::ZERO), _))));
    if super::run::resident_bytes().is_some() {
        assert!(matches!(bound(Options { memory_bytes_max: 1, ..threads(2) }), Some((Bound::Memory(1), _))));
    }
}

#[test]
fn a_state_from_which_the_goal_is_out_of_reach_is_found() {
    let options = Options { reach_goal: true, ..threads(2) };
    assert!(matches!(Counters::new(3, 4).run(&options).end, End::Exhausted));
    let outcome = Counters { trap: Some(2), ..Counters::new(3, 4) }.run(&options);
    let End::Stuck(path) = outcome.end else { panic!("{:?}", outcome.end) };
    assert!(path.steps.is_empty(), "a counter cannot get past 2, so all is lost from the start");
    let outcome = Counters { trap: Some(2), ..Counters::new(3, 4) }.run(&threads(2));
    assert!(matches!(outcome.end, End::Exhausted), "nobody asked");
}

#[test]
fn the_line_tells_the_rate_and_what_the_bounds_leave_at_most() {
    let options = Options { states_max: 3_000, time_max: Some(Duration::from_secs(60)), ..Options::default() };
    let tally = Tally { states: 1_000, transitions: 5_000, depth: 7, open: 12, met: Vec::new() };
    let told = |seconds| super::run::told("jobs", &options, &tally, Duration::from_secs(seconds));
    assert_eq!(told(10), "jobs: 1000 states, 100/s, 12 open, depth 7, 10 s, at most 20 s left");
    assert!(told(55).ends_with("at most 5 s left"), "{}", told(55));
}
