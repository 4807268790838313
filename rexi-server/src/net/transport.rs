//! Every QUIC setting, in one place, each with its reason: those of the endpoint and of either side of a handshake
//! here, those of a connection in per_connection.rs. None is left at quinn's default where that would be a way in
//! (docs/threats.md) or a brake. Settings kept at quinn's default are stated too, so that another quinn changes nothing
//! unnoticed.

mod congestion;
mod per_connection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::HandshakeTokenKey;
use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, NoneTokenLog, ServerConfig, TimeSource,
    TokenMemoryCache, TransportConfig, ValidationTokenConfig,
};
use rexi_proto::Limits;

use crate::net::crypto::QuicCrypto;
use crate::net::doorman::Doorman;
use crate::net::env::{NodeEnv, Random};

pub(crate) use congestion::Progress;

/// Opens the node's one endpoint: it listens and dials from the same socket, so that a peer sees one address.
pub(crate) fn open(
    address: SocketAddr,
    settings: &Settings,
    crypto: &QuicCrypto,
    doorman: &Arc<Doorman>,
    env: &NodeEnv,
) -> std::io::Result<quinn::Endpoint> {
    let config = settings.endpoint(env.random());
    let server = settings.server(crypto);
    let socket = doorman.guard(env.open_socket(address)?);
    quinn::Endpoint::new_with_abstract_socket(config, Some(server), socket, env.tasks().runtime())
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
            transport: Arc::new(per_connection::transport(limits)),
            token_key: env.random().token_key(),
            wall_clock: env.time_source(),
            seeded: env.random().is_seeded().then(|| env.random().clone()),
        }
    }

    /// For the socket that all connections share.
    fn endpoint(&self, random: &Random) -> EndpointConfig {
        let mut endpoint = EndpointConfig::new(random.reset_key());
        endpoint
            .rng_seed(Some(random.bytes()))
            // Ethernet's 1,500 bytes without the headers of IP and UDP: what peers may send. quinn's default.
            .max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX)
            .expect("it is between 1,200 and 65,527")
            // quinn's default: QUIC 1, which every node dials with, and drafts 29 to 34, which none does.
            .supported_versions([1].into_iter().chain(0xff00_001d..=0xff00_0022).collect())
            // quinn's default: a bit that QUIC fixes may vary, so that nothing between nodes comes to rely on it.
            .grease_quic_bit(true)
            // quinn's default: a sender of datagrams that belong to no connection is answered at most 50 times a
            // second.
            .min_reset_interval(Duration::from_millis(20));
        // Otherwise quinn's own ids, of 8 bytes, some of which tell it that they are its own.
        if let Some(ids) = self.seeded.clone() {
            endpoint.cid_generator(move || Box::new(SeededIds(ids.clone())));
        }
        endpoint
    }

    /// For connections that others dial.
    pub(crate) fn server(&self, crypto: &QuicCrypto) -> ServerConfig {
        let mut tokens = ValidationTokenConfig::default();
        tokens
            // No tokens for later connections: quinn's default, but where any crate of the service turns on its
            // feature `bloom`.
            .sent(0)
            .log(Arc::new(NoneTokenLog))
            // quinn's default, and without meaning while none are sent.
            .lifetime(Duration::from_hours(14 * 24));
        let mut server = ServerConfig::new(Arc::clone(&crypto.server), Arc::clone(&self.token_key));
        server
            .transport_config(Arc::clone(&self.transport))
            .validation_token_config(tokens)
            // quinn's default: time for an address to be shown, which takes one round trip.
            .retry_token_lifetime(Duration::from_secs(15))
            // A node does not move; a client that claims to is not followed.
            .migration(false)
            // quinn's default: a node has one address, the one that it was dialed at.
            .preferred_address_v4(None)
            .preferred_address_v6(None)
            // Before a handshake is taken up, what is kept of it is bounded, in number and in bytes.
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(64 << 10)
            .incoming_buffer_size_total(4 << 20)
            // The node's own, which a test sets.
            .time_source(Arc::clone(&self.wall_clock));
        server
    }

    /// For connections that the node dials.
    pub(crate) fn client(&self, crypto: &QuicCrypto) -> ClientConfig {
        let mut client = ClientConfig::new(Arc::clone(&crypto.client));
        client
            .transport_config(Arc::clone(&self.transport))
            // quinn's default: two tokens each of the last 256 servers; nodes send none.
            .token_store(Arc::new(TokenMemoryCache::default()))
            // quinn's default, and every node's.
            .version(1);
        // Otherwise quinn's own, of 20 random bytes.
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

/// Connections of strangers that may be half open; beyond, new ones are refused before they cost anything.
pub(crate) const INCOMING_MAX: usize = 256;

/// How many of those may be of one IP address.
pub(crate) const INCOMING_OF_SOURCE_MAX: usize = 128;

/// Connections from the address of a member, or of a peer that was connected, that may be half open: both may dial, and
/// an earlier try may still be there.
pub(crate) const INCOMING_OF_KNOWN_MAX: usize = 4;

/// From this many half-open connections on, a new one must first show that it receives at the address it sends from.
pub(crate) const INCOMING_UNVALIDATED_MAX: usize = 64;

/// Bytes that a datagram may hold.
const UDP_PAYLOAD_BYTES_MAX: u16 = 1_472;

#[cfg(test)]
mod tests;
