//! Streams: each way in which items can go wrong, and similar streams that are as they should be.

use super::*;

/// The job of call 1, which sends this many items at 110, 120, 130, …, and ends.
fn sender(items: u16) -> Process {
    let sent = (0..items).fold(worker().started(105, id(1), Work::Stream), |worker, index| {
        worker.item_sent(110 + 10 * u64::from(index), id(1), index)
    });
    sent.ended(190, id(1), Ending::Done)
}

/// Its caller, which starts a stream of this many items and receives these, each 1 after it or a later one was sent.
fn receiver(items: u16, received: &[u16]) -> Process {
    let started = caller().cast(100, 1, 1, Work::Stream).stream_started(108, 1, items);
    let mut latest = 0;
    received.iter().fold(started, |caller, &index| {
        latest = latest.max(u64::from(index));
        caller.item_received(111 + 10 * latest, 1, index)
    })
}

/// The kinds found in a whole stream of four items that came as these.
fn came(received: &[u16]) -> Vec<FindingKind> {
    let caller = receiver(4, received).answered(200, 1, Outcome::StreamDone);
    kinds(&run([caller.live(), sender(4).live()]))
}

fn kinds(evidence: &Evidence) -> Vec<FindingKind> {
    found(evidence).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_stream_that_comes_whole_and_in_order_is_safe() {
    let judgement =
        judge(&run([receiver(4, &[0, 1, 2, 3]).answered(200, 1, Outcome::StreamDone).live(), sender(4).live()]));
    assert_eq!(judgement.verdict, Verdict::Safe, "{judgement:?}");
    assert_eq!((judgement.counts.streams, judgement.counts.items, judgement.counts.answered), (1, 4, 1));
    assert_eq!(judgement.counts.streams_broken, 0);
}

#[test]
fn gaps_duplicates_and_reorders_are_told_apart() {
    assert_eq!(came(&[0, 1, 2, 3]), []);
    assert_eq!(came(&[0, 1, 3]), [FindingKind::ItemGap, FindingKind::StreamShort]);
    assert_eq!(came(&[0, 1, 1, 2, 3]), [FindingKind::ItemTwice]);
    assert_eq!(came(&[0, 2, 1, 3]), [FindingKind::ItemReordered]);
    assert_eq!(came(&[0, 1, 2]), [FindingKind::StreamShort]);
    for kind in [FindingKind::ItemGap, FindingKind::ItemTwice, FindingKind::ItemReordered, FindingKind::StreamShort] {
        assert_eq!(kind.invariant(), Invariant::S5);
    }
    let caller = receiver(4, &[0, 1, 1, 2, 3]).answered(200, 1, Outcome::StreamDone);
    assert_eq!(judge(&run([caller.live(), sender(4).live()])).counts.streams_broken, 1);
}

#[test]
fn a_stream_that_is_told_to_be_over_has_a_beginning_without_a_gap() {
    for outcome in [Outcome::Down, Outcome::ConnectionLost, Outcome::Dropped] {
        let told = |received: &[u16], sent| {
            kinds(&run([receiver(4, received).answered(200, 1, outcome).live(), sender(sent).kill_nine(195)]))
        };
        assert_eq!(told(&[], 2), [], "{outcome}");
        assert_eq!(told(&[0, 1], 4), [], "{outcome}");
        assert_eq!(told(&[0, 1, 3], 4), [FindingKind::ItemGap], "{outcome}");
    }
}

#[test]
fn a_stream_may_be_killed_once_it_has_begun_and_not_in_silence_before() {
    let job = || worker().started(105, id(1), Work::Stream).item_sent(110, id(1), 0).ended(210, id(1), Ending::Dropped);
    let killed = receiver(4, &[0]).killed(200, 1, Phase::Switch);
    let judgement = judge(&run([killed.live(), job().live()]));
    assert_eq!((judgement.verdict, judgement.counts.killed), (Verdict::Safe, 1));
    let given_up = caller().cast(100, 1, 1, Work::Stream).killed(200, 1, Phase::Switch);
    assert_eq!(kinds(&run([given_up.live(), job().live()])), [FindingKind::StreamSilent]);
}

#[test]
fn a_job_that_streams_on_behind_its_kill_is_an_orphan() {
    let killed = || receiver(4, &[0]).killed(200, 1, Phase::Switch).live();
    let job = || worker().started(105, id(1), Work::Stream).item_sent(110, id(1), 0);
    assert_eq!(kinds(&run([killed(), job().live()])), [FindingKind::OrphanAfterKill]);
    let mut late = run([killed(), job().ended(300, id(1), Ending::Dropped).live()]);
    late.outlives_max = Some(Duration::from_micros(99));
    assert_eq!(kinds(&late), [FindingKind::OrphanAfterKill]);
    let unkilled = run([killed(), job().ended(150, id(1), Ending::Dropped).live()]);
    assert_eq!(kinds(&unkilled), [FindingKind::EndedUnkilled], "a kill hit another job");
}

#[test]
fn a_stream_whose_caller_hears_nothing_is_found() {
    let silent = kinds(&run([receiver(4, &[0, 1]).live(), sender(4).live()]));
    assert_eq!(silent, [FindingKind::StreamSilent]);
    assert_eq!(FindingKind::StreamSilent.invariant(), Invariant::L1);
    let timed_out = receiver(4, &[0, 1]).answered(800, 1, Outcome::TimedOut);
    let judgement = judge(&run([timed_out.live(), sender(4).live()]));
    assert_eq!((judgement.findings()[0].kind, judgement.counts.lost), (FindingKind::StreamSilent, 1));
    assert_eq!(kinds(&run([receiver(4, &[0, 1]).kill_nine(150), sender(4).live()])), [], "its process died");
}

#[test]
fn an_item_with_another_content_is_found() {
    let caller = receiver(2, &[0]).item(121, 1, 1, Content::Wrong).answered(200, 1, Outcome::StreamDone);
    let evidence = run([caller.live(), sender(2).live()]);
    assert_eq!(kinds(&evidence), [FindingKind::WrongItem]);
    assert_eq!(FindingKind::WrongItem.invariant(), Invariant::S5);
    assert_eq!(judge(&evidence).findings()[0].examples[0].note.as_deref(), Some("as item 1"));
}

#[test]
fn an_item_that_was_never_sent_is_found_unless_the_senders_ledger_is_missing() {
    let caller = || receiver(4, &[0, 1]).answered(200, 1, Outcome::Down);
    assert_eq!(kinds(&run([caller().live(), sender(1).kill_nine(195)])), [FindingKind::ItemUnsent]);
    assert_eq!(kinds(&run([caller().live(), worker().kill_nine(195)])), [FindingKind::ItemUnsent]);
    assert_eq!(kinds(&run([caller().live(), sender(2).kill_nine(195)])), []);
    let ledger = Err(LedgerError::NotALedger { path: "n.ledger".into() });
    let missing = ProcessRecord { node: NodeIndex(1), ledger, end: ProcessEnd::LiveAtEnd };
    assert_eq!(kinds(&run([caller().live(), missing])), []);
}

#[test]
fn an_item_behind_the_end_or_after_a_cancel_is_found() {
    let late = receiver(2, &[0, 1]).answered(200, 1, Outcome::StreamDone).item_received(200, 1, 1);
    let kinds_found = kinds(&run([late.live(), sender(2).live()]));
    assert_eq!(kinds_found, [FindingKind::ItemTwice, FindingKind::ItemAfterEnd]);
    let job = || worker().started(105, id(1), Work::Stream).item_sent(110, id(1), 0).ended(150, id(1), Ending::Dropped);
    let cancelled = || {
        let call = CallNumber(1);
        caller().cast(100, 1, 1, Work::Stream).add(120, Entry::StreamCancelled { call })
    };
    let ended = |caller: Process| run([caller.answered(160, 1, Outcome::Cancelled).live(), job().live()]);
    assert_eq!(kinds(&ended(cancelled())), []);
    assert_eq!(kinds(&ended(cancelled().item_received(130, 1, 0))), [FindingKind::ItemAfterEnd]);
}

#[test]
fn a_job_that_goes_on_without_an_acknowledgement_has_got_that_of_another() {
    // Two may be unacknowledged: item 3 goes once item 1 is, so it is about to go once item 0 is.
    let sent = |indexes: &[u16], at_us| {
        let worker = worker().started(105, id(1), Work::Stream);
        indexes.iter().fold(worker, |worker, &index| worker.item_sent(at_us, id(1), index)).kill_nine(195)
    };
    let received = || receiver(9, &[0]).answered(200, 1, Outcome::Down).live();
    assert_eq!(kinds(&run([received(), sent(&[0, 1, 2], 110)])), [], "as many as may be, and one that waits");
    let ahead = |at_us| {
        let worker = worker().started(105, id(1), Work::Stream).item_sent(106, id(1), 0);
        kinds(&run([received(), worker.item_sent(at_us, id(1), 3).kill_nine(195)]))
    };
    assert_eq!(ahead(111), [], "item 0 was received just then");
    assert_eq!(ahead(110), [FindingKind::AckAstray]);
    assert_eq!(FindingKind::AckAstray.invariant(), Invariant::S5);
    let unstarted = caller().cast(100, 1, 1, Work::Stream).answered(200, 1, Outcome::Down);
    assert_eq!(kinds(&run([unstarted.live(), sent(&[0, 1], 110)])), [FindingKind::AckAstray]);
}

#[test]
fn a_stream_that_says_it_is_done_has_a_job_that_is() {
    let dropped = worker().started(105, id(1), Work::Stream).item_sent(110, id(1), 0);
    let caller = receiver(1, &[0]).answered(200, 1, Outcome::StreamDone);
    let evidence = run([caller.live(), dropped.ended(190, id(1), Ending::Dropped).live()]);
    assert_eq!(kinds(&evidence), [FindingKind::AnswerUnlikeJob]);
}

#[test]
fn words_to_a_call_that_was_never_made_are_a_doubt() {
    let (caller, worker) = served(Work::Reply);
    let judgement = judge(&run([caller.item_received(140, 8, 0).live(), worker.live()]));
    assert!(judgement.doubts[0].contains("1 messages for calls that it never made"), "{:?}", judgement.doubts);
}

#[test]
fn a_stream_is_open_over_a_restart_if_it_had_items_before_and_after() {
    let over = |last: u64| {
        let started = caller().cast(100, 1, 1, Work::Stream).stream_started(108, 1, 4).item_received(111, 1, 0);
        let caller = started.item_received(last, 1, 1).answered(460, 1, Outcome::Down);
        let other = [process(2, "1.1.0", 12).kill_nine(300), process(2, "1.2.0", 400).live()];
        let worker = worker().started(105, id(1), Work::Stream).item_sent(110, id(1), 0).item_sent(112, id(1), 1);
        let [old, new] = other;
        judge(&run([caller.live(), worker.kill_nine(455), old, new])).witnessed(Witness::StreamOverRestart)
    };
    assert_eq!(over(401), 1);
    assert_eq!(over(399), 0, "nothing came after it");
}

#[test]
fn a_stream_is_open_over_the_switch_if_it_had_an_item_in_the_other_phase() {
    let over = |cast: Phase, then: Phase, at_us: u64| {
        let caller = caller().cast_in(cast, 100, 1, 1, Work::Stream).stream_started(108, 1, 2);
        let caller = caller.item_received(111, 1, 0).add(150, Entry::PhaseChanged { migration: 0, phase: then });
        let caller = caller.item_received(at_us, 1, 1).answered(200, 1, Outcome::StreamDone);
        judge(&run([caller.live(), sender(2).live()])).witnessed(Witness::StreamOverSwitch)
    };
    assert_eq!(over(Phase::Introduce, Phase::Switch, 160), 1);
    assert_eq!(over(Phase::Switch, Phase::Introduce, 160), 1);
    assert_eq!(over(Phase::Singleton, Phase::Introduce, 160), 0, "that is another change");
    assert_eq!(over(Phase::Switch, Phase::Switch, 160), 0);
    assert_eq!(over(Phase::Introduce, Phase::Switch, 149), 0, "it came before");
}

#[test]
fn a_window_counts_as_full_if_as_many_as_may_be_were_not_even_received() {
    let full = |received_us: u64| {
        let job = worker().started(105, id(1), Work::Stream);
        let sent = (0..4).fold(job, |job, index| job.item_sent(110 + 10 * u64::from(index), id(1), index));
        let caller = caller().cast(100, 1, 1, Work::Stream).stream_started(108, 1, 4).item_received(received_us, 1, 0);
        let evidence = run([caller.answered(200, 1, Outcome::Down).live(), sent.kill_nine(195)]);
        judge(&evidence).witnessed(Witness::StreamWindowFull)
    };
    assert_eq!(full(131), 1, "items 0 and 1 were on their way when item 2 was to go");
    assert_eq!(full(129), 0, "item 0 had come by then, and item 3 is the last one");
}

/// The cases that only a talk can meet.
const OF_TALKS: [Witness; 9] = [
    Witness::StreamServed,
    Witness::StreamOverRestart,
    Witness::StreamOverSwitch,
    Witness::StreamWindowFull,
    Witness::StreamCancelled,
    Witness::StreamKilled,
    Witness::LargeItem,
    Witness::QuestionAnswered,
    Witness::QuestionOverSwitch,
];

/// Those of them that one call has met.
fn met(caller: Process, worker: Process) -> Vec<Witness> {
    let judgement = judge(&run([caller.live(), worker.live()]));
    OF_TALKS.into_iter().filter(|&witness| judgement.witnessed(witness) > 0).collect()
}

#[test]
fn streams_are_counted_by_how_they_ended_and_by_the_size_of_their_items() {
    let whole = || receiver(2, &[0, 1]);
    assert_eq!(met(whole().answered(200, 1, Outcome::StreamDone), sender(2)), [Witness::StreamServed]);
    assert_eq!(met(whole().answered(200, 1, Outcome::Down), sender(2)), [], "it was told to be over");
    assert_eq!(met(whole(), sender(2)), [], "it had no end");
    assert_eq!(met(receiver(4, &[0]).killed(200, 1, Phase::Switch), sender(1)), [Witness::StreamKilled]);
    let cast = || caller().cast(100, 1, 1, Work::Stream);
    assert_eq!(met(cast().killed(200, 1, Phase::Switch), sender(1)), [], "it had not started");
    let cancelled = cast().add(120, Entry::StreamCancelled { call: CallNumber(1) });
    assert_eq!(met(cancelled.answered(160, 1, Outcome::Cancelled), worker()), [Witness::StreamCancelled]);
    let large = |kib| {
        let item = Entry::ItemReceived { call: CallNumber(1), index: 0, content: Content::Right, kib };
        met(receiver(1, &[]).add(120, item).answered(200, 1, Outcome::Down), sender(1))
    };
    assert_eq!((large(32), large(33)), (vec![], vec![Witness::LargeItem]));
}

#[test]
fn questions_are_counted_where_their_call_was_replied_to() {
    let of = |work, outcome| {
        let responded = Entry::Responded { call: CallNumber(1), index: 0, content: Content::Right };
        let job = worker().started(105, id(1), work).add(110, Entry::Asked { id: id(1), index: 0 });
        let heard = job.add(130, Entry::ResponseHeard { id: id(1), index: 0, content: Content::Right });
        let caller = caller().cast(100, 1, 1, work).add(120, responded).answered(160, 1, outcome);
        met(caller, heard.ended(150, id(1), Ending::Done))
    };
    assert_eq!(of(Work::Question, Outcome::Reply), [Witness::QuestionAnswered]);
    assert_eq!(of(Work::Question, Outcome::Down), []);
    assert_eq!(of(Work::Reply, Outcome::Reply), [], "it asked for another work");
}
