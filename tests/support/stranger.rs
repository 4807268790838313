//! A peer that follows a script: it speaks QUIC and the handshake by itself, and then says what a test wants it to.
//!
//! It builds on quinn, rustls and the wire format alone, so that it can do what no node does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connecting, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rexi_proto::{Body, CallRef, Cast, Hello, Incarnation, LENGTH_BYTES, Limits, Message, ServerAddress, WireVersion};
use rexi_server::{DevAuthority, Phase, Profile};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::{Shown, name, within};

/// A QUIC client with an address of its own.
pub struct Stranger {
    endpoint: Endpoint,
}

/// A connection on which the stranger has opened the lane.
pub struct Lane {
    /// The connection.
    pub connection: Connection,
    /// From the stranger to the node.
    pub send: SendStream,
    /// From the node to the stranger.
    pub recv: RecvStream,
}

impl Stranger {
    /// A client that speaks `alpn`, and shows this certificate, or none. It believes any peer that it dials.
    pub fn showing(shown: Option<&Shown>, alpn: &[u8]) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous(provider)));
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => builder.with_client_cert_resolver(shown.resolver()),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        let crypto = QuicClientConfig::try_from(config).expect("TLS 1.3 has QUIC's cipher");
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port on loopback");
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        transport.keep_alive_interval(Some(Duration::from_secs(2)));
        client.transport_config(Arc::new(transport));
        endpoint.set_default_client_config(client);
        Self { endpoint }
    }

    /// A client with all that a member called `of` needs.
    pub fn member(authority: &DevAuthority, of: &str) -> Self {
        let (chain, key) = authority.issue_pem(&name(of)).expect("a certificate can be made");
        Self::showing(Some(&Shown { chain, key }), ALPN)
    }

    /// Where it sends from, as log lines show it.
    pub fn address(&self) -> String {
        self.endpoint.local_addr().expect("a bound socket has an address").to_string()
    }

    /// Begins to connect to the node `to`.
    pub fn dial(&self, address: SocketAddr, to: &str) -> Connecting {
        self.endpoint.connect(address, to).expect("a name and an address")
    }

    /// Connects to the node `to`, as far as TLS goes.
    ///
    /// # Errors
    /// What QUIC says.
    pub async fn connect(&self, address: SocketAddr, to: &str) -> Result<Connection, ConnectionError> {
        within("the connection, or its refusal", self.dial(address, to)).await
    }

    /// Connects and opens the lane with these bytes.
    pub async fn open(&self, address: SocketAddr, to: &str, bytes: &[u8]) -> Lane {
        let connection = self.connect(address, to).await.expect("TLS succeeds");
        let (mut send, recv) = within("a stream", connection.open_bi()).await.expect("a stream");
        // Fails where the node has closed already, which is for the test to see.
        let _ = send.write_all(bytes).await;
        Lane { connection, send, recv }
    }

    /// Connects and does the whole handshake as a node whose name sorts behind the other's, so that it is welcomed.
    pub async fn shake_hands(&self, address: SocketAddr, to: &str, hello: &Hello) -> Lane {
        let mut lane = self.open(address, to, &encoded(hello)).await;
        let theirs = lane.frame().await;
        assert_eq!(Hello::decode(&theirs).expect("a hello").node, name(to));
        assert_eq!(lane.frame().await, [0], "the welcome");
        lane
    }
}

impl Lane {
    /// The next frame, its length prefix taken off.
    pub async fn frame(&mut self) -> Vec<u8> {
        let mut length = [0; LENGTH_BYTES];
        within("a frame's length", self.recv.read_exact(&mut length)).await.expect("a frame's length");
        let mut frame = vec![0; u32::from_le_bytes(length) as usize];
        within("a frame", self.recv.read_exact(&mut frame)).await.expect("a frame");
        frame
    }

    /// The next frame as a message of wire v3.
    pub async fn message(&mut self) -> Message {
        rexi_proto::decode(WireVersion::V3, &self.frame().await).expect("nodes keep to the format")
    }

    /// Says these bytes.
    pub async fn say(&mut self, bytes: &[u8]) {
        within("the write", self.send.write_all(bytes)).await.expect("the node reads");
    }

    /// Waits until the node closes the connection: the close code, and the reason in words.
    pub async fn closed(&self) -> (u64, String) {
        match within("the close", self.connection.closed()).await {
            ConnectionError::ApplicationClosed(closed) => {
                (closed.error_code.into_inner(), String::from_utf8_lossy(&closed.reason).into_owned())
            }
            other => panic!("closed by other means: {other}"),
        }
    }
}

/// Believes everybody: what the node makes of the stranger is of interest, and not the other way round.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The hello of a node of release 2.0.
pub fn hello(of: &str) -> Hello {
    let [_, _, _, release] = Profile::train();
    let limits = Limits::default();
    Hello {
        node: name(of),
        incarnation: Incarnation(1),
        release: release.release().clone(),
        wire: release.wire(),
        phase: Phase::Remove,
        phase_epoch: 0,
        ceiling: Phase::Remove,
        hosts: release.hosts(),
        holdouts: Vec::new(),
        capabilities: 0,
        frame_bytes_max: limits.frame_bytes_max,
        payload_bytes_max: limits.payload_bytes_max,
    }
}

/// A hello as a frame.
pub fn encoded(hello: &Hello) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    hello.encode(&mut bytes);
    bytes.to_vec()
}

/// A cast of the function `witness` as a frame of wire v3.
pub fn cast_of_witness(call: u64) -> Vec<u8> {
    let body = Body::Inline(bytes::Bytes::from_static(b"from a stranger"));
    let function = "witness".into();
    frame_of(&Message::Cast(
        ServerAddress::PerNode,
        Cast { call: CallRef(call), function, time_left: None, nonce: 0, trace: None, body },
    ))
}

/// A message as a frame of wire v3.
pub fn frame_of(message: &Message) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    rexi_proto::encode(WireVersion::V3, message, 1 << 20, &mut bytes).expect("v3 has it");
    bytes.to_vec()
}

/// The application protocol of rexi in TLS.
pub const ALPN: &[u8] = b"rexi/1";
