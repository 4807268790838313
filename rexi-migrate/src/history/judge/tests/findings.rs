//! Every finding, and a similar run that is safe.

use super::*;

fn safe(evidence: &Evidence) {
    assert_eq!(judge(evidence).verdict, Verdict::Safe);
}

#[test]
fn served_failed_and_killed_calls_are_safe() {
    for work in [Work::Reply, Work::Fail, Work::Bulk] {
        let (caller, worker) = served(work);
        safe(&run([caller.live(), worker.live()]));
    }
    let (caller, worker) = held();
    safe(&run([caller.live(), worker.ended(210, id(1), Ending::Dropped).live()]));
}

#[test]
fn a_cast_that_ends_in_silence_is_lost() {
    let silent = || caller().cast(100, 1, 1, Work::Reply);
    let lost = [(FindingKind::Lost, 1)];
    assert_eq!(found(&run([silent().live(), worker().live()])), lost);
    assert_eq!(found(&run([silent().drain(200), worker().live()])), lost);
    safe(&run([silent().answered(130, 1, Outcome::Down).live(), worker().live()]));
}

#[test]
fn a_kill_excuses_the_silence_of_held_calls_and_of_no_others() {
    let kill = |work| caller().cast(100, 1, 1, work).killed(130, 1, Phase::Switch);
    let lost = [(FindingKind::Lost, 1)];
    for work in [Work::Reply, Work::Fail, Work::Bulk] {
        assert_eq!(found(&run([kill(work).live(), worker().live()])), lost, "{work}");
        assert_eq!(found(&run([kill(work).drain(200), worker().live()])), lost, "{work}, given up by a drain");
        assert_eq!(found(&run([kill(work).kill_nine(200), worker().live()])), lost, "{work}, given up before a death");
        let timed_out = kill(work).answered(800, 1, Outcome::TimedOut);
        assert_eq!(found(&run([timed_out.live(), worker().live()])), lost, "{work}");
    }
    safe(&run([kill(Work::Hold).live(), worker().live()]));
    safe(&run([kill(Work::Hold).drain(200), worker().live()]));
}

#[test]
fn a_cast_of_a_caller_that_was_killed_is_not_lost() {
    let judgement = judge(&run([caller().cast(100, 1, 1, Work::Reply).kill_nine(150), worker().live()]));
    assert_eq!(judgement.verdict, Verdict::Safe);
    assert_eq!((judgement.counts.lost, judgement.counts.caller_died), (0, 1));
}

#[test]
fn the_load_generators_own_limit_counts_as_lost_even_if_the_caller_dies_or_kills_later() {
    let timed_out = || caller().cast(100, 1, 1, Work::Reply).answered(800, 1, Outcome::TimedOut);
    let lost = [(FindingKind::Lost, 1)];
    assert_eq!(found(&run([timed_out().live(), worker().live()])), lost);
    assert_eq!(found(&run([timed_out().kill_nine(850), worker().live()])), lost);
    assert_eq!(found(&run([timed_out().killed(810, 1, Phase::Switch).live(), worker().live()])), lost);
    let late = run([timed_out().answered(820, 1, Outcome::Down).live(), worker().live()]);
    assert_eq!(found(&late), lost, "a late answer is the first one");
    assert_eq!(judge(&late).counts.timed_out, 1);
}

#[test]
fn silence_after_a_kill_is_not_lost() {
    let (caller, worker) = held();
    let worker = worker.ended(210, id(1), Ending::Dropped);
    safe(&run([caller.answered(800, 1, Outcome::TimedOut).live(), worker.live()]));
}

