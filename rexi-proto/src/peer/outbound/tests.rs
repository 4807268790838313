//! What leaves for one peer: what is refused before it does, what the peer takes, and what is dropped on the way.

use super::*;
use crate::items::ItemList;
use crate::limits::Limits;
use crate::link::Session;
use crate::message::TraceContext;
use crate::name::Incarnation;
use crate::peer::tests::*;
use crate::phase::Phase;
use crate::server::{JobEnding, JobKey, JobOutput};
use crate::story::now;
use crate::table::FunctionTable;
use crate::version::WireVersion;

const PER_NODE: ServerAddress = ServerAddress::PerNode;

fn bytes(length: usize) -> Bytes {
    vec![7; length].into()
}

/// A peer that takes payloads of 4 bytes, while this node lets 8 through.
fn small() -> Peer<u32> {
    let mut peer = peer(Phase::Remove, Limits { payload_bytes_max: 8, ..Limits::default() });
    peer.handle_connected(Duration::ZERO, Session { payload_bytes_max: 4, ..session(WireVersion::V3) });
    peer
}

fn exit(call: u64, function: &str, reason: ExitReason) -> Message {
    Message::Exit(Exit { call: CallRef(call), replies: 0, function: function.into(), reason })
}

fn told(call: u64, function: &str, reason: ExitReason) -> Vec<(u64, Answer)> {
    vec![(call, Answer::Exit { function: function.into(), reason })]
}

#[test]
fn a_cast_at_its_bounds_is_taken_and_one_beyond_is_refused() {
    let limits = Limits { payload_bytes_max: 8, function_bytes_max: 3, ..Limits::default() };
    let mut peer = peer(Phase::Remove, limits);
    let mut of = |call, function: &'static str, length| {
        let function = function.into();
        peer.cast(SECOND, Cast { function, ..request(call, bytes(length)) }, call as u32)
    };
    assert_eq!(of(1, "fun", 8), Ok(()));
    assert_eq!(of(2, "func", 8), Err(CastError::FunctionName { bytes: 4, max: 3 }));
    assert_eq!(of(2, "", 8), Err(CastError::FunctionName { bytes: 0, max: 3 }));
    assert_eq!(of(2, "fun", 9), Err(CastError::PayloadTooLarge { bytes: 9, max: 8 }));
    assert_eq!(of(2, "f", 0), Ok(()));
    assert_eq!(peer.stats().calls, 2, "nothing is open of what was refused");
}

#[test]
fn an_argument_that_the_peer_does_not_take_is_told_and_one_at_its_limit_is_sent() {
    let mut peer = small();
    for (call, length) in [(1, 4), (2, 5)] {
        peer.cast(SECOND, request(call, bytes(length)), call as u32).expect("this node lets it through");
    }
    assert_eq!(answers(&mut peer), [(2, Answer::TooLarge)]);
    assert!(matches!(&sent(&mut peer)[..], [Message::Cast(_, cast)] if cast.call == CallRef(1)));
}

#[test]
fn a_reply_that_the_peer_does_not_take_ends_its_job_and_one_at_its_limit_is_sent() {
    let mut peer = small();
    let job = serve(&mut peer, 1);
    assert!(peer.with_server(|server| server.handle_reply(job, bytes(4))));
    assert!(matches!(&sent(&mut peer)[..], [Message::Reply(_)]));
    peer.with_server(|server| server.handle_reply(job, bytes(5)));
    assert_eq!(sent(&mut peer), [exit(1, "", ExitReason::ReplyTooLarge)]);
    assert_eq!(outputs(&mut peer), [Output::Job(JobOutput::Abort(job))]);
}

#[test]
fn a_response_goes_to_the_server_of_its_call_where_both_nodes_take_it() {
    let mut peer = small();
    assert!(!peer.respond(SECOND, CallRef(1), 0, bytes(4)), "no such call");
    cast(&mut peer, SECOND, 1);
    sent(&mut peer);
    assert!(peer.respond(SECOND, CallRef(1), 0, bytes(4)));
    let body = Body::Inline(bytes(4));
    assert_eq!(sent(&mut peer), [Message::Response(PER_NODE, Response { call: CallRef(1), number: 0, body })]);
    assert!(!peer.respond(SECOND, CallRef(1), 1, bytes(9)), "above this node's limit");
    assert_eq!((sent(&mut peer), outputs(&mut peer)), (Vec::new(), Vec::new()));
    assert!(peer.respond(SECOND, CallRef(1), 1, bytes(8)), "above the peer's");
    assert_eq!((answers(&mut peer), sent(&mut peer)), (vec![lost(1)], vec![Message::Kill(PER_NODE, CallRef(1))]));
}

