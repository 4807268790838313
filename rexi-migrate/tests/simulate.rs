//! Simulated upgrades, through the library and the command line: a seed is repeated packet for packet, whatever list of
//! operations is played; broken variants are caught and told in a few steps; exit codes say what came out.

use std::process::{Command, Output};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rexi_migrate::demo;
use rexi_migrate::history::ledger::Entry;
use rexi_migrate::path::Place;
use rexi_migrate::plan::{
    self, DiskFails, Leave, Lost, NODES, Op, Plan, RecordOp, Whom, Work, rolling, shrink, upgrades,
};
use rexi_migrate::simulate::{Budget, Campaign, ScenarioEvent, Simulation, Tls};
use rexi_migrate::verdict::case::Witness;
use rexi_migrate::verdict::conclusion::Conclusion;
use rexi_proto::Phase;
use serde_json::Value;

/// Runs `simulate` with these arguments and gives its exit code and what it printed.
fn simulate(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_rexi-migrate"))
        .arg("simulate")
        .args(args)
        .output()
        .expect("the command line starts");
    (status.code(), format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// Text as words, wherever its lines are wrapped.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plan(text: &str) -> Plan {
    Plan::parse(text, &demo::path()).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs the first plans of a seed twice, the second time in a thread of its own, and demands that nothing differs.
fn the_same_twice(simulation: &Simulation, seed: u64, plans: u64) {
    let campaign = Campaign::new(upgrades(&demo::train()), seed);
    for number in 0..plans {
        let plan = campaign.plan(number);
        let once = simulation.run(&plan);
        let again = std::thread::scope(|scope| scope.spawn(|| simulation.run(&plan)).join()).expect("no panic");
        assert_eq!(once.differs(&again), None, "{plan}");
        assert!(once.is_safe(), "{once}");
        assert!(once.datagrams.len() > 20, "{} datagrams: {plan}", once.datagrams.len());
        let other = simulation.run(&Plan { seed: plan.seed ^ 1, ..plan.clone() });
        assert!(once.differs(&other).is_some_and(|what| what.contains("datagram") || what.contains("event")), "{plan}");
    }
}

#[test]
fn the_same_seed_gives_the_same_events_and_the_same_datagrams() {
    the_same_twice(&Simulation::new().record_datagrams(), 31, 12);
}

#[test]
fn real_tls_is_repeated_byte_for_byte() {
    the_same_twice(&Simulation::new().record_datagrams().tls(Tls::Real), 32, 5);
}

#[test]
fn one_plan_gives_the_same_events_a_thousand_times() {
    let plan = plan(
        "nodes 3 start 1.1 seed 40; cast n1 n2 hold 2; cast n3 n2 stream 1; lose n1 n2 20; pass 12; upgrade n2 kill; \
         cast n1 n2 ask 1; pass 30; upgrade n1 drain; cut n1 n3; pass 70; kill 0; heal",
    );
    let first = Simulation::new().run(&plan);
    assert!(first.is_safe() && first.events.len() > 40, "{first}");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for number in 0..500 {
                    assert_eq!(first.differs(&Simulation::new().run(&plan)), None, "run {number}");
                }
            });
        }
    });
}

