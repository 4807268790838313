//! The caller's side: what is asked for, and the forms in which answers are taken, from one call to a quorum of nodes.

pub(crate) mod request;
pub(crate) mod error;
pub(crate) mod mailbox;
pub(crate) mod call;
pub(crate) mod stream;
pub(crate) mod gather;
pub(crate) mod quorum;
