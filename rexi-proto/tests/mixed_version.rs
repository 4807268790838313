//! Random runs of small mixed-version clusters on the real core: upgrades, rollbacks, hot flips, crashes, cuts.
//!
//! `REXI_CASES=100000 REXI_SEED=1 cargo test -p rexi-proto --test mixed_version` runs more cases, or others.

mod cluster;

use std::cell::RefCell;
use std::collections::BTreeMap;

use cluster::{Cluster, Op};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use rexi_proto::Mutants;

/// A cluster's releases, then what happens.
type Run = (Vec<u8>, Vec<Op>);

#[test]
fn a_mixed_cluster_keeps_its_promises() {
    let seen = RefCell::new(BTreeMap::new());
    let cases = number("REXI_CASES").unwrap_or(1_500);
    let found = search(Mutants::default(), cases, &seen);
    if let Some((what, (releases, ops))) = found {
        let seed = number("REXI_SEED").unwrap_or(0);
        panic!("{what}\nREXI_SEED={seed} REXI_CASES={cases}; the shortest run found:\n{releases:?}\n{ops:#?}");
    }
    let seen = seen.into_inner();
    println!("{seen:#?}");
    for what in WITNESSES {
        assert!(seen.get(what).is_some_and(|&times| times > 0), "{cases} runs never met this: {what}");
    }
}

/// Cases that matter: runs that never met one of them prove nothing (SAFETY.md, non-vacuity).
const WITNESSES: [&str; 21] = [
    "a batch was killed",
    "a call ended in a down",
    "a call ended in a refusal",
    "a call was lost with its connection",
    "a cast met a node that leaves",
    "a cast ran in another release than it was made for",
    "a cast was dropped",
    "a cast was dropped from buffers full in all",
    "a connection was replaced",
    "a departure",
    "a job was refused by the node's total",
    "a kill crossed the switch",
    "a node crashed with jobs in flight",
    "a reply was dropped",
    "a reply was too large",
    "a rollback",
    "a stream went on after a connection broke",
    "a stream's caller said something",
    "an argument was too large for its peer",
    "lowering was refused",
    "phase changed with calls open",
];

#[cfg(feature = "mutants")]
#[test]
fn each_broken_variant_breaks_a_promise() {
    use rexi_proto::Mutant::*;
    let on = |list: &[rexi_proto::Mutant]| list.iter().fold(Mutants::default(), |on, &mutant| on.with(mutant));
    let broken = [
        (on(&[KillOnlyPerNode]), "S3"),
        (on(&[KillOnlySingleton]), "S3"),
        (on(&[KillFollowsPhase]), "S3"),
        (on(&[AckFollowsPhase]), "L5"),
        (on(&[LatePerNodeServers]), "S6"),
        (on(&[LatePerNodeServers, SilentMissingServer]), "S1"),
    ];
    for (mutants, invariant) in broken {
        let found = search(mutants, 20_000, &RefCell::default());
        let (what, (releases, ops)) = found.unwrap_or_else(|| panic!("{mutants:?} survived"));
        println!("{mutants:?}: {what}\n{releases:?} {ops:?}");
        assert!(what.starts_with(invariant), "{mutants:?} was to break {invariant}: {what}");
    }
    // No cast meets a missing server, so its silence alone cannot be told from an answer: equivalent by S6.
    assert!(search(on(&[SilentMissingServer]), 1_000, &RefCell::default()).is_none());
}

/// Runs that broke an invariant once, shortest first.
#[test]
fn runs_that_failed_once_hold() {
    let cast = |from, to, bulk, times| Op::Cast { from, to, bulk, times };
    let reply = |bulk, times| Op::Reply { node: 0, pick: 0, bulk, times };
    let (to_first, to_second) = (false, true);
    let runs: [(&str, Vec<u8>, Vec<Op>); 4] = [
        (
            "a reply was lost with its connection, the next one came",
            vec![0, 0],
            vec![Op::Open, cast(1, 0, false, 1), Op::Exchange, reply(false, 1), Op::Cut { wire: 0 }],
        ),
        (
            "a last reply that was held, then the resume's answer",
            vec![2, 1],
            vec![
                Op::Open,
                cast(0, 1, false, 2),
                Op::Exchange,
                Op::Cut { wire: 0 },
                Op::Notice { wire: 0, side: to_first },
                Op::End { node: 1, pick: 0, how: 3 },
            ],
        ),
        (
            "a dropped reply that was held, then one after the gap",
            vec![0, 0],
            vec![
                Op::Open,
                cast(1, 0, true, 1),
                Op::Exchange,
                reply(true, 1),
                reply(false, 10),
                Op::Flush { wire: 0, side: to_second },
            ],
        ),
        (
            "the phase of an earlier life, read after the hello of the next",
            vec![2, 2],
            vec![
                Op::Open,
                Op::Ceiling { node: 0, phase: 1 },
                Op::Flush { wire: 0, side: to_second },
                Op::Restart { node: 0, step: 2 },
                Op::Dial { a: 1, b: 0 },
                Op::Hello { wire: 1, side: to_first },
                Op::Deliver { wire: 0, side: to_first, bytes: 255 },
            ],
        ),
    ];
    for (what, releases, ops) in runs {
        let held = Cluster::new(&releases, Mutants::default()).run(&ops);
        assert_eq!(held, Ok(()), "{what}");
    }
}

