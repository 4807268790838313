//! What each finding shows of its case: all that an engineer needs to follow it, and nothing untrue.

use super::needed::{KINDS, planted};
use super::*;
use crate::history::ledger::{GatherForm, NodeSet};

/// A case in one line: call, work, from whom, to whom, by which servers; when it was cast, started, ended, killed and
/// answered, and how; what else there is to say.
fn told(example: &Example) -> String {
    fn or(value: Option<impl ToString>) -> String {
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    }
    let Example { call, work, caller, caller_release, target, target_release, servers, .. } = example;
    let Example { cast_us, started_us, ended_us, killed_us, answered_us, outcome, note, .. } = example;
    let call = call.map(|CallId { caller, incarnation, call }| format!("{}.{}.{}", caller.0, incarnation.0, call.0));
    let from = format!("{} {}", or(caller.as_ref()), or(caller_release.as_ref()));
    let to = format!("{} {}", or(target.as_ref()), or(target_release.as_ref()));
    let servers = servers.join(", ").replace("per-node server", "per node");
    let times = format!("{} {started_us:?} {} {} {}", or(*cast_us), or(*ended_us), or(*killed_us), or(*answered_us));
    format!("{} {} {from} > {to} [{servers}] {times} {}; {}", or(call), or(*work), or(*outcome), or(note.as_ref()))
}

