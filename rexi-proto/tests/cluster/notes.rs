//! What happened in a run, in words, for whoever reads a counterexample. Taken down only when it is asked for.

use std::fmt;

use rexi_proto::{Cast, Exit, Message, Reply, ServerAddress};

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    On(usize),
    From(usize, usize),
    Lost(usize, usize),
    Everywhere,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) place: Place,
    pub(crate) what: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::On(node) => write!(f, "n{node}: ")?,
            Place::From(from, to) => write!(f, "n{from} -> n{to}: ")?,
            Place::Lost(from, to) => write!(f, "n{from} -x n{to}: ")?,
            Place::Everywhere => f.write_str("-- ")?,
        }
        f.write_str(&self.what)
    }
}

/// A message in a few words.
pub(crate) fn words(message: &Message) -> String {
    let list = |calls: &[rexi_proto::CallRef]| {
        let calls: Vec<String> = calls.iter().map(|call| format!("c{}", call.0)).collect();
        if calls.is_empty() { "none".to_owned() } else { calls.join(", ") }
    };
    let to = |server: &ServerAddress| format!("for the {server}");
    match message {
        Message::Cast(server, Cast { call, .. }) => format!("cast c{} {}", call.0, to(server)),
        Message::Kill(server, call) => format!("kill c{} {}", call.0, to(server)),
        Message::KillAll(server, calls) => format!("batch of kills {} {}", list(calls), to(server)),
        Message::Resume(server, calls) => format!("open with the {server}: {}", list(calls)),
        Message::Reply(Reply { call, number, .. }) => format!("reply {number} of c{}", call.0),
        Message::Exit(Exit { call, reason, .. }) => format!("exit of c{}: {reason:?}", call.0),
        Message::StreamInit(call) => format!("c{} asks for its stream", call.0),
        Message::StreamStart(server, call) => format!("start the stream of c{} {}", call.0, to(server)),
        Message::Ack(server, call, total) => format!("{total} items of c{} taken, {}", call.0, to(server)),
        Message::Announce(epoch, phase) => format!("my phase is {phase} (change {epoch})"),
        Message::NoSuchServer(server, call) => format!("c{}: there is no {server}", call.0),
        Message::Monitor(server, monitor) => format!("monitor m{} {}", monitor.0, to(server)),
        other => format!("{other:?}"),
    }
}
