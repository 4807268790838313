//! The rexi server that services embed: node-to-node RPC over QUIC, which can change its protocol while it runs.
//!
//! A cast's way, in the order of the modules:
//!
//! ```text
//!   Node::cast (node.rs) ─► Mailbox (calls/) ─► Member (engine/: the protocol's state, one lock)
//!       ─► writer (engine/link/) ══ QUIC (net/) ══► reader (engine/link/)
//!       ─► Member | Singleton ─► worker (engine/) ─► Member ══ QUIC ══► Member ─► inbox ─► Mailbox
//! ```
//!
//! Each folder is a room. Those above know those below, and never the other way round:
//!
//! ```text
//!   operate, testing           who runs a node, who tests a service
//!   builder                    a node described, then started ─► config, follow: what it is told from outside
//!   node                       the handle that a service holds
//!   middleware, functions      calls and jobs with layers, and with types
//!   calls                      the caller's side ─► typed: payloads with their types
//!   engine                     the protocol at work, and its links
//!   net                        socket, QUIC, certificates
//!   state                      what a node keeps on its disk
//! ```
//!
//! The protocol itself is in `rexi_proto`; here are sockets, TLS, tasks and time. What of these a node is given from
//! outside is in net/env.rs; the feature `testing` has a cluster in memory for the tests of services.
//!
//! ```
//! use rexi_server::{Bytes, Context, Identity, Node, NodeName, Request, Train};
//!
//! async fn echo(_job: Context, argument: Bytes) -> Result<Bytes, std::convert::Infallible> {
//!     Ok(argument)
//! }
//!
//! async fn serve(identity: Identity) -> Result<(), Box<dyn std::error::Error>> {
//!     let train = Train::new("greeter").release("1.0", |r| r);
//!     let node = Node::builder(NodeName::new("n1")?, train.profile("1.0")?, identity)
//!         .listen("127.0.0.1:4001".parse()?)
//!         .peer(NodeName::new("n2")?, "127.0.0.1:4002".parse()?)
//!         .function("echo", echo)
//!         .start()?;
//!     let reply = node.call(&NodeName::new("n2")?, Request::new("echo", "hello")).await?;
//!     assert_eq!(reply, "hello");
//!     Ok(())
//! }
//! ```

mod node;
mod builder;
pub mod functions;
#[cfg(feature = "tower")]
pub mod middleware;
pub mod typed;
pub mod calls;
mod engine;
mod net;
mod files;
mod state;
mod follow;
pub mod config;
pub mod operate;
#[cfg(feature = "testing")]
pub mod testing;

pub use builder::{NodeBuilder, StartError};
pub use bytes::Bytes;
pub use calls::{Call, CallError, Gather, Mailbox, Quorum, QuorumError, Request, SendError};
pub use config::{Config, ConfigError};
pub use engine::{AllowList, Context, Event, JobOver, NodeStatus, PeerPresence};
pub use follow::{Ceilings, Membership, PhaseFile, PhaseSource, StartRollout};
pub use functions::{Ask, AskError, AskStream, Items};
#[cfg(feature = "dev-certs")]
pub use net::DevAuthority;
pub use net::{Identity, NodeEnv};
pub use node::{EXIT_CONFIG, Node};
pub use operate::Ended;
#[cfg(feature = "admin")]
pub use operate::admin;
/// The protocol's state machines and all of their types, of which those that most services name are here too.
pub use rexi_proto as proto;
#[cfg(feature = "mutants")]
pub use rexi_proto::Mutants;
pub use rexi_proto::{
    Answer, CallRef, CastError, DownReason, ExitReason, Incarnation, LimitingFactor, Limits, Migration, MigrationKey,
    NodeName, Phase, Profile, Release, SERVER_PER_NODE, ServerAddress, Stage, TraceContext, Train, TrainError,
    WireVersion,
};
pub use semver::Version;
pub use tokio_util::sync::CancellationToken;
pub use typed::{Function, Life, Migrate, MigrateStream, StreamFunction};

/// What a function sees of its job, and how it may end.
pub mod jobs {
    pub use crate::engine::{Context, Failure, IntoEnding, JobOver, QuestionError};
}

/// Who the members are: asked of something outside, changed by hand, and what happens to them.
pub mod membership {
    pub use crate::engine::{EventsMissed, MEMBER_EVENTS_KEPT, MEMBERS_MAX, MemberError, MemberEvent};
    #[cfg(feature = "dns")]
    pub use crate::follow::DnsMembership;
    pub use crate::follow::{MemberList, Membership, MembershipError, PeerAddress, PeerAddressError, StaticMembership};
    pub use crate::node::{MemberEvents, PresenceWatch};
}

/// How far a node's rollout may go, and where it stands.
pub mod rollout {
    pub use crate::engine::{RolloutControl, RolloutStatus, build_of};
    pub use crate::follow::{
        Ceilings, CeilingsError, PHASE_FILE_BYTES_MAX, PhaseFile, PhaseSource, PhaseSourceError, StartRollout,
    };
    pub use crate::node::CommandError;
    pub use crate::state::{StateDir, StateError};
}

/// Certificates: a node's own, those that it believes, and the files that they are read from.
pub mod identity {
    pub use crate::follow::{IDENTITY_INTERVAL, IDENTITY_INTERVAL_MIN, IdentityFiles};
    #[cfg(feature = "operate")]
    pub use crate::net::OperatorAuthority;
    #[cfg(feature = "dev-certs")]
    pub use crate::net::{DevAuthority, DevCertsError};
    pub use crate::net::{Identity, IdentityError, IdentityPart, PEM_FILE_BYTES_MAX};
}

/// What a node says of itself and of its members.
pub mod status {
    pub use crate::engine::{NodeStatus, PeerPresence, PeerStatus, RolloutStatus};
}

/// Which operator may ask what of a node.
pub mod operators {
    pub use crate::engine::{OperatorList, OperatorListError};
}

/// What a node counts.
pub mod metrics {
    pub use crate::engine::{JOB_DURATION, METRICS, Metric, MetricKind};
}

/// What a node is given from outside, which tests replace.
pub mod env {
    pub use crate::net::{NodeEnv, QuicCrypto, TaskGroup};
}

// The examples use the cluster in memory.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../README.md")]
struct Readme;
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
struct Guide;
