//! What breaks no invariant for certain and is still not safe. Times here are seconds.

use super::*;
use crate::history::evidence::Disturbance;
use crate::history::ledger::{GatherForm, NodeSet};

const SECOND: u64 = 1_000_000;

fn limited(processes: impl IntoIterator<Item = ProcessRecord>) -> Evidence {
    let (outlives_max, doubtful_after) = (Some(Duration::from_secs(25)), Some(Duration::from_secs(5)));
    Evidence { outlives_max, doubtful_after, ..run(processes) }
}

/// The only reason why a run could not be told.
fn doubt(evidence: &Evidence) -> String {
    match judge(evidence).verdict {
        Verdict::CouldNotTell(doubts) if doubts.len() == 1 => doubts[0].clone(),
        other => panic!("{other:?}"),
    }
}

fn safe(evidence: &Evidence) {
    assert_eq!(judge(evidence).verdict, Verdict::Safe);
}

#[test]
fn a_call_that_had_long_heard_nothing_when_its_caller_died_is_a_doubt() {
    let open = |work, died_us| caller().cast(100, 1, 1, work).cast(SECOND, 2, 1, work).kill_nine(died_us);
    safe(&limited([open(Work::Reply, 5 * SECOND + 100), worker().live()]));
    let text = doubt(&limited([open(Work::Reply, 5 * SECOND + 101), worker().live()]));
    let parts = "1 call of no job had heard nothing for more than 5000 ms when their caller's process died: call 1";
    assert!(text.starts_with(parts) && text.ends_with("(reply) of n0 1.2.0 (pid 1) to n2 after 5001 ms"), "{text}");
    assert!(doubt(&limited([open(Work::Bulk, 30 * SECOND), worker().live()])).starts_with("2 calls"));
    safe(&limited([open(Work::Hold, 30 * SECOND), worker().live()]));
    let ran = worker().started(110, id(1), Work::Reply).ended(120, id(1), Ending::Done);
    safe(&limited([open(Work::Reply, 5 * SECOND + 101), ran.live()]));
}

#[test]
fn a_job_that_runs_on_for_long_is_a_doubt_even_if_a_restart_ends_it_and_for_too_long_a_breach() {
    let ended = |after_us| held().1.ended(200 + after_us, id(1), Ending::Dropped).live();
    safe(&limited([held().0.live(), ended(5 * SECOND)]));
    let text = doubt(&limited([held().0.live(), ended(5 * SECOND + 1)]));
    let parts = "1 job ran on for more than 5000 ms after its kill or its caller's death, the longest for 5001 ms: ";
    assert_eq!(text, format!("{parts}call 1 (hold) of n0 1.2.0 (pid 1) on n1 1.1.0 (pid 1)"));
    assert!(doubt(&limited([held().0.live(), held().1.kill_nine(7 * SECOND)])).contains("for 7000 ms"));
    let orphan = limited([held().0.live(), ended(25 * SECOND + 1)]);
    assert_eq!(found(&orphan), [(FindingKind::OrphanAfterKill, 1)]);
    assert_eq!(judge(&orphan).doubts, [""; 0], "a breach is no doubt too");
}

#[test]
fn a_doubt_about_a_job_that_ran_on_says_how_long_its_callers_node_had_no_process() {
    let job = held().1.ended(8 * SECOND + 200, id(1), Ending::Dropped).live();
    let back = process(0, "1.2.0", 7 * SECOND + 200).live();
    let died = caller().cast(100, 1, 1, Work::Hold).kill_nine(200);
    let text = doubt(&limited([died, back, job]));
    assert!(text.ends_with(" on n1 1.1.0 (pid 1); for 7000 ms of that, n1 had no process"), "{text}");
}

/// A process that watches node 1 from 100 on, alongside one served call, and then does this.
fn watcher(then: &[(u64, Entry)]) -> Process {
    let monitor = MonitorNumber(3);
    let set = served(Work::Reply).0.add(140, Entry::Monitored { monitor, on: NodeIndex(1) });
    then.iter().fold(set, |process, &(at, entry)| process.add(at, entry))
}

#[test]
fn a_monitor_that_stays_silent_long_after_an_end_is_a_doubt_however_its_own_process_ends() {
    let end_us = SECOND;
    let (soon, late) = (end_us + 25 * SECOND - 10, end_us + 25 * SECOND);
    let silent = |watcher| {
        let evidence = limited([watcher, served(Work::Reply).1.kill_nine(end_us)]);
        (judge(&evidence).counts.monitors_silent, evidence)
    };
    for watcher in [watcher(&[]).drain(late), watcher(&[]).kill_nine(late), watcher(&[(late, Entry::Quiet)]).record()] {
        let (count, evidence) = silent(watcher);
        let text =
            "1 monitor stayed silent for 25 s after the watched process had ended: monitor 3 of n0 1.2.0 (pid 1)";
        assert_eq!(count, 1);
        assert_eq!(doubt(&evidence), format!("{text} on n1 1.1.0 (pid 1)"));
    }
    assert_eq!(silent(watcher(&[]).drain(soon)).0, 0, "its own process did not live to see it");
    let down = Entry::MonitorDown { monitor: MonitorNumber(3), reason: 4 };
    assert_eq!(silent(watcher(&[(soon, down)]).drain(late)).0, 0, "it fired");
    let away = Entry::Demonitored { monitor: MonitorNumber(3) };
    assert_eq!(silent(watcher(&[(soon, away)]).drain(late)).0, 0, "it was taken away");
    assert_eq!(silent(watcher(&[(late, away)]).drain(late)).0, 1, "it was taken away too late");
    safe(&limited([watcher(&[]).drain(late), served(Work::Reply).1.live()]));
}

