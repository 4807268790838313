//! A report's text and JSON, made by hand.

mod soak;

use super::*;
use crate::columns::tests::{assert_fits, unwrapped};
use crate::history::judge::{Counts, Example, Finding, FindingKind, StepRow as StepCounts, Verdict};
use crate::history::ledger::{CallId, CallNumber, GatherEnd, NodeIndex, Outcome, Work};
use crate::rehearse::workload::Account;
use crate::verdict::case::{Witness, WitnessCount};

fn report() -> Report {
    let step = |number: usize| StepRow {
        number,
        node: format!("n{number}"),
        from: "1.0".parse().ok(),
        to: "1.1".parse().ok(),
        how: "kill -9".to_owned(),
        started_us: number as u64 * 1_000_000,
        ended_us: number as u64 * 1_000_000 + 1_000_000,
        ready_ms: Some(345),
        casts_per_s: Some(6000),
        in_flight: 17,
        error: None,
    };
    let counts = |number: u64| StepCounts {
        name: format!("{number}"),
        from_us: number * 1_000_000,
        to_us: (number + 1) * 1_000_000,
        casts: 6_543,
        casts_per_second: 6_543.2,
        answered: 6_000,
        killed: 543,
        streams: 61,
        questions: 37,
        gathers: 59,
        ..StepCounts::default()
    };
    Report {
        format_version: FORMAT_VERSION,
        command: "rexi-migrate rehearse --seed 9".to_owned(),
        seed: 9,
        nodes: 2,
        load: Load { rate: 6_000, due: false, asked: 1_100_000, casts: 1_013_000 },
        train: crate::demo::path().select("1.0,1.1").expect("a path"),
        elapsed_ms: 9100,
        kills: 2,
        steps: vec![step(1), step(2)],
        steps_planned: 2,
        stopped: None,
        judgement: Some(Judgement {
            verdict: Verdict::Safe,
            doubts: Vec::new(),
            counts: Counts {
                processes: 4,
                casts: 1_013_086,
                answered: 1_012_000,
                killed: 1_086,
                streams: 1_200,
                items: 9_000,
                questions: 1,
                gathers: 1_503,
                quorums: 1_500,
                ..Counts::default()
            },
            outcomes: [(Outcome::Reply, 1_011_999), (Outcome::FailedAsAsked, 1)].into(),
            gathers: [(GatherEnd::Reached, 1_500), (GatherEnd::TimedOut, 3)].into(),
            witnesses: vec![
                WitnessCount { witness: Witness::KillNine, count: 2, required: 1 },
                WitnessCount { witness: Witness::BulkServed, count: 31, required: 0 },
            ],
            steps: vec![counts(1), counts(2)],
        }),
        workload: None,
        soak: None,
        operations: None,
        verdict: Conclusion::Safe,
        exit_code: 0,
    }
}

fn judged(report: &mut Report) -> &mut Judgement {
    report.judgement.as_mut().expect("judged")
}

/// The text has these parts, wherever it is wrapped, and fits.
fn assert_has(text: &str, parts: &[&str]) {
    assert_fits(text);
    for part in parts {
        assert!(unwrapped(text).contains(&unwrapped(part)), "no {part:?} in\n{text}");
    }
}

#[test]
fn the_text_says_what_was_done_and_what_it_proves() {
    let text = report().to_text();
    assert_has(
        &text,
        &[
            "1.0 -> 1.1",
            "345",
            "6,543",
            "1,011,999 ┆ reply",
            "1 ┆ failed_as_asked",
            "2 ┆ 6,543 ┆ 6,000 ┆ 543 ┆ 0 │",
            "1,500 ┆ reached",
            "3 ┆ timed_out",
            "0 of 1,200 streams (9,000 items) broken; 0 of 1 question astray; 1,500 of 1,503 gathers reached their \
             quorum, 0 late or contradicted.\n",
            "SAFE: 0 lost, 0 executed twice, 0 orphans in 1,013,086 casts by 4 processes It met 2 kill -9s.",
            "31 ┆        ┆ large bodies served",
            "\nOf the casts, 99.9 % were answered, 0.0 % told that they were not served (0.0 % refused by a draining \
             node), 0.1 % killed.\n",
            "Seed 9; restarts by kill -9: 2; 9 s, 5,525 of 6,000 casts/s while the load was on.\n  rerun: rexi-migrate \
             rehearse --seed 9",
        ],
    );
}

