//! The rule on the code map of ARCHITECTURE.md: each file and folder at the root of a crate has its place there, and
//! everything that the map names exists.
//!
//! In: the page, and the sources as `tidy.rs` has split them. A crate's part of the map begins with `### ` and its
//! name; the first cell of a row names its files and folders in backticks.

use std::collections::BTreeSet;

use super::Finding;
use super::source::Source;

/// The page, from the workspace's root.
pub(crate) const PAGE: &str = "ARCHITECTURE.md";

/// The crates that are mapped.
const CRATES: [&str; 3] = ["rexi-proto", "rexi-server", "rexi-migrate"];

/// In the map without being sources: rexi-migrate's pages of HTML.
const NO_SOURCES: [&str; 1] = ["templates/"];

/// Every file without a place, and every place without a file.
pub(crate) fn files(page: &str, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let finding = |line: usize, what: String| Finding { path: PAGE.to_owned(), line, what };
    for name in CRATES {
        let heading = format!("### {name}");
        let lines = (1..).zip(page.lines()).skip_while(|(_, text)| !text.starts_with(&heading));
        let part: Vec<_> = lines.skip(1).take_while(|(_, text)| !text.starts_with('#')).collect();
        let named: Vec<(usize, &str)> = part.iter().flat_map(|(line, text)| in_map(*line, text)).collect();
        let there = at_root(name, sources);
        let missing = there.iter().filter(|file| needs_place(file, &there) && !named.iter().any(|(_, of)| of == *file));
        findings.extend(missing.map(|file| finding(1, format!("{file} of {name} has no place in the code map"))));
        let gone = named.iter().filter(|(_, of)| !there.contains(*of) && !NO_SOURCES.contains(of));
        findings.extend(gone.map(|(line, file)| finding(*line, format!("{name} has no {file}"))));
    }
    findings
}

/// What a row of the map names.
fn in_map(line: usize, text: &str) -> Vec<(usize, &str)> {
    let Some(cell) = text.strip_prefix("| `").and_then(|_| text.split('|').nth(1)) else { return Vec::new() };
    cell.split('`').skip(1).step_by(2).map(|name| (line, name)).collect()
}

/// The files and folders at the root of a crate, a folder with its slash.
fn at_root(name: &str, sources: &[Source]) -> BTreeSet<String> {
    let root = format!("{name}/src/");
    let paths = sources.iter().filter_map(|source| source.path.strip_prefix(&root));
    paths.map(|path| path.split_once('/').map_or_else(|| path.to_owned(), |(folder, _)| format!("{folder}/"))).collect()
}

/// All do but `lib.rs`, which is the map itself, and folders with the rest of a file of that name.
fn needs_place(file: &str, there: &BTreeSet<String>) -> bool {
    file != "lib.rs" && file.strip_suffix('/').is_none_or(|folder| !there.contains(&format!("{folder}.rs")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_place_and_a_place_without_a_file_are_found() {
        let sources = ["lib.rs", "name.rs", "peer/mod.rs", "server.rs", "server/search.rs", "link.rs"]
            .map(|path| Source::new(&format!("rexi-proto/src/{path}"), ""));
        let found = |rows: &str| {
            let page =
                format!("## Code map\n\n### rexi-proto: the core\n\n| files | x |\n|---|---|\n{rows}\n## Next\n");
            let findings = files(&page, &sources);
            findings.into_iter().map(|finding| (finding.line, finding.what)).collect::<Vec<_>>()
        };
        let of = |line: usize, what: &str| (line, what.to_owned());
        assert_eq!(found("| `name.rs`, `peer/` | a `gone.rs` |\n| `server.rs`, `server/`, `link.rs` | b |"), []);
        let missing = "link.rs of rexi-proto has no place in the code map";
        assert_eq!(found("| `name.rs`, `peer/`, `server.rs` | `link.rs` |"), [of(1, missing)]);
        let rows = "| `name.rs`, `server.rs`, `link.rs` | b |\n| `old.rs` | c |";
        let gone = of(8, "rexi-proto has no old.rs");
        assert_eq!(found(rows), [of(1, "peer/ of rexi-proto has no place in the code map"), gone]);
    }
}
