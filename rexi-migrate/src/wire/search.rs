//! What a receiver of one layout makes of what a sender of another may send: a search for the cases that differ.
//!
//! Two machines take the same bytes side by side. As long as both are in the same place, they mean the same; the search
//! follows the bytes that tell one place from another until the receiver refuses one (an error) or both are at their
//! end and mean different things (a silent misreading). What it finds is bytes, and each find is read again by the real
//! codec before it counts. Where it finds nothing it has tried a byte of each kind in every place, with lists and texts
//! of up to three elements from the sender; a search that had to stop before that says so.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use rexi_server::typed::Shape;

use super::machine::{Machine, State};
use super::pairing::Pairing;
use super::same::same;
use super::schema::{Layout, Type};
use super::value::{Carried, shape};

/// What may become of what a sender sends. Each comes with bytes that show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Read as another value, without an error.
    pub silent: Option<Vec<u8>>,
    /// Refused.
    pub error: Option<Vec<u8>>,
    /// Refused, since it holds a variant that the receiver's enum does not have yet; nothing else is refused for that.
    pub appended: Option<Vec<u8>>,
    /// Read as the same value under other names, which a typed payload's shape refuses.
    pub renamed: Option<Vec<u8>>,
    /// The search stopped before its end: what it has not found may be there.
    pub cut_short: bool,
}

/// Searches what a receiver of `read` makes of what a sender of `written` may send.
pub fn reading(written: &Layout, read: &Layout) -> Reading {
    let mut found = Reading::default();
    if written == read {
        return found;
    }
    for (length_max, states_max) in SENT_LENGTHS {
        let (w, r) = (Machine::new(written, length_max), Machine::new(read, READ_LENGTH_MAX));
        let pairing = Pairing::new(&w, &r);
        found.cut_short = false;
        // What looks different is not always, such as numbers of other widths: other bytes, then.
        for round in 0..ROUNDS_MAX {
            let mut search = Search::new((&w, &r), &pairing, (written, read), round, states_max);
            let doubtful = search.run(&mut found);
            if found.silent.is_some() {
                return found;
            }
            if !doubtful {
                break;
            }
        }
    }
    // A root that takes no bytes has no place where a machine would see its names.
    let empty = |layout: &Layout| layout.headers.iter().all(Type::is_empty) && !layout.payload;
    if empty(written) && empty(read) {
        found.renamed = Some(Vec::new());
    }
    found
}

/// How often a search is done over with other bytes.
const ROUNDS_MAX: u8 = 6;

/// Lengths of lists and texts that the sender is let send, and pairs of states that are looked at: the cheap search
/// first, since most of what there is to be found is short.
const SENT_LENGTHS: [(u8, usize); 2] = [(1, 4_000), (3, 40_000)];

/// Lengths that the receiver may take a byte for: enough to swallow any run of fixed bytes.
const READ_LENGTH_MAX: u8 = 17;

struct Search<'a> {
    w: &'a Machine,
    r: &'a Machine,
    pairing: &'a Pairing,
    layouts: (&'a Layout, &'a Layout),
    round: u8,
    states_max: usize,
    seen: HashSet<(State, State, Meaning)>,
    /// Every pair of states that was reached.
    reached: Vec<Reached>,
    /// Those to be looked at, the one with the shortest way to its end first.
    next: BinaryHeap<(Reverse<u32>, Reverse<usize>)>,
}

/// Whether what was taken so far means the same to both, by value and by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Meaning {
    Exact,
    Renamed,
    Other,
}

struct Reached {
    w: State,
    r: State,
    meaning: Meaning,
    from: usize,
    byte: u8,
    depth: u8,
}

impl<'a> Search<'a> {
    fn new(
        (w, r): (&'a Machine, &'a Machine),
        pairing: &'a Pairing,
        layouts: (&'a Layout, &'a Layout),
        round: u8,
        states_max: usize,
    ) -> Self {
        let (seen, reached, next) = Default::default();
        Self { w, r, pairing, layouts, round, states_max, seen, reached, next }
    }

