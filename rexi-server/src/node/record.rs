//! The record of the cluster, as a service or a tool of its operators sees it on a running node.

use std::sync::Arc;

use rexi_proto::record::{Bar, CommandOutcome, Kept, OperatorCommand, is_operator};
use thiserror::Error;
use tokio::sync::watch;

use super::Node;

/// Why a command was not carried. Nothing was asked of anybody.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The node keeps no record.
    #[error("this node keeps no record of its cluster: give it `rollout.state`")]
    Unkept,
    /// The name cannot be an operator's.
    #[error("{0:?} cannot name an operator: use 1 to 64 bytes of a-z, 0-9, '-', '.' and '_'")]
    NoOperator(String),
}

impl Node {
    /// What this node keeps of its cluster's record, as it is on its disk; `None` where it keeps none.
    pub fn kept(&self) -> Option<Arc<Kept>> {
        Some(self.shared().record.as_ref()?.kept())
    }

    /// The same as a value that can be waited on: it changes once what is kept has.
    pub fn watch_kept(&self) -> Option<watch::Receiver<Arc<Kept>>> {
        Some(self.shared().record.as_ref()?.watch())
    }

    /// Carries an operator's command to all members, and gives what came of it. Where the future is dropped before,
    /// what members have written stays on their disks, and the next command says what is under way.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn command(&self, by: &str, command: OperatorCommand) -> Result<CommandOutcome, CommandError> {
        if self.shared().record.is_none() {
            return Err(CommandError::Unkept);
        }
        if !is_operator(by) {
            return Err(CommandError::NoOperator(by.to_owned()));
        }
        Ok(self.shared().command(by.into(), command, None).await)
    }

    /// Waits until the record of the cluster does not let this node's release run any more, which it has missed: the
    /// node takes no casts from then on, and is to be shut down. Never, where the node keeps no record.
    ///
    /// Cancel safe.
    pub async fn barred(&self) -> Bar {
        self.shared().barred().await
    }
}

/// The exit code of a process that the record of its cluster does not let run, or that cannot read it: sysexits'
/// `EX_CONFIG`. systemd takes it for `RestartPreventExitStatus=78`.
pub const EXIT_CONFIG: u8 = 78;
