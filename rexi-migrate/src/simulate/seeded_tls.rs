//! Real TLS 1.3 that repeats byte for byte: random numbers and X25519 keys come from the scenario's seed, dates from
//! its clock.
//!
//! rustls takes its sources as statics, so what they draw from belongs to the thread: a scenario runs on one thread,
//! and seeds it when it begins. Signatures are Ed25519, which needs no randomness and has a fixed length.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use ::aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rexi_server::{Identity, env::QuicCrypto, identity::IdentityError};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup, aws_lc_rs,
};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{Error, NamedGroup, PeerMisbehaved};

thread_local! {
    static RNG: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// From now on TLS in this thread draws from this seed.
pub(super) fn seed(seed: u64) {
    RNG.set(Some(StdRng::seed_from_u64(seed)));
}

/// TLS as a node with this identity has it, except for its sources.
///
/// # Errors
/// [`IdentityError`], of which these crates are to blame.
pub(super) fn crypto(identity: &Identity) -> Result<QuicCrypto, IdentityError> {
    let mut provider: CryptoProvider = aws_lc_rs::default_provider();
    provider.secure_random = &Seeded;
    provider.kx_groups = vec![&Seeded];
    identity.crypto_with(Arc::new(provider), Arc::new(Seeded))
}

/// Draws from the thread's seed.
#[derive(Debug)]
struct Seeded;

impl SecureRandom for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        RNG.with_borrow_mut(|rng| rng.as_mut().map(|rng| rng.fill_bytes(bytes)).ok_or(GetRandomFailed))
    }
}

impl TimeProvider for Seeded {
    /// The day on which simulated clocks begin; certificates are valid for longer than any scenario lasts.
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1_893_456_000)))
    }
}

impl SupportedKxGroup for Seeded {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut secret = [0; 32];
        self.fill(&mut secret)?;
        let unusable = |_| Error::General("X25519 takes any 32 bytes as a key".to_owned());
        let secret = PrivateKey::from_private_key(&agreement::X25519, &secret)
            .map_err(|_| Error::General("X25519 takes any 32 bytes as a key".to_owned()))?;
        let public = secret.compute_public_key().map_err(unusable)?.as_ref().to_vec();
        Ok(Box::new(Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchange {
    secret: PrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = UnparsedPublicKey::new(&agreement::X25519, peer);
        let refused = Error::from(PeerMisbehaved::InvalidKeyShare);
        agreement::agree(&self.secret, peer, refused, |shared| Ok(SharedSecret::from(shared)))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