#[test]
fn plans_that_failed_once_hold() {
    for (what, text) in [
        (
            "a response was lost with its connection, and its job waited for it",
            "nodes 3 start 1.0 seed 17309025892239794387; upgrade n1 kill; upgrade n2 kill; upgrade n3 kill; \
             upgrade n1 kill; upgrade n2 kill; upgrade n3 kill; pass 10; cast n2 n3 ask 1; slow n2 n3 128; pass 284",
        ),
        (
            "the judge took a peer for connected whose new life was not",
            "nodes 3 start 1.0 seed 908230972283867940; cast n3 n1 hold 1; pass 2; slow n3 n1 88; upgrade n1 kill; \
             pass 335",
        ),
        (
            "the judge took a refusal for late, though nobody was there to say otherwise",
            "nodes 2 start 2.0 seed 12552636749323937336; force n1 0; pass 2; stop n2; pass 8032; cast n1 n2 reply 1; \
             pass 1",
        ),
        (
            "the judge took a connection for well that had been cut",
            "nodes 2 start 2.0 seed 12161628523126854977; pass 71; cast n1 n1 hold 1; cut n1 n2; pass 9715; \
             cast n1 n1 stream 1",
        ),
        (
            "an operator was told that nothing had changed, and another had made the change",
            "nodes 2 start 1.0 seed 6553027593536281360; command n1 begin; pass 16; crash n2; pass 1; \
             forget n1 n2 destroyed; pass 12",
        ),
        (
            "a member that was lost before there was a record could not be forgotten",
            "nodes 2 start 1.0 seed 18169099949954829390; command n1 begin; pass 17; crash n2; forget n1 n2 destroyed",
        ),
        (
            "two members that were fenced off by each other were passed over",
            "nodes 3 start 1.0 seed 11070054647578660816; command n1 begin; pass 22; disk n3 refused; crash n2; \
             forget n3 n2 destroyed; pass 9; start n2; crash n1; forget n3 n1 destroyed; pass 10",
        ),
        (
            "a yes to a first record did not bind its member's start",
            "nodes 2 start 1.2 seed 15198678385448761354; command n1 begin; pass 5; crash n2; \
             forget n1 n2 destroyed; pass 6; force n1 0",
        ),
    ] {
        let outcome = Simulation::new().run(&plan(text));
        assert!(outcome.is_safe(), "{what}: {outcome}");
    }
}

/// A node starts anew while two large payloads of it are on their way, and asks the same again. The end of the second
/// one waits unread behind the first, and is read once the new connection has replaced theirs.
const LATE_PAYLOAD: &str = "nodes 2 start 1.2 seed 1; pass 50; cast n1 n2 largest 1; cast n1 n2 larger 1; pass 15; \
     crash n1; start n1; pass 20; cast n1 n2 largest 1; cast n1 n2 larger 1";

#[test]
fn a_payload_that_is_whole_only_after_its_connection_was_replaced_is_let_go_and_counted() {
    let outcome = Simulation::new().run(&plan(LATE_PAYLOAD));
    assert!(outcome.is_safe(), "{outcome}");
    assert_eq!(outcome.met[&Witness::LatePayload], 1);
}

#[test]
fn a_campaign_meets_every_case_that_matters_and_finds_nothing() {
    let campaign = Campaign { budget: Budget::Scenarios(150), ..Campaign::new(upgrades(&demo::train()), 33) };
    let mut shown = 0;
    let tally = campaign.run(|tally| shown = tally.scenarios);
    let report = campaign.report(&tally, "again", |plan| plan.to_string());
    assert_eq!(report.verdict, Conclusion::Safe, "{}", report.to_text());
    assert_eq!((tally.scenarios, shown), (150, 150));
    assert!(tally.mixed > 75 && tally.calls > 1_500, "{}", report.to_text());
    assert!(report.witnesses.iter().filter(|met| met.required > 0).all(|met| met.count > 0), "{}", report.to_text());
}

#[test]
fn operators_meet_every_case_of_the_record_that_matters() {
    let campaign = Campaign { budget: Budget::Scenarios(250), ..Campaign::new(upgrades(&demo::train()), 37) };
    let tally = campaign.run(|_| {});
    let report = campaign.report(&tally, "again", |plan| plan.to_string());
    assert_eq!(report.verdict, Conclusion::Safe, "{}", report.to_text());
    let [moved, resumed, aborted, refused, barred] = [
        Witness::RecordMoved,
        Witness::ChangeResumed,
        Witness::ChangeAborted,
        Witness::OperatorRefused,
        Witness::StartBarred,
    ]
    .map(|witness| tally.met.get(&witness).copied().unwrap_or(0));
    assert!(moved > 80 && resumed > 2 && aborted > 2 && refused > 5 && barred > 1, "{}", report.to_text());
    let without = upgrades(&demo::train()).without_record();
    let plans = Campaign { plans: without, ..campaign };
    assert!((0..50).all(|number| !plans.plan(number).is_recorded()));
}

