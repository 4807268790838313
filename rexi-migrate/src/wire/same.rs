//! What counts as the same value on both sides of a change, and how a value is shown.
//!
//! A part is the same part where its name is, or where the name is gone on one side and new on the other: a part that
//! was renamed. The wire cannot tell that from a part that was replaced; the diff says so. Numbers are the same where
//! they are the same number, whatever their width. What takes no bytes is ignored, and a struct of one part counts as
//! that part.

use std::fmt::Write;

use super::schema::{Layout, Named, Parts, Type};
use super::value::{Carried, Scope, Value};

/// Whether the part of this place is the same in both lists of names.
pub(super) fn same_part(written: &[&str], read: &[&str], at: usize) -> bool {
    let (Some(&w), Some(&r)) = (written.get(at), read.get(at)) else { return false };
    // Where one list has names and the other has none, no name is in both, and the places count alone.
    w == r || !read.contains(&w) && !written.contains(&r)
}

/// Whether a receiver has got what was sent.
pub(super) fn same(written: (&Layout, &Carried), read: (&Layout, &Carried)) -> bool {
    fn headers<'a>((layout, carried): (&'a Layout, &'a Carried)) -> Vec<(&'a str, Place<'a>)> {
        let place = |(r#type, value)| ("", Place { scope: Scope::new(r#type), value });
        let places = layout.headers.iter().zip(&carried.headers).map(place);
        places.filter(|(_, place)| !place.scope.r#type.is_empty()).collect()
    }
    same_parts(&headers(written), &headers(read)) && written.1.payload == read.1.payload
}

/// A value with its schema.
#[derive(Clone)]
struct Place<'a> {
    scope: Scope<'a>,
    value: &'a Value,
}

