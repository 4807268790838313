//! The calls of one peer by themselves: streams as their caller drives them, and answers behind a payload on its way.

use super::*;

const CALL: CallRef = CallRef(1);
const STRANGER: CallRef = CallRef(2);
const SERVER: ServerAddress = ServerAddress::PerNode;

/// One call, whose cast was sent.
fn calls() -> Calls<u32> {
    let mut calls = Calls::new();
    calls.insert(CALL, 9);
    assert!(calls.mark_sent(CALL, SERVER));
    calls
}

/// The same, and its job has asked for a stream and sent so many items.
fn streaming(items: usize) -> Calls<u32> {
    let mut calls = calls();
    assert!(calls.note_asked(CALL) && calls.note_started(CALL, true));
    (0..items).for_each(|_| calls.count_items(CALL, 1));
    calls
}

fn plain(number: u64) -> Held {
    Held::reply(ReplyForm::Plain, number, Bytes::from_static(b"x"))
}

fn pending(id: u64, number: u64) -> Held {
    Held::Pending { id: BulkId(id), number, form: ReplyForm::Plain }
}

/// Takes an answer; gives what is delivered, as long as there is room.
fn take(calls: &mut Calls<u32>, held: Held) -> Result<Vec<Answer>, Taken> {
    let mut deliveries = Vec::new();
    match calls.answer(CALL, held, &mut |delivery| deliveries.push(delivery)) {
        Taken::Delivered | Taken::Held => {}
        other => return Err(other),
    }
    Ok(deliveries.into_iter().map(|(_, _, answer)| answer).collect())
}

#[test]
fn a_stream_is_told_once_and_started_or_cancelled_once() {
    for start in [true, false] {
        let mut calls = calls();
        assert!(!calls.note_started(CALL, start), "its job has not asked");
        assert!(calls.note_asked(CALL));
        assert!(!calls.note_asked(CALL), "its caller was told");
        assert!(calls.note_started(CALL, start));
        assert!(!calls.note_started(CALL, true) && !calls.note_started(CALL, false), "it was answered");
        assert!(!calls.note_asked(STRANGER) && !calls.note_started(STRANGER, start));
    }
}

#[test]
fn as_many_items_are_acknowledged_as_have_come_and_not_one_more() {
    let mut calls = streaming(3);
    assert!(!calls.note_acked(CALL, 4));
    assert!(calls.note_acked(CALL, 2));
    assert!(!calls.note_acked(CALL, 2), "one is left");
    assert!(calls.note_acked(CALL, 1));
    assert!(!calls.note_acked(CALL, 1));
    calls.count_items(CALL, 1);
    assert!(calls.note_acked(CALL, 1), "another has come");
    calls.count_items(STRANGER, 1);
    assert!(!calls.note_acked(STRANGER, 1));
}

#[test]
fn all_that_was_said_of_a_stream_is_said_again_to_the_server_of_its_cast() {
    let said = |calls: &Calls<u32>| calls.said_of_stream(CALL, Guards::default(), Phase::Introduce);
    let mut asked = calls();
    asked.note_asked(CALL);
    assert_eq!(said(&asked), [], "nothing was said yet");
    asked.note_started(CALL, false);
    assert_eq!(said(&asked), [Message::StreamCancel(SERVER, CALL)]);
    let mut started = streaming(3);
    assert_eq!(said(&started), [Message::StreamStart(SERVER, CALL)]);
    started.note_acked(CALL, 1);
    started.note_acked(CALL, 2);
    assert_eq!(said(&started), [Message::StreamStart(SERVER, CALL), Message::Ack(SERVER, CALL, 3)], "in all");
    assert_eq!(started.said_of_stream(STRANGER, Guards::default(), Phase::Introduce), []);
}

#[test]
fn a_call_has_the_server_that_its_cast_went_to_and_none_before() {
    let mut calls = calls();
    calls.insert(STRANGER, 8);
    assert_eq!((calls.server_of(CALL), calls.server_of(STRANGER)), (Some(SERVER), None));
    assert_eq!(calls.sent_to(SERVER), [CALL]);
    assert_eq!(calls.refs().collect::<Vec<_>>(), [CALL, STRANGER]);
    assert!(!calls.mark_sent(CallRef(3), SERVER), "a call that is not open must not be sent");
}

