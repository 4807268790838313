//! A layout as a machine that takes bytes one by one, and refuses the first one that no value has in that place.
//!
//! It takes exactly what the strict decoder takes: whole values in canonical form. Two such machines side by side show
//! what a receiver makes of what a sender may send; see `search.rs`. Its states are small and can be compared, so that
//! a search knows where it has been.

mod build;

use super::schema::{Layout, Type};

/// A layout, flattened into nodes.
pub(super) struct Machine {
    pub(super) nodes: Vec<Node>,
    roots: Vec<usize>,
    /// The longest list or text that is tried.
    length_max: u8,
}

/// A place of the layout.
pub(super) struct Node {
    pub(super) kind: Kind,
    /// What takes bytes of its parts.
    pub(super) children: Vec<usize>,
    /// The names of the children.
    pub(super) labels: Vec<String>,
    /// For each variant of an enum, the children and their names.
    pub(super) variants: Vec<(Vec<usize>, Vec<String>)>,
    /// What it was made of.
    pub(super) r#type: Type,
    /// Bytes that a value takes at least.
    least: u32,
    /// Bytes that a value takes at most, where no list or text is longer than a search tries; the maximum for no bound.
    most: u32,
    /// Whether it holds no list, no text and no payload.
    fixed: bool,
}

/// How a place takes its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Octet,
    Bool,
    /// A varint of this many bits.
    Varint(u32),
    /// So many bytes as they are.
    Fixed(u8),
    Char,
    Text,
    /// `true`: filled, it stands for the payload.
    Option(bool),
    List,
    Group,
    Enum,
    Payload,
}

/// Where a machine is: what it has yet to take, the next thing last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    stack: Vec<Todo>,
    no_payload: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Todo {
    Whole(usize),
    /// A varint with its first bytes taken: how many, and what they say where that counts.
    Number(usize, u8, u64),
    Fixed(usize, u8),
    Repeat(usize, u64),
    /// A text with this many bytes to come, and what UTF-8 allows for the next.
    Text(usize, u64, Utf8),
}

/// Bytes that the character at hand still needs, and bounds of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Utf8 {
    needs: u8,
    low: u8,
    high: u8,
}

/// What a byte did.
pub(super) struct Step {
    pub(super) state: State,
    /// The node that it belongs to.
    pub(super) node: usize,
    /// Whether it is that node's first.
    pub(super) first: bool,
    /// Whether it is that node's last, its children left out.
    pub(super) last: bool,
}

impl Machine {
    /// The machine of a layout, with lists and texts of up to `length_max` elements.
    pub(super) fn new(layout: &Layout, length_max: u8) -> Self {
        let mut machine = Self { nodes: Vec::new(), roots: Vec::new(), length_max };
        for (i, header) in layout.headers.iter().enumerate() {
            if header.is_empty() {
                continue;
            }
            let root = machine.add(header, &mut Vec::new());
            if layout.payload && i + 1 == layout.headers.len() {
                machine.mark_bulk(root);
            }
            machine.roots.push(root);
        }
        if layout.payload {
            let payload = machine.node(Kind::Payload, &Type::Unit);
            machine.roots.push(payload);
        }
        machine.settle_least();
        machine.settle_most();
        machine
    }

    pub(super) fn roots(&self) -> &[usize] {
        &self.roots
    }

    /// Whether all that is yet to come is bounded whatever the lengths are.
    pub(super) fn is_fixed(&self, state: &State) -> bool {
        state.stack.iter().all(|todo| match *todo {
            Todo::Whole(id) | Todo::Repeat(id, _) => self.nodes[id].fixed,
            Todo::Number(id, ..) => !matches!(self.nodes[id].kind, Kind::List | Kind::Text | Kind::Enum),
            Todo::Fixed(..) | Todo::Text(..) => true,
        })
    }

    /// Bytes that are yet to come, at least and at most.
    pub(super) fn to_come(&self, state: &State) -> (u32, u32) {
        let bounds = state.stack.iter().map(|todo| match *todo {
            Todo::Whole(id) if self.nodes[id].kind == Kind::Payload && state.no_payload => (0, 0),
            Todo::Whole(id) => (self.nodes[id].least, self.nodes[id].most),
            // A length of more than one byte is more than a search tries, so only the bytes of the number are sure.
            Todo::Number(id, ..) => (1, self.nodes[id].most),
            Todo::Fixed(_, left) => (left.into(), left.into()),
            Todo::Repeat(id, left) => {
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                (self.nodes[id].least.saturating_mul(left), self.nodes[id].most.saturating_mul(left))
            }
            Todo::Text(_, left, _) => {
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                (left, left)
            }
        });
        bounds.fold((0, 0), |(least, most), (l, m)| (least.saturating_add(l), most.saturating_add(m)))
    }

