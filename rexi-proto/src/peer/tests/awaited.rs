//! What tasks wait for: bytes to write, room for a cast, the coming and going of the peer.

use super::*;

fn awaited(peer: &mut Peer<u32>) -> Vec<Output<u32>> {
    std::iter::from_fn(|| peer.poll_output()).filter(is_awaited).collect()
}

fn take(peer: &mut Peer<u32>) -> usize {
    let mut out = BytesMut::new();
    peer.take_outgoing(SECOND, peer.connection(), &mut out).expect("it is connected");
    out.len()
}

fn connect(peer: &mut Peer<u32>, life: Incarnation) {
    peer.handle_connected(SECOND, Session { incarnation: life, ..session(WireVersion::V3) });
}

#[test]
fn the_writer_is_woken_by_whatever_is_encoded_and_by_nothing_else() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    awaited(&mut peer);
    cast(&mut peer, SECOND, 1);
    cast(&mut peer, SECOND, 2);
    assert_eq!(awaited(&mut peer), [Output::Writable], "once for all that came together");
    peer.monitor(MonitorRef(1), 1);
    assert_eq!(awaited(&mut peer), [Output::Writable], "control frames are bytes as well");
    assert!(take(&mut peer) > 0);
    assert_eq!((take(&mut peer), awaited(&mut peer)), (0, vec![Output::Room]));
    disconnect(&mut peer, SECOND);
    cast(&mut peer, SECOND, 3);
    assert_eq!(awaited(&mut peer), [Output::Presence(Some(LIFE), None)], "the cast waits");
    connect(&mut peer, LIFE);
    assert!(awaited(&mut peer).contains(&Output::Writable));
}

#[test]
fn room_is_said_once_all_that_waited_is_encoded() {
    let frame = 30;
    let mut peer = peer(Phase::Remove, Limits { unwritten_bytes_max: frame, ..Limits::default() });
    connect(&mut peer, LIFE);
    assert_eq!(awaited(&mut peer), [Output::Presence(None, Some(LIFE)), Output::Room], "a cast had to wait before");
    for call in 1..=3 {
        peer.cast(SECOND, request(call, vec![7; frame].into()), call as u32).expect("it is taken");
    }
    assert_eq!((peer.is_clear(), peer.stats().buffered, peer.stats().waited), (false, 2, 2));
    assert_eq!(awaited(&mut peer), [Output::Writable]);
    for buffered in [1, 0] {
        assert!(take(&mut peer) > frame);
        assert_eq!((awaited(&mut peer), peer.stats().buffered), (vec![Output::Writable], buffered), "no room yet");
    }
    assert!(take(&mut peer) > frame);
    assert_eq!((awaited(&mut peer), peer.is_clear()), (vec![Output::Room], true));
    cast(&mut peer, SECOND, 4);
    assert_eq!(peer.stats().waited, 2, "there was room");
}

#[test]
fn room_is_said_once_a_large_payload_is_sent() {
    let bytes = 1 << 16;
    let limits = Limits { buffered_bytes_max: bytes, inline_bytes_max: 16, ..Limits::default() };
    let mut peer = peer(Phase::Remove, limits);
    connect(&mut peer, LIFE);
    peer.cast(SECOND, request(1, vec![7; bytes].into()), 1).expect("it is taken");
    awaited(&mut peer);
    take(&mut peer);
    assert_eq!((awaited(&mut peer), peer.is_clear()), (vec![], false));
    peer.handle_bulk_sent(SECOND, peer.connection(), bytes);
    assert_eq!((awaited(&mut peer), peer.is_clear()), (vec![Output::Room], true));
}

#[test]
fn those_who_wait_for_room_go_on_where_casts_are_answered_at_once() {
    let ends: [fn(&mut Peer<u32>); 3] = [
        |peer| peer.handle_timeout(1_000 * SECOND),
        |peer| peer.handle_refused(SECOND, LIFE, refusal(true)),
        Peer::stop,
    ];
    for end in ends {
        let mut peer = peer(Phase::Remove, Limits::default());
        end(&mut peer);
        assert_eq!((awaited(&mut peer), peer.is_clear()), (vec![Output::Presence(None, None), Output::Room], true));
    }
    let mut peer = peer(Phase::Remove, Limits { unwritten_bytes_max: 1, ..Limits::default() });
    connect(&mut peer, LIFE);
    cast(&mut peer, SECOND, 1);
    awaited(&mut peer);
    assert!(!peer.is_clear());
    receive(&mut peer, SECOND, &Message::Draining);
    assert_eq!((awaited(&mut peer), peer.is_clear()), (vec![Output::Room], true));
}

#[test]
fn the_life_that_is_connected_is_told_whenever_it_may_be_another() {
    let mut peer = peer(Phase::Remove, Limits::default());
    let mut told = |change: &dyn Fn(&mut Peer<u32>)| {
        change(&mut peer);
        let told = awaited(&mut peer).into_iter().filter_map(|output| match output {
            Output::Presence(before, now) => Some((before, now)),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let next = Incarnation(LIFE.0 + 1);
    assert_eq!(told(&|peer| connect(peer, LIFE)), [(None, Some(LIFE))]);
    assert_eq!(told(&|peer| connect(peer, LIFE)), [(Some(LIFE), Some(LIFE))], "another connection");
    assert_eq!(told(&|peer| connect(peer, next)), [(Some(LIFE), Some(next))], "nobody noticed the gap");
    assert_eq!(told(&|peer| disconnect(peer, SECOND)), [(Some(next), None)]);
    assert_eq!(told(&|peer| disconnect(peer, SECOND)), [], "it was not connected");
    assert_eq!(told(&|peer| peer.handle_timeout(SECOND)), [], "its time has not come");
    assert_eq!(told(&|peer| peer.handle_timeout(1_000 * SECOND)), [(None, None)], "it is given up");
    assert_eq!(told(&|peer| peer.handle_refused(SECOND, next, refusal(true))), [(None, None)]);
}
