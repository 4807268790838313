//! A service as its own command of the tools knows it: its train, what its nodes do in a scenario and in a rehearsal,
//! and the words that call the command.

use std::fmt;
use std::sync::Arc;

use rexi_proto::{Train, TrainError};

use crate::path::UpgradePath;
use crate::plan::Upgrades;
use crate::rehearse::Workload;
use crate::simulate::Simulation;
use crate::wire::{Lock, LockError};

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
    /// Adds its functions to a lock.
    pub functions: Option<Arc<AddFunctions>>,
    /// The words between its executable and a subcommand of the tools.
    pub under: Vec<String>,
}

/// Adds functions to a lock.
pub type AddFunctions = dyn Fn(Lock) -> Result<Lock, LockError> + Send + Sync;

/// A service's own command of the tools. Made by [`tool`].
#[derive(Clone, Debug)]
#[must_use = "a tool does nothing until it is run"]
pub struct Tool {
    pub(crate) service: Result<Service, TrainError>,
    /// The words that lead to it, also where there is no service to be had from its train.
    pub(crate) under: Vec<String>,
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
    Tool { service: UpgradePath::of(train).map(Service::new), under: Vec::new() }
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

    /// The service's functions, for its lock: `|lock| lock.function(Get)?.function(Put)`. Default: none, so that only
    /// rexi's own messages are locked.
    pub fn functions(self, add: impl Fn(Lock) -> Result<Lock, LockError> + Send + Sync + 'static) -> Self {
        self.with(|service| service.functions = Some(Arc::new(add)))
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
        Self { train, simulation: Simulation::new(), actions: 0, workload: None, functions: None, under: Vec::new() }
    }

    /// The lock of all that this build says.
    ///
    /// # Errors
    /// [`LockError`] where a schema cannot be told.
    pub fn lock(&self) -> Result<Lock, LockError> {
        let lock = Lock::of_this_build()?;
        match &self.functions {
            Some(add) => add(lock),
            None => Ok(lock),
        }
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
