//! The rule on docs/rexi.md: each fact of the original has one row, and the tests that it names are there.
//!
//! In: the page, and the sources as `tidy.rs` has split them. A row is `| id | fact | here | test | modes |`. A test is
//! named by its file, relative to the workspace's root or to `tests/`, and its function. What a row says about modes is
//! compared with what its tests do.

use super::Finding;
use super::source::{Source, end_of_item, holds};

/// The page, from the workspace's root.
pub(crate) const PAGE: &str = "docs/rexi.md";

/// Every place where the page and the tests do not agree.
pub(crate) fn facts(page: &str, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rows: Vec<Row> = page.lines().enumerate().filter_map(|(index, line)| Row::parse(index, line)).collect();
    for id in ids() {
        let of_id: Vec<&Row> = rows.iter().filter(|row| row.id() == id).collect();
        if of_id.len() != 1 {
            let at = of_id.last().map_or(0, |row| row.index);
            findings.push(finding(at, format!("{id} has {} rows: each fact has one", of_id.len())));
        }
    }
    for row in &rows {
        if !ids().any(|id| id == row.id()) {
            findings.push(finding(row.index, format!("{} is no fact's id", row.id())));
        }
        findings.extend(row.judge(sources).into_iter().map(|what| finding(row.index, format!("{}: {what}", row.id()))));
    }
    findings
}

/// The ids of the facts, in the page's order.
fn ids() -> impl Iterator<Item = String> {
    (1..=46).flat_map(|number| {
        let letters: &[&str] = if matches!(number, 11 | 44) { &["", "a", "b"] } else { &[""] };
        letters.iter().map(move |letter| format!("R{number}{letter}"))
    })
}

struct Row<'a> {
    /// Of its line, from 0.
    index: usize,
    cells: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn parse(index: usize, line: &'a str) -> Option<Self> {
        let cells = line.strip_prefix("| R")?.trim_end().strip_suffix('|')?;
        Some(Self { index, cells: cells.split('|').map(str::trim).collect() })
    }

    fn id(&self) -> String {
        format!("R{}", self.cells[0])
    }

    fn judge(&self, sources: &[Source]) -> Vec<String> {
        let [_, _, _, tests, modes] = self.cells[..] else {
            return vec![format!("{} columns, a row has 5", self.cells.len())];
        };
        let mut problems = Vec::new();
        let mut in_every_mode = 0;
        let named = tests_named(tests);
        if named.is_empty() {
            problems.push("no test: name its file and its function, each in backticks".to_owned());
        }
        for (file, function) in named {
            match find(sources, file, function) {
                Err(problem) => problems.push(problem),
                Ok(Reach::EveryMode) => in_every_mode += 1,
                Ok(Reach::Some) => {}
            }
        }
        let reason = modes.split_once(": ").is_some_and(|(_, reason)| reason.split_whitespace().count() >= 3);
        let all = modes == "all modes" || modes.starts_with("all modes;");
        if all && in_every_mode == 0 {
            problems.push(format!("\"{modes}\", but none of its tests uses {}", LOOPS.join(" or ")));
        }
        if !all && !reason {
            problems.push(format!("\"{modes}\": say \"all modes\", or in which ones, a colon, and why not in all"));
        }
        problems
    }
}

/// The test of that name in that file, which is named relative to the workspace's root or to `tests/`.
pub(crate) fn find(sources: &[Source], file: &str, function: &str) -> Result<Reach, String> {
    let path = if file.contains('/') { file.to_owned() } else { format!("tests/{file}") };
    let source = sources.iter().find(|source| source.path == path).ok_or_else(|| format!("there is no {path}"))?;
    test(source, function).ok_or_else(|| format!("{path} has no test {function}"))
}

/// Files and functions: `a.rs`: `one`, `two`; `b.rs`: `three`.
pub(crate) fn tests_named(cell: &str) -> Vec<(&str, &str)> {
    let mut named = Vec::new();
    for group in cell.split(';') {
        let mut words = group.split('`').skip(1).step_by(2);
        let Some(file) = words.next() else { continue };
        named.extend(words.map(|function| (file, function)));
    }
    named
}

