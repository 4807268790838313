//! What a running node asks for again and again, and follows: who its members are, how far its rollout may go, what the
//! files of its identity hold.

pub(crate) mod membership;
pub(crate) mod ceilings;
pub(crate) mod rollout;
pub(crate) mod identity;

pub use self::ceilings::{Ceilings, CeilingsError};
pub use self::identity::{IDENTITY_INTERVAL, IDENTITY_INTERVAL_MIN, IdentityFiles};
#[cfg(feature = "dns")]
pub use self::membership::DnsMembership;
pub(crate) use self::membership::Source;
pub use self::membership::{MemberList, Membership, MembershipError, PeerAddress, PeerAddressError, StaticMembership};
pub use self::rollout::{PHASE_FILE_BYTES_MAX, PhaseFile, PhaseSource, PhaseSourceError, StartRollout};
