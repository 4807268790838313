//! A UDP network in memory: sockets of quinn's kind whose datagrams wait for their time in the receiver's queue.
//!
//! Time is tokio's, so a paused clock jumps from one arrival to the next. There is no task and no thread: a socket that
//! is read sets a timer for its earliest datagram, and the sender wakes the reader. Links have verdicts, which the
//! addresses of sender and receiver select.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, Sleep};

/// The network. Clones are the same one.
#[derive(Clone)]
pub(super) struct Network {
    state: Arc<Mutex<State>>,
}

struct State {
    sockets: BTreeMap<SocketAddr, Inbox>,
    /// One direction each; what is not here is as [`Link::default`].
    links: BTreeMap<(IpAddr, IpAddr), Link>,
    /// Decides what is lost, comes twice and is overtaken.
    rng: StdRng,
    /// Is shown each datagram that is sent.
    observer: Option<Box<Observer>>,
    /// Datagrams and sockets so far: the order of what arrives at once, and which socket an address is of.
    count: u64,
}

/// One direction between two hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Link {
    pub(super) cut: bool,
    pub(super) delay: Duration,
    /// What is added to the delay at most, drawn for each datagram, so that one overtakes another.
    pub(super) jitter: Duration,
    /// The probability with which a datagram is lost.
    pub(super) loss: f64,
    /// The probability with which it comes twice.
    pub(super) twice: f64,
}

impl Default for Link {
    fn default() -> Self {
        Self { cut: false, delay: DELAY, jitter: Duration::ZERO, loss: 0.0, twice: 0.0 }
    }
}

/// A datagram as it is sent, as [`TestCluster::observe`](super::TestCluster::observe) shows it. One that comes twice is
/// shown twice.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// When it is sent, on tokio's clock.
    pub at: Instant,
    /// The sender's address.
    pub from: SocketAddr,
    /// Whom it is for.
    pub to: SocketAddr,
    /// What is in it.
    pub bytes: &'a [u8],
    /// When it will arrive, unless its link is cut by then; `None` where it is lost.
    pub arrives: Option<Instant>,
}

