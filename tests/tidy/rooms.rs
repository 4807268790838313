//! The rule on rooms: which folders of a crate may import which, and how many files may import each other in a circle.
//!
//! In: a table per crate, and the sources as `tidy.rs` has split them. Out: each import that its table does not allow,
//! each room that the table lacks, each arrow of it that no code needs, and a circle that is too long. A room is a
//! folder or a file at the crate's root; `lib.rs` and `main.rs` are its face, which knows all of them. Tests may reach
//! up.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::source::{Source, is_word};

/// What the rooms of a crate may import.
pub(crate) struct Plan {
    /// The crate's sources, from the workspace's root.
    pub(crate) src: &'static str,
    /// Each room, and what it may import: rooms of this crate, and other crates of the workspace.
    pub(crate) rooms: &'static [(&'static str, &'static [&'static str])],
    /// Files at most that import each other in a circle.
    pub(crate) circle_max: usize,
}

/// A table per crate. Rooms stand below those that import them.
pub(crate) const PLANS: &[Plan] = &[SERVER, TOOL];

const SERVER: Plan = Plan {
    src: "rexi-server/src/",
    rooms: &[
        ("testing", &["builder", "engine", "net", "node", "rexi_proto", "state"]),
        ("operate", &["config", "engine", "node", "rexi_proto"]),
        (
            "builder",
            &["config", "engine", "follow", "functions", "middleware", "net", "node", "rexi_proto", "state", "typed"],
        ),
        ("config", &["engine", "files", "follow", "net", "rexi_proto"]),
        ("follow", &["engine", "files", "net", "rexi_proto"]),
        ("node", &["calls", "engine", "functions", "middleware", "net", "rexi_proto", "typed"]),
        ("middleware", &["calls", "engine", "functions", "net", "rexi_proto", "typed"]),
        ("functions", &["calls", "engine", "rexi_proto", "typed"]),
        ("calls", &["engine", "rexi_proto", "typed"]),
        ("typed", &["rexi_proto"]),
        // Six of its files know each other: what all tasks share holds members, singleton and functions; the first two
        // start workers, and what a function is given leads back to them.
        ("engine", &["net", "rexi_proto", "state"]),
        ("net", &["files", "rexi_proto"]),
        ("state", &["files", "rexi_proto"]),
        ("files", &[]),
    ],
    circle_max: 6,
};

const TOOL: Plan = Plan {
    src: "rexi-migrate/src/",
    rooms: &[
        (
            "cli",
            &[
                "check",
                "clock",
                "columns",
                "history",
                "live",
                "migration",
                "mutation",
                "page",
                "path",
                "plan",
                "rehearse",
                "rexi_proto",
                "rexi_server",
                "screen",
                "search",
                "service",
                "simulate",
                "verdict",
                "verify",
                "wire",
            ],
        ),
        ("page", &["mutation", "rehearse", "screen", "verdict", "verify"]),
        ("live", &["clock", "columns", "path", "rexi_proto", "verdict", "wire"]),
        (
            "verify",
            &[
                "check",
                "clock",
                "columns",
                "history",
                "migration",
                "mutation",
                "path",
                "rehearse",
                "rexi_proto",
                "screen",
                "search",
                "service",
                "simulate",
                "verdict",
                "wire",
            ],
        ),
        (
            "mutation",
            &["check", "columns", "demo", "path", "plan", "rexi_proto", "search", "simulate", "verdict", "wire"],
        ),
        ("service", &["path", "plan", "rehearse", "rexi_proto", "simulate", "wire"]),
        // The levels, none of which knows another.
        (
            "rehearse",
            &[
                "columns",
                "history",
                "name",
                "path",
                "plan",
                "rexi_proto",
                "rexi_server",
                "screen",
                "verdict",
                "workload",
            ],
        ),
        ("simulate", &["history", "name", "path", "plan", "rexi_proto", "rexi_server", "verdict", "workload"]),
        ("check", &["model", "path", "rexi_proto", "search", "verdict"]),
        ("wire", &["columns", "path", "rexi_proto", "rexi_server", "verdict"]),
        ("migration", &["name", "path", "rexi_proto", "search", "verdict"]),
        // What they share.
        ("model", &["name", "path", "rexi_proto"]),
        ("search", &["screen", "verdict"]),
        ("workload", &["history", "name", "path", "rexi_proto", "rexi_server"]),
        ("history", &["name", "rexi_proto", "verdict"]),
        ("plan", &["name", "path", "rexi_proto"]),
        ("clock", &[]),
        ("demo", &["path", "rexi_proto"]),
        ("path", &["rexi_proto"]),
        ("verdict", &["columns"]),
        ("screen", &["columns"]),
        ("columns", &[]),
        ("name", &[]),
    ],
    circle_max: 3,
};

