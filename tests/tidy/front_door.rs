//! The rule on the front door: README.md is short and shows code at once, and docs/README.md leads to every page.
//!
//! In: the two texts, and the names of all pages. Words are what `wc -w` counts. A page is reached by a link to it or
//! to one of its headings.

use std::fs;
use std::path::Path;

use super::Finding;

/// The front door, from the workspace's root.
pub(crate) const README: &str = "README.md";

/// The index of all pages, from the workspace's root.
pub(crate) const INDEX: &str = "docs/README.md";

/// What is wrong with the front door.
pub(crate) fn readme(text: &str) -> Vec<Finding> {
    let finding = |line: usize, what: String| Finding { path: README.to_owned(), line, what };
    let mut findings = Vec::new();
    let words = words(text);
    if words > WORDS_MAX {
        let what = format!("{words} words, {WORDS_MAX} are allowed: move the details to a page under docs/");
        findings.push(finding(1, what));
    }
    match text.lines().position(|line| line.starts_with("```rust")) {
        None => findings.push(finding(1, "no block of Rust: show what a service looks like".to_owned())),
        Some(index) => {
            let before = text.lines().take(index).map(self::words).sum::<usize>();
            if before >= WORDS_BEFORE_CODE {
                let what = format!("{before} words before the first Rust: show it before word {WORDS_BEFORE_CODE}");
                findings.push(finding(index + 1, what));
            }
        }
    }
    findings
}

/// The pages, as paths from `docs/`, that the index does not lead to.
pub(crate) fn index(index: &str, pages: &[String]) -> Vec<Finding> {
    let is_linked = |page: &str| [")", "#"].iter().any(|end| index.contains(&format!("]({page}{end}")));
    let missing = pages.iter().filter(|page| !is_linked(page));
    missing
        .map(|page| Finding { path: INDEX.to_owned(), line: 1, what: format!("no link to {page}: add one") })
        .collect()
}

/// Every page under `docs/`, but for the index itself, and every one at the workspace's root, as paths from `docs/`.
pub(crate) fn pages(root: &Path) -> Vec<String> {
    let mut pages = Vec::new();
    for (folder, prefix) in [(root.to_owned(), "../"), (root.join("docs"), "")] {
        collect(&folder, prefix, !prefix.is_empty(), &mut pages);
    }
    pages.retain(|page| page != "README.md");
    // A walk that finds nothing would pass.
    for expected in ["../README.md", "guide.md"] {
        assert!(pages.iter().any(|page| page == expected), "{expected} was not found in {}", root.display());
    }
    pages.sort();
    pages
}

fn collect(folder: &Path, prefix: &str, is_flat: bool, pages: &mut Vec<String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    for entry in entries {
        let entry = entry.expect("the folder was just opened");
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            if !is_flat {
                collect(&entry.path(), &format!("{prefix}{name}/"), is_flat, pages);
            }
        } else if name.ends_with(".md") {
            pages.push(format!("{prefix}{name}"));
        }
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// More would not be read at one go.
const WORDS_MAX: usize = 1_200;
const WORDS_BEFORE_CODE: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    /// Where something is wrong with a text of this many words, of which this many are before the code.
    fn lines(all: usize, before: usize) -> Vec<usize> {
        let (head, tail) = ("word ".repeat(before), "word\n".repeat(all - before - 2));
        readme(&format!("{head}\n```rust\n```\n{tail}")).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn words_are_counted_in_all_and_before_the_code() {
        assert_eq!(lines(1_200, 299), []);
        assert_eq!(lines(1_201, 299), [1]);
        assert_eq!(lines(1_200, 300), [2]);
        assert_eq!(lines(1_201, 300), [1, 2]);
    }

    #[test]
    fn another_language_is_no_rust() {
        let findings = readme("# A\n\n```text\nfn a() {}\n```\n");
        assert!(findings.len() == 1 && findings[0].what.contains("no block of Rust"), "{findings:?}");
    }

    #[test]
    fn a_page_is_reached_by_a_link_to_it_or_into_it() {
        let page = "[a](a.md), [b](b.md#part), [c](../c.md) and `d.md`, [e](xe.md)";
        let pages = ["a.md", "b.md", "../c.md", "d.md", "e.md", "c.md"].map(str::to_owned);
        let missing: Vec<String> = index(page, &pages).into_iter().map(|finding| finding.what).collect();
        assert_eq!(missing, ["d.md", "e.md", "c.md"].map(|page| format!("no link to {page}: add one")));
    }
}
