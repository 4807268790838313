//! Every case that a run can have met, and a similar run that did not meet it.

use super::*;

fn witnessed(witness: Witness, processes: impl IntoIterator<Item = ProcessRecord>) -> u64 {
    judge(&run(processes)).witnessed(witness)
}

#[test]
fn a_kill_across_the_switch_has_the_switch_on_one_side_and_an_open_call_with_a_job_that_runs() {
    let killed = |cast, killed, worker| {
        let caller = caller().cast_in(cast, 100, 1, 1, Work::Hold).killed(200, 1, killed);
        witnessed(Witness::KillAcrossSwitch, [caller.live(), worker])
    };
    let job = || worker().started(110, id(1), Work::Hold);
    let kill = |cast, at| killed(cast, at, job().ended(210, id(1), Ending::Dropped).live());
    assert_eq!(kill(Phase::Introduce, Phase::Switch), 1);
    assert_eq!(kill(Phase::Switch, Phase::Introduce), 1);
    assert_eq!(kill(Phase::Switch, Phase::Switch), 0);
    assert_eq!(kill(Phase::Singleton, Phase::Introduce), 0);
    let across = |worker| killed(Phase::Introduce, Phase::Switch, worker);
    assert_eq!(across(worker().live()), 0, "no job");
    assert_eq!(across(worker().started(205, id(1), Work::Hold).live()), 0, "a job that began later");
    assert_eq!(across(job().ended(190, id(1), Ending::Dropped).live()), 0, "a job that had ended");
    assert_eq!(across(job().kill_nine(190)), 0, "a job that had gone with its process");
    assert_eq!(across(job().kill_nine(220)), 1);
    let answered = caller().cast_in(Phase::Introduce, 100, 1, 1, Work::Reply).answered(150, 1, Outcome::Reply);
    assert_eq!(witnessed(Witness::KillAcrossSwitch, [answered.killed(200, 1, Phase::Switch).live()]), 0);
}

#[test]
fn a_restart_in_flight_has_jobs_running_or_calls_open_and_a_process_that_follows() {
    let next = || process(1, "1.2.0", 400).live();
    let restart =
        |caller: Process, old: ProcessRecord| witnessed(Witness::RestartInFlight, [caller.live(), old, next()]);
    let running = || worker().started(110, id(1), Work::Hold);
    assert_eq!(restart(caller(), running().kill_nine(300)), 1, "a job ran");
    assert_eq!(restart(caller(), running().ended(302, id(1), Ending::Dropped).drain(300)), 1, "it ran when asked");
    assert_eq!(restart(caller(), running().ended(290, id(1), Ending::Dropped).drain(300)), 0, "it had ended");
    let open = || caller().cast(100, 1, 1, Work::Reply);
    assert_eq!(restart(open().answered(310, 1, Outcome::Down), worker().kill_nine(300)), 1, "a call was open");
    assert_eq!(restart(open().answered(290, 1, Outcome::Down), worker().kill_nine(300)), 0, "it was closed");
    assert_eq!(restart(open().killed(290, 1, Phase::Switch), worker().kill_nine(300)), 0, "it was killed");
    assert_eq!(restart(caller().cast(310, 1, 1, Work::Reply), worker().kill_nine(300)), 0, "it came later");
    assert_eq!(witnessed(Witness::RestartInFlight, [running().kill_nine(300)]), 0, "nothing followed");
    assert_eq!(restart(caller(), running().crash(300)), 0, "a crash is no step of a plan");
}

#[test]
fn ends_are_counted_by_their_kind() {
    let ends = || [caller().kill_nine(300), worker().drain(300), process(2, "1.1.0", 12).crash(300)];
    assert_eq!(witnessed(Witness::KillNine, ends()), 1);
    assert_eq!(witnessed(Witness::Drain, ends()), 1);
}

#[test]
fn a_rollback_is_an_older_release_than_the_process_before() {
    let rolled = |first, second| {
        witnessed(Witness::Rollback, [process(1, second, 400).live(), process(1, first, 11).kill_nine(300)])
    };
    assert_eq!(rolled("1.2.0", "1.1.0"), 1);
    assert_eq!(rolled("1.1.0", "1.2.0"), 0);
    assert_eq!(rolled("1.1.0", "1.1.0"), 0);
    let elsewhere = [process(1, "1.2.0", 11).kill_nine(300), process(2, "1.1.0", 400).live()];
    assert_eq!(witnessed(Witness::Rollback, elsewhere), 0);
}

