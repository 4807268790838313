//! What comes in from one peer: where each frame goes, payloads beside their frames, and what cuts the peer off.

use super::*;
use crate::limits::Limits;
use crate::name::MonitorRef;
use crate::peer::tests::*;
use crate::phase::Phase;
use crate::server::{Caller, ItemStep, JobKey, JobOutput, QuestionStep};
use crate::story::now;
use crate::version::WireVersion;

const SINGLETON: ServerAddress = ServerAddress::Singleton;
const PER_NODE: ServerAddress = ServerAddress::PerNode;
const CALLER: Caller = Caller { peer: PEER, incarnation: LIFE };

fn made(call: u64, function: &'static str, body: Body) -> Cast {
    Cast { call: CallRef(call), function: function.into(), time_left: None, nonce: 0, trace: None, body }
}

fn closed(peer: &mut Peer<u32>) -> Option<CloseCode> {
    outputs(peer).into_iter().find_map(|output| match output {
        Output::Close(code, _) => Some(code),
        _ => None,
    })
}

/// The job and the argument that are started, if one is.
fn spawned(peer: &mut Peer<u32>) -> Option<(JobKey, Bytes)> {
    outputs(peer).into_iter().find_map(|output| match output {
        Output::Job(JobOutput::Spawn(job, cast)) => Some((job, cast.body)),
        _ => None,
    })
}

#[test]
fn what_is_for_a_server_that_is_not_here_is_told_or_passed_over() {
    let mut peer = connected(Phase::Remove, WireVersion::V2);
    let call = CallRef(1);
    let response = Response { call, number: 0, body: inline() };
    for silent in [
        Message::Kill(SINGLETON, call),
        Message::KillAll(SINGLETON, vec![call]),
        Message::Demonitor(SINGLETON, MonitorRef(1)),
        Message::StreamStart(SINGLETON, call),
        Message::Response(SINGLETON, response),
    ] {
        receive(&mut peer, SECOND, &silent);
        assert_eq!((sent(&mut peer), outputs(&mut peer)), (Vec::new(), Vec::new()), "{silent:?}");
    }
    receive(&mut peer, SECOND, &Message::Cast(SINGLETON, made(1, "f", inline())));
    assert_eq!(sent(&mut peer), [Message::NoSuchServer(SINGLETON, call)]);
    receive(&mut peer, SECOND, &Message::Resume(SINGLETON, vec![call, CallRef(2)]));
    assert_eq!(sent(&mut peer), [1, 2].map(|call| Message::NoSuchServer(SINGLETON, CallRef(call))));
    assert_eq!(outputs(&mut peer), []);
}

#[test]
fn what_is_for_the_singleton_is_handed_to_the_node() {
    let mut peer = connected(Phase::Switch, WireVersion::V2);
    let (call, monitor) = (CallRef(1), MonitorRef(2));
    let response = Response { call, number: 3, body: inline() };
    let cases = [
        (Message::Kill(SINGLETON, call), ServerRequest::Kill(vec![call])),
        (Message::Resume(SINGLETON, vec![call]), ServerRequest::Resume(ConnectionId(1), vec![call])),
        (Message::Monitor(SINGLETON, monitor), ServerRequest::Monitor(monitor)),
        (Message::Demonitor(SINGLETON, monitor), ServerRequest::Demonitor(monitor)),
        (Message::StreamStart(SINGLETON, call), ServerRequest::Stream(call, StreamSignal::Start)),
        (Message::StreamCancel(SINGLETON, call), ServerRequest::Stream(call, StreamSignal::Cancel)),
        (Message::Ack(SINGLETON, call, 4), ServerRequest::Stream(call, StreamSignal::Ack(4))),
        (Message::Response(SINGLETON, response), ServerRequest::Response(call, 3, Bytes::from_static(b"x"))),
    ];
    for (message, request) in cases {
        receive(&mut peer, SECOND, &message);
        assert_eq!(outputs(&mut peer), [Output::Singleton(CALLER, request)]);
    }
}

