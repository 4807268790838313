//! What an operator wants of the record, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClusterChange, No, named};
use crate::migration::MigrationKey;
use crate::name::NodeName;
use crate::phase::Phase;

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OperatorCommand {
    /// A change of the record.
    Make(ClusterChange),
    /// To end the change that is under way, forwards.
    Resume,
    /// To end it backwards.
    Abort,
    /// To brake, without anybody's yes.
    Brake(BTreeMap<MigrationKey, Phase>),
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CommandOutcome {
    /// It is done: all members have said so, from their disks. The record's epoch.
    Done(u64),
    /// There was nothing to do: all members have it already.
    Already(u64),
    /// These members refused; nothing has changed.
    Refused(BTreeMap<NodeName, No>),
    /// These members could not be asked; nothing has changed.
    Unknown(BTreeSet<NodeName>),
    /// It is recorded, and these have yet to say that they have it: go on with [`OperatorCommand::Resume`].
    UnderWay(BTreeSet<NodeName>),
    /// Somebody else's change is under way, or came first.
    Theirs {
        /// The operator.
        by: Arc<str>,
        /// What the change is.
        what: String,
    },
    /// Attempts up to this one, at this epoch, were given up everywhere.
    Aborted {
        /// The epoch.
        epoch: u64,
        /// The attempt.
        attempt: u64,
    },
    /// These members are no longer to be forgotten. What they have may be a record that the others do not know yet.
    Spared(BTreeSet<NodeName>),
    /// It can be neither ended nor given up before these answer, or are forgotten.
    Blocked(BTreeSet<NodeName>),
    /// Others have moved the record on to this epoch meanwhile, too far to say whether this was made before.
    Overtaken(u64),
    /// Two members have different records of this epoch, which cannot be.
    Fork(u64),
}

impl CommandOutcome {
    /// What came of it, in words.
    pub fn told(&self) -> String {
        let each = |whys: &BTreeMap<NodeName, No>| {
            whys.iter().map(|(node, why)| format!("{node}: {why}")).collect::<Vec<_>>().join("; ")
        };
        match self {
            Self::Done(epoch) => format!("done: all members have epoch {epoch} on their disks"),
            Self::Already(epoch) => format!("there was nothing to do: all members have it, at epoch {epoch}"),
            Self::Refused(whys) => format!("refused, and nothing has changed: {}", each(whys)),
            Self::Unknown(away) => format!("nothing has changed: {} did not answer", named(away)),
            Self::UnderWay(left) => {
                format!(
                    "recorded, and not everywhere yet: {} to say so yet: see `live status`, and `live resume`",
                    have(left)
                )
            }
            Self::Theirs { by, what } => format!("{by} came first, who asked to {what}: see `live status`"),
            Self::Aborted { epoch, attempt } => {
                format!("given up: attempt {attempt} at epoch {epoch} can come about nowhere any more")
            }
            Self::Spared(nodes) => format!("given up: not to be forgotten any more: {}", named(nodes)),
            Self::Blocked(away) => {
                let away = named(away);
                format!("it can be neither ended nor given up before {away} answers, or is forgotten")
            }
            Self::Overtaken(epoch) => format!(
                "others have moved the record on to epoch {epoch} meanwhile, and whether this was made before cannot \
                 be told: see `live history`"
            ),
            Self::Fork(epoch) => format!("two members have different records of epoch {epoch}, which cannot be"),
        }
    }
}

/// Who has something to do, with the verb that goes with it.
fn have(nodes: &BTreeSet<NodeName>) -> String {
    format!("{} {}", named(nodes), if nodes.len() == 1 { "has" } else { "have" })
}
