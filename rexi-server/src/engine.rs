//! The protocol's state machines at work: the members and the singleton behind their locks, the workers of jobs, and
//! the links that feed them.

pub(crate) mod running;
pub(crate) mod shared;
pub(crate) mod rollout;
pub(crate) mod members;
pub(crate) mod member_events;
pub(crate) mod member;
pub(crate) mod inbox;
pub(crate) mod single;
pub(crate) mod waiters;
pub(crate) mod link;
pub(crate) mod registry;
pub(crate) mod gate;
pub(crate) mod context;
pub(crate) mod trace;
pub(crate) mod worker;
pub(crate) mod failures;
pub(crate) mod singleton;
pub(crate) mod pool;
pub(crate) mod metrics;
pub(crate) mod publish;
pub(crate) mod status;