    pub(super) fn start(&self) -> State {
        let mut state = State { stack: Vec::new(), no_payload: false };
        state.stack.extend(self.roots.iter().rev().map(|&id| Todo::Whole(id)));
        self.settle(&mut state);
        state
    }

    /// Opens what takes no byte of its own, so that the next thing to take is a byte.
    fn settle(&self, state: &mut State) {
        while let Some(&top) = state.stack.last() {
            match top {
                Todo::Repeat(_, 0) => {
                    state.stack.pop();
                }
                Todo::Repeat(id, left) => {
                    state.stack.pop();
                    state.stack.extend([Todo::Repeat(id, left - 1), Todo::Whole(id)]);
                }
                Todo::Whole(id) => match self.nodes[id].kind {
                    Kind::Group => {
                        state.stack.pop();
                        self.push(state, &self.nodes[id].children);
                    }
                    Kind::Payload if state.no_payload => {
                        state.stack.pop();
                    }
                    _ => return,
                },
                _ => return,
            }
        }
    }

    fn push(&self, state: &mut State, ids: &[usize]) {
        state.stack.extend(ids.iter().rev().map(|&id| Todo::Whole(id)));
    }

    /// Whether the value may end here.
    pub(super) fn done(&self, state: &State) -> bool {
        match state.stack.last() {
            None => true,
            Some(&Todo::Whole(id)) => self.nodes[id].kind == Kind::Payload,
            Some(_) => false,
        }
    }

    /// The node that the next byte belongs to, and whether it is its first.
    pub(super) fn next(&self, state: &State) -> Option<(usize, bool)> {
        state.stack.last().map(|top| match *top {
            Todo::Whole(id) => (id, true),
            Todo::Number(id, ..) | Todo::Fixed(id, _) | Todo::Text(id, ..) | Todo::Repeat(id, _) => (id, false),
        })
    }

    /// Takes a byte; none where no value has it here.
    pub(super) fn step(&self, state: &State, byte: u8) -> Option<Step> {
        let (node, first) = self.next(state)?;
        let kind = self.nodes[node].kind;
        let mut state = state.clone();
        let top = state.stack.pop()?;
        let mut last = true;
        match (kind, top) {
            (Kind::Octet, _) => {}
            (Kind::Payload, _) => state.stack.push(top),
            (Kind::Bool, _) if byte <= 1 => {}
            (Kind::Option(bulk), _) if byte <= 1 => {
                if byte == 1 {
                    state.no_payload |= bulk;
                    self.push(&mut state, &self.nodes[node].children);
                }
            }
            (Kind::Fixed(bytes), top) => {
                let left = if let Todo::Fixed(_, left) = top { left } else { bytes } - 1;
                last = left == 0;
                if !last {
                    state.stack.push(Todo::Fixed(node, left));
                }
            }
            (Kind::Text | Kind::Char, Todo::Text(_, left, utf8)) => {
                let utf8 = utf8.next(byte)?;
                let left = left - 1;
                let one = kind == Kind::Char && u64::from(utf8.needs) != left;
                if u64::from(utf8.needs) > left || one {
                    return None;
                }
                last = left == 0;
                if !last {
                    state.stack.push(Todo::Text(node, left, utf8));
                }
            }
            (Kind::Varint(_) | Kind::Enum | Kind::List | Kind::Text | Kind::Char, top) => {
                last = self.number(&mut state, node, top, byte)?;
            }
            _ => return None,
        }
        self.settle(&mut state);
        Some(Step { state, node, first, last })
    }

    /// Takes a byte of a varint, and does what the number says once it is whole.
    fn number(&self, state: &mut State, node: usize, top: Todo, byte: u8) -> Option<bool> {
        let kind = self.nodes[node].kind;
        let bits = match kind {
            Kind::Varint(bits) => bits,
            Kind::Enum => 32,
            _ => 64,
        };
        let (at, value) = if let Todo::Number(_, at, value) = top { (at, value) } else { (0, 0) };
        let bytes_max = bits.div_ceil(7);
        let is_last_place = u32::from(at) + 1 == bytes_max;
        if is_last_place && byte > (1 << (bits % 7)) - 1 || byte == 0 && at > 0 {
            return None;
        }
        let digits = if matches!(kind, Kind::Varint(_)) { 0 } else { u64::from(byte & 0x7f) << (7 * u32::from(at)) };
        let value = value | digits;
        if byte & 0x80 != 0 {
            // What no number of more bytes could be is refused at once, so that every state has a way to its end.
            let least = 1_u64.checked_shl(7 * (u32::from(at) + 1)).unwrap_or(u64::MAX);
            let too_long = match kind {
                Kind::Enum => least >= self.nodes[node].variants.len() as u64,
                Kind::Char => true,
                _ => false,
            };
            if too_long {
                return None;
            }
            state.stack.push(Todo::Number(node, at + 1, value));
            return Some(false);
        }
        match kind {
            Kind::Enum => {
                let (children, _) = self.nodes[node].variants.get(usize::try_from(value).ok()?)?;
                self.push(state, children);
            }
            Kind::List => {
                // Elements that take no bytes leave nothing to take.
                if let Some(&element) = self.nodes[node].children.first() {
                    state.stack.push(Todo::Repeat(element, value));
                }
            }
            Kind::Char if !(1..=4).contains(&value) => return None,
            Kind::Text | Kind::Char if value > 0 => {
                state.stack.push(Todo::Text(node, value, Utf8::START));
                return Some(false);
            }
            _ => {}
        }
        Some(true)
    }

