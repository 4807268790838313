//! The caller's side: what is asked for, and the forms in which answers are taken, from one call to a quorum of nodes.

mod request;
mod error;
mod mailbox;
mod call;
mod stream;
mod gather;
mod quorum;

pub use self::call::Call;
pub use self::error::{CallError, SendError};
pub use self::gather::{Gather, Gathered, Heard, Step};
pub use self::mailbox::{Mailbox, MailboxHandle};
pub use self::quorum::{Quorum, QuorumError, Vote, VoteError};
pub use self::request::Request;
pub use self::stream::Replies;
pub(crate) use self::stream::{Part, Parts};
pub use crate::engine::CALL_TIME_LIMIT;
