//! What the fuzz targets check, on every build: their seeds, and the seeds with bytes changed by chance.
//!
//! `docs/fuzzing.md` says how to let a fuzzer look for more.

use std::panic::{AssertUnwindSafe, catch_unwind};

#[allow(dead_code, reason = "what is refused begins nothing")]
#[path = "../rexi-proto/tests/wire_golden/golden.rs"]
mod golden;
#[path = "../fuzz/checks/hello.rs"]
mod hello;
#[path = "../fuzz/checks/lane.rs"]
mod lane;
#[path = "../fuzz/checks/ledger.rs"]
mod ledger;
#[path = "../fuzz/checks/payload.rs"]
mod payload;
#[allow(dead_code, reason = "broken variants are tried elsewhere")]
#[path = "../fuzz/checks/peer.rs"]
mod peer;
#[path = "../fuzz/checks/texts.rs"]
mod texts;

/// Bytes that are drawn by chance: splitmix64.
struct Chance(u64);

impl Chance {
    fn draw(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below as u64).expect("it is below a usize")
    }

    /// One of the seeds, with a few bytes exchanged, taken out or put in.
    fn change(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.draw(seeds.len())].clone();
        for _ in 0..=self.draw(4) {
            let (at, byte) = (self.draw(bytes.len() + 1), INTERESTING[self.draw(INTERESTING.len())]);
            let byte = if self.draw(2) == 0 { byte } else { self.draw(256) as u8 };
            match self.draw(4) {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.truncate(at),
                _ => bytes.get_mut(at).into_iter().for_each(|old| *old = byte),
            }
        }
        bytes
    }
}

/// The least and the most of a byte, of a varint's byte and of a small list.
const INTERESTING: [u8; 8] = [0, 1, 2, 0x3f, 0x7f, 0x80, 0xfe, 0xff];

const ROUNDS: usize = 4_000;

/// A number that a variable may give.
fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().expect("a number"))
}

/// Checks the seeds as they are, then changed ones.
fn holds(check: fn(&[u8]), seeds: &[Vec<u8>]) {
    seeds.iter().for_each(|seed| check(seed));
    let seed = given("REXI_FUZZ_SEED").unwrap_or_else(|| std::process::id().into());
    let rounds = given("REXI_FUZZ_ROUNDS").map_or(ROUNDS, |rounds| usize::try_from(rounds).expect("a few"));
    let mut chance = Chance(seed);
    for _ in 0..rounds {
        let bytes = chance.change(seeds);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&bytes))) {
            eprintln!("{bytes:?}; again: REXI_FUZZ_SEED={seed} cargo test -p rexi-tests --test behaviour fuzz::");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn whatever_a_connection_begins_with_is_refused_or_written_again_as_it_came() {
    holds(hello::check, &hello::seeds());
}

#[test]
fn whatever_comes_on_a_lane_is_refused_or_written_again_as_it_came() {
    holds(lane::check, &lane::seeds());
}

#[test]
fn whatever_befalls_two_nodes_each_keeps_to_its_bounds_and_every_call_comes_to_its_end() {
    holds(peer::check, &peer::seeds());
}

#[test]
fn whatever_is_taken_for_a_typed_payload_is_refused_or_written_again_as_it_came() {
    holds(payload::check, &payload::seeds());
}

#[test]
fn whatever_is_taken_for_a_text_of_ours_is_refused_or_agrees_with_itself() {
    holds(texts::check, &texts::seeds());
}

#[test]
fn whatever_is_taken_for_a_record_is_damaged_or_written_again_as_it_came() {
    holds(ledger::check, &ledger::seeds());
}
