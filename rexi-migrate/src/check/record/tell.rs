//! A path through the states of a record as a trace.

use super::action::Action;
use super::model::Records;
use super::state::State;
use crate::model::name;
use crate::search::{Broken, Path};
use crate::verdict::trace::{Place, Trace, TraceEvent};

/// The trace of a path, and of what breaks at its end if something does.
pub fn trace(path: &Path<Records>, broken: Option<&Broken>) -> Trace {
    let lanes = (0..path.start.nodes.len()).map(|index| name(index).to_string());
    let mut trace = Trace { lanes: lanes.collect(), events: Vec::new() };
    let mut before = &path.start;
    for (action, after) in &path.steps {
        trace.events.push(event(before, *action));
        for (index, (old, new)) in before.nodes.iter().zip(&after.nodes).enumerate() {
            let record = |state: &super::state::Node| state.disk.kept().and_then(|kept| kept.record.clone());
            if let (old, Some(record)) = (record(old), record(new))
                && old.as_ref() != Some(&record)
            {
                let what = format!("now has epoch {}: {} to {}", record.epoch, record.floor, record.top);
                trace.events.push(TraceEvent::new(Place::At(index), what));
            }
        }
        before = after;
    }
    if let Some(broken) = broken {
        let what = format!("{}: {}", broken.invariant, broken.what);
        trace.events.push(TraceEvent::new(Place::Everywhere, what).breach());
    }
    trace
}

fn event(state: &State, action: Action) -> TraceEvent {
    let landed = |landed: bool| if landed { "what it wrote is on the disk" } else { "what it wrote is lost" };
    let (place, what) = match action {
        Action::Wish(operator) => (Place::Everywhere, format!("operator {operator} says a wish")),
        Action::Resume(operator) => (Place::Everywhere, format!("operator {operator} goes on with what is under way")),
        Action::Abort(operator) => (Place::Everywhere, format!("operator {operator} gives up what is under way")),
        Action::Forget(operator) => (Place::Everywhere, format!("operator {operator} has the lost member forgotten")),
        Action::Deliver(place, again) => {
            let flight = &state.flights[place];
            let again = if again { ", and a copy is still on its way" } else { "" };
            (Place::At(flight.to), format!("is asked by operator {}: {}{again}", flight.from.0, told(&flight.ask)))
        }
        Action::Miss(operator, index) => (Place::At(index), format!("does not answer operator {operator}")),
        Action::Desert(operator) => (Place::Everywhere, format!("the driver of operator {operator} is killed")),
        Action::Written(index) => (Place::At(index), "has written".to_owned()),
        Action::Fail(index, is) => (Place::At(index), format!("fails to write; {}", landed(is))),
        Action::Crash(index, is) => (Place::At(index), format!("is killed; {}", landed(is))),
        Action::Stop(index) => (Place::At(index), "is stopped, since it has no record or is refused".to_owned()),
        Action::Start(index, release) => (Place::At(index), format!("starts, the release of place {release}")),
        Action::Wipe(index) => (Place::At(index), "has its disk emptied".to_owned()),
        Action::Corrupt(index) => (Place::At(index), "has a file that can no longer be read".to_owned()),
        Action::Repair(index, other) => (Place::At(index), format!("is repaired by what {} has", name(other))),
        Action::Drop(index) => (Place::At(index), "is left out of all lists".to_owned()),
        Action::Relist(index) => (Place::At(index), "lists all members".to_owned()),
        Action::Meet(index, other) => (Place::Between(other, index), "they meet".to_owned()),
    };
    TraceEvent::new(place, what)
}

fn told(ask: &rexi_proto::record::KeeperAsk) -> String {
    use rexi_proto::record::KeeperAsk;
    match ask {
        KeeperAsk::Read => "what do you keep?".to_owned(),
        KeeperAsk::Vote(intent) => format!("yes to {}, attempt {}?", intent.told(), intent.attempt),
        KeeperAsk::Commit(intent, _) => format!("{} is decided", intent.told()),
        KeeperAsk::Take(record, held_by) => format!("take epoch {}, as {held_by} has it", record.epoch),
        KeeperAsk::Close { attempt, .. } => format!("close attempt {attempt}"),
        KeeperAsk::Abort { attempt, .. } => format!("let go of attempt {attempt}"),
        KeeperAsk::Freeze { attempt, fence, .. } => {
            format!("close attempt {attempt}, and take nothing of {}", fence.names())
        }
        KeeperAsk::Brake { .. } => "brake".to_owned(),
        KeeperAsk::Hear(_) => "hear of brakes".to_owned(),
    }
}
