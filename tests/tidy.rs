//! Enforces the countable rules of CONTRIBUTING.md over every text of the workspace.
//!
//! In: sources, pages, manifests and scripts, read as text with the standard library alone. Out: one failing test per
//! broken rule, with a line for each place: file, line, rule, and what to do. A source is first split by
//! `tidy/source.rs`; each other file of `tidy/` holds one page, or what pages have in common, to the code. What needs
//! types (disallowed methods, the length of functions) is left to clippy. After TigerBeetle's tidy.zig.

#[path = "tidy/source.rs"]
mod source;

#[path = "tidy/bounds.rs"]
mod bounds;
#[path = "tidy/errors.rs"]
mod errors;
#[path = "tidy/facts.rs"]
mod facts;
#[path = "tidy/features.rs"]
mod features;
#[path = "tidy/front_door.rs"]
mod front_door;
#[path = "tidy/map.rs"]
mod map;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/safety.rs"]
mod safety;
#[path = "tidy/threats.rs"]
mod threats;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use source::{Line, Source, holds};

#[test]
fn every_file_opens_with_a_short_header() {
    judge("header", &workspace(), header);
}

#[test]
fn no_two_headers_begin_with_the_same_sentence() {
    report("same header", &same_headers(&workspace()));
}

#[test]
fn no_file_is_too_long() {
    judge("file length", &workspace(), file_length);
}

#[test]
fn no_line_is_too_long() {
    judge("line length", &workspace(), line_length);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    judge("unwrap", &workspace(), unwraps);
}

#[test]
fn every_to_do_names_a_release_still_to_come() {
    let version = numbers(env!("CARGO_PKG_VERSION")).expect("cargo checks the version of a package");
    judge("to-do", &workspace(), |source| to_dos(source, version));
}

#[test]
fn an_alias_names_a_closure_a_future_or_a_tuple() {
    judge("alias", &workspace(), aliases);
}

#[test]
fn no_two_crates_have_a_type_of_the_same_name() {
    report("name", &names::judge(&workspace()));
}

#[test]
fn no_test_sleeps() {
    judge("sleep", &workspace(), sleeps);
}

#[test]
fn the_core_has_no_clock_socket_task_or_chance() {
    judge("core without IO", &workspace(), core_without_io);
}

#[test]
fn the_server_takes_tasks_and_chance_from_its_environment() {
    judge("server through env", &workspace(), server_through_env);
}

#[test]
fn nothing_is_used_that_the_workspace_bans() {
    judge("ban", &workspace(), bans);
}

#[test]
fn every_file_of_tests_is_run() {
    let (manifest, program) = (page("tests/Cargo.toml"), page("tests/main.rs"));
    judge("part of a test", &workspace(), |source| unused_file(source, &manifest, &program));
}

#[test]
fn every_fact_of_the_original_names_tests_that_are_there() {
    report("fact", &facts::facts(&page(facts::PAGE), &workspace()));
}

#[test]
fn every_bound_is_told_and_names_tests_that_are_there() {
    report("bound", &bounds::bounds(&page(bounds::PAGE), &page(bounds::WIRE), &workspace()));
}

#[test]
fn every_feature_has_tests_and_a_gate_that_builds_it() {
    let manifests = ["rexi-proto", "rexi-server", "rexi-migrate", "tests"];
    let manifests = manifests.map(|name| (name, page(&format!("{name}/Cargo.toml"))));
    let built = features::Built { manifests: &manifests, script: &page(".ci/run") };
    report("feature", &features::features(&page(features::PAGE), &built, &workspace()));
}

#[test]
fn every_error_is_explained() {
    report("error", &errors::errors(&page(errors::PAGE), &workspace()));
}

#[test]
fn rooms_import_only_what_stands_below_them() {
    let workspace = workspace();
    report("room", &rooms::PLANS.iter().flat_map(|plan| rooms::rooms(plan, &workspace)).collect::<Vec<_>>());
}

