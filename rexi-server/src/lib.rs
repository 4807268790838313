//! The rexi server that services embed.

mod identity;

pub use identity::{Identity, IdentityError, IdentityPart, PEM_FILE_BYTES_MAX};
