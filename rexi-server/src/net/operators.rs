//! Who operators are: an authority of their own vouches for them, so that a node's key is no operator's, and an
//! operator is never taken for a node. A certificate names its operator by a URI, where a node's has a DNS name.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, ServerConfig, TransportConfig, VarInt};
use rexi_proto::operate::{OPERATE_ALPN, OPERATOR_URI};
use rexi_proto::record::{Digest, is_operator};
use rustls::RootCertStore;
use rustls::time_provider::DefaultTimeProvider;
use webpki::EndEntityCert;

use crate::net::identity::{Identity, IdentityError, IdentityPart, peer_chain, provider};
use crate::net::pem::{authorities, read_pem};

/// The authority, or authorities, that vouch for operators. Cheap to clone.
#[derive(Clone)]
pub struct OperatorAuthority(Arc<RootCertStore>);

/// An operator, as TLS has seen who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertifiedOperator {
    pub(crate) name: String,
    /// Of the certificate.
    pub(crate) fingerprint: Digest,
}

impl OperatorAuthority {
    /// Takes the certificates of a PEM text.
    ///
    /// # Errors
    /// [`IdentityError`] where the text is damaged, or has none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, IdentityError> {
        authorities(("operators' CA PEM", pem)).map(|roots| Self(Arc::new(roots)))
    }

    /// Reads a PEM file of at most [`PEM_FILE_BYTES_MAX`](crate::identity::PEM_FILE_BYTES_MAX). Blocks while it reads.
    ///
    /// # Errors
    /// [`IdentityError`], with the file's path in its text.
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        let pem = read_pem(IdentityPart::Authorities, path)?;
        authorities((&format!("operators' CA file {}", path.display()), &pem)).map(|roots| Self(Arc::new(roots)))
    }

    /// What the node of this identity accepts operators with.
    pub(crate) fn server(&self, identity: &Identity) -> Result<ServerConfig, IdentityError> {
        let clock = Arc::new(DefaultTimeProvider);
        let tls = identity.server_crypto(provider(), clock, &self.0, OPERATE_ALPN)?;
        let crypto = QuicServerConfig::try_from(tls).map_err(|e| identity.unconfigurable(&e))?;
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server.transport_config(Arc::new(transport())).migration(false).max_incoming(OPERATORS_AT_ONCE_MAX);
        Ok(server)
    }
}

impl fmt::Debug for OperatorAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorAuthority").field("authorities", &self.0.len()).finish_non_exhaustive()
    }
}

impl Identity {
    /// What an operator of this identity dials members with: its authorities are those of the nodes.
    pub(crate) fn operator_client(&self) -> Result<ClientConfig, IdentityError> {
        let tls = self.client_crypto(provider(), Arc::new(DefaultTimeProvider), OPERATE_ALPN)?;
        let crypto = QuicClientConfig::try_from(tls).map_err(|e| self.unconfigurable(&e))?;
        let mut client = ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::new(transport()));
        Ok(client)
    }
}

/// One stream, one ask; and a line that is kept open while a command takes its time.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(std::time::Duration::from_secs(3)));
    transport
}

/// The operator that a connection's certificate names, once: a certificate of several operators is nobody's.
pub(crate) fn operator_of(connection: &quinn::Connection) -> Option<CertifiedOperator> {
    let chain = peer_chain(connection)?;
    let certificate = chain.first()?;
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let mut names = parsed.valid_uri_names().filter_map(|uri| uri.strip_prefix(OPERATOR_URI));
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    is_operator(name).then(|| CertifiedOperator { name: name.to_owned(), fingerprint: Digest::of(certificate) })
}

/// Connections of operators at once; there are few, and each asks one thing.
pub(crate) const OPERATORS_AT_ONCE_MAX: usize = 16;
