//! What goes wrong with a rehearsal's node processes, and what is at fault: the node, its release, or the machine.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use thiserror::Error;

use crate::rehearse::control::ControlError;
use crate::workload::work::LEDGER_FAILED;
use rexi_proto::Release;

/// What no plan foresees. The node is at fault unless the variant says otherwise; the cluster still runs and has to be
/// shut down.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// No free ports. The environment is at fault.
    #[error("no free UDP port on the loopback interface")]
    Ports(#[source] io::Error),
    /// A node's process could not be started. The environment, or who named the program, is at fault.
    #[error("cannot start {node} with {}", program.display())]
    Start {
        /// The node.
        node: String,
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A node does not take commands.
    #[error("{node} does not read its commands")]
    Deaf {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A node said something that is not an event.
    #[error("{node} does not speak the control protocol")]
    Garbled {
        /// The node.
        node: String,
        /// What it said.
        #[source]
        source: ControlError,
    },
    /// A node said that it cannot go on.
    #[error("{node} of release {release} failed: {error}")]
    Failed {
        /// The node.
        node: String,
        /// Its release.
        release: Release,
        /// Its own words.
        error: String,
        /// Whether it had been ready before; if not, what failed may be its surroundings.
        was_ready: bool,
    },
    /// A node's process ended unasked.
    #[error("{node} of release {release} ended by itself ({status}); its log ends: {log}")]
    Ended {
        /// The node.
        node: String,
        /// Its release.
        release: Release,
        /// Its exit status.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A node's process ended unasked, and for a reason that lies outside it. The environment is at fault.
    #[error("{node} of release {release} was ended from outside: {why}")]
    EndedFromOutside {
        /// The node.
        node: String,
        /// Its release.
        release: Release,
        /// What ended it.
        why: String,
    },
    /// A handshake between two members was refused for good: their releases may not run side by side.
    #[error("{node} of release {release} and {peer} may not connect: {error}")]
    Refused {
        /// Who said so.
        node: String,
        /// Its release.
        release: Release,
        /// The peer, with its release where it is a member.
        peer: String,
        /// The typed error's text.
        error: String,
    },
    /// Nodes did not get where they had to be within the time limit.
    #[error("not {goal} within {} s of the time that the machine gave them, {} s by the clock: {who}",
            limit.as_secs(), took.as_secs())]
    TimedOut {
        /// What was waited for.
        goal: String,
        /// How long, by the time that the nodes had.
        limit: Duration,
        /// How long it was by the clock.
        took: Duration,
        /// Each node that is not there, with what it last said about the reason.
        who: String,
        /// Whether more time would not help one of them: a peer that it waits for refuses it, or has said what keeps
        /// its phase down.
        blocked: bool,
    },
}

/// What ended a process that did not end by its own doing. No code of a node sends itself one of these signals: what
/// goes wrong in it ends by others, or with a status.
pub(super) fn from_outside(status: ExitStatus) -> Option<String> {
    const SIGNALS: [(i32, &str); 5] =
        [(1, "SIGHUP"), (2, "SIGINT"), (3, "SIGQUIT"), (9, "SIGKILL, as sent when memory runs out"), (15, "SIGTERM")];
    if status.code() == Some(LEDGER_FAILED) {
        return Some("it could not write its ledger".to_owned());
    }
    let signal = status.signal()?;
    SIGNALS.iter().find(|(number, _)| *number == signal).map(|(_, name)| format!("killed by {name}"))
}
