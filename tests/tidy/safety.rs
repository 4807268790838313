//! The rule on docs/safety.md: a level looks for the invariants that its column has a dot for and for no others; files
//! that a row names are there; a variant takes away the guards of its row, in one file, which are asked where it says.
//!
//! In: the page, and the sources as `tidy.rs` has split them. That the page has every invariant, variant, mutant and
//! bug, with its sentence, is held by rexi-migrate, whose lists they are; what only the sources show is held here.

use std::collections::BTreeSet;

use super::Finding;
use super::source::{Line, Source, holds};

/// The page, from the workspace's root.
pub(crate) const PAGE: &str = "docs/safety.md";

/// A file that is named without a crate is this one's.
const CORE: &str = "rexi-proto/src/";

/// Where the variants are declared.
const VARIANTS: &str = "rexi-proto/src/mutant.rs";

/// Where the guards are that they take away, and nowhere else: here, and in the folder.
const GUARDS: &str = "rexi-proto/src/guards.rs";
const GUARDS_FOLDER: &str = "rexi-proto/src/guards/";

/// Each level's column, and where its code is.
const LEVELS: [(&str, &[&str]); 6] = [
    ("random runs", &["rexi-migrate/tests/mixed_version.rs", "rexi-migrate/tests/walk/"]),
    ("wire", &["rexi-migrate/src/wire.rs", "rexi-migrate/src/wire/"]),
    ("plan", &["rexi-migrate/src/migration.rs", "rexi-migrate/src/migration/"]),
    ("check", &["rexi-migrate/src/check.rs", "rexi-migrate/src/check/"]),
    ("simulate", &["rexi-migrate/src/simulate.rs", "rexi-migrate/src/simulate/", JUDGE, JUDGES]),
    ("rehearse", &[JUDGE, JUDGES]),
];

/// What judges the histories of two levels.
const JUDGE: &str = "rexi-migrate/src/history/judge.rs";
const JUDGES: &str = "rexi-migrate/src/history/judge/";

/// What a column has for a level that looks for the invariant.
const DOT: &str = "●";

/// Every place where the page and the sources do not agree.
pub(crate) fn safety(page: &str, sources: &[Source]) -> Vec<Finding> {
    let levels: Vec<BTreeSet<String>> = LEVELS.iter().map(|(_, roots)| judged(sources, roots)).collect();
    let variants = variants(sources);
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(page.lines()) {
        let Some(cells) = text.strip_prefix("| ").and_then(|text| text.trim_end().strip_suffix('|')) else { continue };
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        let problems = match cells[..] {
            [id, _, ref dots @ .., upheld] if is_invariant(id) && dots.len() == LEVELS.len() => {
                let mut problems = wrong_dots(id, dots, &levels);
                problems.extend(wrong_files(upheld, sources));
                problems
            }
            [id, ..] if is_invariant(id) => {
                vec![format!("{id}: a row has a column for each of {} levels", LEVELS.len())]
            }
            [name, _, _, _, _, place] if name.starts_with('`') => wrong_place(name, place, &variants, sources),
            _ => continue,
        };
        findings.extend(problems.into_iter().map(|what| Finding { path: PAGE.to_owned(), line, what }));
    }
    findings.extend(sources.iter().filter(|source| source.path.starts_with(CORE)).flat_map(outside_of_guards));
    findings
}

/// Where the core asks for a variant past the guards' file.
fn outside_of_guards(source: &Source) -> Vec<Finding> {
    let asks = |line: &Line| source.ships(line) && holds(&line.code, "Mutant::");
    let lines =
        (0..).zip(&source.lines).filter(|(_, line)| asks(line) && !has_guards(source) && source.path != VARIANTS);
    lines.map(|(index, _)| source.finding(index, "a variant is asked for in guards.rs alone: name the guard")).collect()
}

fn has_guards(source: &Source) -> bool {
    source.path == GUARDS || source.path.starts_with(GUARDS_FOLDER)
}

fn is_invariant(id: &str) -> bool {
    let number = id.strip_prefix(['S', 'L']).unwrap_or_default();
    !number.is_empty() && number.chars().all(|char| char.is_ascii_digit())
}

