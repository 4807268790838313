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
mod leave;
mod terminate;
#[cfg(all(feature = "sd-notify", unix))]
mod systemd;
mod builder;
mod function;
pub mod typed;
mod shape;
mod bounded;
mod request;
mod trace;
mod mailbox;
mod single;
mod call;
mod stream;
mod gather;
mod quorum;
mod items;
mod members;
mod membership;
mod member_events;
mod member;
mod waiters;
mod connection;
mod local;
mod registry;
mod allow;
#[cfg(feature = "tower")]
pub mod middleware;
mod context;
mod worker;
mod failures;
mod metrics;
mod singleton;
mod pool;
mod rollout;
mod dial;
mod accept;
mod handshake;
mod transport;
mod env;
mod doorman;
mod identity;
mod credentials;
mod crypto;
#[cfg(feature = "dev-certs")]
mod dev_certs;
mod config;
mod status;
#[cfg(feature = "admin")]
pub mod admin;
mod error;
#[cfg(feature = "testing")]
pub mod testing;

pub use allow::AllowList;
pub use builder::NodeBuilder;
pub use bytes::Bytes;
pub use call::Call;
pub use config::{
    CONFIG_FILE_BYTES_MAX, CONFIG_KEYS, Config, ConfigError, ConfigKey, IdentityFiles, PHASE_FILE_BYTES_MAX, Place,
};
pub use context::Context;
pub use credentials::{IDENTITY_INTERVAL, IDENTITY_INTERVAL_MIN};
pub use crypto::QuicCrypto;
#[cfg(feature = "dev-certs")]
pub use dev_certs::{DevAuthority, DevCertsError};
pub use env::{NodeEnv, TaskGroup};
pub use error::{AskError, CallError, JobOver, MemberError, QuestionError, SendError, StartError};
pub use failures::Failure;
pub use function::{Function, Life, Payload, StreamFunction};
pub use gather::{Gather, Gathered, Heard, Step};
pub use identity::{Identity, IdentityError, IdentityPart, PEM_FILE_BYTES_MAX};
pub use items::Items;
pub use mailbox::{Event, Mailbox, MailboxHandle};
pub use member_events::{EventsMissed, MEMBER_EVENTS_KEPT, MemberEvent, MemberEvents};
pub use members::MEMBERS_MAX;
#[cfg(feature = "dns")]
pub use membership::DnsMembership;
pub use membership::{MemberList, Membership, MembershipError, StaticMembership};
pub use metrics::{JOB_DURATION, METRICS, Metric, MetricKind};
pub use node::Node;
pub use quorum::{Quorum, QuorumError, Vote, VoteError};
pub use registry::IntoEnding;
pub use request::Request;
pub use rexi_proto::{
    Answer, CallRef, CastError, DownReason, Ending, ExitReason, FunctionRow, Incarnation, LimitingFactor, Limits,
    LimitsError, MonitorRef, NodeName, NodeNameError, Party, PeerStats, Phase, PhaseError, Profile, ProfileError,
    Refusal, Release, ServerAddress, Servers, StreamTimeouts, Total, Trace, TraceError, UnknownPhase, VersionRange,
    WireVersion,
};
#[cfg(feature = "mutants")]
pub use rexi_proto::{Mutant, Mutants};
pub use rollout::{PhaseFile, PhaseSource, PhaseSourceError, Rollout, RolloutControl, RolloutStatus};
pub use semver::Version;
pub use shape::{Shape, ShapeError};
pub use status::{NodeStatus, PeerPresence, PeerStatus, PresenceWatch};
pub use stream::ReplyStream;
#[cfg(all(feature = "sd-notify", unix))]
pub use systemd::READY_WAIT;
pub use terminate::{Termination, until_terminated};
pub use tokio_util::sync::CancellationToken;

// The examples use the cluster in memory.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../README.md")]
struct Readme;
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
struct Guide;
