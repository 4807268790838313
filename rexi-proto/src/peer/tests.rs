//! One peer by itself: what becomes of its calls, jobs and monitors when the connection, the peer or time goes on.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::caller::CastError;
use crate::frame::FrameBuffer;
use crate::hello::verdict;
use crate::items::ItemList;
use crate::limits::Limits;
use crate::message::{Body, BulkId, Called, Cast, Exit, ExitReason, FunctionName, ItemBatch, Reply, ReplyForm, Sent};
use crate::name::MonitorRef;
use crate::phase::Phase;
use crate::reply_stream::StreamTimeouts;
use crate::server::{JobEnding, JobKey, JobOutput};
use crate::story::{functions, hello, now, profiles};
use crate::version::WireVersion;
use crate::wire;

mod awaited;
mod replaced;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const LIFE: Incarnation = Incarnation(7);
/// This node's own number for the peer.
pub(super) const PEER: PeerId = PeerId(3);

pub(super) fn session(wire: WireVersion) -> Session {
    let phase = match wire {
        WireVersion::V1 => Phase::Singleton,
        WireVersion::V2 => Phase::Introduce,
        _ => Phase::Remove,
    };
    Session::with_twin(LIFE, wire, phase, functions(), &Limits::default())
}

/// A peer seen from a node in that phase, not connected yet.
pub(super) fn peer(phase: Phase, limits: Limits) -> Peer<u32> {
    Peer::new(PEER, PeerConfig::in_phase(phase, functions(), limits), Duration::ZERO)
}

pub(super) fn connected(phase: Phase, wire: WireVersion) -> Peer<u32> {
    let mut peer = peer(phase, Limits::default());
    peer.handle_connected(Duration::ZERO, session(wire));
    peer
}

pub(super) fn request(call: u64, body: Bytes) -> Cast<Bytes, FunctionName> {
    Cast { call: CallRef(call), function: "f".into(), time_left: None, nonce: 0, trace: None, body }
}

pub(super) fn cast(peer: &mut Peer<u32>, now: Duration, call: u64) {
    peer.cast(now, request(call, Bytes::new()), call as u32).expect("it is taken");
}

/// All but what `awaited.rs` looks at.
pub(super) fn outputs(peer: &mut Peer<u32>) -> Vec<Output<u32>> {
    std::iter::from_fn(|| peer.poll_output()).filter(|output| !is_awaited(output)).collect()
}

fn is_awaited(output: &Output<u32>) -> bool {
    matches!(output, Output::Writable | Output::Room | Output::More | Output::Presence(..))
}

/// The answers that mailboxes hear, by call.
pub(super) fn answers(peer: &mut Peer<u32>) -> Vec<(u64, Answer)> {
    let mut answers = Vec::new();
    for output in outputs(peer) {
        if let Output::Deliver(mailbox, call, answer) = output {
            assert_eq!(u64::from(mailbox), call.0);
            answers.extend(answer.one_by_one().map(|answer| (call.0, answer)));
        }
    }
    answers
}

/// What goes over the wire next.
pub(super) fn sent(peer: &mut Peer<u32>) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut out = BytesMut::new();
    while peer.wants_write() {
        out.clear();
        for (_, body) in peer.take_outgoing(SECOND, peer.connection(), &mut out).expect("it is in use") {
            peer.handle_bulk_sent(SECOND, peer.connection(), body.len());
        }
        let wire = peer.link.session().expect("it is there").wire;
        let mut frames = FrameBuffer::new(1 << 20);
        frames.extend(&out);
        while let Some(frame) = frames.next_frame().expect("whole frames") {
            messages.push(wire::decode(wire, frame).expect("our own frames"));
        }
    }
    messages
}

/// The message as it leaves for the wire: its function by number.
pub(super) fn numbered(message: &Message) -> Message {
    match message.clone() {
        Message::Cast(server, Cast { function: Called::Name(name), call, time_left, nonce, trace, body }) => {
            let function = Called::Number(functions().number(&name).expect("a function of the tests' nodes"));
            Message::Cast(server, Cast { function, call, time_left, nonce, trace, body })
        }
        other => other,
    }
}

/// A message of the other end comes in.
pub(super) fn receive(peer: &mut Peer<u32>, now: Duration, message: &Message) {
    let wire = peer.link.session().expect("it is there").wire;
    let mut out = BytesMut::new();
    wire::encode(wire, &numbered(message), 1 << 20, &mut out).expect("it can be sent");
    peer.handle_bytes(now, peer.connection(), &out);
    while peer.is_behind() {
        peer.go_on();
    }
}

/// A cast of the other end comes in; gives its job.
pub(super) fn serve(peer: &mut Peer<u32>, call: u64) -> JobKey {
    let body = Body::Inline(Bytes::new());
    let (call, function) = (CallRef(call), "f".into());
    let cast = Cast { call, function, time_left: None, nonce: 0, trace: None, body };
    receive(peer, SECOND, &Message::Cast(ServerAddress::PerNode, cast));
    match &outputs(peer)[..] {
        [Output::Job(JobOutput::Spawn(job, _))] => *job,
        other => panic!("no spawn: {other:?}"),
    }
}

pub(super) fn reply(call: u64, number: u64, last: bool, body: Body) -> Message {
    let form = if last { ReplyForm::Last } else { ReplyForm::Plain };
    Message::Reply(Reply { call: CallRef(call), number, form, body })
}

pub(super) fn inline() -> Body {
    Body::Inline(Bytes::from_static(b"x"))
}

pub(super) fn lost(call: u64) -> (u64, Answer) {
    (call, Answer::Exit { function: "".into(), reason: ExitReason::ConnectionLost })
}

pub(super) fn disconnect(peer: &mut Peer<u32>, now: Duration) {
    peer.handle_disconnected(now, peer.connection());
}

