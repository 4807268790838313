//! Gathers: quorums that the ledgers bear out, those that they contradict, and those that end too late.

use super::*;
use crate::history::judge::gather::SLACK;
use crate::history::ledger::{GatherForm, NodeSet};

fn nodes(nodes: &[u16]) -> NodeSet {
    nodes.iter().copied().map(NodeIndex).collect()
}

/// A gather over nodes 1, 2 and 3 that needs two of them within 1 ms.
fn begun() -> Process {
    let (gather, members) = (CallNumber(1), nodes(&[1, 2, 3]));
    caller().add(100, Entry::GatherBegun { gather, form: GatherForm::Majority, need: 2, members, limit_ms: 1 })
}

fn ended(caller: Process, at_us: u64, how: GatherEnd, votes: &[u16], wrong: &[u16]) -> Process {
    let (gather, votes, wrong) = (CallNumber(1), nodes(votes), nodes(wrong));
    caller.add(at_us, Entry::GatherEnded { gather, how, votes, wrong, odd: None })
}

/// Node `node`, with a job of the gather that ended so at 130.
fn voter(node: u16, how: Ending) -> Process {
    let began_us = u64::from(node) + 10;
    process(node, "1.1.0", began_us).started(110, id(1), Work::Vote).ended(130, id(1), how)
}

/// The same run with a call, since one without a cast proves nothing.
fn with_call(processes: impl IntoIterator<Item = ProcessRecord>) -> Evidence {
    let other = process(9, "1.1.0", 19).cast(100, 1, 8, Work::Reply).answered(101, 1, Outcome::Down);
    run(processes.into_iter().chain([other.live()]))
}

