//! The rule on features: each one of each crate has a row in CONTRIBUTING.md, tests that are there, and a gate that
//! builds it for them.
//!
//! In: the page, the manifests, the script of all gates, and the sources as `tidy.rs` has split them. A row is
//! `| crate | feature | tests | gate |`; the gate is a crate that turns the feature on, or words of the script.

use super::Finding;
use super::facts::{find, tests_named};
use super::source::Source;

/// The page, from the workspace's root.
pub(crate) const PAGE: &str = "CONTRIBUTING.md";

/// What the rule applies to: the manifests by crate, and the script.
pub(crate) struct Built<'a> {
    /// Name of a crate and its manifest.
    pub(crate) manifests: &'a [(&'a str, String)],
    /// The script of all gates.
    pub(crate) script: &'a str,
}

/// Every place where the page, the manifests, the script and the tests do not agree.
pub(crate) fn features(page: &str, built: &Built<'_>, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let finding = |line: usize, what: String| Finding { path: PAGE.to_owned(), line, what };
    let rows: Vec<(usize, Vec<&str>)> = (1..).zip(page.lines()).filter_map(|(line, text)| row(line, text)).collect();
    for (name, manifest) in built.manifests {
        for feature in declared(manifest) {
            let of_feature = |cells: &[&str]| cells[0] == format!("`{name}`") && cells[1] == format!("`{feature}`");
            let count = rows.iter().filter(|(_, cells)| of_feature(cells)).count();
            if count != 1 {
                findings.push(finding(1, format!("the feature {feature} of {name} has {count} rows: each has one")));
            }
        }
    }
    for (line, cells) in rows {
        let [name, feature, tests, gate] = cells[..] else { continue };
        let (name, feature) = (name.trim_matches('`'), feature.trim_matches('`'));
        let manifest = |of: &str| built.manifests.iter().find(|(name, _)| *name == of).map(|(_, text)| text.as_str());
        if !manifest(name).is_some_and(|text| declared(text).contains(&feature.to_owned())) {
            findings.push(finding(line, format!("{name} has no feature {feature}")));
        }
        let named = tests_named(tests);
        if named.is_empty() {
            findings.push(finding(line, format!("{feature}: which test needs it?")));
        }
        let problems = named.into_iter().filter_map(|(file, function)| find(sources, file, function).err());
        findings.extend(problems.map(|problem| finding(line, format!("{feature}: {problem}"))));
        let words = gate.trim_matches('`');
        let is_built = match manifest(words) {
            Some(text) => turns_on(text, name, feature),
            None => built.script.contains(words) && words.contains(feature),
        };
        if !is_built {
            findings.push(finding(line, format!("{feature}: no gate builds it as {gate} says")));
        }
    }
    findings
}

/// The cells of a row that begins with a crate's name in backticks, and has four.
fn row(line: usize, text: &str) -> Option<(usize, Vec<&str>)> {
    let cells: Vec<&str> = text.strip_prefix("| ")?.trim_end().strip_suffix('|')?.split('|').map(str::trim).collect();
    (text.starts_with("| `rexi-") && cells.len() == 4).then_some((line, cells))
}

/// The features of a manifest, but for the set of those that are on by default.
fn declared(manifest: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let names = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| name.to_owned()).filter(|name| name != "default" && !name.starts_with('#')).collect()
}

/// Whether a manifest depends on a crate with this feature.
fn turns_on(manifest: &str, name: &str, feature: &str) -> bool {
    manifest.lines().any(|line| line.starts_with(&format!("{name} = ")) && line.contains(&format!("\"{feature}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_without_a_row_a_test_or_a_gate_is_found() {
        let manifest =
            "[features]\ndefault = []\n# Members.\ndns = [\"dep:dns\"]\nfast = []\n\n[dependencies]\nx = 1\n";
        let sources = [Source::new("tests/a.rs", "//! A.\n\n#[test]\nfn members_are_found() {\n}\n")];
        let found = |page: &str, on: &str, script: &str| {
            let tests = format!("rexi-a = {{ workspace = true, features = [{on}] }}\n");
            let manifests = [("rexi-a", manifest.to_owned()), ("tests", tests)];
            let built = Built { manifests: &manifests, script };
            features(page, &built, &sources).into_iter().map(|found| found.what).collect::<Vec<_>>()
        };
        let dns = "| `rexi-a` | `dns` | `a.rs`: `members_are_found` | tests |\n";
        let fast = "| `rexi-a` | `fast` | `a.rs`: `members_are_found` | `--features fast` |\n";
        let both = format!("{dns}{fast}");
        assert_eq!(found(&both, "\"dns\"", "cargo test --features fast"), [""; 0]);
        assert_eq!(found(&both, "", "cargo test --features fast"), ["dns: no gate builds it as tests says"]);
        assert_eq!(found(&both, "\"dns\"", "cargo test"), ["fast: no gate builds it as `--features fast` says"]);
        let none = ["the feature fast of rexi-a has 0 rows: each has one"];
        assert_eq!(found(dns, "\"dns\"", "cargo test --features fast"), none);
        let gone = both.replace("members_are", "nobody_is");
        assert_eq!(found(&gone, "\"dns\"", "--features fast")[0], "dns: tests/a.rs has no test nobody_is_found");
        let other = format!("{both}| `rexi-a` | `slow` | `a.rs`: `members_are_found` | tests |\n");
        assert_eq!(found(&other, "\"dns\"", "--features fast")[0], "rexi-a has no feature slow");
    }
}