#[test]
fn a_campaign_of_a_seed_is_the_same_on_one_thread_and_on_two() {
    let on = |threads| {
        let campaign =
            Campaign { budget: Budget::Scenarios(16), threads, ..Campaign::new(upgrades(&demo::train()), 34) };
        let tally = campaign.run(|_| {});
        (tally.scenarios, tally.calls, tally.passed, tally.met)
    };
    assert_eq!(on(1), on(2));
}

/// Each operation with the least and the greatest that its fields can hold.
fn extremes() -> Vec<Op> {
    let mut all = Vec::new();
    for n in [0, 1, u8::MAX] {
        let (node, one, other, from, to) = (n, n, n.wrapping_add(1), n, n.wrapping_add(1));
        let ms = if n == u8::MAX { u16::MAX } else { n.into() };
        all.extend(Work::ALL.iter().map(|&work| Op::Cast { from, to, work, count: n.min(9) }));
        all.extend([
            Op::Kill { call: n },
            Op::KillAll { node },
            Op::Gather { from },
            Op::Act { node, number: ms },
            Op::Pass { ms },
        ]);
        for &how in Leave::ALL {
            all.extend([Op::Upgrade { node, how }, Op::RollBack { node, how }]);
        }
        all.extend([Op::Force { node, release: Place(n) }, Op::Crash { node }, Op::Start { node }, Op::Stop { node }]);
        all.extend([Op::Lower { node: Whom::One(n) }, Op::Raise { node: Whom::One(n) }, Op::Lower { node: Whom::All }]);
        all.extend([Op::Cut { one, other }, Op::CutOneWay { from, to }, Op::Cut { one, other: one }]);
        all.extend([Op::Lose { one, other, percent: n }, Op::Twice { one, other, percent: n }]);
        all.extend([Op::Reorder { one, other, ms }, Op::Slow { one, other, ms }, Op::Heal]);
        all.extend([Op::Await, Op::Settle]);
        all.extend([i32::MIN, -1, 0, i32::MAX].map(|seconds| Op::Clock { node, seconds }));
        all.extend(plan::Command::ALL.iter().map(|&command| Op::Record(RecordOp::Command { at: n, command })));
        for &loss in Lost::ALL {
            let forget = |at, node| Op::Record(RecordOp::Forget { at, node, loss });
            all.extend([forget(one, other), forget(one, one)]);
        }
        all.extend(DiskFails::ALL.iter().map(|&how| Op::Record(RecordOp::Disk { node, how })));
        all.push(Op::Record(RecordOp::Wipe { node }));
    }
    all
}

#[test]
fn any_operation_anywhere_is_played_and_an_illegal_one_does_nothing() {
    for nodes in NODES {
        for start in [0, 2, u8::MAX].map(Place) {
            let train = demo::path();
            let outcome = Simulation::new().run(&Plan { train, nodes, start, seed: nodes.into(), ops: extremes() });
            assert!(outcome.is_safe(), "{outcome}");
            assert!(outcome.calls > 10);
        }
    }
    for op in extremes() {
        let outcome =
            Simulation::new().run(&Plan { nodes: 2, train: demo::path(), start: Place(1), seed: 1, ops: vec![op, op] });
        assert!(outcome.is_safe(), "{outcome}");
    }
}

