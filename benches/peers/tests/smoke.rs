//! A whole run, as short as it can be: every cell of every system is played by its processes and has its figures.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_cell_has_its_figures() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let file = |name: &str| folder.path().join(name);
    let (page, chart, json) = (file("page.md"), file("chart.svg"), file("all.json"));
    let mut run = Command::new(env!("CARGO_BIN_EXE_peers"));
    run.args(["run", "--rounds", "1", "--seconds", "0.1"]);
    run.arg("--out").arg(&page).arg("--svg").arg(&chart).arg("--json").arg(&json);
    let output = run.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let cells: Vec<Value> = serde_json::from_str(&read(&json)).expect("it is JSON");
    let of = |work: &str| cells.iter().filter(|cell| cell["work"] == work).count();
    // Six systems, of which tarpc has no streams; calls in flight on both runtimes; what rexi does alone.
    for (work, rows) in [("seq", 6), ("inflight64", 12), ("inflight1024", 12), ("stream64", 5), ("stream4k", 5)] {
        assert_eq!(of(work), rows, "{work}");
    }
    for (work, rows) in
        [("bulk", 6), ("mixed", 6), ("windows", 6), ("coordinators", 12), ("isolation", 21), ("fanout", 3)]
    {
        assert_eq!(of(work), rows, "{work}");
    }
    assert_eq!((of("memory"), cells.len()), (4, 98));
    for cell in &cells {
        assert_eq!(cell["failed"], Value::Null, "{cell}");
        let first = cell["figures"][0]["value"].as_f64().expect("a cell has figures");
        // What ten jobs take may be less than a page, but it is never the first figure.
        assert!(first > 0.0, "{cell}");
    }

    let page = read(&page);
    for said in ["rustc 1.", "## One call after the other", "| tarpc | has none |", "## What peers and jobs take"] {
        assert!(page.contains(said), "{said} is not in\n{page}");
    }
    assert!(!page.contains("failed") && !page.contains(&*folder.path().to_string_lossy()), "{page}");
    let chart = read(&chart);
    assert!(chart.starts_with("<svg") && chart.ends_with("</svg>\n") && !chart.contains("NaN"), "{chart}");
}

#[test]
fn a_time_out_of_bounds_is_refused() {
    let mut run = Command::new(env!("CARGO_BIN_EXE_peers"));
    let output = run.args(["run", "--seconds", "0"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("0.05 to 60 seconds are allowed"));
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("the run has written it")
}
