//! `rexi-migrate wire` as an operator has it: what is printed of two locks, and the exit code.

use std::path::Path;
use std::process::{Command, Output};

use rexi_migrate::wire::{FrameLock, Layout, Lock};
use serde_json::Value;

fn wire(args: &[&Path]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_rexi-migrate")).arg("wire").args(args).output().expect("the command starts");
    (status.code(), format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// The exit code, the text and the kinds of changes that the command gives for two locks.
fn diff(old: &Lock, new: &Lock) -> (Option<i32>, String, Vec<String>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [old_file, new_file, json] = ["old.json", "new.json", "diff.json"].map(|name| dir.path().join(name));
    std::fs::write(&old_file, old.to_text()).expect("a file");
    std::fs::write(&new_file, new.to_text()).expect("a file");
    let (code, text) = wire(&[Path::new("diff"), &old_file, &new_file, Path::new("--json"), &json]);
    let said: Value = serde_json::from_slice(&std::fs::read(&json).expect("a file")).expect("JSON");
    let changes = said["changes"].as_array().expect("a list of changes").clone();
    let kinds = changes.iter().map(|change| change["kind"].as_str().expect("a kind").to_owned());
    (code, text, kinds.collect())
}

/// A lock of one frame, which holds an enum with these variants.
fn lock(variants: &[&str]) -> Lock {
    let variants: Vec<Value> = variants.iter().map(|name| serde_json::json!([name, "unit"])).collect();
    let layout = serde_json::json!({ "headers": [{ "enum": { "name": "Reason", "variants": variants } }] });
    let layout: Layout = serde_json::from_value(layout).expect("a layout");
    let frame = FrameLock { kind: "Exit".to_owned(), emitted: true, layout };
    Lock { versions: [("v1".to_owned(), [(1, frame)].into())].into(), ..Lock::empty() }
}

#[test]
fn a_variant_that_goes_from_any_place_of_an_enum_is_a_break_that_is_printed_and_ends_with_1() {
    let all = ["First", "Middle", "Last"];
    for gone in all {
        let left: Vec<&str> = all.into_iter().filter(|name| *name != gone).collect();
        let (code, text, kinds) = diff(&lock(&all), &lock(&left));
        assert_eq!((code, kinds), (Some(1), vec!["variants_removed".to_owned()]), "{text}");
        assert!(text.contains(&format!("v1 Exit: Reason: Reason: variants removed: {gone}")), "{text}");
        assert!(text.contains("1 changes, 1 breaks"), "{text}");
    }
}

#[test]
fn only_what_is_equal_has_no_changes_and_what_breaks_nothing_ends_with_0() {
    let old = lock(&["First", "Last"]);
    let (code, text, kinds) = diff(&old, &old);
    assert_eq!((code, kinds.len()), (Some(0), 0), "{text}");
    assert!(text.contains("0 changes, 0 breaks"), "{text}");
    let mut new = old.clone();
    new.versions.insert("v2".to_owned(), old.versions["v1"].clone());
    let (code, text, kinds) = diff(&old, &new);
    assert_eq!((code, kinds), (Some(0), vec!["version_came".to_owned()]), "{text}");
    assert!(text.contains("v2: a new version") && text.contains("1 changes, 0 breaks"), "{text}");
}