/// A refusal, final or not.
fn refusal(is_final: bool) -> Box<Refusal> {
    let [_, r11, r12, r20] = profiles();
    let sender = if is_final { &r11 } else { &r12 };
    let refusal = verdict(&hello("n1", sender, Phase::Introduce), &hello("n2", &r20, Phase::Remove));
    let refusal = refusal.expect_err("an illegal pair");
    assert_eq!(refusal.is_final(), is_final);
    refusal
}

#[test]
fn a_peer_that_is_away_keeps_calls_and_jobs_for_the_stability_period_and_not_longer() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let job = serve(&mut peer, 1);
    cast(&mut peer, SECOND, 5);
    disconnect(&mut peer, SECOND);
    assert_eq!(peer.deadline(), Some(16 * SECOND));
    peer.handle_timeout(16 * SECOND - Duration::from_nanos(1));
    assert_eq!(outputs(&mut peer), []);
    peer.handle_timeout(16 * SECOND);
    let down = Answer::Down(DownReason::NoConnection);
    assert_eq!(outputs(&mut peer), [Output::Deliver(5, CallRef(5), down), Output::Job(JobOutput::Abort(job))]);
    assert_eq!((peer.presence(), peer.deadline()), (&Presence::Gone, None));
    cast(&mut peer, 17 * SECOND, 6);
    let down = Answer::Down(DownReason::NoConnect);
    assert_eq!(answers(&mut peer), [(6, down)], "who casts to it then hears at once, and that it did not run");
}

#[test]
fn a_peer_that_comes_back_in_time_goes_on_where_it_was() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let job = serve(&mut peer, 1);
    cast(&mut peer, SECOND, 5);
    disconnect(&mut peer, SECOND);
    cast(&mut peer, 2 * SECOND, 6);
    peer.with_server(|server| server.handle_end(job, JobEnding::Reply(Bytes::new())));
    peer.handle_connected(3 * SECOND, session(WireVersion::V3));
    let kinds: Vec<_> = sent(&mut peer).iter().map(Message::kind).collect();
    assert_eq!(kinds, [crate::Kind::Resume, crate::Kind::Cast, crate::Kind::Reply], "the resume goes first");
    assert_eq!(outputs(&mut peer), []);
}

#[test]
fn a_restart_of_the_peer_ends_its_jobs_and_tells_callers_what_was_sent() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let job = serve(&mut peer, 1);
    cast(&mut peer, SECOND, 5);
    disconnect(&mut peer, SECOND);
    cast(&mut peer, SECOND, 6);
    let next = Session { incarnation: Incarnation(8), ..session(WireVersion::V3) };
    peer.handle_connected(2 * SECOND, next);
    let restarted = Answer::Down(DownReason::Restarted);
    assert_eq!(outputs(&mut peer), [Output::Deliver(5, CallRef(5), restarted), Output::Job(JobOutput::Abort(job))]);
    assert!(
        matches!(&sent(&mut peer)[..], [Message::Cast(_, cast)] if cast.call == CallRef(6)),
        "it had not been sent"
    );
    peer.answer(job.caller, Message::Ping(CallRef(1)));
    assert_eq!((sent(&mut peer), peer.stats().stale_answers), (Vec::new(), 1));
}

#[test]
fn a_departure_answers_what_was_sent_and_keeps_what_was_not() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    cast(&mut peer, SECOND, 5);
    peer.monitor(MonitorRef(1), 9);
    peer.handle_departed(SECOND, peer.connection());
    let down = Output::MonitorDown(9, MonitorRef(1), DownReason::Shutdown);
    assert_eq!(outputs(&mut peer), [Output::Deliver(5, CallRef(5), Answer::Down(DownReason::Shutdown)), down]);
    cast(&mut peer, SECOND, 6);
    assert_eq!(outputs(&mut peer), []);
    peer.handle_timeout(16 * SECOND);
    assert_eq!(answers(&mut peer), [(6, Answer::Down(DownReason::NoConnect))]);
}

fn draining(call: u64) -> (u64, Answer) {
    (call, Answer::Exit { function: "f".into(), reason: ExitReason::Draining })
}

#[test]
fn a_cast_to_a_peer_that_leaves_is_answered_at_once_and_not_sent() {
    for (phase, wire) in
        [(Phase::Singleton, WireVersion::V1), (Phase::Switch, WireVersion::V2), (Phase::Remove, WireVersion::V3)]
    {
        let mut peer = connected(phase, wire);
        cast(&mut peer, SECOND, 5);
        assert_eq!(sent(&mut peer).len(), 1);
        receive(&mut peer, SECOND, &Message::Draining);
        assert_eq!(outputs(&mut peer), [Output::Draining], "what was sent goes on");
        cast(&mut peer, SECOND, 6);
        assert_eq!((answers(&mut peer), sent(&mut peer)), (vec![draining(6)], Vec::new()));
        // A brief disconnect is not the end of its life.
        disconnect(&mut peer, SECOND);
        assert!(peer.is_clear(), "who waits for room is let through, to be answered");
        cast(&mut peer, SECOND, 7);
        assert_eq!(answers(&mut peer), [draining(7)]);
        peer.handle_connected(2 * SECOND, session(wire));
        receive(&mut peer, 2 * SECOND, &Message::Draining);
        cast(&mut peer, 2 * SECOND, 8);
        assert_eq!(answers(&mut peer), [draining(8)]);
        let last = reply(5, 0, true, inline());
        receive(&mut peer, 2 * SECOND, &last);
        let body = Bytes::from_static(b"x");
        assert_eq!(answers(&mut peer), [(5, Answer::Reply { body, last: true })], "its jobs end well");
        assert_eq!(peer.stats().calls, 0);
    }
}

#[test]
fn the_next_life_of_a_peer_that_has_left_is_cast_to_again() {
    let mut departed = connected(Phase::Remove, WireVersion::V3);
    receive(&mut departed, SECOND, &Message::Draining);
    let mut restarted = departed.clone();
    departed.handle_departed(SECOND, departed.connection());
    let next = Session { incarnation: Incarnation(8), ..session(WireVersion::V3) };
    restarted.handle_connected(SECOND, next.clone());
    outputs(&mut restarted);
    cast(&mut restarted, SECOND, 6);
    assert!(matches!(&sent(&mut restarted)[..], [Message::Cast(..)]), "a new incarnation, without a departure");
    outputs(&mut departed);
    cast(&mut departed, SECOND, 6);
    assert_eq!(outputs(&mut departed), [], "it waits for the next life");
    departed.handle_connected(2 * SECOND, next);
    assert!(matches!(&sent(&mut departed)[..], [Message::Cast(_, cast)] if cast.call == CallRef(6)));
}

