//! Rehearsals over node processes that speak the control protocol and do nothing else (`fake_node.sh`): what the parent
//! side starts, hears, stops and says. What real nodes do is not tested here.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};
use std::time::Duration;

use rexi_migrate::history::evidence::{Evidence, ProcessEnd, StepWindow};
use rexi_migrate::history::judge::{Counts, Judgement, StepRow, Verdict};
use rexi_migrate::rehearse::cluster::{Cluster, ClusterError, Ending};
use rexi_migrate::rehearse::control::Command;
use rexi_migrate::rehearse::pace::Allowance;
use rexi_migrate::rehearse::process::Setup;
use rexi_migrate::rehearse::report::Report;
use rexi_migrate::rehearse::{Options, rehearse};
use rexi_migrate::verdict::case::{Requirement, Witness, WitnessCount};
use rexi_migrate::verdict::conclusion::Conclusion;
use rexi_proto::Release;
use tempfile::TempDir;

const WHOLE: &str = "1.0,1.1,1.2,2.0";

const LIMIT: Duration = Duration::from_secs(30);

/// Links to the fake node by names that say how it behaves, and the directory that a run keeps.
struct Fakes {
    directory: TempDir,
}

impl Fakes {
    fn new() -> Self {
        Self { directory: TempDir::new().expect("a temporary directory") }
    }

    fn program(&self, behaviour: &str) -> PathBuf {
        let link = self.directory.path().join(behaviour);
        if !link.exists() {
            symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_node.sh"), &link).expect("a link");
        }
        link
    }

    fn kept(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    fn options(&self, nodes: u8, train: &str, behaviours: &[(&str, &str)]) -> Options {
        Options {
            nodes,
            rate: 100,
            rate_is_due: false,
            seed: 42,
            train: rexi_migrate::demo::path().select(train).expect("a path"),
            kill_share: 0.4,
            dwell: Duration::ZERO,
            program: self.program("good"),
            programs: self.programs(behaviours),
            keep: Some(self.kept()),
            under: Vec::new(),
            node_args: Vec::new(),
            soak: None,
            operate: false,
            quiet: true,
            command: "the same again".to_owned(),
        }
    }

    fn programs(&self, behaviours: &[(&str, &str)]) -> BTreeMap<Release, PathBuf> {
        behaviours.iter().map(|(of, behaviour)| (release(of), self.program(behaviour))).collect()
    }

    fn cluster(&self, nodes: usize, behaviours: &[(&str, &str)]) -> Cluster {
        std::fs::create_dir_all(self.kept()).expect("a directory");
        let (program, programs) = (self.program("good"), self.programs(behaviours));
        let (under, node_args) = (Vec::new(), Vec::new());
        let setup =
            Setup { nodes, dir: self.kept(), program, programs, rate: 10, seed: 1, under, node_args, operate: None };
        Cluster::new(setup).expect("ports")
    }

    /// The process ids that the fake nodes wrote where their ledger goes.
    fn pids(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.kept()).into_iter().flatten().flatten();
        let ledgers = entries.filter(|entry| entry.path().extension().is_some_and(|name| name == "ledger"));
        let texts = ledgers.filter_map(|ledger| std::fs::read_to_string(ledger.path()).ok());
        texts.filter(|text| text.ends_with('\n')).map(|text| text.trim().to_owned()).collect()
    }

    /// The command line tool, rehearsing over fake nodes.
    fn tool(&self, behaviours: &[(&str, &str)], args: &[&str]) -> Process {
        let mut tool = Process::new(env!("CARGO_BIN_EXE_rexi-migrate"));
        // The fakes keep no record and have no port for operators.
        tool.args(["rehearse", "--operate=false", "--rate", "100", "--keep"]).arg(self.kept());
        let behaviours: BTreeMap<_, _> = behaviours.iter().copied().collect();
        for release in ["1.0", "1.1", "1.2", "2.0"] {
            let program = self.program(behaviours.get(release).unwrap_or(&"good"));
            tool.arg("--release").arg(format!("{release}={}", program.display()));
        }
        if !args.contains(&"--seed") {
            tool.args(["--seed", "42"]);
        }
        tool.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        tool
    }
}

fn release(text: &str) -> Release {
    text.parse().expect("a release")
}

