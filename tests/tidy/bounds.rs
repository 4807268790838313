//! The rule on docs/bounds.md: each bound has one row, with its value, and the tests that the row names exist.
//!
//! In: that page, docs/wire.md, and the sources as `tidy.rs` has split them. A bound is a field of `Limits`, or a
//! constant of the protocol or the server that is a time, or a number with a word of `WORDS` in its name. A row is `|
//! name | unit | value | of | beyond | test |`; a constant is named with its module, `handshake::HANDSHAKE_LIMIT`. What
//! docs/wire.md says in numbers is compared with the bound that it names next to them.

use std::collections::BTreeMap;

use super::Finding;
use super::facts::{find, tests_named};
use super::source::Source;

/// The page, from the workspace's root.
pub(crate) const PAGE: &str = "docs/bounds.md";

/// The page that gives the bounds of the wire, among other things.
pub(crate) const WIRE: &str = "docs/wire.md";

/// Where the bounds that a service may set are declared.
const LIMITS: &str = "rexi-proto/src/limits.rs";

/// The crates whose constants are bounds of a node.
const CRATES: [&str; 2] = ["rexi-proto/src/", "rexi-server/src/"];

/// What only tests of services use, and so is not a bound of a node.
const TESTING: &str = "rexi-server/src/testing";

/// One of these words in the name of a number makes it a bound. A constant `Duration` always is one.
const WORDS: [&str; 11] =
    ["MAX", "MIN", "LEAST", "LIMIT", "TIMEOUT", "INTERVAL", "PERIOD", "GRACE", "DELAY", "KEPT", "WINDOW"];

/// What looks like a bound and is not one, with the reason.
const NO_BOUNDS: [(&str, &str); 4] = [
    ("operate::admin::port::ACCEPT_PAUSE", "how long a loop rests that the system refuses"),
    ("operate::admin::UPKEEP_INTERVAL", "how often a recorder tidies up, which nothing shows"),
    ("guards::LATE", "how late a mutant is; not in a release"),
    ("limits::READ_BYTES_MAX", "never reached, since QUIC hands over one packet at most; a term of a sum"),
];

/// A value as pages and sources have it: a number, or microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Count(u64),
    Micros(u64),
}

/// Every place where the pages, the sources and the tests do not agree.
pub(crate) fn bounds(page: &str, wire: &str, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let finding = |line: usize, what: String| Finding { path: PAGE.to_owned(), line, what };
    let rows: Vec<(usize, Vec<&str>)> = (1..).zip(page.lines()).filter_map(|(line, text)| row(line, text)).collect();
    let bounds = declared(sources, &mut findings);
    for bound in bounds.keys() {
        let of_bound = rows.iter().filter(|(_, cells)| cells[0].trim_matches('`') == bound).count();
        if of_bound != 1 {
            findings.push(finding(1, format!("{bound} has {of_bound} rows: each bound has one")));
        }
    }
    for (line, cells) in rows {
        let [name, unit, value, _, beyond, tests] = cells[..] else {
            findings.push(finding(line, format!("{} columns, a row has 6", cells.len())));
            continue;
        };
        let Some(&declared) = bounds.get(name.trim_matches('`')) else {
            findings.push(finding(line, format!("{name} is no bound of the sources")));
            continue;
        };
        if told(value) != Some(declared) {
            findings.push(finding(line, format!("{name} is {value} here and {declared:?} in the sources")));
        }
        if (unit == "time") != matches!(declared, Value::Micros(_)) {
            findings.push(finding(line, format!("{name}: {unit} is not its unit")));
        }
        let named = tests_named(tests);
        if named.is_empty() || beyond.is_empty() {
            findings.push(finding(line, format!("{name}: say what happens beyond it, and which test shows it")));
        }
        let problems = named.into_iter().filter_map(|(file, function)| find(sources, file, function).err());
        findings.extend(problems.map(|problem| finding(line, format!("{name}: {problem}"))));
    }
    findings.extend(of_wire(wire, &bounds));
    findings
}

/// The cells of a row whose first one is a name in backticks.
fn row(line: usize, text: &str) -> Option<(usize, Vec<&str>)> {
    let cells = text.strip_prefix("| ")?.trim_end().strip_suffix('|')?;
    text.starts_with("| `").then(|| (line, cells.split('|').map(str::trim).collect()))
}

