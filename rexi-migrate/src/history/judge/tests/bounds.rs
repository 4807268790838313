//! The bounds that the judge draws: what is at each, and what is one microsecond beyond it.

use super::*;
use crate::history::judge::finding::in_words;
use crate::history::judge::gather::SLACK;
use crate::history::ledger::{BEAT, GatherForm, NodeSet};

const SECOND: u64 = 1_000_000;

fn limited<const N: usize>(processes: [ProcessRecord; N]) -> Evidence {
    let (outlives_max, doubtful_after) = (Some(Duration::from_secs(25)), Some(Duration::from_secs(5)));
    Evidence { outlives_max, doubtful_after, ..run(processes) }
}

/// A process that stands still for this long, from its beat at 200 on.
fn stands_still(process: Process, stood_us: u64) -> Process {
    let beat_us = u64::try_from(BEAT.as_micros()).expect("small");
    let beat = Entry::Beat { waited_us: 0 };
    process.add(200, beat).add(200 + stood_us + beat_us, beat)
}

fn quiet(process: Process, at_us: u64) -> ProcessRecord {
    process.add(at_us, Entry::Quiet).record()
}

fn witnessed<const N: usize>(witness: Witness, processes: [ProcessRecord; N]) -> u64 {
    judge(&run(processes)).witnessed(witness)
}

fn dropped(work: Work, started_us: u64, ended_us: u64) -> Process {
    worker().started(started_us, id(1), work).ended(ended_us, id(1), Ending::Dropped)
}

#[test]
fn a_process_that_stands_still_for_five_seconds_at_once_is_a_doubt() {
    let doubts = |stood_us| {
        let caller = quiet(stands_still(served(Work::Reply).0, stood_us), 30 * SECOND);
        judge(&limited([caller, served(Work::Reply).1.live()])).doubts
    };
    assert_eq!(doubts(5 * SECOND - 1), [""; 0]);
    let text = "n0 1.2.0 (pid 1) stood still for 5000 ms in all and for 5000 ms of 5100 ms at once, stopped or without \
                a core";
    assert_eq!(doubts(5 * SECOND), [text]);
}

#[test]
fn what_came_late_of_a_process_that_stood_still_is_counted_and_what_came_in_time_is_not() {
    let jobs = |ended_us: &[u64]| {
        let held = (1..).zip(ended_us).fold((caller(), stands_still(worker(), 24 * SECOND)), |(c, w), (call, at)| {
            let caller = c.cast(100, call, 1, Work::Hold).killed(200, call, Phase::Switch);
            (caller, w.started(110, id(call), Work::Hold).ended(200 + at, id(call), Ending::Dropped))
        });
        judge(&limited([held.0.live(), quiet(held.1, 40 * SECOND)])).doubts.join("\n")
    };
    let at_once = "at once, stopped or without a core";
    let limit_us = 25 * SECOND;
    assert!(jobs(&[limit_us]).ends_with(at_once), "{}", jobs(&[limit_us]));
    assert!(jobs(&[limit_us + 1]).ends_with(&format!("{at_once}; late of that: 1 job")));
    assert!(jobs(&[limit_us + 1, limit_us + 2]).ends_with(&format!("{at_once}; late of that: 2 jobs")));
}

#[test]
fn a_call_that_the_load_gave_up_had_its_time_if_its_ends_ran_for_ten_seconds_of_it_and_no_longer() {
    let gave_up = |took_us, stood_us| {
        let silent = stands_still(caller().cast(100, 1, 1, Work::Reply), stood_us);
        let caller = quiet(silent.answered(100 + took_us, 1, Outcome::TimedOut), 60 * SECOND);
        let counts = judge(&limited([caller, worker().live()])).counts;
        assert_eq!(counts.timed_out, 1);
        (counts.lost, counts.stood_still)
    };
    let (lost, stood_still) = ((1, 0), (0, 1));
    assert_eq!(gave_up(10 * SECOND, 1), lost, "its ends had stood still, and its time was not over");
    assert_eq!(gave_up(10 * SECOND + 1, 1), stood_still);
    assert_eq!(gave_up(10 * SECOND + 2, 1), lost, "it had more than its time all the same");
    assert_eq!(gave_up(30 * SECOND, 20 * SECOND), stood_still);
    assert_eq!(gave_up(30 * SECOND + 1, 20 * SECOND), lost);
}

