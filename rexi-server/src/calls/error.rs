//! A cast that is not accepted, and a call without a reply: by what its caller can do about it.

use std::sync::Arc;

use rexi_proto::{
    Answer, CastError, DownReason, ExitReason, FunctionRow, MigrationKey, NodeName, Refusal, Release, ServerAddress,
};
use thiserror::Error;

use crate::typed::PayloadError;

/// A cast that was not accepted. The caller is at fault; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The peer is not among the node's members.
    #[error("{peer} is not a member of this cluster; members are {members}")]
    NotAMember {
        /// The name given.
        peer: NodeName,
        /// The names known.
        members: String,
    },
    /// The mailbox that was to receive its answers has been dropped.
    #[error("the mailbox is gone, so no one would learn what becomes of the call")]
    MailboxGone,
    /// The time limit has passed before the peer was there and took frames. Try again later, or elsewhere.
    #[error("{0} was away or too slow until the time limit had passed; nothing was sent")]
    NoRoom(NodeName),
    /// The request is out of bounds.
    #[error(transparent)]
    Refused(#[from] CastError),
    /// The node's own release may not emit this typed function yet, or no longer: peers that it may meet do not have
    /// it. Wait for the release that emits it.
    #[error("release {release} may not call the function {row}")]
    NotEmitted {
        /// The function's row.
        row: Box<FunctionRow>,
        /// The node's own release.
        release: Release,
    },
    /// The call is of a migration that the node's train does not have. Declare it there.
    #[error("the node's train has no migration {migration}; declare it in a release")]
    UnknownMigration {
        /// The migration.
        migration: MigrationKey,
    },
    /// The node's phase still says the old form of the migration, and this call cannot be said in it. Wait until the
    /// phase is `switch`, or ask for what the old form can say.
    #[error("{function}: this call cannot be said in the old form of {migration}, which this node still says")]
    NotSayable {
        /// The function.
        function: Arc<str>,
        /// Its migration.
        migration: MigrationKey,
    },
    /// The argument of a typed function cannot be encoded.
    #[error("the argument of {function} cannot be encoded: {problem}")]
    NotEncoded {
        /// The function.
        function: Arc<str>,
        /// Why.
        problem: PayloadError,
    },
}

impl SendError {
    /// Whether no node would take it from here.
    fn is_same_everywhere(&self) -> bool {
        match self {
            Self::MailboxGone
            | Self::NotEmitted { .. }
            | Self::UnknownMigration { .. }
            | Self::NotSayable { .. }
            | Self::NotEncoded { .. } => true,
            Self::Refused(error) => {
                matches!(error, CastError::PayloadTooLarge { .. } | CastError::FunctionName { .. })
            }
            Self::NotAMember { .. } | Self::NoRoom(_) => false,
        }
    }
}

/// A call without a reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The call was not sent. The caller is at fault.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The function returned an error. It ran; the function decides whether to try again.
    #[error("{function} failed: {error}")]
    Failed {
        /// The function.
        function: Arc<str>,
        /// Its error in words.
        error: Arc<str>,
    },
    /// The function panicked. It ran in part.
    #[error("{function} panicked: {message}")]
    Panicked {
        /// The function.
        function: Arc<str>,
        /// The panic in words.
        message: Arc<str>,
    },
    /// The function takes an argument of another type. The caller is at fault, or was built against other code. The
    /// function did not run; trying again does not help.
    #[error("{function} does not take this argument: {problem}")]
    WrongArgument {
        /// The function.
        function: Arc<str>,
        /// What differs, in the words of the node that has the function.
        problem: Arc<str>,
    },
    /// The typed function's reply is not of the type that it is taken for here. The function ran; trying again does not
    /// help.
    #[error("the reply of {function} is not of the expected type: {problem}")]
    WrongReply {
        /// The function.
        function: Arc<str>,
        /// What differs.
        problem: PayloadError,
    },
    /// The function ended without a reply. It ran.
    #[error("the function ended without a reply")]
    NoReply,
    /// The operator of the node that was called does not let this node call the function. It did not run. Trying again
    /// does not help until that operator changes the node's allow-list; another node may have another one.
    #[error("{function} may not be called from here: the allow-list of the node that was called does not name it")]
    NotAllowed {
        /// The function.
        function: Arc<str>,
    },
    /// The node does not have the function. It did not run.
    #[error("the node has no such function")]
    NoSuchFunction,
    /// The node does not run the server that the cast was for. It did not run.
    #[error("the node does not run the {0}")]
    NoSuchServer(ServerAddress),
    /// Our own buffer for that node was full. It did not run; try again later.
    #[error("dropped from the full buffer for that node")]
    Dropped,
    /// Our own buffers for all nodes were full, and that node's share of them above its floor. It did not run; try
    /// another node, or later.
    #[error("dropped, since the buffers for all nodes together are full")]
    DroppedInAll,
    /// The argument is larger than that node takes. It did not run.
    #[error("the argument is larger than that node takes")]
    TooLarge,
    /// The node is down. It may have run.
    #[error("the node is down: {0}")]
    Down(DownReason),
    /// The two nodes' releases may not speak. It did not run.
    #[error("incompatible: {0}")]
    Incompatible(Box<Refusal>),
    /// The server did not start it, or ended it, for a reason of its own.
    #[error("ended by the server: {0}")]
    Ended(ExitReason),
    /// The time limit has passed. It may have run.
    #[error("the time limit has passed")]
    TimePassed,
    /// The job wants to send a stream, and its caller waits for one reply; the job was killed. Ask for it with
    /// [`Node::stream`](crate::Node::stream).
    #[error("the function sends a stream: ask for it with Node::stream")]
    IsStream,
    /// The job asks its caller a question, and its caller does not look at it; the job was killed. Take the answers one
    /// by one with [`Call::next`](crate::Call::next).
    #[error("the function asks its caller a question: take its answers with Call::next, and respond")]
    Asks,
}

