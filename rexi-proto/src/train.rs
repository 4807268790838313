//! A train: a service's releases in order, declared once. All that a node does, and all that the tools show, is taken
//! from it; no code of rexi's names a release of anybody's.

mod error;

use std::fmt;
use std::sync::Arc;

use semver::Version;

use crate::function::{FunctionRow, Release};
use crate::migration::{Form, MIGRATIONS_MAX, Migration, MigrationKey, SERVER_PER_NODE, Stage};
use crate::name::start_of;
use crate::phase::{Phase, ServerAddress};
use crate::release::{OfTrain, Profile};
use crate::version::{VersionRange, WireVersion};

pub use error::TrainError;

/// A service's releases in order: what each speaks, and how far it goes with each migration.
///
/// ```
/// use rexi_proto::{Migration, SERVER_PER_NODE, Train, WireVersion};
///
/// const READS: Migration = Migration::of_functions("inventory.read-consistency", "get", "get_with");
///
/// let train = Train::new("inventory")
///     .release("3.0", |r| r.wire(WireVersion::V3).remove(SERVER_PER_NODE))
///     .release("3.1", |r| r.introduce(READS))
///     .release("3.2", |r| r.switch(READS))
///     .release("3.3", |r| r.remove(READS));
/// assert_eq!(train.profile("3.2.1")?.follows(), Some("3.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What a release does not say of a migration is what the one before it did, and the first of a train has gone no way
/// with it. So it is with the wire versions; the first speaks the newest that its servers can be addressed in. A train
/// that never speaks of [`SERVER_PER_NODE`] has no singleton.
///
/// A patch is no release of its own here: 3.2.1 is a node of 3.2. A train that contradicts itself can be held and
/// passed on; no node is built of it: see [`Train::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Train {
    name: Arc<str>,
    releases: Vec<DeclaredRelease>,
    functions: Vec<FunctionRow>,
}

/// What a train says of one release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a release is declared by what is returned"]
pub struct DeclaredRelease {
    version: String,
    wire: Option<VersionRange>,
    stages: Vec<(Migration, Stage)>,
}

impl DeclaredRelease {
    /// The wire versions that the release speaks: one, or a range such as `V2..=V3`.
    pub fn wire(mut self, versions: impl Into<VersionRange>) -> Self {
        self.wire = Some(versions.into());
        self
    }

    /// The release takes both forms and says the old one.
    pub fn introduce(self, migration: impl Into<Migration>) -> Self {
        self.at(migration, Stage::Introduce)
    }

    /// The release may say the new form, and go back to the old one while it runs.
    pub fn switch(self, migration: impl Into<Migration>) -> Self {
        self.at(migration, Stage::Switch)
    }

    /// The old form is gone.
    pub fn remove(self, migration: impl Into<Migration>) -> Self {
        self.at(migration, Stage::Remove)
    }

    fn at(mut self, migration: impl Into<Migration>, stage: Stage) -> Self {
        self.stages.push((migration.into(), stage));
        self
    }
}

