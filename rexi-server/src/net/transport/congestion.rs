//! How fast a connection sends: Cubic, which lets a probe pass where the node asks for one.
//!
//! While a link is cut, what was sent fills the congestion window, and QUIC tries again after times that double. Once
//! the link is whole, both ends may so wait for as long as it was cut. A probe does not wait for the window; whoever
//! hears it acknowledges it, and what was lost is sent again.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn::{Connection, VarInt};
use quinn_proto::RttEstimator;
use rexi_proto::Limits;

use super::per_connection::receive_window;

/// How a connection gets on.
pub(crate) struct Progress<'a> {
    connection: &'a Connection,
    receive_window: VarInt,
    signals: Arc<Signals>,
}

impl<'a> Progress<'a> {
    /// Of a connection of a node with these limits.
    pub(crate) fn of(connection: &'a Connection, limits: &Limits) -> Self {
        let controller = connection.congestion_state().into_any();
        let probed = controller.downcast::<Probed>().expect("each connection has one");
        Self { connection, receive_window: receive_window(limits), signals: probed.signals }
    }

    /// How many packets that the peer had to acknowledge it has.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.signals.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether others were on their way when it had the last of them.
    pub(crate) fn waited(&self) -> bool {
        self.signals.in_flight.load(Ordering::Relaxed) > 0
    }

    /// How many frames were sent that the peer has to acknowledge. Not all kinds: others go along with these, or are
    /// answered by something else.
    pub(crate) fn said(&self) -> u64 {
        let sent = self.connection.stats().frame_tx;
        sent.stream + sent.ping + sent.max_data
    }

    /// Sends at once what the peer has to acknowledge, whatever the congestion window is: what waits to be sent, up to
    /// ten packets, and something in any case.
    pub(crate) fn probe(&self) {
        self.signals.probes.store(true, Ordering::Relaxed);
        // quinn has no ping. A window that grows by a byte is announced, whether or not it shrinks again.
        let wider = VarInt::from_u64(self.receive_window.into_inner() + 1).expect("it is far below the largest");
        self.connection.set_receive_window(wider);
        self.connection.set_receive_window(self.receive_window);
    }
}

/// Builds a [`Probed`] for each connection.
#[derive(Default)]
pub(super) struct ProbedCubic(Arc<CubicConfig>);

impl ControllerFactory for ProbedCubic {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Arc::clone(&self.0).build(now, current_mtu);
        Box::new(Probed { cubic, signals: Arc::default() })
    }
}

struct Probed {
    cubic: Box<dyn Controller>,
    signals: Arc<Signals>,
}

/// Of a connection's controller and the copies that quinn gives out of it.
#[derive(Default)]
struct Signals {
    /// What is sent next passes the window.
    probes: AtomicBool,
    acknowledged: AtomicU64,
    /// Bytes, after the last acknowledgement.
    in_flight: AtomicU64,
}

impl Controller for Probed {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.signals.probes.store(false, Ordering::Relaxed);
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.signals.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.signals.in_flight.store(in_flight, Ordering::Relaxed);
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        // quinn paces no window of this size.
        if self.signals.probes.load(Ordering::Relaxed) { u64::MAX } else { self.cubic.window() }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.cubic.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { cubic: self.cubic.clone_box(), signals: Arc::clone(&self.signals) })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
