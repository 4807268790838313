//! The files of a node's identity, read again and again while it runs; what they hold is taken once it has changed and
//! is good.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Shared;
use crate::net::{Identity, IdentityError};

/// The PEM files of a node's identity, see [`Identity::from_pem_files`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdentityFiles {
    /// The authorities' certificates.
    pub ca: PathBuf,
    /// The node's certificate and its intermediates.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl IdentityFiles {
    /// The files of the authorities' certificates, of the node's certificate with its intermediates, and of its key.
    pub fn new(ca: impl Into<PathBuf>, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { ca: ca.into(), cert: cert.into(), key: key.into() }
    }
}

/// Reads the files again and again, for as long as the node lives.
pub(crate) async fn follow(shared: Arc<Shared>, files: IdentityFiles, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let problem = look(&shared, &files).err().map(|error| error.to_string());
        let is_news = shared.credentials.note_problem(problem.clone());
        if let Some(error) = problem.filter(|_| is_news) {
            tracing::warn!(node = %shared.name, error, "the files of the identity are not followed");
        }
    }
}

fn look(shared: &Shared, files: &IdentityFiles) -> Result<(), IdentityError> {
    let found = Identity::from_pem_files(&files.ca, &files.cert, &files.key)?;
    if shared.credentials.has(&found) {
        return Ok(());
    }
    shared.change_identity(found)?;
    let left = shared.credentials.expires().duration_since(shared.env.now()).unwrap_or_default();
    let days = left.as_secs() / SECONDS_A_DAY;
    tracing::info!(node = %shared.name, cert = %files.cert.display(), days, "the identity has changed");
    Ok(())
}

/// How often a node of a configuration looks at the files of its identity.
pub const IDENTITY_INTERVAL: Duration = Duration::from_secs(30);

/// The least time between two looks at the files of an identity.
pub const IDENTITY_INTERVAL_MIN: Duration = Duration::from_millis(10);

const SECONDS_A_DAY: u64 = 86_400;