#[test]
fn two_jobs_for_one_call_are_found_on_one_process_on_two_and_after_a_restart() {
    let twice = [(FindingKind::ExecutedTwice, 1)];
    let again = |worker: Process| worker.started(140, id(1), Work::Reply).ended(150, id(1), Ending::Done);
    let (caller, worker) = served(Work::Reply);
    assert_eq!(found(&run([caller.live(), again(worker).live()])), twice);
    let (caller, worker) = served(Work::Reply);
    let restarted = process(1, "1.2.0", 135);
    assert_eq!(found(&run([caller.live(), worker.kill_nine(134), again(restarted).live()])), twice);
    let (caller, worker) = served(Work::Reply);
    let elsewhere = run([caller.live(), worker.live(), again(process(2, "1.1.0", 12)).live()]);
    assert_eq!(found(&elsewhere), [(FindingKind::ExecutedTwice, 1), (FindingKind::JobUnlikeCall, 1)]);
}

#[test]
fn two_jobs_for_a_call_whose_record_died_with_its_caller_are_found() {
    let job = |at| worker().started(at, id(7), Work::Reply).ended(at + 1, id(7), Ending::Done);
    let died = || torn(caller().kill_nine(300));
    let restarted = process(1, "1.2.0", 135).started(140, id(7), Work::Reply).ended(141, id(7), Ending::Done);
    let twice = run([died(), job(100).drain(130), restarted.live()]);
    assert_eq!(found(&twice), [(FindingKind::ExecutedTwice, 1)]);
    assert_eq!(judge(&twice).findings()[0].examples[0].started_us, [100, 140]);
    assert_eq!(found(&run([died(), job(100).live()])), []);
}

#[test]
fn a_job_of_the_same_number_from_another_life_of_the_caller_is_another_job() {
    let (first, worker) = served(Work::Reply);
    let other = CallId { incarnation: Incarnation(500), ..id(1) };
    let second = process(0, "1.2.0", 500).cast(510, 1, 1, Work::Reply).answered(540, 1, Outcome::Reply);
    let worker = worker.started(520, other, Work::Reply).ended(530, other, Ending::Done);
    safe(&run([first.kill_nine(400), second.live(), worker.live()]));
}

#[test]
fn a_killed_job_that_never_ends_is_an_orphan_where_its_process_had_the_time_to_end_it() {
    let (caller, worker) = held();
    assert_eq!(found(&run([caller.live(), worker.live()])), [(FindingKind::OrphanAfterKill, 1)]);
    let (caller, worker) = held();
    assert_eq!(found(&run([caller.live(), worker.drain(300)])), [(FindingKind::OrphanAfterKill, 1)]);
    let (caller, worker) = held();
    safe(&run([caller.live(), worker.kill_nine(300)]));
}

#[test]
fn a_job_whose_caller_died_is_an_orphan_if_it_never_ends() {
    let died = || caller().cast(100, 1, 1, Work::Hold).kill_nine(150);
    let job = || worker().started(110, id(1), Work::Hold);
    let orphan = run([died(), job().live()]);
    assert_eq!(found(&orphan), [(FindingKind::Orphan, 1)]);
    assert_eq!(judge(&orphan).findings()[0].invariant, Invariant::L2);
    safe(&run([died(), job().ended(160, id(1), Ending::Dropped).live()]));
}

#[test]
fn the_longest_outliving_is_measured_from_the_kill_or_the_callers_death_to_the_end() {
    let longest = |evidence: &Evidence| judge(evidence).counts.orphan_max_us;
    let (caller_killed, worker_ended) = held();
    assert_eq!(longest(&run([caller_killed.live(), worker_ended.ended(260, id(1), Ending::Dropped).live()])), 60);
    let died = caller().cast(100, 1, 1, Work::Hold).kill_nine(150);
    let worker_ended = worker().started(110, id(1), Work::Hold).ended(950, id(1), Ending::Dropped);
    assert_eq!(longest(&run([died, worker_ended.live()])), 800);
    let late = worker().started(240, id(1), Work::Hold).ended(250, id(1), Ending::Dropped);
    assert_eq!(longest(&run([held().0.live(), late.live()])), 10, "a late start counts from the start");
    let (caller_killed, worker_died) = held();
    assert_eq!(longest(&run([caller_killed.live(), worker_died.kill_nine(280)])), 80, "until its process died");
    let (caller_killed, worker_ended) = held();
    assert_eq!(longest(&run([caller_killed.live(), worker_ended.ended(190, id(1), Ending::Done).live()])), 0);
}