/// The invariants that the code under these roots names, in code or in text, but not in a comment or a test of its own.
fn judged(sources: &[Source], roots: &[&str]) -> BTreeSet<String> {
    let is_of_level = |source: &&Source| roots.iter().any(|root| source.path.starts_with(root));
    let mut ids = BTreeSet::new();
    for source in sources.iter().filter(is_of_level) {
        for line in
            source.lines.iter().filter(|line| source.ships(line) || source.path.starts_with("rexi-migrate/tests/"))
        {
            let said: String =
                line.text.chars().zip(line.comment.chars()).map(|(c, of)| if of == ' ' { c } else { ' ' }).collect();
            let words = said.split(|c: char| !c.is_ascii_alphanumeric());
            ids.extend(words.filter(|word| is_invariant(word)).map(str::to_owned));
        }
    }
    ids
}

fn wrong_dots(id: &str, dots: &[&str], levels: &[BTreeSet<String>]) -> Vec<String> {
    let columns = LEVELS.iter().zip(levels).zip(dots);
    let wrong = columns.filter_map(|(((name, _), judged), dot)| match (judged.contains(id), *dot) {
        (true, DOT) | (false, "") => None,
        (true, _) => Some(format!("{id}: {name} looks for it, and has no dot")),
        (false, _) => Some(format!("{id}: {name} does not look for it, and has a dot")),
    });
    wrong.collect()
}

/// The files that a cell names and the workspace does not have.
fn wrong_files(cell: &str, sources: &[Source]) -> Vec<String> {
    let named: Vec<&str> = cell.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs")).collect();
    if named.is_empty() {
        return vec!["name the file, in backticks".to_owned()];
    }
    let gone = named.into_iter().filter(|name| file(name, sources).is_none());
    gone.map(|name| format!("there is no {name}")).collect()
}

fn file<'a>(name: &str, sources: &'a [Source]) -> Option<&'a Source> {
    let path = if name.starts_with("rexi-") { name.to_owned() } else { format!("{CORE}{name}") };
    sources.iter().find(|source| source.path == path)
}

/// The variants of the core: in code, and by name.
fn variants(sources: &[Source]) -> Vec<(String, String)> {
    let declared = sources.iter().find(|source| source.path == VARIANTS).expect("the variants are declared there");
    let variant = |text: &str| {
        let (variant, rest) = text.trim().split_once(" \"")?;
        let is_variant =
            variant.starts_with(|c: char| c.is_ascii_uppercase()) && variant.chars().all(char::is_alphanumeric);
        is_variant.then(|| (variant.to_owned(), rest.split('"').next().unwrap_or_default().to_owned()))
    };
    declared.lines.iter().filter_map(|line| variant(&line.text)).collect()
}

fn wrong_place(name: &str, place: &str, variants: &[(String, String)], sources: &[Source]) -> Vec<String> {
    let name = name.trim_matches('`');
    let Some((variant, _)) = variants.iter().find(|(_, of)| of == name) else {
        return vec![format!("there is no variant {name}")];
    };
    let mut problems = wrong_files(place, sources);
    let (files, guards): (Vec<&str>, Vec<&str>) =
        place.split('`').skip(1).step_by(2).partition(|name| name.ends_with(".rs"));
    let taken = taken_by(variant, sources);
    if taken.iter().map(String::as_str).ne(guards.iter().copied()) {
        problems.push(format!("{variant} takes {} away, and not {}", taken.join(", "), guards.join(", ")));
    }
    let asks = |file_name: &str, guard: &str| {
        let asked = [format!("guards.{guard}("), format!("guards().{guard}(")];
        file(file_name, sources).is_some_and(|source| {
            let mut shipped = source.lines.iter().filter(|line| source.ships(line));
            shipped.any(|line| asked.iter().any(|asked| holds(&line.code, asked)))
        })
    };
    let unasked = guards.iter().filter(|guard| !files.iter().any(|file| asks(file, guard)));
    problems.extend(unasked.map(|guard| format!("{guard} is asked in none of {}", files.join(", "))));
    let idle = files.iter().filter(|&&name| file(name, sources).is_some() && !guards.iter().any(|of| asks(name, of)));
    problems.extend(idle.map(|file| format!("{file} does not ask {}", guards.join(", "))));
    problems
}