#[test]
fn a_stream_and_a_question_of_a_job_here_hear_their_caller() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let job = serve(&mut peer, 1);
    assert_eq!(peer.with_server(|server| server.handle_item(job, &mut Bytes::new(), Some(1))), ItemStep::Wait);
    receive(&mut peer, SECOND, &Message::StreamStart(PER_NODE, job.call));
    assert_eq!(outputs(&mut peer), [Output::Job(JobOutput::Wake(job))]);
    assert_eq!(peer.with_server(|server| server.handle_item(job, &mut Bytes::new(), Some(1))), ItemStep::Sent);
    receive(&mut peer, SECOND, &Message::Ack(PER_NODE, job.call, 1));
    assert_eq!(outputs(&mut peer), [Output::Job(JobOutput::Wake(job))]);
    let question = peer.with_server(|server| server.handle_question(job, Bytes::new())).expect("it runs");
    for (id, body) in [(1, Body::Bulk(BulkId(0), 1)), (2, inline())] {
        let number = question;
        receive(&mut peer, SECOND, &Message::Response(PER_NODE, Response { call: job.call, number, body }));
        if id == 1 {
            assert_eq!(outputs(&mut peer), [], "its payload is on its way");
            peer.handle_bulk(SECOND, peer.connection(), BulkId(0), Bytes::from_static(b"x"));
            assert_eq!(outputs(&mut peer), [Output::Job(JobOutput::Wake(job))]);
        }
    }
    assert_eq!(outputs(&mut peer), [], "it has its response already");
    let response = peer.with_server(|server| server.take_response(job, question));
    assert_eq!(response, QuestionStep::Response(Bytes::from_static(b"x")));
    receive(&mut peer, SECOND, &Message::StreamCancel(PER_NODE, job.call));
    assert_eq!(outputs(&mut peer), [Output::Job(JobOutput::Abort(job))]);
}

#[test]
fn a_cast_runs_the_function_of_its_number_and_a_number_that_none_has_is_answered() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    for (number, name) in [(0, "f"), (1, "g")] {
        let cast = Cast { function: Called::Number(number), ..made(number.into(), "", inline()) };
        receive(&mut peer, SECOND, &Message::Cast(PER_NODE, cast));
        let run = outputs(&mut peer);
        assert!(matches!(&run[..], [Output::Job(JobOutput::Spawn(_, cast))] if &*cast.function == name), "{run:?}");
    }
    let cast = Cast { function: Called::Number(2), ..made(2, "", inline()) };
    receive(&mut peer, SECOND, &Message::Cast(PER_NODE, cast));
    assert_eq!((sent(&mut peer), outputs(&mut peer)), (vec![Message::NoSuchFunction(CallRef(2))], Vec::new()));
}

#[test]
fn a_payload_and_its_cast_meet_whichever_comes_first() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let (connection, body) = (peer.connection(), Bytes::from_static(b"long"));
    let cast = |call, id| Message::Cast(PER_NODE, made(call, "f", Body::Bulk(BulkId(id), 4)));
    receive(&mut peer, SECOND, &cast(1, 0));
    assert_eq!((spawned(&mut peer), peer.awaits_frame(connection, BulkId(0))), (None, false));
    peer.handle_bulk(SECOND, connection, BulkId(0), body.clone());
    assert_eq!(spawned(&mut peer).map(|(job, body)| (job.call, body)), Some((CallRef(1), body.clone())));
    peer.handle_bulk(SECOND, connection, BulkId(1), body.clone());
    assert!(peer.awaits_frame(connection, BulkId(1)) && !peer.awaits_frame(connection, BulkId(0)));
    assert!(!peer.awaits_frame(ConnectionId(connection.0 + 1), BulkId(1)), "another connection has numbers of its own");
    receive(&mut peer, SECOND, &cast(2, 1));
    assert_eq!(spawned(&mut peer).map(|(job, body)| (job.call, body)), Some((CallRef(2), body)));
    assert!(!peer.awaits_frame(connection, BulkId(1)));
}

#[test]
fn a_killed_cast_does_not_start_when_its_payload_comes() {
    let mut peer = connected(Phase::Switch, WireVersion::V2);
    for (id, server) in [(0, PER_NODE), (1, PER_NODE), (2, SINGLETON)] {
        let call = if id == 1 { 2 } else { 1 };
        receive(&mut peer, SECOND, &Message::Cast(server, made(call, "f", Body::Bulk(BulkId(id), 1))));
    }
    receive(&mut peer, SECOND, &Message::Kill(PER_NODE, CallRef(1)));
    assert_eq!(outputs(&mut peer), []);
    for id in 0..3 {
        peer.handle_bulk(SECOND, peer.connection(), BulkId(id), Bytes::from_static(b"x"));
    }
    let out = outputs(&mut peer);
    assert!(
        matches!(&out[0], Output::Job(JobOutput::Spawn(job, _)) if job.call == CallRef(2)),
        "another call: {out:?}"
    );
    assert!(matches!(&out[1], Output::Singleton(_, ServerRequest::Cast(_))), "another server: {out:?}");
    assert_eq!((out.len(), sent(&mut peer)), (2, Vec::new()), "nothing is told of a call that was killed");
}