#[test]
fn casts_in_the_buffer_are_answered_when_their_peer_says_that_it_leaves_and_replies_are_not() {
    let limits = Limits { unwritten_bytes_max: 1, ..Limits::default() };
    let mut peer = peer(Phase::Remove, limits);
    peer.handle_connected(Duration::ZERO, session(WireVersion::V3));
    let job = serve(&mut peer, 1);
    for call in [5, 6, 7] {
        cast(&mut peer, SECOND, call);
    }
    peer.kill(&[CallRef(7)]);
    peer.with_server(|server| server.handle_end(job, JobEnding::Reply(Bytes::new())));
    assert_eq!(peer.stats().buffered, 3, "the first was sent, and nothing behind it yet");
    receive(&mut peer, SECOND, &Message::Draining);
    assert_eq!(outputs(&mut peer), [Output::Deliver(6, CallRef(6), draining(6).1), Output::Draining]);
    let kinds: Vec<_> = sent(&mut peer).iter().map(Message::kind).collect();
    assert_eq!(kinds, [crate::Kind::Cast, crate::Kind::Reply]);
}

#[test]
fn a_monitor_hears_of_a_down_once() {
    let mut peer = connected(Phase::Switch, WireVersion::V2);
    peer.monitor(MonitorRef(1), 9);
    peer.monitor(MonitorRef(2), 9);
    peer.demonitor(MonitorRef(2));
    let (per_node, down) = (ServerAddress::PerNode, Message::Down(MonitorRef(1), DownReason::NoServer));
    let expected = [
        Message::Monitor(per_node, MonitorRef(1)),
        Message::Monitor(per_node, MonitorRef(2)),
        Message::Demonitor(per_node, MonitorRef(2)),
    ];
    assert_eq!(sent(&mut peer), expected);
    receive(&mut peer, SECOND, &down);
    receive(&mut peer, SECOND, &down);
    receive(&mut peer, SECOND, &Message::Down(MonitorRef(2), DownReason::NoServer));
    disconnect(&mut peer, SECOND);
    peer.handle_timeout(16 * SECOND);
    let mut downs = outputs(&mut peer);
    downs.retain(|output| matches!(output, Output::MonitorDown(..)));
    assert_eq!(downs, [Output::MonitorDown(9, MonitorRef(1), DownReason::NoServer)]);
}

#[test]
fn a_monitor_of_a_peer_that_is_not_there_or_has_no_such_server_is_down_at_once() {
    let mut away = peer(Phase::Switch, Limits::default());
    away.monitor(MonitorRef(1), 9);
    assert_eq!(outputs(&mut away), [Output::MonitorDown(9, MonitorRef(1), DownReason::NoConnect)]);
    let mut remover = connected(Phase::Remove, WireVersion::V2);
    receive(&mut remover, SECOND, &Message::Monitor(ServerAddress::Singleton, MonitorRef(3)));
    assert_eq!(sent(&mut remover), [Message::Down(MonitorRef(3), DownReason::NoServer)]);
}

#[test]
fn a_monitor_outlives_a_brief_disconnect_and_a_change_of_phase() {
    let mut peer = connected(Phase::Introduce, WireVersion::V2);
    peer.monitor(MonitorRef(1), 9);
    peer.set_phases(SECOND, &[now(1, Phase::Switch)]);
    disconnect(&mut peer, SECOND);
    peer.handle_connected(2 * SECOND, session(WireVersion::V2));
    let (singleton, per_node) = (ServerAddress::Singleton, ServerAddress::PerNode);
    let expected = [
        Message::Announce(0, now(1, Phase::Switch)),
        Message::Resume(singleton, Vec::new()),
        Message::Resume(per_node, Vec::new()),
        Message::Monitor(singleton, MonitorRef(1)),
    ];
    assert_eq!(sent(&mut peer), expected);
    assert_eq!(outputs(&mut peer), []);
}

#[test]
fn a_refusal_for_the_phase_ends_with_the_phase() {
    let mut peer = peer(Phase::Introduce, Limits::default());
    let mut of_its_phase = refusal(false);
    let Refusal::NotTaken { can_be_raised, .. } = &mut *of_its_phase else { panic!("{of_its_phase}") };
    *can_be_raised = false;
    peer.handle_refused(SECOND, LIFE, of_its_phase);
    let now = peer.config.phases[0];
    peer.set_phases(2 * SECOND, &[now]);
    assert!(matches!(peer.presence(), Presence::Refused(_)), "nothing has changed");
    peer.set_phases(3 * SECOND, &[PhaseNow { epoch: now.epoch + 1, phase: Phase::Switch }]);
    cast(&mut peer, 3 * SECOND, 5);
    assert_eq!(outputs(&mut peer), [], "it may be spoken to now");
    assert_eq!(peer.deadline(), Some(18 * SECOND));
    peer.handle_timeout(18 * SECOND);
    assert_eq!(answers(&mut peer), [(5, Answer::Down(DownReason::NoConnect))]);
}

#[test]
fn a_final_refusal_answers_at_once_and_another_one_waits() {
    let mut peer = peer(Phase::Introduce, Limits::default());
    cast(&mut peer, SECOND, 5);
    peer.handle_refused(SECOND, LIFE, refusal(false));
    assert_eq!(outputs(&mut peer), []);
    let is_final = refusal(true);
    peer.handle_refused(SECOND, LIFE, is_final.clone());
    assert_eq!(answers(&mut peer), [(5, Answer::Incompatible(is_final.clone()))]);
    cast(&mut peer, SECOND, 6);
    assert_eq!(answers(&mut peer), [(6, Answer::Incompatible(is_final))]);
    peer.handle_refused(2 * SECOND, Incarnation(8), refusal(false));
    cast(&mut peer, 2 * SECOND, 7);
    assert_eq!(outputs(&mut peer), [], "its next life may soon be spoken to");
    peer.handle_timeout(17 * SECOND);
    assert_eq!(answers(&mut peer), [(7, Answer::Down(DownReason::NoConnect))]);
}

