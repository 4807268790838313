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
//!   functions, middleware      calls and jobs with types, and with layers
//!   calls                      the caller's side ─► typed: payloads with their types
//!   engine                     the protocol at work, and its links
//!   net                        socket, QUIC, certificates
//! ```
//!
//! The protocol itself is in `rexi_proto`; here are sockets, TLS, tasks and time. What of these a node is given from
//! outside is in net/env.rs; the feature `testing` has a cluster in memory for the tests of services.
//!
//! ```
//! use rexi_server::{Bytes, Context, Identity, Node, NodeName, Profile, Request};
//!
//! async fn echo(_job: Context, argument: Bytes) -> Result<Bytes, std::convert::Infallible> {
//!     Ok(argument)
//! }
//!
//! async fn serve(identity: Identity) -> Result<(), Box<dyn std::error::Error>> {
//!     let [_, _, _, release] = Profile::train();
//!     let node = Node::builder(NodeName::new("n1")?, release, identity)
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
mod calls;
mod engine;
mod net;
mod files;
mod follow;
mod config;
mod operate;
#[cfg(feature = "testing")]
pub mod testing;

pub use builder::{NodeBuilder, StartError};
pub use bytes::Bytes;
pub use calls::{
    Call, CallError, Gather, Gathered, Heard, Mailbox, MailboxHandle, Quorum, QuorumError, ReplyStream, Request,
    SendError, Step, Vote, VoteError,
};
pub use config::{CONFIG_FILE_BYTES_MAX, CONFIG_KEYS, Config, ConfigError, ConfigKey, Place};
pub use engine::{
    AllowList, Context, Event, EventsMissed, Failure, IntoEnding, JOB_DURATION, JobOver, MEMBER_EVENTS_KEPT,
    MEMBERS_MAX, METRICS, MemberError, MemberEvent, Metric, MetricKind, NodeStatus, PeerPresence, PeerStatus,
    QuestionError, RolloutControl, RolloutStatus,
};
#[cfg(feature = "dns")]
pub use follow::DnsMembership;
pub use follow::{
    IDENTITY_INTERVAL, IDENTITY_INTERVAL_MIN, IdentityFiles, MemberList, Membership, MembershipError,
    PHASE_FILE_BYTES_MAX, PhaseFile, PhaseSource, PhaseSourceError, Rollout, StaticMembership,
};
pub use functions::{AskError, Items};
#[cfg(feature = "dev-certs")]
pub use net::{DevAuthority, DevCertsError};
pub use net::{Identity, IdentityError, IdentityPart, NodeEnv, PEM_FILE_BYTES_MAX, QuicCrypto, TaskGroup};
pub use node::{MemberEvents, Node, PresenceWatch};
#[cfg(all(feature = "sd-notify", unix))]
pub use operate::READY_WAIT;
#[cfg(feature = "admin")]
pub use operate::admin;
pub use operate::{Termination, until_terminated};
pub use rexi_proto::{
    Answer, CallRef, CastError, DownReason, Ending, ExitReason, FunctionRow, Incarnation, LimitingFactor, Limits,
    LimitsError, MonitorRef, NodeName, NodeNameError, Party, PeerStats, Phase, PhaseError, Profile, ProfileError,
    Refusal, Release, ServerAddress, Servers, StreamTimeouts, Total, Trace, TraceError, UnknownPhase, VersionRange,
    WireVersion,
};
#[cfg(feature = "mutants")]
pub use rexi_proto::{Mutant, Mutants};
pub use semver::Version;
pub use tokio_util::sync::CancellationToken;
pub use typed::{Function, Life, Payload, Shape, ShapeError, StreamFunction};

// The examples use the cluster in memory.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../README.md")]
struct Readme;