#[test]
fn payloads_that_break_a_rule_end_the_connection() {
    let limits = || Limits { payload_bytes_max: 4, bulk_streams_max: 1, ..Limits::default() };
    let connected = || {
        let mut peer = peer(Phase::Remove, limits());
        peer.handle_connected(SECOND, session(WireVersion::V3));
        peer
    };
    let mut named = connected();
    receive(&mut named, SECOND, &Message::Cast(PER_NODE, made(1, "f", Body::Bulk(BulkId(0), 5))));
    assert_eq!(closed(&mut named), Some(CloseCode::ProtocolBroken), "a frame that names one above the limit");
    let mut unnamed = connected();
    for (id, code) in [(0, None), (1, Some(CloseCode::ProtocolBroken))] {
        unnamed.handle_bulk(SECOND, unnamed.connection(), BulkId(id), Bytes::from_static(b"four"));
        assert_eq!(closed(&mut unnamed), code, "more than frames that name them");
    }
    unnamed.handle_bulk(SECOND, unnamed.connection(), BulkId(2), Bytes::from_static(b"four"));
    assert_eq!((outputs(&mut unnamed), unnamed.awaits_frame(unnamed.connection(), BulkId(2))), (Vec::new(), false));
    assert!(matches!(unnamed.presence(), crate::link::Presence::Away(_)));
}

#[test]
fn a_lane_says_how_much_of_a_frame_is_there() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    peer.handle_bytes(SECOND, peer.connection(), &[2, 0, 0]);
    assert_eq!(peer.incomplete_bytes(), 3);
    peer.handle_bytes(SECOND, peer.connection(), &[0, 0b1100_0000 | 45, 0]);
    assert_eq!((peer.incomplete_bytes(), peer.stats().unknown_frames), (0, 1));
}

#[test]
fn what_a_peer_says_of_itself_is_handed_on() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    receive(&mut peer, SECOND, &Message::Announce(0, now(3, Phase::Switch)));
    receive(&mut peer, SECOND, &Message::Unsupported(9));
    assert_eq!(outputs(&mut peer), [Output::Announced(LIFE, 0, now(3, Phase::Switch)), Output::Unsupported(9)]);
}

#[test]
fn each_answer_reaches_the_mailbox_of_its_call() {
    let mut peer = connected(Phase::Switch, WireVersion::V2);
    for call in 1..=5 {
        cast(&mut peer, SECOND, call);
    }
    let reason = ExitReason::Failed("no".into());
    let exit = Exit { call: CallRef(4), replies: 7, function: "f".into(), reason: reason.clone() };
    for message in [
        Message::Ping(CallRef(1)),
        Message::NoSuchServer(PER_NODE, CallRef(2)),
        Message::NoSuchFunction(CallRef(3)),
        Message::Exit(exit),
        Message::Reply(Reply { call: CallRef(5), number: 0, form: ReplyForm::Question, body: inline() }),
    ] {
        receive(&mut peer, SECOND, &message);
    }
    let expected = [
        (1, Answer::Ping),
        (2, Answer::NoSuchServer(PER_NODE)),
        (3, Answer::NoSuchFunction),
        (4, Answer::Exit { function: "f".into(), reason }),
        (5, Answer::Question { number: 0, body: Bytes::from_static(b"x") }),
    ];
    assert_eq!(answers(&mut peer), expected, "an end that is not well says why, whatever is missing");
    assert_eq!(peer.open_calls().collect::<Vec<_>>(), [CallRef(1), CallRef(5)]);
}

#[test]
fn a_call_whose_answers_pile_up_behind_a_payload_ends_and_the_connection_goes_on() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    for call in [5, 6] {
        cast(&mut peer, SECOND, call);
    }
    sent(&mut peer);
    receive(&mut peer, SECOND, &reply(5, 0, false, Body::Bulk(BulkId(0), 1)));
    for _ in 0..4_095 {
        receive(&mut peer, SECOND, &Message::Ping(CallRef(5)));
    }
    assert_eq!(outputs(&mut peer), [], "as many as may wait");
    receive(&mut peer, SECOND, &Message::Ping(CallRef(5)));
    assert_eq!((answers(&mut peer), sent(&mut peer)), (vec![lost(5)], vec![Message::Kill(PER_NODE, CallRef(5))]));
    receive(&mut peer, SECOND, &reply(6, 0, true, inline()));
    assert_eq!(answers(&mut peer).len(), 1);
}

#[test]
fn a_server_serves_whatever_its_own_node_casts_to() {
    for (phase, server) in [(Phase::Introduce, PER_NODE), (Phase::Switch, SINGLETON)] {
        let mut peer = connected(phase, WireVersion::V2);
        receive(&mut peer, Duration::ZERO, &Message::Cast(server, made(1, "f", inline())));
        let out = outputs(&mut peer);
        assert!(
            matches!(&out[..], [Output::Job(JobOutput::Spawn(..)) | Output::Singleton(..)]),
            "from the first moment on: {out:?}"
        );
        assert_eq!(sent(&mut peer), []);
    }
}
