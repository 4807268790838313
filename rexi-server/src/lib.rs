//! The rexi server that services embed.

mod identity;

#[cfg(feature = "dev-certs")]
mod dev_certs;

#[cfg(feature = "dev-certs")]
pub use dev_certs::{DevAuthority, DevCertsError};
pub use identity::{Identity, IdentityError, IdentityPart, PEM_FILE_BYTES_MAX};
