//! A path through the cluster's states as a trace that a reader can follow: who did what, what arrived, who changed.

use rexi_proto::{LENGTH_BYTES, Message, Presence, ServerRequest, decode};

use super::action::{Action, Stop, Straggler};
use super::model::Cluster;
use super::scope::Scope;
use super::state::State;
use crate::model::{FUNCTION, Job, frames, name};
use crate::search::{Broken, Path};
use crate::verdict::trace::{Place, Trace, TraceEvent};

/// The trace of a path, and of what breaks at its end if something does.
pub fn trace(scope: &Scope, path: &Path<Cluster>, broken: Option<&Broken>) -> Trace {
    let lanes = (0..path.start.nodes.len()).map(|index| name(index).to_string());
    let mut trace = Trace { lanes: lanes.collect(), events: Vec::new() };
    for (index, node) in path.start.nodes.iter().enumerate() {
        let what = format!("starts as {}, at {}", scope.train.name(node.release), node.phases_in_words());
        trace.events.push(TraceEvent::new(Place::At(index), what));
    }
    let mut before = &path.start;
    for (action, after) in &path.steps {
        trace.events.push(event(scope, before, *action));
        changes(before, after, &mut trace.events);
        before = after;
    }
    if let Some(broken) = broken {
        trace
            .events
            .push(TraceEvent::new(Place::Everywhere, format!("{}: {}", broken.invariant, broken.what)).breach());
    }
    trace
}

fn event(scope: &Scope, state: &State, action: Action) -> TraceEvent {
    let call = |at: usize| &state.notes.calls[at];
    let at_job = |at: usize| Place::At(call(at).to);
    let (place, what) = match action {
        Action::Cast(from, to, stream, function) => {
            let function = match state.nodes[from].called()[function] {
                FUNCTION => String::new(),
                name => format!(" of {name}"),
            };
            let place = state.notes.calls.iter().position(|call| call.over).unwrap_or(state.notes.calls.len());
            let streams = if stream { ", whose job sends a stream" } else { "" };
            (Place::At(from), format!("casts call {place}{function} to {}{streams}", name(to)))
        }
        Action::Kill(at) => (Place::At(call(at).by), format!("kills call {at}")),
        Action::KillAll(from, to) => (Place::At(from), format!("kills all its calls to {}", name(to))),
        Action::End(at) => (at_job(at), format!("the job of call {at} ends with a reply")),
        Action::Item(at) => (at_job(at), format!("the job of call {at} has an item")),
        Action::Start(at) => (Place::At(call(at).by), format!("starts the stream of call {at}")),
        Action::Ack(at) => (Place::At(call(at).by), format!("acknowledges an item of call {at}")),
        Action::Watch(from, to) => (Place::At(from), format!("monitors {}", name(to))),
        Action::Deliver(from, to) => (Place::Between(from, to), first_on_lane(state, from, to)),
        Action::DeliverAll(from, to) => (Place::Between(from, to), "all that is on its way arrives".to_owned()),
        Action::GoOn(at, of) if at == of => (Place::At(at), "the singleton goes on with a list".to_owned()),
        Action::GoOn(at, of) => (Place::At(at), format!("goes on with a list of {}", name(of))),
        Action::Take(node) => (Place::At(node), first_in_queue(state, node)),
        Action::Connect(one, other) => (Place::Between(one, other), "both say hello".to_owned()),
        Action::Dial(from, to) => (Place::Between(from, to), "dials and says hello".to_owned()),
        Action::Accept(from, to) => (Place::Between(to, from), "takes the hello and answers".to_owned()),
        Action::Complete(from, to) => (Place::At(from), format!("takes the answer of {}", name(to))),
        Action::Cut(one, other) => (Place::Lost(one, other), "the connection breaks".to_owned()),
        Action::Notice(at, of) => (Place::At(at), format!("learns that the connection to {} is gone", name(of))),
        Action::Restart(node, to, stop) => {
            let stop = if stop == Stop::Crash { "is killed" } else { "leaves in good order" };
            (Place::At(node), format!("{stop}, and starts as {}", scope.train.name(to)))
        }
        Action::Lower(node, _) => (Place::At(node), "its operator lowers it to its lowest phase".to_owned()),
        Action::Lift(node, _) => (Place::At(node), "its operator lets it rise again".to_owned()),
        Action::Expire(at, of) => (Place::At(at), format!("{} was away for the stability period", name(of))),
        Action::Payload(from, to, _) => (Place::Between(from, to), "a payload arrives".to_owned()),
        Action::Straggle(at, of, straggler) => {
            let what = match straggler {
                Straggler::OnItsWay(_) => "a frame or a payload",
                Straggler::End => "the end",
                Straggler::Departure => "a departure",
                Straggler::Refusal => "a refusal, by an earlier life",
            };
            (Place::Between(of, at), format!("{what} of an earlier connection comes late"))
        }
    };
    TraceEvent::new(place, what)
}

