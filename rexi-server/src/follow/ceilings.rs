//! How far each migration may go, as somebody outside says it: a variable, a file, a flag service, code.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rexi_proto::{MigrationKey, MigrationKeyError, Phase, PhaseError, Profile, UnknownPhase};
use thiserror::Error;

/// The highest phase of each migration; of those that are not named, nothing is said.
///
/// As a text: one phase such as `introduce`, for a train that goes on in one migration, or `migration=phase` for each,
/// separated by commas or lines, such as `inventory.reads=introduce`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Of the only migration in which the train goes on.
    only: Option<Phase>,
    by_key: BTreeMap<MigrationKey, Phase>,
}

/// A text that says no ceilings. The author is at fault; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CeilingsError {
    /// It names no phase.
    #[error(transparent)]
    Phase(#[from] UnknownPhase),
    /// It names no migration.
    #[error(transparent)]
    Key(#[from] MigrationKeyError),
    /// One migration, or none, has two phases.
    #[error("{0} is given two phases; give it one")]
    Twice(String),
}

impl Ceilings {
    /// Nothing is said of any migration.
    pub fn none() -> Self {
        Self::default()
    }

    /// `phase` for the only migration in which the train goes on.
    pub fn only(phase: Phase) -> Self {
        Self { only: Some(phase), by_key: BTreeMap::new() }
    }

    /// With `phase` for a migration.
    #[must_use]
    pub fn with(mut self, migration: impl AsRef<MigrationKey>, phase: Phase) -> Self {
        self.by_key.insert(migration.as_ref().clone(), phase);
        self
    }

    /// Whether nothing is said of any migration.
    pub fn is_empty(&self) -> bool {
        self.only.is_none() && self.by_key.is_empty()
    }

    /// What is said of each migration of the train, rexi's own first.
    ///
    /// # Errors
    /// [`PhaseError::UnknownMigration`] for one that the train does not have, [`PhaseError::NoneNamed`] where none is
    /// named and the train goes on in several.
    pub(crate) fn of(&self, profile: &Profile) -> Result<Vec<Option<Phase>>, PhaseError> {
        let keys = || profile.migrations().map(|(migration, _)| migration.key());
        let list = || keys().map(MigrationKey::as_str).collect::<Vec<_>>().join(", ");
        if let Some(unknown) = self.by_key.keys().find(|&key| keys().all(|known| known != key)) {
            return Err(PhaseError::UnknownMigration { migration: unknown.clone(), known: list() });
        }
        let only = profile.only_migration().map(|migration| migration.key());
        match self.only {
            Some(phase) if only.is_none() => Err(PhaseError::NoneNamed { wanted: phase, known: list() }),
            unnamed => {
                let unnamed = |key| unnamed.filter(|_| only == Some(key));
                Ok(keys().map(|key| self.by_key.get(key).copied().or_else(|| unnamed(key))).collect())
            }
        }
    }
}

impl FromStr for Ceilings {
    type Err = CeilingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut ceilings = Self::none();
        let entries: Vec<&str> = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if entries.is_empty() {
            // A half-written file, or a template whose variable is unset, must not raise a node.
            ceilings.only = Some(text.parse()?);
        }
        for entry in entries {
            match entry.split_once('=') {
                None => {
                    if ceilings.only.replace(entry.parse()?).is_some() {
                        return Err(CeilingsError::Twice("the migration that is not named".to_owned()));
                    }
                }
                Some((key, phase)) => {
                    let key = MigrationKey::new(key.trim())?;
                    if ceilings.by_key.insert(key.clone(), phase.parse()?).is_some() {
                        return Err(CeilingsError::Twice(key.to_string()));
                    }
                }
            }
        }
        Ok(ceilings)
    }
}

impl fmt::Display for Ceilings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.by_key.iter().map(|(key, phase)| format!("{key}={phase}"));
        let all: Vec<String> = self.only.iter().map(Phase::to_string).chain(named).collect();
        f.write_str(&all.join(","))
    }
}

#[cfg(test)]
mod tests {
    use rexi_proto::{Migration, SERVER_PER_NODE, Train};

    use super::*;

    const READS: Migration = Migration::of_functions("inventory.reads", "get", "get_with");
    const WRITES: Migration = Migration::of_functions("inventory.writes", "put", "put_with");

    fn profile(both: bool) -> Profile {
        let train = Train::new("inventory")
            .release("3.0", |r| r)
            .release("3.1", |r| if both { r.introduce(READS).introduce(WRITES) } else { r.introduce(READS) });
        train.profile("3.1").expect("a train")
    }

    #[test]
    fn a_word_alone_is_for_the_only_migration_that_goes_on() {
        let introduce: Ceilings = " introduce\n".parse().expect("a phase");
        assert_eq!(introduce, Ceilings::only(Phase::Introduce));
        assert_eq!(introduce.of(&profile(false)), Ok(vec![None, Some(Phase::Introduce)]), "rexi's own is done");
        let refused = introduce.of(&profile(true)).expect_err("of which?").to_string();
        assert_eq!(
            refused,
            "the phase introduce is for one migration, and the train goes on in several: say which of \
             rexi.server-per-node, inventory.reads, inventory.writes, as in inventory.reads=introduce"
        );
    }

    #[test]
    fn each_migration_can_be_named_with_its_phase() {
        for text in [
            "inventory.reads=introduce, inventory.writes = switch",
            "inventory.reads=introduce\ninventory.writes=switch\n",
        ] {
            let both: Ceilings = text.parse().expect("two phases");
            assert_eq!(both, Ceilings::none().with(READS, Phase::Introduce).with(WRITES, Phase::Switch));
            assert_eq!(both.of(&profile(true)), Ok(vec![None, Some(Phase::Introduce), Some(Phase::Switch)]));
            assert_eq!(both.to_string().parse(), Ok(both.clone()));
        }
        assert_eq!(Ceilings::none().of(&profile(true)), Ok(vec![None, None, None]));
        assert_eq!(
            Ceilings::none().with(SERVER_PER_NODE, Phase::Remove).of(&profile(true)),
            Ok(vec![Some(Phase::Remove), None, None])
        );
        let unknown = Ceilings::none().with(WRITES, Phase::Switch).of(&profile(false)).expect_err("no such migration");
        assert!(unknown.to_string().starts_with("the train has no migration inventory.writes"), "{unknown}");
    }

    #[test]
    fn a_text_that_says_nothing_or_two_things_is_refused() {
        for (text, says) in [
            ("", "\"\" is not a phase"),
            (" , ", "is not a phase"),
            ("switched", "\"switched\" is not a phase"),
            ("reads=", "\"\" is not a phase"),
            ("Reads=switch", "\"Reads\" is not a migration's key"),
            ("switch,introduce", "the migration that is not named is given two phases"),
            ("a=switch,a=introduce", "a is given two phases"),
        ] {
            let refused = text.parse::<Ceilings>().expect_err(text).to_string();
            assert!(refused.contains(says), "{text:?}: {refused}");
        }
    }
}
