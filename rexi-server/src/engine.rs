//! The protocol's running state machines: the members and the singleton behind their locks, the workers of jobs, and
//! the links that feed them.

mod running;
mod shared;
pub(crate) mod members;
mod member;
mod member_events;
mod waiters;
pub(crate) mod link;
mod singleton;
mod gate;
mod operators;
pub(crate) mod registry;
mod context;
pub(crate) mod trace;
mod worker;
mod turn;
mod jobs;
mod failures;
mod pool;
mod inbox;
pub(crate) mod single;
mod rollout;
pub(crate) mod record;
mod status;
mod metrics;
pub(crate) mod publish;

pub use self::context::{Context, JobOver, QuestionError};
pub use self::failures::Failure;
pub(crate) use self::failures::Failures;
pub use self::gate::AllowList;
pub(crate) use self::gate::Gate;
pub use self::inbox::Event;
pub(crate) use self::inbox::{Delivered, Inbox, NotOpened, Translate};
pub(crate) use self::member::Member;
pub(crate) use self::member_events::EventSink;
pub use self::member_events::{EventsMissed, MEMBER_EVENTS_KEPT, MemberEvent};
pub use self::members::{MEMBERS_MAX, MemberError};
pub(crate) use self::metrics::Told;
pub use self::metrics::{JOB_DURATION, METRICS, Metric, MetricKind};
pub use self::operators::{OperatorList, OperatorListError};
pub(crate) use self::pool::SharedPool;
pub use self::record::build_of;
pub use self::registry::IntoEnding;
pub(crate) use self::registry::Registry;
#[cfg(feature = "tower")]
pub(crate) use self::registry::{Handler, Work};
pub use self::rollout::RolloutControl;
pub(crate) use self::running::Running;
pub use self::shared::CALL_TIME_LIMIT;
pub(crate) use self::shared::DRAIN_LIMIT;
pub(crate) use self::shared::{Members, ServiceCheck, Shared};
pub(crate) use self::singleton::Singleton;
pub use self::status::{NodeStatus, PeerPresence, PeerStatus, RolloutStatus};
pub(crate) use self::waiters::Waiters;
pub(crate) use crate::net::Aside;
#[cfg(feature = "admin")]
pub(crate) use crate::net::Line;
#[cfg(feature = "operate")]
pub(crate) use crate::net::{
    CertifiedOperator, Identity, IdentityError, OPERATORS_AT_ONCE_MAX, OperatorAuthority, close, operator_of,
};
