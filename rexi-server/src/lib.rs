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
//! The protocol itself is in `rexi_proto`; here are sockets, TLS, tasks and time.
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
mod function;
pub mod typed;
mod shape;
mod bounded;
mod request;
mod mailbox;
mod member;
mod connection;
mod local;
mod registry;
mod worker;
mod failures;
mod singleton;
mod rollout;
mod dial;
mod accept;
mod handshake;
mod transport;
mod doorman;
mod identity;
#[cfg(feature = "dev-certs")]
mod dev_certs;
mod config;
mod status;
mod error;

pub use builder::NodeBuilder;
pub use bytes::Bytes;
pub use config::{CONFIG_FILE_BYTES_MAX, Config, ConfigError, IdentityFiles, PHASE_FILE_BYTES_MAX, Place};
#[cfg(feature = "dev-certs")]
pub use dev_certs::{DevAuthority, DevCertsError};
pub use error::{AskError, CallError, SendError, StartError};
pub use failures::Failure;
pub use function::{Function, Life, Payload, StreamFunction};
pub use identity::{Identity, IdentityError, IdentityPart, PEM_FILE_BYTES_MAX};
pub use mailbox::{Call, Event, Mailbox};
pub use node::Node;
pub use registry::IntoEnding;
pub use request::Request;
pub use rexi_proto::{
    Answer, CallRef, CastError, DownReason, Ending, ExitReason, FunctionRow, Incarnation, LimitingFactor, Limits,
    LimitsError, MonitorRef, NodeName, NodeNameError, Party, PeerStats, Phase, PhaseError, Profile, ProfileError,
    Refusal, Release, ServerAddress, Servers, Trace, UnknownPhase, VersionRange, WireVersion,
};
#[cfg(feature = "mutants")]
pub use rexi_proto::{Mutant, Mutants};
pub use rollout::{PhaseFile, PhaseSource, PhaseSourceError, Rollout, RolloutControl, RolloutStatus};
pub use semver::Version;
pub use shape::{Shape, ShapeError};
pub use status::{NodeStatus, PeerPresence, PeerStatus};
pub use worker::Context;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
