//! All states met: their fingerprints in the order in which they were met, with what leads to each.
//!
//! 22 bytes a state, and a table of 4 bytes a slot over them, between a third and two thirds full. The table needs no
//! hash of its own, since fingerprints are spread evenly.

use super::fingerprint::Fingerprint;

#[derive(Debug)]
pub(super) struct Seen {
    prints: Vec<u128>,
    /// The state that it was first met from; itself at the start.
    parents: Vec<u32>,
    /// The number of the action among those of its parent.
    actions: Vec<u16>,
    slots: Vec<u32>,
}

/// A slot that nothing stands in.
const FREE: u32 = u32::MAX;

/// As many states as can be numbered.
pub(super) const STATES_MAX: u64 = FREE as u64 - 1;

impl Seen {
    pub(super) fn new() -> Self {
        Self { prints: Vec::new(), parents: Vec::new(), actions: Vec::new(), slots: vec![FREE; 1 << 10] }
    }

    pub(super) fn len(&self) -> u64 {
        self.prints.len() as u64
    }

    pub(super) fn find(&self, print: Fingerprint) -> Option<u32> {
        let index = self.slots[self.slot(print.0)];
        (index != FREE).then_some(index)
    }

    /// Notes a state. `Err`: it was met before, as this one.
    pub(super) fn insert(&mut self, print: Fingerprint, parent: Option<u32>, action: u16) -> Result<u32, u32> {
        let slot = self.slot(print.0);
        if self.slots[slot] != FREE {
            return Err(self.slots[slot]);
        }
        let index = u32::try_from(self.prints.len()).expect("the number of states is bounded below 2^32");
        self.slots[slot] = index;
        self.prints.push(print.0);
        self.parents.push(parent.unwrap_or(index));
        self.actions.push(action);
        if self.prints.len() * 3 > self.slots.len() * 2 {
            self.grow();
        }
        Ok(index)
    }

    /// The numbers of the actions that lead to a state, first to last, behind the number of the state they begin at.
    pub(super) fn way_to(&self, index: u32) -> (u32, Vec<u16>) {
        let (mut at, mut actions) = (index as usize, Vec::new());
        while self.parents[at] as usize != at {
            actions.push(self.actions[at]);
            at = self.parents[at] as usize;
        }
        actions.reverse();
        (u32::try_from(at).expect("it was one"), actions)
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        let bytes = self.prints.capacity() * 16
            + self.parents.capacity() * 4
            + self.actions.capacity() * 2
            + self.slots.len() * 4;
        bytes as u64
    }

    /// Where a fingerprint stands, or would.
    fn slot(&self, print: u128) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = low_bits(print) & mask;
        while self.slots[slot] != FREE && self.prints[self.slots[slot] as usize] != print {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![FREE; mask + 1];
        for (index, &print) in (0..).zip(&self.prints) {
            let mut slot = low_bits(print) & mask;
            while slots[slot] != FREE {
                slot = (slot + 1) & mask;
            }
            slots[slot] = index;
        }
        self.slots = slots;
    }
}

fn low_bits(print: u128) -> usize {
    print as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_is_found_again_and_nothing_else_however_the_table_grows() {
        let mut seen = Seen::new();
        // The same low bits for all of them: the worst case of the table.
        let print = |i: u32| Fingerprint(u128::from(i) << 64);
        for i in 0..3_000 {
            assert_eq!(seen.insert(print(i), i.checked_sub(1), 7), Ok(i));
            assert_eq!(seen.insert(print(i), None, 8), Err(i));
        }
        assert_eq!(seen.len(), 3_000);
        for i in 0..3_000 {
            assert_eq!(seen.find(print(i)), Some(i));
        }
        assert_eq!(seen.find(print(3_000)), None);
        assert_eq!(seen.way_to(3), (0, vec![7, 7, 7]));
        assert_eq!(seen.way_to(0), (0, vec![]));
    }
}