/// Every bound of the sources, by the name that its row has.
fn declared(sources: &[Source], findings: &mut Vec<Finding>) -> BTreeMap<String, Value> {
    let mut bounds = fields(sources);
    for source in sources {
        let Some(file) = CRATES.iter().find_map(|root| source.path.strip_prefix(root)) else { continue };
        if source.path.starts_with(TESTING) {
            continue;
        }
        let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        for (index, line) in source.lines.iter().enumerate().filter(|(_, line)| source.ships(line)) {
            let Some((name, is_time, value)) = constant(&line.code) else { continue };
            let name = format!("{module}::{name}");
            if NO_BOUNDS.iter().any(|(none, _)| *none == name) {
                continue;
            }
            match evaluate(value) {
                Some(Value::Count(count)) if !is_time => drop(bounds.insert(name, Value::Count(count))),
                Some(micros @ Value::Micros(_)) if is_time => drop(bounds.insert(name, micros)),
                _ => findings.push(source.finding(index, format!("{name}: write it so that this rule can read it"))),
            }
        }
    }
    bounds
}

/// The fields of `Limits` and their defaults.
fn fields(sources: &[Source]) -> BTreeMap<String, Value> {
    let limits = sources.iter().find(|source| source.path == LIMITS).expect("the limits are declared there");
    let lines = || limits.lines.iter().map(|line| line.code.as_str());
    let declared = lines().skip_while(|code| !code.contains("pub struct Limits")).skip(1);
    let declared = declared.take_while(|code| code.trim() != "}");
    let name = |code: &str| Some(code.trim().strip_prefix("pub ")?.split_once(':')?.0.to_owned());
    let defaults: Vec<_> = lines().skip_while(|code| !code.contains("impl Default for Limits")).collect();
    let default = |name: &str| {
        let of_field = |code: &&str| code.trim().strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        let (_, value) = defaults.iter().find(|code| of_field(code))?.split_once(':')?;
        evaluate(value.trim().trim_end_matches(','))
    };
    let of_field = |name: String| {
        let value = default(&name).unwrap_or_else(|| panic!("{name} has a default that can be read"));
        (name, value)
    };
    declared.filter_map(name).map(of_field).collect()
}

/// The name of a constant that is a bound, whether it is a time, and what it is set to.
fn constant(code: &str) -> Option<(&str, bool, &str)> {
    let (visibility, rest) = code.trim().split_once("const ")?;
    let (name, rest) = rest.split_once(": ")?;
    let (of_type, value) = rest.split_once(" = ")?;
    let is_time = of_type == "Duration";
    let is_number = ["u8", "u16", "u32", "u64", "usize"].contains(&of_type);
    let is_bound = is_time || is_number && name.split('_').any(|word| WORDS.contains(&word));
    let is_item = visibility.is_empty() || visibility.starts_with("pub");
    (is_item && is_bound).then(|| (name, is_time, value.trim_end_matches(';')))
}

/// What an expression of the sources comes to.
fn evaluate(expression: &str) -> Option<Value> {
    if let Some(rest) = expression.strip_prefix("Duration::from_") {
        let (unit, count) = rest.strip_suffix(')')?.split_once('(')?;
        let micros = match unit {
            "micros" => 1,
            "millis" => 1_000,
            "secs" => 1_000_000,
            "hours" => 3_600_000_000,
            _ => return None,
        };
        return number(count).map(|count| Value::Micros(count * micros));
    }
    number(expression).map(Value::Count)
}

/// A product or a shift of numbers.
fn number(expression: &str) -> Option<u64> {
    if let Some((number_of, bits)) = expression.split_once(" << ") {
        return Some(number(number_of)? << number(bits)?);
    }
    expression.split(" * ").map(|factor| factor.replace('_', "").parse::<u64>().ok()).product()
}

/// A value as a page has it: `100,000`, `8 MiB`, `3 s`.
fn told(text: &str) -> Option<Value> {
    let (count, unit) = text.split_once(' ').unwrap_or((text, ""));
    let count: u64 = count.replace(',', "").parse().ok()?;
    Some(match unit {
        "" | "bytes" => Value::Count(count),
        "KiB" => Value::Count(count << 10),
        "MiB" => Value::Count(count << 20),
        "µs" => Value::Micros(count),
        "ms" => Value::Micros(count * 1_000),
        "s" => Value::Micros(count * 1_000_000),
        "h" => Value::Micros(count * 3_600_000_000),
        _ => return None,
    })
}

