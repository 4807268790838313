//! A small, real verification: its page stands alone and is well-formed, its JSON can be read, its exit code is that of
//! its verdict.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use quick_xml::Reader;
use quick_xml::events::Event;
use rexi_migrate::demo;
use rexi_migrate::page;
use rexi_migrate::service::Service;
use rexi_migrate::verdict::conclusion::Conclusion;
use rexi_migrate::verdict::invariant::Invariant;
use rexi_migrate::verdict::level::{Breach, LevelReport};
use rexi_migrate::verdict::trace::{self, Place, Trace};
use rexi_migrate::verify::{Options, Verification, verify};
use serde_json::Value;

/// A run of two seconds of its own time: everything is cut short, and nothing is made up.
fn small() -> Verification {
    let options = Options {
        service: Service::new(demo::path()),
        budget: Duration::from_secs(2),
        seed: 7,
        program: None,
        programs: Default::default(),
        builds: Default::default(),
        quiet: true,
        command: "rexi-migrate verify --budget-seconds 2 --seed 7 --no-rehearsal".to_owned(),
    };
    verify(&options)
}

/// Names of all elements, and all text; panics where the page is not well-formed.
fn parsed(page: &str) -> (Vec<String>, String) {
    let mut reader = Reader::from_str(page);
    reader.config_mut().check_end_names = true;
    let (mut names, mut text, mut depth) = (Vec::new(), String::new(), 0_i32);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("at {}: {error}", reader.error_position())) {
            Event::Start(start) => {
                start.attributes().for_each(|attribute| drop(attribute.expect("an attribute")));
                names.push(start.name().as_ref().to_owned());
                depth += 1;
            }
            Event::Empty(empty) => names.push(empty.name().as_ref().to_owned()),
            Event::End(_) => depth -= 1,
            Event::Text(part) => text += &part,
            Event::GeneralRef(of) => text.push(of.resolve_char_ref().expect("a reference").unwrap_or('&')),
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "every element ends");
    (names, text)
}

#[test]
fn the_page_of_a_small_run_stands_alone_and_says_all_that_the_run_has_shown() {
    let verification = small();
    assert_eq!(verification.verdict, Conclusion::CouldNotTell, "{}", verification.to_text());
    let page = page::render(&verification).expect("a page");
    for outside in ["http://", "https://", "src=", "url(", "@import", "<link", "<img", "<iframe"] {
        assert!(!page.contains(outside), "{outside} refers to something outside");
    }
    let (names, text) = parsed(&page);
    for landmark in ["html", "header", "nav", "main", "footer", "h1", "svg", "table", "details"] {
        assert!(names.iter().any(|name| name == landmark), "no <{landmark}>");
    }
    assert_eq!(names.iter().filter(|name| *name == "h1").count(), 1);
    let said = ["COULD NOT TELL", "L0 wire", "L1 check", "L2 simulate", "L3 rehearse", "server-per-node", "Ruled out"];
    for part in said.into_iter().chain(Invariant::ALL.iter().map(|invariant| invariant.sentence())) {
        assert!(text.contains(part), "the page does not say {part:?}");
    }
    for command in verification.levels.iter().map(|level| &level.command).chain([&verification.command]) {
        assert!(page.contains(command.as_str()), "the page does not give {command:?}");
    }
    assert!(text.contains("left out, as --no-rehearsal says"), "what was left out is a doubt");
    assert!(text.contains("cut short"), "what was cut short is a doubt");
    the_json_says_the_same(&verification);
    what_is_hostile_stays_text(verification);
}

