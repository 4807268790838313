//! For each oracle of the verdict, a scenario that breaks only what it asks: without the oracle it goes unnoticed.

use rexi_proto::{Phase, ServerAddress};

use super::super::ledger::{JobRecord, Life, LifeEnd, LifeRecord};
use super::*;
use crate::plan::train::Place;

/// What a scenario has left behind.
#[derive(Default)]
struct Scene {
    state: State,
    tally: Tally,
    settled: Settled,
}

impl Scene {
    fn judge(&self, oracles: Oracles) -> Vec<Breach> {
        judge_by(oracles, &self.state, &self.tally, &self.settled, END)
    }

    fn call(&mut self) -> &mut CallRecord {
        &mut self.state.calls[0]
    }
}

const END: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn life(node: usize) -> LifeRecord {
    let phases = vec![(Duration::ZERO, Phase::Switch)];
    LifeRecord { node, release: Place(2), began: Duration::ZERO, ended: None, phases }
}

fn job(on: usize, ended: Option<Ending>) -> JobRecord {
    let ended = ended.map(|how| (at(3), how));
    JobRecord { on: Life(on), server: ServerAddress::PerNode, started: at(2), ended }
}

/// Two nodes of 1.2, and a call of the first to the second that was answered as it should be.
fn sound() -> Scene {
    let call = CallRecord {
        by: Life(0),
        to: Some(1),
        work: Work::Reply,
        phase: Phase::Switch,
        cast: at(1),
        answer: Some((at(4), Outcome::Reply)),
        late_answers: 0,
        killed: None,
        jobs: vec![job(1, Some(Ending::Done))],
        items: Vec::new(),
        streamed_over_switch: false,
        streaming: false,
    };
    let state = State { lives: vec![life(0), life(1)], calls: vec![call], ..State::default() };
    Scene { state, ..Scene::default() }
}

/// A scenario that only this oracle finds broken. A new one has to be planted here, or this does not compile.
fn planted(oracle: Oracle) -> Scene {
    let mut scene = sound();
    let answered = |scene: &mut Scene, outcome| scene.call().answer = Some((at(4), outcome));
    match oracle {
        Oracle::NeverRan => {
            scene.call().answer = None;
            scene.call().jobs.clear();
        }
        Oracle::RunsNoMore => scene.call().answer = None,
        Oracle::LateAnswer => scene.call().late_answers = 1,
        Oracle::WrongReply => answered(&mut scene, Outcome::WrongReply),
        Oracle::OtherExit => answered(&mut scene, Outcome::OtherExit),
        Oracle::NoSuchServer => answered(&mut scene, Outcome::NoSuchServer),
        Oracle::NoSuchFunction => answered(&mut scene, Outcome::NoSuchFunction),
        Oracle::RefusedForGood => answered(&mut scene, Outcome::Incompatible),
        Oracle::ReplyOfNoJob => scene.call().jobs.clear(),
        Oracle::FailureOfNoJob => answered(&mut scene, Outcome::FailedAsAsked),
        Oracle::ProbeUnserved => {
            answered(&mut scene, Outcome::Draining);
            scene.settled.probes.push(CallNumber(0));
        }
        Oracle::StartedTwice => scene.call().jobs.push(job(1, Some(Ending::Done))),
        Oracle::RanElsewhere => {
            scene.state.lives.push(life(2));
            scene.call().jobs = vec![job(2, Some(Ending::Done))];
        }
        Oracle::KilledRuns => {
            scene.call().answer = None;
            scene.call().killed = Some((at(3), Phase::Switch, true));
            scene.call().jobs = vec![job(1, None)];
        }
        Oracle::OrphanRuns => {
            scene.call().answer = None;
            scene.call().jobs = vec![job(1, None)];
            scene.state.lives[0].ended = Some((at(3), LifeEnd::Crashed));
        }
        Oracle::AnsweredRuns => {
            answered(&mut scene, Outcome::ConnectionLost);
            scene.call().jobs = vec![job(1, None)];
        }
        Oracle::ItemOutOfOrder => scene.call().items = vec![0, 2],
        Oracle::StreamCutShort => {
            scene.call().work = Work::Stream;
            scene.call().items = (0..ITEMS - 1).collect();
        }
        Oracle::Skewed => scene.tally.skewed.push((at(5), 0, 1)),
        Oracle::Unhosted => scene.tally.unhosted.push((at(5), 0, 1)),
        Oracle::OutOfBounds => scene.tally.out_of_bounds.push((at(5), 0, Phase::Remove)),
        Oracle::CeilingUnheeded => scene.tally.unheeded.push((at(5), 0, Phase::Switch)),
        Oracle::StayedApart => scene.settled.apart.push((0, 1)),
        Oracle::HeldBack => scene.settled.held.push((0, Phase::Introduce, Phase::Switch)),
    }
    scene
}

