//! What new connections of a node are made with: its identity, as the endpoint accepts and as it dials.
//!
//! Existing connections are kept, whatever they were made with. What a start would refuse is refused here too, and the
//! last good identity stays in use. Reading PEM and checking certificates is left to identity.rs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use quinn::ClientConfig;
use rexi_proto::NodeName;

use crate::net::crypto::QuicCrypto;
use crate::net::env::NodeEnv;
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

    /// Who the node is to those who dial it.
    #[cfg(feature = "operate")]
    pub(crate) fn identity(&self) -> Identity {
        self.current.load().identity.clone()
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

    /// Takes another identity for all connections from now on; what a start would refuse is refused.
    pub(crate) fn change(
        &self,
        node: &NodeName,
        endpoint: &quinn::Endpoint,
        env: &NodeEnv,
        identity: Identity,
    ) -> Result<(), IdentityError> {
        if env.quic_crypto().is_some() {
            return Err(IdentityError::NotInUse);
        }
        let now = env.now();
        identity.check(node, now)?;
        let crypto = identity.quic_crypto()?;
        let current = Current::new(&self.settings, identity, &crypto, now);
        let _changing = self.lock();
        endpoint.set_server_config(Some(self.settings.server(&crypto)));
        self.current.store(Arc::new(current));
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether this is the identity in use.
    pub(crate) fn has(&self, identity: &Identity) -> bool {
        self.current.load().identity.is_same(identity)
    }

    /// Notes why the files are not followed, if they are not. Whether that is news.
    pub(crate) fn note_problem(&self, problem: Option<String>) -> bool {
        let mut said = self.lock();
        let is_news = *said != problem;
        *said = problem;
        is_news
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
