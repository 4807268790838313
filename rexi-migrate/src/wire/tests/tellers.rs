//! The corpus measures what is reported: tellers that leave something out, and what the corpus says about each.

use std::sync::LazyLock;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use super::corpus::{Case, Score, Told};
use super::edit::EditKind;
use super::edit::{edited, generate};
use super::*;

/// Changes of every kind, each with what an honest teller says of it by carrier: made once, since that takes its time.
static HONEST: LazyLock<Vec<(Case, Vec<Told>)>> = LazyLock::new(|| {
    let honest = |(number, &kind): (u64, &EditKind)| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(number);
        let (old, new) = loop {
            let old = generate(&mut rng);
            if let Some(new) = edited(&old, kind, &mut rng) {
                break (Layout::of(old), Layout::of(new));
            }
        };
        let case = Case { kind, number, old, new };
        (Score::default().judge(&case, &mut rng, &mut |old, new| Told::new(old, new)), case)
    };
    (0..).zip(EditKind::ALL).map(honest).map(|(told, case)| (case, told.into())).collect()
});

/// What the corpus says of a teller: changes missed and false alarms.
fn scored(alter: impl Fn(&mut Told)) -> (usize, usize) {
    let mut score = Score::default();
    for (case, honest) in HONEST.iter() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(case.number);
        let mut honest = honest.iter();
        score.judge(case, &mut rng, &mut |_, _| {
            let mut told = honest.next().expect("one for each carrier").clone();
            alter(&mut told);
            told
        });
    }
    (score.missed.len(), score.false_alarms.len())
}

/// The same of one that has other changes, and tells these as it should.
fn with(alter: impl Fn(&mut Vec<Change>)) -> (usize, usize) {
    scored(|told| {
        alter(&mut told.diff.changes);
        (told.text, told.verdict) = told.diff.told();
    })
}

/// The same of one that has other directions.
fn with_each(alter: impl Fn(&mut Direction)) -> (usize, usize) {
    with(|changes| {
        for change in changes {
            alter(&mut change.old_to_new);
            alter(&mut change.new_to_old);
        }
    })
}

#[test]
fn an_honest_teller_is_believed() {
    assert_eq!(scored(|_| ()), (0, 0));
}

#[test]
fn changes_that_are_not_told_are_missed() {
    assert!(with(Vec::clear).0 >= HONEST.len(), "none is told");
    assert!(with(|all| all.retain(|change| change.kind != ChangeKind::VariantsRemoved)).0 > 0, "those of one kind");
    assert!(with(|all| all.retain(|change| change.effect() > Effect::Safe)).0 > 0, "those that are safe");
    assert!(with(|all| drop((all.len() > 1).then(|| all.remove(0)))).0 > 0, "the first of several");
    assert!(with(|all| all.iter_mut().for_each(|one| one.kind = ChangeKind::Together)).0 > 0, "it is not said which");
}

#[test]
fn breaks_that_are_told_as_less_are_missed_and_more_is_a_false_alarm() {
    assert!(with_each(|way| way.effect = Effect::Safe).0 > 0, "all is safe");
    assert!(with_each(|way| way.effect = way.effect.min(Effect::WhenSent)).0 > 0, "nothing is refused for good");
    assert!(with_each(|way| way.effect = Effect::Silent).1 > 0, "all is misread");
    assert!(with_each(|way| way.bytes = None).1 > 0, "there is no example");
}

#[test]
fn a_text_or_an_exit_code_that_says_otherwise_is_noticed() {
    assert!(scored(|told| told.text.clear()).0 > 0, "no text");
    assert!(scored(|told| told.text = told.text.replace(" changes, ", "0 changes, ")).0 > 0, "another count");
    assert!(scored(|told| told.verdict = Conclusion::Safe).0 > 0, "it ends with 0");
    assert!(scored(|told| told.verdict = Conclusion::Unsafe).1 > 0, "it ends with 1");
}
