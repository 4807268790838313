//! A release: what a service deploys, and the bounds that this sets on what a node may do at run time.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use semver::Version;

use crate::function::Release;
use crate::migration::{Migration, MigrationKey, Stage};
use crate::phase::Servers;
use crate::version::VersionRange;

/// What one release of a train may do: its version, the release that it follows, how far it goes with each migration,
/// and the wire versions that it speaks. [`Train::profile`](crate::Train::profile) has one. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub(crate) release: Version,
    pub(crate) stop: Release,
    pub(crate) follows: Option<Release>,
    pub(crate) wire: VersionRange,
    /// rexi's own first, the others by key.
    pub(crate) migrations: Arc<[(Migration, Stage)]>,
    pub(crate) of_train: Arc<OfTrain>,
}

/// What the profiles of one train have in common.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OfTrain {
    pub(crate) name: Arc<str>,
    pub(crate) stops: Vec<Release>,
    /// The place of the only migration in which the train goes on; `None` where there are several.
    pub(crate) only: Option<usize>,
}

/// By the release alone, which tells those of one train apart.
impl Hash for Profile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.release.hash(state);
    }
}

impl Profile {
    /// The name of the train, which is that of the service.
    pub fn train(&self) -> &str {
        &self.of_train.name
    }

    /// The releases of the train, in order.
    pub fn stops(&self) -> &[Release] {
        &self.of_train.stops
    }

    /// The migration that is meant where none is named: the only one in which the train goes on, or rexi's own where it
    /// goes on in none. `None` where it goes on in several.
    pub fn only_migration(&self) -> Option<&Migration> {
        self.of_train.only.map(|place| &self.migrations[place].0)
    }

    /// The release's version.
    pub fn release(&self) -> &Version {
        &self.release
    }

    /// The release as its train names it: a patch of it is the same stop.
    pub fn stop(&self) -> Release {
        self.stop
    }

    /// The release before it in the train; `None` for the first.
    pub fn follows(&self) -> Option<Release> {
        self.follows
    }

    /// Every migration of the train, rexi's own first and the others by key, and how far the release goes with it.
    pub fn migrations(&self) -> impl ExactSizeIterator<Item = (&Migration, Stage)> {
        self.migrations.iter().map(|(migration, stage)| (migration, *stage))
    }

    /// The place of a migration among [`Profile::migrations`].
    pub(crate) fn place(&self, key: &MigrationKey) -> Option<usize> {
        self.migrations.iter().position(|(migration, _)| migration.key() == key)
    }

    /// How far the release goes with a migration; `None` where the train does not have it.
    pub fn stage(&self, key: &MigrationKey) -> Option<Stage> {
        self.migrations().find(|(migration, _)| migration.key() == key).map(|(_, stage)| stage)
    }

    /// How far the release goes with the migration of this number.
    ///
    /// # Panics
    /// Where the train has fewer: the caller's fault.
    pub fn stage_at(&self, number: usize) -> Stage {
        self.migrations[number].1
    }

    /// Whether a node of the other release may be met: both are of one, or one follows the other.
    pub fn is_near(&self, other: &Self) -> bool {
        self.stop == other.stop || self.follows == Some(other.stop) || other.follows == Some(self.stop)
    }

    /// Whether a node of the release can change a phase while it runs.
    pub fn moves(&self) -> bool {
        self.migrations().any(|(_, stage)| stage.moves())
    }

    /// How far the release goes with rexi's own migration.
    pub fn server_stage(&self) -> Stage {
        self.migrations[0].1
    }

    /// The servers that the release runs, whatever its phase.
    pub fn hosts(&self) -> Servers {
        self.server_stage().takes().into()
    }

    /// The wire versions that the release speaks.
    pub fn wire(&self) -> VersionRange {
        self.wire
    }
}