/// Every number that docs/wire.md states as a limit, without the name of a bound of that value next to it, that is, in
/// the same sentence or the same row of a table.
fn of_wire(page: &str, bounds: &BTreeMap<String, Value>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, sentence) in sentences(page) {
        let named: Vec<Value> = names(&sentence).filter_map(|name| by_name(bounds, name)).flatten().collect();
        for (said, value) in limits_in(&sentence) {
            if !named.contains(&value) {
                let what = format!("\"{said}\": name the bound that this is, which has a row in {PAGE}");
                findings.push(Finding { path: WIRE.to_owned(), line, what });
            }
        }
        let of_constant = |name: &&str| name.contains('_') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        for name in names(&sentence).filter(of_constant).filter(|name| by_name(bounds, name).is_none()) {
            findings.push(Finding { path: WIRE.to_owned(), line, what: format!("{name} has no row in {PAGE}") });
        }
    }
    findings
}

/// The values of the bounds of that name, with its module or without.
fn by_name(bounds: &BTreeMap<String, Value>, name: &str) -> Option<Vec<Value>> {
    let of_name = |bound: &str| bound == name || bound.rsplit("::").next() == Some(name);
    let values: Vec<Value> = bounds.iter().filter(|(bound, _)| of_name(bound)).map(|(_, value)| *value).collect();
    (!values.is_empty()).then_some(values)
}

/// What stands in backticks.
fn names(sentence: &str) -> impl Iterator<Item = &str> {
    sentence.split('`').skip(1).step_by(2)
}

/// The sentences of a page without its examples, each with the line on which it begins; a row of a table is one.
fn sentences(page: &str) -> Vec<(usize, String)> {
    let (mut found, mut open, mut fenced) = (Vec::new(), None::<(usize, String)>, false);
    for (line, text) in (1..).zip(page.lines()) {
        let text = text.trim();
        fenced ^= text.starts_with("```");
        let ends_all = fenced || text.is_empty() || text.starts_with("```") || text.starts_with("- ");
        if ends_all || text.starts_with('|') {
            found.extend(open.take());
        }
        if text.starts_with('|') && !fenced {
            found.push((line, text.to_owned()));
        } else if !fenced && !text.starts_with("```") {
            for part in text.split_inclusive(". ") {
                let (_, so_far) = open.get_or_insert_with(|| (line, String::new()));
                *so_far += part;
                so_far.push(' ');
                if part.trim_end().ends_with('.') {
                    found.extend(open.take());
                }
            }
        }
    }
    found.extend(open);
    found
}

