//! A rehearsal through the command line, of this tool or of a service that has one of its own.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `rehearse` of a program with these arguments and gives its exit code, what it said and its JSON report.
pub(crate) fn rehearse(program: &str, args: &[&str]) -> (Option<i32>, String, Value) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let json = dir.path().join("report.json");
    let Output { status, stdout, stderr } = Command::new(program)
        .arg("rehearse")
        .args(args)
        .args([Path::new("--json"), &json])
        .output()
        .expect("the command line starts");
    let text = format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let report = std::fs::read(&json).unwrap_or_else(|error| panic!("no report: {error}\n{text}"));
    (status.code(), text, serde_json::from_slice(&report).expect("the report is JSON"))
}
