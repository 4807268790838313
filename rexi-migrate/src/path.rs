//! An upgrade path: releases of a train that a cluster goes through, in any order, each with its profile.
//!
//! In: a train, and a text such as `3.0,3.1`. Out: profiles by their [`Place`]. Whether neighbours may run side by side
//! is not checked here: the handshake has to refuse that, and a rehearsal of an illegal path must show that it does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rexi_proto::{Form, FunctionRow, Migration, MigrationKey, Phase, Profile, Release, Train, TrainError};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// A release by its place in a train, the first of which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u8);

impl Place {
    /// As an index.
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// Whether the other is the same or a neighbour.
    pub fn is_near(self, other: Self) -> bool {
        self.0.abs_diff(other.0) <= 1
    }
}

/// The releases to go through, in order: at least one; and what changes on the way of a service's functions. Cheap to
/// clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradePath {
    profiles: Arc<[Profile]>,
    /// The service's functions, as far as they are known.
    functions: Arc<[FunctionRow]>,
    changing: Arc<[Changing]>,
}

/// Functions of a service that not every release of a path takes and calls alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changing {
    /// Calls of one become calls of another: the migration of this number.
    Migration(usize, Migration),
    /// One that comes, falls silent or goes, as its row says.
    Function(FunctionRow),
}

impl Changing {
    /// The functions of it that a node of a release takes.
    pub fn taken(&self, profile: &Profile) -> impl Iterator<Item = &str> {
        let (forms, row) = match self {
            Self::Migration(number, migration) => {
                let takes = profile.stage_at(*number).takes();
                let form = move |form: Form| migration.function(form).filter(|_| takes.contains(form));
                ([form(Form::Old), form(Form::New)], None)
            }
            Self::Function(row) => ([None; 2], Some(&*row.name).filter(|_| row.accepted(profile.stop()))),
        };
        forms.into_iter().flatten().chain(row)
    }

    /// The function of it that a node of a release calls, given the phase of each migration by number.
    pub fn called(&self, profile: &Profile, phase: impl FnOnce(usize) -> Phase) -> Option<&str> {
        match self {
            Self::Migration(number, migration) => migration.function(phase(*number).says()),
            Self::Function(row) => Some(&*row.name).filter(|_| row.emitted(profile.stop())),
        }
    }
}

/// Why a text is not a train. The operator is at fault; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// No release of this number is known.
    #[error("{text:?} is not a known release: use one of {known}")]
    UnknownRelease {
        /// What was given.
        text: String,
        /// The releases that there are.
        known: String,
    },
    /// Nothing to go through.
    #[error("a train needs at least one release of {known}")]
    Empty {
        /// The releases that there are.
        known: String,
    },
    /// More stops than a run can have.
    #[error("a train of {count} releases is too long: use at most {RELEASES_MAX}")]
    TooLong {
        /// How many were given.
        count: usize,
    },
}

impl UpgradePath {
    /// A whole train, from its first release to its last.
    ///
    /// # Errors
    /// [`TrainError`] where the train contradicts itself.
    pub fn of(train: &Train) -> Result<Self, TrainError> {
        train.profiles().map(|profiles| Self::new(profiles.into(), train.functions().into()))
    }

    /// The same releases, of a service with these functions besides those that its train declares. Those of a migration
    /// follow that, whatever their rows say.
    #[must_use]
    pub fn with_functions(&self, functions: impl IntoIterator<Item = FunctionRow>) -> Self {
        let mut all: Vec<FunctionRow> = functions.into_iter().collect();
        let declared = self.functions.iter().filter(|row| all.iter().all(|of| of.name != row.name)).cloned();
        all.extend(declared.collect::<Vec<_>>());
        Self::new(Arc::clone(&self.profiles), all.into())
    }

    fn new(profiles: Arc<[Profile]>, functions: Arc<[FunctionRow]>) -> Self {
        let migrations: Vec<&Migration> = profiles[0].migrations().map(|(migration, _)| migration).collect();
        let moves = |number: usize| {
            let mut stages = profiles.iter().map(|profile| profile.stage_at(number));
            stages.any(|stage| stage.moves() || stage != profiles[0].stage_at(number))
        };
        let of_functions = |migration: &Migration| migration.function(Form::Old).is_some();
        let migrated = (0..).zip(&migrations).filter(|&(number, of)| of_functions(of) && moves(number));
        let changes = |row: &&FunctionRow| {
            let life = |profile: &Profile| (row.accepted(profile.stop()), row.emitted(profile.stop()));
            let is_of = |migration: &&Migration| {
                [Form::Old, Form::New].into_iter().any(|form| migration.function(form) == Some(&*row.name))
            };
            !migrations.iter().any(is_of) && profiles.iter().any(|profile| life(profile) != life(&profiles[0]))
        };
        let rows = functions.iter().filter(changes).map(|row| Changing::Function(row.clone()));
        let migrated = migrated.map(|(number, &of)| Changing::Migration(number, of.clone()));
        let changing = migrated.chain(rows).collect();
        Self { profiles, functions, changing }
    }

    /// What changes of the service's functions on the way: migrations first.
    pub fn changing(&self) -> &[Changing] {
        &self.changing
    }

    /// Each place, the first release's first.
    pub fn places(&self) -> impl DoubleEndedIterator<Item = Place> + Clone + use<> {
        (0..=self.last().0).map(Place)
    }

    /// The place of the last release.
    pub fn last(&self) -> Place {
        Place(u8::try_from(self.profiles.len() - 1).expect("a train is short"))
    }