/// The first frame of a lane in words.
fn first_on_lane(state: &State, from: usize, to: usize) -> String {
    let frame = frames(&state.way(from, to).lane).next().unwrap_or_default();
    let Presence::Up(session, _) = state.nodes[to].peer(from).presence() else { return "bytes".to_owned() };
    let Ok(message) = decode(session.wire, frame.get(LENGTH_BYTES..).unwrap_or_default()) else {
        return "a frame that cannot be read".to_owned();
    };
    let kind = match &message {
        Message::Cast(server, _) => format!("cast to the {server}"),
        Message::Kill(server, _) => format!("kill to the {server}"),
        Message::KillAll(server, calls) => format!("kill of {} calls to the {server}", calls.len()),
        Message::StreamStart(server, _) => format!("start of a stream to the {server}"),
        Message::Ack(server, ..) => format!("acknowledgement to the {server}"),
        Message::Monitor(server, _) => format!("monitor of the {server}"),
        Message::Resume(server, calls) => format!("resume of {} calls to the {server}", calls.len()),
        Message::Reply(reply) => format!("{:?} reply", reply.form).to_lowercase(),
        Message::Exit(exit) => format!("exit: {}", exit.reason),
        Message::Announce(_, now) => format!("phase is now {}", now.phase),
        Message::StreamInit(_) => "asks for a stream".to_owned(),
        other => format!("{other:?}"),
    };
    format!("{kind} arrives")
}

/// The first request of a singleton's queue in words.
fn first_in_queue(state: &State, node: usize) -> String {
    let Some((caller, request)) = state.nodes[node].queue.front() else { return "the queue is empty".to_owned() };
    let what = match request {
        ServerRequest::Cast(_) => "a cast",
        ServerRequest::Kill(_) => "a kill",
        ServerRequest::Resume(..) => "a resume",
        ServerRequest::Stream(..) => "a word on a stream",
        ServerRequest::Monitor(_) => "a monitor",
        ServerRequest::Forget => "the end of an earlier life",
        _ => "a request",
    };
    format!("the singleton takes {what} of {} off its queue", name(caller.peer.0 as usize))
}

/// What a step has changed that is not said by its name: phases and workers.
fn changes(before: &State, after: &State, events: &mut Vec<TraceEvent>) {
    for (index, (old, new)) in before.nodes.iter().zip(&after.nodes).enumerate() {
        if old.life == new.life && old.rollout.phases() != new.rollout.phases() {
            events.push(TraceEvent::new(Place::At(index), format!("is now at {}", new.phases_in_words())));
        }
        for job in new.jobs.iter().filter(|job| !old.jobs.iter().any(|other| other.call == job.call)) {
            events.push(TraceEvent::new(Place::At(index), format!("the {} runs call {}", job.key.server, job.call)));
        }
        let over = |job: &&Job| !new.jobs.iter().any(|other| other.call == job.call);
        for job in old.jobs.iter().filter(over).filter(|_| old.life == new.life) {
            events.push(TraceEvent::new(Place::At(index), format!("the job of call {} is gone", job.call)));
        }
    }
}
