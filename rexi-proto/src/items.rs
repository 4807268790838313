//! Items of one stream, one after the other in one buffer: what a job has ready in one turn, as it goes into one frame.
//!
//! In: items as a job makes them, or a frame's payload. Out: a payload, or items that share its memory.
//!
//! ```text
//!   length varint | item | length varint | item | ...
//! ```
//!
//! These are the bytes that postcard has for them, written and read without its walk from byte to byte.

use bytes::{Buf, Bytes};

/// Bytes of a list, the items' lengths included. It is as much memory as one item can hold on to that is kept while the
/// others of its frame are let go.
pub const ITEMS_BYTES_MAX: usize = 4 << 10;

/// Items in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ItemList {
    count: usize,
    bytes: Vec<u8>,
}

impl ItemList {
    /// Adds an item behind the others. `false`: the list would be longer than [`ITEMS_BYTES_MAX`].
    pub fn push(&mut self, item: &[u8]) -> bool {
        let length = item.len();
        if self.bytes.len() + length_bytes(length) + length > ITEMS_BYTES_MAX {
            return false;
        }
        let low = (length & 0x7f) as u8;
        match length >> 7 {
            0 => self.bytes.push(low),
            high => self.bytes.extend_from_slice(&[low | 0x80, high as u8]),
        }
        self.bytes.extend_from_slice(item);
        self.count += 1;
        true
    }

    /// Items.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What stands in a frame.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes so many items off the front of a frame, and gives what is behind them. `None`: there are fewer, or one is
    /// too long, or its length is not written as we would write it.
    pub(crate) fn read(count: u64, bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (mut at, mut read) = (0, 0);
        while (read as u64) < count {
            let length = length_at(bytes.get(at..)?)?;
            at += length_bytes(length) + length;
            read += 1;
        }
        let (list, rest) = bytes.split_at_checked(at)?;
        Some((Self { count: read, bytes: list.to_vec() }, rest))
    }

    /// Takes out up to so many items from the front.
    pub(crate) fn take_first(&mut self, count: usize) -> Self {
        if count == 0 || self.is_empty() {
            return Self::default();
        }
        if count >= self.count {
            // The next list is likely to be as long.
            let next = Self { count: 0, bytes: Vec::with_capacity(self.bytes.len()) };
            return std::mem::replace(self, next);
        }
        let mut end = 0;
        for _ in 0..count {
            let length = length_at(&self.bytes[end..]).expect("lists are whole");
            end += length_bytes(length) + length;
        }
        let behind = self.bytes.split_off(end);
        self.count -= count;
        Self { count, bytes: std::mem::replace(&mut self.bytes, behind) }
    }
}

impl IntoIterator for ItemList {
    type Item = Bytes;
    type IntoIter = IntoItems;

    /// The items, which share the list's memory: it is let go with the last of them.
    fn into_iter(self) -> IntoItems {
        IntoItems { left: self.count, rest: self.bytes.into() }
    }
}

/// Items that are taken out of their list.
#[derive(Debug)]
pub struct IntoItems {
    left: usize,
    rest: Bytes,
}

impl Iterator for IntoItems {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.left = self.left.checked_sub(1)?;
        let length = length_at(&self.rest).expect("lists are whole");
        self.rest.advance(length_bytes(length));
        Some(self.rest.split_to(length))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for IntoItems {}

/// The length at the front, if it is there, and in its only form.
fn length_at(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [low, ..] if low < 0x80 => Some(low.into()),
        [low, high, ..] if (1..0x80).contains(&high) => Some(usize::from(low & 0x7f) | usize::from(high) << 7),
        _ => None,
    }
}

fn length_bytes(length: usize) -> usize {
    1 + usize::from(length > 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a length of two bytes can say.
    const ITEM_BYTES_MAX: usize = (1 << 14) - 1;

    fn list(items: &[&[u8]]) -> ItemList {
        let mut list = ItemList::default();
        assert!(items.iter().all(|item| list.push(item)));
        list
    }

    fn items(list: ItemList) -> Vec<Bytes> {
        list.into_iter().collect()
    }

    #[test]
    fn items_come_out_as_they_went_in() {
        let made = list(&[b"one", b"", &[7; 127], &[8; 128], &[9; 300], b"last"]);
        assert_eq!(made.len(), 6);
        let (read, rest) = ItemList::read(6, made.bytes()).expect("it is whole");
        assert_eq!((&read, rest), (&made, &b""[..]));
        assert_eq!(items(read), [&b"one"[..], b"", &[7; 127], &[8; 128], &[9; 300], b"last"]);
    }

    #[test]
    fn a_list_has_the_bytes_that_postcard_has_for_it() {
        for length in [0, 1, 127, 128, 129, 300, 4_000] {
            let item = vec![7_u8; length];
            let (count, items) = (1_u8, postcard::to_allocvec(&vec![item.clone()]).expect("it fits"));
            assert_eq!([&[count][..], list(&[&item]).bytes()].concat(), items, "{length}");
        }
        assert_eq!(ItemList::read(0, b"x"), Some((ItemList::default(), &b"x"[..])));
    }

    #[test]
    fn what_is_cut_off_is_no_list_and_what_is_behind_it_is_left() {
        let whole = list(&[b"one", &[7; 200]]);
        for (count, bytes) in [(0, 0), (1, 4), (2, 206), (3, usize::MAX), (u64::MAX, usize::MAX)] {
            for cut in 0..=whole.bytes().len() {
                let read = ItemList::read(count, &whole.bytes()[..cut]);
                let rest = read.map(|(read, rest)| (read.len() as u64, rest.len()));
                assert_eq!(rest, cut.checked_sub(bytes).map(|rest| (count, rest)), "{count} items, cut at {cut}");
            }
        }
    }

    #[test]
    fn a_length_has_one_form_and_two_bytes_at_most() {
        for refused in [&[0x80, 0][..], &[0x85, 0, 1, 2, 3, 4, 5], &[0x80], &[0x80, 0x80, 1], &[0xff, 0xff]] {
            assert_eq!(ItemList::read(1, refused), None, "{refused:?}");
        }
        let longest = [&[0xff, 0x7f][..], &[7; ITEM_BYTES_MAX]].concat();
        let (read, _) = ItemList::read(1, &longest).expect("it is one");
        assert_eq!(items(read), [vec![7; ITEM_BYTES_MAX]]);
    }

    #[test]
    fn a_list_reaches_its_bound_and_no_further() {
        let mut full = list(&[&vec![7; ITEMS_BYTES_MAX - 2 - 1 - 1]]);
        assert!(!full.push(b"xx") && full.len() == 1);
        assert!(full.push(b"x") && !full.push(b""));
        assert_eq!((full.len(), full.bytes().len()), (2, ITEMS_BYTES_MAX));
        assert!(!ItemList::default().push(&vec![7; ITEMS_BYTES_MAX - 2 + 1]));
    }

    #[test]
    fn the_first_are_taken_and_the_others_stay() {
        for count in 0..5 {
            let mut rest = list(&[b"0", b"", b"22"]);
            let mut all = items(rest.take_first(count));
            assert_eq!(all.len(), count.min(3));
            all.extend(rest);
            assert_eq!(all, ["0", "", "22"]);
        }
    }
}