#[test]
fn every_invariant_is_looked_for_where_its_page_says() {
    report("safety", &safety::safety(&page(safety::PAGE), &workspace()));
}

#[test]
fn every_threat_names_its_defence_and_tests_that_are_there() {
    report("threat", &threats::threats(&page(threats::PAGE), &page(bounds::PAGE), &workspace()));
}

#[test]
fn every_file_has_its_place_in_the_code_map() {
    report("code map", &map::files(&page(map::PAGE), &workspace()));
}

#[test]
fn every_page_that_is_cited_is_there() {
    report("page", &pages::pages(&texts()));
}

#[test]
fn every_file_that_a_page_links_to_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    report("link", &pages::links(&texts(), |path| root.join(path).is_file()));
}

#[test]
fn the_readme_is_short_and_shows_code_at_once() {
    report("front door", &front_door::readme(&page(front_door::README)));
}

#[test]
fn every_page_is_reached_from_the_index() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    report("index", &front_door::index(&page(front_door::INDEX), &front_door::pages(&root)));
}

/// A page of the workspace.
fn page(path: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path));
    page.expect("the page is part of the workspace")
}

/// Where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from 1.
    line: usize,
    /// What was found, and what to do.
    what: String,
}

fn header(source: &Source) -> Vec<Finding> {
    let length = source.lines.iter().take_while(|line| line.text.starts_with("//!")).count();
    if length == 0 {
        let what = "the file has no header: open it with `//!` and one sentence that says what the file is for";
        return vec![source.finding(0, what)];
    }
    // Diagrams live in these two.
    if length > HEADER_LINES_MAX && !matches!(source.name(), "lib.rs" | "node.rs") {
        let what = format!("the header has {length} lines, {HEADER_LINES_MAX} are allowed: move details to the items");
        return vec![source.finding(HEADER_LINES_MAX, what)];
    }
    Vec::new()
}

fn same_headers(sources: &[Source]) -> Vec<Finding> {
    let mut first_with = BTreeMap::new();
    let mut findings = Vec::new();
    for source in sources {
        let sentence = first_sentence(source);
        if sentence.is_empty() {
            continue;
        }
        if let Some(other) = first_with.get(&sentence) {
            let what = format!("the header begins like that of {other}: say what this file is for, and no other");
            findings.push(source.finding(0, what));
        } else {
            first_with.insert(sentence, &source.path);
        }
    }
    findings
}

/// In lower case and without the line breaks.
fn first_sentence(source: &Source) -> String {
    let header = source.lines.iter().map_while(|line| line.text.strip_prefix("//!")).map(str::trim);
    let paragraph: Vec<&str> = header.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty()).collect();
    let paragraph = paragraph.join(" ").to_lowercase();
    paragraph.split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned()
}

fn file_length(source: &Source) -> Vec<Finding> {
    // Tests that moved out of a file (`<file>/tests.rs`) are its `#[cfg(test)]` part; the tests' crate is measured.
    if source.tests_only && !source.is_in_tests_crate() {
        return Vec::new();
    }
    let length = source.lines.iter().filter(|line| !line.test).count();
    if length <= FILE_LINES_MAX {
        return Vec::new();
    }
    let what = format!(
        "the file has {length} lines without its `#[cfg(test)]` part, {FILE_LINES_MAX} are allowed: split it by concept"
    );
    vec![source.finding(source.lines.len() - 1, what)]
}

fn line_length(source: &Source) -> Vec<Finding> {
    let widths = source.lines.iter().map(|line| line.text.chars().count()).enumerate();
    let long = widths.filter(|(_, width)| *width > LINE_COLUMNS_MAX);
    long.map(|(index, width)| {
        let what = format!("the line has {width} columns, {LINE_COLUMNS_MAX} are allowed: break it");
        source.finding(index, what)
    })
    .collect()
}