fn satisfied(evidence: &Evidence) -> Judgement {
    let processes = evidence.processes.len() as u64;
    let step = |step: &StepWindow| StepRow { name: step.name.clone(), casts: 7, answered: 7, ..StepRow::default() };
    Judgement {
        verdict: Verdict::Safe,
        doubts: Vec::new(),
        counts: Counts { processes, casts: 700, answered: 700, ..Counts::default() },
        outcomes: BTreeMap::new(),
        gathers: BTreeMap::new(),
        witnesses: vec![WitnessCount { witness: Witness::RestartInFlight, count: processes, required: 1 }],
        steps: evidence.steps.iter().map(step).collect(),
    }
}

async fn run(options: &Options) -> Report {
    rehearse(options, None, satisfied).await.expect("a report")
}

/// Whether the process has ended; one that nobody has reaped yet has.
fn gone(pid: &str) -> bool {
    let ps = Process::new("ps").args(["-o", "stat=", "-p", pid]).output().expect("ps");
    let state = String::from_utf8_lossy(&ps.stdout).trim().to_owned();
    state.is_empty() || state.starts_with('Z')
}

/// Asks again and again until it holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let mut allowance = Allowance::new(LIMIT);
    while !holds() {
        assert!(!allowance.left([]).is_zero(), "not within {LIMIT:?}, of the time that the machine gave: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn all_gone(fakes: &Fakes, at_least: usize) {
    let pids = fakes.pids();
    assert!(pids.len() >= at_least, "{pids:?}");
    eventually("every node process is gone", || pids.iter().all(|pid| gone(pid)));
}

fn signal(signal: &str, pid: u32) {
    let status = Process::new("kill").arg(signal).arg(pid.to_string()).status().expect("kill");
    assert!(status.success());
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Text as words, wherever its lines are wrapped.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_whole_train_takes_every_node_through_every_release_and_is_judged() {
    let fakes = Fakes::new();
    let mut options = fakes.options(3, WHOLE, &[]);
    options.keep = None;
    let (send, judged) = std::sync::mpsc::channel();
    let judge = move |evidence: &Evidence| {
        let ends: Vec<(u16, ProcessEnd)> = evidence.processes.iter().map(|p| (p.node.0, p.end)).collect();
        send.send((ends, evidence.steps.clone(), evidence.required.clone())).expect("the test waits");
        satisfied(evidence)
    };
    let report = rehearse(&options, None, judge).await.expect("a report");
    let text = report.to_text();
    assert_eq!((report.verdict, report.exit_code, &report.stopped), (Conclusion::Safe, 0, &None), "{text}");
    assert_eq!(report.steps.len(), report.steps_planned);
    assert!(report.kills >= 5);
    let (ends, steps, required) = judged.recv().expect("judged");
    assert_eq!(required, Requirement::of_rehearsal());
    for node in 0..3 {
        let own: Vec<ProcessEnd> = ends.iter().filter(|end| end.0 == node).map(|end| end.1).collect();
        assert_eq!(own.len(), 6, "1.0, 1.1, 1.2, 1.1, 1.2 and 2.0");
        assert!(matches!(own.last(), Some(ProcessEnd::Drained { .. })), "{own:?}");
    }
    let killed: Vec<u64> = ends.iter().filter_map(|(_, end)| killed_us(*end)).collect();
    assert_eq!(killed.len(), report.kills);
    let kills: Vec<_> = report.steps.iter().filter(|row| row.how == "kill -9").collect();
    for row in kills {
        let within = |at: &&u64| (row.started_us..=row.ended_us).contains(*at);
        assert_eq!(killed.iter().filter(within).count(), 1, "{row:?}: {killed:?}");
    }
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, report.steps.iter().map(|row| row.title()).collect::<Vec<_>>());
    let sums = "SAFE: 0 lost, 0 executed twice, 0 orphans in 700 casts by 18 processes\n";
    assert!(text.contains(sums) && text.contains("\nIt met 18 restarts with jobs in flight"), "{text}");
}

fn killed_us(end: ProcessEnd) -> Option<u64> {
    if let ProcessEnd::KilledNine { at_us } = end { Some(at_us) } else { None }
}

#[tokio::test]
async fn a_safe_run_leaves_nothing_behind() {
    let fakes = Fakes::new();
    let mut options = fakes.options(2, "1.0", &[]);
    options.keep = None;
    let (send, ledgers) = std::sync::mpsc::channel();
    let judge = move |evidence: &Evidence| {
        let error = evidence.processes[0].ledger.as_ref().expect_err("a fake node writes none");
        send.send(error.to_string()).expect("the test waits");
        satisfied(evidence)
    };
    let report = rehearse(&options, None, judge).await.expect("a report");
    assert_eq!(report.verdict, Conclusion::Safe);
    let error = ledgers.recv().expect("judged");
    let start = error.find('/').expect("it names the file");
    let file = error[start..].split(".ledger").next().expect("a part");
    assert!(!Path::new(file).parent().expect("a directory").exists(), "{error}");
}

#[test]
fn a_run_whose_nodes_wrote_no_ledgers_tells_nothing_though_all_steps_went_well() {
    let fakes = Fakes::new();
    let output =
        fakes.tool(&[], &["--nodes", "2", "--train", "1.0,1.1", "--dwell-ms", "0"]).output().expect("the tool");
    let (out, err) = text(&output);
    assert_eq!(output.status.code(), Some(3), "{out}\n{err}");
    assert!(out.contains("COULD NOT TELL\n"), "{out}");
    let said = words(&out);
    assert!(said.contains("doubt: a ledger of n1 is missing") && said.contains("doubt: no ledger has a cast"), "{out}");
    assert!(err.contains("logs and ledgers: "), "{err}");
}

#[tokio::test]
async fn an_unsafe_verdict_of_the_judge_is_that_of_the_run() {
    let fakes = Fakes::new();
    let judge = |evidence: &Evidence| Judgement { verdict: Verdict::Unsafe(Vec::new()), ..satisfied(evidence) };
    let report = rehearse(&fakes.options(2, "1.0", &[]), None, judge).await.expect("a report");
    assert_eq!((report.verdict, report.exit_code, report.stopped), (Conclusion::Unsafe, 1, None));
}

#[tokio::test]
async fn a_judge_that_panics_tells_nothing() {
    let fakes = Fakes::new();
    let judge = |_: &Evidence| -> Judgement { panic!("out of its depth") };
    let report = rehearse(&fakes.options(2, "1.0", &[]), None, judge).await.expect("a report");
    assert_eq!(report.verdict, Conclusion::CouldNotTell);
    assert!(report.stopped.is_some_and(|stopped| stopped.contains("the judge failed")));
}

#[tokio::test]
async fn nodes_get_ready_drain_and_are_killed() {
    let fakes = Fakes::new();
    let mut cluster = fakes.cluster(2, &[]);
    for node in 0..2 {
        cluster.start(node, release("1.1")).expect("started");
    }
    let ready = |cluster: &Cluster| cluster.states().all(|state| state.ready && state.stats.casts > 0);
    assert!(cluster.wait_until(LIMIT, ready).await.expect("undisturbed"));
    assert_eq!((cluster.totals().casts, cluster.totals().in_flight), (10, 6));
    cluster.tell(0, &Command::Drain { deadline_ms: 1000 }).await.expect("told");
    assert!(cluster.wait_until(LIMIT, |cluster| !cluster.state(0).running).await.expect("undisturbed"));
    cluster.kill(1).await.expect("it ran");
    let endings: Vec<_> = cluster.lives().iter().map(|life| life.ended).collect();
    assert_eq!(endings, [Some(Ending::Drained), Some(Ending::Killed)]);
    assert_eq!((cluster.totals().casts, cluster.totals().in_flight), (10, 0));
    all_gone(&fakes, 2);
    cluster.start(1, release("1.2")).expect("started again");
    assert!(cluster.wait_until(LIMIT, |cluster| cluster.state(1).ready).await.expect("undisturbed"));
    drop(cluster);
    all_gone(&fakes, 3);
}

#[tokio::test]
async fn a_crash_just_before_its_kill_does_not_pass_for_the_kill() {
    let fakes = Fakes::new();
    let mut cluster = fakes.cluster(2, &[("1.1", "crashing")]);
    cluster.start(0, release("1.1")).expect("started");
    eventually("it has crashed, and nobody has heard of it", || fakes.pids().iter().any(|pid| gone(pid)));
    let killed = cluster.kill(0).await;
    assert!(matches!(killed, Err(ClusterError::Ended { .. })), "{killed:?}");
    assert_eq!(cluster.lives()[0].ended, Some(Ending::ByItself));
}

#[tokio::test]
async fn a_node_that_does_not_get_ready_is_named_with_what_holds_it() {
    let fakes = Fakes::new();
    let mut cluster = fakes.cluster(2, &[("1.2", "held")]);
    cluster.start(0, release("1.2")).expect("started");
    let heard = |cluster: &Cluster| cluster.state(0).stats.limiting.is_some();
    assert!(cluster.wait_until(LIMIT, heard).await.expect("undisturbed"));
    let ready = cluster.wait_until(Duration::from_millis(1), |cluster| cluster.state(0).ready).await;
    assert!(!ready.expect("undisturbed"));
    let (limit, took) = (Duration::from_secs(20), Duration::from_secs(70));
    let error = cluster.timed_out("ready", limit, took, |node, _| node == 0);
    assert!(matches!(error, ClusterError::TimedOut { blocked: true, .. }));
    assert_eq!(
        error.to_string(),
        "not ready within 20 s of the time that the machine gave them, 70 s by the clock: n1 of release 1.2 is at \
         introduce, held by: n2 is away, last refusal with n2: n2 is not at switch yet"
    );
}

#[tokio::test]
async fn only_what_more_time_would_not_change_blocks_a_node_that_is_late() {
    let fakes = Fakes::new();
    for (behaviour, expected) in [("refused-before", false), ("held-by-hello", true), ("held-unheard", false)] {
        let mut cluster = fakes.cluster(3, &[("1.2", behaviour)]);
        cluster.start(0, release("1.2")).expect("started");
        let heard = |cluster: &Cluster| cluster.state(0).stats.limiting.is_some();
        assert!(cluster.wait_until(LIMIT, heard).await.expect("undisturbed"));
        let error = cluster.timed_out("ready", LIMIT, LIMIT, |node, _| node == 0);
        assert!(matches!(error, ClusterError::TimedOut { blocked, .. } if blocked == expected), "{behaviour}: {error}");
    }
}

#[tokio::test]
async fn a_node_that_is_ended_by_its_surroundings_is_no_breach() {
    for (behaviour, why) in [("killed-by-others", "killed by SIGKILL"), ("without-disk", "could not write its ledger")]
    {
        let fakes = Fakes::new();
        let report = run(&fakes.options(2, "1.0,1.1", &[("1.1", behaviour)])).await;
        assert_eq!(report.verdict, Conclusion::CouldNotTell, "{behaviour}: {:?}", report.stopped);
        let stopped = report.stopped.expect("it was stopped");
        assert!(stopped.contains("of release 1.1 was ended from outside") && stopped.contains(why), "{stopped}");
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_named() {
    let fakes = Fakes::new();
    let mut options = fakes.options(2, "1.0", &[]);
    options.program = fakes.directory.path().join("missing");
    let report = run(&options).await;
    assert_eq!(report.verdict, Conclusion::CouldNotTell);
    assert!(report.stopped.is_some_and(|stopped| stopped.contains("missing")));
}

#[tokio::test]
async fn a_node_that_dies_by_itself_during_the_upgrade_makes_it_unsafe() {
    let fakes = Fakes::new();
    let report = run(&fakes.options(3, WHOLE, &[("1.1", "crashing")])).await;
    assert_eq!(report.verdict, Conclusion::Unsafe);
    let stopped = report.stopped.expect("stopped");
    assert!(stopped.contains("of release 1.1 ended by itself (exit status: 7)"), "{stopped}");
    assert!(stopped.contains("out of luck"), "{stopped}");
    assert!(report.judgement.is_some_and(|judged| judged.counts.processes == 4), "what there is, is judged");
    all_gone(&fakes, 3);
}

#[tokio::test]
async fn a_cluster_that_never_came_up_tells_nothing_of_the_upgrade() {
    for behaviour in ["crashing", "babbling"] {
        let fakes = Fakes::new();
        let report = run(&fakes.options(2, WHOLE, &[("1.0", behaviour)])).await;
        assert_eq!((report.verdict, report.exit_code), (Conclusion::CouldNotTell, 3), "{behaviour}");
        assert_eq!(report.steps.len(), 1);
    }
}

#[tokio::test]
async fn a_drain_that_just_leaves_and_a_refused_ceiling_are_unsafe() {
    let fakes = Fakes::new();
    let mut options = fakes.options(2, WHOLE, &[("1.0", "crashing-on-drain")]);
    options.kill_share = 0.0;
    let report = run(&options).await;
    assert_eq!(report.verdict, Conclusion::Unsafe);
    assert!(report.stopped.expect("stopped").contains("ended by itself (exit status: 0)"));

    let fakes = Fakes::new();
    let report = run(&fakes.options(2, WHOLE, &[("1.2", "unbending")])).await;
    assert_eq!(report.verdict, Conclusion::Unsafe);
    let stopped = report.stopped.expect("stopped");
    assert!(stopped.contains("refused the ceiling introduce: n2 of release 2.0 stands in the way"), "{stopped}");
}

#[test]
fn an_illegal_train_ends_with_the_refusal_in_the_report_and_exit_code_1() {
    let fakes = Fakes::new();
    let json = fakes.directory.path().join("report.json");
    let mut tool = fakes.tool(&[("1.2", "refusing")], &["--nodes", "3", "--train", "1.0,1.2", "--dwell-ms", "0"]);
    let output = tool.arg("--json").arg(&json).output().expect("the tool");
    let (out, err) = text(&output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    assert!(
        words(&out).contains(" of release 1.2 and n1 of release 1.0 may not connect: releases 1.2 and 1.0 may not"),
        "{out}"
    );
    assert!(out.contains("UNSAFE: "), "{out}");
    assert!(err.contains("--seed 42 ") && err.contains("FAILED"), "{err}");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(json).expect("a file")).expect("JSON");
    assert_eq!((&json["verdict"], &json["exit_code"]), (&"unsafe".into(), &1.into()));
    assert!(json["stopped"].as_str().is_some_and(|stopped| stopped.contains("releases 1.2 and 1.0")), "{json}");
    all_gone(&fakes, 4);
}

#[test]
fn a_signal_ends_the_run_with_3_and_leaves_no_process() {
    for (name, shown) in [("-TERM", "SIGTERM"), ("-INT", "SIGINT")] {
        let fakes = Fakes::new();
        let tool = fakes.tool(&[], &["--nodes", "3", "--dwell-ms", "600000"]).spawn().expect("the tool");
        eventually("three nodes run", || fakes.pids().len() == 3);
        signal(name, tool.id());
        let output = tool.wait_with_output().expect("its end");
        let (out, err) = text(&output);
        assert_eq!(output.status.code(), Some(3), "{out}\n{err}");
        assert!(out.contains(&format!("COULD NOT TELL: interrupted by {shown}")), "{out}");
        all_gone(&fakes, 3);
    }
}

#[test]
fn a_parent_that_is_killed_leaves_no_process() {
    let fakes = Fakes::new();
    let mut tool = fakes.tool(&[], &["--nodes", "3", "--dwell-ms", "600000"]).spawn().expect("the tool");
    eventually("three nodes run", || fakes.pids().len() == 3);
    signal("-KILL", tool.id());
    tool.wait().expect("its end");
    all_gone(&fakes, 3);
}

/// A stopped process does not read that its standard input has ended.
#[cfg(target_os = "linux")]
#[test]
fn a_parent_that_is_killed_while_a_node_is_frozen_leaves_no_process() {
    let fakes = Fakes::new();
    // Of this seed the first fault is a freeze of 8.8 s.
    let mut tool = fakes.tool(&[], &["--nodes", "3", "--train", "2.0", "--minutes", "1", "--seed", "29"]);
    let mut tool = tool.spawn().expect("the tool");
    let is_stopped = |pid: &String| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && line.contains('T'))
    };
    eventually("a node is frozen", || fakes.pids().iter().any(is_stopped));
    signal("-KILL", tool.id());
    tool.wait().expect("its end");
    all_gone(&fakes, 3);
}

#[test]
fn a_directory_that_holds_something_is_wrong_usage() {
    let fakes = Fakes::new();
    std::fs::create_dir_all(fakes.kept()).expect("a directory");
    std::fs::write(fakes.kept().join("precious"), "").expect("a file");
    let output = fakes.tool(&[], &["--nodes", "2"]).output().expect("the tool");
    let (_, err) = text(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("--keep") && err.contains("not empty"), "{err}");
    assert!(fakes.kept().join("precious").exists() && fakes.pids().is_empty());
    let output = Process::new(env!("CARGO_BIN_EXE_rexi-migrate")).args(["rehearse", "--nodes", "1"]).output();
    assert_eq!(output.expect("the tool").status.code(), Some(2));
}
