//! The rexi wire protocol and its state machines, without IO.

mod name;
mod phase;
mod release;
mod version;

pub use name::{CallRef, Incarnation, JobId, MonitorRef, NodeName, NodeNameError, PeerId};
pub use phase::{Phase, ServerAddress, Servers, UnknownPhase};
pub use release::{Profile, ProfileError};
pub use version::{VersionRange, WireVersion};
