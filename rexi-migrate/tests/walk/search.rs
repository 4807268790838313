//! Random runs from a seed, and the shortest one that still breaks what the first of them broke.
//!
//! Run `n` of a seed is always the same, whatever was run before it. Operations are total, so a part of a run is a run;
//! shrinking leaves out whatever it can and then makes numbers small.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rexi_proto::Mutants;

use super::{Op, Walk};

/// A cluster's releases, by their places in the train, and what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) releases: Vec<u8>,
    pub(crate) ops: Vec<Op>,
}

/// A run that breaks an invariant.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The invariant and what happened.
    pub(crate) what: String,
    pub(crate) run: Run,
    /// Which run of the seed it was, before it was shrunk.
    pub(crate) case: u64,
}

/// How often each case that matters was met.
pub(crate) type Seen = BTreeMap<&'static str, u64>;

/// The first of `cases` runs of `seed` that breaks one of `invariants`, as short as it gets. Others are passed over; if
/// none is named, any counts.
pub(crate) fn search(mutants: Mutants, seed: u64, cases: u64, invariants: &[&str], seen: &mut Seen) -> Option<Found> {
    for case in 0..cases {
        let run = Run::drawn(seed, case);
        let Err(what) = run.outcome(mutants, invariants, seen) else { continue };
        let of = |what: &str| what.split(':').next().unwrap_or_default().to_owned();
        let outcome = |run: &Run| run.outcome(mutants, invariants, &mut Seen::new());
        let run = run.shrunk(|run| outcome(run).is_err_and(|other| of(&other) == of(&what)));
        let what = outcome(&run).err().unwrap_or(what);
        return Some(Found { what, run, case });
    }
    None
}

impl Run {
    /// Run `case` of `seed`.
    pub(crate) fn drawn(seed: u64, case: u64) -> Self {
        let mut draw = Draw(seed ^ case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Neighbouring releases, mostly: what lies further apart only meets refusals.
        let nodes = 2 + draw.below(2);
        let releases = if draw.below(5) == 0 {
            (0..nodes).map(|_| draw.below(4)).collect()
        } else {
            let base = [0, 1, 1, 1, 2, 2, 2][usize::from(draw.below(7))];
            (0..nodes).map(|_| base + draw.below(2)).collect()
        };
        let mut ops = Vec::new();
        if draw.below(5) > 0 {
            ops.push(Op::Open);
        }
        let count = 1 + draw.below(OPS_MAX);
        // Half of the runs do without half of the kinds: what is rare among all is frequent among few.
        let kinds = if draw.flag() { u64::MAX } else { draw.next() };
        ops.extend((0..count).map(|_| op(&mut draw, kinds)));
        Self { releases, ops }
    }

    /// Runs it; a panic is a broken promise like any other.
    pub(crate) fn outcome(&self, mutants: Mutants, invariants: &[&str], seen: &mut Seen) -> Result<(), String> {
        let run = || {
            let mut walk = Walk::new(&self.releases, mutants, invariants);
            let result = walk.run(&self.ops, &mut |_, _| {});
            (result, walk.seen)
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok((result, met)) => {
                met.into_iter().for_each(|(what, times)| *seen.entry(what).or_default() += times);
                result
            }
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Err(format!("L1: a node panicked: {text}"))
            }
        }
    }

    /// The same run again: each operation, and what it has changed.
    pub(crate) fn told(&self, mutants: Mutants) -> Vec<String> {
        let (mut told, mut before) = (Vec::new(), Walk::new(&self.releases, mutants, &[]).state());
        let mut tell = |walk: &Walk, op: &Op| {
            told.push(format!("{op:?}"));
            let after = walk.state();
            told.extend(after.iter().filter(|line| !before.contains(line)).map(|line| format!("    {line}")));
            before = after;
        };
        // What it comes to is known; a panic leaves what happened up to there.
        let run = || Walk::new(&self.releases, mutants, &[]).run(&self.ops, &mut tell);
        let _ = catch_unwind(AssertUnwindSafe(run));
        told
    }

    fn shrunk(self, mut breaks: impl FnMut(&Self) -> bool) -> Self {
        let mut best = self;
        // First large parts, then single operations, until none can be left out.
        let mut part = best.ops.len().div_ceil(2).max(1);
        loop {
            let (mut at, before) = (0, best.ops.len());
            while at < best.ops.len() {
                let mut shorter = best.clone();
                shorter.ops.drain(at..(at + part).min(best.ops.len()));
                if breaks(&shorter) {
                    best = shorter;
                } else {
                    at += part;
                }
            }
            if part == 1 && best.ops.len() == before {
                break;
            }
            part = part.div_ceil(2).max(1);
        }
        let mut fewer = best.clone();
        fewer.releases.truncate(2);
        if breaks(&fewer) { fewer } else { best }
    }
}

