//! Functions of the store that come or go unsafely are found by each level, in few events, and those that do so safely
//! by none. `rehearsal.rs` has the processes.

use std::process::Command;

use rexi_kv::planted::Planted;
use rexi_kv::train;
use rexi_migrate::check::{Cluster, Scope};
use rexi_migrate::path::UpgradePath;
use rexi_migrate::search::{End, Options, search};
use rexi_migrate::verdict::invariant::Invariant;
use rexi_migrate::wire::Lock;

/// What the tools say of the store with these functions planted; and whether that is no finding, in an exit code.
fn rollout(planted: &str, args: &[&str]) -> (Option<i32>, String) {
    let tool = Command::new(env!("CARGO_BIN_EXE_rexi-kv")).args(["rollout", "--plant", planted]).args(args).output();
    let output = tool.expect("the store's tool starts");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    // Words, wherever their lines are wrapped.
    (output.status.code(), text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Each is unsafe, and the text has these parts.
fn is_found(planted: &str, args: &[&str], parts: &[&str]) {
    let (code, text) = rollout(planted, args);
    assert_eq!(code, Some(1), "{planted} {args:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{planted} {args:?}: {part:?} is not in {text}");
    }
}

fn is_accepted(args: &[&str]) {
    let (code, text) = rollout("safe", args);
    assert!(code != Some(1) && code != Some(2) && !text.contains("UNSAFE"), "{args:?}: {text}");
}

#[test]
fn the_lock_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lock.json");
    let args = ["wire", "lock", "--file", file.to_str().expect("a path in Unicode")];
    is_found("eager", &args, &["function kv.purge", "2.1 calls it", "2.0"]);
    is_found("early", &args, &["function kv.count", "2.1 calls it", "2.2"]);
    assert!(!file.exists(), "nothing was written");
    is_accepted(&args);
    assert!(file.exists());
}

#[test]
fn the_planner_rules_them_out_in_five_events_and_finds_a_plan_of_two_steps() {
    is_found("eager", &["plan", "kv.purge"], &["S1: a call of kv.purge reaches 2.0, which does not take it", " 5 n"]);
    is_found("early", &["plan", "kv.count"], &["S1: a call of kv.count reaches 2.2, which does not take it", " 5 n"]);
    for function in ["kv.purge", "kv.count"] {
        is_accepted(&["plan", function]);
    }
    for (planted, function) in [("eager", "kv.purge"), ("early", "kv.count")] {
        let (code, text) = rollout(planted, &["plan", "--synthesize", function]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("the shortest safe plan has 2 steps"), "{text}");
        assert!(text.contains("ruled out: 1 plan of 1 step; 5 events to S1"), "{text}");
    }
}

#[test]
fn the_checker_finds_them_in_four_and_in_eight_steps() {
    let searched = |planted: Planted| {
        let lock = planted.lock(Lock::empty()).expect("its types have schemas");
        let path = UpgradePath::of(&train()).expect("a train").with_functions(lock.rows());
        let path = path.select("2.0,2.1,2.2").expect("it has them");
        let scope = Scope { nodes: 2, jobs: 1, ..Scope::new("one call", &path) };
        match search(&Cluster::new(scope), &Options::default(), &mut |_| {}).end {
            End::Broken(broken, path) => Some((broken.invariant, path.steps.len())),
            End::Exhausted => None,
            end => panic!("{planted:?}: {end:?}"),
        }
    };
    assert_eq!(searched(Planted::Eager), Some((Invariant::S9, 4)));
    assert_eq!(searched(Planted::Early), Some((Invariant::S9, 8)));
    assert_eq!(searched(Planted::Safe), None);
}

#[test]
fn the_simulation_finds_them_and_shrinks_them_to_at_most_two_operations() {
    let simulate = ["simulate", "--scenarios", "60", "--seed", "1", "--nodes", "2", "--quiet"];
    for (planted, function) in [("eager", "kv.purge"), ("early", "kv.count")] {
        is_found(planted, &simulate, &["S9: casts were refused by a legal neighbour", &format!("it is of {function}")]);
        let (_, text) = rollout(planted, &simulate);
        let plan =
            text.split("--plan '").nth(1).and_then(|text| text.split('\'').next()).expect("a plan to play again");
        assert!(plan.matches(';').count() <= 2, "{plan}");
        is_found(planted, &["simulate", "--plan", plan], &[function]);
    }
    is_accepted(&simulate);
}
