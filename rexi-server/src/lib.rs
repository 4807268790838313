//! The rexi server that services embed.

mod config;
mod identity;

#[cfg(feature = "dev-certs")]
mod dev_certs;

pub use config::{CONFIG_FILE_BYTES_MAX, Config, ConfigError, IdentityFiles, PHASE_FILE_BYTES_MAX, Place};
#[cfg(feature = "dev-certs")]
pub use dev_certs::{DevAuthority, DevCertsError};
pub use identity::{Identity, IdentityError, IdentityPart, PEM_FILE_BYTES_MAX};
