//! For each case that a scenario may have met, one that meets it, and a similar one that only just does not.

use std::time::Duration;

use rexi_proto::ServerAddress;

use super::super::ledger::{JobRecord, Life, LifeEnd, LifeRecord};
use super::*;
use crate::plan::Work;
use crate::plan::train::Place;

/// A case, a scenario that meets it, and one that does not.
struct Row(&'static str, fn(&mut State), fn(&mut State));

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn life(node: usize, release: u8, began: Duration) -> LifeRecord {
    LifeRecord { node, release: Place(release), began, ended: None, phases: vec![(began, Phase::Switch)] }
}

/// Two nodes, and a call of the first to the second, which has run there and waits for its answer.
fn waiting() -> State {
    let job = JobRecord { on: Life(1), server: ServerAddress::PerNode, started: at(2), ended: None };
    let call = CallRecord {
        by: Life(0),
        to: Some(1),
        work: Work::Reply,
        phase: Phase::Switch,
        cast: at(1),
        answer: None,
        late_answers: 0,
        killed: None,
        jobs: vec![job],
        items: Vec::new(),
        streamed_over_switch: false,
        streaming: false,
    };
    let lives = vec![life(0, 2, Duration::ZERO), life(1, 2, Duration::ZERO)];
    State { lives, calls: vec![call], ..State::default() }
}

fn killed(state: &mut State, phase: Phase, ran: bool) {
    state.calls[0].killed = Some((at(3), phase, ran));
}

/// The second node starts again, and the job runs there.
fn restarted(state: &mut State, release: u8, began: Duration) {
    state.lives[1].ended = Some((began, LifeEnd::Crashed));
    state.lives.push(life(1, release, began));
    state.calls[0].jobs[0].on = Life(2);
}

fn dropped(state: &mut State, how: Ending) {
    killed(state, Phase::Switch, true);
    state.calls[0].jobs[0].ended = Some((at(4), how));
}

fn answered(state: &mut State, outcome: Outcome) {
    state.calls[0].answer = Some((at(4), outcome));
}

const ROWS: [Row; 11] = [
    Row(KILL_ACROSS_SWITCH, |s| killed(s, Phase::Introduce, true), |s| killed(s, Phase::Remove, false)),
    Row(KILL_ACROSS_SWITCH, |s| killed(s, Phase::Introduce, true), |s| killed(s, Phase::Switch, true)),
    Row(
        KILL_ACROSS_SWITCH,
        |s| killed(s, Phase::Introduce, true),
        |s| {
            killed(s, Phase::Introduce, true);
            s.calls[0].to = None;
        },
    ),
    Row(STREAM_OVER_SWITCH, |s| s.calls[0].streamed_over_switch = true, |s| s.calls[0].streaming = true),
    Row("running jobs ended by a kill", |s| dropped(s, Ending::Dropped), |s| dropped(s, Ending::Done)),
    Row(BUFFERED_OVER_RELEASE, |s| restarted(s, 3, at(2)), |s| restarted(s, 2, at(2))),
    Row(BUFFERED_OVER_RELEASE, |s| restarted(s, 3, at(2)), |s| restarted(s, 3, at(1))),
    Row("calls served", |s| answered(s, Outcome::Reply), |s| answered(s, Outcome::FailedAsAsked)),
    Row(
        "majorities reached",
        |s| {
            answered(s, Outcome::Reply);
            s.calls[0].to = None;
        },
        |s| answered(s, Outcome::Reply),
    ),
    Row(
        "calls told that they were not served",
        |s| answered(s, Outcome::Down),
        |s| answered(s, Outcome::FailedAsAsked),
    ),
    Row("jobs on the singleton", |s| s.calls[0].jobs[0].server = ServerAddress::Singleton, |_| ()),
];

#[test]
fn each_case_is_counted_where_it_was_met_and_not_beside_it() {
    for Row(what, met, missed) in ROWS {
        for (alter, count) in [(met, 1), (missed, 0)] {
            let mut state = waiting();
            alter(&mut state);
            assert_eq!(witness(&state, &Tally::default()).get(what).copied().unwrap_or(0), count, "{what}");
        }
    }
    let on_per_node = |state: &State| witness(state, &Tally::default()).get("jobs on a per-node server").copied();
    let mut state = waiting();
    assert_eq!(on_per_node(&state), Some(1));
    state.calls[0].jobs[0].server = ServerAddress::Singleton;
    assert_eq!(on_per_node(&state), None);
}

#[test]
fn what_was_counted_on_the_way_is_kept() {
    let tally = Tally { counts: [("rollbacks", 2)].into(), ..Tally::default() };
    assert_eq!(witness(&State::default(), &tally), [("rollbacks", 2)].into());
}