fn unwraps(source: &Source) -> Vec<Finding> {
    let what = "`unwrap()` outside tests: return an error, or use `expect` and say why it cannot fail";
    find(source, |line| source.ships(line) && holds(&line.code, "unwrap()"), what)
}

fn to_dos(source: &Source, version: [u64; 3]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        for (at, mark) in line.comment.match_indices("TODO") {
            let rest = &line.comment[at + mark.len()..];
            let release = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(release, _)| release);
            match release.and_then(numbers) {
                None => findings.push(source.finding(
                    index,
                    "a to-do without its release: write `TODO(0.6)`, with the release that must not ship with it",
                )),
                Some(due) if due <= version => {
                    let [major, minor, patch] = version;
                    let what = format!("due by now, the workspace is at {major}.{minor}.{patch}: do it, or drop it");
                    findings.push(source.finding(index, what));
                }
                Some(_) => {}
            }
        }
    }
    findings
}

/// `0.6` as `[0, 6, 0]`; what a pre-release adds is not looked at, so a to-do is due with its first candidate.
fn numbers(release: &str) -> Option<[u64; 3]> {
    let release = release.split(['-', '+']).next()?;
    let mut parts = release.split('.').map(|part| part.parse().ok());
    let (major, minor) = (parts.next()??, parts.next()??);
    let patch = parts.next().unwrap_or(Some(0))?;
    parts.next().is_none().then_some([major, minor, patch])
}

fn sleeps(source: &Source) -> Vec<Finding> {
    let what = "a test sleeps: wait for the condition itself, under a time limit, or advance tokio's paused clock";
    find(source, |line| source.is_in_tests_crate() && holds(&line.code, "sleep("), what)
}

/// Associated types are indented, so what begins a line is an alias.
fn aliases(source: &Source) -> Vec<Finding> {
    let alias = |code: &str| {
        let item = code.strip_prefix("pub").map_or(code, |rest| rest.split_once(' ').map_or("", |(_, item)| item));
        item.strip_prefix("type ")?.split_once(" = ").map(|(_, named)| named.to_owned())
    };
    let is_named = |named: &str| named.starts_with('(') || ["dyn ", "fn("].iter().any(|part| named.contains(part));
    let what = "an alias of a type that has a name: use that, or a type of its own";
    find(source, |line| source.ships(line) && alias(&line.code).is_some_and(|named| !is_named(&named)), what)
}

/// Cargo looks for tests in a folder `tests/` of their crate, and this folder is a crate itself: a file of it that no
/// program names is never run.
fn unused_file(source: &Source, manifest: &str, program: &str) -> Vec<Finding> {
    let Some(name) = source.path.strip_prefix("tests/").filter(|name| !name.contains('/')) else {
        return Vec::new();
    };
    let stem = name.trim_end_matches(".rs");
    let is_target = manifest.lines().any(|line| line.trim() == format!("path = \"{name}\""));
    if is_target || program.lines().any(|line| line.trim() == format!("mod {stem};")) {
        return Vec::new();
    }
    vec![source.finding(0, format!("never run: say `mod {stem};` in tests/main.rs"))]
}

fn core_without_io(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("rexi-proto/src/") {
        return Vec::new();
    }
    let banned = CORE_BANS.iter().flat_map(|(name, instead)| {
        let what = format!("`{name}` in the core: {instead}");
        find(source, |line| source.ships(line) && holds(&line.code, name), &what)
    });
    banned.collect()
}

fn server_through_env(source: &Source) -> Vec<Finding> {
    let exempt = ["rexi-server/src/net/env.rs", "rexi-server/src/testing.rs"].contains(&source.path.as_str());
    if !source.path.starts_with("rexi-server/src/") || exempt {
        return Vec::new();
    }
    let banned = SERVER_BANS.iter().flat_map(|(name, instead)| {
        let what = format!("`{name}` in the server: {instead}");
        find(source, |line| source.ships(line) && holds(&line.code, name), &what)
    });
    banned.collect()
}

