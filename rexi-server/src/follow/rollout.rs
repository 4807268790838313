//! Where a node's ceiling comes from: the release, code, the environment, a file, or any other flag source, which is
//! asked again while the node runs.
//!
//! Which phase is safe is decided in `rexi_proto`'s rollout; telling the peers of a change is the engine's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rexi_proto::{MigrationKey, Phase, PhaseError};
use thiserror::Error;

use super::ceilings::{Ceilings, CeilingsError};
use crate::engine::Shared;
use crate::files::read_text;

/// A place that says how far the rollout may go: a flag service, a file. Asked once a second; it must answer at once.
pub trait PhaseSource: Send + Sync + 'static {
    /// The highest phase that the source allows of each migration; it has no opinion of those that it does not name.
    ///
    /// # Errors
    /// [`PhaseSourceError`]. At start the node then does not start; later the last good word is kept.
    fn ceilings(&self) -> Result<Ceilings, PhaseSourceError>;
}

/// A flag source that cannot be read or does not make sense. The environment is at fault.
#[derive(Debug, Error)]
#[error("the phase of {origin}: {reason}")]
#[non_exhaustive]
pub struct PhaseSourceError {
    /// The file, variable or service.
    pub origin: String,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

impl PhaseSourceError {
    /// An error of the source `origin`.
    pub fn new(origin: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { origin: origin.into(), reason: reason.into() }
    }
}

/// A file that holds [`Ceilings`]: the phase as one word, or a line `migration=phase` for each. A file that is missing
/// or empty is an error, and not "no opinion": a deleted or half-written file must not raise a node.
#[derive(Clone, Debug)]
pub struct PhaseFile(pub PathBuf);

impl PhaseSource for PhaseFile {
    fn ceilings(&self) -> Result<Ceilings, PhaseSourceError> {
        let error = |reason: String| PhaseSourceError::new(format!("file {}", self.0.display()), reason);
        let text = read_text(&self.0, PHASE_FILE_BYTES_MAX);
        let text = text.map_err(|e| error(e.to_string()))?;
        text.parse().map_err(|e: CeilingsError| error(e.to_string()))
    }
}

/// How a node's rollout starts.
///
/// ```
/// use rexi_server::{Phase, StartRollout};
/// let rollout = StartRollout::from_release().ceiling(Phase::Introduce);
/// ```
#[derive(Default)]
pub struct StartRollout {
    pub(crate) ceilings: Ceilings,
    /// The ceiling that this build's features set of the only migration in which the train goes on, as far as the
    /// release allows it.
    pub(crate) feature: Option<Phase>,
    pub(crate) source: Option<Box<dyn PhaseSource>>,
    pub(crate) fixed: bool,
}

impl StartRollout {
    /// As far as the release allows. If this build has one of the cargo features `phase-introduce`, `phase-switch` and
    /// `phase-remove`, the only migration in which the train goes on is taken no further than the highest of them, or
    /// than the nearest phase that the release allows. Anything else that is said of its ceiling takes the features'
    /// place.
    pub fn from_release() -> Self {
        Self { feature: feature_phase(), ..Self::default() }
    }

    /// Held at exactly these phases, for tests.
    pub fn fixed_at(phases: Ceilings) -> Self {
        Self { ceilings: phases, fixed: true, ..Self::default() }
    }

    /// Held at exactly this phase of the only migration in which the train goes on, for tests.
    pub fn fixed(phase: Phase) -> Self {
        Self::fixed_at(Ceilings::only(phase))
    }

    /// No further than these, until [`RolloutControl::set_ceiling`](crate::rollout::RolloutControl::set_ceiling) says
    /// otherwise.
    #[must_use]
    pub fn ceilings(mut self, ceilings: Ceilings) -> Self {
        self.ceilings = ceilings;
        self
    }

    /// As [`StartRollout::ceilings`], of the only migration in which the train goes on.
    #[must_use]
    pub fn ceiling(self, phase: Phase) -> Self {
        self.ceilings(Ceilings::only(phase))
    }