#[test]
fn a_response_that_a_connection_took_along_ends_the_call_whose_job_still_waits() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    cast(&mut peer, SECOND, 1);
    sent(&mut peer);
    assert!(peer.respond(SECOND, CallRef(1), 0, bytes(4)));
    sent(&mut peer);
    disconnect(&mut peer, SECOND);
    peer.handle_connected(SECOND, session(WireVersion::V3));
    sent(&mut peer);
    let waits_with = |question| Message::Sent(Sent { call: CallRef(1), replies: 0, question });
    receive(&mut peer, SECOND, &waits_with(None));
    assert_eq!(outputs(&mut peer), [], "its job has the response");
    receive(&mut peer, SECOND, &waits_with(Some(0)));
    assert_eq!(answers(&mut peer), [lost(1)]);
    receive(&mut peer, SECOND, &waits_with(Some(0)));
    assert_eq!(outputs(&mut peer), [], "once");
}

#[test]
fn time_in_the_buffer_counts_and_a_cast_whose_time_has_passed_is_not_sent() {
    let mut peer = peer(Phase::Remove, Limits::default());
    for (call, seconds) in [(1, 3), (2, 2), (3, 1)] {
        let cast = Cast { time_left: Some(seconds * SECOND), ..request(call, Bytes::new()) };
        peer.cast(SECOND, cast, call as u32).expect("it is taken");
    }
    peer.handle_connected(3 * SECOND, session(WireVersion::V3));
    let passed = |call| told(call, "f", ExitReason::TimePassed);
    assert_eq!(answers(&mut peer), [passed(2), passed(3)].concat());
    let left = |message: &Message| match message {
        Message::Cast(_, cast) => cast.time_left,
        other => panic!("no cast: {other:?}"),
    };
    assert_eq!(sent(&mut peer).iter().map(left).collect::<Vec<_>>(), [Some(SECOND)]);
}

#[test]
fn what_does_not_fit_a_short_frame_is_told_and_the_connection_goes_on() {
    let mut peer = peer(Phase::Remove, Limits::default());
    let short = Session { frame_bytes_max: 40, ..session(WireVersion::V3) };
    peer.handle_connected(Duration::ZERO, short);
    let trace = Some(Box::new(TraceContext { trace_id: u128::MAX, span_id: u64::MAX, flags: 1 }));
    let long = Cast { nonce: u64::MAX, trace, ..request(1, Bytes::new()) };
    peer.cast(SECOND, long, 1).expect("this node lets it through");
    assert_eq!(answers(&mut peer), [(1, Answer::TooLarge)]);
    assert_eq!(outputs(&mut peer), []);
}

#[test]
fn what_a_job_says_of_its_failure_is_cut_to_the_shortest_frame_that_a_peer_may_take() {
    for failed in [ExitReason::Failed, ExitReason::Panicked, ExitReason::WrongType] {
        let mut peer = peer(Phase::Remove, Limits::default());
        peer.handle_connected(Duration::ZERO, Session { frame_bytes_max: 1_024, ..session(WireVersion::V3) });
        let job = serve(&mut peer, 2);
        peer.with_server(|server| server.handle_end(job, JobEnding::Exit(failed("né".repeat(1_300).into()))));
        // 896 bytes for two texts, of which the name is one.
        assert_eq!(sent(&mut peer), [exit(2, "f", failed(("né".repeat(149) + "n").into()))]);
        assert_eq!(outputs(&mut peer), []);
    }
}

#[test]
fn kills_and_acknowledgements_of_an_older_phase_go_where_the_cast_went() {
    let mut peer = connected(Phase::Introduce, WireVersion::V2);
    cast(&mut peer, SECOND, 1);
    receive(&mut peer, SECOND, &Message::StreamInit(CallRef(1)));
    peer.set_phases(SECOND, &[now(1, Phase::Switch)]);
    sent(&mut peer);
    assert!(peer.start_stream(CallRef(1)));
    assert_eq!(sent(&mut peer), [Message::StreamStart(ServerAddress::Singleton, CallRef(1))]);
    peer.kill(&[CallRef(1)]);
    let kills = [ServerAddress::Singleton, PER_NODE].map(|server| Message::Kill(server, CallRef(1)));
    assert_eq!(sent(&mut peer), kills, "one call is no batch");
}