#[test]
fn the_plan_of_a_rehearsal_is_played_to_its_end_with_every_step_waited_for() {
    let train = demo::path();
    let rehearsal = rolling(&train, 3, 7, 0.4);
    assert_eq!(plan(&rehearsal.to_string()), rehearsal);
    let outcome = Simulation::new().run(&rehearsal);
    assert!(outcome.is_safe(), "{outcome}");
    assert!(!outcome.events.iter().any(|(_, event)| matches!(event, ScenarioEvent::Skipped(..))), "{outcome}");
    let starts = outcome.events.iter().filter(|(_, event)| matches!(event, ScenarioEvent::Started { .. })).count();
    assert_eq!(starts, 3 * 6, "1.0, 1.1, 1.2, 1.1, 1.2 and 2.0");
    // Where every node stands when its leg, or the flips, are over.
    let mut at = [(Place(0), Phase::Singleton); 3];
    let mut reached = Vec::new();
    for (_, event) in &outcome.events {
        match event {
            ScenarioEvent::Started { node, release } => {
                at[*node] = (*release, train.profile(*release).server_stage().lowest());
            }
            ScenarioEvent::Recorded { node, entry: Entry::PhaseChanged { migration: 0, phase } } => {
                at[*node].1 = *phase;
            }
            ScenarioEvent::Did(Op::Settle) => reached.push(at),
            _ => {}
        }
    }
    let (introduce, switch) = ([(Place(1), Phase::Introduce); 3], [(Place(2), Phase::Switch); 3]);
    let remove = [(Place(3), Phase::Remove); 3];
    assert_eq!(reached, [introduce, switch, introduce, switch, switch, remove], "{outcome}");
}

#[test]
fn every_plan_is_read_back_from_its_text() {
    let all = Plan { train: demo::path(), nodes: 5, start: Place(3), seed: u64::MAX, ops: extremes() };
    assert_eq!(plan(&all.to_string()), all);
    let config = ProptestConfig { cases: 200, rng_seed: RngSeed::Fixed(39), ..ProptestConfig::default() };
    proptest!(config, |(made in upgrades(&demo::train()).nodes(4).actions(9))| {
        prop_assert_eq!(plan(&made.to_string()), made);
    });
}

