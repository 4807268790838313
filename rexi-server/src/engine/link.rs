//! The connection to each member, dialed or accepted, agreed on and served until it ends; and the node's to itself.

pub(crate) mod dial;
mod places;
pub(crate) mod accept;
pub(crate) mod handshake;
mod lane;
mod silence;
pub(crate) mod connection;
pub(crate) mod local;