/// What is shown each datagram.
pub(super) type Observer = dyn FnMut(&Datagram<'_>) + Send;

/// What an open socket has to read, by arrival.
struct Inbox {
    socket: u64,
    queue: BTreeMap<(Instant, u64), Waiting>,
    reader: Option<Waker>,
}

/// A datagram on its way.
struct Waiting {
    from: SocketAddr,
    ecn: Option<EcnCodepoint>,
    bytes: Box<[u8]>,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let (sockets, links, rng) = (BTreeMap::new(), BTreeMap::new(), StdRng::seed_from_u64(seed));
        Self { state: Arc::new(Mutex::new(State { sockets, links, rng, observer: None, count: 0 })) }
    }

    /// Shows each datagram from now on, in place of an earlier observer.
    pub(super) fn observe(&self, observer: Box<Observer>) {
        self.lock().observer = Some(observer);
    }

    /// Opens a socket; port 0 is a free one.
    ///
    /// # Errors
    /// As the system's: the address is in use.
    pub(super) fn open(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let mut state = self.lock();
        let mut address = address;
        if address.port() == 0 {
            let is_free = |port: &u16| !state.sockets.contains_key(&SocketAddr::new(address.ip(), *port));
            address.set_port(FREE_PORTS.into_iter().find(is_free).ok_or(io::ErrorKind::AddrNotAvailable)?);
        }
        if state.sockets.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = state.next();
        state.sockets.insert(address, Inbox { socket: id, queue: BTreeMap::new(), reader: None });
        Ok(Arc::new(Socket { network: self.clone(), address, id, timer: Mutex::default() }))
    }

    /// Closes the socket at that address, whoever holds it: it sends and receives nothing more, the address is free.
    pub(super) fn close(&self, address: SocketAddr) {
        let closed = self.lock().sockets.remove(&address);
        // Not under the lock: the reader may be the last to hold a socket.
        drop(closed);
    }

    /// Changes one direction between two hosts.
    pub(super) fn change(&self, from: IpAddr, to: IpAddr, change: impl FnOnce(&mut Link)) {
        change(self.lock().links.entry((from, to)).or_default());
    }

    /// Makes all links as they were at first.
    pub(super) fn heal_all(&self) {
        self.lock().links.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the network")
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn link(&self, from: SocketAddr, to: SocketAddr) -> Link {
        self.links.get(&(from.ip(), to.ip())).copied().unwrap_or_default()
    }

    /// Puts one datagram on its way, twice or not at all. Returns the reader to wake.
    fn send(&mut self, from: SocketAddr, to: SocketAddr, ecn: Option<EcnCodepoint>, bytes: &[u8]) -> Option<Waker> {
        let link = self.link(from, to);
        let lost = link.cut || bytes.len() > DATAGRAM_BYTES_MAX || (link.loss > 0.0 && self.rng.random_bool(link.loss));
        let copies = if !lost && link.twice > 0.0 && self.rng.random_bool(link.twice) { 2 } else { 1 };
        let at = Instant::now();
        for _ in 0..copies {
            let number = self.next();
            let delay = link.delay + self.jitter(link.jitter);
            let room = self.sockets.get(&to).is_some_and(|inbox| inbox.queue.len() < QUEUE_LENGTH_MAX);
            let arrives = at.checked_add(delay).filter(|_| room && !lost);
            if let Some(observer) = &mut self.observer {
                observer(&Datagram { at, from, to, bytes, arrives });
            }
            if let (Some(arrives), Some(inbox)) = (arrives, self.sockets.get_mut(&to)) {
                inbox.queue.insert((arrives, number), Waiting { from, ecn, bytes: bytes.into() });
            }
        }
        self.sockets.get_mut(&to).filter(|_| !lost)?.reader.take()
    }

    /// In whole milliseconds, which is what tokio's timers tell apart. Draws only where there is something to draw.
    fn jitter(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        if most == 0 { Duration::ZERO } else { Duration::from_millis(self.rng.random_range(0..=most)) }
    }

    /// The socket's next datagram that has arrived by `now`. What is on its way when its link is cut is lost.
    fn arrived(&mut self, to: SocketAddr, now: Instant) -> Option<Waiting> {
        loop {
            let entry = self.sockets.get_mut(&to)?.queue.first_entry()?;
            if entry.key().0 > now {
                return None;
            }
            let datagram = entry.remove();
            if !self.link(datagram.from, to).cut {
                return Some(datagram);
            }
        }
    }
}

/// One socket. It is closed when it is dropped, or by the network.
struct Socket {
    network: Network,
    address: SocketAddr,
    id: u64,
    timer: Mutex<Option<Pin<Box<Sleep>>>>,
}

impl Socket {
    /// Reads what has arrived by `now`, or says when the next is due. The reader is kept first, so that what is sent
    /// from here on wakes it.
    fn read(
        &self,
        cx: &Context<'_>,
        now: Instant,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Result<usize, Option<Instant>> {
        let mut state = self.network.lock();
        let earlier = {
            let inbox = state.inbox(self).ok_or(None)?;
            inbox.reader.replace(cx.waker().clone())
        };
        let mut read = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some(datagram) = state.arrived(self.address, now) else { break };
            // What the reader has no room for is cut off, as the system does it.
            let len = datagram.bytes.len().min(buf.len());
            buf[..len].copy_from_slice(&datagram.bytes[..len]);
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (datagram.from, len, len);
            (meta.ecn, meta.dst_ip) = (datagram.ecn, Some(self.address.ip()));
            read += 1;
        }
        let due = state.inbox(self).and_then(|inbox| inbox.queue.first_key_value()).map(|(&(at, _), _)| at);
        drop(state);
        // Not under the lock, since it may be the last to hold a task, and that to hold a socket.
        drop(earlier);
        if read > 0 { Ok(read) } else { Err(due) }
    }
}

impl State {
    /// `None`: another socket, or none, has the address now.
    fn inbox(&mut self, socket: &Socket) -> Option<&mut Inbox> {
        self.sockets.get_mut(&socket.address).filter(|inbox| inbox.socket == socket.id)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut state = self.network.lock();
        let is_open = state.inbox(self).is_some();
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        let mut reader = None;
        for bytes in transmit.contents.chunks(segment).filter(|_| is_open) {
            let woken = state.send(self.address, transmit.destination, transmit.ecn, bytes);
            reader = reader.or(woken);
        }
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut now = Instant::now();
        loop {
            let due = match self.read(cx, now, bufs, meta) {
                Ok(read) => return Poll::Ready(Ok(read)),
                Err(due) => due,
            };
            let mut timer = self.timer.lock().expect("nothing panics while it holds a timer");
            let Some(due) = due else {
                *timer = None;
                return Poll::Pending;
            };
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            timer.as_mut().reset(due);
            ready!(timer.as_mut().poll(cx));
            // tokio's timers have the resolution of a millisecond, and may be that early or late.
            now = Instant::now().max(due);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let closed = {
            let mut state = self.network.lock();
            if state.inbox(self).is_some() { state.sockets.remove(&self.address) } else { None }
        };
        drop(closed);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.address).finish()
    }
}

/// A full queue loses datagrams; it makes nobody wait.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How long a datagram takes, unless a link is slow.
const DELAY: Duration = Duration::from_millis(1);

/// Datagrams on their way to one socket: 6 MB of full ones, a little more than a node's real buffer.
const QUEUE_LENGTH_MAX: usize = 4_096;

/// Bytes of a datagram that fit into an Ethernet frame with IPv4. Longer ones are lost, as they must not be split.
const DATAGRAM_BYTES_MAX: usize = 1_472;

/// Ports for those who ask for any.
const FREE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

#[cfg(test)]
mod tests;
