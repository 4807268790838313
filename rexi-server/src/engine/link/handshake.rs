//! The first frames of a connection: a hello each way, a verdict from both, and a welcome from one.
//!
//! Either node may dial, and both may at once. So that they keep the same connection, the one whose name sorts first
//! decides: it takes the first handshake that completes and says so with a welcome; the other takes a connection only
//! when it is welcomed on it. Nothing but hellos is exchanged before that.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use quinn::{Connection, ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use rexi_proto::record::{Question, RecordWord};
use rexi_proto::{CloseCode, DecodeError, HELLO_BYTES_MAX, HandshakeError, Hello, LENGTH_BYTES, NodeName, Session};
use thiserror::Error;

use crate::engine::link::lane::LANE_PRIORITY;
use crate::engine::member::Member;
use crate::engine::member::met::Met;
use crate::engine::metrics;
use crate::engine::record::questions;
use crate::engine::shared::Shared;
use crate::net::{close, peer_certifies};

/// A connection whose both ends have agreed, before it is put to use.
pub(crate) struct Established {
    pub(crate) member: Arc<Member>,
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    pub(crate) session: Session,
    /// What our hello has said of the record.
    pub(crate) said: RecordWord,
    pub(crate) release: String,
    pub(crate) met: Met,
}

/// What a connection that was accepted is for.
pub(crate) enum Accepted {
    /// To be the connection to a member.
    Link(Box<Established>),
    /// One question about the record.
    Question(Box<Question>, SendStream, Connection),
}

/// A handshake that failed. Its text is for the operator: it names the peer, its address and the reason.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Connect(#[from] quinn::ConnectError),
    #[error("{0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the hello did not come: {0}")]
    Hello(String),
    #[error("the hello is malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error("the certificate does not name {0}, which the hello claims to be from")]
    WrongCertificate(NodeName),
    #[error("{expected} was dialed, but {found} answered")]
    WrongNode { expected: NodeName, found: NodeName },
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("a question about the record that is none: {0}")]
    Question(String),
    #[error("another connection to the same peer is in use")]
    Duplicate,
    #[error("no handshake within {0:?}")]
    TimedOut(Duration),
}

impl ConnectError {
    /// What the peer is told.
    pub(crate) fn close_code(&self) -> CloseCode {
        match self {
            Self::Handshake(HandshakeError::Refused(_)) => CloseCode::Refused,
            Self::Handshake(error) if error.is_passing() => CloseCode::TryAgain,
            Self::WrongCertificate(_) | Self::WrongNode { .. } | Self::Handshake(_) => CloseCode::NotTrusted,
            Self::Duplicate => CloseCode::Replaced,
            _ => CloseCode::BadHandshake,
        }
    }

