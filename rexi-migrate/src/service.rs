//! A service as its own command of the tools knows it: its train, what its nodes do in a scenario and in a rehearsal,
//! and the words that call the command.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rexi_proto::{Train, TrainError};
use thiserror::Error;

use crate::path::UpgradePath;
use crate::plan::Upgrades;
use crate::rehearse::Workload;
use crate::simulate::Simulation;
use crate::wire::{Lock, LockError, TrainLock};

/// A service that is verified.
#[derive(Clone)]
pub struct Service {
    /// Its releases.
    pub train: UpgradePath,
    /// How its scenarios are played: with its functions, actions and invariant, where it has any.
    pub simulation: Simulation,
    /// How many different actions that has.
    pub actions: u16,
    /// What it adds to a rehearsal.
    pub workload: Option<Arc<dyn Workload>>,
    /// Its functions, as a lock of them alone.
    pub functions: Lock,
    /// The file of its lock, in the folder that its tools are run in.
    pub lock_file: PathBuf,
    /// The words between its executable and a subcommand of the tools.
    pub under: Vec<String>,
}

/// A service's own command of the tools. Made by [`tool`].
#[derive(Clone, Debug)]
#[must_use = "a tool does nothing until it is run"]
pub struct Tool {
    pub(crate) service: Result<Service, ServiceError>,
    /// The words that lead to it, also where there is no service to be had from its train.
    pub(crate) under: Vec<String>,
}

/// A service that cannot be verified: nothing is known of it that makes sense.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Its train contradicts itself.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A function of its own cannot be locked.
    #[error("the functions cannot be locked: {0}")]
    Functions(Arc<LockError>),
}

/// The tools for this train, as a command of the service: `rehearse`, `simulate`, `check`, `plan`, `verify`, `wire`.
///
/// It is a whole program by [`Tool::main`], or part of one that has other commands by [`Tool::run`]:
///
/// ```no_run
/// use rexi_server::Train;
///
/// fn train() -> Train {
///     Train::new("inventory").release("3.0", |r| r).release("3.1", |r| r)
/// }
///
/// fn main() -> std::process::ExitCode {
///     rexi_migrate::tool(&train()).main()
/// }
/// ```
///
/// A train that contradicts itself ends the run with its error and the exit code of wrong usage.
pub fn tool(train: &Train) -> Tool {
    let service = UpgradePath::of(train).map(Service::new);
    Tool { service: service.map_err(ServiceError::from), under: Vec::new() }
}

impl Tool {
    /// What the service adds to a rehearsal. Default: nothing; the nodes then serve what the rehearsal casts.
    pub fn workload(self, workload: impl Workload) -> Self {
        self.with(|service| service.workload = Some(Arc::new(workload)))
    }

    /// How scenarios are played, and how many different actions there are of a client's. Default: nodes have no
    /// functions but the simulation's own, and there is no action. What runs must not share is added to
    /// [each](Simulation::each).
    pub fn simulation(self, simulation: Simulation, actions: u16) -> Self {
        self.with(|service| (service.simulation, service.actions) = (simulation, actions))
    }

    /// The service's functions: `|lock| lock.function(Get)?.function(Put)`. They are locked, and each level looks at
    /// those that come, change or go along the train. Default: none, so that only rexi's own messages are locked.
    pub fn functions(self, add: impl FnOnce(Lock) -> Result<Lock, LockError>) -> Self {
        let Self { service, under } = self;
        let service = service.and_then(|service| {
            let functions = add(Lock::empty()).map_err(|error| ServiceError::Functions(Arc::new(error)))?;
            let train = service.train.with_functions(functions.rows());
            Ok(Service { train, functions, ..service })
        });
        Self { service, under }
    }

    /// The file of the service's lock, from the folder that its tools are run in. Default: `wire.lock.json`.
    pub fn lock_file(self, file: impl Into<PathBuf>) -> Self {
        self.with(|service| service.lock_file = file.into())
    }

    /// The words that lead to the tools, where they are a subcommand of the service's own program, such as `rollout`.
    /// A rehearsal starts its nodes by them.
    pub fn under<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.under = words.into_iter().map(Into::into).collect();
        let under = self.under.clone();
        self.with(|service| service.under = under)
    }

    fn with(mut self, change: impl FnOnce(&mut Service)) -> Self {
        let _ = self.service.as_mut().map(change);
        self
    }
}

impl Service {
    /// A service that adds nothing, and whose program is the tools'.
    pub fn new(train: UpgradePath) -> Self {
        Self {
            train,
            simulation: Simulation::new(),
            actions: 0,
            workload: None,
            functions: Lock::empty(),
            lock_file: "wire.lock.json".into(),
            under: Vec::new(),
        }
    }

    /// The lock of all that this build says.
    ///
    /// # Errors
    /// [`LockError`] where a schema cannot be told.
    pub fn lock(&self) -> Result<Lock, LockError> {
        let (train, functions) = (Some(TrainLock::of(&self.train)), self.functions.functions.clone());
        Ok(Lock { train, functions, ..Lock::of_this_build()? })
    }

    /// What its scenarios are made of.
    pub fn plans(&self) -> Upgrades {
        Upgrades::along(&self.train).actions(self.actions)
    }

    /// What calls its tools, as a shell reads it.
    pub fn called(&self) -> String {
        let own = std::env::args().next().unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned());
        let words: Vec<String> = [&own].into_iter().chain(&self.under).map(|word| quoted(word)).collect();
        words.join(" ")
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("train", &self.train).field("under", &self.under).finish_non_exhaustive()
    }
}

/// A word as a POSIX shell reads it back.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=,:+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
