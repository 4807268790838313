//! The words of a plan's text: numbers, names of nodes, and enums of plain words.

use std::fmt;
use std::str::FromStr;

use super::op::Whom;
use crate::name::node_number;

/// A number within the bounds of its type.
pub(super) fn number<T>(text: &str) -> Result<T, String>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    text.parse().map_err(|error: T::Err| format!("{text:?} is not a number that fits here: {error}"))
}

/// `all`, or a node such as `n1`, which is number 0.
pub(super) fn whom(text: &str) -> Result<Whom, String> {
    if text == "all" {
        return Ok(Whom::All);
    }
    let one = node_number(text).and_then(|node| u8::try_from(node).ok());
    one.map(Whom::One).ok_or_else(|| format!("{text:?} is not a node, such as n1"))
}

/// A node such as `n1`, which is number 0.
pub(super) fn one(text: &str) -> Result<u8, String> {
    match whom(text)? {
        Whom::One(node) => Ok(node),
        Whom::All => Err("use one node here, such as n1".to_owned()),
    }
}

/// Declares an enum of plain words, with its text both ways.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])+ $variant:ident $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$of])+ $variant,)+ }

        impl $name {
            /// Each of them, the simplest first.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().copied().find(|one| one.word() == text);
                let known = || Self::ALL.iter().map(|one| one.word()).collect::<Vec<_>>().join(", ");
                found.ok_or_else(|| format!("{text:?} is not one of {}", known()))
            }
        }
    };
}

pub(super) use words;
