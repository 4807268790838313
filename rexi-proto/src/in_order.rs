//! A map in order whose new keys are mostly above all others, and whose old ones mostly go first: calls, and the jobs
//! of one caller. What comes and goes so costs a few steps of a queue; any other key is as dear as in a tree.
//!
//! It is the same map, to whoever compares or hashes it, however its entries came.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;

/// Values by key, in the order of the keys.
#[derive(Clone, Debug)]
pub(crate) struct InOrder<K, V> {
    /// Ascending. What was taken out of the middle leaves a gap; the first and the last are none.
    row: VecDeque<(K, Option<V>)>,
    /// Those of the row that are no gaps.
    live: usize,
    /// Those that came when a higher key was there.
    late: BTreeMap<K, V>,
}

impl<K: Copy + Ord, V> InOrder<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.live + self.late.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self.place(key) {
            Some(place) => self.row[place].1.as_ref(),
            None => self.late.get(key),
        }
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self.place(key) {
            Some(place) => self.row[place].1.as_mut(),
            None => self.late.get_mut(key),
        }
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Adds a value. `false`: its key has one, which stays.
    pub(crate) fn insert(&mut self, key: K, value: V) -> bool {
        if !self.late.is_empty() && self.late.contains_key(&key) {
            return false;
        }
        if self.row.back().is_none_or(|(last, _)| *last < key) {
            self.row.push_back((key, Some(value)));
            self.live += 1;
            return true;
        }
        let Some(place) = self.place(&key) else { return self.late.insert(key, value).is_none() };
        let gap = &mut self.row[place].1;
        if gap.is_some() {
            return false;
        }
        *gap = Some(value);
        self.live += 1;
        true
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_if(key, |_| true)
    }

    /// Takes a value out that is so.
    pub(crate) fn remove_if(&mut self, key: &K, is: impl FnOnce(&V) -> bool) -> Option<V> {
        let Some(place) = self.place(key) else {
            return if self.late.get(key).is_some_and(is) { self.late.remove(key) } else { None };
        };
        let removed = self.row[place].1.take_if(|value| is(value))?;
        self.live -= 1;
        self.close_gaps();
        Some(removed)
    }

    /// All entries, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        merged(self.row.iter(), self.late.iter())
    }

    /// Those within the range.
    pub(crate) fn range(&self, keys: RangeInclusive<K>) -> impl Iterator<Item = (&K, &V)> {
        let from = self.row.partition_point(|(key, _)| key < keys.start());
        let to = self.row.partition_point(|(key, _)| key <= keys.end());
        merged(self.row.range(from..to), self.late.range(keys))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in any order.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.row.iter_mut().filter_map(|(_, value)| value.as_mut()).chain(self.late.values_mut())
    }

    /// Takes out those that are so, in the order of their keys.
    pub(crate) fn take_out(&mut self, is: impl Fn(&K, &V) -> bool) -> Vec<(K, V)> {
        let keys: Vec<K> = self.iter().filter(|(key, value)| is(key, value)).map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| Some((key, self.remove(&key)?))).collect()
    }

    /// Takes all out, in the order of their keys.
    pub(crate) fn take_all(&mut self) -> Vec<(K, V)> {
        let Self { row, late, .. } = std::mem::take(self);
        let mut all: Vec<(K, V)> = row.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        if !late.is_empty() {
            all.extend(late);
            all.sort_unstable_by_key(|(key, _)| *key);
        }
        all
    }

    /// Where a key of the row is, or was.
    fn place(&self, key: &K) -> Option<usize> {
        match self.row.front() {
            Some((first, _)) if first == key => Some(0),
            Some((first, _)) if first < key => match self.row.back() {
                Some((last, _)) if last == key => Some(self.row.len() - 1),
                _ => self.row.binary_search_by(|(of, _)| of.cmp(key)).ok(),
            },
            _ => None,
        }
    }

    fn close_gaps(&mut self) {
        while self.row.pop_front_if(|(_, value)| value.is_none()).is_some() {}
        while self.row.pop_back_if(|(_, value)| value.is_none()).is_some() {}
        if self.row.len() > 2 * self.live + GAPS_MAX {
            self.row.retain(|(_, value)| value.is_some());
        }
        let capacity = self.row.capacity();
        if capacity > KEPT_MAX && self.row.len() < capacity / 8 {
            self.row.shrink_to(capacity / 4);
        }
    }
}