    /// The release of this number alone.
    ///
    /// # Panics
    /// As [`UpgradePath::at`].
    #[must_use]
    pub fn only(&self, number: usize) -> Self {
        Self::new([self.at(number).clone()].into(), Arc::clone(&self.functions))
    }

    /// How many releases it has.
    pub fn len(&self) -> usize {
        self.profiles.len()
    }

    /// Whether each release is the next one of its train after the one before it.
    pub fn goes_forward(&self) -> bool {
        self.profiles.windows(2).all(|two| two[1].follows() == Some(two[0].stop()))
    }

    /// Whether a node of some release can change the servers that it sends to while it runs.
    pub fn switches_servers(&self) -> bool {
        self.profiles.iter().any(|profile| profile.server_stage().moves())
    }

    /// Never: a path has at least one release.
    pub fn is_empty(&self) -> bool {
        self.profiles.is_empty()
    }

    /// What the release of this number may do, the first being 0.
    ///
    /// # Panics
    /// Where the path ends before: the caller's fault.
    pub fn at(&self, number: usize) -> &Profile {
        &self.profiles[number]
    }

    /// The release of this number as reports name it, such as `1.1`.
    ///
    /// # Panics
    /// As [`UpgradePath::at`].
    pub fn name(&self, number: usize) -> String {
        Release::from(self.at(number).release()).to_string()
    }

    /// What the release at a place may do at run time.
    ///
    /// # Panics
    /// Where the train ends before: the caller's fault.
    pub fn profile(&self, place: Place) -> &Profile {
        &self.profiles[place.index()]
    }

    /// The release at a place.
    ///
    /// # Panics
    /// As [`UpgradePath::profile`].
    pub fn release(&self, place: Place) -> Release {
        self.profile(place).release().into()
    }

    /// The releases, in order.
    pub fn releases(&self) -> Vec<Release> {
        self.places().map(|place| self.release(place)).collect()
    }

    /// Where a release stands first.
    pub fn place(&self, release: Release) -> Option<Place> {
        self.places().find(|&place| self.release(place) == release)
    }

    /// The release that a text names.
    ///
    /// # Errors
    /// [`PathError::UnknownRelease`] where the train does not have it.
    pub fn find(&self, text: &str) -> Result<Place, PathError> {
        let place = text.parse().ok().and_then(|release| self.place(release));
        place.ok_or_else(|| PathError::UnknownRelease { text: text.to_owned(), known: self.known() })
    }

    /// Another train of these releases, in any order, as a text such as `1.0,1.1` names them.
    ///
    /// # Errors
    /// [`PathError`] where the text names none, too many, or one that this train does not have.
    pub fn select(&self, text: &str) -> Result<Self, PathError> {
        if text.trim().is_empty() {
            return Err(PathError::Empty { known: self.known() });
        }
        let count = text.split(',').count();
        if count > RELEASES_MAX {
            return Err(PathError::TooLong { count });
        }
        let profile = |release: &str| self.find(release.trim()).map(|place| self.profile(place).clone());
        let profiles = text.split(',').map(profile).collect::<Result<_, _>>()?;
        Ok(Self::new(profiles, Arc::clone(&self.functions)))
    }

    fn known(&self) -> String {
        self.to_string().replace(',', ", ")
    }
}

impl fmt::Display for UpgradePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let releases: Vec<String> = self.releases().iter().map(Release::to_string).collect();
        f.write_str(&releases.join(","))
    }
}

impl Serialize for UpgradePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.releases().serialize(serializer)
    }
}

/// The phase of each migration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phases(pub BTreeMap<MigrationKey, Phase>);

impl Phases {
    /// The phases that a release starts in.
    pub fn lowest(profile: &Profile) -> Self {
        profile.migrations().map(|(migration, stage)| (migration.key().clone(), stage.lowest())).collect()
    }

    /// The highest phases that it may be raised to.
    pub fn highest(profile: &Profile) -> Self {
        profile.migrations().map(|(migration, stage)| (migration.key().clone(), stage.highest())).collect()
    }
}

impl FromIterator<(MigrationKey, Phase)> for Phases {
    fn from_iter<I: IntoIterator<Item = (MigrationKey, Phase)>>(phases: I) -> Self {
        Self(phases.into_iter().collect())
    }
}

impl fmt::Display for Phases {
    /// Of one migration the phase alone, of several each with its migration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iter().next() {
            Some((_, phase)) if self.0.len() == 1 => phase.fmt(f),
            _ => {
                let each: Vec<String> = self.0.iter().map(|(key, phase)| format!("{key} {phase}")).collect();
                f.write_str(&each.join(", "))
            }
        }
    }
}

/// The most releases a path may name: each restarts every node once.
pub const RELEASES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    #[test]
    fn a_text_that_is_no_train_is_refused_with_what_is_allowed() {
        let refused = |text: &str| crate::demo::path().select(text).expect_err("refused").to_string();
        assert_eq!(refused("1.0,1.3"), r#""1.3" is not a known release: use one of 1.0, 1.1, 1.2, 2.0"#);
        assert_eq!(refused("1.0,"), r#""" is not a known release: use one of 1.0, 1.1, 1.2, 2.0"#);
        assert!(refused(" ").contains("at least one release"));
        assert!(refused(&["1.0"; 33].join(",")).contains("at most 32"));
        assert_eq!(crate::demo::path().select("1.0, 1.1.0").expect("a path").to_string(), "1.0,1.1");
    }
}