fn bans(source: &Source) -> Vec<Finding> {
    let banned = BANS.iter().flat_map(|(name, instead)| {
        find(source, |line| holds(&line.code, name), &format!("`{name}` is banned: {instead}"))
    });
    banned.collect()
}

fn find(source: &Source, broken: impl Fn(&Line) -> bool, what: &str) -> Vec<Finding> {
    let lines = source.lines.iter().enumerate();
    lines.filter(|(_, line)| broken(line)).map(|(index, _)| source.finding(index, what)).collect()
}

/// Panics with every place where `rule` is broken.
fn judge(name: &str, sources: &[Source], rule: impl Fn(&Source) -> Vec<Finding>) {
    report(name, &sources.iter().flat_map(rule).collect::<Vec<_>>());
}

fn report(name: &str, findings: &[Finding]) {
    let mut lines = String::new();
    for Finding { path, line, what } in findings {
        write!(lines, "\n  {path}:{line}: [{name}] {what}").expect("a String takes all that is written to it");
    }
    assert!(findings.is_empty(), "{} broken rules (CONTRIBUTING.md has the reasons):{lines}", findings.len());
}

/// A text of the workspace: a source, a page, a manifest, a template or a script.
struct Text {
    /// From the workspace's root, with `/`.
    path: String,
    text: String,
}

/// Every `.rs` file of the workspace, in the order of their paths.
fn workspace() -> Vec<Source> {
    let sources = texts().into_iter().filter(|text| text.path.ends_with(".rs"));
    sources.map(|text| Source::new(&text.path, &text.text)).collect()
}

/// Every text of the workspace, in the order of their paths.
fn texts() -> Vec<Text> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut texts = Vec::new();
    collect(&root, "", &mut texts);
    // A walk that finds nothing would pass every rule.
    for expected in EXPECTED {
        assert!(texts.iter().any(|text| text.path == expected), "{expected} was not found in {}", root.display());
    }
    texts
}

fn collect(folder: &Path, path: &str, texts: &mut Vec<Text>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("the folder was just opened")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        let kind = entry.file_type().expect("the entry was just listed");
        if kind.is_dir() {
            // Cargo marks a build folder of any name with this file.
            let built = name == "target" || entry.path().join("CACHEDIR.TAG").exists();
            if !built && (!name.starts_with('.') || HIDDEN.contains(&name.as_str())) {
                collect(&entry.path(), &path, texts);
            }
        } else if kind.is_file() && is_text(&path) {
            let text = fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
            texts.push(Text { path, text });
        }
    }
}

fn is_text(path: &str) -> bool {
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
    let is_script = path == "justfile" || path.starts_with(".ci/");
    is_script || extension.is_some_and(|extension| ["rs", "md", "toml", "html", "sh"].contains(&extension))
}

/// Folders that are looked into though their names begin with a dot.
const HIDDEN: [&str; 2] = [".cargo", ".ci"];

/// One text of each kind, which a walk must have met.
const EXPECTED: [&str; 9] = [
    ".cargo/mutants.toml",
    ".ci/run",
    "Cargo.toml",
    "docs/rexi.md",
    "justfile",
    "rexi-migrate/src/lib.rs",
    "rexi-proto/src/lib.rs",
    "rexi-server/src/lib.rs",
    "tests/tidy.rs",
];

const HEADER_LINES_MAX: usize = 15;
const FILE_LINES_MAX: usize = 500;
const LINE_COLUMNS_MAX: usize = 120;

/// What the core must not name, and what it does instead.
const CORE_BANS: [(&str, &str); 7] = [
    ("Instant::now", "time comes in as an argument"),
    ("SystemTime", "time comes in as an argument, a Duration since the node's start"),
    ("HashMap", "its order depends on a hash: use BTreeMap"),
    ("HashSet", "its order depends on a hash: use BTreeSet"),
    ("std::net", "sockets and their addresses belong to rexi-server"),
    ("rand::", "what is drawn by chance comes in as an argument"),
    ("tokio", "tasks and time belong to rexi-server"),
];

