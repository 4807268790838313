//! Typed functions at both of their ends: served by a handler, asked by a caller, with one value or a stream of them.

pub(crate) mod function;
pub(crate) mod items;