#[test]
fn a_job_that_outlives_its_kill_by_more_than_the_limit_is_found() {
    let (caller, worker) = held();
    let mut evidence = run([caller.live(), worker.ended(260, id(1), Ending::Dropped).live()]);
    evidence.outlives_max = Some(Duration::from_micros(60));
    safe(&evidence);
    evidence.outlives_max = Some(Duration::from_micros(59));
    assert_eq!(found(&evidence), [(FindingKind::OrphanAfterKill, 1)]);
}

/// One call for `work`, answered `outcome`, whose job ended `how`.
fn answered(work: Work, outcome: Outcome, how: Ending) -> Evidence {
    let worker = worker().started(110, id(1), work).ended(120, id(1), how);
    run([caller().cast(100, 1, 1, work).answered(130, 1, outcome).live(), worker.live()])
}

#[test]
fn answers_that_do_not_fit_what_was_asked_for_are_wrong() {
    for (work, outcome, how, kind) in [
        (Work::Reply, Outcome::WrongReply, Ending::Done, FindingKind::WrongReply),
        (Work::Fail, Outcome::Reply, Ending::Done, FindingKind::UnfitAnswer),
        (Work::Hold, Outcome::Reply, Ending::Done, FindingKind::UnfitAnswer),
        (Work::Reply, Outcome::FailedAsAsked, Ending::Failed, FindingKind::UnfitAnswer),
        (Work::Bulk, Outcome::FailedAsAsked, Ending::Failed, FindingKind::UnfitAnswer),
        (Work::Reply, Outcome::OtherExit, Ending::Failed, FindingKind::UnaskedExit),
        (Work::Reply, Outcome::Reply, Ending::Failed, FindingKind::AnswerUnlikeJob),
        (Work::Fail, Outcome::FailedAsAsked, Ending::Done, FindingKind::AnswerUnlikeJob),
    ] {
        let evidence = answered(work, outcome, how);
        assert_eq!(found(&evidence), [(kind, 1)], "{work} answered {outcome}");
        assert_eq!(judge(&evidence).counts.wrong, 1);
    }
    safe(&answered(Work::Reply, Outcome::Reply, Ending::Done));
    safe(&answered(Work::Fail, Outcome::FailedAsAsked, Ending::Failed));
}

#[test]
fn typed_answers_that_say_the_call_was_not_served_are_counted_and_safe() {
    for outcome in [Outcome::Down, Outcome::ConnectionLost, Outcome::Draining, Outcome::Dropped, Outcome::Incompatible]
    {
        let judgement = judge(&run([caller().cast(100, 1, 1, Work::Reply).answered(130, 1, outcome).live()]));
        assert_eq!(judgement.verdict, Verdict::Safe, "{outcome}");
        assert_eq!(judgement.counts.told, 1);
        assert_eq!(judgement.outcomes, BTreeMap::from([(outcome, 1)]));
    }
}

#[test]
fn refusals_for_want_of_a_server_or_a_function_are_unsafe() {
    for (outcome, kind, invariant) in [
        (Outcome::NoSuchServer, FindingKind::NoSuchServer, Invariant::S6),
        (Outcome::NoSuchFunction, FindingKind::NoSuchFunction, Invariant::S9),
    ] {
        let evidence = run([caller().cast(100, 1, 1, Work::Reply).answered(130, 1, outcome).live(), worker().live()]);
        assert_eq!(found(&evidence), [(kind, 1)]);
        let judgement = judge(&evidence);
        assert_eq!(judgement.findings()[0].invariant, invariant);
        assert_eq!((judgement.counts.refused, judgement.counts.told), (1, 1));
    }
}

#[test]
fn an_answer_that_only_a_job_can_give_needs_a_job() {
    for (work, outcome) in [(Work::Reply, Outcome::Reply), (Work::Fail, Outcome::FailedAsAsked)] {
        let evidence = run([caller().cast(100, 1, 1, work).answered(130, 1, outcome).live(), worker().live()]);
        assert_eq!(found(&evidence), [(FindingKind::ReplyWithoutJob, 1)]);
    }
    let (caller, worker) = served(Work::Reply);
    safe(&run([caller.live(), worker.kill_nine(140)]));
}

