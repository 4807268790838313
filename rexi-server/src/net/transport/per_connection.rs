//! The QUIC settings of a connection, the same on both sides: windows, timers, acknowledgements, packets.
//!
//! In go the node's limits. Each setting is here with its reason, even where it is quinn's default.

use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use rexi_proto::{Limits, STREAM_WINDOW_BYTES};

use super::congestion::ProbedCubic;

pub(super) fn transport(limits: &Limits) -> TransportConfig {
    let mut transport = TransportConfig::default();
    windows(&mut transport, limits);
    packets(&mut transport);
    loss(&mut transport);
    transport
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE_TIMEOUT).expect("it is short")))
        // quinn's default: what is kept of a handshake whose packets come out of order, before the peer is known.
        .crypto_buffer_size(16 << 10)
        // quinn's default: the round trip may be seen by who measures the network, and nothing else.
        .allow_spin(true);
    transport
}

/// How much may be on its way.
fn windows(transport: &mut TransportConfig, limits: &Limits) {
    transport
        // The ordered lane, and no other.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        // Each allowed stream takes memory beforehand.
        .max_concurrent_uni_streams(VarInt::from_u32(bulk_streams(limits)))
        // What bulk may have in flight is what small calls wait behind: 1 to 2 times the bandwidth-delay product.
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        // The lane and each bulk stream can use their windows in full; nothing could use more.
        .receive_window(receive_window(limits))
        // What is kept until it is acknowledged, of all streams together: more than one stream's window, and bounded.
        .send_window(8 << 20)
        // quinn's default: streams of one priority take turns, so that no bulk waits for another.
        .send_fairness(true)
        // There are no datagrams: a peer may send none, and for what is never sent quinn's default will do.
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(1 << 20);
}

fn bulk_streams(limits: &Limits) -> u32 {
    limits.bulk_streams_max.min(100)
}

/// Bytes that a peer may have on its way, of all streams together.
pub(super) fn receive_window(limits: &Limits) -> VarInt {
    VarInt::from_u32((1 + bulk_streams(limits)) * STREAM_WINDOW_BYTES)
}

/// What packets look like.
fn packets(transport: &mut TransportConfig) {
    let mut discovery = MtuDiscoveryConfig::default();
    // quinn's defaults: up to what Ethernet takes with IPv6, looked for again after ten minutes, or one minute after a
    // path was found to take less. Where the network takes more, more is faster (4,096 bytes took bulk on loopback from
    // 450 to 650 MiB/s); where it does not, those packets are lost.
    discovery
        .upper_bound(1_452)
        .minimum_change(20)
        .interval(Duration::from_secs(600))
        .black_hole_cooldown(Duration::from_secs(60));
    transport
        // quinn's defaults: what every path of QUIC must take.
        .initial_mtu(1_200)
        .min_mtu(1_200)
        .mtu_discovery_config(Some(discovery))
        // quinn's default: small calls travel as small packets, though who watches the network sees how long they are.
        .pad_to_mtu(false)
        // quinn's default: without it bulk was half as fast.
        .enable_segmentation_offload(true);
}

/// When what was sent is taken for lost, and how fast more is sent.
fn loss(transport: &mut TransportConfig) {
    let mut ack = AckFrequencyConfig::default();
    // An acknowledgement per 50 packets or 5 ms: a third less CPU a call than with quinn's default.
    ack.ack_eliciting_threshold(VarInt::from_u32(50))
        .max_ack_delay(Some(Duration::from_millis(5)))
        // quinn's default: one packet out of order is not news, two are reported at once.
        .reordering_threshold(VarInt::from_u32(2));
    transport
        .ack_frequency_config(Some(ack))
        // quinn's defaults, which are RFC 9002's: lost after 3 later packets, or 9/8 of a round trip.
        .packet_threshold(3)
        .time_threshold(9.0 / 8.0)
        // quinn's default, RFC 9002's too: the guess until the first round trip is measured.
        .initial_rtt(Duration::from_millis(333))
        // quinn's default, RFC 9002's too: after this many timeouts in a row it starts from the smallest window again.
        .persistent_congestion_threshold(3)
        // quinn's default: BBR draws from a source of chance that no seed reaches, so no run could be repeated.
        .congestion_controller_factory(Arc::new(ProbedCubic::default()));
}

/// How long a connection may be silent. Well below the stability period, so that one that has died in silence can still
/// be replaced in time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(8);

/// How often an idle node shows that it is there: several times within the time-out, since a packet may be lost.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
