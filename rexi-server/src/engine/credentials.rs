//! The identity of a node that runs: how it is changed, by the hand of the service or by the files it is followed in.
//!
//! In goes a new [`Identity`]; out come what the endpoint accepts with from now on, and what is dialed with.
//! Connections that stand are kept, whatever they were made with. What a start would refuse is refused, and the last
//! good identity stays in use. Reading PEM and checking certificates is left to identity.rs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use quinn::ClientConfig;

use crate::config::IdentityFiles;
use crate::engine::shared::Shared;
use crate::net::crypto::QuicCrypto;
use crate::net::identity::{Identity, IdentityError};
use crate::net::transport::Settings;

/// What new connections are made with.
pub(crate) struct Credentials {
    settings: Settings,
    current: ArcSwap<Current>,
    /// Held while the identity is changed, so that both sides of the endpoint get that of the same change. With it, why
    /// the files are not followed, if they are not.
    changing: Mutex<Option<String>>,
    changes: AtomicU64,
}

struct Current {
    identity: Identity,
    expires: SystemTime,
    client: ClientConfig,
}

impl Credentials {
    /// Those of a start, whose identity was checked at the time `now`.
    pub(crate) fn new(settings: Settings, identity: Identity, crypto: &QuicCrypto, now: SystemTime) -> Self {
        let current = Current::new(&settings, identity, crypto, now);
        let (changing, changes) = (Mutex::default(), AtomicU64::new(0));
        Self { settings, current: ArcSwap::from_pointee(current), changing, changes }
    }

    /// What to dial with.
    pub(crate) fn client(&self) -> ClientConfig {
        self.current.load().client.clone()
    }

    /// When peers will no longer accept the certificate.
    pub(crate) fn expires(&self) -> SystemTime {
        self.current.load().expires
    }

    /// How often the identity was changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Why the files are not followed.
    pub(crate) fn problem(&self) -> Option<String> {
        self.lock().clone()
    }

    pub(crate) fn change(&self, shared: &Shared, identity: Identity) -> Result<(), IdentityError> {
        if shared.env.quic_crypto().is_some() {
            return Err(IdentityError::NotInUse);
        }
        let now = shared.env.now();
        identity.check(&shared.name, now)?;
        let crypto = identity.quic_crypto()?;
        let current = Current::new(&self.settings, identity, &crypto, now);
        {
            let _changing = self.lock();
            shared.endpoint.set_server_config(Some(self.settings.server(&crypto)));
            self.current.store(Arc::new(current));
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        for member in shared.members().iter().filter(|member| !member.is_connected()) {
            // It may have been the certificate that stood in the way.
            member.kicked.notify_one();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.changing.lock().expect("nothing panics while it changes the identity")
    }
}

impl Current {
    fn new(settings: &Settings, identity: Identity, crypto: &QuicCrypto, now: SystemTime) -> Self {
        // It was checked for the same time.
        let expires = identity.expires(now).unwrap_or(now);
        Self { client: settings.client(crypto), identity, expires }
    }
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
        let mut said = shared.credentials.lock();
        if *said != problem {
            if let Some(error) = &problem {
                tracing::warn!(node = %shared.name, error, "the files of the identity are not followed");
            }
            *said = problem;
        }
    }
}

fn look(shared: &Shared, files: &IdentityFiles) -> Result<(), IdentityError> {
    let found = Identity::from_pem_files(&files.ca, &files.cert, &files.key)?;
    if shared.credentials.current.load().identity.is_same(&found) {
        return Ok(());
    }
    shared.credentials.change(shared, found)?;
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