/// Beats every tenth of a second, except for a gap of this many seconds after the first one.
fn beats(process: Process, gap_s: u64) -> Process {
    let beat = Entry::Beat { waited_us: 0 };
    let gap_us = gap_s * SECOND;
    (0..20).fold(process.add(200, beat), |process, n| process.add(200 + gap_us + n * 100_000, beat))
}

#[test]
fn a_process_that_stood_still_is_named_and_what_came_late_of_it_is_no_breach() {
    let gather = CallNumber(9);
    let (members, none) = ([1].map(NodeIndex).into_iter().collect(), NodeSet::default());
    let begun = Entry::GatherBegun { gather, form: GatherForm::First, need: 1, members, limit_ms: 3_000 };
    let ended = Entry::GatherEnded { gather, how: GatherEnd::TimedOut, votes: none, wrong: none, odd: None };
    let gathers = |gap_s| {
        let caller = beats(served(Work::Reply).0.add(150, begun), gap_s).add(12 * SECOND, ended);
        limited([caller.add(13 * SECOND, Entry::Quiet).record(), served(Work::Reply).1.live()])
    };
    let text = doubt(&gathers(9));
    let parts = "n0 1.2.0 (pid 1) stood still for 8900 ms in all and for 8900 ms of 9000 ms at once, stopped or ";
    assert_eq!(text, format!("{parts}without a core; late of that: 1 gather"));
    assert_eq!(found(&gathers(3)), [(FindingKind::GatherLate, 1)], "that explains a part of it alone");
    let held_up = |gap_s| beats(served(Work::Reply).0, gap_s).add(30 * SECOND, Entry::Quiet).record();
    let text = doubt(&limited([held_up(6), served(Work::Reply).1.live()]));
    assert!(text.ends_with("of 6000 ms at once, stopped or without a core"), "{text}");
    safe(&limited([held_up(4), served(Work::Reply).1.live()]));
}

#[test]
fn a_job_or_a_call_that_had_its_time_by_the_clock_alone_is_a_doubt() {
    let ended = |gap_s| beats(held().1, gap_s).ended(30 * SECOND, id(1), Ending::Dropped);
    let orphan = |gap_s| limited([held().0.live(), ended(gap_s).add(31 * SECOND, Entry::Quiet).record()]);
    assert!(doubt(&orphan(26)).ends_with("late of that: 1 job"), "{}", doubt(&orphan(26)));
    assert_eq!(found(&orphan(3)), [(FindingKind::OrphanAfterKill, 1)]);
    let given_up = |gap_s| {
        let caller = beats(caller().cast(100, 1, 1, Work::Reply), gap_s).answered(40 * SECOND, 1, Outcome::TimedOut);
        limited([caller.add(41 * SECOND, Entry::Quiet).record(), worker().live()])
    };
    assert!(doubt(&given_up(31)).ends_with("late of that: 1 call"), "{}", doubt(&given_up(31)));
    let counts = judge(&given_up(31)).counts;
    assert_eq!((counts.stood_still, counts.lost, counts.timed_out), (1, 0, 1));
    assert_eq!(found(&given_up(29)), [(FindingKind::Lost, 1)], "it had more than 10 s");
}

#[test]
fn a_wait_for_a_node_that_has_no_process_is_no_doubt() {
    let open = caller().cast(SECOND, 1, 1, Work::Reply).kill_nine(8 * SECOND);
    let down = |back_us| [worker().kill_nine(500_000), process(1, "1.1.0", back_us).live()];
    let [gone, back] = down(4 * SECOND);
    safe(&limited([open, gone, back]));
    let open = caller().cast(SECOND, 1, 1, Work::Reply).kill_nine(8 * SECOND);
    let [gone, back] = down(2 * SECOND);
    assert!(doubt(&limited([open, gone, back])).contains("after 6000 ms"));
}

/// A run whose nodes 0 and 1 were held up by the run itself between these times, in seconds.
fn disturbed(evidence: Evidence, from_s: u64, to_s: u64, stopped: bool) -> Evidence {
    let nodes = NodeSet(0).with(NodeIndex(0)).with(NodeIndex(1));
    let disturbances = vec![Disturbance { nodes, from_us: from_s * SECOND, to_us: to_s * SECOND, stopped }];
    Evidence { disturbances, ..evidence }
}

#[test]
fn what_is_late_while_the_run_held_up_its_nodes_is_no_doubt_and_a_breach_stays_one() {
    let job = |s: u64| limited([held().0.live(), held().1.ended(s * SECOND, id(1), Ending::Dropped).live()]);
    doubt(&job(8));
    safe(&disturbed(job(8), 1, 7, false));
    // A fault that was over long before explains nothing of what came after it.
    doubt(&disturbed(job(8), 0, 2, false));
    assert_eq!(found(&disturbed(job(26), 1, 20, false)), [(FindingKind::OrphanAfterKill, 1)]);
    let open = || limited([caller().cast(100, 1, 1, Work::Reply).kill_nine(8 * SECOND), worker().live()]);
    doubt(&open());
    safe(&disturbed(open(), 1, 6, false));
}

#[test]
fn a_process_that_the_run_stopped_stood_still_by_plan_and_no_longer_than_that() {
    let beat = Entry::Beat { waited_us: 0 };
    let still = || {
        let (calls, jobs) = served(Work::Reply);
        let beats = calls.add(SECOND, beat).add(9 * SECOND, beat).add(12 * SECOND, Entry::Quiet);
        limited([beats.record(), jobs.live()])
    };
    doubt(&still());
    safe(&disturbed(still(), 1, 9, true));
    safe(&disturbed(still(), 1, 6, true));
    doubt(&disturbed(still(), 1, 3, true));
    // A cut stops no process.
    doubt(&disturbed(still(), 1, 9, false));
}