#[test]
fn a_refusal_does_not_say_of_what_was_sent_that_it_did_not_run() {
    let mut peer = connected(Phase::Switch, WireVersion::V2);
    cast(&mut peer, SECOND, 5);
    disconnect(&mut peer, SECOND);
    cast(&mut peer, SECOND, 6);
    let refusal = refusal(true);
    peer.handle_refused(SECOND, LIFE, refusal.clone());
    let down = Answer::Down(DownReason::NoConnection);
    assert_eq!(answers(&mut peer), [(5, down), (6, Answer::Incompatible(refusal))]);
}

#[test]
fn a_refusal_of_the_next_life_ends_the_one_that_is_connected() {
    let mut peer = connected(Phase::Switch, WireVersion::V2);
    cast(&mut peer, SECOND, 5);
    peer.handle_refused(SECOND, LIFE, refusal(true));
    assert_eq!(outputs(&mut peer), [], "a second connection of the same life");
    peer.handle_refused(SECOND, Incarnation(8), refusal(true));
    let out = outputs(&mut peer);
    assert!(matches!(&out[0], Output::Close(CloseCode::Replaced, _)), "{out:?}");
    assert!(out.contains(&Output::Deliver(5, CallRef(5), Answer::Down(DownReason::Restarted))));
    assert!(matches!(peer.presence(), Presence::Refused(_)));
}

#[test]
fn a_missing_reply_ends_its_call_and_its_job() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    for call in [5, 6] {
        cast(&mut peer, SECOND, call);
    }
    sent(&mut peer);
    receive(&mut peer, SECOND, &reply(5, 1, false, inline()));
    assert_eq!(answers(&mut peer), [lost(5)]);
    assert_eq!(sent(&mut peer), [Message::Kill(ServerAddress::PerNode, CallRef(5))]);
    let (call, function, reason) = (CallRef(6), "f".into(), ExitReason::Done);
    receive(&mut peer, SECOND, &Message::Exit(Exit { call, replies: 1, function, reason }));
    assert_eq!(answers(&mut peer), [(6, Answer::Exit { function: "f".into(), reason: ExitReason::ConnectionLost })]);
}

#[test]
fn nothing_is_delivered_behind_a_last_reply_that_was_held() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    cast(&mut peer, SECOND, 5);
    receive(&mut peer, SECOND, &reply(5, 0, true, Body::Bulk(BulkId(0), 3)));
    let reason = ExitReason::ConnectionLost;
    let exit = Exit { call: CallRef(5), replies: 0, function: "".into(), reason };
    receive(&mut peer, SECOND, &Message::Exit(exit));
    assert_eq!(outputs(&mut peer), []);
    let body = Bytes::from_static(b"abc");
    peer.handle_bulk(SECOND, peer.connection(), BulkId(0), body.clone());
    assert_eq!(answers(&mut peer), [(5, Answer::Reply { body, last: true })]);
    assert_eq!(peer.stats().calls, 0);
}

#[test]
fn what_comes_behind_a_last_answer_that_is_held_does_not_change_it() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    cast(&mut peer, SECOND, 5);
    receive(&mut peer, SECOND, &reply(5, 0, false, Body::Bulk(BulkId(0), 3)));
    let (function, reason) = (Arc::from(""), ExitReason::ReplyDropped);
    let exit = Exit { call: CallRef(5), replies: 0, function: Arc::clone(&function), reason: reason.clone() };
    receive(&mut peer, SECOND, &Message::Exit(exit));
    receive(&mut peer, SECOND, &reply(5, 4, false, inline()));
    let body = Bytes::from_static(b"abc");
    peer.handle_bulk(SECOND, peer.connection(), BulkId(0), body.clone());
    let expected = [(5, Answer::Reply { body, last: false }), (5, Answer::Exit { function, reason })];
    assert_eq!(answers(&mut peer), expected);
}

#[test]
fn replies_wait_for_a_payload_before_them_and_not_over_a_broken_connection() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    cast(&mut peer, SECOND, 5);
    receive(&mut peer, SECOND, &reply(5, 0, false, Body::Bulk(BulkId(0), 3)));
    receive(&mut peer, SECOND, &reply(5, 1, false, inline()));
    assert_eq!(outputs(&mut peer), []);
    disconnect(&mut peer, SECOND);
    peer.handle_connected(SECOND, session(WireVersion::V3));
    receive(&mut peer, SECOND, &reply(5, 2, true, inline()));
    assert_eq!(answers(&mut peer), [lost(5)]);
}

#[test]
fn kills_go_where_the_cast_went_and_in_batches_where_the_wire_has_them() {
    let mut peer = connected(Phase::Introduce, WireVersion::V2);
    for call in [1, 2] {
        cast(&mut peer, SECOND, call);
    }
    peer.set_phases(SECOND, &[now(1, Phase::Switch)]);
    cast(&mut peer, SECOND, 3);
    sent(&mut peer);
    peer.kill(&[CallRef(1), CallRef(2), CallRef(3), CallRef(4)]);
    let all = vec![CallRef(1), CallRef(2), CallRef(3)];
    let (singleton, per_node) = (ServerAddress::Singleton, ServerAddress::PerNode);
    assert_eq!(sent(&mut peer), [Message::KillAll(singleton, all.clone()), Message::KillAll(per_node, all)]);
    let mut old = connected(Phase::Singleton, WireVersion::V1);
    for call in [1, 2] {
        cast(&mut old, SECOND, call);
    }
    sent(&mut old);
    old.kill(&[CallRef(1), CallRef(2)]);
    assert_eq!(sent(&mut old), [1, 2].map(|call| Message::Kill(singleton, CallRef(call))));
}

