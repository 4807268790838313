//! The rule on pages that are cited: a page that a source, a page, a manifest or a script names is in the repository.
//!
//! In: every text of the workspace, as `tidy.rs` has walked it. A link is followed from the folder of its page, as a
//! reader's browser does; a plain mention may also be meant from the workspace's root. Addresses on the web are
//! ignored, and so are the names that `WRITTEN` lists and those in the other rule on pages.

use std::collections::BTreeSet;

use super::{Finding, Text};

/// How the name of a page ends.
const ENDING: &str = ".md";

/// Files that are written and then read by the same test, so that none is to be found: where, and how it is called.
const WRITTEN: [(&str, &str); 1] = [("benches/peers/tests/smoke.rs", concat!("page", ".md"))];

/// Names pages from `docs/`, as links there do, and made-up ones to be judged.
const OF_PAGES: &str = "tests/tidy/front_door.rs";

/// Every mention of a page that is not there.
pub(crate) fn pages(texts: &[Text]) -> Vec<Finding> {
    let there: BTreeSet<&str> =
        texts.iter().map(|text| text.path.as_str()).filter(|path| path.ends_with(ENDING)).collect();
    let mut findings = Vec::new();
    for text in texts.iter().filter(|text| text.path != OF_PAGES) {
        let folder = text.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, said) in (1..).zip(text.text.lines()) {
            for Mention { name, is_link } in mentions(said) {
                let is_there = |from: &str| resolved(from, name).is_some_and(|path| there.contains(path.as_str()));
                let is_written = WRITTEN.contains(&(text.path.as_str(), name));
                if !is_written && !is_there(folder) && (is_link || !is_there("")) {
                    let from = if is_link { format!(" as a link from /{folder}") } else { String::new() };
                    let what = format!("{name} is not in the repository{from}: name a page that is, or say the reason");
                    findings.push(Finding { path: text.path.clone(), line, what });
                }
            }
        }
    }
    findings
}

/// Every link of a page to a file that is not there, such as a picture; other pages are the rule above's. `is_file` is
/// asked by paths from the workspace's root.
pub(crate) fn links(texts: &[Text], is_file: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in texts.iter().filter(|text| text.path.ends_with(ENDING)) {
        let folder = text.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, said) in (1..).zip(text.text.lines()) {
            let targets = said.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
            let files = targets.map(|target| target.split_once('#').map_or(target, |(file, _)| file));
            let is_judged = |name: &&str| !name.is_empty() && !name.contains(':') && !name.ends_with(ENDING);
            for name in files.filter(is_judged) {
                if !resolved(folder, name).is_some_and(|path| is_file(&path)) {
                    let what = format!("{name} is linked and is not in the repository: add it, or take the link out");
                    findings.push(Finding { path: text.path.clone(), line, what });
                }
            }
        }
    }
    findings
}

/// The name of a page in a text.
struct Mention<'a> {
    name: &'a str,
    is_link: bool,
}

/// Every page that a line names.
fn mentions(line: &str) -> impl Iterator<Item = Mention<'_>> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    line.match_indices(ENDING).filter_map(move |(at, _)| {
        let end = at + ENDING.len();
        if line[end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        let start = line[..at].trim_end_matches(is_part).len();
        let (before, name) = (&line[..start], &line[start..end]);
        // A script's variable holds the folder.
        let name = if before.ends_with('$') { name.split_once('/')?.1 } else { name };
        let is_web = before.ends_with(':') && name.starts_with("//");
        let is_bare = name == ENDING;
        (!is_web && !is_bare).then_some(Mention { name, is_link: before.ends_with("](") })
    })
}

/// A path from the workspace's root, without its dots; `None` where it leaves the workspace.
fn resolved(folder: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines with a finding, in a text at that path next to one page, `docs/there`. A `~` stands for the ending,
    /// since the rule applies to this file, too.
    fn found(path: &str, said: &str) -> Vec<usize> {
        let text = |path: &str, said: &str| Text { path: path.replace('~', ENDING), text: said.replace('~', ENDING) };
        let findings = pages(&[text("docs/there~", ""), text(path, said)]);
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_page_that_is_there_is_passed_from_the_root_and_from_its_folder() {
        for (path, said) in [
            ("a/src/x.rs", "//! As docs/there~ says."),
            ("a/src/x.rs", "include_str!(\"../../docs/there~\")"),
            ("docs/x~", "See there~, `docs/there~` and [there](there~#part)."),
            ("x~", "[there](docs/there~)"),
            (".ci/run", "page=$repository/docs/there~"),
            ("x~", "https://example.org/gone~"),
            ("x~", "what ends in `~`, and x~x"),
        ] {
            assert_eq!(found(path, said), [0; 0], "{path}: {said}");
        }
    }

    #[test]
    fn a_page_that_is_not_there_is_found_with_its_line() {
        for (path, said) in [
            ("a/src/x.rs", "//! A.\n// GONE~ §3 has it."),
            ("a/src/x.rs", "\n\"use an id of docs/gone~\""),
            ("docs/x~", "\n[gone](gone~)"),
            // From the root it would be there, but a link is followed from its page.
            ("docs/x~", "\n[there](docs/there~)"),
            ("Cargo.toml", "\n# there~: only in docs."),
            (".ci/run", "\n# See ../../docs/there~"),
            ("x~", "ä\näö«gone~»"),
        ] {
            assert_eq!(found(path, said), [2], "{path}: {said}");
        }
    }

    #[test]
    fn a_link_to_a_file_that_is_not_there_is_found() {
        let page = "![a](a.png) [b](../b.svg#part) [c](#part) [d](https://example.org/d.png)\n![e](e.png)";
        let texts = [Text { path: format!("docs/x{ENDING}"), text: page.to_owned() }];
        let found: Vec<_> = links(&texts, |path| ["docs/a.png", "b.svg"].contains(&path)).into_iter().collect();
        assert!(found.len() == 1 && found[0].line == 2 && found[0].what.starts_with("e.png"), "{found:?}");
    }
}
