//! Reads the words of a plan's text: numbers and names of nodes.

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
