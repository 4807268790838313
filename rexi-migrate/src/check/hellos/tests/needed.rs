//! For each oracle of the search of hellos, a state or a step that breaks what it asks, and nothing else.

#[cfg(feature = "mutants")]
use rexi_proto::verdict;
use rexi_proto::{
    CloseCode, Forms, FunctionTable, Hello, Incarnation, Limits, Output, Phase, Rollout, SERVER_PER_NODE, Train,
};

use super::super::super::state::NOW;
use super::super::action::Action;
use super::super::judge::judge;
use super::super::oracle::{Oracle, Oracles};
use super::super::state::{FAR_AHEAD, State};
use super::super::step::Stepper;
use super::*;
use crate::model::{CLOCK, EndStage, Holdout, NodeModel, name};
use crate::search::Model;
use crate::verdict::invariant::Invariant;

/// What breaks.
enum Planted {
    /// A state.
    State(fn(&mut State)),
    /// A step from a state.
    Step(fn(&mut Stepper<'_>)),
    /// Nothing can, for this reason: what is asked is an error that no sound operator can meet.
    Nothing(&'static str),
}

/// Two nodes of the last release, attached to each other, with nothing on its way.
fn attached(model: &Hellos) -> State {
    let mut state = model.initial().remove(0);
    let of_both = |action: fn(usize, usize) -> Action| [action(0, 0), action(0, 1)];
    for action in [Action::Dial(0, 1)].into_iter().chain(of_both(Action::Hear)).chain(of_both(Action::Attach)) {
        state = model.step(&state, &action).expect("a step");
        assert!(model.check(&state).is_ok(), "nothing is wrong");
    }
    assert!(state.world.is_connected(0, 1) && state.world.is_quiet(0, 1));
    state
}

fn node(state: &mut State, index: usize) -> &mut NodeModel {
    state.world.node(index)
}

/// A rollout of that release, held at a phase.
fn rollout(index: usize, release: usize, phase: Phase) -> Rollout {
    let profile = crate::demo::path().at(release).clone();
    let mut rollout = Rollout::new(name(index), profile, (0..2).map(name));
    rollout.hold(SERVER_PER_NODE.key(), phase).expect("the release has it");
    rollout
}

/// A rollout of a release of another train, which says and takes what the last release of ours does.
fn of_another_train(index: usize) -> Rollout {
    let train = Train::new("other").release("9.0", |r| r);
    Rollout::new(name(index), train.profile("9.0").expect("a train"), (0..2).map(name))
}

fn hello(rollout: &Rollout) -> Hello {
    rollout.hello(Incarnation(1), &FunctionTable::default(), &Limits::default())
}

/// A rollout that has heard of the other node, as it runs that release at that phase.
fn rollout_that_knows(index: usize, release: usize, phase: Phase, other: &Rollout) -> Rollout {
    let mut rollout = rollout(index, release, phase);
    let theirs = hello(other);
    let ours = hello(&rollout);
    let _ = rollout.handle_hello(&ours, &theirs, CLOCK);
    rollout
}

/// What only this oracle finds. A new one has to be planted here, or this does not compile.
fn planted(oracle: Oracle) -> Planted {
    match oracle {
        Oracle::PhaseOutOfBounds => Planted::Nothing("a rollout keeps its phase within its profile's, which it holds"),
        Oracle::CeilingUnheeded => Planted::State(|state| node(state, 0).ceilings[0] = Some(Phase::Introduce)),
        Oracle::AttachedOverSkew => Planted::State(|state| *node(state, 0).rollout_mut() = of_another_train(0)),
        Oracle::SendsToNoServer => Planted::State(|state| {
            let old = || rollout(0, 2, Phase::Introduce);
            *node(state, 1).rollout_mut() = rollout_that_knows(1, 3, Phase::Remove, &old());
            *node(state, 0).rollout_mut() = old();
        }),
        Oracle::StaleView => Planted::State(|state| {
            *node(state, 1).rollout_mut() = rollout_that_knows(1, 3, Phase::Remove, &rollout(0, 1, Phase::Introduce));
        }),
        Oracle::ShutOut => Planted::State(believe_the_last_life),
        Oracle::RaisedUnready => Planted::Step(|stepper| {
            let world = &mut stepper.state.world;
            *world.node(0).rollout_mut() = rollout(0, 2, Phase::Switch);
            world.node(0).seen[1].hello = None;
            let node = world.nodes[0].clone();
            node.judge_raise(0, Phase::Introduce, &mut world.notes);
        }),
        Oracle::HoldoutLeftBehind => Planted::Step(|stepper| {
            // A third, which only the witness knows: here it is the witness itself.
            let world = &mut stepper.state.world;
            *world.node(0).rollout_mut() = rollout(0, 1, Phase::Introduce);
            let (hellos, life) = ([0, 1].map(|index| world.nodes[index].hello()), world.nodes[0].life);
            world.wire(0).ends[0].stage =
                EndStage::Opening(Box::new(hellos), vec![Holdout { node: 0, life, migration: 0 }]);
            world.judge_holdouts(0, 0);
        }),
        Oracle::PhaseWithoutTransition => Planted::Step(|stepper| {
            let before = stepper.state.world.nodes[0].rollout.changes();
            let other = Rollout::new(name(0), crate::demo::path().at(1).clone(), (0..2).map(name));
            assert_eq!(other.changes(), before, "the epoch is the same, and the phase is not");
            *stepper.state.world.node(0).rollout_mut() = other;
            stepper.state.world.drain(0);
        }),
        Oracle::LoweredToRemoved => Planted::Step(lower_to_removed),
        Oracle::ClosedOnSoundPeer => Planted::Step(|stepper| {
            let output = Output::Close(CloseCode::BadFrame, "for nothing".to_owned());
            stepper.state.world.at(0, |node, _, notes| {
                let mut closes = Vec::new();
                node.handle_output(1, output, notes, &mut closes);
                closes.iter().for_each(|close| notes.closed(0, close));
            });
        }),
        Oracle::NotLowered => Planted::Nothing("every release has its own lowest phase"),
        #[cfg(feature = "mutants")]
        Oracle::CeilingStays => Planted::Step(lift_in_vain),
        #[cfg(feature = "mutants")]
        Oracle::RefusalOutlived => Planted::Step(refused_for_an_earlier_phase),
        #[cfg(not(feature = "mutants"))]
        Oracle::CeilingStays | Oracle::RefusalOutlived => Planted::Nothing("only a broken variant does so"),
        Oracle::HelloUnread => Planted::Step(|stepper| {
            let world = &mut stepper.state.world;
            let ours = world.nodes[0].hello();
            let mut theirs = world.nodes[1].hello();
            theirs.migrations[0].holdouts = (0..100_000).map(name).collect();
            world.wire(0).ends[0].stage = EndStage::Opening(Box::new([ours, theirs]), Vec::new());
            world.hear(0, 0);
        }),
        Oracle::EarlierLifeAgreed => Planted::Step(|stepper| {
            // The observer has seen a later life, and the node has not.
            let world = &mut stepper.state.world;
            world.node(0).seen[1].hello = Some((Incarnation(99), 0, 3));
            let hellos = [0, 1].map(|index| world.nodes[index].hello());
            world.wire(0).ends[0].stage = EndStage::Opening(Box::new(hellos), Vec::new());
            world.hear(0, 0);
        }),
    }
}

/// A node whose ceiling is lifted, and holds still.
#[cfg(feature = "mutants")]
fn lift_in_vain(stepper: &mut Stepper<'_>) {
    // A ceiling that was set while they were heeded.
    let mut held = rollout(0, 2, Phase::Introduce);
    held.set_ceiling(SERVER_PER_NODE.key(), Some(Phase::Introduce)).expect("the release has it");
    let mutants = Mutants::from_names("ceiling-ignored").expect("a known name");
    *stepper.state.world.node(0).rollout_mut() = held.with_mutants(mutants);
    stepper.apply(Action::Lift(0, 0));
}

/// A peer is refused for the old form, and the node says the new one then.
#[cfg(feature = "mutants")]
fn refused_for_an_earlier_phase(stepper: &mut Stepper<'_>) {
    let mutants = Mutants::from_names("refusal-outlived").expect("a known name");
    let model = Hellos::new(Bounds { mutants, ..stepper.model.bounds.clone() });
    let theirs = model.node(1, 3, Incarnation(99));
    *stepper.state.world.node(0) = model.node(0, 2, Incarnation(1));
    stepper.state.world.at(0, |node, now, notes| {
        node.rollout_mut().hold(SERVER_PER_NODE.key(), Phase::Introduce).expect("the release has it");
        node.tell_phases(now, notes);
        let refusal = verdict(&node.hello(), &theirs.hello()).expect_err("the old form is removed");
        node.seen[1].hello = Some((Incarnation(99), 0, 3));
        node.peer_mut(1).handle_refused(now, Incarnation(99), refusal);
        node.rollout_mut().hold(SERVER_PER_NODE.key(), Phase::Switch).expect("the release has it");
        node.tell_phases(now, notes);
    });
}

/// A node that rightly goes back to the singleton, which a member has removed without a word.
fn lower_to_removed(stepper: &mut Stepper<'_>) {
    let mut node = stepper.model.node(0, 2, Incarnation(9));
    let (ours, theirs) = (node.hello(), hello(&rollout(1, 2, Phase::Switch)));
    node.rollout_mut().handle_hello(&ours, &theirs, CLOCK).expect("they may speak");
    node.seen[1].hello = Some((Incarnation(1), 0, 2));
    let notes = &mut stepper.state.world.notes;
    node.tell_phases(NOW, notes);
    node.lower(NOW, (0, Phase::Introduce), &[(1, Forms::NEW)], notes).expect("nobody objects");
}

/// A life that was believed, and that no life can come after.
fn believe_the_last_life(state: &mut State) {
    let theirs = Hello { incarnation: FAR_AHEAD, ..state.world.nodes[1].hello_to(0) };
    state.world.cut(0);
    (0..2).for_each(|side| state.world.notice(0, side));
    let ours = state.world.nodes[0].hello_to(1);
    node(state, 0).rollout_mut().handle_hello(&ours, &theirs, FAR_AHEAD).expect("a later life");
}

/// What is found of a planted breach by these oracles.
fn found(planted: &Planted, oracles: Oracles) -> Option<Invariant> {
    let all = from_the_switching_release(Mutants::default());
    let [two, ..] = &all[..] else { panic!("there are configurations") };
    let bounds = Bounds { starts: vec![3], ..two.clone() };
    let (sound, model) = (Hellos::new(bounds.clone()), Hellos { oracles, ..Hellos::new(bounds) });
    let mut state = attached(&sound);
    match planted {
        Planted::State(alter) => {
            alter(&mut state);
            judge(oracles, &state).err().map(|broken| broken.invariant)
        }
        Planted::Step(step) => {
            let mut stepper = Stepper::new(&model, &state);
            step(&mut stepper);
            stepper.judge_notes();
            stepper.state.broken.map(|broken| broken.invariant)
        }
        Planted::Nothing(_) => None,
    }
}

#[test]
fn each_oracle_finds_what_no_other_does() {
    let mut nothing = Vec::new();
    for &oracle in Oracle::ALL {
        let planted = planted(oracle);
        if let Planted::Nothing(reason) = planted {
            assert!(!reason.is_empty());
            nothing.push(oracle);
            continue;
        }
        assert_eq!(found(&planted, Oracles::ALL), Some(oracle.invariant()), "{oracle:?}");
        assert_eq!(found(&planted, Oracles::without(oracle)), None, "{oracle:?} is left out");
    }
    let unplanted = [Oracle::PhaseOutOfBounds, Oracle::NotLowered, Oracle::CeilingStays, Oracle::RefusalOutlived];
    assert_eq!(nothing, unplanted[..if cfg!(feature = "mutants") { 2 } else { 4 }]);
}
