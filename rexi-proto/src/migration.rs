//! A migration: one form of something is replaced by another, release by release.
//!
//! rexi's own replaces casts to the singleton by casts to the per-node server; a service's replaces one of its
//! functions by another. All go through the same four phases, and a release says how far it may go.

use std::borrow::{Borrow, Cow};
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::start_of;
use crate::phase::Phase;

/// A migration's key, which names it in files, in variables, on the wire and in reports: 1 to 64 bytes of a-z, 0-9, '-'
/// and '.', such as `inventory.read-consistency`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MigrationKey(Cow<'static, str>);

/// Why a text is not a migration's key. The caller is at fault; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key:?} is not a migration's key: use 1 to {MIGRATION_KEY_BYTES_MAX} bytes of a-z, 0-9, '-' and '.'")]
#[non_exhaustive]
pub struct MigrationKeyError {
    /// What was given.
    pub key: String,
}

/// What is replaced by what. Declared once, as a constant of the service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Migration {
    key: MigrationKey,
    forms: Subject,
}

/// What the two forms of a migration are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Subject {
    /// The singleton, then the per-node servers.
    Servers,
    /// Calls of the one function, then of the other.
    Functions(Cow<'static, str>, Cow<'static, str>),
}

/// rexi's own migration: from one server per node to one per *remote* node.
pub const SERVER_PER_NODE: Migration =
    Migration { key: MigrationKey::constant("rexi.server-per-node"), forms: Subject::Servers };

/// How far a release may go with a migration. Ordered as the releases of a train go through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It knows the old form alone.
    Absent,
    /// It takes both forms and says the old one.
    Introduce,
    /// It takes both, and may say either.
    Switch,
    /// It knows the new form alone.
    Remove,
}

/// One of the two forms of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// The one that is replaced.
    Old,
    /// The one that replaces it.
    New,
}

/// A set of [`Form`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Forms(u8);

impl Forms {
    /// Neither.
    pub const NONE: Self = Self(0);
    /// The old form alone.
    pub const OLD: Self = Self(1);
    /// The new form alone.
    pub const NEW: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);

    /// The set as bits: 1 for the old form, 2 for the new one.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits; `None` where an unknown bit is set.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits <= 3 { Some(Self(bits)) } else { None }
    }

    /// Whether `form` is in the set.
    pub const fn contains(self, form: Form) -> bool {
        self.0 & Self::of(form).0 != 0
    }

    /// The form alone.
    pub const fn of(form: Form) -> Self {
        match form {
            Form::Old => Self::OLD,
            Form::New => Self::NEW,
        }
    }
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::NONE => "none",
            Self::OLD => "old",
            Self::NEW => "new",
            _ => "old and new",
        })
    }
}

impl MigrationKey {
    /// Checks and takes a key.
    ///
    /// # Errors
    /// [`MigrationKeyError`] where the text is none.
    pub fn new(key: impl Into<String>) -> Result<Self, MigrationKeyError> {
        let key = key.into();
        if is_key(&key) { Ok(Self(Cow::Owned(key))) } else { Err(MigrationKeyError { key: start_of(&key, 80) }) }
    }

