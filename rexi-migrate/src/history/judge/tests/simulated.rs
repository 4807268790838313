//! A run that a plan drove in virtual time: what its callers do is meant, and nothing is late without a reason.

use super::*;
use crate::history::ledger::{GatherForm, NodeSet};

/// What is found in this run on machines, and in a simulation.
fn both(evidence: Evidence) -> [Vec<(FindingKind, u64)>; 2] {
    let on_machines = found(&evidence);
    [on_machines, found(&Evidence { simulated: true, ..evidence })]
}

#[test]
fn a_plan_may_kill_what_does_not_hold_and_its_job_must_still_end() {
    let killed = || caller().cast(100, 1, 1, Work::Question).killed(120, 1, Phase::Switch).live();
    let job = || worker().started(110, id(1), Work::Question);
    let ended = run([killed(), job().ended(130, id(1), Ending::Dropped).live()]);
    assert_eq!(both(ended), [vec![(FindingKind::Lost, 1)], vec![]]);
    let runs_on = run([killed(), job().live()]);
    assert_eq!(both(runs_on)[1], [(FindingKind::OrphanAfterKill, 1)]);
}

#[test]
fn a_caller_that_leaves_may_have_calls_and_gathers_open_and_their_jobs_must_still_end() {
    let (gather, members) = (CallNumber(2), NodeSet::default());
    let begun = Entry::GatherBegun { gather, form: GatherForm::Majority, need: 2, members, limit_ms: 1 };
    let leaves = || caller().cast(100, 1, 1, Work::Reply).add(105, begun).drain(150);
    let job = || worker().started(110, id(1), Work::Reply);
    let ended = run([leaves(), job().ended(160, id(1), Ending::Dropped).live()]);
    assert_eq!(both(ended), [vec![(FindingKind::Lost, 1), (FindingKind::GatherLate, 1)], vec![]]);
    assert_eq!(both(run([leaves(), job().live()]))[1], [(FindingKind::Orphan, 1)]);
    let stays = run([caller().cast(100, 1, 1, Work::Reply).live(), worker().live()]);
    assert_eq!(both(stays)[1], [(FindingKind::Lost, 1)], "one that stays is to be told");
}

#[test]
fn a_silent_monitor_is_found_where_nothing_can_be_slow_and_is_a_doubt_elsewhere() {
    let evidence = super::needed::planted(FindingKind::MonitorSilent);
    assert_eq!(judge(&evidence).doubts, [""; 0]);
    let on_machines = judge(&Evidence { simulated: false, ..evidence });
    assert!(matches!(&on_machines.verdict, Verdict::CouldNotTell(doubts) if doubts.len() == 1), "{on_machines:?}");
}
