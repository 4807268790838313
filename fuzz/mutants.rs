//! Whether the check of `checks/peer.rs` notices a protocol that is broken on purpose: by scripts of chance alone, with
//! no fuzzer that looks for more.

#[allow(dead_code, reason = "the check itself is for the targets")]
#[path = "checks/peer.rs"]
mod peer;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rexi_proto::{Mutant, Mutants};

/// Those that break what two nodes and their link can show. Of the others, some need a third node, most a hello or a
/// rollout, some a frame that is not well formed.
const NOTICED: [&str; 33] = [
    "kill-only-per-node",
    "kill-only-singleton",
    "kill-follows-phase",
    "ungated-kill-all",
    "early-tagged-reply",
    "forget-ignored",
    "own-phase-gate",
    "lifeless-job-key",
    "lost-per-node-server",
    "late-per-node-servers",
    "shared-job-key",
    "unknown-dropped",
    "no-tombstones,kill-passes-held",
    "acks-follow-phase",
    "connect-unchecked",
    "phase-unchecked",
    "refusal-outlived",
    "routed-when-cast",
    "past-connection-kept",
    "resume-keeps-jobs",
    "resume-tells-nothing",
    "announce-unsent",
    "phase-unheard",
    "stream-unanswered",
    "response-not-missed",
    "zero-bound-panics",
    "written-twice",
    "unwritten-kept",
    "old-frames-heeded",
    "old-payload-joins",
    "old-end-heeded",
    "old-departure-heeded",
    "old-refusal-heeded",
];

#[test]
fn broken_variants_are_noticed_and_the_sound_one_is_not() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let fails =
        |script: &Vec<u8>, mutants| catch_unwind(AssertUnwindSafe(|| peer::check_broken(script, mutants))).is_err();
    let noticed_in = |names: &str| {
        let mutants = Mutants::from_names(names).expect("they are of `Mutant::ALL`");
        peer::scripts().take(SCRIPTS).position(|script| fails(&script, mutants))
    };
    let sound = noticed_in("");
    let rows: Vec<_> = NOTICED.iter().map(|names| (names, noticed_in(names))).collect();
    let others = Mutant::ALL.iter().filter(|planted| !NOTICED.contains(&planted.name));
    let others: Vec<_> = others.map(|planted| (planted.name, noticed_in(planted.name))).collect();
    std::panic::set_hook(quiet);
    for (names, script) in &rows {
        println!("{names:32} {script:?}");
    }
    println!("beside these: {others:?}");
    assert_eq!(sound, None);
    let missed: Vec<_> = rows.iter().filter(|(_, script)| script.is_none()).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// How many are tried.
const SCRIPTS: usize = 10_000;