/// What no file may name, and what it does instead.
const SERVER_BANS: [(&str, &str); 4] = [
    ("tokio::spawn", "a node that crashes in a test must leave no task: use `Shared::spawn`"),
    ("spawn_blocking", "a test's clock stands still while a thread works: do it before the node starts"),
    ("rand::random", "a seed must repeat it: use `NodeEnv::random`"),
    ("rand::rng", "a seed must repeat it: use `NodeEnv::random`"),
];
const BANS: [(&str, &str); 2] = [
    ("into_0rtt", "early data can be replayed, and a cast runs at most once: await the connection"),
    ("unbounded_channel", "every queue has a bound: use `mpsc::channel(limit)` and say what happens when it is full"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PROTO: &str = "rexi-proto/src/x.rs";

    fn lines_of(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_header_is_needed_and_bounded() {
        let long = |count: usize| "//! A.\n".repeat(count);
        assert_eq!(lines_of(&header(&Source::new(PROTO, "use a;\n//! Late.\n"))), [1]);
        assert_eq!(lines_of(&header(&Source::new(PROTO, ""))), [1]);
        assert_eq!(lines_of(&header(&Source::new(PROTO, &long(15)))), []);
        assert_eq!(lines_of(&header(&Source::new(PROTO, &long(16)))), [16]);
        assert_eq!(lines_of(&header(&Source::new("rexi-proto/src/lib.rs", &long(16)))), []);
        assert_eq!(lines_of(&header(&Source::new("rexi-proto/src/node.rs", &long(16)))), []);
    }

    #[test]
    fn headers_are_compared_by_their_first_sentence() {
        let first = Source::new("a.rs", "//! Frames to\n//! bytes. And so on.\n");
        let same = Source::new("b.rs", "//!\n//! frames to bytes.\n//!\n//! Otherwise different.\n");
        let other = Source::new("c.rs", "//! Frames to bytes and back.\n");
        let none = || Source::new("d.rs", "fn a() {}\n");
        let findings = same_headers(&[first, same, other, none(), none()]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].path == "b.rs" && findings[0].what.contains("a.rs"), "{findings:?}");
    }

    #[test]
    fn a_file_is_measured_without_its_tests() {
        let text = |lines: usize| format!("{}#[cfg(test)]\nmod tests {{\n    fn a() {{}}\n}}\n", "a\n".repeat(lines));
        assert_eq!(file_length(&Source::new(PROTO, &text(500))), []);
        assert_eq!(lines_of(&file_length(&Source::new(PROTO, &text(501)))), [505]);
        assert_eq!(lines_of(&file_length(&Source::new("tests/a.rs", &text(501)))), [505]);
        assert_eq!(file_length(&Source::new("rexi-proto/src/node/tests.rs", &text(501))), []);
    }

    #[test]
    fn a_line_is_measured_in_characters() {
        let text = format!("{}\n{}\n", "ä".repeat(120), "ä".repeat(121));
        assert_eq!(lines_of(&line_length(&Source::new(PROTO, &text))), [2]);
    }

    #[test]
    fn unwrap_is_found_in_shipped_code_only() {
        let text = "a.unwrap();\n// b.unwrap()\n\"c.unwrap()\";\nd.unwrap_or(1);\n#[cfg(test)]\nfn e() { f.unwrap() }";
        assert_eq!(lines_of(&unwraps(&Source::new(PROTO, text))), [1]);
        assert_eq!(unwraps(&Source::new("tests/a.rs", text)), []);
    }

    #[test]
    fn an_alias_of_what_has_a_name_is_found() {
        let text = "type A = usize;\npub(super) type B = Vec<u8>;\npub type C = B;\ntype D<'a> = &'a dyn Fn(u8);\n\
                    pub(crate) type E = (u8, u8);\ntype F = fn(u8);\n    type Error = G;\n// type H = u8;\n";
        assert_eq!(lines_of(&aliases(&Source::new(PROTO, text))), [1, 2, 3]);
        assert_eq!(aliases(&Source::new("tests/a.rs", text)), []);
    }

    #[test]
    fn a_to_do_expires_with_its_release() {
        let text = "// TODO: a\n// TODO(0.6): b\n// TODO(0.7) c\n/* TODO(1.0.1) d */\n// TODO(soon)\n\"TODO\"\n";
        let source = Source::new(PROTO, text);
        assert_eq!(lines_of(&to_dos(&source, [0, 5, 9])), [1, 5]);
        assert_eq!(lines_of(&to_dos(&source, [0, 6, 0])), [1, 2, 5]);
        assert_eq!(lines_of(&to_dos(&source, [1, 0, 1])), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_release_is_two_or_three_numbers() {
        assert_eq!(numbers("0.6"), Some([0, 6, 0]));
        assert_eq!(numbers("0.6.2-rc.1"), Some([0, 6, 2]));
        for wrong in ["", "1", "a.b", "1.2.3.4", "1.", "1.2."] {
            assert_eq!(numbers(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_sleep_is_found_in_the_tests_crate() {
        let text = "thread::sleep(a);\nsleep_until(b);\n// sleep(c)\nasleep(d);\n";
        assert_eq!(lines_of(&sleeps(&Source::new("tests/a.rs", text))), [1]);
        assert_eq!(sleeps(&Source::new(PROTO, text)), []);
    }

    #[test]
    fn a_file_of_tests_has_to_be_part_of_a_program() {
        let manifest = "[[test]]\nname = \"tidy\"\npath = \"tidy.rs\"\n";
        let found = |path: &str| unused_file(&Source::new(path, ""), manifest, "mod calls;\n").len();
        assert_eq!(found("tests/calls.rs"), 0);
        assert_eq!(found("tests/call.rs"), 1);
        assert_eq!(found("tests/tidy.rs"), 0);
        assert_eq!(found("tests/idy.rs"), 1);
        assert_eq!(found("tests/support/lib.rs"), 0);
        assert_eq!(found("rexi-proto/tests/a.rs"), 0);
    }

    #[test]
    fn the_core_is_told_what_to_use_instead() {
        let text = "Instant::now();\nstrand::a();\nuse std::net::Ip;\n// tokio\n#[cfg(test)]\nuse rand::a;\nHashMap;";
        let findings = core_without_io(&Source::new(PROTO, text));
        assert_eq!(lines_of(&findings), [1, 7, 3]);
        assert!(findings[1].what.contains("BTreeMap"), "{findings:?}");
        assert_eq!(core_without_io(&Source::new("rexi-server/src/x.rs", text)), []);
    }

    #[test]
    fn the_server_is_told_where_to_spawn() {
        let text = "tokio::spawn(a);\n// tokio::spawn\nshared.spawn(a);\nrand::random_range(0..1);\nrand::random();";
        let found = |path: &str| lines_of(&server_through_env(&Source::new(path, text)));
        assert_eq!(found("rexi-server/src/x.rs"), [1, 5]);
        assert_eq!(found("rexi-server/src/net/env.rs"), []);
        assert_eq!(found("rexi-migrate/src/x.rs"), []);
    }

    #[test]
    fn bans_hold_in_tests_too() {
        let text = "#[cfg(test)]\nfn a() { b.into_0rtt(); }\nmpsc::unbounded_channel();\n// into_0rtt\n";
        assert_eq!(lines_of(&bans(&Source::new("tests/a.rs", text))), [2, 3]);
    }

    #[test]
    #[should_panic(expected = "a.rs:3: [line length] too wide")]
    fn a_finding_is_reported_with_its_place_and_rule() {
        report("line length", &[Finding { path: "a.rs".into(), line: 3, what: "too wide".into() }]);
    }
}
