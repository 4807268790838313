//! What operators do to the record of a cluster, what befalls the disks that it lies on, and the text of both.

use std::fmt;

use super::op::{Op, Whom};
use super::text::{one, words};

/// Something that has to do with the record. A plan that has any is played by nodes that keep one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordOp {
    /// An operator gives a command to a node, which carries it to all.
    Command {
        /// Which node.
        at: u8,
        /// What is asked.
        command: Command,
    },
    /// An operator has a node forgotten that does not run.
    Forget {
        /// Which node carries it.
        at: u8,
        /// Who is forgotten.
        node: u8,
        /// What the operator vouches for.
        loss: Lost,
    },
    /// A node crashes, and its disk is empty from then on.
    Wipe {
        /// Which node.
        node: u8,
    },
    /// The next write of a node's disk fails.
    Disk {
        /// Whose.
        node: u8,
        /// How.
        how: DiskFails,
    },
}

words! {
    /// What an operator asks of a node.
    Command {
        /// To begin the record, with the releases that run.
        Begin "begin",
        /// To open the window for the next release.
        Open "open",
        /// To cap every migration that moves at the lowest phase.
        Cap "cap",
        /// To take off all ceilings and brakes that the node knows.
        Lift "lift",
        /// To close the way back.
        Finalize "finalize",
        /// To brake every migration that moves.
        Brake "brake",
        /// To end forwards what is under way.
        Resume "resume",
        /// To end it backwards.
        Abort "abort",
    }
}

words! {
    /// What an operator vouches for of a node that is to be forgotten.
    Lost {
        /// The disk is empty.
        Wiped "wiped",
        /// The machine is no more. It comes back all the same, with what it had.
        Destroyed "destroyed",
    }
}

words! {
    /// How a disk fails.
    DiskFails {
        /// What was to be written is not there.
        Refused "refused",
        /// It is there, and the node hears that it may not be.
        InDoubt "in-doubt",
    }
}

impl RecordOp {
    /// What words say; `None` where they are of another operation.
    pub(super) fn parse(words: &[&str]) -> Result<Option<Self>, String> {
        Ok(Some(match *words {
            ["command", at, command] => Self::Command { at: one(at)?, command: command.parse()? },
            ["forget", at, node, loss] => Self::Forget { at: one(at)?, node: one(node)?, loss: loss.parse()? },
            ["wipe", node] => Self::Wipe { node: one(node)? },
            ["disk", node, how] => Self::Disk { node: one(node)?, how: how.parse()? },
            _ => return Ok(None),
        }))
    }

    /// The same on the nodes that the numbers stand for in a cluster of this size.
    pub(super) fn within(self, nodes: u8) -> Self {
        let n = |node: u8| node % nodes.max(1);
        match self {
            Self::Command { at, command } => Self::Command { at: n(at), command },
            Self::Forget { at, node, loss } => Self::Forget { at: n(at), node: n(node), loss },
            Self::Wipe { node } => Self::Wipe { node: n(node) },
            Self::Disk { node, how } => Self::Disk { node: n(node), how },
        }
    }

    /// Simpler operations to try in this one's place.
    pub(super) fn simpler(self) -> Vec<Op> {
        match self {
            Self::Wipe { node } => vec![Op::Crash { node }],
            Self::Disk { node, how: DiskFails::InDoubt } => {
                vec![Op::Record(Self::Disk { node, how: DiskFails::Refused })]
            }
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for RecordOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = |node: u8| Whom::One(node);
        match *self {
            Self::Command { at, command } => write!(f, "command {} {command}", n(at)),
            Self::Forget { at, node, loss } => write!(f, "forget {} {} {loss}", n(at), n(node)),
            Self::Wipe { node } => write!(f, "wipe {}", n(node)),
            Self::Disk { node, how } => write!(f, "disk {} {how}", n(node)),
        }
    }
}
