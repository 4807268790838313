//! What lies below the protocol: the node's socket and QUIC endpoint, its certificates, and what it is given from
//! outside, such as tasks, randomness and a clock.

pub(crate) mod transport;
mod address;
mod socket;
mod line;
mod doorman;
mod close;
mod env;
mod crypto;
mod pem;
mod identity;
mod credentials;
#[cfg(feature = "operate")]
mod operators;
#[cfg(feature = "dev-certs")]
mod dev_certs;

pub(crate) use self::address::canonical;
pub(crate) use self::close::close;
pub(crate) use self::credentials::Credentials;
pub use self::crypto::QuicCrypto;
#[cfg(feature = "dev-certs")]
pub use self::dev_certs::{DevAuthority, DevCertsError};
pub(crate) use self::doorman::Doorman;
pub(crate) use self::env::{Aside, Random};
pub use self::env::{NodeEnv, TaskGroup};
pub(crate) use self::identity::peer_certifies;
pub use self::identity::{Identity, IdentityError, IdentityPart};
pub(crate) use self::line::Line;
#[cfg(feature = "operate")]
pub use self::operators::OperatorAuthority;
#[cfg(feature = "operate")]
pub(crate) use self::operators::{CertifiedOperator, OPERATORS_AT_ONCE_MAX, operator_of};
pub use self::pem::PEM_FILE_BYTES_MAX;
pub(crate) use self::transport::{
    INCOMING_MAX, INCOMING_OF_KNOWN_MAX, INCOMING_OF_SOURCE_MAX, INCOMING_UNVALIDATED_MAX, Progress, Settings,
};
