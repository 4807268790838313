//! What the evidence has to be before a run may be called safe; the steps; the report; the size.

use super::*;
use crate::verdict::case::Requirement;

/// The doubts of a run that could not be told.
fn doubts(evidence: &Evidence) -> String {
    match judge(evidence).verdict {
        Verdict::CouldNotTell(doubts) => doubts.join("\n"),
        other => panic!("told: {other:?}"),
    }
}

fn missing(node: u16) -> ProcessRecord {
    let ledger = Err(LedgerError::NotALedger { path: "n.ledger".into() });
    ProcessRecord { node: NodeIndex(node), ledger, end: ProcessEnd::LiveAtEnd }
}

#[test]
fn a_run_without_load_proves_nothing() {
    assert!(doubts(&Evidence::default()).contains("there was no load"));
    assert!(doubts(&run([caller().live(), worker().live()])).contains("there was no load"));
}

#[test]
fn a_missing_ledger_leaves_a_run_untold_and_accuses_nobody_by_its_absence() {
    let (caller, _) = served(Work::Reply);
    assert!(doubts(&run([caller.live(), missing(1)])).contains("a ledger of n2 is missing"));
    let (_, worker) = served(Work::Reply);
    let other = process(2, "1.1.0", 12).cast(100, 1, 1, Work::Reply).answered(101, 1, Outcome::Down);
    assert!(doubts(&run([missing(0), worker.live(), other.live()])).contains("a ledger of n1 is missing"));
}

#[test]
fn a_broken_invariant_outweighs_missing_evidence() {
    let evidence = run([caller().cast(100, 1, 1, Work::Reply).live(), missing(1)]);
    assert_eq!(found(&evidence), [(FindingKind::Lost, 1)]);
    assert_eq!(judge(&evidence).doubts.len(), 1, "the doubt is still told");
}

#[test]
fn a_torn_ledger_is_a_doubt_unless_its_process_was_killed() {
    let (caller, worker) = served(Work::Reply);
    assert!(doubts(&run([caller.live(), torn(worker.live())])).contains("torn record"));
    let (caller, worker) = served(Work::Reply);
    assert_eq!(judge(&run([caller.live(), torn(worker.kill_nine(300))])).verdict, Verdict::Safe);
}

#[test]
fn a_process_that_was_never_quiet_or_never_drained_is_a_doubt() {
    let (caller, worker) = served(Work::Reply);
    assert!(doubts(&run([caller.live(), worker.record()])).contains("never wrote that it was quiet"));
    let (caller, worker) = served(Work::Reply);
    let drained = Process { end: ProcessEnd::Drained { at_us: 300 }, ..worker.add(310, Entry::Quiet) };
    assert!(doubts(&run([caller.live(), drained.record()])).contains("never wrote that it had drained"));
}

#[test]
fn a_ledger_that_contradicts_itself_is_a_doubt() {
    let with = |edit: &dyn Fn(Process, Process) -> (Process, Process)| {
        let (caller, worker) = served(Work::Reply);
        let (caller, worker) = edit(caller, worker);
        doubts(&run([caller.live(), worker.live()]))
    };
    assert!(with(&|c, w| (c.answered(140, 8, Outcome::Reply), w)).contains("calls that it never made"));
    assert!(with(&|c, w| (c.killed(140, 8, Phase::Switch), w)).contains("calls that it never made"));
    assert!(with(&|c, w| (c, w.ended(140, id(1), Ending::Done))).contains("jobs that it never started"));
    let repeated = |c: Process, w| (c.cast(140, 2, 1, Work::Reply).cast(141, 2, 1, Work::Reply), w);
    let (caller, worker) = served(Work::Reply);
    let (caller, worker) = repeated(caller, worker);
    let judgement = judge(&run([caller.live(), worker.live()]));
    assert!(judgement.doubts.iter().any(|d| d.contains("calls of the same number")), "{:?}", judgement.doubts);
}

#[test]
fn processes_that_cannot_be_told_apart_are_a_doubt() {
    let (caller, worker) = served(Work::Reply);
    assert!(
        doubts(&run([caller.live(), worker.live(), process(1, "1.1.0", 11).live()])).contains("the incarnation 11")
    );
    let (caller, worker) = served(Work::Reply);
    let renamed = ProcessRecord { node: NodeIndex(4), ..worker.live() };
    assert!(doubts(&run([caller.live(), renamed])).contains("says it is n2, the run knows it as n5"));
}