#[test]
fn a_run_that_was_stopped_says_where_and_why_and_what_its_ledgers_hold() {
    let mut report = report();
    report.steps[1].error = Some("1.2 may not meet 1.0".into());
    report.stopped = Some("1.2 may not meet 1.0".into());
    (report.verdict, report.exit_code, report.steps_planned) = (Conclusion::Unsafe, 1, 30);
    let text = report.to_text();
    let lines = "UNSAFE: 1.2 may not meet 1.0 (after 1 of 30 steps)\nAs far as the ledgers go: 0 lost";
    assert_has(&text, &[lines, "kill -9 FAILED"]);
    assert!(!text.contains("It met"), "{text}");
    report.judgement = None;
    let text = report.to_text();
    assert_has(&text, &["UNSAFE: 1.2 may not meet 1.0 (after 1 of 30 steps)\nSeed 9; restarts"]);
    assert!(!text.contains("orphans"), "{text}");
}

#[test]
fn a_rate_that_was_asked_for_and_not_reached_is_a_doubt_with_both_figures() {
    let load = |due, casts| Load { rate: 30_000, due, asked: 300_000, casts };
    let text = "asked for 30,000 casts/s, reached 23,104: the machine is too slow for this rate";
    assert_eq!(load(true, 231_040).doubt().as_deref(), Some(text));
    assert_eq!(load(false, 231_040).doubt(), None, "as much as the machine gives");
    assert_eq!(load(true, 270_000).doubt(), None);
    assert!(load(true, 269_990).doubt().is_some());
    assert_eq!(Load { rate: 30_000, due: true, asked: 0, casts: 0 }.doubt(), None, "the load never began");
    let mut report = report();
    (report.load, report.verdict) = (load(true, 231_040), Conclusion::CouldNotTell);
    assert_has(&report.to_text(), &["COULD NOT TELL", &format!("\n  - doubt: {text}\n")]);
}

#[test]
fn zeroes_without_enough_evidence_are_not_shown_as_a_finding() {
    let mut report = report();
    report.verdict = Conclusion::CouldNotTell;
    judged(&mut report).doubts = vec!["the run had 0 rollbacks, but needs 1".into()];
    judged(&mut report).verdict = Verdict::CouldNotTell(vec!["the run had 0 rollbacks, but needs 1".into()]);
    let text = report.to_text();
    assert_has(&text, &["COULD NOT TELL\nAs far as the ledgers go: 0 lost", "  - doubt: the run had 0 rollbacks"]);
    judged(&mut report).counts = Counts::default();
    let text = report.to_text();
    assert!(!text.contains("0 lost") && !text.contains('%'), "{text}");
}

#[test]
fn a_finding_is_shown_with_its_invariant_its_count_and_its_cases() {
    let mut report = report();
    report.verdict = Conclusion::Unsafe;
    let example = Example {
        call: Some(CallId { caller: NodeIndex(0), incarnation: rexi_proto::Incarnation(7), call: CallNumber(41) }),
        work: Some(Work::Hold),
        caller: Some("n1".into()),
        caller_release: Some("1.1.0".into()),
        target: Some("n2".into()),
        target_release: Some("1.2.0".into()),
        servers: vec!["singleton".into(), "per-node".into()],
        cast_us: Some(1_250_000),
        started_us: vec![1_300_000, 1_500_000],
        killed_us: Some(1_400_000),
        note: Some("ran on for 5 ms".into()),
        ..Example::default()
    };
    let kind = FindingKind::ExecutedTwice;
    let (invariant, sentence) = (kind.invariant(), kind.sentence());
    judged(&mut report).verdict =
        Verdict::Unsafe(vec![Finding { kind, invariant, sentence, count: 1_002, examples: vec![example] }]);
    assert_has(
        &report.to_text(),
        &[
            "UNSAFE: 0 lost",
            "  - S2: 1,002 calls were run more than once\n",
            "call 41 (hold) of n1 1.1.0 on n2 1.2.0, cast at 0.250000, started on singleton at 0.300000, killed at \
             0.400000, started on per-node at 0.500000, ran on for 5 ms",
            "and 1,001 more",
        ],
    );
}