/// Searches for a run that breaks an invariant, and shrinks it.
fn search(mutants: Mutants, cases: u64, seen: &RefCell<BTreeMap<&'static str, u64>>) -> Option<(String, Run)> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number("REXI_SEED").unwrap_or(0).to_le_bytes());
    let config =
        Config { cases: cases as u32, failure_persistence: None, max_shrink_iters: 200_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let result = runner.run(&runs(), |(releases, ops)| {
        let mut cluster = Cluster::new(&releases, mutants);
        let result = cluster.run(&ops);
        for (what, times) in cluster.ledger.seen {
            *seen.borrow_mut().entry(what).or_default() += times;
        }
        result.map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => None,
        Err(TestError::Fail(what, run)) => Some((what.to_string(), run)),
        Err(TestError::Abort(what)) => panic!("the search was given up: {what}"),
    }
}

/// Operations of one run.
const OPS_MAX: usize = 100;

fn runs() -> impl Strategy<Value = Run> {
    // Neighbouring releases, mostly: what lies further apart only meets refusals.
    let base = prop_oneof![1 => Just(0_u8), 3 => Just(1), 3 => Just(2)];
    let releases = prop_oneof![
        4 => (base, vec(0..2_u8, 2..=3)).prop_map(|(base, steps)| steps.iter().map(|step| base + step).collect()),
        1 => vec(0..4_u8, 2..=3),
    ];
    let connected = prop_oneof![4 => Just(true), 1 => Just(false)];
    (releases, connected, vec(op(), 1..OPS_MAX)).prop_map(|(releases, connected, mut ops)| {
        if connected {
            ops.insert(0, Op::Open);
        }
        (releases, ops)
    })
}

fn op() -> impl Strategy<Value = Op> {
    let (node, wire) = (0..3_u8, 0..4_u8);
    let (n, w, side, pick) = (node.clone(), wire, any::<bool>(), 0..6_u8);
    let pair = (n.clone(), n.clone());
    let at = (w.clone(), side);
    let times = prop_oneof![4 => Just(1_u8), 1 => 2..9_u8];
    prop_oneof![
        10 => (pair.clone(), side, times.clone())
            .prop_map(|((from, to), bulk, times)| Op::Cast { from, to, bulk, times }),
        5 => (n.clone(), pick.clone()).prop_map(|(node, pick)| Op::Kill { node, pick }),
        2 => pair.clone().prop_map(|(from, to)| Op::KillAll { from, to }),
        2 => pair.clone().prop_map(|(from, to)| Op::Monitor { from, to }),
        1 => pick.clone().prop_map(|pick| Op::Demonitor { pick }),
        6 => (n.clone(), pick.clone(), side, times)
            .prop_map(|(node, pick, bulk, times)| Op::Reply { node, pick, bulk, times }),
        6 => (n.clone(), pick.clone(), side, 1..5_u8)
            .prop_map(|(node, pick, bulk, times)| Op::Item { node, pick, bulk, times }),
        2 => (n.clone(), pick.clone(), side).prop_map(|(node, pick, bulk)| Op::Question { node, pick, bulk }),
        5 => (n.clone(), pick.clone()).prop_map(|(node, pick)| Op::Start { node, pick }),
        1 => (n.clone(), pick.clone()).prop_map(|(node, pick)| Op::Cancel { node, pick }),
        4 => (n.clone(), pick.clone()).prop_map(|(node, pick)| Op::Ack { node, pick }),
        2 => (n.clone(), pick.clone(), side).prop_map(|(node, pick, bulk)| Op::Respond { node, pick, bulk }),
        1 => (n.clone(), pick.clone()).prop_map(|(node, pick)| Op::Ping { node, pick }),
        6 => (n.clone(), pick.clone(), 0..4_u8).prop_map(|(node, pick, how)| Op::End { node, pick, how }),
        4 => (n.clone(), 1..4_u8).prop_map(|(node, steps)| Op::Singleton { node, steps }),
        4 => pair.prop_map(|(a, b)| Op::Dial { a, b }),
        4 => at.clone().prop_map(|(wire, side)| Op::Hello { wire, side }),
        4 => at.clone().prop_map(|(wire, side)| Op::Connect { wire, side }),
        6 => at.clone().prop_map(|(wire, side)| Op::Flush { wire, side }),
        8 => (at.clone(), prop_oneof![Just(255_u8), 1..40_u8])
            .prop_map(|((wire, side), bytes)| Op::Deliver { wire, side, bytes }),
        5 => (at.clone(), pick).prop_map(|((wire, side), pick)| Op::DeliverBulk { wire, side, pick }),
        1 => at.clone().prop_map(|(wire, side)| Op::UnknownFrame { wire, side }),
        5 => Just(Op::Exchange),
        3 => w.prop_map(|wire| Op::Cut { wire }),
        5 => at.prop_map(|(wire, side)| Op::Notice { wire, side }),
        1 => n.clone().prop_map(|node| Op::Crash { node }),
        2 => (n.clone(), 0..4_u8).prop_map(|(node, step)| Op::Restart { node, step }),
        1 => n.clone().prop_map(|node| Op::Drain { node }),
        1 => n.clone().prop_map(|node| Op::Depart { node }),
        6 => (n, 1..5_u8).prop_map(|(node, phase)| Op::Ceiling { node, phase }),
        2 => (1..17_u8).prop_map(|seconds| Op::Advance { seconds }),
    ]
}

#[expect(clippy::disallowed_methods, reason = "a test run is configured from outside, the core is not")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
