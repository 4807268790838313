//! What changed between two layouts, part by part, in words; and for each part the old layout with that change alone.
//!
//! A diff asks of each change by itself what it breaks, so that one that is harmless does not hide behind another.

use super::kind::ChangeKind;
use super::schema::{Enum, Layout, Named, Parts, Type};

/// One change.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) kind: ChangeKind,
    /// Where, such as `Exit.reason`.
    pub(super) place: String,
    /// What, such as `Reason: variants appended: Late`.
    pub(super) what: String,
    /// The old layout with this change and no other.
    pub(super) alone: Layout,
}

/// Every change from `old` to `new`.
pub(super) fn edits(old: &Layout, new: &Layout) -> Vec<Edit> {
    let mut edits = Vec::new();
    if old.headers.len() != new.headers.len() {
        let titles = |layout: &Layout| layout.headers.iter().map(Type::title).collect::<Vec<_>>().join(" + ");
        let what = format!("the frame is built of [{}] instead of [{}]", titles(new), titles(old));
        return vec![Edit { kind: ChangeKind::Headers, place: String::new(), what, alone: new.clone() }];
    }
    for (at, (o, n)) in old.headers.iter().zip(&new.headers).enumerate() {
        let rebuild = |header: Type| {
            let mut alone = old.clone();
            alone.headers[at] = header;
            alone
        };
        walk(o, n, &o.title(), &rebuild, &mut edits);
    }
    if old.payload != new.payload {
        let (kind, what) = if new.payload {
            (ChangeKind::PayloadCame, "a payload follows")
        } else {
            (ChangeKind::PayloadGone, "a payload no longer follows")
        };
        let alone = Layout { payload: new.payload, ..old.clone() };
        edits.push(Edit { kind, place: String::new(), what: what.to_owned(), alone });
    }
    let alone = edits.len() == 1;
    for edit in &mut edits {
        // A type that refers to itself cannot have another name or another place while its inside stays as it was: such
        // a change is looked at with all others.
        if alone || edit.alone.check_references().is_err() {
            edit.alone = new.clone();
        }
    }
    edits
}

/// Puts a type back into the layout that it was taken from.
type Rebuild<'a> = &'a dyn Fn(Type) -> Layout;

fn walk(old: &Type, new: &Type, place: &str, rebuild: Rebuild<'_>, out: &mut Vec<Edit>) {
    match (old, new) {
        (o, n) if o == n => {}
        (Type::Option(o), Type::Option(n)) => walk(o, n, place, &|t| rebuild(Type::Option(Box::new(t))), out),
        (Type::Seq(o), Type::Seq(n)) => walk(o, n, place, &|t| rebuild(Type::Seq(Box::new(t))), out),
        (Type::Map(ok, ov), Type::Map(nk, nv)) => {
            walk(ok, nk, place, &|t| rebuild(Type::Map(Box::new(t), ov.clone())), out);
            walk(ov, nv, place, &|t| rebuild(Type::Map(ok.clone(), Box::new(t))), out);
        }
        (Type::Tuple(o), Type::Tuple(n)) if o.len() == n.len() => {
            for (at, (part, changed)) in o.iter().zip(n).enumerate() {
                let rebuild = |t| {
                    let mut parts = o.clone();
                    parts[at] = t;
                    rebuild(Type::Tuple(parts))
                };
                walk(part, changed, &format!("{place}.{at}"), &rebuild, out);
            }
        }
        (Type::Struct(o), Type::Struct(n)) => named(o, n, "field", place, &|named| rebuild(Type::Struct(named)), out),
        (Type::Enum(o), Type::Enum(n)) => variants(o, n, place, &|of| rebuild(Type::Enum(of)), out),
        (o, n) => {
            let (kind, how) = replaced(o, n);
            let what = format!("{} instead of {}{how}", n.title(), o.title());
            out.push(Edit { kind, place: place.to_owned(), what, alone: rebuild(n.clone()) });
        }
    }
}