#[test]
fn a_batch_and_a_resume_fit_the_frames_that_the_peer_takes() {
    let mut peer = peer(Phase::Remove, Limits::default());
    let short = Session { frame_bytes_max: 1_024, ..session(WireVersion::V3) };
    peer.handle_connected(SECOND, short.clone());
    let calls: Vec<CallRef> = (0..200).map(|i| CallRef(u64::MAX - i)).collect();
    for &call in &calls {
        peer.cast(SECOND, Cast { call, ..request(0, Bytes::new()) }, 0).expect("it is taken");
    }
    sent(&mut peer);
    disconnect(&mut peer, SECOND);
    peer.handle_connected(SECOND, short);
    assert!(matches!(&sent(&mut peer)[..], [Message::Resume(_, listed)] if listed.len() == 89));
    let out = outputs(&mut peer);
    assert_eq!(out.len(), 111, "the others are told");
    assert!(out.iter().all(|output| matches!(output, Output::Deliver(..))), "{out:?}");
    for &call in &calls {
        let _ = peer.cast(SECOND, Cast { call, ..request(0, Bytes::new()) }, 0);
    }
    sent(&mut peer);
    peer.kill(&calls);
    assert_eq!(sent(&mut peer).len(), 3);
    assert_eq!(outputs(&mut peer), []);
}

#[test]
fn a_dropped_cast_is_told_and_a_dropped_reply_ends_its_job_by_the_resume() {
    let mut peer = peer(Phase::Remove, Limits { buffered_frames_max: 1, ..Limits::default() });
    peer.handle_connected(Duration::ZERO, session(WireVersion::V3));
    let job = serve(&mut peer, 1);
    disconnect(&mut peer, SECOND);
    cast(&mut peer, SECOND, 5);
    assert!(peer.with_server(|server| server.handle_reply(job, Bytes::new())));
    assert_eq!(answers(&mut peer), [(5, Answer::Dropped)]);
    cast(&mut peer, SECOND, 6);
    assert_eq!(outputs(&mut peer), [Output::Job(JobOutput::Abort(job))]);
    peer.handle_connected(2 * SECOND, session(WireVersion::V3));
    receive(&mut peer, SECOND, &Message::Resume(ServerAddress::PerNode, vec![CallRef(1)]));
    let told = |message: &Message| matches!(message, Message::Exit(exit) if exit.call == CallRef(1));
    assert!(sent(&mut peer).iter().any(told));
}

#[test]
fn as_many_answers_as_there_may_be_calls_are_dropped_without_deep_recursion() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let calls = (0..100_000).map(CallRef).collect();
    receive(&mut peer, SECOND, &Message::Resume(ServerAddress::PerNode, calls));
    let told = sent(&mut peer);
    assert_eq!(told.len(), 100_000, "each is told, in order or past the buffer");
    assert!(peer.stats().dropped > 0);
}

#[test]
fn a_peer_that_asks_and_does_not_read_is_cut_off() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let calls: Vec<CallRef> = (0..100_000).map(|i| CallRef(u64::MAX - i)).collect();
    let resume = Message::Resume(ServerAddress::PerNode, calls);
    for _ in 0..9 {
        if peer.link.session().is_some() {
            receive(&mut peer, SECOND, &resume);
        }
    }
    assert!(matches!(outputs(&mut peer).last(), Some(Output::Close(CloseCode::TooSlow, _))));
    assert!(matches!(peer.presence(), Presence::Away(_)));
    peer.handle_connected(SECOND, session(WireVersion::V3));
    assert!(matches!(&sent(&mut peer)[..], [Message::Resume(..), ..]), "it may come back");
}

#[test]
fn what_a_peer_may_leave_unread_is_four_frames_of_full_length_beyond_the_rest() {
    let (ping, mut one) = (Message::Ping(CallRef(u64::MAX)), BytesMut::new());
    wire::encode(WireVersion::V3, &ping, 1 << 20, &mut one).expect("it fits");
    let most = 1_000 * one.len();
    let limits = Limits { frame_bytes_max: 1_000, unwritten_bytes_max: most - 4 * 1_000, ..Limits::default() };
    let mut link = Link::new(Presence::Up(session(WireVersion::V3), SECOND), Guards::default());
    for _ in 0..1_000 {
        link.encode(&mut ping.clone(), &limits).expect("it fits");
    }
    assert!(!link.is_overrun(&limits));
    let one_less = Limits { unwritten_bytes_max: limits.unwritten_bytes_max - 1, ..limits.clone() };
    assert!(link.is_overrun(&one_less));
    link.encode(&mut ping.clone(), &limits).expect("it fits");
    assert!(link.is_overrun(&limits));
    link.take_unwritten(&mut BytesMut::new());
    assert!(!link.is_overrun(&limits), "it reads again");
}

/// Wire v3 in a frame's first byte.
const V3: u8 = 0b1100_0000;

#[test]
fn an_unknown_frame_is_counted_and_answered() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    peer.handle_bytes(SECOND, peer.connection(), &[3, 0, 0, 0, V3 | 45, 1, 2, 2, 0, 0, 0, V3 | 6, 0]);
    assert_eq!(sent(&mut peer), [Message::Unsupported(45), Message::Unsupported(6)]);
    assert_eq!(peer.stats().unknown_frames, 2);
}

#[test]
fn a_malformed_frame_ends_the_connection_and_nothing_behind_it_is_read() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let ping_behind = [&[2, 0, 0, 0, V3 | 2, 0x80][..], &[2, 0, 0, 0, V3 | 45, 0]].concat();
    peer.handle_bytes(SECOND, peer.connection(), &ping_behind);
    assert!(matches!(&outputs(&mut peer)[..], [Output::Close(CloseCode::BadFrame, _)]));
    assert_eq!((peer.stats().unknown_frames, peer.incomplete_bytes()), (0, 0));
    assert!(matches!(peer.presence(), Presence::Away(_)));
}