#[test]
fn a_kill_of_a_cast_that_still_waits_sends_nothing_and_the_cast_stays_here() {
    let mut peer = peer(Phase::Remove, Limits::default());
    cast(&mut peer, SECOND, 1);
    peer.kill(&[CallRef(1)]);
    peer.handle_connected(SECOND, session(WireVersion::V3));
    assert_eq!((sent(&mut peer), outputs(&mut peer)), (Vec::new(), Vec::new()));
}

#[test]
fn what_the_buffer_drops_ends_the_jobs_of_both_servers() {
    let limits = Limits { buffered_frames_max: 1, ..Limits::default() };
    let mut peer = peer(Phase::Switch, limits);
    peer.handle_connected(Duration::ZERO, session(WireVersion::V2));
    disconnect(&mut peer, SECOND);
    let caller = Caller { peer: PEER, incarnation: LIFE };
    peer.answer(caller, reply(1, 0, false, inline()));
    peer.answer(caller, reply(2, 0, false, inline()));
    assert_eq!(outputs(&mut peer), [Output::Singleton(caller, ServerRequest::Kill(vec![CallRef(1)]))]);
    cast(&mut peer, SECOND, 5);
    peer.kill(&[CallRef(5)]);
    cast(&mut peer, SECOND, 6);
    assert_eq!(outputs(&mut peer), [Output::Singleton(caller, ServerRequest::Kill(vec![CallRef(2)]))]);
    assert_eq!(peer.stats().dropped, 3);
}

#[test]
fn a_response_that_the_buffer_drops_ends_its_call() {
    let limits = Limits { buffered_frames_max: 1, ..Limits::default() };
    let mut peer = peer(Phase::Remove, limits);
    peer.handle_connected(Duration::ZERO, session(WireVersion::V3));
    cast(&mut peer, SECOND, 1);
    disconnect(&mut peer, SECOND);
    assert!(peer.respond(SECOND, CallRef(1), 0, Bytes::new()));
    cast(&mut peer, SECOND, 2);
    assert_eq!(answers(&mut peer), [lost(1)]);
}

#[test]
fn answers_to_another_life_or_to_who_was_given_up_are_let_go_and_counted() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let (now, before) = (LIFE, Incarnation(6));
    let answer = |peer: &mut Peer<u32>, incarnation| {
        peer.answer(Caller { peer: PEER, incarnation }, Message::Ping(CallRef(1)));
        (sent(peer).len(), peer.stats().stale_answers)
    };
    assert_eq!(answer(&mut peer, now), (1, 0));
    assert_eq!(answer(&mut peer, before), (0, 1));
    disconnect(&mut peer, SECOND);
    peer.handle_timeout(16 * SECOND);
    assert_eq!(answer(&mut peer, now), (0, 2));
}

#[test]
fn a_writer_takes_from_its_own_connection_only_and_then_there_is_room() {
    let limits = Limits { unwritten_bytes_max: 1, ..Limits::default() };
    let mut peer = peer(Phase::Remove, limits);
    assert!(!peer.is_clear(), "it is away");
    peer.handle_connected(Duration::ZERO, session(WireVersion::V3));
    assert!(peer.is_clear() && !peer.wants_write());
    cast(&mut peer, SECOND, 1);
    assert!(!peer.is_clear() && peer.wants_write());
    let (mut out, connection) = (BytesMut::new(), peer.connection());
    assert_eq!(peer.take_outgoing(SECOND, ConnectionId(connection.0 + 1), &mut out), None);
    assert!(out.is_empty() && peer.wants_write());
    assert_eq!(peer.take_outgoing(SECOND, connection, &mut out), Some(Vec::new()));
    assert!(!out.is_empty() && !peer.wants_write() && peer.is_clear());
    peer.stop();
    assert!(peer.is_clear(), "who casts is answered at once");
}