const TOLD: &[(FindingKind, &str)] = &[
    (FindingKind::Lost, "0.10.1 reply n0 1.2.0 > n1 1.1.0 [] 100 [] - - - -; -"),
    (
        FindingKind::ExecutedTwice,
        "0.10.1 reply n0 1.2.0 > n1 1.1.0 [per node, per node] 100 [110, 140] 120 - 130 reply; -",
    ),
    (
        FindingKind::OrphanAfterKill,
        "0.10.1 hold n0 1.2.0 > n1 1.1.0 [per node] 100 [110] - 200 - -; ran on for at least 900 ms",
    ),
    (FindingKind::Orphan, "0.10.1 hold n0 1.2.0 > n1 1.1.0 [per node] 100 [110] - - - -; ran on for at least 900 ms"),
    (
        FindingKind::EndedUnkilled,
        "0.10.1 hold n0 1.2.0 > n1 1.1.0 [per node] 100 [110] 150 200 - -; ended 1 ms before its kill",
    ),
    (FindingKind::WrongReply, "0.10.1 reply n0 1.2.0 > n1 1.1.0 [per node] 100 [110] 120 - 130 wrong_reply; -"),
    (FindingKind::UnfitAnswer, "0.10.1 fail n0 1.2.0 > n1 1.1.0 [per node] 100 [110] 120 - 130 reply; -"),
    (FindingKind::UnaskedExit, "0.10.1 reply n0 1.2.0 > n1 1.1.0 [per node] 100 [110] 120 - 130 other_exit; -"),
    (FindingKind::AnswerUnlikeJob, "0.10.1 reply n0 1.2.0 > n1 1.1.0 [per node] 100 [110] 120 - 130 reply; -"),
    (
        FindingKind::JobUnlikeCall,
        "0.10.1 reply n0 1.2.0 > n1 1.1.0 [per node] 100 [110] 120 - 130 reply; n2 was asked for the work bulk",
    ),
    (FindingKind::ReplyWithoutJob, "0.10.1 reply n0 1.2.0 > n1 1.1.0 [] 100 [] - - 130 reply; -"),
    (FindingKind::JobWithoutCall, "0.10.9 reply n0 1.2.0 > n1 1.1.0 [per node] - [140] 150 - - -; -"),
    (FindingKind::AnsweredTwice, "0.10.1 reply n0 1.2.0 > n1 1.1.0 [per node] 100 [110] 120 - 130 reply; -"),
    (FindingKind::NoSuchServer, "0.10.1 reply n0 1.2.0 > n1 1.1.0 [] 100 [] - - 130 no_such_server; -"),
    (FindingKind::MonitorUnserved, "- - n0 1.2.0 > n1 1.1.0 [] - [] - - 150 -; monitor 1"),
    (FindingKind::NoSuchFunction, "0.10.1 reply n0 1.2.0 > n1 1.1.0 [] 100 [] - - 130 no_such_function; -"),
    (FindingKind::Crashed, "- - - - > n1 1.1.0 [] - [] 400 - - -; pid 1"),
    (
        FindingKind::ItemGap,
        "0.10.1 stream n0 1.2.0 > n1 1.1.0 [per node] 100 [105] 190 - 200 connection_lost; \
         item 2 did not come, and a later one did",
    ),
    (
        FindingKind::ItemTwice,
        "0.10.1 stream n0 1.2.0 > n1 1.1.0 [per node] 100 [105] 190 - 200 stream_done; item 1 came twice",
    ),
    (
        FindingKind::ItemReordered,
        "0.10.1 stream n0 1.2.0 > n1 1.1.0 [per node] 100 [105] 190 - 200 stream_done; \
         item 1 came after a later one",
    ),
    (FindingKind::WrongItem, "0.10.1 stream n0 1.2.0 > n1 1.1.0 [per node] 100 [105] 190 - 200 stream_done; as item 1"),
    (FindingKind::ItemUnsent, "0.10.1 stream n0 1.2.0 > n1 1.1.0 [per node] 100 [105] 190 - 200 down; item 1"),
    (
        FindingKind::ItemAfterEnd,
        "0.10.1 stream n0 1.2.0 > n1 1.1.0 [per node] 100 [105] 150 - 160 stream_cancelled; item 0",
    ),
    (
        FindingKind::StreamShort,
        "0.10.1 stream n0 1.2.0 > n1 1.1.0 [per node] 100 [105] 190 - 200 stream_done; 3 of 4 items came",
    ),
    (
        FindingKind::AckAstray,
        "0.10.1 stream n0 1.2.0 > n1 1.1.0 [per node] 100 [105] - - 200 down; \
         item 3 was about to go with 0 received and a window of 2",
    ),
    (
        FindingKind::QuestionAstray,
        "0.10.1 question n0 1.2.0 > n1 1.1.0 [per node] 100 [105] 150 - 160 reply; as question 0",
    ),
    (
        FindingKind::ResponseAstray,
        "0.10.1 question n0 1.2.0 > n1 1.1.0 [per node] 100 [105] 150 - 160 reply; as response 0",
    ),
    (FindingKind::StreamSilent, "0.10.1 stream n0 1.2.0 > n1 1.1.0 [per node] 100 [105] 190 - - -; -"),
    (FindingKind::GatherLate, "0.10.1 vote n0 1.2.0 > - - [] 100 [] - - - -; it never ended"),
    (
        FindingKind::QuorumContradicted,
        "0.10.1 vote n0 1.2.0 > - - [per node of n2] 100 [110] - - 140 -; 1 votes of 2 that were needed",
    ),
];

#[test]
fn each_finding_shows_its_case_in_full() {
    let of = |kind| told(&judge(&planted(kind)).findings()[0].examples[0]);
    let cases: Vec<(FindingKind, String)> = KINDS.iter().map(|&kind| (kind, of(kind))).collect();
    let expected: Vec<_> = TOLD.iter().map(|&(kind, text)| (kind, text.to_owned())).collect();
    assert_eq!(cases, expected);
}

/// The only case of the only finding.
fn only(evidence: &Evidence) -> String {
    let judgement = judge(evidence);
    let [finding] = judgement.findings() else { panic!("one finding: {:?}", judgement.findings()) };
    let [example] = &finding.examples[..] else { panic!("one case: {:?}", finding.examples) };
    told(example)
}