#[test]
fn a_call_has_all_replies_where_each_came_in_its_turn() {
    let mut calls = calls();
    assert!(calls.has_all_replies(CALL, 0) && !calls.has_all_replies(CALL, 1));
    assert!(calls.count_replies(CALL, 0, 1) && !calls.count_replies(CALL, 2, 1));
    assert!(calls.has_all_replies(CALL, 1) && !calls.has_all_replies(CALL, 2));
    assert!(calls.has_all_replies(STRANGER, 5), "a call that is over misses nothing");
}

#[test]
fn answers_behind_a_payload_are_bounded_and_there_is_room_again_once_it_comes() {
    let mut calls = calls();
    assert_eq!(take(&mut calls, pending(7, 0)), Ok(Vec::new()));
    for _ in 1..HELD_ANSWERS_MAX {
        assert_eq!(take(&mut calls, Held::Complete(Answer::Ping)), Ok(Vec::new()));
    }
    assert_eq!(take(&mut calls.clone(), Held::Complete(Answer::Ping)), Err(Taken::TooMany), "one more than may wait");
    let mut deliveries = Vec::new();
    calls.complete(CALL, BulkId(8), &Bytes::new(), &mut |delivery| deliveries.push(delivery));
    assert_eq!(deliveries, [], "that is not the payload it waits for");
    calls.complete(CALL, BulkId(7), &Bytes::from_static(b"x"), &mut |delivery| deliveries.push(delivery));
    assert_eq!(deliveries.len(), HELD_ANSWERS_MAX);
    let first = Answer::Reply { body: Bytes::from_static(b"x"), last: false };
    assert_eq!(deliveries[0], (9, CALL, first), "in the order in which they came");
    assert_eq!(take(&mut calls, Held::Complete(Answer::Ping)), Ok(vec![Answer::Ping]));
}

#[test]
fn what_was_held_when_the_connection_broke_counts_as_never_come() {
    let mut calls = calls();
    assert!(calls.count_replies(CALL, 0, 1));
    assert_eq!(take(&mut calls, plain(0)).map(|delivered| delivered.len()), Ok(1));
    for (number, held) in [(1, pending(1, 1)), (2, plain(2)), (3, pending(2, 3))] {
        assert!(calls.count_replies(CALL, number, 1));
        assert_eq!(take(&mut calls, held), Ok(Vec::new()));
    }
    assert!(calls.note_asked(CALL));
    for held in [Answer::StreamInit, Answer::Ping, Answer::NoSuchFunction] {
        assert_eq!(take(&mut calls, Held::Complete(held)), Ok(Vec::new()));
    }
    assert!(!calls.awaits(CALL) && calls.refs().any(|call| call == CALL), "its last answer has come, and is held");
    calls.forget_held();
    assert!(calls.awaits(CALL));
    assert!(calls.has_all_replies(CALL, 1), "the one that was delivered");
    assert!(calls.note_asked(CALL), "its caller was never told");
    assert!(calls.count_replies(CALL, 1, 1));
    assert_eq!(take(&mut calls, plain(1)).map(|delivered| delivered.len()), Ok(1), "nothing waits any more");
}

#[test]
fn a_response_is_missed_where_it_went_out_on_an_earlier_connection_only() {
    let mut calls = calls();
    let asks = |question| Sent { call: CALL, replies: 0, question: Some(question) };
    calls.note_responded(CALL, 4);
    assert!(!calls.misses(asks(4)), "it is on its way");
    calls.note_reconnected();
    assert!(calls.misses(asks(4)) && !calls.misses(asks(5)));
    calls.note_reconnected();
    assert!(calls.misses(asks(4)), "it still has not come");
    assert!(!calls.misses(Sent { question: None, ..asks(4) }));
    assert!(calls.misses(Sent { replies: 1, question: None, ..asks(4) }), "a reply was lost");
    assert!(!calls.misses(Sent { call: STRANGER, ..asks(4) }));
}

#[test]
fn a_response_is_missed_whatever_was_said_to_earlier_questions_since() {
    let asks = |question| Sent { call: CALL, replies: 0, question: Some(question) };
    let mut calls = calls();
    calls.note_responded(CALL, 4);
    calls.note_responded(CALL, 3);
    calls.note_reconnected();
    assert!(calls.misses(asks(4)), "of one connection, the earlier question's went out last");
    calls.note_responded(CALL, 2);
    calls.note_reconnected();
    assert!(calls.misses(asks(4)), "on the next one too");
    assert!(!calls.misses(asks(5)), "the job has asked again, and nobody has responded");
    calls.note_responded(CALL, 5);
    assert!(!calls.misses(asks(5)), "it is on its way");
}