fn the_json_says_the_same(verification: &Verification) {
    let value: Value = serde_json::from_str(&verification.to_json()).expect("JSON");
    assert_eq!(value, serde_json::to_value(verification).expect("plain data"));
    assert_eq!((&value["format_version"], &value["seed"]), (&Value::from(1), &Value::from(7)));
    assert_eq!(value["verdict"], "could_not_tell");
    assert_eq!(value["levels"].as_array().map(Vec::len), Some(4));
    let shares = value["shares"].as_array().expect("shares");
    assert_eq!(shares.len(), 6);
    let given: u64 = shares.iter().filter_map(|share| share["given_ms"].as_u64()).max().expect("a share");
    assert!(given <= 2_000, "no part is given more than all");
    let mixes = value["mixes"]["legal"].as_array().expect("mixes");
    assert_eq!(mixes.len(), 7);
    assert!(mixes.iter().all(|mix| mix["checked"][0]["what"].as_str().is_some_and(|what| what.contains("frames"))));
}

fn what_is_hostile_stays_text(mut verification: Verification) {
    const HOSTILE: &str = "</style><script>alert('&\"')</script><!--";
    let trace =
        Trace { lanes: vec![HOSTILE.to_owned()], events: vec![trace::TraceEvent::new(Place::At(0), HOSTILE).breach()] };
    let before = parsed(&page::render(&verification).expect("a page")).0;
    let breach = Breach {
        invariant: Invariant::S3,
        what: HOSTILE.to_owned(),
        count: 1,
        trace: Some(trace),
        command: HOSTILE.to_owned(),
    };
    let level: &mut LevelReport = &mut verification.levels[2];
    level.doubts.push(HOSTILE.to_owned());
    level.breaches.push(breach);
    level.command = HOSTILE.to_owned();
    verification.command = HOSTILE.to_owned();
    verification.verdict = Conclusion::Unsafe;
    let page = page::render(&verification).expect("a page");
    let (names, text) = parsed(&page);
    let scripts = |names: &[String]| names.iter().filter(|name| *name == "script" || *name == "style").count();
    assert_eq!(scripts(&names), scripts(&before), "no text becomes an element");
    assert!(!page.contains(HOSTILE) && !page.contains("<!--"));
    assert!(text.contains("UNSAFE") && names.iter().filter(|name| *name == "svg").count() > 1);
}

/// Runs `verify` with these arguments in a directory of its own.
fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_rexi-migrate"))
        .arg("verify")
        .args(args)
        .current_dir(dir)
        .output()
        .expect("the command line starts");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_run_that_is_cut_short_writes_both_files_and_exits_3() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (code, stdout, stderr) = run(dir.path(), &["--budget-seconds", "1", "--seed", "3", "--no-rehearsal"]);
    assert_eq!(code, Some(3), "{stdout}\n{stderr}");
    assert!(stdout.contains("COULD NOT TELL in ") && stdout.contains("--seed 3"), "{stdout}");
    assert!(stderr.contains("part 1 of 6, plans") && stderr.contains("s left of all"), "{stderr}");
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
    parsed(&read("report.html"));
    let value: Value = serde_json::from_str(&read("report.json")).expect("JSON");
    assert_eq!((&value["format_version"], &value["seed"]), (&Value::from(1), &Value::from(3)));
    assert_eq!((&value["rehearsal"], &value["builds"]), (&Value::Null, &serde_json::json!({})), "no program was run");
}

#[test]
fn wrong_usage_exits_2_before_anything_is_run_and_leaves_files_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let kept = dir.path().join("kept.html");
    std::fs::write(&kept, "as it was").expect("a file");
    for (args, says) in [
        (["--budget-seconds", "0"], "1..=86400"),
        (["--html", "no/such/place.html"], "--html: cannot write"),
        (["--json", "no/such/place.json"], "--json: cannot write"),
        (["--json", "report.html"], "name the same file"),
    ] {
        let (code, stdout, stderr) = run(dir.path(), &args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(says) && stdout.is_empty(), "{args:?}: {stderr}\n{stdout}");
    }
    let (code, ..) = run(dir.path(), &["--html", "kept.html", "--json", "no/such/place.json"]);
    assert_eq!(code, Some(2));
    assert_eq!(std::fs::read_to_string(kept).expect("the file"), "as it was");
}
