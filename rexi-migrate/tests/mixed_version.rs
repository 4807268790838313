//! Random runs of small mixed-version clusters on the real core: upgrades, rollbacks, hot flips, crashes, cuts.
//!
//! `REXI_CASES=100000 REXI_SEED=1 cargo test -p rexi-migrate --test mixed_version` runs more cases, or others.

mod walk;

use rexi_proto::Mutants;
use walk::{Found, Seen, pinned, search};

#[test]
fn a_mixed_cluster_keeps_its_promises() {
    let (seed, cases) = (number("REXI_SEED").unwrap_or(0), number("REXI_CASES").unwrap_or(1_500));
    let mut seen = Seen::new();
    if let Some(Found { what, run, case }) = search(Mutants::default(), seed, cases, &[], &mut seen) {
        let told = run.told(Mutants::default());
        let again = format!("REXI_SEED={seed} REXI_CASES={}", case + 1);
        panic!("{what}\n{again}; the shortest run found:\n{run:#?}\n{}", told.join("\n"));
    }
    println!("{seen:#?}");
    for what in WITNESSES {
        assert!(seen.get(what).is_some_and(|&times| times > 0), "{cases} runs never met this: {what}");
    }
}

/// Cases that matter: runs that never met one of them prove nothing (docs/safety.md).
const WITNESSES: [&str; 22] = [
    "a batch was killed",
    "calls ended in a down",
    "calls ended in a refusal",
    "calls lost with their connection",
    "casts that met a node that leaves",
    "buffered casts delivered after their target changed release",
    "casts dropped",
    "casts dropped from buffers full in all",
    "connections replaced by a newer one",
    "departures",
    "jobs refused by a node's total",
    "kills across the switch",
    "restarts with jobs in flight",
    "a question was answered after a connection broke",
    "replies dropped",
    "a reply was too large",
    "rollbacks",
    "a stream went on after a connection broke",
    "a stream's caller said something",
    "arguments too large for their peer",
    "lowerings refused",
    "phases changed with calls open",
];

/// Variants that take a rarer order than random runs of this length come to: a payload that is late by one connection
/// and has the number of one that its successor waits for; a refusal that is noted after a later life has connected.
/// Both are noticed by `peer::tests::replaced`, and by the check in 7 steps, which `rexi-migrate mutants` holds. One
/// whose pairs the demo's releases refuse for other reasons, too: the check notices it on releases that are alike.
/// Three that take a clock that goes back, or a node of a wrong release: in these runs every start is later than the
/// one before it. The check of the hellos notices each in at most 5 steps (`check::hellos::tests`).
#[cfg(feature = "mutants")]
const ELSEWHERE: [&str; 6] = [
    "old-payload-joins",
    "old-refusal-heeded",
    "neighbours-unchecked",
    "shut-out-by-later-life",
    "far-start-believed",
    "holdouts-of-removers",
];

#[cfg(feature = "mutants")]
#[test]
fn each_broken_variant_breaks_a_promise() {
    use rexi_proto::Mutant;
    let cases = number("REXI_MUTANT_CASES").unwrap_or(6_000);
    let only = variable("REXI_MUTANT");
    let mut alive = Vec::new();
    // These runs have no record: the check tries what breaks that (`check::record::tests`).
    let of_the_record = |mutant: Mutant| Mutants::of(&[mutant]).break_the_record();
    let is_asked = |name: &str| only.as_ref().is_none_or(|only| only == name);
    for planted in Mutant::ALL.iter().filter(|planted| is_asked(planted.name) && !of_the_record(planted.mutant)) {
        let mut on = planted.with.to_vec();
        on.push(planted.mutant);
        let breaks: Vec<&str> = planted.breaks.split(' ').collect();
        let broken = |what: &str| breaks.iter().any(|id| what.split(':').next() == Some(id));
        let known = pinned().into_iter().find_map(|(_, run)| {
            run.outcome(Mutants::of(&on), &breaks, &mut Seen::new()).err().map(|what| (what, run.ops.len()))
        });
        let drawn = || search(Mutants::of(&on), 0, cases, &breaks, &mut Seen::new());
        let found = known.or_else(|| drawn().map(|found| (found.what, found.run.ops.len())));
        match found {
            Some((what, ops)) if broken(&what) => println!("{} in {ops} operations: {what}", planted.name),
            None if ELSEWHERE.contains(&planted.name) => {}
            other => alive.push(format!("{}: {other:?}", planted.name)),
        }
    }
    assert_eq!(alive, [""; 0], "broken on purpose, and nobody noticed");
}

#[test]
fn runs_that_failed_once_hold() {
    for (what, run) in pinned() {
        assert_eq!(run.outcome(Mutants::default(), &[], &mut Seen::new()), Ok(()), "{what}");
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    variable(name)?.parse().ok()
}
