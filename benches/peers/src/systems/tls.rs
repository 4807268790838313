//! The certificates of a cell as the QUIC systems take them: TLS 1.3, both sides certified, one crypto provider.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};

use crate::cli::Setup;
use crate::failure::Failure;

/// What one process needs, whichever side it is on.
pub(crate) struct Identity {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn read(setup: &Setup) -> Result<Self, Failure> {
        let (certificate, key) = files(setup);
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(authority(&setup.certificates))? {
            roots.add(authority?)?;
        }
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
        Ok(Self { roots: Arc::new(roots), chain, key: PrivateKeyDer::from_pem_file(key)? })
    }

    pub(crate) fn server(self) -> Result<ServerConfig, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots, Arc::clone(&provider)).build()?;
        let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&version::TLS13])?;
        let mut config = config.with_client_cert_verifier(verifier).with_single_cert(self.chain, self.key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }

    pub(crate) fn client(self) -> Result<ClientConfig, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&version::TLS13])?;
        let mut config = config.with_root_certificates(self.roots).with_client_auth_cert(self.chain, self.key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

/// The files with the certificate and the key of the process's first name.
pub(crate) fn files(setup: &Setup) -> (std::path::PathBuf, std::path::PathBuf) {
    let name = setup.names.first().map_or("", String::as_str);
    (setup.certificates.join(format!("{name}.pem")), setup.certificates.join(format!("{name}.key")))
}

/// The file with the authority's certificate.
pub(crate) fn authority(certificates: &Path) -> std::path::PathBuf {
    certificates.join("ca.pem")
}

const ALPN: &[u8] = b"peers";