impl Train {
    /// A train without releases. Its name is the service's, and the cluster's where nothing else is said.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), releases: Vec::new(), functions: Vec::new() }
    }

    /// Declares the next release, such as `3.1`.
    #[must_use]
    pub fn release(mut self, version: &str, declare: impl FnOnce(DeclaredRelease) -> DeclaredRelease) -> Self {
        self.releases.push(declare(DeclaredRelease { version: version.to_owned(), ..DeclaredRelease::default() }));
        self
    }

    /// Declares a function of the service, by the row that says since when it is taken and asked for.
    #[must_use]
    pub fn function(mut self, row: FunctionRow) -> Self {
        self.functions.push(row);
        self
    }

    /// Whether a text can name a train or a cluster.
    pub fn is_name(text: &str) -> bool {
        MigrationKey::new(text).is_ok()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rows of its functions, as declared.
    pub fn functions(&self) -> &[FunctionRow] {
        &self.functions
    }

    /// Whether the train can be run.
    ///
    /// # Errors
    /// [`TrainError`] names the first release that contradicts the others, and the rule.
    pub fn check(&self) -> Result<(), TrainError> {
        self.profiles().map(drop)
    }

    /// What each release may do, in order: at least one.
    ///
    /// # Errors
    /// As [`Train::check`].
    pub fn profiles(&self) -> Result<Vec<Profile>, TrainError> {
        let train = || Arc::clone(&self.name);
        if !Self::is_name(&self.name) {
            return Err(TrainError::Name { name: start_of(&self.name, 80) });
        }
        if self.releases.len() > TRAIN_RELEASES_MAX {
            return Err(TrainError::TooLong { train: train(), count: self.releases.len() });
        }
        let migrations = self.migrations()?;
        let mut profiles: Vec<Profile> = Vec::with_capacity(self.releases.len());
        for declared in &self.releases {
            let profile = self.profile_of(declared, &migrations, profiles.last())?;
            profiles.push(profile);
        }
        let (Some(first), Some(last)) = (profiles.first(), profiles.last()) else {
            return Err(TrainError::Empty { train: train() });
        };
        self.check_functions(&profiles)?;
        let goes_on = |place: &usize| first.migrations[*place].1 != last.migrations[*place].1;
        let moved: Vec<usize> = (0..migrations.len()).filter(goes_on).collect();
        let only = if let [] | [_] = moved[..] { Some(moved.first().copied().unwrap_or(0)) } else { None };
        let stops = profiles.iter().map(Profile::stop).collect();
        let of_train = Arc::new(OfTrain { name: train(), stops, only });
        Ok(profiles.into_iter().map(|profile| Profile { of_train: Arc::clone(&of_train), ..profile }).collect())
    }

    /// What a node of this version may do: `3.1`, or a patch of it such as `3.1.4`.
    ///
    /// # Errors
    /// [`TrainError::UnknownRelease`] where no release of the train has the version's major and minor number, and as
    /// [`Train::check`].
    pub fn profile(&self, version: &str) -> Result<Profile, TrainError> {
        let profiles = self.profiles()?;
        let known = || profiles.iter().map(|profile| profile.stop.to_string()).collect::<Vec<_>>().join(", ");
        let unknown = || TrainError::UnknownRelease {
            train: Arc::clone(&self.name),
            release: start_of(version, 80),
            known: known(),
        };
        let release = version_of(version).ok_or_else(unknown)?;
        let wanted = Release::from(&release);
        let stop = profiles.iter().find(|profile| profile.stop.is_patched_by(wanted));
        stop.map(|stop| Profile { release, ..stop.clone() }).ok_or_else(unknown)
    }

    /// Every migration of the train, rexi's own first and the others by key.
    fn migrations(&self) -> Result<Vec<Migration>, TrainError> {
        let mut migrations = vec![SERVER_PER_NODE];
        for (declared, (migration, _)) in
            self.releases.iter().flat_map(|release| release.stages.iter().map(move |stage| (release, stage)))
        {
            match migrations.iter().find(|known| known.key() == migration.key()) {
                None => migrations.push(migration.clone()),
                Some(known) if known == migration => {}
                Some(_) => {
                    let release = self.stop_of(declared)?;
                    return Err(TrainError::KeyTwice { release, migration: migration.key().clone() });
                }
            }
        }
        // rexi's own is the first, as in every hello.
        migrations[1..].sort_by(|a, b| a.key().cmp(b.key()));
        if migrations.len() > MIGRATIONS_MAX {
            return Err(TrainError::TooManyMigrations { train: Arc::clone(&self.name), count: migrations.len() });
        }
        Ok(migrations)
    }

    fn stop_of(&self, declared: &DeclaredRelease) -> Result<Release, TrainError> {
        let text = &declared.version;
        text.parse().map_err(|_| TrainError::Version { train: Arc::clone(&self.name), version: start_of(text, 80) })
    }

    fn profile_of(
        &self,
        declared: &DeclaredRelease,
        migrations: &[Migration],
        before: Option<&Profile>,
    ) -> Result<Profile, TrainError> {
        let stop = self.stop_of(declared)?;
        if let Some(before) = before.map(Profile::stop).filter(|&before| before >= stop || before.is_patched_by(stop)) {
            return Err(TrainError::Order { train: Arc::clone(&self.name), release: stop, before });
        }
        let staged = migrations.iter().map(|migration| {
            let stage = self.stage_of(declared, stop, migration, before)?;
            Ok((migration.clone(), stage))
        });
        let profile = Profile {
            of_train: Arc::new(OfTrain { name: Arc::clone(&self.name), stops: Vec::new(), only: None }),
            release: stop.into(),
            stop,
            follows: before.map(Profile::stop),
            wire: VersionRange::new(WireVersion::V1, WireVersion::V1),
            migrations: staged.collect::<Result<_, _>>()?,
        };
        let wire = declared.wire.or(before.map(Profile::wire)).unwrap_or_else(|| newest_wire(profile.server_stage()));
        let profile = Profile { wire, ..profile };
        check_wire(&profile, before)?;
        check_shared_functions(&profile)?;
        Ok(profile)
    }

    fn stage_of(
        &self,
        declared: &DeclaredRelease,
        release: Release,
        migration: &Migration,
        before: Option<&Profile>,
    ) -> Result<Stage, TrainError> {
        let key = migration.key();
        let mut said = declared.stages.iter().filter(|(of, _)| of == migration).map(|&(_, stage)| stage);
        let (stage, again) = (said.next(), said.next());
        if again.is_some() {
            return Err(TrainError::Twice { release, migration: key.clone() });
        }
        let Some(before) = before else { return Ok(stage.unwrap_or_else(|| self.first_stage(migration))) };
        let before_stage = before.stage(key).unwrap_or(Stage::Absent);
        match stage {
            None => Ok(before_stage),
            Some(stage) if stage == before_stage || before_stage.next() == Some(stage) => Ok(stage),
            Some(stage) => {
                let (migration, before) = (key.clone(), before.stop);
                Err(TrainError::Stage { release, migration, stage, before, before_stage })
            }
        }
    }

    /// What the first release does with a migration that it does not speak of.
    fn first_stage(&self, migration: &Migration) -> Stage {
        let spoken_of = self.releases.iter().any(|release| release.stages.iter().any(|(of, _)| of == migration));
        if spoken_of { Stage::Absent } else { Stage::Remove }
    }

    fn check_functions(&self, profiles: &[Profile]) -> Result<(), TrainError> {
        for (place, row) in self.functions.iter().enumerate() {
            let wrong = |reason: String| Err(TrainError::Function { function: row.name.to_string(), reason });
            if self.functions[..place].iter().any(|other| other.name == row.name) {
                return wrong("it is declared twice".to_owned());
            }
            if let Some(silent) = row.retired_in.filter(|_| row.silent_since.is_none()) {
                return wrong(format!("it is retired in {silent} and silent in no release before; say `silent`"));
            }
            let [accepted, emitted] = [row.accepted_since, row.emitted_since];
            if row.emitted_since < row.accepted_since {
                return wrong(format!("it is asked for since {emitted} and taken since {accepted}; take it first"));
            }
            let later = [row.silent_since, row.retired_in];
            for named in [accepted, emitted].into_iter().chain(later.into_iter().flatten()) {
                // What lies before the train was; what lies behind it is to come.
                let within = profiles[0].stop < named && named <= profiles[profiles.len() - 1].stop;
                if within && !profiles.iter().any(|profile| profile.stop == named) {
                    return wrong(format!("its row names {named}, which the train {} does not have", self.name));
                }
            }
        }
        Ok(())
    }
}

