//! One server's streams, questions and the bounds beside them.

use super::*;
use crate::limits::Limits;
use crate::message::{Body, Cast, DownReason, Exit, Reply, Sent};
use crate::name::{Incarnation, MonitorRef, PeerId};
use crate::phase::ServerAddress;
use crate::reply_stream::StreamTimeouts;
use crate::server::tests::*;
use crate::server::{JobEnding, ServerRequest};

const WINDOW: Option<u32> = Some(5);

fn item() -> Bytes {
    Bytes::from_static(b"x")
}

fn signal(server: &mut Server, signal: StreamSignal) -> Vec<ServerOutput> {
    server.handle_request(CALLER, ServerRequest::Stream(CallRef(1), signal));
    outputs(server)
}

/// A server with one job whose stream was started.
fn streaming() -> (Server, JobKey) {
    let mut server = server(10, 4);
    let job = spawn(&mut server, 1);
    assert_eq!(server.handle_item(job, &mut item(), WINDOW), ItemStep::Wait);
    assert_eq!(messages(&mut server), [Message::StreamInit(CallRef(1))]);
    assert_eq!(signal(&mut server, StreamSignal::Start), [ServerOutput::Job(JobOutput::Wake(job))]);
    (server, job)
}

/// Ends the stream of a job in that way.
fn ended(job: JobKey, reason: ExitReason, replies: u64) -> Vec<ServerOutput> {
    let exit = Message::Exit(Exit { call: CallRef(1), replies, function: "f".into(), reason });
    vec![ServerOutput::Answer(CALLER, exit), ServerOutput::Job(JobOutput::Abort(job))]
}

#[test]
fn a_stream_is_asked_for_once_and_sends_no_item_before_its_start() {
    let mut server = server(10, 4);
    let job = spawn(&mut server, 1);
    assert_eq!(server.handle_item(job, &mut item(), WINDOW), ItemStep::Wait);
    assert_eq!(server.handle_item(job, &mut item(), WINDOW), ItemStep::Wait);
    assert_eq!(messages(&mut server), [Message::StreamInit(CallRef(1))]);
    assert_eq!(server.streams(), 1);
}

#[test]
fn five_items_go_and_the_sixth_waits_for_an_acknowledgement() {
    let (mut server, job) = streaming();
    for _ in 0..5 {
        assert_eq!(server.handle_item(job, &mut item(), WINDOW), ItemStep::Sent);
    }
    assert_eq!(server.handle_item(job, &mut item(), WINDOW), ItemStep::Wait);
    assert_eq!(messages(&mut server).len(), 5);
    assert_eq!(signal(&mut server, StreamSignal::Ack(1)), [ServerOutput::Job(JobOutput::Wake(job))]);
    assert_eq!(server.handle_item(job, &mut item(), WINDOW), ItemStep::Sent);
    assert_eq!(server.handle_item(job, &mut item(), WINDOW), ItemStep::Wait);
}

#[test]
fn the_last_item_needs_no_room_and_no_acknowledgement() {
    let (mut server, job) = streaming();
    for _ in 0..5 {
        server.handle_item(job, &mut item(), WINDOW);
    }
    messages(&mut server);
    assert_eq!(server.handle_item(job, &mut item(), None), ItemStep::Sent);
    let last = Reply { call: CallRef(1), number: 5, form: ReplyForm::Plain, body: Body::Inline(item()) };
    assert_eq!(messages(&mut server), [Message::Reply(last)]);
    assert_eq!(signal(&mut server, StreamSignal::Ack(6)), ended(job, ExitReason::MismatchedAck, 6));
}

#[test]
fn a_cancelled_stream_ends_its_job_normally() {
    let mut server = server(10, 4);
    let job = spawn(&mut server, 1);
    server.handle_item(job, &mut item(), WINDOW);
    outputs(&mut server);
    assert_eq!(signal(&mut server, StreamSignal::Cancel), ended(job, ExitReason::Done, 0));
    assert_eq!(server.handle_item(job, &mut item(), WINDOW), ItemStep::Over);
    assert_eq!((server.jobs(), server.streams()), (0, 0));
}

#[test]
fn more_acknowledgements_than_items_end_that_stream_and_not_the_server() {
    let (mut server, job) = streaming();
    let other = spawn(&mut server, 2);
    server.handle_item(job, &mut item(), WINDOW);
    outputs(&mut server);
    assert_eq!(signal(&mut server, StreamSignal::Ack(2)), ended(job, ExitReason::MismatchedAck, 1));
    assert!(server.handle_reply(other, item()), "the other job goes on");
}

#[test]
fn an_acknowledgement_before_the_start_is_an_invalid_message() {
    let mut server = server(10, 4);
    let job = spawn(&mut server, 1);
    server.handle_item(job, &mut item(), WINDOW);
    outputs(&mut server);
    assert_eq!(signal(&mut server, StreamSignal::Ack(1)), ended(job, ExitReason::InvalidStreamMessage, 0));
}