/// The numbers that a sentence states as limits: behind such as "at most", or with a unit.
fn limits_in(sentence: &str) -> Vec<(String, Value)> {
    // Code is not prose: its numbers are bytes of an example.
    let prose: String = sentence.split('`').step_by(2).collect::<Vec<_>>().join("` `");
    let words: Vec<&str> = prose.split_whitespace().collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
        let count = bare(word);
        if !count.starts_with(|c: char| c.is_ascii_digit()) || told(&count).is_none() {
            continue;
        }
        let unit = words.get(at + 1).map(|next| bare(next)).unwrap_or_default();
        let has_unit = !unit.is_empty() && word.ends_with(|c: char| c.is_ascii_digit());
        let with_unit = if has_unit { told(&format!("{count} {unit}")) } else { None };
        let before = [at.checked_sub(2), at.checked_sub(1)].map(|at| at.map_or("", |at| words[at]));
        let limits = matches!(before, ["at", "most" | "least"] | ["more", "than"]) || unit == "by";
        match with_unit {
            Some(value) => found.push((format!("{count} {unit}"), value)),
            None if limits => found.extend(told(&count).map(|value| (count.clone(), value))),
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "pub struct Limits {\n    /// A.\n    pub jobs_max: usize,\n    pub wait: Duration,\n}\n\
        impl Default for Limits {\n    Self {\n        jobs_max: 2 << 10,\n        wait: Duration::from_secs(3),\n\
        \x20   }\n}\n";
    const JOBS: &str = "| `jobs_max` | jobs | 2 KiB | peer | an exit | `a.rs`: `jobs_are_bounded` |\n";
    const WAIT: &str = "| `wait` | time | 3 s | peer | an exit | `a.rs`: `jobs_are_bounded` |\n";

    /// What is found where there are these bounds besides those of `FIELDS`, and this page besides their rows.
    fn found(of_server: &str, page: &str, wire: &str) -> Vec<String> {
        let sources = [
            Source::new(LIMITS, FIELDS),
            Source::new("rexi-server/src/a/mod.rs", of_server),
            Source::new("rexi-server/src/testing/b.rs", "const C_MAX: u32 = 1;\n"),
            Source::new("tests/a.rs", "//! A.\n\n#[test]\nfn jobs_are_bounded() {\n}\n"),
        ];
        bounds(page, wire, &sources).into_iter().map(|found| found.what).collect()
    }

    #[test]
    fn a_bound_without_a_row_or_with_a_test_that_is_not_there_is_found() {
        assert_eq!(found("", &format!("{JOBS}{WAIT}"), ""), [""; 0]);
        assert_eq!(found("", JOBS, ""), ["wait has 0 rows: each bound has one"]);
        assert_eq!(found("", &format!("{JOBS}{WAIT}{WAIT}"), ""), ["wait has 2 rows: each bound has one"]);
        let other = WAIT.replace("jobs_are", "waits_are");
        assert_eq!(found("", &format!("{JOBS}{other}"), ""), ["`wait`: tests/a.rs has no test waits_are_bounded"]);
        let short = format!("{JOBS}{WAIT}| `wait` | time |\n");
        assert!(found("", &short, "").contains(&"2 columns, a row has 6".to_owned()));
        let unknown = format!("{JOBS}{WAIT}{}", WAIT.replace("`wait`", "`weight`"));
        assert_eq!(found("", &unknown, ""), ["`weight` is no bound of the sources"]);
    }

    #[test]
    fn a_value_or_a_unit_that_is_not_the_sources_is_found() {
        let wrong = |row: &str, from: &str, to: &str| {
            found("", &format!("{JOBS}{WAIT}").replace(row, &row.replace(from, to)), "")
        };
        assert_eq!(wrong(JOBS, "2 KiB", "2"), ["`jobs_max` is 2 here and Count(2048) in the sources"]);
        assert_eq!(wrong(WAIT, "3 s", "3 ms"), ["`wait` is 3 ms here and Micros(3000000) in the sources"]);
        assert_eq!(wrong(WAIT, "| time |", "| jobs |"), ["`wait`: jobs is not its unit"]);
    }

    #[test]
    fn a_constant_that_is_a_time_or_has_the_name_of_a_bound_has_a_row() {
        let (page, none) = (format!("{JOBS}{WAIT}"), "has 0 rows: each bound has one");
        for (code, bound) in [
            ("pub const TURN: Duration = Duration::from_micros(100);", "a::TURN"),
            ("pub(crate) const TURNS_MAX: usize = 4 * 1_024;", "a::TURNS_MAX"),
            ("    const MIN_TURNS: u64 = 1;", "a::MIN_TURNS"),
        ] {
            assert_eq!(found(code, &page, ""), [format!("{bound} {none}")], "{code}");
        }
        for code in ["const TURNS: u32 = 1;", "const MAX: &str = \"\";", "#[cfg(test)]\nconst A_MAX: u32 = 1;"] {
            assert_eq!(found(code, &page, ""), [""; 0], "{code}");
        }
        let unread = found("const TURNS_MAX: u32 = turns();", &page, "");
        assert_eq!(unread, ["a::TURNS_MAX: write it so that this rule can read it"]);
        let row = JOBS.replace("jobs_max", "a::TURNS_MAX").replace("2 KiB", "4,096");
        assert_eq!(found("const TURNS_MAX: u32 = 4 << 10;", &format!("{page}{row}"), ""), [""; 0]);
    }

    #[test]
    fn a_limit_of_the_wire_names_its_bound() {
        let page = format!("{JOBS}{WAIT}");
        for said in
            ["Takes 3 s.", "At first at most 2,048 of\nthem come.", "| a | more than 2,048 |", "2,048 bytes", "(3 by"]
        {
            let findings = found("", &page, said);
            assert!(findings.len() == 1 && findings[0].contains("name the bound"), "{said}: {findings:?}");
        }
        for said in [
            "Takes 3 s (`wait`).",
            "At first at most 2,048 of\nthem (`jobs_max`) come.",
            "In v2 there are 3 kinds, or `3 s`.",
            "```text\n3 s\n```\n",
        ] {
            assert_eq!(found("", &page, said), [""; 0], "{said}");
        }
        assert_eq!(found("", &page, "Takes 3 s (`wait`). And 3 s.").len(), 1, "another sentence");
        assert_eq!(found("", &page, "As `WAIT_MAX` says."), ["WAIT_MAX has no row in docs/bounds.md"]);
    }
}