#[test]
fn a_gather_is_excused_if_its_process_ran_for_no_longer_than_its_limit_and_the_slack() {
    let limit_us = 1_000 + u64::try_from(SLACK.as_micros()).expect("small");
    let (gather, members, stood_us) = (CallNumber(1), [NodeIndex(1)].into_iter().collect(), 4 * SECOND);
    let begun = Entry::GatherBegun { gather, form: GatherForm::First, need: 1, members, limit_ms: 1 };
    let none = NodeSet::default();
    let ended = Entry::GatherEnded { gather, how: GatherEnd::TimedOut, votes: none, wrong: none, odd: None };
    let of = |entry: Option<(u64, Entry)>| {
        // It beats on behind that, since one that falls silent and is killed stood still until then.
        let caller = stands_still(served(Work::Reply).0.add(150, begun), stood_us);
        let caller = (42..91).fold(caller, |caller, n| caller.add(200 + n * 100_000, Entry::Beat { waited_us: 0 }));
        entry.into_iter().fold(caller, |caller, (at_us, entry)| caller.add(at_us, entry))
    };
    let late = [(FindingKind::GatherLate, 1)];
    for (beyond_us, kinds, doubts) in [(0, &[][..], 1), (1, &late[..], 0)] {
        let at_us = 150 + limit_us + stood_us + beyond_us;
        for caller in [quiet(of(Some((at_us, ended))), at_us), of(None).kill_nine(at_us)] {
            let evidence = limited([caller, served(Work::Reply).1.live()]);
            assert_eq!(found(&evidence), kinds, "{beyond_us} beyond it");
            assert_eq!(judge(&evidence).doubts.len(), doubts, "{:?}", judge(&evidence).doubts);
        }
    }
}

#[test]
fn jobs_that_run_on_for_long_are_counted_and_the_longest_is_told() {
    let held = [5 * SECOND + 1, 9 * SECOND, 5 * SECOND];
    let (caller, worker) = (1..).zip(held).fold((caller(), worker()), |(caller, worker), (call, after_us)| {
        let caller = caller.cast(100, call, 1, Work::Hold).killed(200, call, Phase::Switch);
        let job = worker.started(110, id(call), Work::Hold);
        (caller, job.ended(200 + after_us, id(call), Ending::Dropped))
    });
    let doubts = judge(&limited([caller.live(), worker.live()])).doubts;
    let text = "2 jobs ran on for more than 5000 ms after its kill or its caller's death, the longest for 9000 ms: \
                call 2 (hold) of n0 1.2.0 (pid 1) on n1 1.1.0 (pid 1)";
    assert_eq!(doubts, [text]);
}

#[test]
fn a_kill_counts_as_one_of_a_running_job_from_its_start_to_its_end() {
    let killed = |work, job: Process| {
        let caller = caller().cast_in(Phase::Introduce, 100, 1, 1, work).killed(200, 1, Phase::Switch);
        let judgement = judge(&run([caller.live(), job.live()]));
        (judgement.witnessed(Witness::KillAcrossSwitch), judgement.witnessed(Witness::HoldKilled))
    };
    for (started_us, ended_us, met) in [(200, 300, 1), (201, 300, 0), (110, 200, 1), (110, 199, 0)] {
        let job = || dropped(Work::Hold, started_us, ended_us);
        assert_eq!(killed(Work::Hold, job()), (met, met), "from {started_us} to {ended_us}");
    }
    assert_eq!(killed(Work::Stream, dropped(Work::Stream, 110, 300)), (1, 0), "it does not hold");
    let unended = worker().started(110, id(1), Work::Hold);
    assert_eq!(killed(Work::Hold, unended), (1, 0), "it did not end");
    let gone = |at_us| {
        let caller = caller().cast_in(Phase::Introduce, 100, 1, 1, Work::Hold).killed(200, 1, Phase::Switch);
        let job = worker().started(110, id(1), Work::Hold).kill_nine(at_us);
        witnessed(Witness::KillAcrossSwitch, [caller.live(), job])
    };
    assert_eq!((gone(200), gone(199)), (1, 0), "until its process died");
}

