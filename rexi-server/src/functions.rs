//! Typed functions at both ends: served by a handler, asked by a caller, with one value or a stream of them.

pub(crate) mod value;
pub(crate) mod items;
mod reply;

pub use self::items::{AskStream, Items};
pub use self::reply::{AskError, item, last, reply};
pub use self::value::Ask;
