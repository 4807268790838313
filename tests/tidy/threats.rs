//! The rule on docs/threats.md: each row names a file, bounds that docs/bounds.md explains, and tests that are there.
//!
//! In: both pages, and the sources as `tidy.rs` has split them. A row is
//! `| threat | attacker | defence | bounds | where | test |`; a dash stands for no bound.

use super::Finding;
use super::facts::{find, tests_named};
use super::source::Source;

/// The page, from the workspace's root.
pub(crate) const PAGE: &str = "docs/threats.md";

/// A file that is named without a crate is this one's.
const SERVER: &str = "rexi-server/src/";

/// Every place where the pages, the sources and the tests do not agree.
pub(crate) fn threats(page: &str, bounds: &str, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut rows = 0;
    for (line, text) in (1..).zip(page.lines()) {
        let Some(cells) = text.strip_prefix("| ").and_then(|text| text.trim_end().strip_suffix('|')) else { continue };
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        if cells[0] == "threat" {
            continue;
        }
        rows += 1;
        let problems = match cells[..] {
            [_, _, _, bound, place, tests] => judge(bound, place, tests, bounds, sources),
            _ => vec![format!("{} columns, a row has 6", cells.len())],
        };
        findings.extend(problems.into_iter().map(|what| Finding { path: PAGE.to_owned(), line, what }));
    }
    if rows == 0 {
        findings.push(Finding { path: PAGE.to_owned(), line: 1, what: "there is no row".to_owned() });
    }
    findings
}

fn judge(bound: &str, place: &str, tests: &str, bounds: &str, sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    let named = names(bound);
    if named.is_empty() && bound != "–" {
        problems.push("name its bounds in backticks, or write a dash".to_owned());
    }
    let has_row = |name: &str| bounds.lines().any(|line| line.starts_with(&format!("| `{name}` |")));
    problems.extend(named.into_iter().filter(|name| !has_row(name)).map(|name| format!("{name} is no bound")));
    let files = names(place);
    if files.is_empty() {
        problems.push("where is the defence? Name its file in backticks".to_owned());
    }
    let is_there = |name: &str| {
        let path = if name.starts_with("rexi-") { name.to_owned() } else { format!("{SERVER}{name}") };
        sources.iter().any(|source| source.path == path)
    };
    problems.extend(files.into_iter().filter(|name| !is_there(name)).map(|name| format!("there is no {name}")));
    let shown = tests_named(tests);
    if shown.is_empty() {
        problems.push("which test shows it?".to_owned());
    }
    problems.extend(shown.into_iter().filter_map(|(file, function)| find(sources, file, function).err()));
    problems
}

/// What stands in backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_row_is_said() {
        let sources = [
            Source::new("rexi-server/src/door.rs", "//! A.\n"),
            Source::new("tests/a.rs", "//! A.\n\n#[test]\nfn it_holds() {}\n"),
        ];
        let found = |row: &str| {
            let page = format!("| threat | attacker | defence | bounds | where | test |\n|---|---|\n{row}\n");
            let findings = threats(&page, "| `jobs_max` | jobs | 1 |\n", &sources);
            findings.into_iter().map(|finding| finding.what).collect::<Vec<_>>()
        };
        assert_eq!(found("| t | a | d | `jobs_max` | `door.rs` | `a.rs`: `it_holds` |"), [""; 0]);
        assert_eq!(found("| t | a | d | – | `door.rs` | `a.rs`: `it_holds` |"), [""; 0]);
        for (row, said) in [
            ("", "there is no row"),
            ("| t | a | d | – | `door.rs` |", "5 columns, a row has 6"),
            (
                "| t | a | d | jobs_max | `door.rs` | `a.rs`: `it_holds` |",
                "name its bounds in backticks, or write a dash",
            ),
            ("| t | a | d | `most` | `door.rs` | `a.rs`: `it_holds` |", "most is no bound"),
            ("| t | a | d | – | there | `a.rs`: `it_holds` |", "where is the defence? Name its file in backticks"),
            ("| t | a | d | – | `gate.rs` | `a.rs`: `it_holds` |", "there is no gate.rs"),
            ("| t | a | d | – | `door.rs` | it holds |", "which test shows it?"),
            ("| t | a | d | – | `door.rs` | `a.rs`: `it_fails` |", "tests/a.rs has no test it_fails"),
        ] {
            assert_eq!(found(row), [said], "{row}");
        }
    }
}