#[test]
fn a_kill_of_a_call_that_was_over_crosses_nothing() {
    let over = |outcome, killed_first: bool| {
        let cast = caller().cast_in(Phase::Introduce, 100, 1, 1, Work::Reply);
        let caller = if killed_first {
            cast.killed(200, 1, Phase::Switch).answered(210, 1, outcome)
        } else {
            cast.answered(190, 1, outcome).killed(200, 1, Phase::Switch)
        };
        let job = worker().started(110, id(1), Work::Reply).ended(300, id(1), Ending::Done);
        witnessed(Witness::KillAcrossSwitch, [caller.live(), job.live()])
    };
    assert_eq!((over(Outcome::Reply, false), over(Outcome::Reply, true)), (0, 1), "the answer crossed the kill");
    assert_eq!((over(Outcome::TimedOut, false), over(Outcome::TimedOut, true)), (0, 0), "it was given up");
}

#[test]
fn a_callers_end_counts_from_the_start_of_its_job_to_its_end() {
    let gone = |job: Process| {
        let died = caller().cast(100, 1, 1, Work::Hold).kill_nine(200);
        witnessed(Witness::CallerGone, [died, job.live()])
    };
    for (started_us, ended_us, met) in [(200, 300, 1), (201, 300, 0), (110, 200, 1), (110, 199, 0)] {
        assert_eq!(gone(dropped(Work::Hold, started_us, ended_us)), met, "from {started_us} to {ended_us}");
    }
    assert_eq!(gone(worker().started(110, id(1), Work::Hold)), 0, "it did not end");
}

#[test]
fn a_cast_waited_if_the_process_of_its_job_began_after_it() {
    let waited = |cast_us| {
        let caller = caller().cast(cast_us, 1, 1, Work::Reply).answered(450, 1, Outcome::Reply);
        let next = process(1, "1.2.0", 400).started(430, id(1), Work::Reply).ended(440, id(1), Ending::Done);
        let judgement = judge(&run([caller.live(), worker().kill_nine(300), next.live()]));
        (judgement.witnessed(Witness::BufferedDelivery), judgement.witnessed(Witness::BufferedOverRelease))
    };
    assert_eq!((waited(399), waited(400)), ((1, 1), (0, 0)));
}

#[test]
fn a_restart_is_in_flight_for_what_ran_or_was_open_just_then() {
    let restart = |caller: Process, worker: Process, drained: bool| {
        let old = if drained { worker.drain(300) } else { worker.kill_nine(300) };
        witnessed(Witness::RestartInFlight, [caller.live(), old, process(1, "1.2.0", 400).live()])
    };
    for (started_us, ended_us, met) in [(300, 302, 1), (301, 302, 0), (110, 301, 1), (110, 300, 0)] {
        let job = dropped(Work::Hold, started_us, ended_us);
        assert_eq!(restart(caller(), job, true), met, "a job from {started_us} to {ended_us}");
    }
    for (cast_us, closed_us, met) in [(300, 310, 1), (301, 310, 0), (100, 301, 1), (100, 300, 0)] {
        for caller in [
            caller().cast(cast_us, 1, 1, Work::Reply).answered(closed_us, 1, Outcome::Down),
            caller().cast(cast_us, 1, 1, Work::Hold).killed(closed_us, 1, Phase::Switch),
            caller().cast(cast_us, 1, 1, Work::Reply).answered(closed_us, 1, Outcome::TimedOut),
        ] {
            assert_eq!(restart(caller, worker(), false), met, "a call from {cast_us} to {closed_us}");
        }
        let died = caller().cast(cast_us, 1, 1, Work::Reply).kill_nine(closed_us);
        let next = process(1, "1.2.0", 400).live();
        assert_eq!(witnessed(Witness::RestartInFlight, [died, worker().kill_nine(300), next]), met, "its caller died");
    }
    let elsewhere = caller().cast(100, 1, 2, Work::Reply).answered(310, 1, Outcome::Down);
    assert_eq!(restart(elsewhere, worker(), false), 0, "a call of another node");
}