#[test]
fn a_buffered_delivery_is_a_job_of_a_process_that_began_after_the_cast() {
    let delivered = |witness, cast_us, release| {
        let caller = caller().cast(cast_us, 1, 1, Work::Reply).answered(450, 1, Outcome::Reply);
        let next = process(1, release, 400).started(430, id(1), Work::Reply).ended(440, id(1), Ending::Done);
        witnessed(witness, [caller.live(), worker().kill_nine(300), next.live()])
    };
    assert_eq!(delivered(Witness::BufferedDelivery, 350, "1.1.0"), 1);
    assert_eq!(delivered(Witness::BufferedDelivery, 410, "1.1.0"), 0);
    assert_eq!(delivered(Witness::BufferedOverRelease, 350, "1.2.0"), 1);
    assert_eq!(delivered(Witness::BufferedOverRelease, 350, "1.1.0"), 0);
}

#[test]
fn jobs_are_counted_by_the_server_that_took_them() {
    let on = |server, witness| witnessed(witness, [worker().started_on(server, 110, id(1), Work::Reply).live()]);
    assert_eq!(on(ServerAddress::Singleton, Witness::SingletonJob), 1);
    assert_eq!(on(ServerAddress::Singleton, Witness::PerNodeJob), 0);
    assert_eq!(on(ServerAddress::PerNode, Witness::PerNodeJob), 1);
    assert_eq!(on(ServerAddress::PerNode, Witness::SingletonJob), 0);
}

#[test]
fn failures_and_bulk_are_counted_where_they_came_as_asked() {
    let of =
        |witness, work, outcome| witnessed(witness, [caller().cast(100, 1, 1, work).answered(130, 1, outcome).live()]);
    assert_eq!(of(Witness::FailureServed, Work::Fail, Outcome::FailedAsAsked), 1);
    assert_eq!(of(Witness::FailureServed, Work::Fail, Outcome::Down), 0);
    assert_eq!(of(Witness::FailureServed, Work::Reply, Outcome::FailedAsAsked), 0);
    assert_eq!(of(Witness::BulkServed, Work::Bulk, Outcome::Reply), 1);
    assert_eq!(of(Witness::BulkServed, Work::Reply, Outcome::Reply), 0);
    assert_eq!(of(Witness::BulkServed, Work::Bulk, Outcome::Down), 0);
}

#[test]
fn a_held_job_counts_as_killed_if_it_ran_when_the_kill_came() {
    let (caller_a, worker_a) = held();
    let ended = |worker: Process, at| worker.ended(at, id(1), Ending::Dropped).live();
    assert_eq!(witnessed(Witness::HoldKilled, [caller_a.live(), ended(worker_a, 210)]), 1);
    let (caller_b, worker_b) = held();
    assert_eq!(witnessed(Witness::HoldKilled, [caller_b.live(), ended(worker_b, 190)]), 0);
}

#[test]
fn a_job_whose_caller_goes_first_is_counted() {
    let gone = |ended_us| {
        let job = worker().started(110, id(1), Work::Hold).ended(ended_us, id(1), Ending::Dropped);
        witnessed(Witness::CallerGone, [caller().cast(100, 1, 1, Work::Hold).kill_nine(200), job.live()])
    };
    assert_eq!(gone(250), 1);
    assert_eq!(gone(150), 0);
}

#[test]
fn phases_count_as_changed_only_within_a_process() {
    let phases = |phases: &[Phase]| {
        let process = phases.iter().fold(caller(), |p, &phase| p.add(50, Entry::PhaseChanged { migration: 0, phase }));
        let judgement = judge(&run([process.live()]));
        (judgement.witnessed(Witness::PhaseRaised), judgement.witnessed(Witness::PhaseLowered))
    };
    assert_eq!(phases(&[Phase::Switch]), (0, 0));
    assert_eq!(phases(&[Phase::Introduce, Phase::Switch]), (1, 0), "raised");
    assert_eq!(phases(&[Phase::Switch, Phase::Introduce]), (0, 1), "lowered");
    assert_eq!(phases(&[Phase::Switch, Phase::Switch]), (0, 0), "said again");
    assert_eq!(phases(&[Phase::Introduce, Phase::Switch, Phase::Introduce]), (1, 1));
    assert_eq!(phases(&[Phase::Singleton, Phase::Introduce, Phase::Switch]), (2, 0), "each change counts");
}

#[test]
fn monitors_count_where_they_fired_after_an_end() {
    let monitor = MonitorNumber(3);
    let watch = |more: &[(u64, Entry)], worker: ProcessRecord| {
        let set = caller().add(100, Entry::Monitored { monitor, on: NodeIndex(1) });
        let caller = more.iter().fold(set, |p, &(at, entry)| p.add(at, entry));
        witnessed(Witness::MonitorFired, [caller.live(), worker])
    };
    let down = Entry::MonitorDown { monitor, reason: 1 };
    assert_eq!(watch(&[(310, down)], worker().kill_nine(300)), 1);
    assert_eq!(watch(&[(290, down)], worker().kill_nine(300)), 0, "before the end");
    assert_eq!(watch(&[(310, down)], worker().live()), 0, "without an end");
    assert_eq!(watch(&[], worker().kill_nine(300)), 0);
}