impl CallError {
    /// The error that an answer other than a reply amounts to.
    pub(crate) fn from_answer(answer: Answer) -> Self {
        match answer {
            Answer::Exit { function, reason: ExitReason::Failed(error) } => Self::Failed { function, error },
            Answer::Exit { function, reason: ExitReason::Panicked(message) } => Self::Panicked { function, message },
            Answer::Exit { function, reason: ExitReason::WrongType(problem) } => {
                Self::WrongArgument { function, problem }
            }
            Answer::Exit { function, reason: ExitReason::NotAllowed } => Self::NotAllowed { function },
            Answer::Exit { reason: ExitReason::Done, .. } => Self::NoReply,
            Answer::Exit { reason: ExitReason::TimePassed, .. } => Self::TimePassed,
            Answer::Exit { reason, .. } => Self::Ended(reason),
            Answer::NoSuchServer(server) => Self::NoSuchServer(server),
            Answer::NoSuchFunction => Self::NoSuchFunction,
            Answer::Dropped => Self::Dropped,
            Answer::DroppedInAll => Self::DroppedInAll,
            Answer::TooLarge => Self::TooLarge,
            Answer::Down(reason) => Self::Down(reason),
            Answer::Incompatible(refusal) => Self::Incompatible(refusal),
            Answer::StreamInit | Answer::Item { .. } => Self::IsStream,
            Answer::Question { .. } => Self::Asks,
            // A reply is none of these; neither is what a later protocol may add.
            _ => Self::NoReply,
        }
    }

    /// Whether the function may have run, in whole or in part: trying again might run it twice.
    pub fn may_have_run(&self) -> bool {
        !self.did_not_run()
    }

    /// Whether the call may safely be made again: the function certainly did not run, and it may be taken later, or on
    /// another node. An error that is the same everywhere, such as an argument of another type, should not be tried
    /// again, though the function did not run then either.
    pub fn is_safe_to_retry(&self) -> bool {
        let same_everywhere = match self {
            Self::Send(error) => error.is_same_everywhere(),
            Self::WrongArgument { .. } => true,
            // The caller has ended it, so it does not want a reply.
            Self::Ended(reason) => matches!(reason, ExitReason::Killed | ExitReason::WrongType(_)),
            _ => false,
        };
        self.did_not_run() && !same_everywhere
    }

    /// Whether the function certainly did not run, so that trying again, or elsewhere, cannot run it twice.
    pub fn did_not_run(&self) -> bool {
        match self {
            Self::Send(_)
            | Self::NotAllowed { .. }
            | Self::NoSuchFunction
            | Self::NoSuchServer(_)
            | Self::Dropped
            | Self::DroppedInAll
            | Self::TooLarge
            | Self::Incompatible(_)
            | Self::WrongArgument { .. }
            | Self::Down(DownReason::NoConnect) => true,
            Self::Ended(reason) => matches!(
                reason,
                ExitReason::DuplicateRef
                    | ExitReason::TooManyJobs
                    | ExitReason::TooManyBytes
                    | ExitReason::TooManyJobsInAll
                    | ExitReason::TooManyBytesInAll
                    | ExitReason::NotAllowed
                    | ExitReason::Draining
                    | ExitReason::Killed
                    | ExitReason::WrongType(_)
            ),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