    /// Whether a byte is the length of a list or text that is longer than a search tries.
    pub(super) fn too_long(&self, state: &State, byte: u8) -> bool {
        let place = self.next(state).map(|(node, first)| (self.nodes[node].kind, first));
        byte > self.length_max && matches!(place, Some((Kind::List | Kind::Text, true)))
    }

    /// A byte that leads to the end of a value by a short way.
    pub(super) fn shortest(&self, state: &State) -> u8 {
        let Some((node, first)) = self.next(state) else { return 0 };
        match (self.nodes[node].kind, first) {
            (Kind::Enum, true) => {
                let sum = |ids: &[usize]| ids.iter().fold(0_u32, |sum, &id| sum.saturating_add(self.nodes[id].least));
                let variants = self.nodes[node].variants.iter().map(|(children, _)| sum(children));
                let best = variants.enumerate().min_by_key(|&(_, least)| least).map_or(0, |(index, _)| index);
                u8::try_from(best).unwrap_or(0)
            }
            (Kind::Char, true) => 1,
            (Kind::Char, false) => match state.stack.last() {
                Some(Todo::Text(_, left, utf8)) if utf8.needs == 0 => Utf8::lead(*left, b'a'),
                Some(Todo::Text(_, _, utf8)) => utf8.low,
                _ => 0,
            },
            (Kind::Text, false) => match state.stack.last() {
                Some(Todo::Text(_, _, utf8)) if utf8.needs > 0 => utf8.low,
                _ => b'a',
            },
            (_, true) => 0,
            (_, false) => 1,
        }
    }

    /// The bytes that make a difference here: each stands for those that it is like. `low` and `high` are any below
    /// and from 0x80 on, so that two places need not get the same.
    pub(super) fn telling(&self, state: &State, low: u8, high: u8, out: &mut Vec<u8>) {
        let Some((node, first)) = self.next(state) else { return };
        match (self.nodes[node].kind, first) {
            (Kind::Bool | Kind::Option(_), _) => out.extend([0, 1]),
            (Kind::Octet | Kind::Payload, _) => out.extend([0, low, 0x7f, 0x80, 0xff, high]),
            (Kind::Fixed(_), _) => out.extend([low, high]),
            (Kind::Varint(_), _) => out.extend([0, 1, low, 0x7f, 0x80, 0xff, high, 3, 4, 0x0f, 0x10]),
            (Kind::Enum, true) => out.extend((0..=self.nodes[node].variants.len().min(0x7f)).map(|i| i as u8)),
            (Kind::Enum, false) => out.push(1),
            (Kind::Char, true) => out.extend([1, 2, 3, 4]),
            (Kind::List | Kind::Text, true) => out.extend(0..=self.length_max),
            (Kind::List, false) => out.push(1),
            (kind @ (Kind::Text | Kind::Char), false) => match state.stack.last() {
                Some(Todo::Text(_, left, utf8)) if utf8.needs == 0 => {
                    out.push(if kind == Kind::Char { Utf8::lead(*left, low) } else { low });
                    if *left > 1 {
                        out.push(0xc3);
                    }
                }
                Some(Todo::Text(_, _, utf8)) => out.push(utf8.low),
                _ => {}
            },
            (Kind::Group, _) => {}
        }
    }
}

impl Utf8 {
    const START: Self = Self { needs: 0, low: 0, high: 0 };

    /// The first byte of a character of this many; `one` where it is alone.
    fn lead(bytes: u64, one: u8) -> u8 {
        match bytes {
            2 => 0xc3,
            3 => 0xe1,
            4 => 0xf1,
            _ => one,
        }
    }

    fn next(self, byte: u8) -> Option<Self> {
        if self.needs > 0 {
            return (self.low..=self.high).contains(&byte).then_some(Self {
                needs: self.needs - 1,
                low: 0x80,
                high: 0xbf,
            });
        }
        let (needs, low, high) = match byte {
            0..=0x7f => (0, 0, 0),
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            _ => return None,
        };
        Some(Self { needs, low, high })
    }
}
