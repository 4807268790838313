//! A relay between the nodes of a rehearsal: UDP over loopback, whose links can be cut, lossy or slow.
//!
//! In: where the nodes listen, a seed, and the [`Weather`] of each direction of each link. Out: for every ordered pair
//! an address, at which the one node finds the other; what the other sends back comes from that same address, so each
//! sees its peers as it would without a relay. `relay/lane.rs` carries the datagrams of one direction. It runs in a
//! thread of its own, so that nothing else of the run delays them.

mod lane;
mod weather;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use lane::{Lane, Traffic};

pub use weather::Weather;

/// A running relay. It ends when this is dropped.
#[derive(Debug)]
pub struct Relay {
    /// By who looks, then by who is looked at: where a node finds the others, and at its own place itself.
    views: Vec<Vec<SocketAddr>>,
    /// By sender, then by receiver.
    traffic: Vec<Vec<Arc<Traffic>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Datagrams that a lane had, as far as it has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Passed on.
    pub passed: u64,
    /// Thrown away, on purpose.
    pub dropped: u64,
}

impl Relay {
    /// Stands between these nodes; each link is clear. What it drops follows from the seed and the order of the
    /// datagrams.
    ///
    /// # Errors
    /// The environment gives no sockets or no thread.
    pub fn start(nodes: &[SocketAddr], seed: u64) -> io::Result<Self> {
        let places = 0..nodes.len();
        let mut sockets = Vec::new();
        for who in places.clone() {
            let seen = places.clone().map(|whom| if who == whom { Ok(None) } else { socket().map(Some) });
            sockets.push(seen.collect::<io::Result<Vec<_>>>()?);
        }
        let mut views = Vec::new();
        for (who, seen) in sockets.iter().enumerate() {
            let address = |socket: &Option<StdSocket>| socket.as_ref().map_or(Ok(nodes[who]), StdSocket::local_addr);
            views.push(seen.iter().map(address).collect::<io::Result<Vec<_>>>()?);
        }
        let traffic: Vec<Vec<Arc<Traffic>>> =
            places.clone().map(|_| places.clone().map(|_| Arc::default()).collect()).collect();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (of_lanes, addresses) = (traffic.clone(), nodes.to_vec());
        let carry = move || runtime.block_on(carry(sockets, &addresses, &of_lanes, seed, stopped));
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(carry)?;
        Ok(Self { views, traffic, stop: Some(stop), thread: Some(thread) })
    }

    /// Where a node finds each of the others, in the order of their numbers; at its own place itself.
    pub fn seen_by(&self, node: usize) -> &[SocketAddr] {
        &self.views[node]
    }

    /// From now on the datagrams from one node to another meet this weather.
    pub fn set(&self, from: usize, to: usize, weather: Weather) {
        *self.traffic[from][to].weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// What became of the datagrams from one node to another.
    pub fn carried(&self, from: usize, to: usize) -> Carried {
        self.traffic[from][to].carried()
    }

    /// What became of all datagrams.
    pub fn carried_in_all(&self) -> Carried {
        self.traffic.iter().flatten().map(|lane| lane.carried()).fold(Carried::default(), |sum, lane| Carried {
            passed: sum.passed + lane.passed,
            dropped: sum.dropped + lane.dropped,
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that has panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

fn socket() -> io::Result<StdSocket> {
    let socket = StdSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Carries all lanes until it is stopped.
async fn carry(
    sockets: Vec<Vec<Option<StdSocket>>>,
    nodes: &[SocketAddr],
    traffic: &[Vec<Arc<Traffic>>],
    seed: u64,
    stopped: oneshot::Receiver<()>,
) {
    let shared = |socket: Option<StdSocket>| socket.and_then(|it| UdpSocket::from_std(it).ok()).map(Arc::new);
    let sockets: Vec<Vec<Option<Arc<UdpSocket>>>> =
        sockets.into_iter().map(|seen| seen.into_iter().map(shared).collect()).collect();
    for (from, seen) in sockets.iter().enumerate() {
        for (to, inward) in seen.iter().enumerate() {
            // What a node sends to another comes in where it finds that one, and goes out where that one finds it.
            let (Some(inward), Some(outward)) = (inward, &sockets[to][from]) else { continue };
            let ends = (nodes[from], nodes[to]);
            let number = (from * nodes.len() + to) as u64;
            let sockets = (Arc::clone(inward), Arc::clone(outward));
            tokio::spawn(Lane::new(sockets, ends, Arc::clone(&traffic[from][to]), seed ^ (number << 32)).run());
        }
    }
    // Ends with an error, when the other end is dropped.
    let _ = stopped.await;
}

#[cfg(test)]
mod tests;