#[test]
fn a_text_that_is_no_plan_is_refused_with_the_part_that_makes_no_sense() {
    for (text, part, reason) in [
        ("", "", "begins with"),
        ("nodes 3 start 1.0", "nodes 3 start 1.0", "begins with"),
        ("nodes 6 start 1.0 seed 1", "nodes 6", "2 to 5"),
        ("nodes 3 start 1.3 seed 1", "start 1.3", "1.0, 1.1, 1.2, 2.0"),
        ("nodes 3 start 1.0 seed -1", "seed -1", "not a number"),
        ("nodes 3 start 1.0 seed 1; jump n1", "jump n1", "not an operation"),
        ("nodes 3 start 1.0 seed 1; pass 65536", "pass 65536", "not a number"),
        ("nodes 3 start 1.0 seed 1; crash all", "crash all", "one node"),
        ("nodes 3 start 1.0 seed 1; crash n0", "crash n0", "not a node"),
        ("nodes 3 start 1.0 seed 1; cast n1 n2 dance 1", "cast n1 n2 dance 1", "reply, later, fail"),
    ] {
        let error = Plan::parse(text, &demo::path()).expect_err(text).to_string();
        assert!(error.contains(part) && error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn shrinking_takes_away_and_simplifies_until_nothing_more_can_go() {
    let long = Campaign::new(upgrades(&demo::train()), 35).plan(3);
    let mut ops = long.ops.clone();
    ops.push(Op::Cast { from: 2, to: 1, work: Work::Bulk, count: 3 });
    ops.extend(long.ops);
    let kept = |plan: &Plan| plan.ops.iter().any(|op| matches!(op, Op::Cast { work: Work::Bulk, .. }));
    let short = shrink(&Plan { nodes: 3, ops, ..long }, kept);
    assert!(matches!(short.ops[..], [Op::Cast { work: Work::Bulk, count: 1, .. }]), "{short}");
    assert_eq!(short.nodes, 2);
}

#[test]
fn the_command_line_says_by_its_exit_code_what_came_out() {
    let (code, text) = simulate(&["--seed", "36", "--scenarios", "80", "--quiet"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("SAFE") && text.contains("simulate --seed 36 --scenarios 80 --nodes 3"), "{text}");
    let (code, text) = simulate(&["--seed", "36", "--scenarios", "1", "--quiet"]);
    assert_eq!(code, Some(3), "one scenario meets too little to prove anything: {text}");
    assert!(text.contains("COULD NOT TELL") && text.contains("doubt: met 0"), "{text}");
    for (args, about) in [
        (&["--nodes", "6"][..], "2..=5"),
        (&["--scenarios", "0"], "0"),
        (&["--scenarios", "5", "--seconds", "5"], "cannot be used with"),
        (&["--plan", "nodes 3"], "begins with"),
        (&["--plan", "nodes 3 start 1.0 seed 1", "--seed", "1"], "cannot be used with"),
        (&["--tls", "none"], "plain, real"),
    ] {
        let (code, text) = simulate(args);
        assert_eq!(code, Some(2), "{args:?}: {text}");
        assert!(text.contains(about), "{args:?}: {text}");
    }
}

#[test]
fn one_plan_is_told_as_a_trace_as_json_and_as_a_diagram() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (json, svg) = (dir.path().join("report.json"), dir.path().join("trace.svg"));
    let text = "nodes 2 start 1.2 seed 5; cast n1 n2 hold 1; pass 20; lower all; pass 5; kill 0";
    let files = [json.to_str(), svg.to_str()].map(|path| path.expect("a path in UTF-8"));
    let (code, out) = simulate(&["--plan", text, "--tls", "real", "--json", files[0], "--svg", files[1]]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("call 1: kill (introduce)"), "{out}");
    assert!(out.contains(&format!("simulate --plan '{text}' --tls real")), "{out}");
    let report: Value = serde_json::from_slice(&std::fs::read(&json).expect("a report")).expect("JSON");
    assert_eq!((&report["verdict"], &report["level"]), (&"safe".into(), &"simulate".into()), "{report:#}");
    let across =
        report["witnesses"].as_array().expect("witnesses").iter().find(|met| met["what"] == "kills across the switch");
    assert_eq!(across.expect("a row")["count"], 1, "{report:#}");
    let svg = std::fs::read_to_string(&svg).expect("a diagram");
    assert!(svg.starts_with("<svg") && svg.contains("call 1: cast, hold (switch)"), "{svg}");
}

/// Broken variants exist only in a build with the feature `mutants`, for which CI has a gate of its own.
#[cfg(feature = "mutants")]
mod mutants {
    use rexi_migrate::simulate::Outcome;
    use rexi_migrate::verdict::invariant::Invariant;
    use rexi_server::Mutants;

    use super::*;

    /// Finds the mutant within so many scenarios, and gives the shrunk case.
    fn caught(names: &str, scenarios: u64) -> Outcome {
        let mutants = Mutants::from_names(names).expect("known mutants");
        let simulation = Simulation::new().mutants(mutants);
        let campaign = Campaign {
            simulation,
            budget: Budget::Scenarios(scenarios),
            ..Campaign::new(upgrades(&demo::train()), 37)
        };
        let tally = campaign.run(|_| {});
        let report = campaign.report(&tally, "again", |plan| plan.to_string());
        let failure = tally.failure.unwrap_or_else(|| panic!("{names} was not caught: {}", report.to_text()));
        assert_eq!(report.verdict, Conclusion::Unsafe, "{}", report.to_text());
        let outcome = failure.outcome;
        assert!(outcome.plan.ops.len() <= 10, "{names}: {} steps: {}", outcome.plan.ops.len(), outcome.plan);
        let healthy = Simulation::new().run(&outcome.plan);
        assert!(healthy.is_safe(), "the case of {names} fails without it, too: {healthy}");
        assert!(failure.found.ops.len() >= outcome.plan.ops.len());
        outcome
    }

    #[test]
    fn a_kill_that_follows_the_phase_is_caught_and_told_in_a_few_steps() {
        let outcome = caught("kill-follows-phase", 200);
        assert!(outcome.breaks(Invariant::S3), "{outcome}");
        // Neither an upgrade nor a flip: without one of them the phase does not move.
        assert!(outcome.plan.ops.iter().any(|op| op.is_step()), "{outcome}");
    }

    #[test]
    fn a_kill_that_goes_to_one_server_only_is_caught() {
        assert!(caught("kill-only-per-node", 100).breaks(Invariant::S3));
        assert!(caught("kill-only-singleton", 100).breaks(Invariant::S3));
    }

    #[test]
    fn a_cast_to_a_missing_server_that_is_dropped_in_silence_is_caught() {
        let outcome = caught("silent-missing-server,late-per-node-servers", 100);
        assert!(outcome.breaks(Invariant::S1), "{outcome}");
    }

    #[test]
    fn a_payload_of_an_old_connection_that_joins_a_frame_of_the_new_one_is_caught() {
        let mutants = Mutants::from_names("old-payload-joins").expect("a known mutant");
        let outcome = Simulation::new().mutants(mutants).run(&plan(LATE_PAYLOAD));
        assert!(!outcome.is_safe(), "{outcome}");
        assert!(!caught("old-payload-joins", 300).is_safe());
    }

    #[test]
    fn the_command_that_is_told_shows_the_breach_again() {
        let (code, text) =
            simulate(&["--seed", "38", "--scenarios", "100", "--quiet", "--mutant", "kill-only-singleton"]);
        assert_eq!(code, Some(1), "{text}");
        let again = text.lines().find_map(|line| line.trim().strip_prefix("rerun: ")).expect("a command");
        let (_, words) = again.split_once(" simulate --plan '").expect("a plan");
        let (plan, rest) = words.split_once('\'').expect("quoted");
        assert_eq!(rest, " --mutant kill-only-singleton");
        let (code, again) = simulate(&["--plan", plan, "--mutant", "kill-only-singleton"]);
        assert_eq!(code, Some(1), "{again}");
        assert!(again.contains("S3: ") && again.contains("<-- here"), "{again}");
        let (code, text) = simulate(&["--plan", plan]);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(simulate(&["--mutant", "kill-nobody"]).0, Some(2));
    }
}

#[test]
fn a_plan_of_which_a_step_was_not_done_proves_nothing_and_says_which() {
    let plan = "nodes 3 start 1.0 seed 5; upgrade n1 kill; upgrade n1 kill; upgrade n1 kill; cast n2 n3 reply 1";
    let (code, text) = simulate(&["--plan", plan]);
    assert_eq!(code, Some(3), "{text}");
    let says = "upgrade n1 kill: not done, since n2 is at 1.0, more than one release from 1.2";
    let text = words(&text);
    assert_eq!(text.matches(says).count(), 2, "{text}");
    assert!(text.contains("doubt: upgrade n1 kill was not done"), "{text}");
    for (plan, says) in [
        ("nodes 2 start 1.0 seed 5; back n1 kill", "n1 is at 1.0, and no release is beyond"),
        ("nodes 2 start 2.0 seed 5; upgrade n2 drain", "n2 is at 2.0, and no release is beyond"),
        ("nodes 2 start 1.0 seed 5; stop n1; pass 3000; cast n1 n2 reply 1", "n1 does not run"),
        ("nodes 2 start 1.0 seed 5; start n1", "n1 runs"),
        ("nodes 2 start 1.0 seed 5; kill 0", "no call is open"),
        ("nodes 2 start 1.0 seed 5; lower n1", "no phase can move there"),
    ] {
        let (code, text) = simulate(&["--plan", plan]);
        assert_eq!(code, Some(3), "{plan}: {text}");
        assert!(words(&text).contains(&format!("not done, since {says}")), "{plan}: {text}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_named_before_the_run() {
    for command in [&["simulate", "--scenarios", "1000000"][..], &["check", "--nodes", "3"], &["plan"], &["rehearse"]] {
        let file = "/nonexistent/folder/report.json";
        let tool = Command::new(env!("CARGO_BIN_EXE_rexi-migrate")).args(command).args(["--json", file]).output();
        let Output { status, stdout, stderr } = tool.expect("the command line starts");
        assert_eq!((status.code(), stdout.len()), (Some(2), 0), "{command:?}: {stderr:?}");
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(stderr.contains("--json: cannot write") && stderr.contains(file), "{command:?}: {stderr}");
    }
}
