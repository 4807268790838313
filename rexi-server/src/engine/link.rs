//! The connection to each member: dialed or accepted, agreed on, served until it ends; and that of the node to itself.

pub(crate) mod dial;
pub(crate) mod accept;
pub(crate) mod handshake;
pub(crate) mod connection;
pub(crate) mod local;
