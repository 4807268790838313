//! A queue, a map and a set that keep one entry in place and allocate only for a second: most mailboxes serve one call
//! with one answer, and are made and dropped for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// First in, first out.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    first: Option<T>,
    more: VecDeque<T>,
}

impl<T> Queue<T> {
    pub(crate) fn push(&mut self, item: T) {
        if self.len() == 0 {
            self.first = Some(item);
        } else {
            self.more.push_back(item);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.first.take().or_else(|| self.more.pop_front())
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.first.take_if(|first| !keep(first));
        self.more.retain(keep);
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: None, more: VecDeque::new() }
    }
}

/// Values by key.
#[derive(Debug)]
pub(crate) struct Map<K, V> {
    one: Option<(K, V)>,
    more: BTreeMap<K, V>,
}

impl<K: Ord, V> Map<K, V> {
    /// Adds a value whose key is not there yet.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.len() == 0 {
            self.one = Some((key, value));
        } else {
            self.more.insert(key, value);
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match &self.one {
            Some((one, value)) if one == key => Some(value),
            _ => self.more.get(key),
        }
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let one = self.one.take_if(|(one, _)| one == key).map(|(_, value)| value);
        one.or_else(|| self.more.remove(key))
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.one.is_some()) + self.more.len()
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { one: None, more: BTreeMap::new() }
    }
}

impl<K, V> IntoIterator for Map<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Chain<std::option::IntoIter<(K, V)>, std::collections::btree_map::IntoIter<K, V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.one.into_iter().chain(self.more)
    }
}

/// Keys in order.
#[derive(Debug)]
pub(crate) struct Set<K> {
    /// Not the first, once there are more.
    one: Option<K>,
    more: BTreeSet<K>,
}

impl<K: Ord> Set<K> {
    pub(crate) fn insert(&mut self, key: K) {
        if self.one.is_none() && self.more.is_empty() {
            self.one = Some(key);
        } else {
            self.more.insert(key);
        }
    }

    pub(crate) fn first(&self) -> Option<&K> {
        match (&self.one, self.more.first()) {
            (Some(one), Some(first)) => Some(one.min(first)),
            (one, first) => one.as_ref().or(first),
        }
    }

    pub(crate) fn first_above(&self, key: &K) -> Option<&K> {
        let one = self.one.as_ref().filter(|one| *one > key);
        one.into_iter().chain(self.more.range((Bound::Excluded(key), Bound::Unbounded)).next()).min()
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if self.one.take_if(|one| one == key).is_none() {
            self.more.remove(key);
        }
    }
}

impl<K> Default for Set<K> {
    fn default() -> Self {
        Self { one: None, more: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_first_in_first_out_however_pushes_and_pops_alternate() {
        let (mut queue, mut next, mut expected) = (Queue::default(), 0, 0);
        for (pushes, pops) in [(1, 1), (3, 2), (1, 0), (2, 4), (1, 1), (4, 1), (0, 3)] {
            for _ in 0..pushes {
                queue.push(next);
                next += 1;
            }
            for _ in 0..pops {
                assert_eq!(queue.pop(), Some(expected));
                expected += 1;
            }
            assert_eq!(queue.len(), next - expected);
        }
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_queue_lets_go_of_what_is_not_to_be_kept_wherever_it_lies() {
        for dropped in 0..3 {
            let mut queue = Queue::default();
            (0..3).for_each(|item| queue.push(item));
            queue.retain(|&item| item != dropped);
            let left: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
            assert_eq!(left, (0..3).filter(|&item| item != dropped).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_set_has_its_lowest_first_whichever_came_first() {
        for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [2, 1, 3]] {
            let mut set = Set::default();
            order.into_iter().for_each(|key| set.insert(key));
            for lowest in 1..=3 {
                assert_eq!(set.first(), Some(&lowest), "{order:?}");
                assert_eq!(set.first_above(&lowest), Some(&(lowest + 1)).filter(|_| lowest < 3), "{order:?}");
                set.remove(&lowest);
                set.remove(&7);
            }
            assert_eq!(set.first(), None);
        }
    }

    #[test]
    fn a_map_finds_and_removes_the_one_and_the_others() {
        for removed in 0..3 {
            let mut map = Map::default();
            (0..3).for_each(|key| map.insert(key, key * 10));
            assert_eq!((map.len(), map.get(&removed)), (3, Some(&(removed * 10))));
            assert_eq!(map.remove(&removed), Some(removed * 10));
            assert!(!map.contains_key(&removed) && map.remove(&removed).is_none());
            map.insert(7, 70);
            let left: Vec<_> = map.into_iter().collect();
            let expected = (0..3).filter(|&key| key != removed).map(|key| (key, key * 10)).chain([(7, 70)]);
            assert_eq!(left, expected.collect::<Vec<_>>());
        }
    }
}
