//! How the two ends of a connection are secured, as quinn takes it: TLS from the node's identity, or what a test gives.

use std::fmt;
use std::sync::Arc;

use quinn::crypto::{ClientConfig, ServerConfig};

/// What secures connections, one for each side.
///
/// A session of either must give its peer's identity as quinn's TLS session does: a `Vec` of `CertificateDer`, end
/// entity first. The node compares the names in it with the hello, and leaves it to the session whether the peer is who
/// its certificate names: a session that does not verify lets anybody pass for anybody.
#[derive(Clone)]
pub struct QuicCrypto {
    /// For the side that accepts.
    pub server: Arc<dyn ServerConfig>,
    /// For the side that dials.
    pub client: Arc<dyn ClientConfig>,
}

impl fmt::Debug for QuicCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicCrypto").finish_non_exhaustive()
    }
}
