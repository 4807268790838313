//! A rehearsal through the command line, of this tool or of a service that has one of its own.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `rehearse` of a program, called by these words, with these arguments and gives its exit code, what it said and
/// its JSON report.
pub(crate) fn rehearse(program: &[&str], args: &[&str]) -> (Option<i32>, String, Value) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let json = dir.path().join("report.json");
    let Output { status, stdout, stderr } = Command::new(program[0])
        .args(&program[1..])
        .arg("rehearse")
        .args(args)
        .args([Path::new("--json"), &json])
        .output()
        .expect("the command line starts");
    let text = format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let report = std::fs::read(&json).unwrap_or_else(|error| panic!("no report: {error}\n{text}"));
    // Words, wherever their lines are wrapped.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (status.code(), text, serde_json::from_slice(&report).expect("the report is JSON"))
}

/// As [`rehearse`], at so many casts a second or at as many as this machine reaches: if it is too slow for the rate,
/// half of it is asked for over twice the dwell. What the run has to show stays the same.
pub(crate) fn rehearse_at(program: &[&str], rate: u32, dwell_ms: u32, args: &[&str]) -> (Option<i32>, String, Value) {
    let mut part = 1;
    loop {
        let (rate, dwell_ms) = ((rate / part).to_string(), (dwell_ms * part).to_string());
        let (code, text, report) = rehearse(program, &[&["--rate", &rate, "--dwell-ms", &dwell_ms], args].concat());
        let is_too_slow = code == Some(3) && text.contains("the machine is too slow for this rate");
        if !is_too_slow || part == PART_MAX {
            return (code, text, report);
        }
        eprintln!("this machine is too slow for {rate} casts/s: half of that is asked for");
        part *= 2;
    }
}

/// The least that is asked for, as a part of the rate.
const PART_MAX: u32 = 8;
