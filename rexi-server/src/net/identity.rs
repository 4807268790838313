//! A node's TLS identity: its certificate chain, its private key, and the authorities whose certificates it accepts.
//!
//! In go PEM texts or files; out come the TLS configurations of both sides, where each must show a certificate, and the
//! answer to "does this peer's certificate name that node?". The handshake asks it once it knows the peer's name. How a
//! running node takes another identity is in credentials.rs. X.509 is parsed by webpki only, never by
//! hand; early data and resumption are off (docs/threats.md).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rexi_proto::NodeName;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName, UnixTime};
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage};

use crate::net::crypto::QuicCrypto;
use crate::net::pem::{authorities, bad_certificate, certificates, explain_pem, pem_error, read_pem};

/// Who a node is to its peers, and whom it believes.
///
/// Cheap to clone. The private key never shows in its `Debug` form.
#[derive(Clone)]
pub struct Identity {
    certified_key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    /// Where the certificate came from, for errors found later.
    certificate_origin: Arc<str>,
    /// A time at which it was accepted, and when it no longer is: found once, since clones of an identity serve many
    /// nodes in tests.
    accepted: Arc<OnceLock<(SystemTime, SystemTime)>>,
}

/// A part of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityPart {
    /// The certificates of the authorities that peers are believed on.
    Authorities,
    /// The node's own certificate, followed by the intermediates up to an authority.
    Certificate,
    /// The private key of the certificate.
    Key,
}

/// Why an identity is of no use. Each names what it was read from; nothing was changed and nothing started.
///
/// The caller, who chose the files, is at fault unless a variant says otherwise. Trying again helps only once the files
/// have changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file could not be read. The environment or the caller is at fault.
    #[error("cannot read the {part} file {}: {reason}; check the path and who may read it", path.display())]
    Unreadable {
        /// What the file should hold.
        part: IdentityPart,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The text is damaged: a section does not end, or is not base64.
    #[error("{origin}: damaged PEM: {}; copy the file again from its source", explain_pem(reason))]
    DamagedPem {
        /// What was read.
        origin: String,
        /// What the parser said.
        reason: pem::Error,
    },
    /// The text has no section of the kind needed.
    #[error("{origin}: no {wanted} in it; give a PEM text that has one, and check that no two files are swapped")]
    NothingFound {
        /// What was read.
        origin: String,
        /// The sections that would do.
        wanted: &'static str,
    },
    /// A certificate is not an X.509 version 3 certificate.
    #[error("{origin}: certificate {position} is not a usable X.509 certificate: {reason}; have it issued again")]
    BadCertificate {
        /// What was read.
        origin: String,
        /// Which certificate of the text, counted from 1.
        position: usize,
        /// What the parser said.
        reason: String,
    },
    /// The private key is of a kind that TLS 1.3 cannot use, or is damaged.
    #[error("{origin}: unusable private key: {reason}; use an Ed25519, ECDSA (P-256, P-384) or RSA key of 2048+ bits")]
    BadKey {
        /// What was read.
        origin: String,
        /// What the TLS library said.
        reason: rustls::Error,
    },
    /// The private key is not the one of the certificate.
    #[error("{key}: not the key of {certificate}; give the key that the certificate was issued for")]
    KeyMismatch {
        /// Where the key came from.
        key: String,
        /// Where the certificate came from.
        certificate: String,
    },
    /// The certificate is for other nodes, so every peer would refuse it.
    #[error(
        "{origin}: not a certificate of node {name}: its subject alternative names are [{}]; issue one for DNS name \
         {name} (no wildcard), or give the node its certificate's name", names.join(", ")
    )]
    WrongName {
        /// Where the certificate came from.
        origin: String,
        /// The node's name.
        name: NodeName,
        /// The DNS names that the certificate is for.
        names: Vec<String>,
    },
    /// The node's own authorities do not vouch for its certificate, or not now or for this use, so no peer that has the
    /// same authorities would accept it.
    #[error(
        "{origin}: the node's own authorities do not accept it as a TLS {side}: {}; it must be issued by one of them, \
         be within its dates, and allow both server and client authentication",
        explain(reason)
    )]
    Untrusted {
        /// Where the certificate came from.
        origin: String,
        /// `"server"` or `"client"`.
        side: &'static str,
        /// What the verifier said.
        reason: webpki::Error,
    },
    /// The node's connections are not secured by an identity but by what
    /// [`NodeEnv::crypto`](crate::NodeEnv::crypto) was given, so another identity would change nothing. The caller is
    /// at fault: start the node again with another crypto.
    #[error("the node's connections are secured by what NodeEnv::crypto was given, and not by an identity")]
    NotInUse,
    /// The TLS library refused the configuration. These crates are at fault.
    #[error("{origin}: cannot configure TLS with it: {reason}")]
    Unconfigurable {
        /// Where the certificate came from.
        origin: String,
        /// What the TLS library said.
        reason: String,
    },
}

