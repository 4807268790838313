//! The commands that break the protocol on purpose: what is noticed where, what is covered, what cannot be; exit codes.
#![cfg(feature = "mutants")]

use std::process::{Command, Output};

use serde_json::Value;

fn run(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_rexi-migrate")).args(args).output().expect("the command line starts");
    (status.code(), format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[test]
fn a_variant_is_tried_at_every_level_and_told_with_its_shortest_case() {
    let (code, text) = run(&["mutants", "kill-follows-phase", "--scenarios", "100", "--quiet"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("kill-follows-phase (killed)"), "{text}");
    assert!(text.contains("L0 wire: - ("), "{text}");
    assert!(text.contains("L1 check: S3 in 16 ("), "{text}");
    assert!(text.contains("L2 simulate: S3 in "), "{text}");
    assert!(text.contains("<-- here") && text.contains("rerun: rexi-migrate mutants kill-follows-phase"), "{text}");
}

#[test]
fn a_variant_may_be_tried_only_until_a_level_notices_it() {
    let (code, text) = run(&["mutants", "kill-follows-phase", "--until-noticed", "--quiet"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("L2 simulate: S3 in "), "{text}");
    assert!(!text.contains("L1 check"), "the search of all states comes last: {text}");
}

#[test]
fn an_id_stands_for_its_variants_and_breaks_of_the_wire_are_found_in_its_lock() {
    let (code, text) = run(&["mutants", "M7", "M6", "--levels", "wire", "--quiet"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("trailing-bytes (killed)") && text.contains("S8 in 1"), "{text}");
    assert!(text.contains("call and number of a reply change their places (killed)"), "{text}");
}

#[test]
fn a_covered_variant_is_equivalent_alone_and_noticed_without_its_second_guard() {
    let (code, text) =
        run(&["mutants", "silent-missing-server", "--budget-states", "4000", "--scenarios", "60", "--quiet"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("silent-missing-server (equivalent)"), "{text}");
    assert!(text.contains("without late-per-node-servers, since by itself it is covered"), "{text}");
    assert!(text.contains("alone, L2 simulate: nothing (60 scenarios)"), "{text}");
}

#[test]
fn a_variant_that_nobody_notices_is_alive_and_ends_with_1() {
    let (code, text) = run(&["mutants", "kill-follows-phase", "--levels", "wire", "--quiet"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("kill-follows-phase (ALIVE)"), "{text}");
}

#[test]
fn the_score_is_written_as_json() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("score.json");
    let path = file.to_str().expect("a path in UTF-8");
    let (code, text) = run(&["mutants", "kill-only-singleton,resume-keeps-jobs", "--levels", "check", "--json", path]);
    assert_eq!(code, Some(0), "{text}");
    let score: Value = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    let tried = &score["hunted"][0]["tried"][0];
    assert_eq!(
        (&score["hunted"][0]["fate"], &tried["found"]["invariant"]),
        (&"killed".into(), &"S3".into()),
        "{score:#}"
    );
    assert!(tried["found"]["trace"]["events"].as_array().is_some_and(|events| events.len() > 5), "{score:#}");
}

#[test]
fn a_historical_bug_is_replayed_or_named_impossible_with_its_construction() {
    let (code, text) = run(&["history", "G7", "--levels", "check", "--quiet"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("G7: the double kill was removed") && text.contains("S3 in 16"), "{text}");
    let (code, text) = run(&["history", "G11", "--quiet"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("impossible here") && text.contains("held by"), "{text}");
}

#[test]
fn wrong_usage_names_what_is_known() {
    for (args, about) in [
        (&["mutants", "kill-nobody"][..], "kill-follows-phase"),
        (&["mutants", "M99"], "an id of docs/safety.md"),
        (&["mutants", "--levels", "all"], "wire, check, simulate, rehearse"),
        (&["mutants", "--scenarios", "0"], "0"),
        (&["history"], "<ID>"),
        (&["history", "G19"], "G1 to G18"),
        (&["history", "G1", "--all"], "cannot be used with"),
    ] {
        let (code, text) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {text}");
        assert!(text.contains(about), "{args:?}: {text}");
    }
}
