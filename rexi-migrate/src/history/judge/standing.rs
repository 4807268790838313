//! Standing still: when the machine let a process run so little that its lateness means nothing.
//!
//! In: the beats of a process's ledger. Out: how long it stood still between two times, at most. A process that was
//! stopped shows a gap between two beats, one that had to wait for a core says for how long. What takes too long only
//! because of that is not a finding: `doubt.rs` says so instead.

use crate::history::evidence::ProcessEnd;
use crate::history::ledger::{BEAT, Entry, Record};

/// When one process stood still.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// In order, and none overlaps the next.
    stretches: Vec<Stretch>,
    /// How long it stood still in all stretches before the one of the same index.
    sums_us: Vec<u64>,
}

/// The time between two beats, and how much of it the process stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    pub(super) stood_us: u64,
}

impl Standing {
    pub(super) fn new(records: &[Record], end: ProcessEnd) -> Self {
        let mut standing = Self::default();
        let mut last_us = None;
        for record in records {
            let Entry::Beat { waited_us } = record.entry else { continue };
            if let Some(from_us) = last_us.replace(record.at_us) {
                standing.add(from_us, record.at_us, waited_us);
            }
        }
        // One that was stopped and then killed has no beat behind the gap.
        if let (Some(from_us), ProcessEnd::KilledNine { at_us } | ProcessEnd::Crashed { at_us }) = (last_us, end) {
            standing.add(from_us, at_us, 0);
        }
        standing
    }

    fn add(&mut self, from_us: u64, to_us: u64, waited_us: u64) {
        let gap_us = to_us.saturating_sub(from_us);
        let stood_us = gap_us.saturating_sub(BEAT_US).max(waited_us).min(gap_us);
        if stood_us > 0 {
            let before_us = self.stood_us();
            self.sums_us.push(before_us);
            self.stretches.push(Stretch { from_us, to_us, stood_us });
        }
    }

    /// How long it stood still in all.
    pub(super) fn stood_us(&self) -> u64 {
        match (self.sums_us.last(), self.stretches.last()) {
            (Some(before_us), Some(last)) => before_us + last.stood_us,
            _ => 0,
        }
    }

    /// How long it stood still between two times, at most: where in a stretch it did is not known.
    pub(super) fn between_us(&self, from_us: u64, to_us: u64) -> u64 {
        let first = self.stretches.partition_point(|stretch| stretch.to_us <= from_us);
        let end = self.stretches.partition_point(|stretch| stretch.from_us < to_us);
        let of = |stretch: &Stretch| {
            let overlap_us = stretch.to_us.min(to_us).saturating_sub(stretch.from_us.max(from_us));
            stretch.stood_us.min(overlap_us)
        };
        match end.saturating_sub(first) {
            0 => 0,
            1 => of(&self.stretches[first]),
            _ => {
                let (head, tail) = (&self.stretches[first], &self.stretches[end - 1]);
                of(head) + (self.sums_us[end - 1] - self.sums_us[first + 1]) + of(tail)
            }
        }
    }

    /// The stretch in which it stood still for longest, by this measure of one.
    pub(super) fn longest_by(&self, measure: impl Fn(&Stretch) -> u64) -> Option<Stretch> {
        self.stretches.iter().copied().max_by_key(measure)
    }
}

const BEAT_US: u64 = BEAT.as_millis() as u64 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// A process whose beats come at these times, in tenths of a second, each with how long it had waited, in
    /// milliseconds.
    fn standing(beats: &[(u64, u64)], end: ProcessEnd) -> Standing {
        let record = |&(at, waited): &(u64, u64)| Record {
            at_us: at * 100_000,
            entry: Entry::Beat { waited_us: waited * 1_000 },
        };
        Standing::new(&beats.iter().map(record).collect::<Vec<_>>(), end)
    }

    #[test]
    fn a_gap_between_beats_and_a_wait_for_a_core_are_time_that_a_process_stood_still() {
        let live = ProcessEnd::LiveAtEnd;
        let stood = standing(&[(1, 0), (2, 0), (92, 0), (93, 0), (94, 60), (95, 0)], live);
        assert_eq!(stood.stood_us(), 8_900_000 + 60_000);
        let longest = Stretch { from_us: 200_000, to_us: 9_200_000, stood_us: 8_900_000 };
        assert_eq!(stood.longest_by(|stretch| stretch.stood_us), Some(longest));
        for (from_us, to_us, between_us) in [
            (0, 200_000, 0),
            (0, 10_000_000, 8_960_000),
            (1_000_000, 2_000_000, 1_000_000),
            (9_150_000, 9_300_000, 50_000),
            (9_310_000, 9_330_000, 20_000),
            (100_000, 9_390_000, 8_960_000),
            (9_400_000, 20_000_000, 0),
        ] {
            assert_eq!(stood.between_us(from_us, to_us), between_us, "{from_us} to {to_us}");
        }
        let thrice = standing(&[(0, 0), (11, 0), (22, 0), (33, 0), (44, 0)], live);
        assert_eq!(thrice.between_us(500_000, 4_000_000), 600_000 + 2_000_000 + 700_000);
        assert_eq!(thrice.between_us(0, 9_000_000), 4_000_000);
    }

    #[test]
    fn who_is_stopped_and_killed_stood_still_until_then_and_who_has_no_beat_never_did() {
        let killed = ProcessEnd::KilledNine { at_us: 5_000_000 };
        assert_eq!(standing(&[(1, 0)], killed).between_us(0, 9_000_000), 4_800_000);
        assert_eq!(standing(&[(1, 0)], ProcessEnd::LiveAtEnd).stood_us(), 0);
        assert_eq!(standing(&[], killed).stood_us(), 0);
    }
}