/// The crates of the workspace, as code names them.
const CRATES: [&str; 3] = ["rexi_proto", "rexi_server", "rexi_migrate"];

/// What stands for the face of a crate where a room imports it.
const FACE: &str = "lib";

/// Every place where the imports of a crate are not as its table says.
pub(crate) fn rooms(plan: &Plan, sources: &[Source]) -> Vec<Finding> {
    let files: BTreeMap<String, &Source> =
        sources.iter().filter_map(|source| Some((module(plan, source)?, source))).collect();
    let imports: Vec<Import<'_>> = files.iter().flat_map(|(of, source)| imports(of, source, &files)).collect();
    let mut findings = arrows(plan, &files, &imports);
    findings.extend(circle(plan, &files, &imports));
    findings
}

/// The module of a file that a release has; `None` for the crate's face, and for files of other crates.
fn module(plan: &Plan, source: &Source) -> Option<String> {
    let path = source.path.strip_prefix(plan.src).filter(|_| !source.tests_only)?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    (!matches!(path, "lib" | "main")).then(|| path.replace('/', "::"))
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// One name that a file takes from another, or from another crate.
struct Import<'a> {
    from: &'a str,
    /// A module of this crate, [`FACE`], or another crate.
    to: String,
    source: &'a Source,
    /// Of its line, from 0.
    line: usize,
}