/// The modes that a test runs in.
pub(crate) enum Reach {
    EveryMode,
    Some,
}

/// The test of that name, if the file has one.
fn test(source: &Source, function: &str) -> Option<Reach> {
    // What a property is tried with stands between the brackets.
    let opens = format!("fn {function}(");
    let first = source.lines.iter().position(|line| holds(&line.code, &opens))?;
    let above = source.lines[..first].iter().rev().take_while(|line| !line.text.trim().is_empty());
    let marked = above.take_while(|line| !line.code.trim().ends_with('}')).any(|line| {
        let code = line.code.trim();
        code.starts_with("#[test]") || code.starts_with("#[tokio::test")
    });
    let body = &source.lines[first..end_of_item(&source.lines, first)];
    let every = body.iter().any(|line| LOOPS.iter().any(|name| holds(&line.code, name)));
    marked.then_some(if every { Reach::EveryMode } else { Reach::Some })
}

fn finding(index: usize, what: String) -> Finding {
    Finding { path: PAGE.to_owned(), line: index + 1, what }
}

/// What a test in every mode holds one of.
const LOOPS: [&str; 3] = ["in_every_mode", "RELEASES", "MODES"];

#[cfg(test)]
mod tests {
    use super::*;

    const TESTS: &str = "//! A.

#[test]
fn one_mode() {
    a();
}

/// B.
#[tokio::test]
async fn every_mode() {
    in_every_mode(async |mode| {
        mode;
    })
    .await;
}

fn helper() {}
";

    /// What is found in a page that has this row for R1, and good ones for the rest.
    fn found(row: &str) -> Vec<String> {
        let sources = [Source::new("tests/a.rs", TESTS), Source::new("rexi-proto/src/b/tests.rs", TESTS)];
        let good = ids().skip(1).map(|id| format!("| {id} | f | kept | `a.rs`: `every_mode` | all modes |\n"));
        let page = format!("# Page\n\n| id | fact |\n|---|---|\n{row}\n{}", good.collect::<String>());
        let findings = facts(&page, &sources);
        assert!(findings.iter().all(|finding| finding.path == PAGE && finding.line <= 6), "{findings:?}");
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_row_that_agrees_with_its_tests_is_passed() {
        for (tests, modes) in [
            ("`a.rs`: `every_mode`", "all modes"),
            ("`a.rs`: `every_mode`; `rexi-proto/src/b/tests.rs`: `one_mode`", "all modes; the last in one"),
            ("`a.rs`: `one_mode`", "dual: no other release has two phases"),
        ] {
            assert_eq!(found(&format!("| R1 | f | kept | {tests} | {modes} |")), [""; 0], "{tests}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said() {
        for (row, part) in [
            ("", "R1 has 0 rows"),
            ("| R1 | f | kept | `a.rs`: `every_mode` |", "4 columns"),
            ("| R1 | f | kept | - | all modes |", "no test"),
            ("| R1 | f | kept | `a.rs` | all modes |", "no test"),
            ("| R1 | f | kept | `c.rs`: `every_mode` | all modes |", "there is no tests/c.rs"),
            ("| R1 | f | kept | `a.rs`: `helper` | all modes |", "no test helper"),
            ("| R1 | f | kept | `a.rs`: `every` | all modes |", "no test every"),
            ("| R1 | f | kept | `a.rs`: `one_mode` | all modes |", "none of its tests uses in_every_mode"),
            ("| R1 | f | kept | `a.rs`: `one_mode` | dual |", "why not in all"),
        ] {
            let found = found(row);
            assert!(found.iter().any(|what| what.contains(part)), "{row}: {found:?}");
        }
    }

    #[test]
    fn each_fact_has_one_row_and_no_row_is_of_another() {
        assert_eq!(ids().count(), 50);
        let row = "| R1 | f | kept | `a.rs`: `every_mode` | all modes |";
        assert_eq!(found(&format!("{row}\n{row}")).len(), 1);
        let other = found(&format!("{row}\n| R47 | f | kept | `a.rs`: `every_mode` | all modes |"));
        assert_eq!(other, ["R47 is no fact's id"]);
    }
}
