//! Random schemas, and the ways in which people change them.
//!
//! In: a random source. Out: a type of structs, enums, options, lists and maps, and the same type after one edit of a
//! given kind. Names are new wherever an edit brings one, so that the corpus can tell what the other side lacks.

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde::Serialize;

use crate::wire::schema::{Enum, Field, Named, Parts, Type};

/// Declares each kind of edit once, with its name in reports.
macro_rules! edits {
    ($($kind:ident $name:literal,)+) => {
        /// A way to change a type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub(super) enum EditKind {
            $($kind,)+
        }

        impl EditKind {
            /// Every kind.
            pub(super) const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// Its name in reports.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }
        }
    };
}

edits! {
    AppendField "append a field",
    InsertField "insert a field",
    RemoveField "remove a field",
    SwapFields "swap two fields",
    RotateFields "reorder fields",
    RenameField "rename a field",
    RenameType "rename a type",
    AppendVariant "append a variant",
    InsertVariant "insert a variant",
    RemoveVariant "remove a variant",
    SwapVariants "swap two variants",
    RenameVariant "rename a variant",
    VariantPayload "change a variant's payload",
    Sign "change a sign",
    Width "change a width",
    FloatWidth "change a float's width",
    Primitive "change a primitive",
    WrapOption "wrap in an Option",
    UnwrapOption "unwrap an Option",
    WrapList "wrap in a list",
    WrapNewtype "wrap in a newtype",
    MapToList "map to list of pairs",
    FieldsToTuple "struct to tuple",
    BytesToList "bytes to list of u8",
    TwoEdits "two edits at once",
}

/// A random type.
pub(super) fn generate(rng: &mut Xoshiro256PlusPlus) -> Type {
    let mut names = Names { types: 0 };
    match rng.random_range(0..10) {
        0..6 => names.fields(3, rng),
        6..9 => names.variants(3, rng),
        _ => {
            let item = names.any(2, rng);
            let name = names.fresh();
            let next = Type::Option(Box::new(Type::Recursive(name.clone())));
            Type::fields(&name, [("item", item), ("next", next)])
        }
    }
}

/// A copy of `original` with one edit of this kind; none where it has no place for one.
pub(super) fn edited(original: &Type, kind: EditKind, rng: &mut Xoshiro256PlusPlus) -> Option<Type> {
    if kind == EditKind::TwoEdits {
        let single = EditKind::ALL.split_last()?.1;
        let once = edited(original, *single.choose(rng)?, rng)?;
        return edited(&once, *single.choose(rng)?, rng).filter(|twice| twice != original);
    }
    let mut places = 0;
    visit(&mut original.clone(), &mut |place| places += usize::from(fits(place, kind)));
    if places == 0 {
        return None;
    }
    let (chosen, mut at) = (rng.random_range(0..places), 0);
    let mut changed = original.clone();
    visit(&mut changed, &mut |place| {
        if fits(place, kind) {
            if at == chosen {
                change(place, kind, rng);
            }
            at += 1;
        }
    });
    (changed != *original).then_some(changed)
}

/// Visits every type within a type, the inner ones first, so that what an edit brings is not visited.
fn visit(of: &mut Type, with: &mut impl FnMut(&mut Type)) {
    match of {
        Type::Option(inner) | Type::Seq(inner) => visit(inner, with),
        Type::Map(key, value) => {
            visit(key, with);
            visit(value, with);
        }
        Type::Tuple(parts) => parts.iter_mut().for_each(|part| visit(part, with)),
        Type::Struct(named) => visit_parts(&mut named.parts, with),
        Type::Enum(of) => of.variants.iter_mut().for_each(|variant| visit_parts(&mut variant.parts, with)),
        _ => {}
    }
    with(of);
}