/// Operations of one run.
const OPS_MAX: u8 = 100;

/// SplitMix64: each number follows from the last, so a run follows from its seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u8) -> u8 {
        (self.next() % u64::from(bound)) as u8
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// One operation of `kinds`, a bit each; each kind as often as its weight has it.
fn op(draw: &mut Draw, kinds: u64) -> Op {
    let drawn = || KINDS.iter().enumerate().filter(|(place, _)| kinds >> place & 1 == 1).map(|(_, kind)| kind);
    let weights = drawn().map(|&(weight, _)| u64::from(weight)).sum::<u64>().max(1);
    let mut left = draw.next() % weights;
    for &(weight, make) in drawn() {
        if left < u64::from(weight) {
            return make(draw);
        }
        left -= u64::from(weight);
    }
    Op::Exchange
}

/// A kind of operation: how often, and how it is drawn.
type Kind = (u8, fn(&mut Draw) -> Op);

const KINDS: [Kind; 34] = [
    (10, |d| Op::Cast { from: d.below(3), to: d.below(3), bulk: d.flag(), times: times(d) }),
    (6, |d| Op::Kill { node: d.below(3), pick: d.below(6) }),
    (2, |d| Op::KillAll { from: d.below(3), to: d.below(3) }),
    (2, |d| Op::Monitor { from: d.below(3), to: d.below(3) }),
    (1, |d| Op::Demonitor { pick: d.below(6) }),
    (6, |d| Op::Reply { node: d.below(3), pick: d.below(6), bulk: d.flag(), times: 1 + d.below(9) }),
    (6, |d| Op::Item { node: d.below(3), pick: d.below(6), bulk: d.flag(), times: 1 + d.below(4) }),
    (2, |d| Op::Question { node: d.below(3), pick: d.below(6), bulk: d.flag() }),
    (5, |d| Op::Start { node: d.below(3), pick: d.below(6) }),
    (1, |d| Op::Cancel { node: d.below(3), pick: d.below(6) }),
    (4, |d| Op::Ack { node: d.below(3), pick: d.below(6) }),
    (2, |d| Op::Respond { node: d.below(3), pick: d.below(6), bulk: d.flag() }),
    (1, |d| Op::Ping { node: d.below(3), pick: d.below(6) }),
    (6, |d| Op::End { node: d.below(3), pick: d.below(6), how: d.below(4) }),
    (4, |d| Op::Singleton { node: d.below(3), steps: 1 + d.below(3) }),
    (4, |d| Op::Dial { a: d.below(3), b: d.below(3) }),
    (4, |d| Op::Hello { wire: d.below(4), side: d.flag() }),
    (4, |d| Op::Connect { wire: d.below(4), side: d.flag() }),
    (6, |d| Op::Flush { wire: d.below(4), side: d.flag() }),
    (4, |d| Op::Deliver { wire: d.below(4), side: d.flag(), bytes: 255 }),
    (4, |d| Op::Deliver { wire: d.below(4), side: d.flag(), bytes: 1 + d.below(39) }),
    (5, |d| Op::DeliverBulk { wire: d.below(4), side: d.flag(), pick: d.below(6) }),
    (1, |d| Op::UnknownFrame { wire: d.below(4), side: d.flag() }),
    (1, |d| Op::LongFrame { wire: d.below(4), side: d.flag() }),
    (12, |_| Op::Exchange),
    (3, |d| Op::Cut { wire: d.below(4) }),
    (5, |d| Op::Notice { wire: d.below(4), side: d.flag() }),
    (1, |d| Op::Crash { node: d.below(3) }),
    (2, |d| Op::Restart { node: d.below(3), step: d.below(4) }),
    (1, |d| Op::Drain { node: d.below(3) }),
    (1, |d| Op::Depart { node: d.below(3) }),
    (7, |d| Op::Ceiling { node: d.below(3), phase: 1 + d.below(4) }),
    (1, |_| Op::Open),
    (2, |d| Op::Advance { seconds: 1 + d.below(16) }),
];

fn times(draw: &mut Draw) -> u8 {
    if draw.below(5) == 0 { 2 + draw.below(7) } else { 1 }
}
