//! Every QUIC setting, in one place, each with its reason. None is left at quinn's default where that is a way in
//! (THREATS.md) or a brake (FIGURES.md).

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::HandshakeTokenKey;
use quinn::{
    AckFrequencyConfig, ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, ServerConfig,
    TimeSource, TransportConfig, VarInt,
};
use rexi_proto::{Limits, STREAM_WINDOW_BYTES};
use socket2::{Domain, Protocol, Socket, Type};

use crate::crypto::QuicCrypto;
use crate::doorman::Doorman;
use crate::env::{NodeEnv, Random};
use crate::error::StartError;

/// Opens the node's one endpoint: it listens and dials from the same socket, so that a peer sees one address.
pub(crate) fn open(
    address: SocketAddr,
    settings: &Settings,
    crypto: &QuicCrypto,
    doorman: &Arc<Doorman>,
    env: &NodeEnv,
) -> Result<quinn::Endpoint, StartError> {
    let mut config = EndpointConfig::new(env.random().reset_key());
    config.rng_seed(Some(env.random().bytes()));
    if let Some(ids) = settings.seeded.clone() {
        config.cid_generator(move || Box::new(SeededIds(ids.clone())));
    }
    let server = settings.server(crypto);
    let listen = |source| StartError::Listen { address, source };
    let socket = doorman.guard(env.open_socket(address).map_err(listen)?);
    let endpoint = quinn::Endpoint::new_with_abstract_socket(config, Some(server), socket, env.tasks().runtime());
    endpoint.map_err(listen)
}

/// What does not change with the node's identity.
pub(crate) struct Settings {
    transport: Arc<TransportConfig>,
    token_key: Arc<dyn HandshakeTokenKey>,
    wall_clock: Arc<dyn TimeSource>,
    /// Where connection ids are drawn from, if not from quinn's own source.
    seeded: Option<Random>,
}

impl Settings {
    pub(crate) fn new(limits: &Limits, env: &NodeEnv) -> Self {
        Self {
            transport: Arc::new(transport(limits)),
            token_key: env.random().token_key(),
            wall_clock: env.time_source(),
            seeded: env.random().is_seeded().then(|| env.random().clone()),
        }
    }

    /// For connections that others dial.
    pub(crate) fn server(&self, crypto: &QuicCrypto) -> ServerConfig {
        let mut server = ServerConfig::new(Arc::clone(&crypto.server), Arc::clone(&self.token_key));
        server
            .transport_config(Arc::clone(&self.transport))
            // A node does not move; a client that claims to is not followed.
            .migration(false)
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(64 << 10)
            .incoming_buffer_size_total(4 << 20)
            .time_source(Arc::clone(&self.wall_clock));
        server
    }

    /// For connections that the node dials.
    pub(crate) fn client(&self, crypto: &QuicCrypto) -> ClientConfig {
        let mut client = ClientConfig::new(Arc::clone(&crypto.client));
        client.transport_config(Arc::clone(&self.transport));
        if let Some(ids) = self.seeded.clone() {
            client.initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&ids.bytes::<20>())));
        }
        client
    }
}

/// Connection ids of a seed. quinn's own are not seeded; they can be told from those of others, which a test does
/// without.
struct SeededIds(Random);

impl ConnectionIdGenerator for SeededIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.0.bytes::<8>())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn transport(limits: &Limits) -> TransportConfig {
    let mut ack = AckFrequencyConfig::default();
    // An acknowledgement per 50 packets or 5 ms: a third less CPU a call than quinn's default (FIGURES.md).
    ack.ack_eliciting_threshold(VarInt::from_u32(50)).max_ack_delay(Some(Duration::from_millis(5)));
    let mut transport = TransportConfig::default();
    let bulk_streams = limits.bulk_streams_max.min(100);
    transport
        // The ordered lane, and no other.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        // Each allowed stream takes memory beforehand.
        .max_concurrent_uni_streams(VarInt::from_u32(bulk_streams))
        // What bulk may have in flight is what small calls wait behind: 1 to 2 times the bandwidth-delay product.
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        // The lane and each bulk stream can use their windows in full; nothing could use more.
        .receive_window(VarInt::from_u32((1 + bulk_streams) * STREAM_WINDOW_BYTES))
        .send_window(8 << 20)
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(Duration::from_secs(2)))
        // Well below the stability period, so that a connection that has died in silence can still be replaced in time.
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(8_000))))
        .ack_frequency_config(Some(ack));
    transport
}

/// A socket with buffers of 4 MiB, where the system grants them: with its default, bursts are lost and bulk is halved.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    for granted in [socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)]
    {
        if let Err(error) = granted {
            tracing::warn!(%address, %error, "the system grants no larger socket buffers");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Connections that may be half open; beyond, new ones are refused before they cost anything.
pub(crate) const INCOMING_MAX: usize = 256;

/// From so many half-open connections on, a new one must first show that it receives at the address it sends from.
pub(crate) const INCOMING_UNVALIDATED_MAX: usize = 64;