#[test]
fn as_many_calls_are_open_as_may_be_and_one_more_after_an_answer() {
    let mut peer = peer(Phase::Remove, Limits { calls_open_max: 2, ..Limits::default() });
    for call in [1, 2] {
        cast(&mut peer, SECOND, call);
    }
    let refused = peer.cast(SECOND, request(3, Bytes::new()), 3);
    assert_eq!(refused, Err(CastError::TooManyCalls { max: 2 }));
    peer.kill(&[CallRef(1)]);
    cast(&mut peer, SECOND, 3);
    assert_eq!(peer.cast(SECOND, request(3, Bytes::new()), 3), Err(CastError::TooManyCalls { max: 2 }));
    peer.kill(&[CallRef(2)]);
    assert_eq!(peer.cast(SECOND, request(3, Bytes::new()), 3), Err(CastError::DuplicateRef(CallRef(3))));
}

#[test]
fn a_phase_that_the_peer_cannot_serve_lets_go_of_it() {
    let mut peer = connected(Phase::Switch, WireVersion::V3);
    peer.set_phases(SECOND, &[now(1, Phase::Introduce)]);
    assert!(matches!(&outputs(&mut peer)[..], [Output::Close(CloseCode::TryAgain, _)]));
    cast(&mut peer, SECOND, 5);
    peer.handle_connected(2 * SECOND, session(WireVersion::V3));
    assert!(matches!(&outputs(&mut peer)[..], [Output::Close(CloseCode::TryAgain, _)]));
    assert!(peer.link.session().is_none(), "a cast to a server that is not there cannot be sent");
    peer.set_phases(3 * SECOND, &[now(2, Phase::Switch)]);
    peer.handle_connected(3 * SECOND, session(WireVersion::V3));
    assert!(sent(&mut peer).iter().any(|message| matches!(message, Message::Cast(ServerAddress::PerNode, _))));
}

#[test]
fn what_comes_late_from_a_replaced_connection_is_passed_over() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let old = peer.connection();
    peer.handle_connected(SECOND, session(WireVersion::V3));
    peer.handle_bytes(SECOND, old, &[2, 0, 0, 0, V3 | 45, 0]);
    peer.handle_bulk(SECOND, old, BulkId(0), Bytes::new());
    peer.handle_disconnected(SECOND, old);
    let before = peer.clone();
    peer.handle_departed(SECOND, old);
    assert_eq!(peer, before);
    let PeerStats { unknown_frames, late_payloads, .. } = peer.stats();
    assert_eq!((peer.link.session().is_some(), unknown_frames, late_payloads), (true, 0, 1));
}

fn item(call: u64, number: u64) -> Message {
    Message::Reply(Reply { call: CallRef(call), number, form: ReplyForm::Item, body: inline() })
}

/// So many items in one frame, the first of that number.
fn items(call: u64, number: u64, count: usize) -> Message {
    let mut list = ItemList::default();
    assert!((0..count).all(|_| list.push(b"x")));
    Message::Items(ItemBatch { call: CallRef(call), number, list })
}

/// A peer whose job for call 5 has asked for a stream, which was started, and has sent three items.
fn streaming() -> Peer<u32> {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    cast(&mut peer, SECOND, 5);
    receive(&mut peer, SECOND, &Message::StreamInit(CallRef(5)));
    assert!(peer.start_stream(CallRef(5)));
    (0..3).for_each(|number| receive(&mut peer, SECOND, &item(5, number)));
    sent(&mut peer);
    outputs(&mut peer);
    peer
}

#[test]
fn a_caller_starts_or_cancels_a_stream_that_was_asked_for_and_no_other() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    for call in [5, 6] {
        cast(&mut peer, SECOND, call);
    }
    sent(&mut peer);
    assert!(!peer.start_stream(CallRef(5)) && !peer.cancel_stream(CallRef(5)));
    assert_eq!(sent(&mut peer), [], "nothing is said of what was not asked for");
    for call in [5, 6] {
        receive(&mut peer, SECOND, &Message::StreamInit(CallRef(call)));
    }
    assert_eq!(answers(&mut peer), [(5, Answer::StreamInit), (6, Answer::StreamInit)]);
    assert!(peer.start_stream(CallRef(5)) && peer.cancel_stream(CallRef(6)));
    let per_node = ServerAddress::PerNode;
    let said = [Message::StreamStart(per_node, CallRef(5)), Message::StreamCancel(per_node, CallRef(6))];
    assert_eq!(sent(&mut peer), said);
    receive(&mut peer, SECOND, &Message::StreamInit(CallRef(5)));
    assert_eq!((outputs(&mut peer), sent(&mut peer)), (Vec::new(), said[..1].to_vec()), "who asks again is told again");
}

#[test]
fn items_are_acknowledged_in_all_and_not_beyond_those_that_came() {
    let mut peer = streaming();
    let ack = |total| [Message::Ack(ServerAddress::PerNode, CallRef(5), total)];
    assert!(peer.ack(CallRef(5), 1));
    assert_eq!(sent(&mut peer), ack(1));
    assert!(peer.ack(CallRef(5), 2));
    assert_eq!(sent(&mut peer), ack(3));
    assert!(!peer.ack(CallRef(5), 1), "none is left");
    receive(&mut peer, SECOND, &reply(5, 3, false, inline()));
    assert!(!peer.ack(CallRef(5), 1), "a plain reply is no item");
    assert_eq!(sent(&mut peer), []);
}

#[test]
fn items_of_one_frame_come_in_order_and_are_acknowledged_one_by_one_or_as_one() {
    let mut peer = streaming();
    receive(&mut peer, SECOND, &items(5, 3, 4));
    receive(&mut peer, SECOND, &item(5, 7));
    let one = (5, Answer::Item { body: Bytes::from_static(b"x") });
    assert_eq!(answers(&mut peer), vec![one; 5]);
    assert!(peer.ack(CallRef(5), 1) && peer.ack(CallRef(5), 7) && !peer.ack(CallRef(5), 1));
    let ack = |total| Message::Ack(ServerAddress::PerNode, CallRef(5), total);
    assert_eq!(sent(&mut peer), [ack(1), ack(8)]);
}

