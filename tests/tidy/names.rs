//! One word for one thing: no two crates have a public type of the same name.
//!
//! In: the sources. Out: every such name, at its second crate.

use std::collections::BTreeMap;

use super::Finding;
use super::source::Source;

pub(super) fn judge(sources: &[Source]) -> Vec<Finding> {
    let mut first_in = BTreeMap::new();
    let mut findings = Vec::new();
    for source in sources {
        let Some(of) = CRATES.iter().find(|of| source.path.starts_with(**of)) else { continue };
        let shipped = source.lines.iter().enumerate().filter(|(_, line)| source.ships(line));
        for (index, name) in shipped.filter_map(|(index, line)| Some((index, type_name(&line.code)?))) {
            let (other, path) = first_in.entry(name.to_owned()).or_insert((of, &source.path));
            if *other != of {
                let what = format!("{name} is a type in {path} too: name one of the two for what it alone is");
                findings.push(source.finding(index, what));
            }
        }
    }
    findings
}

/// What a line declares, if it is a public type.
fn type_name(code: &str) -> Option<&str> {
    let item = code.trim_start().strip_prefix("pub ")?;
    let name = ["struct ", "enum ", "trait ", "union "].iter().find_map(|kind| item.strip_prefix(kind))?;
    name.split(|char: char| !char.is_alphanumeric() && char != '_').next()
}

/// What others build on.
const CRATES: [&str; 3] = ["rexi-proto/src/", "rexi-server/src/", "rexi-migrate/src/"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_two_crates_is_found_in_the_second() {
        let source = |path: &str, text: &str| Source::new(path, text);
        let sources = [
            source("rexi-proto/src/a.rs", "pub struct A(u8);\npub enum B<T> {\n"),
            source("rexi-proto/src/b.rs", "pub struct A {\n"),
            source("rexi-server/src/a.rs", "struct A;\npub(crate) enum B;\n// pub struct A;\npub fn a() {}\n"),
            source("rexi-server/src/b.rs", "#[cfg(test)]\nmod tests {\n    pub struct A;\n}\n"),
            source("rexi-migrate/src/a.rs", "use b;\npub enum A {}\n    pub trait B: C {\n"),
            source("examples/kv/src/a.rs", "pub struct A;\n"),
        ];
        let findings = judge(&sources);
        let places: Vec<_> = findings.iter().map(|finding| (finding.path.as_str(), finding.line)).collect();
        assert_eq!(places, [("rexi-migrate/src/a.rs", 2), ("rexi-migrate/src/a.rs", 3)]);
        assert!(findings[0].what.contains("rexi-proto/src/a.rs"), "{findings:?}");
    }
}
