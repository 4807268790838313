//! A node as those who run it see it: the port for probes and metrics, systemd, the signals that end its process.

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(all(feature = "sd-notify", unix))]
mod systemd;
mod terminate;

#[cfg(all(feature = "sd-notify", unix))]
pub use self::systemd::READY_WAIT;
pub use self::terminate::{Ended, Termination, until_terminated};
