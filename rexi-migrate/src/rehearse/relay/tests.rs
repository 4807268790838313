//! Two ends of a relay that send each other datagrams, over real sockets. Nothing here depends on how long it takes.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use super::{Carried, Relay, Weather};

/// Two ends, and the relay between them.
struct Pair {
    ends: [UdpSocket; 2],
    relay: Relay,
}

impl Pair {
    fn new(seed: u64) -> Self {
        eprintln!("seed {seed}");
        let ends = [0, 1].map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket"));
        let addresses: Vec<SocketAddr> = ends.iter().map(|end| end.local_addr().expect("an address")).collect();
        Self { ends, relay: Relay::start(&addresses, seed).expect("a relay") }
    }

    fn send(&self, from: usize, number: u16) {
        let to = self.relay.seen_by(from)[1 - from];
        self.ends[from].send_to(&number.to_be_bytes(), to).expect("sent");
    }

    /// The next datagram of the other end, which must come from where this end finds it.
    fn receive(&self, at: usize) -> u16 {
        let mut bytes = [0; 2];
        let (_, from) = self.ends[at].recv_from(&mut bytes).expect("a datagram");
        assert_eq!(from, self.relay.seen_by(at)[1 - at]);
        u16::from_be_bytes(bytes)
    }

    /// Waits until the lane has dealt with so many datagrams in all.
    fn carried(&self, from: usize, all: u64) -> Carried {
        loop {
            let carried = self.relay.carried(from, 1 - from);
            if carried.passed + carried.dropped == all {
                return carried;
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn each_end_sees_the_other_at_one_address_and_what_is_sent_arrives_in_order() {
    let pair = Pair::new(1);
    assert_eq!(pair.relay.seen_by(0)[0], pair.ends[0].local_addr().expect("an address"));
    for number in 0..20 {
        pair.send(0, number);
        assert_eq!(pair.receive(1), number);
        pair.send(1, number + 100);
        assert_eq!(pair.receive(0), number + 100);
    }
    assert_eq!(pair.carried(0, 20), Carried { passed: 20, dropped: 0 });
}

#[test]
fn nothing_passes_a_cut_and_all_does_once_it_is_healed_and_the_way_back_is_another_lane() {
    let pair = Pair::new(2);
    pair.relay.set(0, 1, Weather { cut: true, ..Weather::default() });
    for number in 0..20 {
        pair.send(0, number);
    }
    assert_eq!(pair.carried(0, 20), Carried { passed: 0, dropped: 20 });
    pair.send(1, 7);
    assert_eq!(pair.receive(0), 7);
    pair.relay.set(0, 1, Weather::default());
    pair.send(0, 99);
    assert_eq!(pair.receive(1), 99, "the first that arrives was sent behind the cut");
    assert_eq!(pair.carried(0, 21), Carried { passed: 1, dropped: 20 });
    assert_eq!(pair.carried(1, 1), Carried { passed: 1, dropped: 0 });
    assert_eq!(pair.relay.carried_in_all(), Carried { passed: 2, dropped: 20 });
}

#[test]
fn a_share_is_lost_and_a_seed_loses_the_same() {
    let lost = |seed| {
        let pair = Pair::new(seed);
        pair.relay.set(0, 1, Weather { loss_per_mille: 300, ..Weather::default() });
        // One at a time, so that no buffer of the system loses any.
        let passed = |number: u16| {
            let before = pair.relay.carried(0, 1).passed;
            pair.send(0, number);
            pair.carried(0, u64::from(number) + 1).passed > before
        };
        let which: Vec<bool> = (0..200).map(passed).collect();
        let dropped = pair.relay.carried(0, 1).dropped;
        assert!((30..90).contains(&dropped), "seed {seed}: {dropped}");
        which
    };
    assert_eq!(lost(3), lost(3));
    assert_ne!(lost(3), lost(4));
}

#[test]
fn what_is_put_off_arrives_and_may_be_overtaken() {
    let pair = Pair::new(5);
    let jitter = std::time::Duration::from_millis(20);
    pair.relay.set(0, 1, Weather { jitter, ..Weather::default() });
    for number in 0..50 {
        pair.send(0, number);
    }
    let mut came: Vec<u16> = (0..50).map(|_| pair.receive(1)).collect();
    assert!(!came.is_sorted(), "seed 5: {came:?}");
    came.sort_unstable();
    assert_eq!(came, (0..50).collect::<Vec<_>>());
}