/// What is no gap, and what came late, in the order of the keys.
fn merged<'a, K: Ord + 'a, V: 'a>(
    row: impl Iterator<Item = &'a (K, Option<V>)>,
    late: impl Iterator<Item = (&'a K, &'a V)>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let mut row = row.filter_map(|(key, value)| Some((key, value.as_ref()?))).peekable();
    let mut late = late.peekable();
    std::iter::from_fn(move || match (row.peek(), late.peek()) {
        (Some((of_row, _)), Some((of_late, _))) if of_late < of_row => late.next(),
        (Some(_), _) => row.next(),
        (None, _) => late.next(),
    })
}

impl<K, V> Default for InOrder<K, V> {
    fn default() -> Self {
        Self { row: VecDeque::new(), live: 0, late: BTreeMap::new() }
    }
}

impl<K: Copy + Ord, V> FromIterator<(K, V)> for InOrder<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        entries.into_iter().for_each(|(key, value)| _ = map.insert(key, value));
        map
    }
}

impl<K: Copy + Ord, V: PartialEq> PartialEq for InOrder<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Copy + Ord, V: Eq> Eq for InOrder<K, V> {}

impl<K: Copy + Ord + Hash, V: Hash> Hash for InOrder<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.iter().for_each(|entry| entry.hash(state));
    }
}

/// Gaps that are left, beside as many as there are entries.
const GAPS_MAX: usize = 32;

/// Entries for which room is kept when they are gone.
const KEPT_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8),
        /// As a caller does: above all that came.
        Append,
        Remove(u8),
        /// As a server does: the oldest.
        RemoveFirst,
        TakeOut(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u8>().prop_map(Step::Insert),
            Just(Step::Append),
            Just(Step::Append),
            any::<u8>().prop_map(Step::Remove),
            Just(Step::RemoveFirst),
            (1..5_u8).prop_map(Step::TakeOut),
        ]
    }

    proptest! {
        #[test]
        fn it_is_the_map_that_a_tree_is(steps in prop::collection::vec(step(), 0..200)) {
            let (mut map, mut tree, mut next) = (InOrder::default(), BTreeMap::new(), 256_u64);
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(key) => {
                        let is_new = !tree.contains_key(&u64::from(key));
                        tree.entry(key.into()).or_insert(number);
                        prop_assert_eq!(map.insert(key.into(), number), is_new);
                    }
                    Step::Append => {
                        next += 1;
                        tree.insert(next, number);
                        prop_assert!(map.insert(next, number));
                    }
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key.into()), tree.remove(&key.into())),
                    Step::RemoveFirst => {
                        if let Some((first, value)) = tree.pop_first() {
                            prop_assert_eq!(map.remove_if(&first, |_| false), None);
                            prop_assert_eq!(map.remove_if(&first, |_| true), Some(value));
                        }
                    }
                    Step::TakeOut(every) => {
                        let is = |key: &u64| key.is_multiple_of(every.into());
                        let out: Vec<_> = tree.extract_if(.., |key, _| is(key)).collect();
                        prop_assert_eq!(map.take_out(|key, _| is(key)), out);
                    }
                }
                prop_assert_eq!(map.len(), tree.len());
                prop_assert!(map.row.len() <= 2 * map.live + GAPS_MAX, "{:?}", map.row);
                prop_assert!(map.iter().eq(tree.iter()));
            }
            prop_assert!(map.range(100..=300).eq(tree.range(100..=300)));
            prop_assert!(tree.iter().all(|(key, value)| map.get(key) == Some(value)));
            // The same map, whichever way it came to be.
            let anew: InOrder<_, _> = tree.iter().rev().map(|(&key, &value)| (key, value)).collect();
            prop_assert_eq!(&anew, &map);
            let hash = |map: &InOrder<u64, usize>| {
                let mut hasher = std::hash::DefaultHasher::new();
                map.hash(&mut hasher);
                hasher.finish()
            };
            prop_assert_eq!(hash(&anew), hash(&map));
            prop_assert_eq!(map.take_all(), tree.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn room_for_many_is_given_back_once_they_are_gone() {
        let mut map: InOrder<u64, u64> = (0..100_000).map(|key| (key, key)).collect();
        (0..100_000).for_each(|key| assert_eq!(map.remove(&key), Some(key)));
        assert!(map.row.capacity() <= 2 * KEPT_MAX, "{}", map.row.capacity());
    }
}