    /// Why, in a word.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Handshake(HandshakeError::Refused(_)) => "incompatible_release",
            Self::Handshake(HandshakeError::Apart(_)) => "kept_apart",
            Self::Handshake(HandshakeError::NotAMember(_)) => "not_a_member",
            Self::Handshake(HandshakeError::StaleIncarnation { .. }) => "stale_incarnation",
            Self::Handshake(HandshakeError::StartsAhead { .. }) => "starts_ahead",
            Self::Handshake(_) | Self::Duplicate => "tried_again",
            Self::WrongCertificate(_) | Self::WrongNode { .. } => "wrong_name",
            Self::Hello(_) | Self::Malformed(_) | Self::Question(_) => "bad_hello",
            Self::TimedOut(_) | Self::Connection(quinn::ConnectionError::TimedOut) => "timed_out",
            // The codes of TLS alerts; among them all that concern certificates (RFC 9001 §4.8).
            Self::Connection(quinn::ConnectionError::TransportError(error)) if is_tls(error.code) => "tls",
            Self::Connection(quinn::ConnectionError::ConnectionClosed(closed)) if is_tls(closed.error_code) => "tls",
            Self::Connection(quinn::ConnectionError::ApplicationClosed(_)) => "refused_by_peer",
            Self::Connect(_) | Self::Connection(_) => "unreachable",
        }
    }

    /// Whether the peer has turned this node away for who it is: a later process of its name, no member, a clock that
    /// is ahead. A verdict on two releases is not of this kind, since it is the same for both.
    pub(crate) fn is_turned_away(&self) -> bool {
        let Self::Connection(quinn::ConnectionError::ApplicationClosed(closed)) = self else { return false };
        CloseCode::from_code(closed.error_code.into_inner()) == Some(CloseCode::NotTrusted)
    }

    /// Whether this is the ordinary course of two nodes that dial each other, and so not news.
    pub(crate) fn is_routine(&self) -> bool {
        match self {
            Self::Duplicate => true,
            Self::Handshake(error) => error.is_passing(),
            Self::Connection(quinn::ConnectionError::ApplicationClosed(closed)) => {
                let code = closed.error_code.into_inner();
                // quinn closes a connection that was dropped before its handshake was complete with code 0 and no
                // reason.
                code == 0 && closed.reason.is_empty()
                    || matches!(
                        CloseCode::from_code(code),
                        Some(CloseCode::Replaced | CloseCode::TryAgain | CloseCode::Shutdown)
                    )
            }
            Self::Connection(quinn::ConnectionError::LocallyClosed) => true,
            _ => false,
        }
    }
}

/// Counts a failed handshake, unless that is the ordinary course of two nodes that dial each other.
pub(crate) fn count(node: &NodeName, error: &ConnectError) {
    if !error.is_routine() {
        metrics::refused(node, error.reason());
    }
}

fn is_tls(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

/// A hello from the node that the connection's certificate names: no other goes on to a verdict.
struct Certified(Hello);

impl Certified {
    fn new(hello: Hello, connection: &Connection) -> Result<Self, ConnectError> {
        match peer_certifies(connection, &hello.node) {
            true => Ok(Self(hello)),
            false => Err(ConnectError::WrongCertificate(hello.node)),
        }
    }
}

/// The dialing end: says hello first.
pub(crate) async fn dial(
    shared: &Arc<Shared>,
    member: &Arc<Member>,
    connection: &Connection,
) -> Result<Established, ConnectError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    // The lane comes before bulk.
    let _ = send.set_priority(LANE_PRIORITY);
    let ours = shared.hello_to(member.name());
    send_hello(&mut send, &ours).await?;
    let mut length = [0; LENGTH_BYTES];
    read_exact(&mut recv, &mut length).await?;
    let theirs = read_hello(&mut recv, length).await?;
    if theirs.node != *member.name() {
        return Err(ConnectError::WrongNode { expected: member.name().clone(), found: theirs.node });
    }
    settle(shared, connection, send, recv, &ours, Certified::new(theirs, connection)?).await
}

/// The listening end: answers with its own hello whatever it thinks of the peer's, so that both can tell why. Or it is
/// asked about the record, and there is no handshake.
pub(crate) async fn answer(shared: &Arc<Shared>, connection: &Connection) -> Result<Accepted, ConnectError> {
    let (mut send, mut recv) = connection.accept_bi().await?;
    let mut first = [0; LENGTH_BYTES];
    read_exact(&mut recv, &mut first).await?;
    if Question::opens(first) {
        let question = questions::read(shared, &mut recv, connection).await;
        let question = Box::new(question.map_err(ConnectError::Question)?);
        return Ok(Accepted::Question(question, send, connection.clone()));
    }
    let _ = send.set_priority(LANE_PRIORITY);
    // A peer that is not who it says it is gets no word from us.
    let theirs = Certified::new(read_hello(&mut recv, first).await?, connection)?;
    let ours = shared.hello_to(&theirs.0.node);
    send_hello(&mut send, &ours).await?;
    settle(shared, connection, send, recv, &ours, theirs).await.map(|link| Accepted::Link(Box::new(link)))
}

