//! Which place of one layout is the same place in another, and whether its names say so too.
//!
//! The rule is that of `same.rs`, applied to places instead of values. A place is *exact* where a typed payload's shape
//! cannot show that it is another one: the same names and kinds from the root down to it.

use std::collections::BTreeMap;

use super::machine::{Kind, Machine};
use super::same::same_part;
use super::schema::{Named, Type};

/// The places that two layouts share.
pub(super) struct Pairing(BTreeMap<(usize, usize), Pair>);

/// A shared place.
pub(super) struct Pair {
    /// Whether a shape takes it for the same.
    pub(super) exact: bool,
    /// Whether all below it is the same too, so that nothing there can make a difference.
    pub(super) identical: bool,
    /// For each variant that the sender has: whether it is the receiver's of that number, and exact.
    pub(super) variants: Vec<(bool, bool)>,
    /// Whether the sender's enum is the receiver's with variants added at its end.
    pub(super) appended: bool,
}

impl Pairing {
    pub(super) fn new(written: &Machine, read: &Machine) -> Self {
        let mut pairs = Walk { written, read, pairs: BTreeMap::new() };
        for (&w, &r) in written.roots().iter().zip(read.roots()) {
            pairs.walk(w, r, true);
        }
        Self(pairs.pairs)
    }

    pub(super) fn of(&self, written: usize, read: usize) -> Option<&Pair> {
        self.0.get(&(written, read))
    }
}

struct Walk<'a> {
    written: &'a Machine,
    read: &'a Machine,
    pairs: BTreeMap<(usize, usize), Pair>,
}

