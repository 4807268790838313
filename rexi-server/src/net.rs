//! What lies below the protocol: the node's socket and QUIC endpoint, its certificates, and what it is given from
//! outside, such as tasks, chance and clock.

pub(crate) mod transport;
pub(crate) mod socket;
pub(crate) mod doorman;
pub(crate) mod env;
pub(crate) mod close;
pub(crate) mod crypto;
pub(crate) mod identity;
pub(crate) mod credentials;
#[cfg(feature = "dev-certs")]
pub(crate) mod dev_certs;