#[test]
fn the_shares_say_how_many_casts_draining_nodes_refused_and_one_of_anything_is_singular() {
    let mut report = report();
    let judged = judged(&mut report);
    judged.counts = Counts { processes: 1, casts: 1_000, answered: 850, told: 100, killed: 50, ..Counts::default() };
    judged.outcomes = [(Outcome::Reply, 850), (Outcome::Down, 1), (Outcome::Draining, 99)].into();
    judged.witnesses = vec![WitnessCount { witness: Witness::RestartInFlight, count: 1, required: 1 }];
    let shares = "Of the casts, 85.0 % were answered, 10.0 % told that they were not served (9.9 % refused by a \
                  draining node), 5.0 % killed.";
    assert_has(&report.to_text(), &[shares, "in 1,000 casts by 1 process It met 1 restart with jobs in flight."]);
}

#[test]
fn long_texts_and_large_numbers_are_wrapped_and_a_column_of_zeroes_is_left_out() {
    let mut report = report();
    let zeroes = ["┆ told", "┆ twice", "┆ phans"];
    assert!(zeroes.iter().all(|head| !report.to_text().contains(head)), "{}", report.to_text());
    let row = &mut report.steps[1];
    row.how = "ceiling kv.read-consistency introduce, rexi.server-per-node remove".to_owned();
    (row.from, row.to) = ("10.10".parse().ok(), "10.11".parse().ok());
    (row.number, row.in_flight, row.ready_ms, row.casts_per_s) = (143, 123_456, Some(25_000), Some(200_000));
    let counts = &mut judged(&mut report).steps[1];
    (counts.casts, counts.answered, counts.told, counts.killed) = (999_999, 999_999, 99_999, 99_999);
    (counts.lost, counts.caller_died, counts.twice, counts.orphans) = (9_999, 99_999, 999, 9_999);
    report.workload = Some(Account {
        name: "the store",
        summary: "many words ".repeat(20).trim().to_owned(),
        breaches: vec!["a breach of many words ".repeat(9).trim().to_owned()],
        doubts: vec!["a doubt of many words ".repeat(9).trim().to_owned()],
        ..Account::default()
    });
    report.stopped = Some("stopped for a reason of many words ".repeat(5).trim().to_owned());
    report.command = "rexi-migrate rehearse ".to_owned() + &"--seed 9 ".repeat(12);
    let text = report.to_text();
    let numbers = "143 ┆ 999,999 ┆ 999,999 ┆ 99,999 ┆ 99,999 ┆ 99,999 ┆ 9,999 ┆ 999 ┆ 9,999 │";
    assert_has(&text, &[numbers, "server-per-node", "phans", "a doubt of many words a doubt"]);
    assert!(text.ends_with(&format!("\n  rerun: {}", report.command)), "{text}");
}

#[test]
fn calls_outside_every_step_get_a_row_of_their_own() {
    let mut report = report();
    let outside = StepCounts { name: "outside every step".into(), casts: 77, ..StepCounts::default() };
    judged(&mut report).steps.push(outside);
    let text = report.to_text();
    assert_has(&text, &["outside every step", "77"]);
}

#[test]
fn the_worse_of_two_conclusions_is_the_greater() {
    assert!(Conclusion::Safe < Conclusion::CouldNotTell && Conclusion::CouldNotTell < Conclusion::Unsafe);
    let codes = [Conclusion::Safe, Conclusion::Unsafe, Conclusion::CouldNotTell].map(Conclusion::code);
    assert_eq!(codes, [0, 1, 3]);
}

#[test]
fn the_json_keeps_its_names() {
    let json: serde_json::Value = serde_json::from_str(&report().to_json()).expect("JSON");
    assert_eq!(json["format_version"], 1);
    assert_eq!(json["train"], serde_json::json!(["1.0", "1.1"]));
    assert_eq!(json["steps"][0]["from"], "1.0");
    assert_eq!(json["judgement"]["verdict"]["kind"], "safe");
    assert_eq!(json["judgement"]["counts"]["casts"], 1_013_086);
    assert_eq!(json["judgement"]["outcomes"]["reply"], 1_011_999);
    assert_eq!(json["judgement"]["witnesses"][0]["required"], 1);
    assert_eq!((&json["verdict"], &json["exit_code"]), (&"safe".into(), &0.into()));
}