#[test]
fn a_monitor_counts_as_fired_after_an_end_that_it_was_there_for() {
    let monitor = MonitorNumber(3);
    let fired = |ended_us| {
        let set = caller().add(100, Entry::Monitored { monitor, on: NodeIndex(1) });
        let down = set.add(310, Entry::MonitorDown { monitor, reason: 1 });
        witnessed(Witness::MonitorFired, [down.live(), worker().kill_nine(ended_us)])
    };
    assert_eq!([99, 100, 310, 311].map(fired), [0, 1, 1, 0]);
}

#[test]
fn a_monitor_is_unserved_by_the_process_that_it_was_set_on_if_that_had_not_ended() {
    let monitor = MonitorNumber(3);
    let unserved = |worker: ProcessRecord| {
        let set = caller().add(100, Entry::Monitored { monitor, on: NodeIndex(1) });
        found(&run([set.add(300, Entry::MonitorDown { monitor, reason: 2 }).live(), worker])).len()
    };
    assert_eq!(unserved(process(1, "1.1.0", 100).live()), 1);
    assert_eq!(unserved(process(1, "1.1.0", 101).live()), 0, "it began later");
    assert_eq!(unserved(worker().drain(301)), 1);
    assert_eq!(unserved(worker().drain(300)), 0, "it was leaving");
}

#[test]
fn monitors_are_silent_from_the_first_end_behind_their_start_on() {
    let silent = |monitors: u64, until_us, ended_us: &[u64]| {
        let set = (0..monitors).fold(served(Work::Reply).0, |caller, number| {
            caller.add(140, Entry::Monitored { monitor: MonitorNumber(3 + number), on: NodeIndex(1) })
        });
        let ends = (0..).zip(ended_us).map(|(number, &at)| match number {
            0 => served(Work::Reply).1.kill_nine(at),
            _ => process(1, "1.1.0", at - 10).kill_nine(at),
        });
        let judgement = judge(&limited_to([set.kill_nine(until_us)].into_iter().chain(ends)));
        (judgement.counts.monitors_silent, judgement.doubts.join("\n"))
    };
    let limit_us = 25 * SECOND;
    assert_eq!(silent(1, 141 + limit_us, &[141]).0, 1);
    assert_eq!(silent(1, 140 + limit_us, &[141]).0, 0, "a microsecond too early");
    assert_eq!(silent(1, 141 + limit_us, &[140]).0, 0, "it was set when the process had ended");
    assert_eq!(silent(1, 141 + limit_us, &[141, 9 * SECOND]).0, 1, "the second end came later");
    assert_eq!(silent(1, 9 * SECOND + limit_us, &[140, 9 * SECOND]).0, 1, "the first one came before it was set");
    let (count, text) = silent(2, 141 + limit_us, &[141]);
    assert!(count == 2 && text.starts_with("2 monitors stayed silent") && text.contains(": monitor 3 of"), "{text}");
}

fn limited_to(processes: impl IntoIterator<Item = ProcessRecord>) -> Evidence {
    Evidence { processes: processes.into_iter().collect(), ..limited([]) }
}

