//! What the tools print fits a terminal of 80 columns: the help of every command, and what each says of a small run.
//!
//! A command that is to be copied has a line of its own and may be longer, and so may one long word, such as a path.

use std::process::{Command, Output};

/// Runs the tool and gives its standard output, which may not be empty.
fn stdout(args: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut tool = Command::new(env!("CARGO_BIN_EXE_rexi-migrate"));
    // A variable of the shell that says how wide its terminal is widens nothing.
    let output = tool.args(args).current_dir(dir.path()).env("COLUMNS", "200").output();
    let Output { stdout, stderr, .. } = output.expect("the command line starts");
    assert!(!stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

fn assert_fits(args: &[&str]) {
    let text = stdout(args);
    for line in text.lines() {
        let (columns, words) = (line.chars().count(), line.split_whitespace().count());
        let may_be_wider = line.trim_start().starts_with("rerun: ") || words == 1;
        assert!(columns <= COLUMNS_MAX || may_be_wider, "{args:?}: {columns} columns: {line}\nin\n{text}");
    }
}

/// The words in front of a command and behind it that name the commands of a help.
fn commands(under: &[&str]) -> Vec<String> {
    let help = stdout(&[under, &["--help"]].concat());
    let listed = help.split("Commands:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let names = names.filter_map(|line| line.split(' ').next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_help_of_every_command_fits() {
    assert_fits(&["--help"]);
    let all = commands(&[]);
    assert!(all.len() >= 6 && all.iter().any(|name| name == "wire"), "{all:?}");
    for name in &all {
        for flag in ["--help", "-h"] {
            assert_fits(&[name, flag]);
        }
    }
    for (group, least) in [("wire", 4), ("live", 15)] {
        let inner = commands(&[group]);
        assert!(inner.len() >= least, "{inner:?}");
        for name in &inner {
            assert_fits(&[group, name, "--help"]);
        }
    }
}

#[test]
fn what_each_command_says_of_a_small_run_fits() {
    let check = ["check", "--nodes", "2", "--jobs", "0", "--budget-states", "200", "--quiet"];
    let simulate = ["simulate", "--seed", "7", "--scenarios", "3", "--quiet"];
    let plan = "nodes 2 start 1.2 seed 5; cast n1 n2 hold 1; pass 20; lower all; pass 5; kill 0";
    let runs: [&[&str]; 9] = [
        &["check", "--vectors", "--quiet"],
        &check,
        &simulate,
        &["simulate", "--plan", plan],
        &["plan"],
        &["plan", "kill-all", "--synthesize", "--traces"],
        &["wire", "matrix", "--generated", "500"],
        &["wire", "report", "--generated", "5"],
        &["verify", "--budget-seconds", "1", "--no-rehearsal", "--quiet"],
    ];
    for args in runs {
        assert_fits(args);
    }
}

#[test]
fn two_locks_that_differ_are_told_in_lines_that_fit() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let text = include_str!("../wire.lock.json");
    let old = file("old.json", text);
    let mut lock: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let versions = lock["versions"].as_object_mut().expect("versions");
    versions.remove("v1").expect("there is one");
    let new = file("new.json", &lock.to_string());
    assert_fits(&["wire", "diff", &old, &new]);
    assert_fits(&["wire", "lock", "--check", "--file", &new]);
}

#[test]
fn a_rehearsal_says_all_in_lines_that_fit() {
    let args = ["--nodes", "2", "--rate", "100", "--train", "1.0,1.1", "--dwell-ms", "100", "--seed", "1", "--quiet"];
    assert_fits(&[&["rehearse"], &args[..]].concat());
}

#[cfg(feature = "mutants")]
#[test]
fn broken_variants_are_told_in_lines_that_fit() {
    assert_fits(&["mutants", "kill-follows-phase", "--levels", "wire,check", "--quiet"]);
    assert_fits(&["check", "--nodes", "2", "--jobs", "0", "--mutant", "kill-follows-phase", "--quiet"]);
    assert_fits(&["history", "--all", "--levels", "wire", "--budget-states", "10", "--scenarios", "1", "--quiet"]);
}

const COLUMNS_MAX: usize = 80;
