//! A peer that follows a script: it speaks QUIC and the handshake by itself, and then says what a test wants it to.
//!
//! It builds on quinn, rustls and the wire format alone, so that it can do what no node does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connecting, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rexi_proto::record::RecordWord;
use rexi_proto::{
    Body, CallRef, Called, Cast, FunctionTable, Hello, Incarnation, LENGTH_BYTES, Limits, Message, Migration,
    ServerAddress, Stage, Standing, WireVersion,
};
use rexi_server::{DevAuthority, Profile};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::{Shown, name, release, within};

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
    /// What the node takes, once the handshake is done.
    pub functions: FunctionTable,
}

impl Stranger {
    /// A client that speaks `alpn`, and shows this certificate, or none. It believes any peer that it dials.
    pub fn showing(shown: Option<&Shown>, alpn: &[u8]) -> Self {
        Self::showing_from(Ipv4Addr::LOCALHOST, shown, alpn)
    }

    /// As [`Stranger::showing`], from this address.
    pub fn showing_from(source: Ipv4Addr, shown: Option<&Shown>, alpn: &[u8]) -> Self {
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
        let mut endpoint = Endpoint::client((source, 0).into()).expect("a free port on loopback");
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        transport.keep_alive_interval(Some(Duration::from_secs(2)));
        client.transport_config(Arc::new(transport));
        endpoint.set_default_client_config(client);
        Self { endpoint }
    }

    /// A client with all that a member called `of` needs.
    pub fn member(authority: &DevAuthority, of: &str) -> Self {
        Self::member_from(Ipv4Addr::LOCALHOST, authority, of)
    }

    /// As [`Stranger::member`], from this address.
    pub fn member_from(source: Ipv4Addr, authority: &DevAuthority, of: &str) -> Self {
        let (chain, key) = authority.issue_pem(&name(of)).expect("a certificate can be made");
        Self::showing_from(source, Some(&Shown { chain, key }), ALPN)
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
        Lane { connection, send, recv, functions: FunctionTable::default() }
    }

    /// Connects and does the whole handshake as a node whose name sorts behind the other's, so that it is welcomed.
    pub async fn shake_hands(&self, address: SocketAddr, to: &str, hello: &Hello) -> Lane {
        let mut lane = self.open(address, to, &encoded(hello)).await;
        let theirs = Hello::decode(&lane.frame().await).expect("a hello");
        assert_eq!(theirs.node, name(to));
        lane.functions = theirs.functions;
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
    hello_of(of, &release("2.0"))
}

/// The hello of a node of that release, in its highest phase.
pub fn hello_of(of: &str, profile: &Profile) -> Hello {
    let limits = Limits::default();
    let standing = |(migration, stage): (&Migration, Stage)| Standing {
        key: migration.key().clone(),
        phase: stage.highest(),
        epoch: 0,
        ceiling: stage.highest(),
        takes: stage.takes(),
        holdouts: Vec::new(),
    };
    Hello {
        cluster: profile.train().into(),
        node: name(of),
        incarnation: Incarnation(1),
        last_met: None,
        release: profile.release().clone(),
        stop: profile.stop(),
        follows: profile.follows(),
        wire: profile.wire(),
        migrations: profile.migrations().map(standing).collect(),
        functions: FunctionTable::new(ASKED).expect("there are few"),
        record: RecordWord::Unkept,
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

/// A message as a frame of wire v3, for a node that has [`functions`](crate::functions) and a witness at most.
pub fn frame_of(message: &Message) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    rexi_proto::encode(WireVersion::V3, &numbered(message, &table()), 1 << 20, &mut bytes).expect("v3 has it");
    bytes.to_vec()
}

/// What a test's node asks a stranger for.
const ASKED: [&str; 24] = [
    "anything", "ask", "big", "both", "busy", "count", "echo", "endless", "f", "fail", "forever", "get", "held",
    "hold", "large", "long", "name", "panic", "replies", "server", "slow", "vote", "who", "witness",
];

/// The functions of a node that has [`functions`](crate::functions) and a witness. The latter's number is the last, so
/// the others have theirs without it.
fn table() -> FunctionTable {
    FunctionTable::new(["echo", "fail", "forever", "panic", "server", "witness"]).expect("there are few")
}

/// The message as it leaves for a node that takes these functions.
pub fn numbered(message: &Message, functions: &FunctionTable) -> Message {
    match message.clone() {
        Message::Cast(server, Cast { function: Called::Name(name), call, time_left, nonce, trace, body }) => {
            let function = Called::Number(functions.number(&name).expect("the node takes it"));
            Message::Cast(server, Cast { function, call, time_left, nonce, trace, body })
        }
        other => other,
    }
}

/// The application protocol of rexi in TLS.
pub const ALPN: &[u8] = b"rexi/1";
