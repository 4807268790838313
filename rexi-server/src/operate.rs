//! A node as those who run it see it: the port for probes and metrics, systemd, the signals that end its process.

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(all(feature = "sd-notify", unix))]
pub(crate) mod systemd;
pub(crate) mod terminate;
