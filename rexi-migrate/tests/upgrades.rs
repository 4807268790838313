//! Rehearsals of real node processes, through the command line: a train that is safe, one that is illegal, and broken
//! variants of the protocol that the ledger must catch.
//!
//! The broken variants exist only in a build with the feature `mutants`, for which CI has a gate of its own.

use serde_json::Value;

#[path = "rehearsed/mod.rs"]
mod rehearsed;

/// Runs `rehearse` of this tool: see [`rehearsed::rehearse`].
fn rehearse(args: &[&str]) -> (Option<i32>, String, Value) {
    rehearsed::rehearse(&[env!("CARGO_BIN_EXE_rexi-migrate")], args)
}

fn count(report: &Value, name: &str) -> u64 {
    report["judgement"]["counts"][name].as_u64().unwrap_or_else(|| panic!("no count {name} in {report:#}"))
}

fn witnessed(report: &Value, name: &str) -> u64 {
    let rows = report["judgement"]["witnesses"].as_array().expect("a list of witnesses");
    let row = rows.iter().find(|row| row["witness"] == name).unwrap_or_else(|| panic!("no witness {name}"));
    row["count"].as_u64().expect("a count")
}

#[test]
fn a_cluster_steps_through_the_whole_train_and_nothing_is_lost() {
    let args = ["--nodes", "3", "--seed", "11", "--operate=false"];
    let (code, text, report) = rehearsed::rehearse_at(&[env!("CARGO_BIN_EXE_rexi-migrate")], 600, 400, &args);
    assert_eq!(code, Some(0), "{text}");
    for nothing in ["lost", "executed_twice", "orphans", "wrong", "refused", "reply_without_job", "answered_twice"] {
        assert_eq!(count(&report, nothing), 0, "{nothing}: {text}");
    }
    for nothing in ["streams_broken", "questions_astray", "gathers_broken"] {
        assert_eq!(count(&report, nothing), 0, "{nothing}: {text}");
    }
    assert!(count(&report, "casts") > 3_000, "{text}");
    for some in ["streams", "items", "questions", "gathers", "quorums"] {
        assert!(count(&report, some) > 50, "{some}: {text}");
    }
    for met in ["kill_across_switch", "restart_in_flight", "kill_nine", "drain", "rollback", "buffered_over_release"] {
        assert!(witnessed(&report, met) > 0, "{met}: {text}");
    }
    for met in ["stream_over_switch", "stream_over_restart", "stream_window_full", "stream_served", "stream_killed"] {
        assert!(witnessed(&report, met) > 0, "{met}: {text}");
    }
    for met in ["large_item", "question_answered"] {
        assert!(witnessed(&report, met) > 0, "{met}: {text}");
    }
    let steps = report["judgement"]["steps"].as_array().expect("a list of steps");
    let loaded = steps.iter().filter(|step| step["casts"].as_u64() > Some(100));
    for (step, name) in loaded.map(|step| (step, &step["name"])) {
        assert!(step["streams"].as_u64() > Some(0), "no stream in step {name}: {text}");
        assert!(step["gathers"].as_u64() > Some(0), "no gather in step {name}: {text}");
    }
}

#[test]
fn operators_take_a_cluster_to_the_next_release_and_close_the_way_back() {
    let args = ["--nodes", "3", "--seed", "4", "--train", "1.1,1.2", "--dwell-ms", "300"];
    let (code, text, report) = rehearse(&args);
    assert_eq!(code, Some(0), "{text}");
    let operations = &report["operations"];
    let done = |name: &str| operations[name].as_u64().unwrap_or_else(|| panic!("no {name} in {operations:#}"));
    // A record, a release let in, a way back closed, and disks that came new; a start that was not announced, and one
    // that came too late.
    assert!(done("epoch") >= 3 && done("barred") >= 2 && done("commands") >= 6, "{text}");
    assert!(done("trail_lines") >= done("epoch"), "{text}");
    assert_eq!(operations["breaches"].as_array().map(Vec::len), Some(0), "{text}");
    assert_eq!(count(&report, "lost"), 0, "{text}");
}

#[test]
fn an_illegal_train_ends_with_the_refusal_named() {
    let (code, text, report) = rehearse(&["--nodes", "3", "--rate", "100", "--train", "1.0,1.2", "--seed", "5"]);
    assert_eq!(code, Some(1), "{text}");
    let stopped = report["stopped"].as_str().unwrap_or_else(|| panic!("the report says why it stopped: {report:#}"));
    for part in ["more than one release apart", "release 1.0", "release 1.2"] {
        assert!(stopped.contains(part), "{part} is not in {stopped:?}");
    }
}

#[cfg(feature = "mutants")]
mod broken {
    use super::*;

    /// Rehearses the step to 1.2, with its hot flips, on nodes that are broken in this way; gives the findings' ids.
    fn findings(mutants: &str) -> Vec<String> {
        let args = ["--nodes", "3", "--rate", "150", "--dwell-ms", "300", "--seed", "3", "--train", "1.1,1.2"];
        let (code, text, report) = rehearse(&[&args[..], &["--operate=false", "--mutant", mutants]].concat());
        assert_eq!(code, Some(1), "{mutants} was not caught: {text}");
        let because = report["judgement"]["verdict"]["because"].as_array();
        let because = because.unwrap_or_else(|| panic!("no findings with {mutants}: {text}"));
        because.iter().map(|finding| finding["invariant"].as_str().expect("an id").to_owned()).collect()
    }

    #[test]
    fn a_kill_to_the_new_server_alone_leaves_orphans() {
        assert!(findings("kill-only-per-node").contains(&"S3".to_owned()));
    }

    #[test]
    fn a_kill_that_follows_the_phase_leaves_orphans_over_a_hot_flip() {
        assert!(findings("kill-follows-phase").contains(&"S3".to_owned()));
    }

    #[test]
    fn acknowledgements_that_follow_the_phase_leave_streams_in_silence() {
        assert!(findings("acks-follow-phase").contains(&"L1".to_owned()));
    }

    #[test]
    fn per_node_servers_that_start_late_refuse_casts() {
        assert!(findings("late-per-node-servers").contains(&"S6".to_owned()));
    }

    #[test]
    fn a_cast_to_a_missing_server_that_is_dropped_in_silence_is_lost() {
        // Without a missing server there is nothing to drop, so this one needs the other.
        assert!(findings("late-per-node-servers,silent-missing-server").contains(&"S1".to_owned()));
    }
}
