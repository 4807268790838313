//! The rule on docs/bounds.md: each field of `Limits` has one row with its default, and the tests that it names exist.
//!
//! In: the page, and the sources as `tidy.rs` has split them. A row is
//! `| name | unit | default | of | beyond | test |`.

use super::Finding;
use super::facts::{find, tests_named};
use super::source::Source;

/// The page, from the workspace's root.
pub(crate) const PAGE: &str = "docs/bounds.md";

/// Where the bounds are declared.
const LIMITS: &str = "rexi-proto/src/limits.rs";

/// Every place where the page, the limits and the tests do not agree.
pub(crate) fn bounds(page: &str, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let finding = |line: usize, what: String| Finding { path: PAGE.to_owned(), line, what };
    let rows: Vec<(usize, Vec<&str>)> = (1..).zip(page.lines()).filter_map(|(line, text)| row(line, text)).collect();
    for field in fields(sources) {
        let of_field = rows.iter().filter(|(_, cells)| cells[0].trim_matches('`') == field).count();
        if of_field != 1 {
            findings.push(finding(1, format!("{field} has {of_field} rows: each bound has one")));
        }
    }
    for (line, cells) in rows {
        let [name, _, _, _, beyond, tests] = cells[..] else {
            findings.push(finding(line, format!("{} columns, a row has 6", cells.len())));
            continue;
        };
        let named = tests_named(tests);
        if named.is_empty() || beyond.is_empty() {
            findings.push(finding(line, format!("{name}: say what happens beyond it, and which test shows it")));
        }
        let problems = named.into_iter().filter_map(|(file, function)| find(sources, file, function).err());
        findings.extend(problems.map(|problem| finding(line, format!("{name}: {problem}"))));
    }
    findings
}

/// The cells of a row whose first one is a name in backticks.
fn row(line: usize, text: &str) -> Option<(usize, Vec<&str>)> {
    let cells = text.strip_prefix("| ")?.trim_end().strip_suffix('|')?;
    text.starts_with("| `").then(|| (line, cells.split('|').map(str::trim).collect()))
}

/// The fields of `Limits`.
fn fields(sources: &[Source]) -> Vec<String> {
    let limits = sources.iter().find(|source| source.path == LIMITS).expect("the limits are declared there");
    let lines = limits.lines.iter().skip_while(|line| !line.code.contains("pub struct Limits"));
    let field = |code: &str| Some(code.trim().strip_prefix("pub ")?.split_once(':')?.0.to_owned());
    lines.skip(1).take_while(|line| line.code.trim() != "}").filter_map(|line| field(&line.code)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_without_a_row_or_with_a_test_that_is_not_there_is_found() {
        let limits = "pub struct Limits {\n    /// A.\n    pub jobs_max: usize,\n    pub calls_max: usize,\n}\n";
        let sources =
            [Source::new(LIMITS, limits), Source::new("tests/a.rs", "//! A.\n\n#[test]\nfn jobs_are_bounded() {\n}\n")];
        let found = |page: &str| bounds(page, &sources).into_iter().map(|found| found.what).collect::<Vec<_>>();
        let jobs = "| `jobs_max` | jobs | 1 | peer | an exit | `a.rs`: `jobs_are_bounded` |\n";
        let calls = "| `calls_max` | calls | 1 | peer | refused | `a.rs`: `calls_are_bounded` |\n";
        assert_eq!(found(jobs), ["calls_max has 0 rows: each bound has one"]);
        assert_eq!(found(&format!("{jobs}{calls}")), ["`calls_max`: tests/a.rs has no test calls_are_bounded"]);
        assert_eq!(found(&format!("{jobs}{}", calls.replace("calls_are", "jobs_are"))), [""; 0]);
        assert_eq!(found(&format!("{jobs}| `calls_max` | calls |\n")), ["2 columns, a row has 6"]);
    }
}