impl Identity {
    /// Takes PEM texts: the authorities' certificates; the node's certificate followed by its intermediates; its key in
    /// PKCS#8, SEC1 or PKCS#1 form, not encrypted. Sections of other kinds are skipped.
    ///
    /// What a start has to check besides is [`Identity::check`].
    ///
    /// # Errors
    /// [`IdentityError`] where a text is damaged or empty, or the key is not the certificate's.
    pub fn from_pem(ca_pem: &[u8], cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, IdentityError> {
        let origin = |part: IdentityPart| format!("{part} PEM");
        Self::from_parts(
            (&origin(IdentityPart::Authorities), ca_pem),
            (&origin(IdentityPart::Certificate), cert_pem),
            (&origin(IdentityPart::Key), key_pem),
        )
    }

    /// Reads the PEM files that [`Identity::from_pem`] describes. Blocks while it reads; up to
    /// [`PEM_FILE_BYTES_MAX`](crate::identity::PEM_FILE_BYTES_MAX) each.
    ///
    /// # Errors
    /// [`IdentityError`], with the file's path in its text.
    pub fn from_pem_files(
        ca: impl AsRef<Path>,
        cert: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, IdentityError> {
        let read = |part, path| Ok((format!("{part} file {}", Path::display(path)), read_pem(part, path)?));
        let ca = read(IdentityPart::Authorities, ca.as_ref())?;
        let cert = read(IdentityPart::Certificate, cert.as_ref())?;
        let key = read(IdentityPart::Key, key.as_ref())?;
        Self::from_parts((&ca.0, &ca.1), (&cert.0, &cert.1), (&key.0, &key.1))
    }

    /// Whether the node's own certificate is for `name`.
    ///
    /// The name must stand among the certificate's subject alternative DNS names letter for letter: a wildcard would
    /// let one node pass for any other.
    pub fn certifies_name(&self, name: &NodeName) -> bool {
        certifies(&self.certified_key.cert, name)
    }

    /// Checks, before a node starts, what each of its peers will check: that the certificate is for `name`, and that
    /// the authorities vouch for it at the time `now`, as a server and as a client.
    ///
    /// A cluster that changes its authority gives every node both authorities first.
    ///
    /// # Errors
    /// [`IdentityError::WrongName`] or [`IdentityError::Untrusted`].
    pub fn check(&self, name: &NodeName, now: SystemTime) -> Result<(), IdentityError> {
        let origin = || self.certificate_origin.to_string();
        let (cert, intermediates) = self.certified_key.cert.split_first().expect("from_parts took at least one");
        let bad = |reason: webpki::Error| bad_certificate(&self.certificate_origin, 1, reason);
        let cert = EndEntityCert::try_from(cert).map_err(bad)?;
        if !self.certifies_name(name) {
            let names = cert.valid_dns_names().map(str::to_owned).collect();
            return Err(IdentityError::WrongName { origin: origin(), name: name.clone(), names });
        }
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO));
        for (side, usage) in [("server", KeyUsage::server_auth()), ("client", KeyUsage::client_auth())] {
            self.verify(&cert, intermediates, now, usage).map_err(|reason| IdentityError::Untrusted {
                origin: origin(),
                side,
                reason,
            })?;
        }
        Ok(())
    }