    /// No further than the environment variable `REXI_PHASE` says, if it is set: [`Ceilings`] as a text.
    ///
    /// # Errors
    /// [`PhaseSourceError`] where it names no phase.
    pub fn from_env(mut self) -> Result<Self, PhaseSourceError> {
        if let Some(value) = std::env::var_os(PHASE_VARIABLE) {
            let error = |reason: String| PhaseSourceError::new(format!("variable {PHASE_VARIABLE}"), reason);
            let text = value.into_string().map_err(|value| error(format!("{value:?} is not UTF-8")))?;
            self.ceilings = text.parse().map_err(|e: CeilingsError| error(e.to_string()))?;
        }
        Ok(self)
    }

    /// No further than `source` says, which is asked again every second.
    #[must_use]
    pub fn source(mut self, source: impl PhaseSource) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl std::fmt::Debug for StartRollout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartRollout")
            .field("ceilings", &self.ceilings)
            .field("fixed", &self.fixed)
            .finish_non_exhaustive()
    }
}

/// The highest phase of this build's features.
pub(crate) const fn feature_phase() -> Option<Phase> {
    if cfg!(feature = "phase-remove") {
        Some(Phase::Remove)
    } else if cfg!(feature = "phase-switch") {
        Some(Phase::Switch)
    } else if cfg!(feature = "phase-introduce") {
        Some(Phase::Introduce)
    } else {
        None
    }
}

/// Asks a flag source again and again. A word that cannot be had or followed is logged once, and the last one is kept.
pub(crate) async fn follow(shared: Arc<Shared>, source: Box<dyn PhaseSource>) {
    let mut said = None;
    loop {
        tokio::time::sleep(SOURCE_INTERVAL).await;
        let taken = source.ceilings().map_err(|error| error.to_string());
        let taken = taken.and_then(|ceilings| {
            shared.change_rollout(|rollout| take(rollout, &ceilings)).map_err(|error| error.to_string())
        });
        let error = taken.err();
        shared.note_source(error.clone());
        if error != said {
            if let Some(error) = &error {
                tracing::warn!(node = %shared.name, error, "the flag source is not followed");
            }
            said = error;
        }
    }
}

/// Takes the word of a flag source: all of it, or nothing where one of its ceilings cannot be had.
pub(crate) fn take(rollout: &mut rexi_proto::Rollout, ceilings: &Ceilings) -> Result<(), PhaseError> {
    let said = ceilings.of(rollout.profile())?;
    let keys: Vec<MigrationKey> =
        rollout.profile().migrations().map(|(migration, _)| migration.key().clone()).collect();
    let mut taken = rollout.clone();
    keys.iter().zip(said).try_for_each(|(key, phase)| taken.set_source(key, phase))?;
    *rollout = taken;
    Ok(())
}

/// The environment variable that sets the ceilings.
pub(crate) const PHASE_VARIABLE: &str = "REXI_PHASE";

/// The most that is read of a phase file, in bytes.
pub const PHASE_FILE_BYTES_MAX: u64 = 1024;

/// How often a flag source is asked.
const SOURCE_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(feature = "phase-introduce", not(any(feature = "phase-switch", feature = "phase-remove"))))]
    #[test]
    fn a_build_for_introduce_starts_there() {
        assert_eq!(StartRollout::from_release().feature, Some(Phase::Introduce));
    }

    #[cfg(all(feature = "phase-switch", not(feature = "phase-remove")))]
    #[test]
    fn a_build_for_switch_starts_there() {
        assert_eq!(StartRollout::from_release().feature, Some(Phase::Switch));
    }

    #[cfg(feature = "phase-remove")]
    #[test]
    fn a_build_for_remove_starts_there() {
        assert_eq!(StartRollout::from_release().feature, Some(Phase::Remove));
    }

    #[cfg(not(any(feature = "phase-introduce", feature = "phase-switch", feature = "phase-remove")))]
    #[test]
    fn a_build_for_no_phase_goes_as_far_as_its_release() {
        assert_eq!(StartRollout::from_release().feature, None);
    }
}