#[test]
fn each_wait_in_vain_ends_its_job_and_is_counted_by_what_it_waited_for() {
    let mut asked = server(10, 4);
    let job = spawn(&mut asked, 1);
    asked.handle_stream_timeout(job);
    assert_eq!(outputs(&mut asked), [], "it has no stream");
    asked.handle_item(job, &mut item(), WINDOW);
    outputs(&mut asked);
    asked.handle_stream_timeout(job);
    assert_eq!(outputs(&mut asked), ended(job, ExitReason::StreamTimeout, 0));
    assert_eq!(asked.stream_timeouts(), StreamTimeouts { init_stream: 1, stream: 0, wait_for_ack: 0 });

    let (mut open, job) = streaming();
    open.handle_stream_timeout(job);
    assert_eq!(outputs(&mut open), ended(job, ExitReason::StreamTimeout, 0));
    assert_eq!(open.stream_timeouts(), StreamTimeouts { init_stream: 0, stream: 1, wait_for_ack: 1 });
}

#[test]
fn a_word_of_the_caller_reaches_its_own_job_only() {
    let (mut server, job) = streaming();
    for _ in 0..5 {
        server.handle_item(job, &mut item(), WINDOW);
    }
    outputs(&mut server);
    let stranger = Caller { peer: PeerId(2), ..CALLER };
    let earlier = Caller { incarnation: Incarnation(6), ..CALLER };
    for caller in [stranger, earlier] {
        server.handle_request(caller, ServerRequest::Stream(CallRef(1), StreamSignal::Ack(5)));
        server.handle_request(caller, ServerRequest::Stream(CallRef(1), StreamSignal::Cancel));
        server.handle_request(caller, ServerRequest::Response(CallRef(1), 0, item()));
    }
    assert_eq!(outputs(&mut server), []);
    assert_eq!(server.handle_item(job, &mut item(), WINDOW), ItemStep::Wait);
}

#[test]
fn a_resume_says_again_what_its_caller_may_have_missed() {
    let mut server = server(10, 4);
    let job = spawn(&mut server, 1);
    server.handle_reply(job, item());
    server.handle_item(job, &mut item(), WINDOW);
    outputs(&mut server);
    let sent = |replies, question| Message::Sent(Sent { call: CallRef(1), replies, question });
    let again = [sent(1, None), Message::StreamInit(CallRef(1))];
    assert_eq!(told(&mut server, resume(&[1])), again);
    signal(&mut server, StreamSignal::Start);
    assert_eq!(told(&mut server, resume(&[1])), [sent(1, None)], "it was answered");
    let question = server.handle_question(job, item()).expect("it runs");
    outputs(&mut server);
    assert_eq!(told(&mut server, resume(&[1])), [sent(2, Some(question))], "it waits");
    server.handle_request(CALLER, ServerRequest::Response(CallRef(1), question, item()));
    outputs(&mut server);
    assert_eq!(told(&mut server, resume(&[1])), [sent(2, None)], "it has its response, taken or not");
}

#[test]
fn a_question_waits_for_its_own_response() {
    let mut server = server(10, 4);
    let job = spawn(&mut server, 1);
    let question = server.handle_question(job, item()).expect("it runs");
    let sent = Reply { call: CallRef(1), number: question, form: ReplyForm::Question, body: Body::Inline(item()) };
    assert_eq!(messages(&mut server), [Message::Reply(sent)]);
    server.handle_request(CALLER, ServerRequest::Response(CallRef(1), question + 1, item()));
    assert_eq!(outputs(&mut server), [], "that was no question");
    assert_eq!(server.take_response(job, question), QuestionStep::Wait);
    server.handle_request(CALLER, ServerRequest::Response(CallRef(1), question, "go".into()));
    assert_eq!(outputs(&mut server), [ServerOutput::Job(JobOutput::Wake(job))]);
    server.handle_request(CALLER, ServerRequest::Response(CallRef(1), question, "again".into()));
    assert_eq!(server.take_response(job, question + 1), QuestionStep::Wait, "it is another question's");
    assert_eq!(server.take_response(job, question), QuestionStep::Response("go".into()));
    server.handle_request(CALLER, ServerRequest::Response(CallRef(1), question, "late".into()));
    assert_eq!(outputs(&mut server), []);
}

#[test]
fn streams_of_a_peer_are_bounded_and_make_room_when_they_end() {
    let mut server = Server::new(ServerAddress::PerNode, &Limits { streams_max: 2, ..Limits::default() });
    let jobs = [1, 2, 3].map(|call| spawn(&mut server, call));
    for job in [jobs[0], jobs[1]] {
        assert_eq!(server.handle_item(job, &mut item(), WINDOW), ItemStep::Wait);
    }
    outputs(&mut server);
    assert_eq!(server.handle_item(jobs[2], &mut item(), WINDOW), ItemStep::Over);
    assert_eq!(messages(&mut server), [exit(3, "f", ExitReason::TooManyStreams)]);
    server.handle_end(jobs[0], JobEnding::Exit(ExitReason::Done));
    outputs(&mut server);
    let next = spawn(&mut server, 4);
    assert_eq!(server.handle_item(next, &mut item(), WINDOW), ItemStep::Wait);
}