#[test]
fn a_payload_that_is_sent_makes_room_on_its_own_connection_only() {
    let limits = Limits { inline_bytes_max: 4, bulk_frames_max: 2, ..Limits::default() };
    let mut peer = peer(Phase::Remove, limits);
    peer.handle_connected(Duration::ZERO, session(WireVersion::V3));
    for call in [1, 2] {
        peer.cast(SECOND, request(call, bytes(5)), call as u32).expect("it is taken");
    }
    let (mut out, connection) = (BytesMut::new(), peer.connection());
    assert_eq!(peer.take_outgoing(SECOND, connection, &mut out).map(|bulk| bulk.len()), Some(1));
    peer.handle_bulk_sent(SECOND, ConnectionId(connection.0 + 1), 5);
    assert_eq!(peer.stats().buffered, 1);
    peer.handle_bulk_sent(SECOND, connection, 5);
    assert_eq!((peer.stats().buffered, peer.wants_write()), (0, true));
}

#[test]
fn a_node_that_stops_tells_whoever_waits_whether_it_may_have_run() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let job: JobKey = serve(&mut peer, 9);
    cast(&mut peer, SECOND, 1);
    disconnect(&mut peer, SECOND);
    cast(&mut peer, SECOND, 2);
    peer.stop();
    let down = |call: u64, reason| Output::Deliver(call as u32, CallRef(call), Answer::Down(reason));
    let expected =
        [down(1, DownReason::NoConnection), down(2, DownReason::NoConnect), Output::Job(JobOutput::Abort(job))];
    assert_eq!(outputs(&mut peer), expected);
    assert_eq!((peer.presence(), peer.deadline(), peer.stats().buffered), (&Presence::Gone, None, 0));
    cast(&mut peer, SECOND, 3);
    assert_eq!(outputs(&mut peer), [down(3, DownReason::NoConnect)]);
}

#[test]
fn a_node_that_leaves_says_so_on_each_connection_and_ends_its_server_last() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let job = serve(&mut peer, 9);
    receive(&mut peer, SECOND, &Message::Monitor(PER_NODE, MonitorRef(4)));
    peer.drain();
    assert_eq!(sent(&mut peer), [Message::Draining]);
    disconnect(&mut peer, SECOND);
    peer.handle_connected(SECOND, session(WireVersion::V3));
    assert!(sent(&mut peer).contains(&Message::Draining), "the peer may not have heard it");
    receive(&mut peer, SECOND, &Message::Resume(PER_NODE, vec![CallRef(9)]));
    receive(&mut peer, SECOND, &Message::Monitor(PER_NODE, MonitorRef(4)));
    assert_eq!((outputs(&mut peer), sent(&mut peer)), (Vec::new(), Vec::new()), "its jobs go on");
    peer.end_server();
    let ends = [exit(9, "f", ExitReason::ServerEnded), Message::Down(MonitorRef(4), DownReason::Shutdown)];
    assert_eq!((outputs(&mut peer), sent(&mut peer)), (vec![Output::Job(JobOutput::Abort(job))], ends.to_vec()));
}

#[test]
fn a_stream_that_was_answered_is_not_answered_again() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    cast(&mut peer, SECOND, 1);
    receive(&mut peer, SECOND, &Message::StreamInit(CallRef(1)));
    assert!(peer.start_stream(CallRef(1)));
    sent(&mut peer);
    assert!(!peer.start_stream(CallRef(1)) && !peer.cancel_stream(CallRef(1)));
    assert_eq!(sent(&mut peer), []);
}

#[test]
fn the_end_of_a_server_is_told_past_a_buffer_that_is_full() {
    let limits = Limits { unwritten_bytes_max: 1, buffered_frames_max: 1, ..Limits::default() };
    let mut peer = peer(Phase::Remove, limits);
    peer.handle_connected(Duration::ZERO, session(WireVersion::V3));
    receive(&mut peer, SECOND, &Message::Monitor(PER_NODE, MonitorRef(4)));
    for call in [1, 2] {
        cast(&mut peer, SECOND, call);
    }
    assert_eq!(peer.stats().buffered, 1);
    peer.end_server();
    assert_eq!((peer.stats().buffered, peer.stats().dropped, outputs(&mut peer)), (1, 0, Vec::new()));
    let told = sent(&mut peer);
    assert_eq!(told[1], Message::Down(MonitorRef(4), DownReason::Shutdown), "behind what was encoded: {told:?}");
}