impl<'a> Place<'a> {
    fn inner(&self, r#type: &'a Type, value: &'a Value) -> Self {
        Self { scope: self.scope.inner(r#type), value }
    }

    fn list(&self, parts: &'a Parts, values: &'a [Value]) -> Vec<(&'a str, Self)> {
        let places = parts.labels().into_iter().zip(parts.types().into_iter().zip(values));
        let places = places.filter(|(_, (r#type, _))| !r#type.is_empty());
        places.map(|(label, (r#type, value))| (label, self.inner(r#type, value))).collect()
    }

    /// Its parts that take bytes, where it is a tuple or a struct.
    fn group(&self) -> Option<Vec<(&'a str, Self)>> {
        match (self.scope.r#type, self.value) {
            (Type::Tuple(types), Value::Parts(values)) => {
                let places = types.iter().zip(values).filter(|(r#type, _)| !r#type.is_empty());
                Some(places.map(|(r#type, value)| ("", self.inner(r#type, value))).collect())
            }
            (Type::Struct(named), Value::Parts(values)) => Some(self.list(&named.parts, values)),
            (Type::Unit, _) => Some(Vec::new()),
            _ => None,
        }
    }

    /// The one part that it is, through as many layers as there are.
    fn unwrapped(self) -> Self {
        match self.group() {
            Some(mut parts) if parts.len() == 1 => parts.remove(0).1.unwrapped(),
            _ => self,
        }
    }

    /// Its elements, where it is a list: each as the parts that it has.
    fn elements(&self) -> Option<Vec<Vec<(&'a str, Self)>>> {
        match (self.scope.r#type, self.value) {
            (Type::Seq(inner), Value::Seq(values)) => Some(
                values
                    .iter()
                    .map(|value| {
                        let element = self.inner(inner, value).unwrapped();
                        element.group().unwrap_or_else(|| vec![("", element)])
                    })
                    .collect(),
            ),
            (Type::Map(key, inner), Value::Map(entries)) => {
                let entry = |(k, v): &'a (Value, Value)| {
                    let parts = [("", self.inner(key, k)), ("", self.inner(inner, v))];
                    let mut parts: Vec<_> =
                        parts.into_iter().filter(|(_, part)| !part.scope.r#type.is_empty()).collect();
                    if parts.len() == 1 {
                        let only = parts.remove(0).1.unwrapped();
                        return only.group().unwrap_or_else(|| vec![("", only)]);
                    }
                    parts
                };
                Some(entries.iter().map(entry).collect())
            }
            _ => None,
        }
    }

    fn octets(&self) -> Option<Vec<u8>> {
        match (self.scope.r#type, self.value) {
            (Type::Bytes, Value::Bytes(bytes)) => Some(bytes.clone()),
            (Type::Seq(inner), Value::Seq(values)) if **inner == Type::U8 => {
                let octet = |value: &Value| if let Value::Unsigned(n) = value { u8::try_from(*n).ok() } else { None };
                values.iter().map(octet).collect()
            }
            _ => None,
        }
    }

    /// Its number, where it is one: whether that is below zero, and how far it is from it.
    fn number(&self) -> Option<(bool, u128)> {
        match self.value {
            Value::Unsigned(value) => Some((false, *value)),
            Value::Signed(value) => Some((*value < 0, value.unsigned_abs())),
            _ => None,
        }
    }
}

/// Parts are compared place by place: fields that changed their places are another value even where they happen to hold
/// the same.
fn same_parts(written: &[(&str, Place<'_>)], read: &[(&str, Place<'_>)]) -> bool {
    let (w, r) = (labels(written), labels(read));
    written.len() == read.len()
        && (0..written.len()).all(|at| same_part(&w, &r, at) && same_place(&written[at].1, &read[at].1))
}

fn labels<'a>(parts: &[(&'a str, Place<'_>)]) -> Vec<&'a str> {
    parts.iter().map(|(label, _)| *label).collect()
}

fn same_place(written: &Place<'_>, read: &Place<'_>) -> bool {
    let (w, r) = (written.clone().unwrapped(), read.clone().unwrapped());
    if let (Some(w), Some(r)) = (w.group(), r.group()) {
        return same_parts(&w, &r);
    }
    if let (Some(w), Some(r)) = (w.octets(), r.octets()) {
        return w == r;
    }
    if let (Some(w), Some(r)) = (w.elements(), r.elements()) {
        return w.len() == r.len() && w.iter().zip(&r).all(|(w, r)| same_parts(w, r));
    }
    if let (Some(w), Some(r)) = (w.number(), r.number()) {
        return w == r;
    }
    match ((w.scope.r#type, w.value), (r.scope.r#type, r.value)) {
        ((Type::Option(wt), Value::Option(wv)), (Type::Option(rt), Value::Option(rv))) => match (wv, rv) {
            (None, None) => true,
            (Some(wv), Some(rv)) => same_place(&w.inner(wt, wv), &r.inner(rt, rv)),
            _ => false,
        },
        ((Type::Enum(wt), Value::Variant(wi, wv)), (Type::Enum(rt), Value::Variant(ri, rv))) => {
            let names = |variants: &[Named]| variants.iter().map(|v| v.name.clone()).collect::<Vec<_>>();
            let (wn, rn) = (names(&wt.variants), names(&rt.variants));
            let (wn, rn): (Vec<&str>, Vec<&str>) =
                (wn.iter().map(String::as_str).collect(), rn.iter().map(String::as_str).collect());
            let at = *wi as usize;
            let (Some(written), Some(read)) = (wt.variants.get(at), rt.variants.get(at)) else { return false };
            wi == ri
                && same_part(&wn, &rn, at)
                && same_parts(&unwrapped(w.list(&written.parts, wv)), &unwrapped(r.list(&read.parts, rv)))
        }
        ((wt, wv), (rt, rv)) => wt == rt && wv == rv,
    }
}

/// Parts of a variant; one that is a struct or tuple counts as its parts.
fn unwrapped<'a>(mut parts: Vec<(&'a str, Place<'a>)>) -> Vec<(&'a str, Place<'a>)> {
    if parts.len() != 1 {
        return parts;
    }
    let only = parts.remove(0).1.unwrapped();
    only.group().unwrap_or_else(|| vec![("", only)])
}

/// What is carried, with the names that one side has for it.
pub(super) fn show(layout: &Layout, carried: &Carried) -> String {
    let places = layout.headers.iter().zip(&carried.headers);
    let mut text = String::new();
    for (r#type, value) in places {
        if !text.is_empty() {
            text.push_str(" + ");
        }
        shown(&Place { scope: Scope::new(r#type), value }, &mut text);
    }
    if !carried.payload.is_empty() {
        write!(text, " + payload {:02x?}", carried.payload).expect(NEVER);
    }
    text
}

fn shown(place: &Place<'_>, out: &mut String) {
    fn list<'a>(out: &mut String, open: &str, parts: impl IntoIterator<Item = (&'a str, Place<'a>)>, close: &str) {
        out.push_str(open);
        for (i, (label, part)) in parts.into_iter().enumerate() {
            out.push_str(if i > 0 { ", " } else { "" });
            if !label.is_empty() {
                write!(out, "{label}: ").expect(NEVER);
            }
            shown(&part, out);
        }
        out.push_str(close);
    }
    match (place.scope.r#type, place.value) {
        (_, Value::Bool(value)) => write!(out, "{value}").expect(NEVER),
        (_, Value::Unsigned(value)) => write!(out, "{value}").expect(NEVER),
        (_, Value::Signed(value)) => write!(out, "{value}").expect(NEVER),
        (Type::F32, Value::Float(bits)) => write!(out, "{:e}", f32::from_bits(*bits as u32)).expect(NEVER),
        (_, Value::Float(bits)) => write!(out, "{:e}", f64::from_bits(*bits)).expect(NEVER),
        (_, Value::Char(value)) => write!(out, "{value:?}").expect(NEVER),
        (_, Value::Str(value)) => write!(out, "{value:?}").expect(NEVER),
        (_, Value::Bytes(value)) => write!(out, "{value:?}").expect(NEVER),
        (Type::Option(inner), Value::Option(Some(value))) => list(out, "Some(", [("", place.inner(inner, value))], ")"),
        (_, Value::Option(_)) => out.push_str("None"),
        (Type::Seq(inner), Value::Seq(values)) => {
            list(out, "[", values.iter().map(|value| ("", place.inner(inner, value))), "]");
        }
        (Type::Map(key, inner), Value::Map(entries)) => {
            out.push('{');
            for (i, (k, v)) in entries.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                list(out, "", [("", place.inner(key, k))], ": ");
                list(out, "", [("", place.inner(inner, v))], "");
            }
            out.push('}');
        }
        (Type::Tuple(types), Value::Parts(values)) => {
            list(out, "(", types.iter().zip(values).map(|(t, v)| ("", place.inner(t, v))), ")");
        }
        (Type::Struct(named), Value::Parts(values)) => named_parts(place, named, values, out, list),
        (Type::Enum(of), Value::Variant(index, values)) => match of.variants.get(*index as usize) {
            Some(variant) => named_parts(place, variant, values, out, list),
            None => write!(out, "{} #{index}", of.name).expect(NEVER),
        },
        (_, value) => write!(out, "{value:?}").expect(NEVER),
    }
}

fn named_parts<'a>(
    place: &Place<'a>,
    named: &'a Named,
    values: &'a [Value],
    out: &mut String,
    list: impl Fn(&mut String, &str, Vec<(&'a str, Place<'a>)>, &str),
) {
    out.push_str(&named.name);
    let parts = named.parts.labels().into_iter().zip(named.parts.types().into_iter().zip(values));
    let parts: Vec<_> = parts.map(|(label, (t, v))| (label, place.inner(t, v))).collect();
    match named.parts {
        Parts::Unit => {}
        Parts::Fields(_) => list(out, " { ", parts, " }"),
        _ => list(out, "(", parts, ")"),
    }
}

const NEVER: &str = "a string takes all that is written to it";