#[test]
fn bytes_of_arguments_are_bounded_and_make_room_when_jobs_end() {
    let limits = Limits { payload_bytes_max: 10, job_bytes_max: 10, ..Limits::default() };
    let mut server = Server::new(ServerAddress::PerNode, &limits);
    let sized = |call, bytes: usize| match cast(call) {
        ServerRequest::Cast(cast) => ServerRequest::Cast(Cast { body: vec![0; bytes].into(), ..cast }),
        other => other,
    };
    server.handle_request(CALLER, sized(1, 10));
    let [ServerOutput::Job(JobOutput::Spawn(job, _))] = outputs(&mut server)[..] else { panic!("no spawn") };
    assert_eq!(told(&mut server, sized(2, 1)), [exit(2, "f", ExitReason::TooManyBytes)]);
    server.handle_end(job, JobEnding::Exit(ExitReason::Done));
    outputs(&mut server);
    assert_eq!(told(&mut server, sized(3, 10)), []);
}

#[test]
fn monitors_of_a_peer_are_bounded_and_make_room_when_they_go() {
    let mut server = Server::new(ServerAddress::PerNode, &Limits { monitors_max: 2, ..Limits::default() });
    for monitor in [1, 2] {
        assert_eq!(told(&mut server, ServerRequest::Monitor(MonitorRef(monitor))), []);
    }
    let down = Message::Down(MonitorRef(3), DownReason::TooManyMonitors);
    assert_eq!(told(&mut server, ServerRequest::Monitor(MonitorRef(3))), [down]);
    assert_eq!(told(&mut server, ServerRequest::Demonitor(MonitorRef(1))), []);
    assert_eq!(told(&mut server, ServerRequest::Monitor(MonitorRef(3))), []);
}

/// So many items, each with its number.
fn list(numbers: std::ops::Range<u8>) -> ItemList {
    let mut list = ItemList::default();
    assert!(numbers.clone().all(|number| list.push(&[number])));
    list
}

fn items(number: u64, numbers: std::ops::Range<u8>) -> Message {
    Message::Items(ItemBatch { call: CallRef(1), number, list: list(numbers) })
}

#[test]
fn items_that_are_ready_together_are_one_message_and_one_alone_is_a_reply() {
    let (mut server, job) = streaming();
    assert_eq!(server.handle_items(job, &mut list(0..3), 5), Some(2));
    assert_eq!(server.handle_items(job, &mut ItemList::default(), 5), Some(2), "it asks for its room");
    assert_eq!(server.handle_items(job, &mut list(3..4), 5), Some(1));
    let alone = Body::Inline(Bytes::from_static(&[3]));
    let alone = Message::Reply(Reply { call: CallRef(1), number: 3, form: ReplyForm::Item, body: alone });
    assert_eq!(messages(&mut server), [items(0, 0..3), alone]);
    server.handle_end(job, JobEnding::Exit(ExitReason::Done));
    let exit = Exit { call: CallRef(1), replies: 4, function: "f".into(), reason: ExitReason::Done };
    assert_eq!(messages(&mut server), [Message::Exit(exit)], "each is counted");
    assert_eq!(server.handle_items(job, &mut list(4..5), 5), None, "it is over");
}

#[test]
fn of_more_items_than_the_window_holds_the_first_go_and_the_rest_as_they_are_acknowledged() {
    let (mut server, job) = streaming();
    let mut ready = list(0..8);
    assert_eq!(server.handle_items(job, &mut ready, 5), Some(0));
    assert_eq!((messages(&mut server), &ready), (vec![items(0, 0..5)], &list(5..8)));
    assert_eq!(server.handle_items(job, &mut ready, 5), Some(0));
    assert_eq!(messages(&mut server), [], "nothing was acknowledged");
    assert_eq!(signal(&mut server, StreamSignal::Ack(2)), [ServerOutput::Job(JobOutput::Wake(job))]);
    assert_eq!(server.handle_items(job, &mut ready, 5), Some(0));
    assert_eq!((messages(&mut server), ready.len()), (vec![items(5, 5..7)], 1));
    assert_eq!(signal(&mut server, StreamSignal::Ack(7)), [ServerOutput::Job(JobOutput::Wake(job))]);
    assert_eq!(server.handle_items(job, &mut ready, 5), Some(4));
    assert_eq!(signal(&mut server, StreamSignal::Ack(9)), {
        let mut end = ended(job, ExitReason::MismatchedAck, 8);
        let alone = Body::Inline(Bytes::from_static(&[7]));
        let alone = Message::Reply(Reply { call: CallRef(1), number: 7, form: ReplyForm::Item, body: alone });
        end.insert(0, ServerOutput::Answer(CALLER, alone));
        end
    });
}

#[test]
fn the_first_items_ask_for_the_stream_and_wait() {
    let mut server = server(10, 4);
    let job = spawn(&mut server, 1);
    let mut ready = list(0..2);
    for _ in 0..2 {
        assert_eq!(server.handle_items(job, &mut ready, 5), Some(0));
    }
    assert_eq!((messages(&mut server), ready.len()), (vec![Message::StreamInit(CallRef(1))], 2));
}
