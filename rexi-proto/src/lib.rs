//! The rexi wire protocol and its state machines, without IO.
//!
//! Nothing here has a socket, a clock, a task or a random source: time comes in as an argument (a [`Duration`] since
//! the node's start), and what is to be done comes out as a value. So the checker, the simulator and production drive
//! the same code.
//!
//! The way of a cast, in the order of the modules:
//!
//! ```text
//!   caller ── Peer::cast ──► Calls (caller.rs) ──► Link (link.rs: buffer, encode)
//!      ▲                                               │ take_outgoing
//!      │                               ═══ frames (frame.rs, wire/) over an ordered lane ═══
//!      │                                               ▼ handle_bytes
//!   Output::Deliver ◄── Peer (peer/) ◄─ frames ── Peer (peer/inbound.rs) ──► Server (server.rs) ──► JobOutput::Spawn
//! ```
//!
//! [`Rollout`] says which phase a node is in; [`verdict`] which nodes may speak; [`ROWS`] what they may say.
//!
//! [`Duration`]: std::time::Duration

mod limits;
mod pool;
mod name;
mod version;
mod phase;
mod migration;
mod release;
mod train;
mod trace;
mod items;
mod message;
mod in_order;
mod caller;
mod link;
mod compat;
mod function;
mod table;
mod wire;
mod frame;
mod bulk;
mod peer;
mod server;
mod reply_stream;
mod hello;
mod rollout;
pub mod record;
pub mod operate;
mod error;
#[cfg(feature = "schema")]
mod schema;
mod guards;
mod mutant;
#[cfg(test)]
mod story;

pub use caller::{Answer, CastError};
pub use compat::{Kind, ROWS, Row, accepted, emitted};
pub use error::{CloseCode, DecodeError, EncodeError};
pub use frame::FrameBuffer;
pub use function::{FunctionRow, Release, ReleaseError};
pub use guards::{decode_by, encode_by};
pub use hello::{Agreement, Hello, Party, Refusal, Saying, Standing, verdict};
pub use items::{ITEMS_BYTES_MAX, IntoItems, ItemList};
pub use limits::{HELLO_BYTES_MAX, Limits, LimitsError, READ_BYTES_MAX, START_AHEAD_MAX, STREAM_WINDOW_BYTES};
pub use link::{Presence, Session};
pub use message::{
    Body, BulkId, Called, Cast, DownReason, Exit, ExitReason, FunctionName, ItemBatch, Message, Reply, ReplyForm,
    Response, Sent, TraceContext,
};
pub use migration::{
    Form, Forms, MIGRATION_KEY_BYTES_MAX, MIGRATIONS_MAX, Migration, MigrationKey, MigrationKeyError, SERVER_PER_NODE,
    Stage,
};
pub use mutant::{Mutant, Mutants, Planted};
pub use name::{CallRef, Incarnation, JobId, MonitorRef, NodeName, NodeNameError, PeerId};
pub use peer::{ConnectionId, Output, Peer, PeerConfig, PeerStats};
pub use phase::{Phase, ServerAddress, Servers, UnknownPhase};
pub use pool::{NodePool, Pool, Total, Unlimited};
pub use release::Profile;
pub use reply_stream::{StreamSignal, StreamTimeouts};
pub use rollout::{HandshakeError, LimitingFactor, PhaseError, PhaseNow, Rollout};
#[cfg(feature = "schema")]
pub use schema::{LayoutVisitor, WIRE_VERSIONS, show_hello, show_layouts};
pub use server::{Caller, ItemStep, JobEnding, JobKey, JobOutput, QuestionStep, Server, ServerOutput, ServerRequest};
pub use table::{FUNCTION_NAMES_BYTES_MAX, FUNCTIONS_MAX, FunctionTable, FunctionTableError, NO_FUNCTION};
pub use trace::TraceContextError;
pub use train::{DeclaredRelease, TRAIN_NAME_BYTES_MAX, TRAIN_RELEASES_MAX, Train, TrainError};
pub use version::{VersionRange, WireVersion};
pub use wire::{LENGTH_BYTES, decode, encode};
