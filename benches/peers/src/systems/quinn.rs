//! Raw frames on one QUIC stream: the limit, what quinn allows whoever does nothing but echo.
//!
//! The transport's settings are those of rexi-server's transport.rs, but for the window: nothing here has to stay fast
//! beside large payloads.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::cli::Setup;
use crate::failure::Failure;
use crate::systems::Members;
use crate::systems::frames::{self, Connection};
use crate::systems::tls::Identity;

pub(crate) async fn serve(setup: &Setup) -> Result<(), Failure> {
    let crypto = QuicServerConfig::try_from(Identity::read(setup)?.server()?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport());
    let socket = bind(Members::read(setup)?.own(setup)?)?;
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))?;
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let connection = incoming.await?;
                let (send, receive) = connection.accept_bi().await?;
                frames::serve(receive, send).await
            });
        }
    });
    Ok(())
}

pub(crate) async fn connect(setup: &Setup) -> Result<Connection, Failure> {
    let crypto = QuicClientConfig::try_from(Identity::read(setup)?.client()?)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport());
    let members = Members::read(setup)?;
    let socket = bind(members.own(setup)?)?;
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
    let peer = setup.peers.first().map_or("", String::as_str);
    let connection = endpoint.connect_with(config, members.peer(setup)?, peer)?.await?;
    let (send, receive) = connection.open_bi().await?;
    Ok(Connection::start(receive, send, (endpoint, connection)))
}

fn transport() -> Arc<TransportConfig> {
    let mut ack = AckFrequencyConfig::default();
    ack.ack_eliciting_threshold(VarInt::from_u32(50)).max_ack_delay(Some(Duration::from_millis(5)));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(Duration::from_secs(2)))
        .ack_frequency_config(Some(ack));
    Arc::new(transport)
}

/// A socket with buffers of 4 MiB, as rexi-server's.
pub(crate) fn bind(address: SocketAddr) -> Result<UdpSocket, Failure> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // What the system does not grant is no reason not to run: it is the same for all.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

const SOCKET_BUFFER_BYTES: usize = 4 << 20;