/// What kind of replacement it is, where that has a name.
fn replaced(old: &Type, new: &Type) -> (ChangeKind, &'static str) {
    let number = |r#type: &Type| {
        let title = r#type.title();
        let width = title.get(1..).and_then(|width| width.parse::<u32>().ok());
        width.filter(|_| matches!(r#type, Type::F32 | Type::F64) || title.starts_with(['u', 'i'])).map(|w| (title, w))
    };
    match (old, new) {
        (o, Type::Option(inner)) if **inner == *o => (ChangeKind::OptionWrapped, ": wrapped in an Option"),
        (Type::Option(inner), n) if **inner == *n => (ChangeKind::OptionUnwrapped, ": an Option unwrapped"),
        (o, n) => match (number(o), number(n)) {
            (Some((o, ow)), Some((n, nw))) => match (o.as_bytes()[0] == n.as_bytes()[0], ow == nw) {
                (true, _) => (ChangeKind::Width, ": another width"),
                (false, true) => (ChangeKind::Sign, ": another sign"),
                (false, false) => (ChangeKind::SignAndWidth, ": another sign and width"),
            },
            _ => (ChangeKind::Type, ""),
        },
    }
}

fn named(old: &Named, new: &Named, what: &str, place: &str, rebuild: &dyn Fn(Named) -> Layout, out: &mut Vec<Edit>) {
    if old.name != new.name {
        let alone = rebuild(Named { name: new.name.clone(), parts: old.parts.clone() });
        out.push(renamed(place, &old.name, &new.name, alone));
    }
    let inner = |at: usize, r#type: Type| {
        let mut parts = old.parts.clone();
        parts.replace(at, r#type);
        rebuild(Named { name: old.name.clone(), parts })
    };
    let (old_types, new_types) = (old.parts.types(), new.parts.types());
    let (old_labels, new_labels) = (old.parts.labels(), new.parts.labels());
    if old.parts.alike(&new.parts) {
        for (at, (o, n)) in old_types.into_iter().zip(new_types).enumerate() {
            walk(o, n, &below(place, &old_labels, at), &|t| inner(at, t), out);
        }
        return;
    }
    // The list itself changed. What has kept its name keeps its old type here, and is looked at by itself below.
    let (Parts::Fields(_), Parts::Fields(changed)) = (&old.parts, &new.parts) else {
        let what = format!(
            "{what}s of {} built differently: {} parts instead of {}",
            new.name,
            new_types.len(),
            old_types.len()
        );
        let alone = rebuild(Named { name: old.name.clone(), parts: new.parts.clone() });
        out.push(Edit { kind: ChangeKind::PartsBuiltOtherwise, place: place.to_owned(), what, alone });
        return;
    };
    let mut list = changed.clone();
    for field in &mut list {
        if let Some(at) = old_labels.iter().position(|&label| label == field.name) {
            field.r#type = old_types[at].clone();
        }
    }
    let alone = rebuild(Named { name: old.name.clone(), parts: Parts::Fields(list) });
    let (change, words) = list_change(&old_labels, &new_labels);
    let what = format!("{}: {what}s {words}", old.name);
    out.push(Edit { kind: change.of_fields(), place: place.to_owned(), what, alone });
    for (at, label) in old_labels.iter().enumerate() {
        if let Some(now) = new_labels.iter().position(|name| name == label) {
            walk(old_types[at], new_types[now], &below(place, &old_labels, at), &|t| inner(at, t), out);
        }
    }
}

fn variants(old: &Enum, new: &Enum, place: &str, rebuild: &dyn Fn(Enum) -> Layout, out: &mut Vec<Edit>) {
    if old.name != new.name {
        let alone = rebuild(Enum { name: new.name.clone(), variants: old.variants.clone() });
        out.push(renamed(place, &old.name, &new.name, alone));
    }
    fn names(of: &Enum) -> Vec<&str> {
        of.variants.iter().map(|variant| variant.name.as_str()).collect()
    }
    let (old_names, new_names) = (names(old), names(new));
    // In lists of one length, a new name takes the place of an old one that is gone: that variant was renamed.
    let is_renamed = |at: usize| old_names.len() == new_names.len() && !new_names.contains(&old_names[at]);
    if old_names != new_names {
        let mut list = new.variants.clone();
        for (at, variant) in list.iter_mut().enumerate() {
            let known = old_names.iter().position(|&name| name == variant.name);
            if let Some(known) = known.or_else(|| is_renamed(at).then_some(at)) {
                variant.parts = old.variants[known].parts.clone();
            }
        }
        let alone = rebuild(Enum { name: old.name.clone(), variants: list });
        let (change, words) = list_change(&old_names, &new_names);
        let what = format!("{}: variants {words}", old.name);
        out.push(Edit { kind: change.of_variants(), place: place.to_owned(), what, alone });
    }
    for (at, variant) in old.variants.iter().enumerate() {
        let now = new.variants.iter().find(|now| now.name == variant.name);
        let renamed = new.variants.get(at).filter(|now| is_renamed(at) && !old_names.contains(&now.name.as_str()));
        let Some(now) = now.or(renamed) else { continue };
        // Its name was told with the list; here its parts are.
        let now = Named { name: variant.name.clone(), parts: now.parts.clone() };
        let place = format!("{place}::{}", variant.name);
        let rebuild = |named: Named| {
            let mut variants = old.variants.clone();
            variants[at] = named;
            rebuild(Enum { name: old.name.clone(), variants })
        };
        named(variant, &now, "part", &place, &rebuild, out);
    }
}

fn below(place: &str, labels: &[&str], at: usize) -> String {
    match labels.get(at) {
        Some(label) if !label.is_empty() => format!("{place}.{label}"),
        _ => format!("{place}.{at}"),
    }
}

fn renamed(place: &str, old: &str, new: &str, alone: Layout) -> Edit {
    let what = format!("renamed {old} -> {new}");
    Edit { kind: ChangeKind::TypeRenamed, place: place.to_owned(), what, alone }
}

/// What happened to a list of names.
#[derive(Clone, Copy)]
enum ListChange {
    Removed,
    Appended,
    Inserted,
    Reordered,
    Renamed,
    Mixed,
}

impl ListChange {
    fn of_fields(self) -> ChangeKind {
        match self {
            Self::Removed => ChangeKind::FieldsRemoved,
            Self::Appended => ChangeKind::FieldsAppended,
            Self::Inserted => ChangeKind::FieldsInserted,
            Self::Reordered => ChangeKind::FieldsReordered,
            Self::Renamed => ChangeKind::FieldsRenamed,
            Self::Mixed => ChangeKind::FieldsMixed,
        }
    }

    fn of_variants(self) -> ChangeKind {
        match self {
            Self::Removed => ChangeKind::VariantsRemoved,
            Self::Appended => ChangeKind::VariantsAppended,
            Self::Inserted => ChangeKind::VariantsInserted,
            Self::Reordered => ChangeKind::VariantsReordered,
            Self::Renamed => ChangeKind::VariantsRenamed,
            Self::Mixed => ChangeKind::VariantsMixed,
        }
    }
}

/// What happened to a list of names, and in words.
fn list_change(old: &[&str], new: &[&str]) -> (ListChange, String) {
    let gone: Vec<&str> = old.iter().copied().filter(|name| !new.contains(name)).collect();
    let come: Vec<&str> = new.iter().copied().filter(|name| !old.contains(name)).collect();
    let kept = |list: &[&str], other: &[&str]| {
        list.iter().map(|name| (*name).to_owned()).filter(|name| other.contains(&name.as_str())).collect::<Vec<_>>()
    };
    let in_place =
        old.len() == new.len() && old.iter().zip(new).all(|(o, n)| o == n || !new.contains(o) && !old.contains(n));
    if in_place {
        let renamed = gone.iter().zip(&come);
        let words = renamed.map(|(o, n)| format!("renamed {o} -> {n} (or replaced: the wire cannot tell)"));
        return (ListChange::Renamed, words.collect::<Vec<_>>().join("; "));
    }
    let mut words = Vec::new();
    if !gone.is_empty() {
        words.push((ListChange::Removed, format!("removed: {}", gone.join(", "))));
    }
    if !come.is_empty() {
        let (change, how) =
            if new.starts_with(old) { (ListChange::Appended, "appended") } else { (ListChange::Inserted, "inserted") };
        words.push((change, format!("{how}: {}", come.join(", "))));
    }
    if kept(old, new) != kept(new, old) {
        words.push((ListChange::Reordered, format!("reordered: {} -> {}", old.join(", "), new.join(", "))));
    }
    let change = if let [(only, _)] = words[..] { only } else { ListChange::Mixed };
    (change, words.into_iter().map(|(_, words)| words).collect::<Vec<_>>().join("; "))
}
