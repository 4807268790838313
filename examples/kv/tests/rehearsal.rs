//! The store goes through the whole upgrade in a rehearsal of its own, as real processes with `kill -9`s.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `rehearse` with these arguments and gives its exit code, what it said and its JSON report.
fn rehearse(args: &[&str]) -> (Option<i32>, String, Value) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let json = dir.path().join("report.json");
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_rexi-kv"))
        .arg("rehearse")
        .args(args)
        .args([Path::new("--json"), &json])
        .output()
        .expect("the command line starts");
    let text = format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let report = std::fs::read(&json).unwrap_or_else(|error| panic!("no report: {error}\n{text}"));
    (status.code(), text, serde_json::from_slice(&report).expect("the report is JSON"))
}

fn of_store(report: &Value, name: &str) -> u64 {
    let store = &report["workload"]["counts"];
    store[name].as_u64().unwrap_or_else(|| panic!("no count {name} in {store:#}"))
}

#[test]
fn a_key_value_store_keeps_what_it_acknowledged_through_the_whole_train() {
    let args = ["--nodes", "3", "--rate", "100", "--dwell-ms", "300", "--seed", "12"];
    let (code, text, report) = rehearse(&args);
    assert_eq!(code, Some(0), "{text}");
    for nothing in ["lost", "stale", "never_written"] {
        assert_eq!(of_store(&report, nothing), 0, "{nothing}: {text}");
    }
    assert!(of_store(&report, "writes_acknowledged") > 100 && of_store(&report, "reads_checked") > 100, "{text}");
    assert_eq!(of_store(&report, "keys_checked"), of_store(&report, "keys"), "{text}");
    assert!(report["kills"].as_u64() > Some(0), "{text}");
}

#[test]
fn a_store_that_forgets_is_unsafe_though_no_call_is_lost() {
    let args = ["--forgets", "--nodes", "3", "--rate", "100", "--train", "1.0,1.1", "--dwell-ms", "200", "--seed", "1"];
    let (code, text, report) = rehearse(&args);
    assert_eq!((code, report["judgement"]["counts"]["lost"].as_u64()), (Some(1), Some(0)), "{text}");
    assert!(of_store(&report, "stale") > 0 && of_store(&report, "lost") > 0, "{text}");
    assert!(text.contains("was not there"), "{text}");
}
