//! The numbers of a run: each in its own column, in the whole run and in the step of its cast.

use super::needed::{KINDS, planted};
use super::*;
use crate::history::ledger::{GatherForm, NodeSet};

const SECOND: u64 = 1_000_000;

/// As many calls as it is given numbers, cast one after the other from 100 on.
fn casts(process: Process, calls: std::ops::Range<u64>, work: Work) -> Process {
    calls.fold(process, |process, call| process.cast(100 + call, call, 1, work))
}

fn step(name: &str, from_us: u64, to_us: u64) -> StepWindow {
    StepWindow { name: name.to_owned(), from_us, to_us }
}

/// A run of another number in every column of its first step, one silent call in its second, and one in none.
fn mixed() -> Evidence {
    // Answered 9, of which 7 ran twice; told 5, of which 3 are streams and 2 questions.
    let mut living = casts(caller(), 0..9, Work::Reply);
    let mut jobs = worker();
    for call in 0..9 {
        living = living.answered(700 + call, call, Outcome::Reply);
        for _ in 0..if call < 7 { 2 } else { 1 } {
            jobs = jobs.started(600, id(call), Work::Reply).ended(650, id(call), Ending::Done);
        }
    }
    living = casts(casts(living, 10..13, Work::Stream), 13..15, Work::Question);
    living = (10..15).fold(living, |living, call| living.answered(700, call, Outcome::Down));
    // Killed 4, of which 1 ran on; lost 6.
    living = (20..24).fold(casts(living, 20..24, Work::Hold), |living, call| living.killed(500, call, Phase::Switch));
    jobs = (20..24).fold(jobs, |jobs, call| jobs.started(300, id(call), Work::Hold));
    jobs = (20..23).fold(jobs, |jobs, call| jobs.ended(510, id(call), Ending::Dropped));
    living = casts(living, 30..36, Work::Reply);
    // Gathers 11, given up 10 that stood still, 8 of a caller that died.
    let members: NodeSet = [NodeIndex(1)].into_iter().collect();
    living = (50..61).fold(living, |living, number| {
        let (gather, form) = (CallNumber(number), GatherForm::First);
        let begun = Entry::GatherBegun { gather, form, need: 1, members, limit_ms: 3_000 };
        let votes = NodeSet::default();
        let ended = Entry::GatherEnded { gather, how: GatherEnd::TimedOut, votes, wrong: votes, odd: None };
        living.add(200, begun).add(300, ended)
    });
    let beat = Entry::Beat { waited_us: 0 };
    let still = casts(process(2, "1.1.0", 12), 0..10, Work::Reply).add(200, beat).add(20 * SECOND, beat);
    let still = (0..10).fold(still, |still, call| still.answered(25 * SECOND, call, Outcome::TimedOut));
    let died = casts(process(3, "1.1.0", 13), 0..8, Work::Reply).kill_nine(800);
    let living = living.cast(1_000, 70, 1, Work::Reply).cast(2_000, 71, 1, Work::Reply);
    let mut evidence = run([living.live(), jobs.live(), still.add(26 * SECOND, Entry::Quiet).record(), died]);
    evidence.steps = vec![step("second", 1_000, 2_000), step("first", 100, 1_000)];
    evidence
}

#[test]
fn each_column_of_a_step_counts_what_was_cast_in_it() {
    let first = StepRow {
        name: "first".to_owned(),
        from_us: 100,
        to_us: 1_000,
        casts: 42,
        casts_per_second: 42.0 / 900e-6,
        answered: 9,
        told: 5,
        killed: 4,
        lost: 6,
        caller_died: 8,
        stood_still: 10,
        twice: 7,
        orphans: 1,
        streams: 3,
        questions: 2,
        gathers: 11,
    };
    let silent = StepRow { casts: 1, lost: 1, ..StepRow::default() };
    let (name, from_us, to_us) = ("second".to_owned(), 1_000, 2_000);
    let second = StepRow { name, from_us, to_us, casts_per_second: 1_000.0, ..silent.clone() };
    let outside = StepRow { name: "outside every step".to_owned(), ..silent };
    let mut steps = judge(&mixed()).steps;
    let rate = &mut steps[0].casts_per_second;
    assert!((*rate - first.casts_per_second).abs() < 1e-6, "{rate}");
    *rate = first.casts_per_second;
    assert_eq!(steps, [first, second, outside]);
}

#[test]
fn each_column_of_the_run_counts_what_it_says() {
    let expected = Counts {
        processes: 4,
        records: 0,
        casts: 44,
        answered: 9,
        told: 5,
        killed: 4,
        lost: 8,
        caller_died: 8,
        stood_still: 10,
        timed_out: 10,
        jobs: 20,
        executed_twice: 7,
        orphans: 1,
        orphan_max_us: 899_500,
        gathers: 11,
        ..Counts::default()
    };
    let judgement = judge(&mixed());
    let records = mixed().processes.iter().filter_map(|p| p.ledger.as_ref().ok()).map(|l| l.records.len() as u64).sum();
    assert_eq!(judgement.counts, Counts { records, ..expected });
    let outcomes = [(Outcome::Reply, 9), (Outcome::Down, 5), (Outcome::TimedOut, 10)];
    assert_eq!(judgement.outcomes, BTreeMap::from(outcomes));
    assert_eq!(judgement.gathers, BTreeMap::from([(GatherEnd::TimedOut, 11)]));
}

