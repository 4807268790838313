//! What comes late from a connection that was replaced: each input that names a connection, and each frame, is passed
//! over. So is a refusal of an earlier life.

use super::*;
use crate::compat::{ROWS, emitted};
use crate::message::{Response, Sent};

/// What the core is told of a connection, and how that is said of one of this number.
type Word = (&'static str, fn(&mut Peer<u32>, ConnectionId));

/// Every input that names a connection.
const WORDS: [Word; 8] = [
    ("handle_bytes", |peer, connection| peer.handle_bytes(SECOND, connection, &[2, 0, 0, 0, V2 | 45, 0])),
    ("handle_bulk", |peer, connection| peer.handle_bulk(SECOND, connection, FRAME_WAITS, Bytes::from_static(b"old"))),
    ("handle_disconnected", |peer, connection| peer.handle_disconnected(SECOND, connection)),
    ("handle_departed", |peer, connection| peer.handle_departed(SECOND, connection)),
    ("take_outgoing", |peer, connection| drop(peer.take_outgoing(SECOND, connection, &mut BytesMut::new()))),
    ("handle_bulk_sent", |peer, connection| peer.handle_bulk_sent(SECOND, connection, 1)),
    ("answer_lost", |peer, connection| {
        peer.answer_lost(Caller { peer: PEER, incarnation: LIFE }, connection, CallRef(1));
    }),
    // It changes nothing; what it says is that of the connection in use.
    ("awaits_frame", |peer, connection| {
        if peer.awaits_frame(connection, PAYLOAD_WAITS) {
            peer.stray_answers += 1;
        }
    }),
];

/// A payload whose frame has come, and one whose frame has not.
const FRAME_WAITS: BulkId = BulkId(0);
const PAYLOAD_WAITS: BulkId = BulkId(1);

/// A peer on its second connection, which is in the middle of everything, and the number of the first.
fn replaced() -> (Peer<u32>, ConnectionId) {
    let limits = Limits { inline_bytes_max: 4, ..Limits::default() };
    let mut peer = peer(Phase::Switch, limits);
    let old = peer.handle_connected(Duration::ZERO, session(WireVersion::V2));
    cast(&mut peer, SECOND, 5);
    sent(&mut peer);
    peer.handle_connected(SECOND, session(WireVersion::V2));
    sent(&mut peer);
    let waits = Cast {
        call: CallRef(1),
        function: "f".into(),
        time_left: None,
        nonce: 0,
        trace: None,
        body: Body::Bulk(FRAME_WAITS, 3),
    };
    receive(&mut peer, SECOND, &Message::Cast(ServerAddress::PerNode, waits));
    peer.handle_bulk(SECOND, peer.connection(), PAYLOAD_WAITS, Bytes::from_static(b"new"));
    receive(&mut peer, SECOND, &Message::StreamInit(CallRef(5)));
    assert!(peer.start_stream(CallRef(5)), "its job asks for a stream");
    peer.monitor(MonitorRef(7), 70);
    receive(&mut peer, SECOND, &Message::Monitor(ServerAddress::PerNode, MonitorRef(8)));
    let response = peer.respond(SECOND, CallRef(5), 0, Bytes::from_static(b"large"));
    assert!(response && peer.wants_write(), "frames and a payload wait for the writer");
    outputs(&mut peer);
    (peer, old)
}

#[test]
fn what_an_old_connection_says_changes_nothing_and_the_same_of_the_new_one_does() {
    for (name, say) in WORDS {
        let (mut peer, old) = replaced();
        let before = peer.clone();
        say(&mut peer, old);
        assert_eq!(std::mem::take(&mut peer.late_payloads), u64::from(name == "handle_bulk"), "only that is counted");
        assert_eq!(peer, before, "{name}, of the old connection");
        say(&mut peer, before.connection());
        assert_ne!(peer, before, "{name}, of the new connection");
    }
}

#[test]
fn every_input_that_names_a_connection_is_among_the_words() {
    let sources = [include_str!("../mod.rs"), include_str!("../inbound.rs"), include_str!("../outbound.rs")];
    let mut inputs = Vec::new();
    for source in sources {
        for (at, _) in source.match_indices("connection: ConnectionId") {
            // The function whose argument it is; a field's line, or a private function, is none.
            let Some((_, function)) = source[..at].rsplit_once("fn ") else { continue };
            if function.contains('{') || function.contains('}') {
                continue;
            }
            let is_public = source[..at].trim_end_matches(function).ends_with("pub fn ");
            inputs.extend(is_public.then(|| function.split(['(', '<']).next().unwrap_or_default()));
        }
    }
    let mut words = WORDS.map(|(name, _)| name);
    inputs.sort_unstable();
    words.sort_unstable();
    assert_eq!(inputs, words);
}

#[test]
fn no_frame_of_an_old_connection_is_heard() {
    let (server, call) = (ServerAddress::PerNode, CallRef(5));
    let cast = Cast { call, function: "f".into(), time_left: None, nonce: 0, trace: None, body: inline() };
    let exit = Exit { call, replies: 0, function: "f".into(), reason: ExitReason::Done };
    let messages = [
        Message::Cast(server, cast),
        Message::Kill(server, call),
        Message::KillAll(server, vec![call]),
        Message::Resume(server, vec![call]),
        Message::Monitor(server, MonitorRef(9)),
        Message::Demonitor(server, MonitorRef(8)),
        reply(5, 0, true, inline()),
        reply(5, 0, false, inline()),
        item(5, 0),
        items(5, 0, 2),
        Message::Reply(Reply { call, number: 0, form: ReplyForm::Question, body: inline() }),
        Message::StreamInit(call),
        Message::StreamStart(ServerAddress::Singleton, call),
        Message::StreamCancel(ServerAddress::Singleton, call),
        Message::Ack(ServerAddress::Singleton, call, 1),
        Message::Response(ServerAddress::Singleton, Response { call, number: 0, body: inline() }),
        Message::Sent(Sent { call, replies: 1, question: None }),
        Message::Exit(exit),
        Message::NoSuchServer(server, call),
        Message::NoSuchFunction(call),
        Message::Ping(call),
        Message::Down(MonitorRef(7), DownReason::Shutdown),
        Message::Announce(0, now(9, Phase::Introduce)),
        Message::Draining,
        Message::Unsupported(9),
    ];
    let said: Vec<_> = messages.iter().map(Message::kind).collect();
    let unsaid = ROWS.iter().find(|row| emitted(row.kind, WireVersion::V2) && !said.contains(&row.kind));
    assert_eq!(unsaid, None, "a kind that is not among the messages");
    for message in messages {
        let (mut peer, old) = replaced();
        let before = peer.clone();
        let mut frame = BytesMut::new();
        wire::encode(WireVersion::V2, &numbered(&message), 1 << 20, &mut frame).expect("it can be sent");
        peer.handle_bytes(SECOND, old, &frame);
        assert_eq!(peer, before, "{message:?}, of the old connection");
        peer.handle_bytes(SECOND, before.connection(), &frame);
        assert_ne!(peer, before, "{message:?}, of the new connection");
    }
}

#[test]
fn a_payload_of_an_old_connection_joins_no_frame_of_the_new_one() {
    let (mut peer, old) = replaced();
    peer.handle_bulk(SECOND, old, FRAME_WAITS, Bytes::from_static(b"old"));
    assert_eq!(outputs(&mut peer), []);
    peer.handle_bulk(SECOND, peer.connection(), FRAME_WAITS, Bytes::from_static(b"new"));
    let out = outputs(&mut peer);
    assert!(
        matches!(&out[..], [Output::Job(JobOutput::Spawn(job, cast))] if job.call == CallRef(1) && cast.body == "new"),
        "{out:?}"
    );
}

#[test]
fn that_a_call_was_lost_is_told_on_the_connection_that_asked_and_on_no_later_one() {
    let caller = Caller { peer: PEER, incarnation: LIFE };
    let lost = |peer: &mut Peer<u32>| sent(peer).iter().filter(|message| message.tells_lost()).count();
    let mut peer = peer(Phase::Remove, Limits { unwritten_bytes_max: 1, ..Limits::default() });
    peer.handle_connected(Duration::ZERO, session(WireVersion::V3));
    cast(&mut peer, SECOND, 5);
    receive(&mut peer, SECOND, &Message::Resume(ServerAddress::PerNode, vec![CallRef(9)]));
    assert_eq!(peer.stats().buffered, 1, "it waits for room");
    let mut on_time = peer.clone();
    assert_eq!(lost(&mut on_time), 1);
    peer.handle_connected(SECOND, session(WireVersion::V3));
    assert_eq!((lost(&mut peer), peer.stats().buffered), (0, 0), "by now its cast may be here");
    let connection = peer.connection();
    disconnect(&mut peer, SECOND);
    peer.answer_lost(caller, connection, CallRef(9));
    assert_eq!(peer.stats().buffered, 0, "nor while there is none");
}

#[test]
fn half_a_frame_of_an_old_connection_is_not_ended_by_the_new_one() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let old = peer.connection();
    peer.handle_bytes(SECOND, old, &[2, 0, 0]);
    peer.handle_connected(SECOND, session(WireVersion::V3));
    peer.handle_bytes(SECOND, old, &[0, V3 | 45, 0]);
    assert_eq!((peer.incomplete_bytes(), peer.stats().unknown_frames), (0, 0));
    peer.handle_bytes(SECOND, peer.connection(), &[2, 0, 0, 0, V3 | 45, 0]);
    assert_eq!((peer.incomplete_bytes(), peer.stats().unknown_frames), (0, 1));
}

#[test]
fn a_refusal_of_an_earlier_life_changes_nothing_once_a_later_one_is_known() {
    for is_final in [true, false] {
        let (mut peer, _) = replaced();
        let before = peer.clone();
        peer.handle_refused(SECOND, Incarnation(LIFE.0 - 1), refusal(is_final));
        assert_eq!(peer, before, "while it is connected");
        disconnect(&mut peer, SECOND);
        let before = peer.clone();
        peer.handle_refused(SECOND, Incarnation(LIFE.0 - 1), refusal(is_final));
        assert_eq!(peer, before, "while it is away");
        peer.handle_refused(SECOND, Incarnation(LIFE.0 + 1), refusal(is_final));
        assert_ne!(peer, before, "of a later life");
    }
}

const V2: u8 = 2 << 6;