#[test]
fn a_job_that_ends_with_its_kill_or_with_a_torn_tail_or_about_when_its_caller_dies_is_no_stray() {
    let job = |work| dropped(work, 110, 500).live();
    let cast = |work| caller().cast(100, 1, 1, work);
    let killed = |at_us| found(&run([cast(Work::Hold).killed(at_us, 1, Phase::Switch).live(), job(Work::Hold)]));
    let stray = [(FindingKind::EndedUnkilled, 1)];
    assert_eq!(killed(500), []);
    assert_eq!(killed(501), stray);
    let torn_behind = |at_us| {
        let last = cast(Work::Hold).add(at_us, Entry::Beat { waited_us: 0 });
        found(&run([torn(last.kill_nine(9 * SECOND)), job(Work::Hold)]))
    };
    assert_eq!(torn_behind(500), [], "the record behind it may be the kill");
    assert_eq!(torn_behind(501), stray, "the record behind it is of a later time");
    let died = |work, at_us| found(&run([cast(work).kill_nine(at_us), job(work)]));
    assert_eq!(died(Work::Stream, 500 + SECOND), []);
    assert_eq!(died(Work::Stream, 501 + SECOND), stray);
    assert_eq!(died(Work::Hold, 501), stray, "no server ends what holds");
}

#[test]
fn a_node_was_down_for_a_gather_that_met_the_last_or_the_first_moment_of_it() {
    let met = |gone_us, back_us| {
        let members: NodeSet = [1, 3].map(NodeIndex).into_iter().collect();
        let (gather, votes) = (CallNumber(1), [NodeIndex(1)].into_iter().collect());
        let begun = Entry::GatherBegun { gather, form: GatherForm::First, need: 1, members, limit_ms: 1 };
        let ended = Entry::GatherEnded { gather, how: GatherEnd::Reached, votes, wrong: NodeSet::default(), odd: None };
        let voter = worker().started(110, id(1), Work::Vote).ended(130, id(1), Ending::Done);
        let down = process(3, "1.1.0", 13).kill_nine(gone_us);
        let caller = caller().add(100, begun).add(140, ended).live();
        witnessed(Witness::QuorumOverDown, [caller, voter.live(), down, process(3, "1.2.0", back_us).live()])
    };
    assert_eq!([met(140, 200), met(141, 200), met(50, 100), met(50, 99)], [1, 0, 1, 0]);
}

#[test]
fn a_stream_is_open_over_a_restart_between_two_of_its_items_however_short_that_is() {
    let over = |gone_us, back_us| {
        let started = caller().cast(100, 1, 1, Work::Stream).stream_started(108, 1, 4);
        let caller = started.item_received(111, 1, 0).item_received(401, 1, 1).answered(460, 1, Outcome::Down);
        let job = worker().started(105, id(1), Work::Stream).item_sent(110, id(1), 0).item_sent(112, id(1), 1);
        let restarted = [process(2, "1.1.0", 12).kill_nine(gone_us), process(2, "1.2.0", back_us).live()];
        let [old, new] = restarted;
        witnessed(Witness::StreamOverRestart, [caller.live(), job.kill_nine(455), old, new])
    };
    assert_eq!([over(112, 400), over(111, 400), over(112, 401), over(300, 300)], [1, 0, 0, 1]);
}

#[test]
fn a_window_is_full_until_an_item_is_received() {
    let full = |received_us| {
        let job = worker().started(105, id(1), Work::Stream);
        let sent = (0..4).fold(job, |job, index| job.item_sent(110 + 10 * u64::from(index), id(1), index));
        let caller = caller().cast(100, 1, 1, Work::Stream).stream_started(108, 1, 4).item_received(received_us, 1, 0);
        witnessed(Witness::StreamWindowFull, [caller.answered(200, 1, Outcome::Down).live(), sent.kill_nine(195)])
    };
    assert_eq!((full(131), full(130)), (1, 0));
}

#[test]
fn a_span_is_told_in_milliseconds_up_to_ten_seconds_and_then_in_seconds() {
    for (micros, words) in [
        (0, "0 ms"),
        (1, "1 ms"),
        (1_000, "1 ms"),
        (1_001, "2 ms"),
        (9_999_000, "9999 ms"),
        (10_000_000, "10.0 s"),
        (12_340_000, "12.3 s"),
    ] {
        assert_eq!(in_words(micros), words, "{micros}");
    }
}
