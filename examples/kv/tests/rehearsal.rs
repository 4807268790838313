//! The store goes through the whole upgrade in a rehearsal of its own, as real processes with `kill -9`s.

use serde_json::Value;

#[path = "../../../rexi-migrate/tests/rehearsed/mod.rs"]
mod rehearsed;

const ROLLOUT: [&str; 2] = [env!("CARGO_BIN_EXE_rexi-kv"), "rollout"];

fn of_store(report: &Value, name: &str) -> u64 {
    let store = &report["workload"]["counts"];
    store[name].as_u64().unwrap_or_else(|| panic!("no count {name} in {store:#}"))
}

#[test]
fn a_key_value_store_keeps_what_it_acknowledged_through_the_whole_train() {
    let args = ["--nodes", "3", "--seed", "12", "--operate=false"];
    let (code, text, report) = rehearsed::rehearse_at(&ROLLOUT, 100, 400, &args);
    assert_eq!(code, Some(0), "{text}");
    for nothing in ["lost", "stale", "never_written", "without_order"] {
        assert_eq!(of_store(&report, nothing), 0, "{nothing}: {text}");
    }
    assert!(of_store(&report, "writes_acknowledged") > 500 && of_store(&report, "reads_checked") > 500, "{text}");
    assert!(of_store(&report, "operations_in_them") > 500, "{text}");
    assert_eq!(of_store(&report, "keys_checked"), of_store(&report, "keys"), "{text}");
    assert!(report["kills"].as_u64() > Some(0), "{text}");
}

#[test]
fn a_store_that_forgets_is_unsafe_though_no_call_is_lost() {
    let args = ["--nodes", "3", "--rate", "100", "--train", "1.0,1.1", "--dwell-ms", "200", "--seed", "1"];
    let args = [&args[..], &["--operate=false"]].concat();
    let (code, text, report) = rehearsed::rehearse(&[&ROLLOUT[..], &["--forgets"]].concat(), &args);
    assert_eq!((code, report["judgement"]["counts"]["lost"].as_u64()), (Some(1), Some(0)), "{text}");
    assert!(of_store(&report, "stale") > 0 && of_store(&report, "lost") > 0, "{text}");
    assert!(of_store(&report, "without_order") > 0, "{text}");
    assert!(text.contains("was not there"), "{text}");
}

#[test]
fn a_function_that_comes_or_goes_unsafely_is_missed_by_real_processes_and_named() {
    for (planted, train, function) in [("eager", "2.0,2.1", "kv.purge"), ("early", "2.1,2.2", "kv.count")] {
        let args = ["--nodes", "2", "--rate", "100", "--train", train, "--dwell-ms", "200", "--seed", "1"];
        let args = [&args[..], &["--operate=false"]].concat();
        let (code, text, report) = rehearsed::rehearse(&[&ROLLOUT[..], &["--plant", planted]].concat(), &args);
        assert_eq!(code, Some(1), "{text}");
        assert_eq!(report["judgement"]["counts"]["lost"].as_u64(), Some(0), "{text}");
        assert!(report["judgement"]["counts"]["refused"].as_u64() > Some(0), "{text}");
        assert!(text.contains("no such function") && text.contains(&format!("it is of {function}")), "{text}");
    }
}
