//! Histories that are a register's and some that are not, and a search through all orders to compare with.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::*;

fn write(value: u64, began: u64, ended: impl Into<Option<u64>>) -> Operation {
    Operation { began, ended: ended.into(), act: Act::Write(value) }
}

fn read(value: impl Into<Option<u64>>, began: u64, ended: u64) -> Operation {
    Operation { began, ended: Some(ended), act: Act::Read(value.into()) }
}

#[test]
fn what_a_register_may_do_has_an_order() {
    for history in [
        vec![],
        vec![read(None, 1, 2), write(1, 3, 4), read(1, 5, 6)],
        // While a write is under way both are right, in the order of the reads.
        vec![write(1, 1, 2), write(2, 3, 10), read(1, 4, 5), read(2, 6, 7)],
        // Writes that overlap may happen in either order.
        vec![write(1, 1, 5), write(2, 2, 6), read(1, 7, 8), read(1, 9, 10)],
        // One of unknown outcome may happen late, or never.
        vec![write(1, 1, None), write(2, 3, 4), read(2, 5, 6), read(1, 7, 8)],
        vec![write(1, 1, None), write(2, 3, 4), read(2, 5, 6)],
    ] {
        assert_eq!(check(&history), Ok(()), "{history:?}");
    }
}

#[test]
fn what_it_may_not_do_is_found_with_the_operation_that_fits_nowhere() {
    for (history, what) in [
        // Lost.
        (vec![write(1, 1, 2), read(None, 3, 4)], read(None, 3, 4)),
        // Stale.
        (vec![write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)], read(1, 5, 6)),
        // A read that goes back behind another.
        (vec![write(1, 1, 2), write(2, 3, 12), read(2, 4, 5), read(1, 6, 7)], read(1, 6, 7)),
        // Back and forth: one of unknown outcome happens once.
        (vec![write(1, 1, None), write(2, 3, 4), read(1, 5, 6), read(2, 7, 8)], read(2, 7, 8)),
        // Never written, or not yet.
        (vec![write(1, 1, 2), read(7, 3, 4)], read(7, 3, 4)),
        (vec![read(1, 1, 2), write(1, 3, 4)], read(1, 1, 2)),
    ] {
        assert_eq!(check(&history).map_err(|error| error.operation), Err(what), "{history:?}");
    }
}

/// Whether some order of these operations is a register's, found by trying them all.
fn has_order(left: &[Operation], value: Option<u64>) -> bool {
    let must = |operation: &Operation| operation.ended.is_some();
    if !left.iter().any(must) {
        return true;
    }
    let limit = left.iter().filter_map(|operation| operation.ended).min().expect("one must happen");
    (0..left.len()).filter(|&at| left[at].began <= limit).any(|at| {
        let mut rest = left.to_vec();
        match rest.remove(at).act {
            Act::Write(value) => has_order(&rest, Some(value)),
            Act::Read(read) => read == value && has_order(&rest, value),
        }
    })
}

#[test]
fn the_verdict_is_that_of_a_search_through_all_orders() {
    let seed = std::env::var("REXI_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("REXI_SEED={seed}");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut verdicts = [0, 0];
    for _ in 0..5_000 {
        let count = rng.random_range(1..=7);
        let mut times: Vec<u64> = (0..2 * count).collect();
        for at in (1..times.len()).rev() {
            times.swap(at, rng.random_range(0..=at));
        }
        let history: Vec<Operation> = (0..count)
            .map(|number| {
                let (one, two) = (times[2 * number as usize], times[2 * number as usize + 1]);
                let (began, ended) = (one.min(two), one.max(two));
                match rng.random_range(0..5) {
                    0 => write(number, began, None),
                    1 | 2 => write(number, began, ended),
                    _ => read(rng.random_range(0..=count).checked_sub(1), began, ended),
                }
            })
            .collect();
        let verdict = check(&history).is_ok();
        assert_eq!(verdict, has_order(&history, None), "{history:?}");
        verdicts[usize::from(verdict)] += 1;
    }
    assert!(verdicts.iter().all(|&times| times > 500), "both come about: {verdicts:?}");
}

#[test]
fn a_recorder_takes_another_key_in_time_and_checks_each() {
    let mut recorder = Recorder::new(1);
    let mut keys = std::collections::BTreeSet::new();
    for number in 0..1_000 {
        let written = recorder.begin_write(0);
        keys.insert(written.key());
        let body = written.body();
        match number % 100 {
            0 => recorder.unknown(written),
            1 => recorder.without_effect(written),
            _ => {
                let key = written.key();
                recorder.written(written);
                let read = recorder.begin_read(0);
                // The write may have been the last on its key.
                let is_there = read.key() == key;
                recorder.read(read, is_there.then_some(body.as_bytes()));
            }
        }
    }
    let checked = recorder.finish();
    assert!(keys.len() > 9, "{}", keys.len());
    assert_eq!((checked.histories, checked.unknown, &checked.broken[..]), (keys.len() as u64, 10, &[][..]));
}

#[test]
fn a_recorder_tells_of_what_is_not_possible() {
    let mut recorder = Recorder::new(2);
    let written = recorder.begin_write(1);
    recorder.written(written);
    let lost = recorder.begin_read(1);
    recorder.read(lost, None);
    let strange = recorder.begin_read(0);
    recorder.read(strange, Some(b"x"));
    let refused = recorder.begin_write(0);
    let body = refused.body();
    recorder.without_effect(refused);
    let there = recorder.begin_read(0);
    recorder.read(there, Some(body.as_bytes()));
    let checked = recorder.finish();
    assert_eq!(checked.broken.len(), 3, "{checked:#?}");
}