#[test]
fn a_function_that_the_peer_does_not_take_is_answered_here_without_a_frame() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    peer.cast(SECOND, Cast { function: "h".into(), ..request(1, Bytes::new()) }, 1).expect("it is taken");
    assert_eq!((answers(&mut peer), sent(&mut peer)), (vec![(1, Answer::NoSuchFunction)], Vec::new()));
    disconnect(&mut peer, SECOND);
    peer.cast(SECOND, Cast { function: "h".into(), ..request(2, Bytes::new()) }, 2).expect("it waits");
    peer.cast(SECOND, request(3, Bytes::new()), 3).expect("it waits");
    assert_eq!(answers(&mut peer), [], "nobody knows what the peer will take when it comes back");
    let functions = FunctionTable::new(["a", "f"]).expect("a table");
    peer.handle_connected(SECOND, Session { functions, incarnation: Incarnation(8), ..session(WireVersion::V3) });
    let left = sent(&mut peer);
    let function = Called::Number(1);
    assert!(
        matches!(&left[..], [Message::Cast(_, cast)] if cast.function == function),
        "by its number there: {left:?}"
    );
    assert_eq!(answers(&mut peer), [(2, Answer::NoSuchFunction)]);
}

/// A job whose stream is started, on a peer with such a session.
fn streaming(with: Session) -> (Peer<u32>, JobKey) {
    let mut peer = peer(Phase::Remove, Limits::default());
    peer.handle_connected(Duration::ZERO, with);
    let job = serve(&mut peer, 1);
    peer.with_server(|server| server.handle_items(job, &mut ItemList::default(), 5));
    receive(&mut peer, SECOND, &Message::StreamStart(PER_NODE, CallRef(1)));
    outputs(&mut peer);
    sent(&mut peer);
    (peer, job)
}

/// Items of these lengths, made at once.
fn say(peer: &mut Peer<u32>, job: JobKey, lengths: &[usize]) {
    let mut list = ItemList::default();
    assert!(lengths.iter().all(|&length| list.push(&bytes(length))));
    peer.with_server(|server| server.handle_items(job, &mut list, 100));
}

fn item(number: u64, body: Body) -> Message {
    Message::Reply(Reply { call: CallRef(1), number, form: ReplyForm::Item, body })
}

#[test]
fn items_go_one_by_one_to_a_peer_whose_frames_do_not_hold_them_together() {
    let (mut peer, job) = streaming(Session { frame_bytes_max: 200, ..session(WireVersion::V3) });
    say(&mut peer, job, &[49, 49]);
    assert!(matches!(&sent(&mut peer)[..], [Message::Items(items)] if items.list.len() == 2), "half a frame");
    say(&mut peer, job, &[49, 50]);
    assert_eq!(sent(&mut peer), [item(2, Body::Inline(bytes(49))), item(3, Body::Inline(bytes(50)))]);
    say(&mut peer, job, &[1, 101]);
    assert_eq!(sent(&mut peer), [item(4, Body::Inline(bytes(1))), item(5, Body::Bulk(BulkId(0), 101))]);
}

#[test]
fn an_item_among_others_that_the_peer_does_not_take_ends_its_job_behind_those_before_it() {
    let (mut peer, job) = streaming(Session { payload_bytes_max: 4, ..session(WireVersion::V3) });
    say(&mut peer, job, &[4, 5, 1]);
    assert_eq!(sent(&mut peer), [item(0, Body::Inline(bytes(4))), exit(1, "", ExitReason::ReplyTooLarge)]);
    assert_eq!(outputs(&mut peer), [Output::Job(JobOutput::Abort(job))]);
}

#[test]
fn items_wait_in_the_buffer_as_one_frame_with_all_their_bytes_and_are_dropped_as_one() {
    let (mut peer, job) = streaming(session(WireVersion::V3));
    disconnect(&mut peer, SECOND);
    say(&mut peer, job, &[9, 9, 9]);
    assert_eq!((peer.stats().buffered, peer.stats().buffered_bytes), (1, 30));
    peer.handle_connected(SECOND, session(WireVersion::V3));
    assert!(sent(&mut peer).iter().any(|message| matches!(message, Message::Items(items) if items.list.len() == 3)));
    disconnect(&mut peer, SECOND);
    say(&mut peer, job, &[1, 2]);
    outputs(&mut peer);
    (2..2_003).for_each(|call| cast(&mut peer, SECOND, call));
    assert!(outputs(&mut peer).contains(&Output::Job(JobOutput::Abort(job))), "nobody is left to hear it");
}