    /// The first second after `now` at which the node's own authorities no longer accept its certificate, since it or
    /// an intermediate expires; `None` where they do not accept it at `now` already. The dates of an authority itself
    /// do not count, since nobody looks at them.
    ///
    /// Found by asking the verifier itself, so it is what peers with the same authorities will do. Cost: up to 39
    /// verifications, which take about a millisecond together.
    pub fn expires(&self, now: SystemTime) -> Option<SystemTime> {
        if let Some(&(since, until)) = self.accepted.get()
            && (since..until).contains(&now)
        {
            return Some(until);
        }
        let until = self.find_expiry(now)?;
        // The first answer is kept: where there are several, each is as good.
        let _ = self.accepted.set((now, until));
        Some(until)
    }

    fn find_expiry(&self, now: SystemTime) -> Option<SystemTime> {
        let (cert, intermediates) = self.certified_key.cert.split_first()?;
        let cert = EndEntityCert::try_from(cert).ok()?;
        let accepted = |second| {
            let at = UnixTime::since_unix_epoch(Duration::from_secs(second));
            // Dates do not depend on the side, so one will do.
            self.verify(&cert, intermediates, at, KeyUsage::server_auth()).is_ok()
        };
        let mut good = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let mut bad = END_OF_DATES;
        if good >= bad || !accepted(good) {
            return None;
        }
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            *if accepted(middle) { &mut good } else { &mut bad } = middle;
        }
        Some(UNIX_EPOCH + Duration::from_secs(bad))
    }

    /// Whether a node with `other` shows the same certificate and believes the same authorities.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.certified_key.cert == other.certified_key.cert && self.roots.roots == other.roots.roots
    }

    fn verify(
        &self,
        cert: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        at: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), webpki::Error> {
        let algorithms = provider().signature_verification_algorithms;
        cert.verify_for_usage(algorithms.all, &self.roots.roots, intermediates, at, usage, None, None).map(drop)
    }

    /// The node's certificate, followed by its intermediates, as peers are shown them.
    pub fn certificate_chain(&self) -> &[CertificateDer<'static>] {
        &self.certified_key.cert
    }

    /// What both ends of a connection need.
    pub(crate) fn quic_crypto(&self) -> Result<QuicCrypto, IdentityError> {
        self.crypto_from(provider(), Arc::new(DefaultTimeProvider))
    }

    /// As a node makes it of its identity, from another provider and clock than the system's: for tests that repeat TLS
    /// byte for byte.
    ///
    /// # Errors
    /// [`IdentityError::Unconfigurable`] where the provider lacks what TLS 1.3 over QUIC needs.
    #[cfg(feature = "testing")]
    pub fn crypto_with(
        &self,
        provider: Arc<CryptoProvider>,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<QuicCrypto, IdentityError> {
        self.crypto_from(provider, clock)
    }

    fn crypto_from(
        &self,
        provider: Arc<CryptoProvider>,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<QuicCrypto, IdentityError> {
        let server = self.server_crypto(Arc::clone(&provider), Arc::clone(&clock), &self.roots, ALPN)?;
        let server = QuicServerConfig::try_from(server).map_err(|e| self.unconfigurable(&e))?;
        let client = self.client_crypto(provider, clock, ALPN)?;
        let client = QuicClientConfig::try_from(client).map_err(|e| self.unconfigurable(&e))?;
        Ok(QuicCrypto { server: Arc::new(server), client: Arc::new(client) })
    }

    /// What the accepting side needs: TLS 1.3, a client certificate required, no early data, no resumption.
    pub(super) fn server_crypto(
        &self,
        provider: Arc<CryptoProvider>,
        clock: Arc<dyn TimeProvider>,
        roots: &Arc<RootCertStore>,
        alpn: &[u8],
    ) -> Result<rustls::ServerConfig, IdentityError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
            .build()
            .map_err(|e| self.unconfigurable(&e))?;
        let mut config = rustls::ServerConfig::builder_with_details(provider, clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| self.unconfigurable(&e))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified_key))));
        config.alpn_protocols = vec![alpn.to_vec()];
        config.max_early_data_size = 0;
        // A resumed session shows no certificate again, so one that has expired since would pass.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_tls13_tickets = 0;
        Ok(config)
    }

    /// What the dialling side needs; the counterpart of [`Identity::server_crypto`].
    pub(super) fn client_crypto(
        &self,
        provider: Arc<CryptoProvider>,
        clock: Arc<dyn TimeProvider>,
        alpn: &[u8],
    ) -> Result<rustls::ClientConfig, IdentityError> {
        let mut config = rustls::ClientConfig::builder_with_details(provider, clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| self.unconfigurable(&e))?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified_key))));
        config.alpn_protocols = vec![alpn.to_vec()];
        config.enable_early_data = false;
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn from_parts(ca: (&str, &[u8]), cert: (&str, &[u8]), key: (&str, &[u8])) -> Result<Self, IdentityError> {
        let roots = authorities(ca)?;
        let chain = certificates(cert)?;
        for (index, certificate) in chain.iter().enumerate() {
            EndEntityCert::try_from(certificate).map_err(|reason| bad_certificate(cert.0, index + 1, reason))?;
        }
        let key_der = PrivateKeyDer::from_pem_slice(key.1)
            .map_err(|reason| pem_error(key.0, "unencrypted private key (PKCS#8, SEC1 or PKCS#1)", reason))?;
        let signing_key = provider()
            .key_provider
            .load_private_key(key_der)
            .map_err(|reason| IdentityError::BadKey { origin: key.0.to_owned(), reason })?;
        let certified_key = CertifiedKey::new(chain, signing_key);
        certified_key
            .keys_match()
            .map_err(|_| IdentityError::KeyMismatch { key: key.0.to_owned(), certificate: cert.0.to_owned() })?;
        Ok(Self {
            certified_key: Arc::new(certified_key),
            roots: Arc::new(roots),
            certificate_origin: Arc::from(cert.0),
            accepted: Arc::default(),
        })
    }

    pub(super) fn unconfigurable(&self, reason: &dyn fmt::Display) -> IdentityError {
        IdentityError::Unconfigurable { origin: self.certificate_origin.to_string(), reason: reason.to_string() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate_origin)
            .field("authorities", &self.roots.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for IdentityPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authorities => "CA",
            Self::Certificate => "certificate",
            Self::Key => "key",
        })
    }
}

