//! What a value is built of: types as the lock writes them, with every name and every order in them.
//!
//! A type is a tree and holds no references but those of a type to itself, so that two types of one name never meet.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A type as serde sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is serde's type of the same name")]
pub enum Type {
    Unit,
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    Bytes,
    Option(Box<Self>),
    Seq(Box<Self>),
    Map(Box<Self>, Box<Self>),
    Tuple(Vec<Self>),
    Struct(Named),
    Enum(Enum),
    /// The type of this name that this place is inside of.
    Recursive(String),
}

/// A struct, or a variant of an enum: a name and its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, Parts)", into = "(String, Parts)")]
pub struct Named {
    /// Its name, as serde says it.
    pub name: String,
    /// What it is built of.
    pub parts: Parts,
}

/// An enum. The place of a variant in the list is its number on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enum {
    /// Its name, as serde says it.
    pub name: String,
    /// Its variants, in order.
    pub variants: Vec<Named>,
}

/// What a struct or a variant is built of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parts {
    /// Nothing.
    Unit,
    /// One part without a name.
    Newtype(Box<Type>),
    /// Parts without names.
    Tuple(Vec<Type>),
    /// Fields.
    Fields(Vec<Field>),
}

/// A field of a struct or a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, Type)", into = "(String, Type)")]
pub struct Field {
    /// Its name, as serde says it.
    pub name: String,
    /// Its type.
    pub r#type: Type,
}

/// What a frame or a typed payload is built of, from its first byte to its last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Headers, one after the other.
    pub headers: Vec<Type>,
    /// Whether a payload follows up to the frame's end, as long as the last header's `bulk` is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub payload: bool,
}

impl Layout {
    /// A layout of one value and nothing else.
    pub fn of(root: Type) -> Self {
        Self { headers: vec![root], payload: false }
    }
}

impl Type {
    /// A struct with fields.
    pub fn fields<'a>(name: &str, fields: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let field = |(name, r#type): (&str, Self)| Field { name: name.to_owned(), r#type };
        let parts = Parts::Fields(fields.into_iter().map(field).collect());
        Self::Struct(Named { name: name.to_owned(), parts })
    }

    /// Whether a value of it takes no bytes at all.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Unit => true,
            Self::Tuple(parts) => parts.iter().all(Self::is_empty),
            Self::Struct(named) => named.parts.types().iter().all(|part| part.is_empty()),
            _ => false,
        }
    }

    /// A word or two: its name where it has one.
    pub fn title(&self) -> String {
        match self {
            Self::Option(inner) => format!("Option<{}>", inner.title()),
            Self::Seq(inner) => format!("[{}]", inner.title()),
            Self::Map(key, value) => format!("{{{}: {}}}", key.title(), value.title()),
            Self::Tuple(parts) => format!("({})", parts.iter().map(Self::title).collect::<Vec<_>>().join(", ")),
            Self::Struct(named) => named.name.clone(),
            Self::Enum(of) => of.name.clone(),
            Self::Recursive(name) => name.clone(),
            plain => format!("{plain:?}").to_lowercase(),
        }
    }
}

impl Parts {
    /// The types of the parts, in order.
    pub fn types(&self) -> Vec<&Type> {
        match self {
            Self::Unit => Vec::new(),
            Self::Newtype(inner) => vec![inner],
            Self::Tuple(parts) => parts.iter().collect(),
            Self::Fields(fields) => fields.iter().map(|field| &field.r#type).collect(),
        }
    }

    /// The names of the parts, in order; empty for a part without one.
    pub fn labels(&self) -> Vec<&str> {
        match self {
            Self::Unit => Vec::new(),
            Self::Newtype(_) => vec![""],
            Self::Tuple(parts) => vec![""; parts.len()],
            Self::Fields(fields) => fields.iter().map(|field| field.name.as_str()).collect(),
        }
    }

    /// Puts another type into a place of the list.
    pub(super) fn replace(&mut self, at: usize, r#type: Type) {
        match self {
            Self::Unit => {}
            Self::Newtype(inner) => **inner = r#type,
            Self::Tuple(parts) => parts[at] = r#type,
            Self::Fields(fields) => fields[at].r#type = r#type,
        }
    }

    /// Whether both are built alike, as far as kind, names and number of their own parts go.
    pub fn alike(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.labels() == other.labels()
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title())
    }
}

impl From<(String, Parts)> for Named {
    fn from((name, parts): (String, Parts)) -> Self {
        Self { name, parts }
    }
}

impl From<Named> for (String, Parts) {
    fn from(named: Named) -> Self {
        (named.name, named.parts)
    }
}

impl From<(String, Type)> for Field {
    fn from((name, r#type): (String, Type)) -> Self {
        Self { name, r#type }
    }
}

impl From<Field> for (String, Type) {
    fn from(field: Field) -> Self {
        (field.name, field.r#type)
    }
}
