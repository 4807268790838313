//! A run that is judged from rest to rest: its slices as one judgement, and what would come late over such a rest.

use super::*;
use crate::history::judge::Sum;
use crate::verdict::case::Requirement;

fn sum(slices: &[Evidence], required: &[Requirement]) -> Judgement {
    let mut sum = Sum::default();
    slices.iter().for_each(|slice| sum.add(&judge(slice)));
    sum.judgement(2, required)
}

fn slice() -> Evidence {
    run([served(Work::Reply).0.live(), served(Work::Reply).1.live()])
}

#[test]
fn two_slices_are_one_run_and_its_processes_are_counted_once() {
    let whole = judge(&slice());
    let both = sum(&[slice(), slice()], &[]);
    assert_eq!(both.verdict, Verdict::Safe);
    let Counts { processes, records, casts, answered, jobs, orphan_max_us, .. } = both.counts;
    assert_eq!((processes, casts, answered, jobs), (2, 2, 2, 2));
    assert_eq!((records, orphan_max_us), (2 * whole.counts.records, whole.counts.orphan_max_us));
    assert_eq!(both.outcomes[&Outcome::Reply], 2);
    assert_eq!(both.witnessed(Witness::PerNodeJob), 2 * whole.witnessed(Witness::PerNodeJob));
    assert_eq!(sum(&[slice()], &[]).counts, Counts { processes: 2, ..whole.counts });
}

#[test]
fn what_one_slice_has_the_run_has_and_a_case_has_to_be_met_in_all_of_them_together() {
    let lost = || run([caller().cast(100, 1, 1, Work::Reply).live(), worker().live()]);
    let judged = sum(&[slice(), lost(), lost()], &[]);
    assert_eq!((judged.findings().len(), judged.findings()[0].count, judged.counts.lost), (1, 2, 2));
    assert_eq!(judged.findings()[0].examples.len(), 2);
    let doubtful = run([caller().record(), worker().live()]);
    let judged = sum(&[slice(), doubtful], &[]);
    let Verdict::CouldNotTell(doubts) = judged.verdict else { panic!("{judged:?}") };
    assert!(doubts.iter().all(|doubt| doubt.starts_with("slice 2: ")), "{doubts:?}");
    let killed = run([served(Work::Reply).0.kill_nine(500), served(Work::Reply).1.live()]);
    let needs = |at_least| [Requirement { witness: Witness::KillNine, at_least }];
    assert_eq!(sum(&[slice(), killed], &needs(1)).verdict, Verdict::Safe);
    assert!(matches!(sum(&[slice(), slice()], &needs(1)).verdict, Verdict::CouldNotTell(_)));
}

#[test]
fn a_step_that_lies_in_two_slices_is_one() {
    let part = |to_us| {
        let steps = vec![StepWindow { name: "soak".to_owned(), from_us: 50, to_us }];
        judge(&Evidence { steps, ..slice() })
    };
    let mut sum = Sum::default();
    [part(1_050), part(2_050)].iter().for_each(|slice| sum.add(slice));
    let steps = sum.judgement(2, &[]).steps;
    assert_eq!((steps.len(), steps[0].casts, steps[0].to_us), (1, 2, 2_050));
    assert!((steps[0].casts_per_second - 1_000.0).abs() < 1e-9, "{steps:?}");
}

#[test]
fn what_comes_late_over_a_rest_is_seen_in_the_next_slice() {
    let answer = run([caller().answered(130, 1, Outcome::Reply).live(), worker().live()]);
    let doubts = judge(&answer).doubts.join("\n");
    assert!(doubts.contains("answers or kills of calls that it never made"), "{doubts}");
    let job = run([caller().live(), worker().started(110, id(1), Work::Reply).ended(120, id(1), Ending::Done).live()]);
    assert_eq!(found(&job), [(FindingKind::JobWithoutCall, 1)]);
    let end = run([caller().live(), worker().ended(120, id(1), Ending::Done).live()]);
    assert!(judge(&end).doubts.join("\n").contains("ends of jobs that it never started"));
}
