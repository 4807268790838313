//! Questions and responses: each way in which they can go astray, and a similar call that is served.

use super::*;

/// A call with one question, as its caller saw it.
fn responder(content: Content, responded: u8) -> Process {
    let cast = caller().cast(100, 1, 1, Work::Question);
    (0..responded).fold(cast, |caller, index| {
        caller.add(120 + u64::from(index), Entry::Responded { call: CallNumber(1), index, content })
    })
}

/// Its job, which asks once and has heard the response at this time.
fn asker(content: Content, heard_us: Option<u64>) -> Process {
    let asked = worker().started(105, id(1), Work::Question).add(110, Entry::Asked { id: id(1), index: 0 });
    let heard = |at_us| (at_us, Entry::ResponseHeard { id: id(1), index: 0, content });
    let asked = heard_us.map(heard).into_iter().fold(asked, |worker, (at_us, entry)| worker.add(at_us, entry));
    asked.ended(150, id(1), Ending::Done)
}

fn kinds(caller: Process, worker: Process) -> Vec<FindingKind> {
    let evidence = run([caller.answered(160, 1, Outcome::Reply).live(), worker.live()]);
    found(&evidence).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_question_that_is_answered_and_heard_is_safe() {
    let caller = responder(Content::Right, 1).answered(160, 1, Outcome::Reply);
    let judgement = judge(&run([caller.live(), asker(Content::Right, Some(130)).live()]));
    assert_eq!(judgement.verdict, Verdict::Safe, "{judgement:?}");
    assert_eq!((judgement.counts.questions, judgement.counts.questions_astray), (1, 0));
    assert_eq!(judgement.witnessed(Witness::QuestionAnswered), 1);
}

#[test]
fn a_question_that_is_another_or_was_never_asked_is_found() {
    let right = || asker(Content::Right, Some(130));
    assert_eq!(kinds(responder(Content::Wrong, 1), right()), [FindingKind::QuestionAstray]);
    assert_eq!(kinds(responder(Content::Right, 2), right()), [FindingKind::QuestionAstray], "it came twice");
    let silent = worker().started(105, id(1), Work::Question).ended(150, id(1), Ending::Done);
    assert_eq!(kinds(responder(Content::Right, 1), silent), [FindingKind::QuestionAstray], "nobody asked");
    assert_eq!(FindingKind::QuestionAstray.invariant(), Invariant::S5);
}

#[test]
fn a_response_that_is_another_or_was_never_given_is_found() {
    let right = || responder(Content::Right, 1);
    assert_eq!(kinds(right(), asker(Content::Wrong, Some(130))), [FindingKind::ResponseAstray]);
    assert_eq!(kinds(right(), asker(Content::Right, Some(119))), [FindingKind::ResponseAstray], "before it was given");
    assert_eq!(kinds(right(), asker(Content::Right, Some(120))), []);
    assert_eq!(kinds(responder(Content::Right, 0), asker(Content::Right, Some(130))), [FindingKind::ResponseAstray]);
    assert_eq!(kinds(right(), asker(Content::Right, None)), [FindingKind::ResponseAstray], "it replied without one");
    assert_eq!(FindingKind::ResponseAstray.invariant(), Invariant::S5);
}

#[test]
fn a_question_and_its_response_bear_one_number() {
    let call = CallNumber(1);
    let of = |asked, responded, heard| {
        let content = Content::Right;
        let caller =
            caller().cast(100, 1, 1, Work::Question).add(120, Entry::Responded { call, index: responded, content });
        let job = worker().started(105, id(1), Work::Question).add(110, Entry::Asked { id: id(1), index: asked });
        let job = job.add(130, Entry::ResponseHeard { id: id(1), index: heard, content });
        kinds(caller, job.ended(150, id(1), Ending::Done))
    };
    assert_eq!(of(1, 1, 1), []);
    assert_eq!(of(0, 1, 1), [FindingKind::QuestionAstray]);
    assert_eq!(of(1, 1, 0), [FindingKind::ResponseAstray]);
}

#[test]
fn a_job_that_ran_twice_is_found_as_that_and_not_as_one_that_did_not_hear() {
    let again = asker(Content::Right, Some(130)).started(152, id(1), Work::Question);
    let asked = again.add(153, Entry::Asked { id: id(1), index: 0 }).ended(155, id(1), Ending::Done);
    assert_eq!(kinds(responder(Content::Right, 1), asked), [FindingKind::ExecutedTwice]);
}

#[test]
fn a_question_that_is_cut_off_by_a_typed_answer_is_told() {
    let caller = responder(Content::Right, 1).answered(160, 1, Outcome::ConnectionLost);
    let worker = worker().started(105, id(1), Work::Question).add(110, Entry::Asked { id: id(1), index: 0 });
    let judgement = judge(&run([caller.live(), worker.ended(170, id(1), Ending::Dropped).live()]));
    assert_eq!((&judgement.verdict, judgement.counts.told), (&Verdict::Safe, 1));
    assert_eq!(judgement.witnessed(Witness::QuestionAnswered), 0);
}

#[test]
fn a_question_is_answered_over_the_switch_if_its_response_is_given_in_the_other_phase() {
    let over = |phase_us: u64, outcome| {
        let changed = Entry::PhaseChanged { migration: 0, phase: Phase::Switch };
        let cast = caller().cast_in(Phase::Introduce, 100, 1, 1, Work::Question);
        let response = Entry::Responded { call: CallNumber(1), index: 0, content: Content::Right };
        let mut records = [(phase_us, changed), (120, response)];
        records.sort_by_key(|(at_us, _)| *at_us);
        let caller = records.iter().fold(cast, |caller, &(at_us, entry)| caller.add(at_us, entry));
        let caller = caller.answered(160, 1, outcome);
        judge(&run([caller.live(), asker(Content::Right, Some(130)).live()])).witnessed(Witness::QuestionOverSwitch)
    };
    assert_eq!((over(119, Outcome::Reply), over(121, Outcome::Reply)), (1, 0));
    assert_eq!(over(119, Outcome::Down), 0, "its caller was told that it was not served");
}