    /// The key of a constant.
    ///
    /// # Panics
    /// Where the text is no key; in a constant, that does not compile.
    pub const fn constant(key: &'static str) -> Self {
        assert!(is_key(key), "a migration's key has 1 to 64 bytes of a-z, 0-9, '-' and '.'");
        Self(Cow::Borrowed(key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_key(key: &str) -> bool {
    let bytes = key.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.') {
            return false;
        }
        at += 1;
    }
    at > 0 && at <= MIGRATION_KEY_BYTES_MAX
}

impl AsRef<MigrationKey> for MigrationKey {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsRef<MigrationKey> for Migration {
    fn as_ref(&self) -> &MigrationKey {
        &self.key
    }
}

impl Borrow<str> for MigrationKey {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for MigrationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MigrationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for MigrationKey {
    type Err = MigrationKeyError;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        Self::new(key)
    }
}

impl TryFrom<String> for MigrationKey {
    type Error = MigrationKeyError;

    fn try_from(key: String) -> Result<Self, Self::Error> {
        Self::new(key)
    }
}

impl From<MigrationKey> for String {
    fn from(key: MigrationKey) -> Self {
        key.0.into_owned()
    }
}

impl Migration {
    /// A migration from calls of the function `old` to calls of `new`, by their registered names.
    ///
    /// # Panics
    /// Where the key is none; in a constant, that does not compile.
    pub const fn of_functions(key: &'static str, old: &'static str, new: &'static str) -> Self {
        let forms = Subject::Functions(Cow::Borrowed(old), Cow::Borrowed(new));
        Self { key: MigrationKey::constant(key), forms }
    }

    /// The same migration of other functions, whose names are made of its own.
    #[must_use]
    pub fn with_functions(&self, name: impl Fn(&str) -> String) -> Self {
        let forms = match &self.forms {
            Subject::Servers => Subject::Servers,
            Subject::Functions(old, new) => Subject::Functions(name(old).into(), name(new).into()),
        };
        Self { key: self.key.clone(), forms }
    }

    /// Its key.
    pub const fn key(&self) -> &MigrationKey {
        &self.key
    }

    /// The function whose calls are of this form; `None` in rexi's own migration, whose forms are servers.
    pub fn function(&self, form: Form) -> Option<&str> {
        match (&self.forms, form) {
            (Subject::Servers, _) => None,
            (Subject::Functions(old, _), Form::Old) => Some(old),
            (Subject::Functions(_, new), Form::New) => Some(new),
        }
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 4] = [Self::Absent, Self::Introduce, Self::Switch, Self::Remove];

    /// The phase that a release of this stage starts in.
    pub const fn lowest(self) -> Phase {
        match self {
            Self::Absent => Phase::Singleton,
            Self::Introduce | Self::Switch => Phase::Introduce,
            Self::Remove => Phase::Remove,
        }
    }

    /// The phase that it may be raised to.
    pub const fn highest(self) -> Phase {
        match self {
            Self::Absent => Phase::Singleton,
            Self::Introduce => Phase::Introduce,
            Self::Switch => Phase::Switch,
            Self::Remove => Phase::Remove,
        }
    }

    /// The forms that a node of this stage takes, whatever its phase.
    pub const fn takes(self) -> Forms {
        self.lowest().takes()
    }

    /// Whether a node of this stage may be in `phase`.
    pub fn allows(self, phase: Phase) -> bool {
        (self.lowest()..=self.highest()).contains(&phase)
    }

    /// Whether a node of this stage can change its phase while it runs.
    pub fn moves(self) -> bool {
        self.lowest() < self.highest()
    }

    /// The stage after this one.
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Absent => Some(Self::Introduce),
            Self::Introduce => Some(Self::Switch),
            Self::Switch => Some(Self::Remove),
            Self::Remove => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Introduce => "introduce",
            Self::Switch => "switch",
            Self::Remove => "remove",
        })
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "old form",
            Self::New => "new form",
        })
    }
}

/// Migrations of a train, done or under way, so that a hello stays within its own bound.
pub const MIGRATIONS_MAX: usize = 16;

/// Bytes of a migration's key, so that a hello stays within its own bound.
pub const MIGRATION_KEY_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_plain() {
        for good in ["a", "rexi.server-per-node", &"k".repeat(64)] {
            assert_eq!(MigrationKey::new(good).map(|key| key.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "A", "a b", "a_b", "é", &"k".repeat(65)] {
            assert!(MigrationKey::new(bad).expect_err(bad).to_string().contains("is not a migration's key"), "{bad}");
        }
    }

    #[test]
    fn a_stage_allows_the_phases_between_its_lowest_and_its_highest() {
        let allowed = |stage: Stage| Phase::ALL.into_iter().filter(|&phase| stage.allows(phase)).collect::<Vec<_>>();
        assert_eq!(allowed(Stage::Absent), [Phase::Singleton]);
        assert_eq!(allowed(Stage::Introduce), [Phase::Introduce]);
        assert_eq!(allowed(Stage::Switch), [Phase::Introduce, Phase::Switch]);
        assert_eq!(allowed(Stage::Remove), [Phase::Remove]);
        for stage in Stage::ALL {
            assert_eq!(stage.lowest().hosts(), stage.highest().hosts(), "no change of phase starts or stops a server");
        }
    }

    #[test]
    fn the_forms_of_a_service_are_functions_and_those_of_rexi_are_servers() {
        let reads = Migration::of_functions("inventory.reads", "get", "get_with");
        assert_eq!((reads.function(Form::Old), reads.function(Form::New)), (Some("get"), Some("get_with")));
        assert_eq!(SERVER_PER_NODE.function(Form::Old), None);
        assert_eq!(SERVER_PER_NODE.to_string(), "rexi.server-per-node");
    }
}