fn visit_parts(parts: &mut Parts, with: &mut impl FnMut(&mut Type)) {
    match parts {
        Parts::Unit => {}
        Parts::Newtype(inner) => visit(inner, with),
        Parts::Tuple(parts) => parts.iter_mut().for_each(|part| visit(part, with)),
        Parts::Fields(fields) => fields.iter_mut().for_each(|field| visit(&mut field.r#type, with)),
    }
}

fn fields(of: &Type) -> usize {
    match of {
        Type::Struct(Named { parts: Parts::Fields(fields), .. }) => fields.len(),
        _ => 0,
    }
}

fn variants(of: &Type) -> usize {
    if let Type::Enum(of) = of { of.variants.len() } else { 0 }
}

fn fits(place: &Type, kind: EditKind) -> bool {
    use EditKind as E;
    match kind {
        E::AppendField | E::InsertField | E::RenameField => fields(place) >= 1,
        E::RemoveField | E::SwapFields => fields(place) >= 2,
        E::RotateFields => fields(place) >= 3,
        // A recursive type refers to itself by its name.
        E::RenameType => matches!(place, Type::Struct(_) | Type::Enum(_)) && !refers(place),
        E::AppendVariant | E::InsertVariant | E::RenameVariant | E::VariantPayload => variants(place) >= 1,
        E::RemoveVariant | E::SwapVariants => variants(place) >= 2,
        E::Sign | E::Width => INTEGERS.iter().any(|of| of.contains(place)),
        E::FloatWidth => matches!(place, Type::F32 | Type::F64),
        E::Primitive => PRIMITIVES.contains(place),
        E::WrapOption | E::WrapList | E::WrapNewtype => !matches!(place, Type::Unit | Type::Recursive(_)),
        E::UnwrapOption => matches!(place, Type::Option(inner) if !matches!(**inner, Type::Recursive(_))),
        E::MapToList => matches!(place, Type::Map(..)),
        E::FieldsToTuple => fields(place) >= 1 && !refers(place),
        E::BytesToList => *place == Type::Bytes || matches!(place, Type::Seq(inner) if **inner == Type::U8),
        E::TwoEdits => false,
    }
}

fn refers(place: &Type) -> bool {
    let mut found = false;
    visit(&mut place.clone(), &mut |inner| found |= matches!(inner, Type::Recursive(_)));
    found
}

fn change(place: &mut Type, kind: EditKind, rng: &mut Xoshiro256PlusPlus) {
    let done = match place {
        Type::Struct(Named { parts: Parts::Fields(list), .. }) => change_fields(list, kind, rng),
        Type::Enum(of) => change_variants(&mut of.variants, kind, rng),
        _ => false,
    };
    if !done {
        change_type(place, kind, rng);
    }
}

fn change_fields(list: &mut Vec<Field>, kind: EditKind, rng: &mut Xoshiro256PlusPlus) -> bool {
    let at = rng.random_range(0..list.len());
    let next = (at + 1) % list.len();
    let new = |rng: &mut Xoshiro256PlusPlus| {
        let r#type = if rng.random_bool(0.8) { primitive(rng) } else { Type::Option(Box::new(primitive(rng))) };
        Field { name: "added".to_owned(), r#type }
    };
    match kind {
        EditKind::AppendField => list.push(new(rng)),
        EditKind::InsertField => list.insert(at, new(rng)),
        EditKind::RemoveField => drop(list.remove(at)),
        EditKind::SwapFields => list.swap(at, next),
        EditKind::RotateFields => list.rotate_left(1),
        EditKind::RenameField => list[at].name = "renamed".to_owned(),
        _ => return false,
    }
    true
}

fn change_variants(list: &mut Vec<Named>, kind: EditKind, rng: &mut Xoshiro256PlusPlus) -> bool {
    let at = rng.random_range(0..list.len());
    let next = (at + 1) % list.len();
    let new = |rng: &mut Xoshiro256PlusPlus| {
        let parts = if rng.random_bool(0.5) { Parts::Unit } else { Parts::Newtype(Box::new(primitive(rng))) };
        Named { name: "Added".to_owned(), parts }
    };
    match kind {
        EditKind::AppendVariant => list.push(new(rng)),
        EditKind::InsertVariant => list.insert(at, new(rng)),
        EditKind::RemoveVariant => drop(list.remove(at)),
        EditKind::SwapVariants => list.swap(at, next),
        EditKind::RenameVariant => list[at].name = "Renamed".to_owned(),
        EditKind::VariantPayload => {
            list[at].parts = match &list[at].parts {
                Parts::Unit => Parts::Newtype(Box::new(primitive(rng))),
                Parts::Newtype(inner) => Parts::Tuple(vec![(**inner).clone(), primitive(rng)]),
                _ => Parts::Unit,
            }
        }
        _ => return false,
    }
    true
}

fn change_type(place: &mut Type, kind: EditKind, rng: &mut Xoshiro256PlusPlus) {
    let old = std::mem::replace(place, Type::Unit);
    *place = match (kind, old) {
        (EditKind::RenameType, Type::Struct(named)) => Type::Struct(Named { name: "Other".to_owned(), ..named }),
        (EditKind::RenameType, Type::Enum(of)) => Type::Enum(Enum { name: "Other".to_owned(), ..of }),
        (EditKind::Sign, old) => {
            let column = |of: &[Type; 5]| of.iter().position(|one| *one == old);
            let other = column(&INTEGERS[0]).map(|at| (1, at)).or_else(|| column(&INTEGERS[1]).map(|at| (0, at)));
            other.map_or(old.clone(), |(row, at)| INTEGERS[row][at].clone())
        }
        (EditKind::Width, old) => {
            let row = INTEGERS.iter().find(|row| row.contains(&old));
            row.and_then(|row| row.choose(rng)).cloned().unwrap_or(old)
        }
        (EditKind::FloatWidth, old) => {
            if old == Type::F32 {
                Type::F64
            } else {
                Type::F32
            }
        }
        (EditKind::Primitive, _) => primitive(rng),
        (EditKind::WrapOption, old) => Type::Option(Box::new(old)),
        (EditKind::UnwrapOption, Type::Option(inner)) => *inner,
        (EditKind::WrapList, old) => Type::Seq(Box::new(old)),
        (EditKind::WrapNewtype, old) => {
            Type::Struct(Named { name: "Wrapper".to_owned(), parts: Parts::Newtype(Box::new(old)) })
        }
        (EditKind::MapToList, Type::Map(key, value)) => Type::Seq(Box::new(Type::Tuple(vec![*key, *value]))),
        (EditKind::FieldsToTuple, Type::Struct(named)) => {
            Type::Tuple(named.parts.types().into_iter().cloned().collect())
        }
        (EditKind::BytesToList, Type::Bytes) => Type::Seq(Box::new(Type::U8)),
        (EditKind::BytesToList, _) => Type::Bytes,
        (_, old) => old,
    };
}

/// Gives each type of a schema a name of its own.
struct Names {
    types: usize,
}

impl Names {
    fn fresh(&mut self) -> String {
        self.types += 1;
        format!("T{}", self.types)
    }

    fn any(&mut self, depth: u32, rng: &mut Xoshiro256PlusPlus) -> Type {
        if depth == 0 {
            return primitive(rng);
        }
        match rng.random_range(0..20) {
            0..9 => primitive(rng),
            9..12 => self.fields(depth - 1, rng),
            12..14 => self.variants(depth - 1, rng),
            14..16 => Type::Option(Box::new(self.any(depth - 1, rng))),
            16 | 17 => Type::Seq(Box::new(self.any(depth - 1, rng))),
            18 => Type::Map(Box::new(primitive(rng)), Box::new(self.any(depth - 1, rng))),
            _ => Type::Tuple(vec![self.any(depth - 1, rng), primitive(rng)]),
        }
    }

    fn fields(&mut self, depth: u32, rng: &mut Xoshiro256PlusPlus) -> Type {
        let name = self.fresh();
        let count = rng.random_range(1..5);
        let fields: Vec<_> = FIELDS[..count].iter().map(|&field| (field, self.any(depth, rng))).collect();
        Type::fields(&name, fields)
    }

    fn variants(&mut self, depth: u32, rng: &mut Xoshiro256PlusPlus) -> Type {
        let name = self.fresh();
        let count = rng.random_range(1..5);
        let variants = VARIANTS[..count].iter().map(|&variant| {
            let parts = match rng.random_range(0..4) {
                0 | 1 => Parts::Unit,
                2 => Parts::Newtype(Box::new(self.any(depth, rng))),
                _ => Parts::Tuple(vec![self.any(depth, rng), primitive(rng)]),
            };
            Named { name: variant.to_owned(), parts }
        });
        let variants = variants.collect();
        Type::Enum(Enum { name, variants })
    }
}

fn primitive(rng: &mut impl Rng) -> Type {
    PRIMITIVES.choose(rng).cloned().unwrap_or(Type::U8)
}

const FIELDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const VARIANTS: [&str; 5] = ["A", "B", "C", "D", "E"];
const INTEGERS: [[Type; 5]; 2] =
    [[Type::U8, Type::U16, Type::U32, Type::U64, Type::U128], [Type::I8, Type::I16, Type::I32, Type::I64, Type::I128]];
const PRIMITIVES: [Type; 16] = [
    Type::Bool,
    Type::U8,
    Type::U16,
    Type::U32,
    Type::U64,
    Type::U64,
    Type::U128,
    Type::I8,
    Type::I16,
    Type::I32,
    Type::I64,
    Type::F32,
    Type::F64,
    Type::Char,
    Type::Str,
    Type::Bytes,
];
