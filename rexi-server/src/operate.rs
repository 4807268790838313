//! A node as those who run it see it: the port for probes and metrics, systemd, the signals that end its process.

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "operate")]
mod commands;
#[cfg(feature = "operate")]
mod operator;
#[cfg(all(feature = "sd-notify", unix))]
mod systemd;
mod terminate;

#[cfg(feature = "operate")]
pub use self::commands::OperatePort;
#[cfg(feature = "operate")]
pub use self::operator::{OperatorClient, OperatorError};
#[cfg(all(feature = "sd-notify", unix))]
pub use self::systemd::READY_WAIT;
pub use self::terminate::{Ended, Termination, until_terminated};