#[test]
fn items_that_came_before_or_miss_one_before_them_end_the_call_and_are_not_delivered() {
    // Three have come.
    for (number, count) in [(4, 2), (0, 3), (2, 2), (3, 0)] {
        let mut peer = streaming();
        receive(&mut peer, SECOND, &items(5, number, count));
        if (number, count) == (3, 0) {
            assert_eq!(answers(&mut peer), [], "none is nothing");
            continue;
        }
        assert_eq!(answers(&mut peer), [lost(5)], "{count} from {number}");
        assert_eq!(sent(&mut peer), [Message::Kill(ServerAddress::PerNode, CallRef(5))]);
    }
}

#[test]
fn items_behind_a_payload_wait_for_it_and_those_that_a_connection_took_along_are_missed() {
    let mut peer = streaming();
    let large =
        Message::Reply(Reply { call: CallRef(5), number: 3, form: ReplyForm::Item, body: Body::Bulk(BulkId(0), 5) });
    receive(&mut peer, SECOND, &large);
    receive(&mut peer, SECOND, &items(5, 4, 3));
    assert_eq!(answers(&mut peer), []);
    let mut whole = peer.clone();
    whole.handle_bulk(SECOND, whole.connection(), BulkId(0), Bytes::from_static(b"large"));
    let item = |body: &'static str| (5, Answer::Item { body: body.into() });
    assert_eq!(answers(&mut whole), [item("large"), item("x"), item("x"), item("x")]);
    disconnect(&mut peer, SECOND);
    for (peer, has) in [(&mut peer, 3), (&mut whole, 7)] {
        peer.handle_connected(SECOND, session(WireVersion::V3));
        receive(peer, SECOND, &Message::Sent(Sent { call: CallRef(5), replies: has, question: None }));
        assert_eq!(answers(peer), [], "it has {has}");
        receive(peer, SECOND, &Message::Sent(Sent { call: CallRef(5), replies: 8, question: None }));
        assert_eq!(answers(peer), [lost(5)], "it has {has}");
    }
}

#[test]
fn what_was_said_of_a_stream_goes_out_again_behind_the_resume() {
    let mut peer = streaming();
    assert!(peer.ack(CallRef(5), 2));
    disconnect(&mut peer, SECOND);
    peer.handle_connected(2 * SECOND, session(WireVersion::V3));
    let (per_node, call) = (ServerAddress::PerNode, CallRef(5));
    let expected =
        [Message::Resume(per_node, vec![call]), Message::StreamStart(per_node, call), Message::Ack(per_node, call, 2)];
    assert_eq!(sent(&mut peer), expected);
}

#[test]
fn an_answer_to_a_call_that_is_over_is_counted_and_not_delivered() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    cast(&mut peer, SECOND, 5);
    assert_eq!(peer.open_calls().collect::<Vec<_>>(), [CallRef(5)]);
    receive(&mut peer, SECOND, &reply(5, 0, true, inline()));
    assert_eq!((answers(&mut peer).len(), peer.stats().stray_answers), (1, 0));
    assert_eq!(peer.open_calls().count(), 0);
    for late in [reply(5, 0, false, inline()), Message::Ping(CallRef(5)), Message::NoSuchFunction(CallRef(6))] {
        receive(&mut peer, SECOND, &late);
    }
    assert_eq!((outputs(&mut peer), peer.stats().stray_answers), (Vec::new(), 3));
}

#[test]
fn what_comes_behind_a_held_last_answer_is_counted_as_stray() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    cast(&mut peer, SECOND, 5);
    receive(&mut peer, SECOND, &reply(5, 0, true, Body::Bulk(BulkId(0), 3)));
    receive(&mut peer, SECOND, &Message::Ping(CallRef(5)));
    assert_eq!((outputs(&mut peer), peer.stats().stray_answers, peer.stats().calls), (Vec::new(), 1, 1));
}

#[test]
fn the_counts_say_what_is_open_runs_and_waits() {
    let mut peer = streaming();
    let body = Body::Inline(Bytes::from_static(b"four"));
    let cast_of =
        |call| Cast { call: CallRef(call), function: "f".into(), time_left: None, nonce: 0, trace: None, body };
    receive(&mut peer, SECOND, &Message::Cast(ServerAddress::PerNode, cast_of(1)));
    let [Output::Job(JobOutput::Spawn(job, _))] = outputs(&mut peer)[..] else { panic!("no spawn") };
    peer.with_server(|server| server.handle_item(job, &mut Bytes::new(), Some(5)));
    disconnect(&mut peer, SECOND);
    peer.cast(SECOND, request(6, Bytes::from_static(b"abc")), 6).expect("it is taken");
    let counted =
        PeerStats { calls: 2, jobs: 1, job_bytes: 4, streams: 1, buffered: 1, waited: 1, ..PeerStats::default() };
    assert_eq!(peer.stats(), PeerStats { buffered_bytes: 3, ..counted });
    assert_eq!(peer.jobs().collect::<Vec<_>>(), [(job.caller, CallRef(1))]);
    peer.with_server(|server| server.handle_stream_timeout(job));
    let timeouts = StreamTimeouts { init_stream: 1, ..StreamTimeouts::default() };
    let counted = PeerStats { jobs: 0, job_bytes: 0, streams: 0, ..counted };
    let counted = PeerStats { buffered: 2, waited: 2, stream_timeouts: timeouts, ..counted };
    assert_eq!(peer.stats(), PeerStats { buffered_bytes: 3, ..counted });
}

