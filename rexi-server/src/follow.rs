//! What a node asks for again and again while it runs, and follows: who its members are, how far its
//! rollout may go, what the files of its identity hold.

pub(crate) mod membership;
pub(crate) mod rollout;
pub(crate) mod identity;