impl Walk<'_> {
    fn walk(&mut self, w: usize, r: usize, exact: bool) {
        let (wn, rn) = (&self.written.nodes[w], &self.read.nodes[r]);
        if let Some(known) = self.pairs.get_mut(&(w, r)) {
            known.exact &= exact;
            known.identical &= exact;
            return;
        }
        match (wn.kind, rn.kind) {
            (Kind::Group, Kind::Group) if (wn.children.len() == 1) == (rn.children.len() == 1) => {
                let exact = exact && alike(&wn.r#type, &rn.r#type);
                self.pairs.insert((w, r), pair(exact, wn.r#type == rn.r#type));
                let (wc, rc) = (wn.children.clone(), rn.children.clone());
                self.list((&wc, &wn.labels.clone()), (&rc, &rn.labels.clone()), exact);
            }
            (Kind::Group, _) if wn.children.len() == 1 => self.walk(wn.children[0], r, false),
            (_, Kind::Group) if rn.children.len() == 1 => self.walk(w, rn.children[0], false),
            (Kind::Enum, Kind::Enum) => self.variants(w, r, exact),
            (a, b) if a == b || number(a) && number(b) => {
                // Floats and their bits are one only where they are the same type.
                if matches!(a, Kind::Fixed(_)) && wn.r#type != rn.r#type {
                    return;
                }
                let exact = exact && alike(&wn.r#type, &rn.r#type);
                self.pairs.insert((w, r), pair(exact, wn.r#type == rn.r#type));
                let children: Vec<_> = wn.children.iter().copied().zip(rn.children.iter().copied()).collect();
                for (wc, rc) in children {
                    self.walk(wc, rc, exact);
                }
            }
            _ => {}
        }
    }

    fn list(&mut self, (wc, wl): (&[usize], &[String]), (rc, rl): (&[usize], &[String]), exact: bool) {
        let (wl, rl): (Vec<&str>, Vec<&str>) =
            (wl.iter().map(String::as_str).collect(), rl.iter().map(String::as_str).collect());
        for at in 0..wc.len().min(rc.len()) {
            if same_part(&wl, &rl, at) {
                self.walk(wc[at], rc[at], exact);
            }
        }
    }

    fn variants(&mut self, w: usize, r: usize, exact: bool) {
        let (wn, rn) = (&self.written.nodes[w], &self.read.nodes[r]);
        let (Type::Enum(we), Type::Enum(re)) = (&wn.r#type, &rn.r#type) else { return };
        fn names(variants: &[Named]) -> Vec<&str> {
            variants.iter().map(|variant| variant.name.as_str()).collect()
        }
        let (wv, rv) = (names(&we.variants), names(&re.variants));
        let of_variant = |at: usize| {
            let same = same_part(&wv, &rv, at);
            let built = we.variants.get(at).zip(re.variants.get(at));
            (same, same && exact && we.name == re.name && built.is_some_and(|(w, r)| named_alike(w, r)))
        };
        let variants: Vec<_> = (0..wv.len()).map(of_variant).collect();
        let appended = wv.len() > rv.len() && wv.starts_with(&rv);
        let identical = exact && we == re && !recurs(&wn.r#type);
        let pair = Pair { exact: exact && we.name == re.name, identical, variants: variants.clone(), appended };
        self.pairs.insert((w, r), pair);
        let parts = wn.variants.clone().into_iter().zip(rn.variants.clone()).zip(variants);
        for ((written, read), (same, exact)) in parts {
            if same {
                self.variant((&written.0, &written.1), (&read.0, &read.1), exact);
            }
        }
    }

    /// A variant of one part that is a struct or tuple counts as its parts, and the other way about.
    fn variant(&mut self, written: (&[usize], &[String]), read: (&[usize], &[String]), exact: bool) {
        let only = |machine: &Machine, (ids, _): (&[usize], &[String])| {
            let node = ids.first().filter(|_| ids.len() == 1).map(|&id| &machine.nodes[id]);
            node.filter(|node| node.kind == Kind::Group).map(|node| (node.children.clone(), node.labels.clone()))
        };
        match (written.0.len() == 1, read.0.len() == 1) {
            (true, false) => {
                if let Some((ids, labels)) = only(self.written, written) {
                    self.variant((&ids, &labels), read, false);
                }
            }
            (false, true) => {
                if let Some((ids, labels)) = only(self.read, read) {
                    self.variant(written, (&ids, &labels), false);
                }
            }
            (true, true) => self.walk(written.0[0], read.0[0], exact),
            (false, false) => self.list(written, read, exact),
        }
    }
}

fn pair(exact: bool, equal: bool) -> Pair {
    Pair { exact, identical: exact && equal, variants: Vec::new(), appended: false }
}

fn number(kind: Kind) -> bool {
    matches!(kind, Kind::Octet | Kind::Varint(_))
}

/// Whether a shape takes the one for the other, what takes bytes below them left out.
fn alike(written: &Type, read: &Type) -> bool {
    match (written, read) {
        (Type::Struct(w), Type::Struct(r)) => named_alike(w, r),
        (Type::Tuple(w), Type::Tuple(r)) => w.len() == r.len() && empty_alike(&refs(w), &refs(r)),
        (Type::Option(_), Type::Option(_)) | (Type::Seq(_), Type::Seq(_)) | (Type::Map(..), Type::Map(..)) => true,
        (w, r) => w == r,
    }
}

fn refs(types: &[Type]) -> Vec<&Type> {
    types.iter().collect()
}

fn named_alike(written: &Named, read: &Named) -> bool {
    written.name == read.name
        && written.parts.alike(&read.parts)
        && empty_alike(&written.parts.types(), &read.parts.types())
}

/// What takes no bytes is seen by the shape, and by no machine.
fn empty_alike(written: &[&Type], read: &[&Type]) -> bool {
    written.len() == read.len() && written.iter().zip(read).all(|(w, r)| !w.is_empty() && !r.is_empty() || w == r)
}

/// Whether a type refers to one that it may be inside of, so that equal words may mean different types.
fn recurs(r#type: &Type) -> bool {
    match r#type {
        Type::Recursive(_) => true,
        Type::Option(inner) | Type::Seq(inner) => recurs(inner),
        Type::Map(key, value) => recurs(key) || recurs(value),
        Type::Tuple(parts) => parts.iter().any(recurs),
        Type::Struct(named) => named.parts.types().into_iter().any(recurs),
        Type::Enum(of) => of.variants.iter().any(|variant| variant.parts.types().into_iter().any(recurs)),
        _ => false,
    }
}