#[test]
fn a_required_case_that_never_occurred_leaves_a_run_untold() {
    let (caller, worker) = served(Work::Reply);
    let mut evidence = run([caller.live(), worker.live()]);
    evidence.required = Requirement::non_vacuity();
    let doubts = doubts(&evidence);
    assert_eq!(doubts.lines().count(), 9);
    assert!(doubts.contains("the run had 0 kills across the switch, but needs 1"), "{doubts}");
    evidence.required = vec![Requirement::once(Witness::PerNodeJob)];
    assert_eq!(judge(&evidence).verdict, Verdict::Safe);
    evidence.required = vec![Requirement { witness: Witness::PerNodeJob, at_least: 2 }];
    assert!(matches!(judge(&evidence).verdict, Verdict::CouldNotTell(_)));
}

#[test]
fn each_call_counts_in_the_step_of_its_cast_and_the_fates_add_up() {
    let caller = caller()
        .cast(100, 1, 1, Work::Reply)
        .answered(250, 1, Outcome::Down)
        .cast(199, 2, 1, Work::Hold)
        .killed(210, 2, Phase::Switch)
        .cast(200, 3, 1, Work::Reply)
        .cast(400, 4, 1, Work::Reply)
        .answered(410, 4, Outcome::Dropped);
    let worker = worker().started(205, id(2), Work::Hold);
    let mut evidence = run([caller.live(), worker.live()]);
    let step = |name: &str, from_us, to_us| StepWindow { name: name.to_owned(), from_us, to_us };
    evidence.steps = vec![step("second", 200, 300), step("first", 100, 200), step("third", 300, 400)];
    let judgement = judge(&evidence);
    let table: Vec<_> = judgement
        .steps
        .iter()
        .map(|s| format!("{}: {} {} {} {} {} {}", s.name, s.casts, s.answered, s.told, s.killed, s.lost, s.orphans))
        .collect();
    assert_eq!(
        table,
        ["first: 2 0 1 1 0 1", "second: 1 0 0 0 1 0", "third: 0 0 0 0 0 0", "outside every step: 1 0 1 0 0 0"]
    );
    assert!((judgement.steps[0].casts_per_second - 20_000.0).abs() < 1e-6);
    let c = judgement.counts;
    assert_eq!(c.casts, c.answered + c.told + c.killed + c.lost + c.caller_died);
}

#[test]
fn the_report_has_stable_names() {
    let judgement = judge(&run([caller().cast(100, 1, 1, Work::Reply).live(), worker().live()]));
    let json = serde_json::to_value(&judgement).expect("plain data");
    let finding = &json["verdict"]["because"][0];
    assert_eq!(json["verdict"]["kind"], "unsafe");
    assert_eq!((&finding["kind"], &finding["invariant"]), (&"lost".into(), &"S1".into()));
    assert_eq!(finding["examples"][0]["call"]["call"], 1);
    assert_eq!(json["counts"]["lost"], 1);
    assert_eq!(json["witnesses"][0]["witness"], "kill_across_switch");
    let (caller, worker) = served(Work::Reply);
    let json = serde_json::to_value(judge(&run([caller.live(), worker.live()]))).expect("plain data");
    assert_eq!(json["verdict"], serde_json::json!({ "kind": "safe" }));
    assert_eq!(json["outcomes"], serde_json::json!({ "reply": 1 }));
    let ended = GatherEnd::ALL.iter().map(|how| serde_json::to_value(how).expect("plain data")).collect::<Vec<_>>();
    assert_eq!(ended, ["reached", "too_few", "timed_out", "refused", "given_up"]);
    for count in ["streams", "items", "streams_broken", "questions", "questions_astray", "gathers", "gathers_broken"] {
        assert_eq!(json["counts"][count], 0, "{count}");
    }
}

/// A run of two nodes with `calls` served calls, four records each, each worker's jobs in another order than the casts.
fn large(calls: u64) -> Evidence {
    let (mut caller, mut worker) = (caller(), worker());
    for n in 0..calls {
        caller = caller.cast(100 + n, n, 1, Work::Reply).answered(101 + n, n, Outcome::Reply);
        let other = n ^ 5;
        worker = worker.started(100 + n, id(other), Work::Reply).ended(101 + n, id(other), Ending::Done);
    }
    run([caller.live(), worker.live()])
}

#[test]
fn a_run_of_many_calls_is_judged_whole() {
    let judgement = judge(&large(80_000));
    assert_eq!(judgement.verdict, Verdict::Safe);
    assert_eq!((judgement.counts.records, judgement.counts.answered), (320_002, 80_000));
}

/// `cargo test -p rexi-migrate -- --ignored --nocapture five_million`, best with optimisation.
#[test]
#[ignore = "measures; takes a gigabyte"]
fn five_million_records_are_judged_in_a_few_seconds() {
    let evidence = large(1_250_000);
    let begun = std::time::Instant::now();
    assert_eq!(judge(&evidence).verdict, Verdict::Safe);
    println!("judged {} records in {:?}", 5_000_002, begun.elapsed());
}
