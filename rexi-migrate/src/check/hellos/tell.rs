//! A path through the hellos of a few nodes as a trace: who dialed, what was read, who attached, who changed.

use rexi_proto::{Form, LENGTH_BYTES, Message, Presence, Saying, decode};

use super::action::{Action, Clock};
use super::model::Hellos;
use super::state::State;
use crate::model::{EndStage, Wire, frames, name};
use crate::search::{Broken, Path};
use crate::verdict::trace::{Place, Trace, TraceEvent};

/// The trace of a path, and of what breaks at its end if something does.
pub fn trace(path: &Path<Hellos>, broken: Option<&Broken>) -> Trace {
    let lanes = (0..path.start.world.nodes.len()).map(|index| name(index).to_string());
    let mut trace = Trace { lanes: lanes.collect(), events: Vec::new() };
    for (index, node) in path.start.world.nodes.iter().enumerate() {
        let connected = if path.start.world.wires.is_empty() { "" } else { ", connected to all" };
        let what = format!("runs {}, at {}{connected}", node.train.name(node.release), node.phases_in_words());
        trace.events.push(TraceEvent::new(Place::At(index), what));
    }
    let mut before = &path.start;
    for (action, after) in &path.steps {
        trace.events.push(event(before, *action));
        for (index, (old, new)) in before.world.nodes.iter().zip(&after.world.nodes).enumerate() {
            if old.life == new.life && old.rollout.phases() != new.rollout.phases() {
                trace.events.push(TraceEvent::new(Place::At(index), format!("is now at {}", new.phases_in_words())));
            }
            for member in (0..after.world.nodes.len()).filter(|&member| member != index && old.life == new.life) {
                if old.is_up(member) && !new.is_up(member) {
                    trace
                        .events
                        .push(TraceEvent::new(Place::At(index), format!("is no longer attached to {}", name(member))));
                }
            }
        }
        before = after;
    }
    if let Some(broken) = broken {
        trace
            .events
            .push(TraceEvent::new(Place::Everywhere, format!("{}: {}", broken.invariant, broken.what)).breach());
    }
    trace
}

fn event(state: &State, action: Action) -> TraceEvent {
    let towards = |at: usize, side: usize| {
        let (index, member) = state.world.wires[at].of(side);
        Place::Between(member, index)
    };
    let (place, what) = match action {
        Action::Dial(one, other) => (Place::Between(one, other), "opens a connection, and both say hello".to_owned()),
        Action::Hear(at, side) => (towards(at, side), hello(state, at, side)),
        Action::Attach(at, side) => {
            let (index, member) = state.world.wires[at].of(side);
            (Place::At(index), format!("attaches to {}{}", name(member), age(state, at)))
        }
        Action::Deliver(at, side) => (towards(at, side), format!("{}{}", frame(state, at, side), age(state, at))),
        Action::Cut(at) => {
            let [low, high] = state.world.wires[at].between;
            (Place::Lost(low, high), format!("a connection breaks{}", age(state, at)))
        }
        Action::Notice(at, side) => {
            let (index, member) = state.world.wires[at].of(side);
            (Place::At(index), format!("learns that a connection to {} is gone{}", name(member), age(state, at)))
        }
        Action::Restart(index, release, clock) => {
            let train = &state.world.nodes[index].train;
            let clock = match clock {
                Clock::Forward => "",
                Clock::Back => ", its clock set back",
                Clock::FarAhead => ", its clock far ahead",
            };
            (Place::At(index), format!("is killed, and starts as {}{clock}", train.name(release)))
        }
        Action::Twin(index) => (Place::At(index), "a second process of its name starts".to_owned()),
        Action::Return(index) => (Place::At(index), "its second process is killed, and the first goes on".to_owned()),
        Action::Lower(index, _) => (Place::At(index), "its operator lowers it to its lowest phase".to_owned()),
        Action::Lift(index, _) => (Place::At(index), "its operator lets it rise again".to_owned()),
    };
    TraceEvent::new(place, what)
}

/// Which of two open connections it is, where there are two.
fn age(state: &State, at: usize) -> &'static str {
    let between = state.world.wires[at].between;
    let same = |wire: &std::sync::Arc<Wire>| wire.between == between;
    if state.world.wires[at + 1..].iter().any(same) {
        " (the older connection)"
    } else if state.world.wires[..at].iter().any(same) {
        " (the newer connection)"
    } else {
        ""
    }
}

fn hello(state: &State, at: usize, side: usize) -> String {
    let EndStage::Opening(hellos, _) = &state.world.wires[at].ends[side].stage else { return "hello".to_owned() };
    let theirs = &hellos[1];
    let (release, life) = (&theirs.release, theirs.incarnation.0);
    let phases: Vec<String> = theirs.migrations.iter().map(|standing| standing.phase.to_string()).collect();
    let phase = phases.join(", ");
    let member = state.world.wires[at].of(side).1;
    let over = if state.world.nodes[member].life_to(state.world.wires[at].of(side).0) == theirs.incarnation {
        ""
    } else {
        ", which is over"
    };
    let mut text = format!("hello of its life {life}{over}: {release}, at {phase}");
    for standing in theirs.migrations.iter().filter(|standing| !standing.holdouts.is_empty()) {
        let names: Vec<String> = standing.holdouts.iter().map(ToString::to_string).collect();
        let saying = Saying { migration: standing.key.clone(), form: Form::Old };
        text += &format!(", names {} as one that {}", names.join(" and "), saying.said());
    }
    text + age(state, at)
}

/// The first frame on its way to an end in words.
fn frame(state: &State, at: usize, side: usize) -> String {
    let (index, member) = state.world.wires[at].of(side);
    let frame = frames(&state.world.wires[at].ends[side].way.lane).next().unwrap_or_default();
    let Presence::Up(session, _) = state.world.nodes[index].peer(member).presence() else { return "bytes".to_owned() };
    match decode(session.wire, frame.get(LENGTH_BYTES..).unwrap_or_default()) {
        Ok(Message::Announce(_, now)) => format!("word that the phase is {}", now.phase),
        Ok(other) => format!("{other:?}"),
        Err(_) => "a frame that cannot be read".to_owned(),
    }
}
