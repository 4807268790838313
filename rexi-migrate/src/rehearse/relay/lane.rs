//! One lane: the datagrams from one node to another, each passed on, put off or thrown away.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::Carried;
use super::weather::{Fate, Fates, Weather};

/// What a lane shares with who sets its weather.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) weather: Mutex<Weather>,
    passed: AtomicU64,
    dropped: AtomicU64,
}

impl Traffic {
    pub(super) fn carried(&self) -> Carried {
        Carried { passed: self.passed.load(Ordering::Acquire), dropped: self.dropped.load(Ordering::Acquire) }
    }
}

/// When a datagram is due, its number, and its bytes.
type Waiting = (Instant, u64, Box<[u8]>);

/// A lane under way.
pub(super) struct Lane {
    /// Where the sender finds the receiver.
    inward: Arc<UdpSocket>,
    /// Where the receiver finds the sender.
    outward: Arc<UdpSocket>,
    from: SocketAddr,
    to: SocketAddr,
    traffic: Arc<Traffic>,
    fates: Fates,
    /// Datagrams that are put off, the next first; of one time, in their order.
    waiting: BinaryHeap<Reverse<Waiting>>,
    next: u64,
}

impl Lane {
    pub(super) fn new(
        (inward, outward): (Arc<UdpSocket>, Arc<UdpSocket>),
        (from, to): (SocketAddr, SocketAddr),
        traffic: Arc<Traffic>,
        seed: u64,
    ) -> Self {
        Self { inward, outward, from, to, traffic, fates: Fates::new(seed), waiting: BinaryHeap::new(), next: 0 }
    }

    /// Carries until its task is dropped.
    pub(super) async fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let due = self.waiting.peek().map(|Reverse((at, ..))| *at);
            tokio::select! {
                received = self.inward.recv_from(&mut buffer) => match received {
                    Ok((bytes, from)) if from == self.from => self.take(&buffer[..bytes]).await,
                    // From a stranger, whom a node would not know either; or an error, of which the next read tells.
                    _ => tokio::task::yield_now().await,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.send_due().await,
            }
        }
    }

    async fn take(&mut self, datagram: &[u8]) {
        let weather = *self.traffic.weather.lock().unwrap_or_else(PoisonError::into_inner);
        match self.fates.draw(weather) {
            Fate::Pass => self.send(datagram).await,
            Fate::Wait(time) if self.waiting.len() < WAITING_MAX => {
                self.next += 1;
                self.waiting.push(Reverse((Instant::now() + time, self.next, datagram.into())));
            }
            Fate::Wait(_) | Fate::Drop => _ = self.traffic.dropped.fetch_add(1, Ordering::Release),
        }
    }

    async fn send_due(&mut self) {
        let now = Instant::now();
        while self.waiting.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((.., datagram))) = self.waiting.pop() else { return };
            self.send(&datagram).await;
        }
    }

    async fn send(&self, datagram: &[u8]) {
        // Fails for a node that is down, as it would without a relay: nobody hears it.
        let _ = self.outward.send_to(datagram, self.to).await;
        self.traffic.passed.fetch_add(1, Ordering::Release);
    }
}

/// The longest datagram, in bytes.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// How many datagrams a lane puts off at most: a tenth of a second of more than any load here sends.
const WAITING_MAX: usize = 4_096;
