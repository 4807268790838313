//! An authority that certifies whatever a test wants, sound or not, and a listener that shows what it is given.
//!
//! `DevAuthority` makes sound certificates only; what a node must refuse is made here.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use quinn::Endpoint;
use quinn::crypto::rustls::QuicServerConfig;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ED25519,
};
use rexi_server::Identity;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::ALPN;

/// An authority, or an intermediate with what stands between it and one.
pub struct Forge {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// As PEM, its own certificate first where it is an intermediate.
    intermediates: String,
}

/// A certificate chain and a key, which need not fit together.
pub struct Shown {
    /// As PEM, end entity first.
    pub chain: String,
    /// As PEM.
    pub key: String,
}

impl Forge {
    /// An authority of that common name. Two of one name differ in their keys.
    pub fn new(common_name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(issuing(common_name), key()).expect("an authority can be made");
        Self { issuer, intermediates: String::new() }
    }

    /// An intermediate of that common name, changed by the test before it is certified.
    pub fn intermediate(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = issuing(common_name);
        change(&mut params);
        let issuer = CertifiedIssuer::signed_by(params, key(), &self.issuer).expect("an intermediate can be made");
        let intermediates = format!("{}{}", issuer.pem(), self.intermediates);
        Self { issuer, intermediates }
    }

    /// Its own certificate as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A sound certificate for that node, with the intermediates up to the authority.
    pub fn sound(&self, of: &str) -> Shown {
        self.issue(of, |_| {})
    }

    /// A certificate for that node, changed by the test before it is signed.
    pub fn issue(&self, of: &str, change: impl FnOnce(&mut CertificateParams)) -> Shown {
        let (params, key) = (changed(of, change), key());
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate can be made").pem();
        Shown { chain: format!("{cert}{}", self.intermediates), key: key.serialize_pem() }
    }

    /// A node's identity that believes this authority.
    pub fn identity(&self, of: &str) -> Identity {
        let Shown { chain, key } = self.sound(of);
        Identity::from_pem(self.pem().as_bytes(), chain.as_bytes(), key.as_bytes()).expect("an identity")
    }
}

impl Shown {
    /// One that nobody but itself vouches for.
    pub fn self_signed(of: &str) -> Self {
        let (params, key) = (changed(of, |_| {}), key());
        Self { chain: params.self_signed(&key).expect("a certificate can be made").pem(), key: key.serialize_pem() }
    }

    /// The same chain with the key of another certificate.
    pub fn with_another_key(self) -> Self {
        Self { key: key().serialize_pem(), ..self }
    }

    /// The same certificate without what is between it and the authority.
    pub fn without_intermediates(self) -> Self {
        let first = self.chain.find(PEM_END).expect("a certificate") + PEM_END.len();
        Self { chain: self.chain[..first].to_owned(), ..self }
    }

    /// For TLS, which is not asked whether the two fit together.
    pub fn resolver(&self) -> Arc<SingleCertAndKey> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a key that TLS can use");
        Arc::new(SingleCertAndKey::from(Arc::new(CertifiedKey::new(chain.expect("certificates"), key))))
    }
}

/// Listens in place of a member, and says the same to everybody who dials it.
pub struct Impostor {
    endpoint: Endpoint,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Impostor {
    /// One that shows this, and opens with these bytes.
    pub fn listen(shown: &Shown, says: Vec<u8>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(shown.resolver());
        config.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = QuicServerConfig::try_from(config).expect("TLS 1.3 has QUIC's cipher");
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).expect("a free port on loopback");
        let heard = Arc::default();
        tokio::spawn(serve(endpoint.clone(), says, Arc::clone(&heard)));
        Self { endpoint, heard }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().expect("a bound socket has an address")
    }

    /// All that was said to it.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().expect("nothing panics while it holds what was heard").clone()
    }
}

async fn serve(endpoint: Endpoint, says: Vec<u8>, heard: Arc<Mutex<Vec<u8>>>) {
    while let Some(incoming) = endpoint.accept().await {
        let (says, heard) = (says.clone(), Arc::clone(&heard));
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let Ok((mut send, mut recv)) = connection.accept_bi().await else { return };
            // Fails where the node has closed already.
            let _ = send.write_all(&says).await;
            while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX, true).await {
                let mut heard = heard.lock().expect("nothing panics while it holds what was heard");
                heard.extend_from_slice(&chunk.bytes);
            }
            connection.closed().await;
        });
    }
}

fn issuing(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn changed(of: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new([of.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, of);
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("keys can be made")
}

const PEM_END: &str = "-----END CERTIFICATE-----\n";
