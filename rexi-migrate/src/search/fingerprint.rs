//! Fingerprints: 128 bits of XXH3 over all that a value hashes, so that states need not be kept to be known again.
//!
//! Two of `n` states share one with a probability of at most n²/2¹²⁹: for 100 million states 1.5·10⁻²³. XXH3 is not
//! made against an adversary, and a model has none. `usize` is written as 64 bits, so counts do not depend on the
//! machine's word.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};

use twox_hash::XxHash3_128;

/// What a state is known by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// The fingerprint of a value.
    pub fn of(value: &impl Hash) -> Self {
        Self::recorded(|recorder| value.hash(recorder))
    }

    /// The fingerprint of all that `record` writes. It must not ask for another meanwhile.
    ///
    /// # Panics
    /// Where it does.
    pub fn recorded(record: impl FnOnce(&mut Recorder)) -> Self {
        RECORDER.with_borrow_mut(|recorder| {
            recorder.clear();
            record(recorder);
            recorder.fingerprint()
        })
    }
}

thread_local! {
    /// Used again and again: a search takes millions of fingerprints.
    static RECORDER: RefCell<Recorder> = RefCell::default();
}

/// Takes down all that values hash. Its memory is used again after [`Recorder::clear`].
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    bytes: Vec<u8>,
}

impl Recorder {
    /// Forgets what was taken down.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The fingerprint of all that was taken down.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(XxHash3_128::oneshot(&self.bytes))
    }
}

impl Hasher for Recorder {
    fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.bytes.push(number);
    }

    fn write_u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn write_u128(&mut self, number: u128) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        let bytes = self.fingerprint().0.to_le_bytes();
        bytes.first_chunk().map_or(0, |low| u64::from_le_bytes(*low))
    }
}