    fn reach(&mut self, reached: Reached) {
        let way = self.w.to_come(&reached.w).0.saturating_add(self.r.to_come(&reached.r).0);
        self.next.push((Reverse(way), Reverse(self.reached.len())));
        self.reached.push(reached);
    }

    /// Whether something looked different and was not.
    fn run(&mut self, found: &mut Reading) -> bool {
        let (w, r) = (self.w.start(), self.r.start());
        self.reach(Reached { w, r, meaning: Meaning::Exact, from: usize::MAX, byte: 0, depth: 0 });
        let mut doubtful = false;
        while let Some((_, Reverse(at))) = self.next.pop() {
            if self.reached.len() > self.states_max {
                found.cut_short = true;
                break;
            }
            doubtful |= self.end(at, found);
            if found.silent.is_some() {
                return false;
            }
            self.follow(at, found);
        }
        doubtful
    }

    /// Looks at what it means if the sender ends here.
    fn end(&self, at: usize, found: &mut Reading) -> bool {
        let reached = &self.reached[at];
        if !self.w.done(&reached.w) {
            return false;
        }
        if !self.r.done(&reached.r) {
            found.error.get_or_insert_with(|| self.bytes(at));
            return false;
        }
        match reached.meaning {
            Meaning::Exact => false,
            Meaning::Renamed => {
                found.renamed.get_or_insert_with(|| self.bytes(at));
                false
            }
            Meaning::Other => {
                let bytes = self.bytes(at);
                let (written, read) = self.layouts;
                let decode = |layout| Carried::decode(layout, &bytes);
                match (decode(written), decode(read)) {
                    (Ok(sent), Ok(got)) if !same((written, &sent), (read, &got)) => {
                        found.silent = Some(bytes);
                        false
                    }
                    (Ok(sent), Ok(got)) => {
                        // The same value, though it was read by other ways; the shape may tell.
                        let shapes = (shape_of(written, &sent), shape_of(read, &got));
                        if shapes.0 != shapes.1 {
                            found.renamed.get_or_insert(bytes);
                        }
                        true
                    }
                    _ => unreachable!("the machines take what the codec takes"),
                }
            }
        }
    }

