//! A socket that says who knocks. quinn silently drops a datagram that belongs to no connection. An operator who looks
//! for the source of stray traffic needs its address, so this looks at each datagram's first byte on the way in.
//!
//! It drops nothing: quinn decides what a datagram means. At most one line a second is logged.

use std::collections::BTreeSet;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::address::canonical;
use super::line::Line;

/// Knows which addresses may send what.
#[derive(Debug)]
pub(crate) struct Doorman {
    node: rexi_proto::NodeName,
    /// Members and connected peers: what they send late, to a connection that has ended, is not news. Each in the one
    /// form of its address: a socket for both families shows IPv4 in another than the members are given in.
    known: RwLock<BTreeSet<SocketAddr>>,
    strays: AtomicU64,
    line: Line<1>,
}

impl Doorman {
    pub(crate) fn new(node: rexi_proto::NodeName, members: impl IntoIterator<Item = SocketAddr>) -> Self {
        let known = RwLock::new(members.into_iter().map(canonical).collect());
        Self { node, known, strays: AtomicU64::new(0), line: Line::default() }
    }

    /// Puts itself before `socket`.
    pub(crate) fn guard(self: &Arc<Self>, socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(Guarded { socket, doorman: Arc::clone(self) })
    }

    /// A connection from this address has shown who it is.
    pub(crate) fn admit(&self, address: SocketAddr) {
        self.known.write().expect("nothing panics while it holds the addresses").insert(canonical(address));
    }

    /// Nobody known is at this address any longer.
    pub(crate) fn dismiss(&self, address: SocketAddr) {
        self.known.write().expect("nothing panics while it holds the addresses").remove(&canonical(address));
    }

    /// Whether a member or a connected peer is at this address.
    pub(crate) fn knows(&self, address: SocketAddr) -> bool {
        self.known.read().expect("nothing panics while it holds the addresses").contains(&canonical(address))
    }

    /// Datagrams so far that belonged to nobody.
    pub(crate) fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }

    fn look_at(&self, datagram: &[u8], from: SocketAddr) {
        let Some(oddity) = oddity(datagram) else { return };
        if self.knows(from) {
            return;
        }
        let from = canonical(from);
        let strays = self.strays.fetch_add(1, Ordering::Relaxed) + 1;
        if self.line.next().is_some() {
            let bytes = datagram.len();
            tracing::warn!(node = %self.node, address = %from, bytes, strays, "dropped a datagram: {oddity}");
        }
    }
}

/// What is odd about a datagram from an address that no connection is known from, if anything (RFC 9000 §17).
fn oddity(datagram: &[u8]) -> Option<&'static str> {
    match datagram {
        [] => Some("it is empty"),
        [first, ..] if first & LONG_HEADER == 0 => Some("it is not a QUIC handshake, and belongs to no connection"),
        [_, 0, 0, 0, 1, ..] if datagram.len() < INITIAL_BYTES_MIN => Some("it is too short for a QUIC handshake"),
        [_, 0, 0, 0, 0 | 1, ..] => None,
        _ => Some("its QUIC version is not 1"),
    }
}

#[derive(Debug)]
struct Guarded {
    socket: Arc<dyn AsyncUdpSocket>,
    doorman: Arc<Doorman>,
}

impl AsyncUdpSocket for Guarded {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.socket.poll_recv(cx, bufs, meta))?;
        for (buf, meta) in bufs.iter().zip(meta.iter()).take(received) {
            // Datagrams that the system has joined come from one sender and are of one kind, so the first will do.
            let first = meta.len.min(meta.stride);
            self.doorman.look_at(&buf[..first], meta.addr);
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// The bit that every packet of a handshake has.
const LONG_HEADER: u8 = 0x80;

/// Bytes of the shortest datagram that may open a connection (RFC 9000 §14.1).
const INITIAL_BYTES_MIN: usize = 1_200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_open_a_connection_is_nothing_odd() {
        let initial = [&[0xc0, 0, 0, 0, 1][..], &[0; 1195]].concat();
        assert_eq!(oddity(&initial), None);
        assert_eq!(oddity(&initial[..1199]), Some("it is too short for a QUIC handshake"));
        assert!(oddity(b"GET / HTTP/1.1").is_some());
        assert!(oddity(&[]).is_some());
        assert!(oddity(&[0xff; 1200]).is_some());
    }

    #[test]
    fn who_is_known_by_its_ipv4_address_is_no_stranger_where_the_socket_is_for_both_families() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let forms = ["127.0.0.1:4002", "[::ffff:127.0.0.1]:4002"].map(address);
        for (given, seen) in [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(given, seen)| (forms[given], forms[seen])) {
            let node = rexi_proto::NodeName::new("n1").expect("a name");
            let doorman = Doorman::new(node, [given]);
            doorman.look_at(b"late", seen);
            doorman.look_at(b"late", address("[::ffff:127.0.0.1]:4003"));
            assert_eq!(doorman.strays(), 1, "{given} {seen}");
            doorman.dismiss(seen);
            doorman.look_at(b"late", given);
            assert_eq!(doorman.strays(), 2, "{given} {seen}");
            doorman.admit(seen);
            doorman.look_at(b"late", given);
            assert_eq!(doorman.strays(), 2, "{given} {seen}");
        }
    }
}
