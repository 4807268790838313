//! Ends without a cause, and monitors that fire without one.

use super::*;

/// A call that holds, killed at 2,000 or never; its job was dropped at 500.
fn dropped(killed: bool) -> (Process, Process) {
    let cast = caller().cast(100, 1, 1, Work::Hold);
    let caller = if killed { cast.killed(2_000, 1, Phase::Switch) } else { cast };
    (caller, worker().started(110, id(1), Work::Hold).ended(500, id(1), Ending::Dropped))
}

#[test]
fn a_held_job_that_is_dropped_before_its_kill_while_both_ends_live_was_hit_by_another_kill() {
    let (caller, worker) = dropped(true);
    let evidence = run([caller.live(), worker.live()]);
    assert_eq!(found(&evidence), [(FindingKind::EndedUnkilled, 1)]);
    let judgement = judge(&evidence);
    let finding = &judgement.findings()[0];
    assert_eq!(finding.invariant, Invariant::S4);
    assert_eq!(finding.examples[0].note.as_deref(), Some("ended 2 ms before its kill"));
    let (caller, worker) = dropped(false);
    let never = found(&run([caller.live(), worker.live()]));
    assert_eq!(never, [(FindingKind::Lost, 1), (FindingKind::EndedUnkilled, 1)]);
    let (caller, worker) = dropped(false);
    assert_eq!(found(&run([caller.kill_nine(600), worker.live()])), [(FindingKind::EndedUnkilled, 1)], "died later");
}

#[test]
fn a_held_job_may_end_with_the_process_at_either_end() {
    let ended = |killed, end: &dyn Fn(Process, Process) -> [ProcessRecord; 2]| {
        let (caller, worker) = dropped(killed);
        found(&run(end(caller, worker)))
    };
    assert_eq!(ended(true, &|c, w| [c.live(), w.drain(500)]), [], "the runner was asked to drain");
    assert_eq!(ended(true, &|c, w| [c.live(), w.drain(501)]), [(FindingKind::EndedUnkilled, 1)], "later");
    assert_eq!(ended(true, &|c, w| [c.drain(490), w.live()]), []);
    assert_eq!(ended(false, &|c, w| [c.kill_nine(490), w.live()]), []);
    assert_eq!(ended(true, &|c, w| [c.live(), w.crash(900)]), [(FindingKind::Crashed, 1)], "found already");
    assert_eq!(ended(false, &|c, w| [torn(c.kill_nine(501)), w.live()]), [], "the torn record may be its kill");
}

#[test]
fn a_stream_that_its_caller_cancelled_may_end_though_its_caller_died_before_it_heard_so() {
    let cast = || caller().cast(100, 1, 1, Work::Stream);
    let ended = || worker().started(110, id(1), Work::Stream).ended(500, id(1), Ending::Dropped).live();
    let cancelled = |at_us| cast().add(at_us, Entry::StreamCancelled { call: CallNumber(1) });
    assert_eq!(found(&run([cancelled(300).kill_nine(600), ended()])), []);
    let long_after = |caller: Process| found(&run([caller.kill_nine(5_000_000), ended()]));
    assert_eq!(long_after(cancelled(500)), []);
    let stray = [(FindingKind::EndedUnkilled, 1)];
    assert_eq!(long_after(cancelled(501)), stray, "cancelled after it had ended");
    assert_eq!(long_after(cast()), stray, "never cancelled");
}

#[test]
fn a_held_job_may_end_where_one_of_its_ends_notices_that_the_connection_broke_while_it_ran() {
    let away = |node| Entry::Away { node: NodeIndex(node) };
    let held = || caller().cast(100, 1, 1, Work::Hold);
    let dropped = || worker().started(110, id(1), Work::Hold).ended(500, id(1), Ending::Dropped);
    let by_caller = |at_us, node| found(&run([held().add(at_us, away(node)).kill_nine(9_000_000), dropped().live()]));
    let stray = [(FindingKind::EndedUnkilled, 1)];
    assert_eq!(by_caller(110, 1), []);
    assert_eq!(by_caller(1_000_500, 1), []);
    assert_eq!(by_caller(109, 1), stray, "before the job began");
    assert_eq!(by_caller(1_000_501, 1), stray, "long after");
    assert_eq!(by_caller(490, 2), stray, "with another node");
    let by_runner = |node| found(&run([held().kill_nine(9_000_000), dropped().add(501, away(node)).live()]));
    assert_eq!((by_runner(0), by_runner(2)), (vec![], stray.to_vec()));
}

#[test]
fn a_held_job_may_end_where_its_caller_is_told_so_or_hears_of_a_break_at_about_that_time() {
    for outcome in [Outcome::Down, Outcome::ConnectionLost, Outcome::Draining, Outcome::Dropped] {
        let (caller, worker) = dropped(false);
        assert_eq!(found(&run([caller.answered(900, 1, outcome).live(), worker.live()])), [], "{outcome}");
    }
    let other = |outcome, at| {
        let (caller, worker) = dropped(true);
        let caller = caller.cast(2_100, 2, 1, Work::Reply).answered(at, 2, outcome);
        found(&run([caller.add(at, Entry::Quiet).record(), worker.live()]))
    };
    assert_eq!(other(Outcome::ConnectionLost, 1_000_500), []);
    let stray = [(FindingKind::EndedUnkilled, 1)];
    assert_eq!(other(Outcome::ConnectionLost, 1_000_501), stray, "long after");
    assert_eq!(other(Outcome::Draining, 2_200), stray, "says nothing of the connection");
}

#[test]
fn a_monitor_that_hears_of_no_server_from_a_node_that_lives_is_found() {
    let monitor = MonitorNumber(3);
    let watch = |reason, worker: ProcessRecord| {
        let set = caller().add(100, Entry::Monitored { monitor, on: NodeIndex(1) });
        let evidence = run([set.add(300, Entry::MonitorDown { monitor, reason }).live(), worker]);
        judge(&evidence).findings().first().map(|finding| (finding.kind, finding.invariant, finding.count))
    };
    let unserved = Some((FindingKind::MonitorUnserved, Invariant::S6, 1));
    assert_eq!(watch(2, worker().live()), unserved);
    assert_eq!(watch(2, worker().drain(301)), unserved);
    assert_eq!(watch(2, worker().drain(299)), None, "it was leaving");
    assert_eq!(watch(2, process(1, "1.1.0", 301).live()), None, "it had not begun");
    assert_eq!(watch(2, process(1, "1.1.0", 101).live()), None, "the monitor was set on the process before it");
    assert_eq!(watch(4, worker().live()), None, "another reason");
}