    /// Lets the sender take one byte more, of each kind.
    fn follow(&mut self, at: usize, found: &mut Reading) {
        let Reached { w, r, meaning, depth, .. } = &self.reached[at];
        let (w, r, meaning, depth) = (w.clone(), r.clone(), *meaning, *depth);
        if depth == DEPTH_MAX {
            found.cut_short = true;
            return;
        }
        for byte in self.candidates(&w, &r, meaning, depth) {
            if self.w.too_long(&w, byte) {
                continue;
            }
            let Some(sent) = self.w.step(&w, byte) else { continue };
            let taken = self.r.step(&r, byte);
            let places = self.w.next(&w).zip(self.r.next(&r));
            let pair = places.and_then(|((wn, _), (rn, _))| self.pairing.of(wn, rn));
            let aligned = meaning != Meaning::Other && places.is_some_and(|((_, wf), (_, rf))| wf == rf);
            let Some(taken) = taken else {
                let appended = aligned
                    && sent.first
                    && pair.is_some_and(|pair| pair.appended && usize::from(byte) >= self.variants(&r));
                let place = if appended { &mut found.appended } else { &mut found.error };
                if place.is_none() {
                    let mut bytes = self.bytes(at);
                    bytes.push(byte);
                    self.complete(sent.state, &mut bytes);
                    *place = Some(bytes);
                }
                continue;
            };
            let exact = match pair {
                Some(pair) if aligned && sent.last == taken.last => {
                    let numbers = (&self.w.nodes[sent.node].r#type, &self.r.nodes[taken.node].r#type);
                    let same = same_number(numbers, byte, sent.first && sent.last);
                    match pair.variants.get(usize::from(byte)).filter(|_| sent.first && sent.last) {
                        Some(&(is_same, exact)) if is_same => Some(exact),
                        Some(_) => None,
                        None => same.then_some(pair.exact),
                    }
                }
                _ => None,
            };
            let meaning = match (meaning, exact) {
                (Meaning::Other, _) | (_, None) => Meaning::Other,
                (Meaning::Renamed, _) | (_, Some(false)) => Meaning::Renamed,
                (Meaning::Exact, Some(true)) => Meaning::Exact,
            };
            let ((w_least, w_most), (r_least, r_most)) = (self.w.to_come(&sent.state), self.r.to_come(&taken.state));
            if w_most < r_least || r_most < w_least && self.r.is_fixed(&taken.state) {
                // The one can never end where the other does.
                if found.error.is_none() {
                    let mut bytes = self.bytes(at);
                    bytes.push(byte);
                    self.complete(sent.state, &mut bytes);
                    found.error = Some(bytes);
                }
                continue;
            }
            let key = (sent.state.clone(), taken.state.clone(), meaning);
            if self.seen.insert(key) {
                self.reach(Reached { w: sent.state, r: taken.state, meaning, from: at, byte, depth: depth + 1 });
            }
        }
    }

    /// How many variants the enum has that the receiver is at.
    fn variants(&self, r: &State) -> usize {
        self.r.next(r).map_or(0, |(node, _)| self.r.nodes[node].variants.len())
    }

    fn candidates(&self, w: &State, r: &State, meaning: Meaning, depth: u8) -> Vec<u8> {
        let places = self.w.next(w).zip(self.r.next(r));
        let pair = places.and_then(|((wn, _), (rn, _))| self.pairing.of(wn, rn));
        if meaning != Meaning::Other && pair.is_some_and(|pair| pair.identical) {
            return vec![self.w.shortest(w)];
        }
        let low = (depth.wrapping_mul(5).wrapping_add(self.round.wrapping_mul(37))) % 90 + 5;
        let mut bytes = Vec::with_capacity(32);
        self.w.telling(w, low, 0x80 | low, &mut bytes);
        self.r.telling(r, low, 0x80 | low, &mut bytes);
        // That of this place first, so that neighbours differ in an example.
        bytes.sort_unstable_by_key(|&byte| (byte != low, byte));
        bytes.dedup();
        let turn = usize::from(self.round) % bytes.len().max(1);
        bytes.rotate_left(turn);
        bytes
    }

    fn bytes(&self, mut at: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(reached) = self.reached.get(at).filter(|reached| reached.from != usize::MAX) {
            bytes.push(reached.byte);
            at = reached.from;
        }
        bytes.reverse();
        bytes
    }

    /// Ends what the sender has begun.
    fn complete(&self, mut state: State, bytes: &mut Vec<u8>) {
        while !self.w.done(&state) {
            let byte = self.w.shortest(&state);
            let Some(step) = self.w.step(&state, byte) else { unreachable!("the shortest way is a way") };
            bytes.push(byte);
            state = step.state;
        }
    }
}

/// The shape of a layout's only value; a frame has none.
fn shape_of(layout: &Layout, carried: &Carried) -> Option<Shape> {
    match (&layout.headers[..], &carried.headers[..]) {
        ([r#type], [value]) => shape(r#type, value).ok(),
        _ => None,
    }
}

/// Bytes of the longest case that a search looks for.
const DEPTH_MAX: u8 = 150;

/// Whether a byte says the same number to both.
fn same_number((w, r): (&Type, &Type), byte: u8, whole: bool) -> bool {
    fn signed(of: &Type) -> Option<bool> {
        match of {
            Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::I128 => Some(true),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::U128 => Some(false),
            _ => None,
        }
    }
    fn read(of: &Type, byte: u8) -> i32 {
        match (of, signed(of)) {
            (Type::I8, _) => i32::from(byte as i8),
            (_, Some(true)) => i32::from(byte >> 1) ^ -i32::from(byte & 1),
            _ => i32::from(byte),
        }
    }
    let (Some(ws), Some(rs)) = (signed(w), signed(r)) else { return true };
    if w == r {
        return true;
    }
    if whole {
        return read(w, byte) == read(r, byte);
    }
    // Only varints have more than one byte. Of the same sign they say the same; otherwise only 0 would, in one byte.
    ws == rs
}
