//! What can be wrong with a train, with the release and the rule.

use std::sync::Arc;

use thiserror::Error;

use super::{TRAIN_NAME_BYTES_MAX, TRAIN_RELEASES_MAX};
use crate::function::Release;
use crate::migration::{MIGRATIONS_MAX, MigrationKey, Stage};
use crate::phase::ServerAddress;
use crate::version::{VersionRange, WireVersion};

/// Why a train contradicts itself, or does not have what is asked of it. The caller is at fault; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The train's name cannot be one.
    #[error("{name:?} is not a train's name: use 1 to {TRAIN_NAME_BYTES_MAX} bytes of a-z, 0-9, '-' and '.'")]
    Name {
        /// What was given.
        name: String,
    },
    /// It has no releases.
    #[error("the train {train} has no release; declare one with `release`")]
    Empty {
        /// The train.
        train: Arc<str>,
    },
    /// It has more than a run can go through.
    #[error(
        "the train {train} has {count} releases, allowed are {TRAIN_RELEASES_MAX}; leave out those that nobody runs"
    )]
    TooLong {
        /// The train.
        train: Arc<str>,
        /// How many.
        count: usize,
    },
    /// It has more migrations than a hello may name.
    #[error(
        "the train {train} has {count} migrations, rexi's own among them, allowed are {MIGRATIONS_MAX}; leave out \
         those that every release has removed"
    )]
    TooManyMigrations {
        /// The train.
        train: Arc<str>,
        /// How many.
        count: usize,
    },
    /// A release's text is no version.
    #[error("train {train}: {version:?} is not a release, such as 3.1 or 3.1.4")]
    Version {
        /// The train.
        train: Arc<str>,
        /// What was given.
        version: String,
    },
    /// A release is not after the one before it.
    #[error(
        "train {train}: release {release} stands behind {before}; releases are declared in their order, once each, \
             and those that differ in the patch alone are one"
    )]
    Order {
        /// The train.
        train: Arc<str>,
        /// The release.
        release: Release,
        /// The one declared before it.
        before: Release,
    },
    /// Its wire range is empty or names a version that these crates do not have.
    #[error("release {release}: {wire} is not a range of wire versions out of v1..v3")]
    WireRange {
        /// The release.
        release: Release,
        /// The range given.
        wire: VersionRange,
    },
    /// It has no wire version in common with the release before it, so the two could not meet.
    #[error("release {release} speaks {wire}, and {before} before it {before_wire}: they share no wire version")]
    WireGap {
        /// The release.
        release: Release,
        /// What it speaks.
        wire: VersionRange,
        /// The release before it.
        before: Release,
        /// What that speaks.
        before_wire: VersionRange,
    },
    /// The release needs a server that one of its wire versions cannot address.
    #[error("release {release} runs the {server}, which wire {version} has no address for; leave {version} out")]
    Unaddressable {
        /// The release.
        release: Release,
        /// The server.
        server: ServerAddress,
        /// The wire version.
        version: WireVersion,
    },
    /// It skips a stage of a migration, or goes back by one.
    #[error(
        "release {release} may not {stage} {migration}: {before} before it {}; a migration is introduced, switched and \
         removed, each in a release of its own", at(*before_stage)
    )]
    Stage {
        /// The release.
        release: Release,
        /// The migration.
        migration: MigrationKey,
        /// The stage declared.
        stage: Stage,
        /// The release before it.
        before: Release,
        /// What that does.
        before_stage: Stage,
    },
    /// It says twice what it does with a migration.
    #[error("release {release} says twice how far it goes with {migration}")]
    Twice {
        /// The release.
        release: Release,
        /// The migration.
        migration: MigrationKey,
    },
    /// Two migrations bear one key.
    #[error("release {release}: two migrations of the train bear the key {migration}")]
    KeyTwice {
        /// The release that declares the second.
        release: Release,
        /// The key.
        migration: MigrationKey,
    },
    /// Two migrations concern one function at a time.
    #[error(
        "release {release}: {migration} and {other} both concern the function {function:?}; end the one before the \
             other begins"
    )]
    FunctionShared {
        /// The release in which they meet.
        release: Release,
        /// One migration.
        migration: MigrationKey,
        /// The other.
        other: MigrationKey,
        /// The function.
        function: String,
    },
    /// A function's row names what the train does not have, or contradicts a migration.
    #[error("function {function:?}: {reason}")]
    Function {
        /// The function.
        function: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The train does not have the release.
    #[error("the train {train} has no release {release}: it has {known}")]
    UnknownRelease {
        /// The train.
        train: Arc<str>,
        /// What was asked for.
        release: String,
        /// What there is.
        known: String,
    },
}

fn at(stage: Stage) -> &'static str {
    match stage {
        Stage::Absent => "does not have it",
        Stage::Introduce => "introduces it",
        Stage::Switch => "switches it",
        Stage::Remove => "has removed its old form",
    }
}