#[test]
fn a_search_sees_a_peer_without_its_past() {
    let limits = Limits { buffered_frames_max: 1, ..Limits::default() };
    let connected = |peer: &mut Peer<u32>, said: u64| {
        peer.handle_connected(SECOND, Session { said: [said].into(), ..session(WireVersion::V3) });
        sent(peer);
    };
    let mut fresh = peer(Phase::Remove, limits.clone());
    connected(&mut fresh, 0);
    let mut used = peer(Phase::Remove, limits);
    for call in [1, 2] {
        cast(&mut used, SECOND, call);
    }
    used.kill(&[CallRef(2)]);
    connected(&mut used, 3);
    receive(&mut used, SECOND, &reply(1, 0, true, inline()));
    used.handle_bytes(SECOND, used.connection(), &[2, 0, 0, 0, V3 | 45, 0]);
    receive(&mut used, SECOND, &Message::Kill(ServerAddress::PerNode, CallRef(9)));
    used.answer(Caller { peer: PEER, incarnation: Incarnation(1) }, Message::Ping(CallRef(9)));
    sent(&mut used);
    outputs(&mut used);
    outputs(&mut fresh);
    used.handle_bulk(SECOND, ConnectionId(used.connection().0 + 1), BulkId(0), Bytes::new());
    let PeerStats { waited, dropped, unknown_frames, stray_answers, stale_answers, late_payloads, .. } = used.stats();
    assert_eq!((waited, dropped, unknown_frames), (2, 1, 1));
    assert_eq!((stray_answers, stale_answers, late_payloads), (1, 1, 1));
    for peer in [&mut used, &mut fresh] {
        peer.forget_past(|call| call == CallRef(9));
    }
    assert_ne!(used, fresh, "the cast of a call that was killed may still come");
    used.forget_past(|_| false);
    assert_eq!(used, fresh);
}

#[test]
fn a_phase_is_announced_once_and_an_older_one_changes_nothing() {
    let mut peer = connected(Phase::Introduce, WireVersion::V2);
    peer.set_phases(SECOND, &[now(2, Phase::Switch)]);
    assert_eq!(sent(&mut peer), [Message::Announce(0, now(2, Phase::Switch))]);
    for epoch in [1, 2] {
        peer.set_phases(SECOND, &[now(epoch, Phase::Introduce)]);
    }
    cast(&mut peer, SECOND, 1);
    assert!(matches!(&sent(&mut peer)[..], [Message::Cast(ServerAddress::PerNode, _)]));
    assert_eq!(outputs(&mut peer), []);
    disconnect(&mut peer, SECOND);
    peer.handle_connected(SECOND, Session { said: [2].into(), ..session(WireVersion::V2) });
    assert!(!sent(&mut peer).iter().any(|said| matches!(said, Message::Announce(..))), "its hello has said so");
}

#[test]
fn a_refusal_that_is_not_final_gives_a_peer_that_is_away_no_more_time() {
    let mut peer = connected(Phase::Introduce, WireVersion::V2);
    peer.handle_timeout(60 * SECOND);
    assert_eq!((peer.deadline(), outputs(&mut peer)), (None, Vec::new()), "it is there");
    disconnect(&mut peer, 60 * SECOND);
    peer.handle_refused(70 * SECOND, LIFE, refusal(false));
    assert_eq!(peer.deadline(), Some(75 * SECOND));
    peer.handle_timeout(75 * SECOND);
    assert_eq!(peer.presence(), &Presence::Gone);
    peer.handle_refused(80 * SECOND, LIFE, refusal(false));
    assert_eq!(peer.presence(), &Presence::Gone, "it has been given up, and still is not there");
}

#[test]
fn a_connection_that_is_lost_twice_is_away_since_the_first_time() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    let first = peer.connection();
    disconnect(&mut peer, SECOND);
    disconnect(&mut peer, 5 * SECOND);
    assert_eq!(peer.deadline(), Some(16 * SECOND));
    peer.handle_connected(6 * SECOND, session(WireVersion::V3));
    assert!(peer.connection() > first, "each has a number of its own");
}

#[test]
fn a_peer_that_is_no_member_any_more_answers_all_and_stays_silent() {
    let mut peer = connected(Phase::Remove, WireVersion::V3);
    cast(&mut peer, SECOND, 1);
    peer.monitor(MonitorRef(7), 70);
    let job = serve(&mut peer, 5);
    sent(&mut peer);
    outputs(&mut peer);
    peer.stop();
    let down = DownReason::NoConnection;
    let told = outputs(&mut peer);
    assert!(told.contains(&Output::Deliver(1, CallRef(1), Answer::Down(down))), "it may have run: {told:?}");
    assert!(told.contains(&Output::MonitorDown(70, MonitorRef(7), down)));
    assert!(told.contains(&Output::Job(JobOutput::Abort(job))), "its job is killed");
    cast(&mut peer, 2 * SECOND, 2);
    assert_eq!(outputs(&mut peer), [Output::Deliver(2, CallRef(2), Answer::Down(DownReason::NoConnect))]);
    let mut late = BytesMut::new();
    let kill = Message::Kill(ServerAddress::PerNode, CallRef(5));
    wire::encode(WireVersion::V3, &kill, 1 << 20, &mut late).expect("it can be sent");
    peer.handle_bytes(2 * SECOND, peer.connection(), &late);
    disconnect(&mut peer, 3 * SECOND);
    assert_eq!((outputs(&mut peer), peer.deadline()), (Vec::new(), None), "what comes late is passed over");
}

#[test]
fn a_member_that_joins_under_a_name_that_left_is_told_that_nothing_is_open() {
    let mut peer = peer(Phase::Remove, Limits::default());
    peer.forget_earlier();
    cast(&mut peer, SECOND, 1);
    peer.handle_connected(SECOND, session(WireVersion::V3));
    let said = sent(&mut peer);
    assert!(
        matches!(&said[..], [Message::Resume(ServerAddress::PerNode, open), Message::Cast(..)] if open.is_empty()),
        "before the first cast: {said:?}"
    );
    disconnect(&mut peer, SECOND);
    peer.handle_connected(SECOND, Session { incarnation: Incarnation(LIFE.0 + 1), ..session(WireVersion::V3) });
    assert_eq!(sent(&mut peer), [], "once: later lives of it have never had to do with that member");
}