fn arrows(plan: &Plan, files: &BTreeMap<String, &Source>, imports: &[Import<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut used, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for (module, source) in files {
        let is_told = plan.rooms.iter().any(|(name, _)| *name == room(module));
        if !is_told && unknown.insert(room(module)) {
            findings.push(source.finding(0, format!("the room {} is not in the table of {}", room(module), plan.src)));
        }
    }
    for Import { from, to, source, line } in imports {
        let (from, to) = (room(from), room(to));
        if from == to || unknown.contains(from) {
            continue;
        }
        used.insert((from, to));
        let (_, allowed) = plan.rooms.iter().find(|(name, _)| *name == from).expect("it is known");
        if !allowed.contains(&to) {
            let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
            let what = format!("{from} imports {to}, and may import {allowed}: move down what both need");
            findings.push(source.finding(*line, what));
        }
    }
    let table = |what: String| Finding { path: "tests/tidy/rooms.rs".to_owned(), line: 1, what };
    for (name, allowed) in plan.rooms {
        if !files.keys().any(|module| room(module) == *name) {
            findings.push(table(format!("{} has no room {name}", plan.src)));
        }
        let unused = allowed.iter().filter(|to| !used.contains(&(*name, **to)));
        findings.extend(unused.map(|to| table(format!("{name} may import {to} and does not: take it out"))));
    }
    findings
}

/// The most files that all reach each other, if they are more than may be.
fn circle(plan: &Plan, files: &BTreeMap<String, &Source>, imports: &[Import<'_>]) -> Option<Finding> {
    let mut direct: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Import { from, to, .. } in imports.iter().filter(|import| files.contains_key(&import.to)) {
        direct.entry(from).or_default().insert(to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> = files.keys().map(|of| (&**of, reached(of, &direct))).collect();
    let circle_of =
        |of: &str| -> Vec<&str> { reached[of].iter().copied().filter(|to| reached[to].contains(of)).collect() };
    let longest = files.keys().map(|of| circle_of(of)).max_by_key(Vec::len)?;
    (longest.len() > plan.circle_max).then(|| {
        let (members, max) = (longest.join(", "), plan.circle_max);
        let what = format!("{} files import each other in a circle, {max} may: {members}", longest.len());
        files[longest[0]].finding(0, what)
    })
}

/// All files that one leads to.
fn reached<'a>(of: &str, direct: &BTreeMap<&str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![of.to_owned()]);
    while let Some(of) = next.pop() {
        for &to in direct.get(&*of).into_iter().flatten() {
            if reached.insert(to) {
                next.push(to.to_owned());
            }
        }
    }
    reached
}

/// What a file takes from others, wherever it names it.
fn imports<'a>(of: &'a str, source: &'a Source, files: &BTreeMap<String, &Source>) -> Vec<Import<'a>> {
    let tokens = tokens(source);
    let mut imports = Vec::new();
    for at in 0..tokens.len() {
        let is_inner = at > 0 && matches!(&*tokens[at - 1].text, "::" | "$");
        let opens = tokens[at].text.starts_with(is_word) && tokens.get(at + 1).is_some_and(|next| next.text == "::");
        if is_inner || !opens {
            continue;
        }
        let mut paths = Vec::new();
        tree(&tokens, at, &mut Vec::new(), &mut paths);
        let to = paths.into_iter().filter_map(|(line, path)| Some((line, target(of, &path, files)?)));
        imports.extend(to.filter(|(_, to)| to != of).map(|(line, to)| Import { from: of, to, source, line }));
    }
    imports
}

/// What a path of the file `of` leads to, if that is another file or another crate of the workspace.
fn target(of: &str, path: &[&str], files: &BTreeMap<String, &Source>) -> Option<String> {
    let mut base: Vec<&str> = of.split("::").collect();
    let ups = path.iter().take_while(|part| **part == "super").count();
    let rest = match path[0] {
        "crate" => {
            base.clear();
            &path[1..]
        }
        "super" => {
            base.truncate(base.len().saturating_sub(ups));
            &path[ups..]
        }
        "self" => &path[1..],
        name if CRATES.contains(&name) => return Some(name.to_owned()),
        // A module of this file is named as it is.
        name if files.contains_key(&format!("{of}::{name}")) => path,
        _ => return None,
    };
    base.extend(rest);
    let modules = (1..=base.len()).rev().map(|length| base[..length].join("::"));
    modules.into_iter().find(|module| files.contains_key(module)).or_else(|| Some(FACE.to_owned()))
}

struct Token {
    text: String,
    line: usize,
}

/// The words, double colons and other characters of the code that ships.
fn tokens(source: &Source) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, code) in source.lines.iter().enumerate().filter(|(_, line)| source.ships(line)) {
        let mut rest = code.code.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if is_word(first) => rest.find(|char| !is_word(char)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            tokens.push(Token { text: rest[..length].to_owned(), line });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Reads the path at a token, with all of its branches in braces; gives the token behind it.
fn tree<'a>(
    tokens: &'a [Token],
    mut at: usize,
    path: &mut Vec<&'a str>,
    paths: &mut Vec<(usize, Vec<&'a str>)>,
) -> usize {
    let depth = path.len();
    let mut line = tokens[at].line;
    while let Some(token) = tokens.get(at).filter(|token| token.text.starts_with(is_word)) {
        line = token.line;
        if depth == 0 && path.is_empty() || token.text != "self" {
            path.push(&token.text);
        }
        at += 1;
        if tokens.get(at).is_none_or(|next| next.text != "::") {
            break;
        }
        at += 1;
    }
    if tokens.get(at).is_some_and(|token| token.text == "{") && tokens[at - 1].text == "::" {
        at += 1;
        while tokens.get(at).is_some_and(|token| token.text != "}") {
            if tokens[at].text.starts_with(is_word) {
                at = tree(tokens, at, path, paths);
            }
            // The comma, or another name for what was taken.
            while tokens.get(at).is_some_and(|token| !matches!(&*token.text, "," | "}")) {
                at += 1;
            }
            at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
        }
        at += 1;
    } else {
        paths.push((line, path.clone()));
    }
    path.truncate(depth);
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        src: "a/src/",
        rooms: &[("top", &["low", "mid"]), ("mid", &["low", "rexi_proto"]), ("low", &[])],
        circle_max: 2,
    };

    /// What is found in these files besides an arrow from each room to each that it may import.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![
            Source::new("a/src/lib.rs", "use top::Top;\n"),
            Source::new("a/src/top.rs", "mod all;\n"),
            Source::new("a/src/top/all.rs", "use crate::low::Low;\nuse crate::mid::Mid;\n"),
            Source::new("a/src/mid.rs", "use crate::low;\nuse rexi_proto::Phase;\n"),
            Source::new("a/src/low.rs", "fn low() {}\n"),
            Source::new("b/src/low.rs", "use crate::top::Top;\n"),
        ];
        all.extend(files.iter().map(|(path, text)| Source::new(path, text)));
        let findings = rooms(&PLAN, &all).into_iter();
        findings.map(|Finding { path, line, what }| format!("{path}:{line}: {what}")).collect()
    }

    #[test]
    fn an_import_up_is_found_with_its_file_its_line_and_both_rooms() {
        assert_eq!(found(&[]), [""; 0]);
        let up = found(&[("a/src/low/x.rs", "//! A.\n\nuse crate::mid::Mid;\n")]);
        assert_eq!(up, ["a/src/low/x.rs:3: low imports mid, and may import nothing: move down what both need"]);
        for up in [
            "use crate::{\n    low::y,\n    top::{self, all::Top as Other},\n};\n",
            "fn f() -> bool {\n\n    crate::top::g::<u8>()\n}\n",
            "use std::fmt;\n\nuse super::super::top;\n",
            "// None.\n/* None. */\nfn f(all: super::super::top::all::Top) {}\n",
        ] {
            let found = found(&[("a/src/low/x.rs", up)]);
            assert!(found[0].starts_with("a/src/low/x.rs:3: low imports top"), "{up}: {found:?}");
        }
        assert!(found(&[("a/src/low/x.rs", "use crate::Top;\n")])[0].contains("low imports lib"));
        assert!(found(&[("a/src/low/x.rs", "use rexi_server::Node;\n")])[0].contains("low imports rexi_server"));
    }

    #[test]
    fn what_is_no_import_of_a_room_is_passed_over() {
        let text = "//! See crate::top::Top.\nuse super::y;\nuse std::top::mid;\nlet s = \"crate::top\";\n\
                    $crate::top!();\nfn f(top: Top) { top::f() }\n#[cfg(test)]\nmod tests {\n    \
                    use crate::top::Top;\n}\n";
        assert_eq!(found(&[("a/src/low/x.rs", text), ("a/src/low/y.rs", "fn y() {}\n")]), [""; 0]);
        assert_eq!(found(&[("a/src/low/tests.rs", "use crate::top::Top;\n")]), [""; 0]);
    }

    #[test]
    fn a_table_has_every_room_and_no_arrow_that_nobody_needs() {
        let new = found(&[("a/src/new/x.rs", "use crate::top::Top;\n")]);
        assert_eq!(new, ["a/src/new/x.rs:1: the room new is not in the table of a/src/"]);
        let all = [Source::new("a/src/top.rs", "use crate::low::Low;\n"), Source::new("a/src/low.rs", "")];
        let whats: Vec<_> = rooms(&PLAN, &all).into_iter().map(|finding| finding.what).collect();
        let unused = |name, to| format!("{name} may import {to} and does not: take it out");
        let none = "a/src/ has no room mid".to_owned();
        assert_eq!(whats, [unused("top", "mid"), none, unused("mid", "low"), unused("mid", "rexi_proto")]);
    }

    #[test]
    fn a_circle_of_files_is_found_once_it_is_longer_than_may_be() {
        let two = [("a/src/low/x.rs", "use super::y::Y;\n"), ("a/src/low/y.rs", "use crate::low::x::X;\n")];
        assert_eq!(found(&two), [""; 0]);
        let door = ("a/src/top.rs", "mod x;\nmod y;\nmod z;\nuse x::X;\n");
        let three = [door, ("a/src/top/x.rs", "use super::y::Y;\n"), ("a/src/top/y.rs", "use super::f;\n")];
        let circle = "3 files import each other in a circle, 2 may: top, top::x, top::y";
        assert_eq!(found(&three), [format!("a/src/top.rs:1: {circle}")]);
    }
}