/// Whether the peer that showed this chain, end entity first, may call itself `name`.
///
/// TLS has already verified that the chain leads to an authority; this compares names only. Webpki must find the name
/// valid, and it must be listed letter for letter, since webpki alone accepts wildcards.
pub(crate) fn certifies(peer_identity_chain: &[CertificateDer<'_>], name: &NodeName) -> bool {
    let Some(Ok(cert)) = peer_identity_chain.first().map(EndEntityCert::try_from) else { return false };
    // Not `ServerName::try_from`, which would take a name of four numbers for an address.
    let Ok(dns_name) = DnsName::try_from(name.as_str()) else { return false };
    cert.verify_is_valid_for_subject_name(&ServerName::DnsName(dns_name)).is_ok()
        && cert.valid_dns_names().any(|listed| listed.eq_ignore_ascii_case(name.as_str()))
}

/// Whether the peer of a connection may call itself `name`.
pub(crate) fn peer_certifies(connection: &quinn::Connection, name: &NodeName) -> bool {
    peer_chain(connection).is_some_and(|chain| certifies(&chain, name))
}

/// What the peer of a connection has shown, its own certificate first.
pub(super) fn peer_chain(connection: &quinn::Connection) -> Option<Vec<CertificateDer<'static>>> {
    connection.peer_identity()?.downcast().ok().map(|chain| *chain)
}

/// The common refusals in words; webpki has them as types only.
fn explain(reason: &webpki::Error) -> String {
    let days = |from: &UnixTime, to: &UnixTime| to.as_secs().saturating_sub(from.as_secs()) / 86_400;
    match reason {
        webpki::Error::CertExpired { time, not_after } => format!("it expired {} days ago", days(not_after, time)),
        webpki::Error::CertNotValidYet { time, not_before } => {
            format!("it becomes valid in {} days (is the clock right?)", days(time, not_before))
        }
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => "none of them issued it".into(),
        webpki::Error::RequiredEkuNotFoundContext(_) => format!("its extended key usage does not allow it ({reason})"),
        reason => reason.to_string(),
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The application protocol in TLS; it changes only if the handshake of `rexi-proto` can no longer be read.
pub(crate) const ALPN: &[u8] = b"rexi/1";

/// Seconds from 1970 to the end of 9999, behind which X.509 has no dates (RFC 5280 §4.1.2.5).
const END_OF_DATES: u64 = 253_402_300_800;

#[cfg(test)]
mod tests;
