//! A path through the hellos of a few nodes as a trace: who dialed, what was read, who attached, who changed.

use rexi_proto::{LENGTH_BYTES, Message, Presence, decode};

use super::super::scope::release_name;
use super::action::Action;
use super::model::Hellos;
use super::state::State;
use crate::model::{Stage, Wire, frames, name};
use crate::search::{Broken, Path};
use crate::verdict::trace::{Place, Trace, TraceEvent};

/// The trace of a path, and of what breaks at its end if something does.
pub fn trace(path: &Path<Hellos>, broken: Option<&Broken>) -> Trace {
    let lanes = (0..path.start.world.nodes.len()).map(|index| name(index).to_string());
    let mut trace = Trace { lanes: lanes.collect(), events: Vec::new() };
    for (index, node) in path.start.world.nodes.iter().enumerate() {
        let connected = if path.start.world.wires.is_empty() { "" } else { ", connected to all" };
        let what = format!("runs {}, at {}{connected}", release_name(node.release), node.rollout.phase());
        trace.events.push(TraceEvent::new(Place::At(index), what));
    }
    let mut before = &path.start;
    for (action, after) in &path.steps {
        trace.events.push(event(before, *action));
        for (index, (old, new)) in before.world.nodes.iter().zip(&after.world.nodes).enumerate() {
            if old.life == new.life && old.rollout.phase() != new.rollout.phase() {
                trace.events.push(TraceEvent::new(Place::At(index), format!("is now at {}", new.rollout.phase())));
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
        Action::Restart(index, release) => {
            (Place::At(index), format!("is killed, and starts as {}", release_name(release)))
        }
        Action::Lower(index) => (Place::At(index), "its operator lowers it to its lowest phase".to_owned()),
        Action::Lift(index) => (Place::At(index), "its operator lets it rise again".to_owned()),
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
    let Stage::Opening(hellos, _) = &state.world.wires[at].ends[side].stage else { return "hello".to_owned() };
    let theirs = &hellos[1];
    let (release, phase, life) = (&theirs.release, theirs.phase, theirs.incarnation.0);
    let member = state.world.wires[at].of(side).1;
    let over = if state.world.nodes[member].life == theirs.incarnation { "" } else { ", which is over" };
    let mut text = format!("hello of its life {life}{over}: {release}, at {phase}");
    if !theirs.holdouts.is_empty() {
        let names: Vec<String> = theirs.holdouts.iter().map(ToString::to_string).collect();
        text += &format!(", names {} as sending to the singleton", names.join(" and "));
    }
    text + age(state, at)
}

/// The first frame on its way to an end in words.
fn frame(state: &State, at: usize, side: usize) -> String {
    let (index, member) = state.world.wires[at].of(side);
    let frame = frames(&state.world.wires[at].ends[side].way.lane).next().unwrap_or_default();
    let Presence::Up(session, _) = state.world.nodes[index].peer(member).presence() else { return "bytes".to_owned() };
    match decode(session.wire, frame.get(LENGTH_BYTES..).unwrap_or_default()) {
        Ok(Message::Announce(_, phase)) => format!("word that the phase is {phase}"),
        Ok(other) => format!("{other:?}"),
        Err(_) => "a frame that cannot be read".to_owned(),
    }
}