#[test]
fn each_oracle_finds_what_no_other_does() {
    assert_eq!(sound().judge(Oracles::ALL), [], "nothing is wrong");
    for &oracle in Oracle::ALL {
        let scene = planted(oracle);
        let found: Vec<_> = scene.judge(Oracles::ALL).into_iter().map(|breach| breach.rule).collect();
        assert_eq!(found, [Rule::Listed(oracle.invariant())], "{oracle:?}");
        assert_eq!(scene.judge(Oracles::without(oracle)), [], "{oracle:?} is left out");
    }
}

#[test]
fn a_production_run_asks_every_oracle() {
    for &oracle in Oracle::ALL {
        let Scene { state, tally, settled } = planted(oracle);
        assert_eq!(judge(&state, &tally, &settled, END).len(), 1, "{oracle:?}");
    }
}

/// A scenario that is as it should be, and how it differs from the plain one.
struct Sound(&'static str, fn(&mut Scene));

#[test]
fn what_is_as_it_should_be_is_no_breach() {
    let sound: [Sound; 9] = [
        Sound("a caller that is gone is told nothing", |scene| {
            scene.call().answer = None;
            scene.state.lives[0].ended = Some((at(2), LifeEnd::Left));
        }),
        Sound("a killed call is told nothing", |scene| {
            scene.call().answer = None;
            scene.call().killed = Some((at(3), Phase::Switch, true));
            scene.call().jobs = vec![job(1, Some(Ending::Dropped))];
        }),
        Sound("a failure that was asked for", |scene| {
            scene.call().answer = Some((at(4), Outcome::FailedAsAsked));
            scene.call().jobs = vec![job(1, Some(Ending::Failed))];
        }),
        Sound("two releases too far apart refuse each other", |scene| {
            scene.call().answer = Some((at(4), Outcome::Incompatible));
            scene.call().jobs.clear();
            scene.state.lives[1].release = Place(0);
        }),
        Sound("a call to all runs once on each node", |scene| {
            scene.call().to = None;
            scene.state.lives.push(life(2));
            scene.call().jobs.push(job(2, Some(Ending::Done)));
        }),
        Sound("a whole stream", |scene| {
            scene.call().work = Work::Stream;
            scene.call().items = (0..ITEMS).collect();
        }),
        Sound("a stream that was cut short, and its caller told", |scene| {
            scene.call().work = Work::Stream;
            scene.call().answer = Some((at(4), Outcome::ConnectionLost));
            scene.call().items = (0..3).collect();
        }),
        Sound("a probe that is served", |scene| scene.settled.probes.push(CallNumber(0))),
        Sound("a call that is told that its peer leaves", |scene| {
            scene.call().answer = Some((at(4), Outcome::Draining));
            scene.call().jobs.clear();
        }),
    ];
    for Sound(what, alter) in sound {
        let mut scene = self::sound();
        alter(&mut scene);
        assert_eq!(scene.judge(Oracles::ALL), [], "{what}");
    }
}

#[test]
fn a_call_that_its_own_kill_had_to_end_was_left_in_silence() {
    let mut scene = sound();
    scene.call().answer = None;
    scene.call().killed = Some((at(50), Phase::Switch, false));
    assert_eq!(scene.judge(Oracles::ALL), []);
    scene.settled.silent.push(CallNumber(0));
    assert_eq!(scene.judge(Oracles::ALL).len(), 1);
}

#[test]
fn a_refusal_is_in_order_until_the_next_handshake_could_have_come_through() {
    // The other was two releases behind until it was started again, at 5 s.
    let refused = |seconds| {
        let mut scene = sound();
        scene.call().answer = Some((at(seconds), Outcome::Incompatible));
        scene.call().jobs.clear();
        (scene.state.lives[1].release, scene.state.lives[1].ended) = (Place(0), Some((at(4), LifeEnd::Crashed)));
        scene.state.lives.push(LifeRecord { began: at(5), ..life(1) });
        scene.judge(Oracles::ALL).into_iter().map(|breach| breach.rule).collect::<Vec<_>>()
    };
    assert_eq!(refused(13), [], "8 s later");
    assert_eq!(refused(14), [Rule::Listed(Invariant::S11)], "9 s later");
}

#[test]
fn a_second_job_of_a_call_to_all_counts_by_node() {
    let mut scene = sound();
    scene.call().to = None;
    scene.call().jobs.push(job(1, Some(Ending::Done)));
    let found = scene.judge(Oracles::ALL);
    assert!(matches!(&found[..], [Breach { rule: Rule::Listed(Invariant::S2), .. }]), "{found:?}");
}