#[test]
fn a_call_without_a_known_target_or_with_two_jobs_is_shown_as_it_is() {
    let silent = || caller().cast(100, 1, 1, Work::Reply);
    assert_eq!(only(&run([silent().live()])), "0.10.1 reply n0 1.2.0 > - - [] 100 [] - - - -; -");
    let given_up = silent().answered(130, 1, Outcome::TimedOut).answered(140, 1, Outcome::Down);
    let text = "0.10.1 reply n0 1.2.0 > n1 1.1.0 [] 100 [] - - 130 timed_out; -";
    assert_eq!(only(&run([given_up.live(), worker().live()])), text, "given up before it was answered");
    let (caller, job) = served(Work::Reply);
    let again = process(1, "1.2.0", 135).started_on(ServerAddress::Singleton, 140, id(1), Work::Reply);
    let again = again.ended(150, id(1), Ending::Done);
    let text = "0.10.1 reply n0 1.2.0 > n1 1.1.0 [per node, singleton] 100 [110, 140] 120 - 130 reply; -";
    assert_eq!(only(&run([caller.live(), job.kill_nine(134), again.live()])), text);
}

#[test]
fn a_job_is_shown_with_the_call_that_it_counts_for() {
    // A number that was given twice: the job is of the first of the two calls.
    let twice = caller().cast(100, 1, 1, Work::Reply).cast(101, 1, 1, Work::Reply).answered(130, 1, Outcome::Reply);
    let job = worker().started(110, id(1), Work::Reply).ended(120, id(1), Ending::Done);
    assert_eq!(only(&run([twice.live(), job.live()])), "0.10.1 reply n0 1.2.0 > n1 1.1.0 [] 101 [] - - - -; -");
}

#[test]
fn a_case_of_a_gather_shows_the_jobs_of_all_nodes() {
    let begun = |need| {
        let members: NodeSet = [1, 2].map(NodeIndex).into_iter().collect();
        let (gather, form) = (CallNumber(1), GatherForm::Majority);
        let cast = caller().cast(90, 8, 9, Work::Reply).answered(91, 8, Outcome::Down);
        cast.add(100, Entry::GatherBegun { gather, form, need, members, limit_ms: 1 })
    };
    let ended = |how, votes: &[u16], odd| {
        let votes: NodeSet = votes.iter().copied().map(NodeIndex).collect();
        Entry::GatherEnded { gather: CallNumber(1), how, votes, wrong: NodeSet::default(), odd }
    };
    let voter = |node, at_us| {
        let job = process(node, "1.1.0", 11).started(at_us, id(1), Work::Vote);
        job.ended(at_us + 5, id(1), Ending::Done)
    };
    let odd = ended(GatherEnd::TooFew, &[], Some(Outcome::NoSuchServer));
    let text = "0.10.1 vote n0 1.2.0 > - - [per node of n2] 100 [110] - - 140 no_such_server; -";
    assert_eq!(only(&run([begun(1).add(140, odd).live(), voter(1, 110).live()])), text);
    let twice = voter(1, 110).started(120, id(1), Work::Vote).ended(125, id(1), Ending::Done);
    let reached = begun(2).add(140, ended(GatherEnd::Reached, &[1, 2], None));
    let servers = "per node of n2, per node of n2, per node of n3";
    let text = format!("0.10.1 vote n0 1.2.0 > - - [{servers}] 100 [110, 120, 111] - - 140 -; on n2");
    assert_eq!(only(&run([reached.live(), twice.live(), voter(2, 111).live()])), text);
}

#[test]
fn a_job_of_no_call_and_jobs_of_a_call_whose_record_is_gone_are_shown_by_themselves() {
    let job = |at_us| worker().started(at_us, id(7), Work::Reply).ended(at_us + 1, id(7), Ending::Done);
    let text = "0.10.7 reply - - > n1 1.1.0 [per node] - [100] 101 - - -; -";
    assert_eq!(only(&run([job(100).live()])), text, "of a life that no ledger knows");
    let restarted = process(1, "1.2.0", 135).started_on(ServerAddress::Singleton, 140, id(7), Work::Reply);
    let died = torn(caller().kill_nine(300));
    let text = "0.10.7 reply n0 1.2.0 > n1 1.1.0 [per node, singleton] - [100, 140] 101 - - -; -";
    assert_eq!(only(&run([died, job(100).drain(130), restarted.ended(141, id(7), Ending::Done).live()])), text);
}