/// The version that a text names, its patch left out or not.
fn version_of(text: &str) -> Option<Version> {
    let version = Version::parse(text).or_else(|_| Version::parse(&format!("{text}.0"))).ok()?;
    (version.to_string().len() <= RELEASE_BYTES_MAX).then_some(version)
}

/// The newest wire version that can address the servers of a release.
fn newest_wire(stage: Stage) -> VersionRange {
    match stage {
        Stage::Absent => WireVersion::V1.into(),
        Stage::Introduce | Stage::Switch => WireVersion::V2.into(),
        Stage::Remove => WireVersion::V3.into(),
    }
}

fn check_wire(profile: &Profile, before: Option<&Profile>) -> Result<(), TrainError> {
    let (release, wire, stage) = (profile.stop, profile.wire, profile.server_stage());
    if !wire.is_valid() || wire.newest > WireVersion::V3 {
        return Err(TrainError::WireRange { release, wire });
    }
    let unaddressable = |server, version| Err(TrainError::Unaddressable { release, server, version });
    if wire.contains(WireVersion::V1) && stage.highest() >= Phase::Switch {
        return unaddressable(ServerAddress::PerNode, WireVersion::V1);
    }
    if wire.contains(WireVersion::V3) && profile.hosts().contains(ServerAddress::Singleton) {
        return unaddressable(ServerAddress::Singleton, WireVersion::V3);
    }
    match before {
        Some(before) if before.wire.newest_common(wire).is_none() => {
            Err(TrainError::WireGap { release, wire, before: before.stop, before_wire: before.wire })
        }
        _ => Ok(()),
    }
}

/// Which function a call stands for must not depend on the order in which migrations are asked.
fn check_shared_functions(profile: &Profile) -> Result<(), TrainError> {
    let under_way = |stage: Stage| matches!(stage, Stage::Introduce | Stage::Switch);
    let forms = |migration: &Migration| [Form::Old, Form::New].map(|form| migration.function(form).map(str::to_owned));
    let open: Vec<&Migration> =
        profile.migrations().filter(|&(_, stage)| under_way(stage)).map(|(migration, _)| migration).collect();
    for (place, one) in open.iter().enumerate() {
        for other in &open[..place] {
            let theirs = forms(other);
            let shared =
                forms(one).into_iter().flatten().find(|function| theirs.iter().flatten().any(|of| of == function));
            if let Some(function) = shared {
                let (release, migration, other) = (profile.stop, other.key().clone(), one.key().clone());
                return Err(TrainError::FunctionShared { release, migration, other, function });
            }
        }
    }
    Ok(())
}

impl fmt::Display for Train {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let releases: Vec<&str> = self.releases.iter().map(|release| release.version.as_str()).collect();
        write!(f, "{} ({})", self.name, releases.join(", "))
    }
}

/// Releases of a train.
pub const TRAIN_RELEASES_MAX: usize = 16;

/// Bytes of a train's name and of a cluster's.
pub const TRAIN_NAME_BYTES_MAX: usize = 64;

/// Bytes of a release's text, so that a hello stays within its own bound.
pub(crate) const RELEASE_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests;