/// Closes a connection whose handshake failed, after the peer had time to read our hello and reach the same verdict.
/// Gives why it failed: for one that is behind, why the peer does not give it the record, if it does not.
pub(crate) async fn give_up(connection: &Connection, error: ConnectError) -> ConnectError {
    let waits = matches!(
        error,
        ConnectError::Handshake(
            HandshakeError::Refused(_) | HandshakeError::Outlived { .. } | HandshakeError::WeAreBehind(_)
        )
    );
    if waits {
        let _ = tokio::time::timeout(VERDICT_GRACE, connection.closed()).await;
    }
    let why = connection.close_reason().map(ConnectError::Connection).filter(ConnectError::is_turned_away);
    close(connection, error.close_code(), &error.to_string());
    why.unwrap_or(error)
}

async fn settle(
    shared: &Arc<Shared>,
    connection: &Connection,
    mut send: SendStream,
    mut recv: RecvStream,
    ours: &Hello,
    Certified(theirs): Certified,
) -> Result<Established, ConnectError> {
    let admitted = shared.admit(ours, &theirs);
    if let Err(HandshakeError::TheyAreBehind(node)) = &admitted {
        shared.give_record(node);
    }
    let (agreement, met) = admitted?;
    let member = Arc::clone(met.member());
    if shared.name < theirs.node {
        if !member.claim(theirs.incarnation, shared.now()) {
            return Err(ConnectError::Duplicate);
        }
        if let Err(error) = write_all(&mut send, &WELCOME).await {
            member.unclaim();
            return Err(error);
        }
    } else {
        let mut welcome = [0; WELCOME.len()];
        read_exact(&mut recv, &mut welcome).await?;
        if welcome != WELCOME {
            return Err(ConnectError::Hello("something else came where the welcome should".to_owned()));
        }
    }
    let session = Session::of(ours, &theirs, agreement);
    let (connection, release) = (connection.clone(), theirs.release.to_string());
    Ok(Established { member, connection, send, recv, session, said: ours.record, release, met })
}

async fn send_hello(send: &mut SendStream, hello: &Hello) -> Result<(), ConnectError> {
    let mut bytes = BytesMut::new();
    hello.encode(&mut bytes);
    write_all(send, &bytes).await
}

async fn write_all(send: &mut SendStream, bytes: &[u8]) -> Result<(), ConnectError> {
    send.write_all(bytes).await.map_err(|error| match error {
        WriteError::ConnectionLost(closed) => ConnectError::Connection(closed),
        other => ConnectError::Hello(other.to_string()),
    })
}

/// A hello whose length has been read.
async fn read_hello(recv: &mut RecvStream, length: [u8; LENGTH_BYTES]) -> Result<Hello, ConnectError> {
    let claimed = u32::from_le_bytes(length);
    if claimed == 0 || claimed > HELLO_BYTES_MAX {
        return Err(DecodeError::FrameLength { claimed, max: HELLO_BYTES_MAX }.into());
    }
    let mut frame = vec![0; claimed as usize];
    read_exact(recv, &mut frame).await?;
    Ok(Hello::decode(&frame)?)
}

/// Reads this many bytes; if the connection is closed instead, the error is the close, since that says why.
async fn read_exact(recv: &mut RecvStream, bytes: &mut [u8]) -> Result<(), ConnectError> {
    recv.read_exact(bytes).await.map_err(|error| match error {
        ReadExactError::ReadError(ReadError::ConnectionLost(closed)) => ConnectError::Connection(closed),
        other => ConnectError::Hello(other.to_string()),
    })
}

/// A frame of kind hello without a hello in it.
const WELCOME: [u8; LENGTH_BYTES + 1] = [1, 0, 0, 0, 0];

const VERDICT_GRACE: Duration = Duration::from_secs(1);