/// The columns that count findings.
type Column = (&'static str, fn(&Counts) -> u64);

const COLUMNS: [Column; 12] = [
    ("lost", |counts| counts.lost),
    ("executed_twice", |counts| counts.executed_twice),
    ("orphans", |counts| counts.orphans),
    ("wrong", |counts| counts.wrong),
    ("reply_without_job", |counts| counts.reply_without_job),
    ("job_without_call", |counts| counts.job_without_call),
    ("answered_twice", |counts| counts.answered_twice),
    ("refused", |counts| counts.refused),
    ("crashed", |counts| counts.crashed),
    ("streams_broken", |counts| counts.streams_broken),
    ("questions_astray", |counts| counts.questions_astray),
    ("gathers_broken", |counts| counts.gathers_broken),
];

#[test]
fn each_finding_counts_in_its_column_and_in_no_other() {
    use FindingKind as K;
    for &kind in KINDS {
        let column = match kind {
            K::Lost | K::StreamSilent => "lost",
            K::ExecutedTwice => "executed_twice",
            K::OrphanAfterKill | K::Orphan => "orphans",
            K::WrongReply | K::UnfitAnswer | K::UnaskedExit | K::AnswerUnlikeJob | K::JobUnlikeCall => "wrong",
            K::ReplyWithoutJob => "reply_without_job",
            K::JobWithoutCall => "job_without_call",
            K::AnsweredTwice => "answered_twice",
            K::NoSuchServer | K::NoSuchFunction => "refused",
            K::Crashed => "crashed",
            K::ItemGap | K::ItemTwice | K::ItemReordered | K::WrongItem | K::ItemUnsent => "streams_broken",
            K::ItemAfterEnd | K::StreamShort | K::AckAstray => "streams_broken",
            K::QuestionAstray | K::ResponseAstray => "questions_astray",
            K::GatherLate | K::QuorumContradicted => "gathers_broken",
            K::EndedUnkilled | K::MonitorUnserved | K::MonitorSilent => "",
        };
        let counts = judge(&planted(kind)).counts;
        for (name, of) in COLUMNS {
            assert_eq!(of(&counts), u64::from(name == column), "{kind:?} in {name}");
        }
    }
}

#[test]
fn what_is_outside_every_step_has_a_row_whatever_it_is() {
    let begun = |at_us| {
        let (gather, members) = (CallNumber(9), [NodeIndex(1)].into_iter().collect());
        Entry::GatherBegun { gather, form: GatherForm::First, need: 1, members, limit_ms: at_us }
    };
    let inside = |caller: Process| caller.cast(150, 1, 1, Work::Reply).answered(160, 1, Outcome::Down);
    let rows = |caller: Process, worker: Process| {
        let mut evidence = run([inside(caller).live(), worker.live()]);
        evidence.steps = vec![step("one", 100, 200)];
        let rows = judge(&evidence).steps;
        rows.iter().map(|row| (row.casts, row.orphans, row.gathers)).collect::<Vec<_>>()
    };
    assert_eq!(rows(caller(), worker()), [(1, 0, 0)], "nothing is");
    let unknown = CallId { incarnation: Incarnation(5), ..id(1) };
    assert_eq!(rows(caller(), worker().started(90, unknown, Work::Hold)), [(1, 0, 0), (0, 1, 0)], "a job that ran on");
    assert_eq!(rows(caller().add(90, begun(1)), worker()), [(1, 0, 0), (0, 0, 1)], "a gather");
    assert_eq!(rows(caller().cast(90, 2, 1, Work::Reply), worker()), [(1, 0, 0), (1, 0, 0)], "a cast");
}

#[test]
fn a_call_belongs_to_the_last_step_that_contains_its_time() {
    let of = |steps: &[(u64, u64)], cast_us| {
        let mut evidence = run([caller().cast(cast_us, 1, 1, Work::Reply).live(), worker().live()]);
        let steps = steps.iter().map(|&(from_us, to_us)| step(&format!("{from_us} to {to_us}"), from_us, to_us));
        evidence.steps = steps.collect();
        let rows = judge(&evidence).steps;
        assert!(rows.iter().all(|row| row.casts_per_second.is_finite()), "{rows:?}");
        rows.into_iter().find(|row| row.casts == 1).expect("it is somewhere").name
    };
    let one = [(100, 200)];
    assert_eq!([99, 100, 199, 200].map(|at| of(&one, at) == "100 to 200"), [false, true, true, false]);
    let within = [(100, 300), (150, 200)];
    assert_eq!(
        [149, 150, 199, 200].map(|at| of(&within, at)),
        ["100 to 300", "150 to 200", "150 to 200", "100 to 300"]
    );
    assert_eq!(of(&[(100, 300), (100, 200)], 150), "100 to 300", "of two that begin together, the longer one");
    assert_eq!(of(&[(150, 150), (100, 200)], 150), "100 to 200", "one without a time contains nothing");
}
