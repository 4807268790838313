//! The rexi server that services embed: node-to-node RPC over QUIC, which can change its protocol while it runs.
//!
//! A cast's way, in the order of the modules:
//!
//! ```text
//!   Node::cast (node.rs) ─► Mailbox (mailbox.rs) ─► Member (member.rs: the protocol's state, one lock)
//!       ─► writer (connection.rs) ══ QUIC (transport.rs) ══► reader (connection.rs)
//!       ─► Member | Singleton (singleton.rs) ─► worker (worker.rs) ─► Member ══ QUIC ══► Member ─► Mailbox
//! ```
//!
//! The protocol itself is in `rexi_proto`; here are sockets, TLS, tasks and time. What of these a node is given from
//! outside is in env.rs; the feature `testing` has a cluster in memory for the tests of services.
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
pub mod typed;
mod calls;
mod engine;
#[cfg(feature = "tower")]
pub mod middleware;
mod net;
mod files;
mod follow;
mod config;
mod operate;
#[cfg(feature = "testing")]
pub mod testing;

pub use builder::NodeBuilder;
pub use builder::StartError;
pub use bytes::Bytes;
pub use calls::call::Call;
pub use calls::error::{CallError, SendError};
pub use calls::gather::{Gather, Gathered, Heard, Step};
pub use calls::mailbox::{Mailbox, MailboxHandle};
pub use calls::quorum::{Quorum, QuorumError, Vote, VoteError};
pub use calls::request::Request;
pub use calls::stream::ReplyStream;
pub use config::{CONFIG_FILE_BYTES_MAX, CONFIG_KEYS, Config, ConfigError, ConfigKey, Place};
pub use engine::context::Context;
pub use engine::context::{JobOver, QuestionError};
pub use engine::failures::Failure;
pub use engine::gate::AllowList;
pub use engine::inbox::Event;
pub use engine::member_events::{EventsMissed, MEMBER_EVENTS_KEPT, MemberEvent};
pub use engine::members::MEMBERS_MAX;
pub use engine::members::MemberError;
pub use engine::metrics::{JOB_DURATION, METRICS, Metric, MetricKind};
pub use engine::registry::IntoEnding;
pub use engine::rollout::RolloutControl;
pub use engine::status::{NodeStatus, PeerPresence, PeerStatus, RolloutStatus};
pub use follow::identity::{IDENTITY_INTERVAL, IDENTITY_INTERVAL_MIN, IdentityFiles};
#[cfg(feature = "dns")]
pub use follow::membership::DnsMembership;
pub use follow::membership::{MemberList, Membership, MembershipError, StaticMembership};
pub use follow::rollout::{PHASE_FILE_BYTES_MAX, PhaseFile, PhaseSource, PhaseSourceError, Rollout};
pub use functions::AskError;
pub use functions::items::Items;
pub use net::crypto::QuicCrypto;
#[cfg(feature = "dev-certs")]
pub use net::dev_certs::{DevAuthority, DevCertsError};
pub use net::env::{NodeEnv, TaskGroup};
pub use net::identity::{Identity, IdentityError, IdentityPart, PEM_FILE_BYTES_MAX};
pub use node::{MemberEvents, Node, PresenceWatch};
#[cfg(feature = "admin")]
pub use operate::admin;
#[cfg(all(feature = "sd-notify", unix))]
pub use operate::systemd::READY_WAIT;
pub use operate::terminate::{Termination, until_terminated};
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
pub use typed::function::{Function, Life, Payload, StreamFunction};
pub use typed::shape::{Shape, ShapeError};

// The examples use the cluster in memory.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../README.md")]
struct Readme;