/// The guards that a variant takes away, in the order of their file.
fn taken_by(variant: &str, sources: &[Source]) -> Vec<String> {
    let files = sources.iter().filter(|source| has_guards(source));
    let asked = format!("Mutant::{variant}");
    let mut taken: Vec<String> = Vec::new();
    let mut guard = "";
    for line in files.flat_map(|file| file.lines.iter().filter(|line| file.ships(line))) {
        if let Some((_, rest)) = line.code.split_once("fn ") {
            guard = rest.split(['(', '<']).next().unwrap_or_default();
        }
        if holds(&line.code, &asked) && taken.last().is_none_or(|last| last != guard) {
            taken.push(guard.to_owned());
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a page of one row.
    fn found(row: &str) -> Vec<String> {
        let sources = [
            Source::new(VARIANTS, "mutants! {\n    KillAll \"kill-all\" \"M1\"\n        \"Kills.\"\n}\n"),
            Source::new(GUARDS, "fn kills(self) {\n    self.lacks(Mutant::KillAll)\n}\nfn other(self) {}\n"),
            Source::new("rexi-proto/src/server.rs", "if self.guards.kills() && self.guards.other() {}\n"),
            Source::new("rexi-proto/src/peer/mod.rs", "// self.guards.kills()\n"),
            Source::new("rexi-migrate/tests/walk/a.rs", "violate(\"S1\"); // S2\n"),
            Source::new("rexi-migrate/src/check/a.rs", "Late S1,\n#[cfg(test)]\nmod tests {\n    Late S2;\n}\n"),
            Source::new("rexi-migrate/src/check/tests.rs", "Late S2,\n"),
        ];
        safety(row, &sources).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn dots_are_compared_with_what_the_levels_name() {
        assert_eq!(found("| S1 | x | ● | | | ● | | | `server.rs`: so |"), [""; 0]);
        assert_eq!(found("| S2 | x | | | | | | | `peer/mod.rs` |"), [""; 0]);
        assert_eq!(found("| S1 | x | ● | | | | | | `server.rs` |"), ["S1: check looks for it, and has no dot"]);
        assert_eq!(found("| S2 | x | | ● | | | | | `server.rs` |"), ["S2: wire does not look for it, and has a dot"]);
        assert_eq!(found("| S2 | x | | | `server.rs` |"), ["S2: a row has a column for each of 6 levels"]);
    }

    #[test]
    fn files_that_are_named_are_there() {
        assert_eq!(found("| S2 | x | | | | | | | `gone.rs` |"), ["there is no gone.rs"]);
        assert_eq!(found("| S2 | x | | | | | | | nowhere |"), ["name the file, in backticks"]);
    }

    #[test]
    fn a_guard_is_taken_away_and_asked_as_its_row_says() {
        let found_of = |place: &str| found(&format!("| `kill-all` | M1 | Kills. | S3 | | {place} |"));
        assert_eq!(found_of("`kills` in `server.rs`"), [""; 0]);
        assert_eq!(found("| `kill-none` | M1 | Kills. | S3 | | `server.rs` |"), ["there is no variant kill-none"]);
        assert_eq!(found_of("`kills` in `server.rs`, `peer/mod.rs`"), ["peer/mod.rs does not ask kills"]);
        assert_eq!(found_of("`kills` in `peer/mod.rs`")[0], "kills is asked in none of peer/mod.rs");
        assert_eq!(found_of("`other` in `server.rs`"), ["KillAll takes kills away, and not other"]);
    }

    #[test]
    fn no_other_file_of_the_core_asks_for_a_variant() {
        let asks = |path| outside_of_guards(&Source::new(path, "a\nif has(Mutant::KillAll) {}\n")).len();
        assert_eq!((asks("rexi-proto/src/server.rs"), asks(GUARDS), asks(VARIANTS)), (1, 0, 0));
        assert_eq!(asks("rexi-proto/src/server/tests.rs"), 0);
    }
}