fn kinds(evidence: &Evidence) -> Vec<FindingKind> {
    found(evidence).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_quorum_that_its_voters_bear_out_is_safe() {
    let reached = ended(begun(), 140, GatherEnd::Reached, &[1, 3], &[]);
    let late = process(2, "1.1.0", 12).started(110, id(1), Work::Vote).ended(150, id(1), Ending::Dropped);
    let evidence =
        with_call([reached.live(), voter(1, Ending::Done).live(), late.live(), voter(3, Ending::Done).live()]);
    let judgement = judge(&evidence);
    assert_eq!(judgement.verdict, Verdict::Safe, "{judgement:?}");
    assert_eq!((judgement.counts.gathers, judgement.counts.quorums, judgement.counts.gathers_broken), (1, 1, 0));
    assert_eq!(judgement.gathers, BTreeMap::from([(GatherEnd::Reached, 1)]));
    assert_eq!((judgement.counts.job_without_call, judgement.counts.executed_twice), (0, 0));
}

#[test]
fn a_gather_that_tells_its_caller_why_it_failed_is_safe() {
    for how in [GatherEnd::TooFew, GatherEnd::TimedOut, GatherEnd::Refused] {
        assert_eq!(kinds(&with_call([ended(begun(), 140, how, &[], &[]).live()])), [], "{how}");
    }
    let given_up = ended(begun(), 200, GatherEnd::GivenUp, &[], &[]);
    assert_eq!(kinds(&with_call([given_up.drain(200)])), []);
    assert_eq!(kinds(&with_call([begun().kill_nine(150)])), [], "its process died");
}

#[test]
fn a_gather_that_does_not_end_by_its_limit_and_the_slack_is_found() {
    let limit_us = 1_000 + u64::try_from(SLACK.as_micros()).expect("small");
    let late = [FindingKind::GatherLate];
    let took = |us| {
        let caller = ended(begun(), 100 + us, GatherEnd::TimedOut, &[], &[]).add(100 + us, Entry::Quiet);
        kinds(&with_call([caller.record()]))
    };
    assert_eq!(took(limit_us), []);
    assert_eq!(took(limit_us + 1), late);
    assert_eq!(took(limit_us - 1), []);
    assert_eq!(kinds(&with_call([begun().live()])), late, "it never ended");
    assert_eq!(kinds(&with_call([begun().drain(200)])), late, "it never ended before the drain");
    assert_eq!(kinds(&with_call([begun().kill_nine(100 + limit_us)])), []);
    assert_eq!(kinds(&with_call([begun().kill_nine(101 + limit_us)])), late, "it had the time to end");
    assert_eq!(FindingKind::GatherLate.invariant(), Invariant::L1);
}

#[test]
fn a_gather_that_ends_without_a_result_is_found_unless_its_process_was_leaving() {
    let given_up = || ended(begun(), 140, GatherEnd::GivenUp, &[], &[]);
    assert_eq!(kinds(&with_call([given_up().live()])), [FindingKind::GatherLate]);
    assert_eq!(kinds(&with_call([given_up().drain(141)])), [FindingKind::GatherLate]);
    assert_eq!(kinds(&with_call([given_up().drain(140)])), []);
}

#[test]
fn a_quorum_that_the_ledgers_contradict_is_found() {
    let contradicted = [FindingKind::QuorumContradicted];
    let of = |votes: &[u16], wrong: &[u16], voters: Vec<Process>| {
        let caller = ended(begun(), 140, GatherEnd::Reached, votes, wrong).live();
        kinds(&with_call([caller].into_iter().chain(voters.into_iter().map(Process::live))))
    };
    let done = |node| voter(node, Ending::Done);
    assert_eq!(of(&[1, 2], &[], vec![done(1), done(2)]), []);
    assert_eq!(of(&[1], &[], vec![done(1)]), contradicted, "fewer than it needs");
    assert_eq!(of(&[1, 2], &[], vec![done(1)]), contradicted, "one without a job");
    assert_eq!(of(&[1, 2], &[], vec![done(1), voter(2, Ending::Dropped)]), contradicted, "one whose job gave nothing");
    assert_eq!(of(&[1], &[2], vec![done(1), done(2)]), contradicted, "another value");
    let later = process(2, "1.1.0", 12).started(145, id(1), Work::Vote).ended(150, id(1), Ending::Done);
    assert_eq!(of(&[1, 2], &[], vec![done(1), later]), contradicted, "a job that ended later");
    let stranger = [FindingKind::JobUnlikeCall, FindingKind::QuorumContradicted];
    assert_eq!(of(&[1, 4], &[], vec![done(1), done(4)]), stranger, "one that was not asked");
    assert_eq!(FindingKind::QuorumContradicted.invariant(), Invariant::L1);
}

#[test]
fn a_voter_whose_ledger_is_missing_is_not_accused() {
    let ledger = Err(LedgerError::NotALedger { path: "n.ledger".into() });
    let missing = ProcessRecord { node: NodeIndex(2), ledger, end: ProcessEnd::LiveAtEnd };
    let reached = ended(begun(), 140, GatherEnd::Reached, &[1, 2], &[]);
    assert_eq!(kinds(&with_call([reached.live(), voter(1, Ending::Done).live(), missing])), []);
}

#[test]
fn a_node_that_runs_one_gather_twice_is_found_and_two_nodes_are_not() {
    let reached = || ended(begun(), 140, GatherEnd::Reached, &[1, 2], &[]).live();
    let twice = voter(1, Ending::Done).started(132, id(1), Work::Vote).ended(133, id(1), Ending::Done);
    let evidence = with_call([reached(), twice.live(), voter(2, Ending::Done).live()]);
    assert_eq!(kinds(&evidence), [FindingKind::ExecutedTwice]);
    assert_eq!(judge(&evidence).counts.executed_twice, 1);
    let torn_off =
        with_call([torn(caller().kill_nine(200)), voter(1, Ending::Done).live(), voter(2, Ending::Done).live()]);
    assert_eq!(kinds(&torn_off), [], "the gather's own record may be what was torn");
}

#[test]
fn answers_that_no_legal_neighbour_gives_are_found_in_a_gather_too() {
    for (odd, kind) in [
        (Outcome::NoSuchServer, FindingKind::NoSuchServer),
        (Outcome::NoSuchFunction, FindingKind::NoSuchFunction),
        (Outcome::OtherExit, FindingKind::UnaskedExit),
    ] {
        let end = Entry::GatherEnded {
            gather: CallNumber(1),
            how: GatherEnd::TooFew,
            votes: NodeSet::default(),
            wrong: NodeSet::default(),
            odd: Some(odd),
        };
        assert_eq!(kinds(&with_call([begun().add(140, end).live()])), [kind], "{odd}");
    }
}

#[test]
fn ends_of_gathers_that_never_began_are_a_doubt() {
    let evidence = with_call([ended(caller(), 140, GatherEnd::TooFew, &[], &[]).live()]);
    let doubts = judge(&evidence).doubts;
    assert!(doubts[0].contains("1 ends of gathers that it never began"), "{doubts:?}");
}

#[test]
fn a_quorum_counts_as_reached_over_a_node_that_was_down_while_the_two_overlap() {
    let met = |gone_us, back_us, how| {
        let caller = ended(begun(), 140, how, &[1, 2], &[]);
        let voters = [voter(1, Ending::Done).live(), voter(2, Ending::Done).live()];
        let down = [process(3, "1.1.0", 13).kill_nine(gone_us), process(3, "1.2.0", back_us).live()];
        let evidence = with_call([caller.live()].into_iter().chain(voters).chain(down));
        judge(&evidence).witnessed(Witness::QuorumOverDown)
    };
    assert_eq!(met(90, 200, GatherEnd::Reached), 1);
    assert_eq!(met(120, 200, GatherEnd::Reached), 1);
    assert_eq!(met(141, 200, GatherEnd::Reached), 0, "it was there");
    assert_eq!(met(50, 99, GatherEnd::Reached), 0, "it was back");
    assert_eq!(met(90, 200, GatherEnd::TooFew), 0);
}