#[test]
fn a_job_that_nobody_called_for_is_found_unless_its_cast_was_torn_off_its_callers_ledger() {
    let job = || worker().started(110, id(9), Work::Reply).ended(120, id(9), Ending::Done);
    let one = caller().cast(100, 1, 1, Work::Reply).answered(101, 1, Outcome::Down);
    assert_eq!(found(&run([one.live(), job().live()])), [(FindingKind::JobWithoutCall, 1)]);
    let uncalled = [(FindingKind::JobWithoutCall, 1)];
    assert_eq!(found(&run([caller().kill_nine(200), job().live()])), uncalled, "a death excuses nothing");
    assert_eq!(found(&run([torn(caller().kill_nine(200)), job().live()])), []);
    let later = caller().cast(100, 10, 1, Work::Hold).kill_nine(200);
    assert_eq!(found(&run([torn(later), job().live()])), uncalled, "the torn record is not of an earlier cast");
    assert_eq!(found(&run([job().live()])), [(FindingKind::JobWithoutCall, 1)], "a life that no ledger knows");
}

#[test]
fn a_job_that_does_other_work_than_its_call_asked_for_is_found() {
    let caller = caller().cast(100, 1, 1, Work::Bulk).answered(130, 1, Outcome::Reply);
    let worker = worker().started(110, id(1), Work::Reply).ended(120, id(1), Ending::Done);
    assert_eq!(found(&run([caller.live(), worker.live()])), [(FindingKind::JobUnlikeCall, 1)]);
}

#[test]
fn a_second_answer_is_found_and_an_answer_that_crosses_a_kill_is_only_counted() {
    let (caller, worker) = served(Work::Reply);
    let evidence = run([caller.answered(140, 1, Outcome::Down).live(), worker.live()]);
    assert_eq!(found(&evidence), [(FindingKind::AnsweredTwice, 1)]);
    let crossed = caller_crossing();
    let judgement = judge(&crossed);
    assert_eq!(judgement.verdict, Verdict::Safe);
    assert_eq!((judgement.counts.answers_after_kill, judgement.counts.killed), (1, 1));
}

fn caller_crossing() -> Evidence {
    let caller = caller().cast(100, 1, 1, Work::Reply).killed(125, 1, Phase::Switch).answered(130, 1, Outcome::Reply);
    let worker = worker().started(110, id(1), Work::Reply).ended(120, id(1), Ending::Done);
    run([caller.live(), worker.live()])
}

#[test]
fn a_process_that_ends_by_itself_is_unsafe_and_one_that_is_killed_is_not() {
    let (caller, worker) = served(Work::Reply);
    assert_eq!(found(&run([caller.live(), worker.crash(400)])), [(FindingKind::Crashed, 1)]);
    let (caller, worker) = served(Work::Reply);
    safe(&run([caller.live(), worker.kill_nine(400)]));
}

#[test]
fn a_finding_shows_five_cases_of_all_it_counts_with_what_is_needed_to_follow_one() {
    let silent = (1..=7).fold(caller(), |caller, call| caller.cast(100 + call, call, 1, Work::Reply));
    let judgement = judge(&run([silent.live(), worker().live()]));
    let finding = &judgement.findings()[0];
    assert_eq!((finding.count, finding.examples.len()), (7, EXAMPLES_MAX));
    let example = &finding.examples[0];
    assert_eq!(example.call, Some(id(1)));
    assert_eq!(example.cast_us, Some(101));
    assert_eq!((example.caller.as_deref(), example.caller_release.as_deref()), (Some("n0"), Some("1.2.0")));
    assert_eq!((example.target.as_deref(), example.target_release.as_deref()), (Some("n1"), Some("1.1.0")));
    assert!(finding.to_string().starts_with("S1: 7 casts ended in silence"), "{finding}");
}
