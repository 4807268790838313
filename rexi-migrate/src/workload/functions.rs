//! The functions that calls of the load are of: one that every node takes, and stand-ins for those of the service's own
//! that change on the way. Nodes take and call a stand-in as its row says, or its migration.

use std::collections::BTreeMap;

use rexi_proto::{Migration, Profile, Release};
use rexi_server::{Bytes, Request};

use crate::history::ledger::CallNumber;
use crate::path::{Changing, UpgradePath};

/// What the nodes of one release call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Functions {
    changing: Vec<Called>,
}

#[derive(Clone, Debug)]
enum Called {
    Function(String),
    /// In the form that the node's phase says.
    Migration(Migration),
}

impl Functions {
    pub(crate) fn called(train: &UpgradePath, profile: &Profile) -> Self {
        let called = |changing: &Changing| match changing {
            Changing::Function(row) => row.emitted(profile.stop()).then(|| Called::Function(stand_in(&row.name))),
            Changing::Migration(_, migration) => Some(Called::Migration(migration.with_functions(stand_in))),
        };
        Self { changing: train.changing().iter().filter_map(called).collect() }
    }

    /// The request of a call. Calls take turns among the functions.
    pub(crate) fn request(&self, call: CallNumber, order: Bytes) -> Request {
        match self.of(call) {
            None => Request::new(FUNCTION, order),
            Some(Called::Function(name)) => Request::new(name.as_str(), order),
            Some(Called::Migration(migration)) => Request::of_migration(migration, order.clone(), order),
        }
    }

    /// Whether a call is said once more where its peer does not take it: its phase, or the peer's release, may have
    /// changed while it waited.
    pub(crate) fn is_migrated(&self, call: CallNumber) -> bool {
        matches!(self.of(call), Some(Called::Migration(_)))
    }

    fn names(&self) -> Vec<String> {
        let name = |called: &Called| match called {
            Called::Function(name) => name.trim_start_matches(PREFIX).to_owned(),
            Called::Migration(migration) => migration.key().to_string(),
        };
        self.changing.iter().map(name).collect()
    }

    fn of(&self, call: CallNumber) -> Option<&Called> {
        let turns = self.changing.len() as u64 + 1;
        usize::try_from(call.0 % turns).ok().and_then(|turn| self.changing.get(turn))
    }
}

/// The service's functions that a node of each release calls, for a judge.
pub(crate) fn called(train: &UpgradePath) -> BTreeMap<Release, Vec<String>> {
    let of = |number: usize| (train.at(number).stop(), Functions::called(train, train.at(number)).names());
    (0..train.len()).map(of).collect()
}

/// What a node of a release registers, all of it for one function.
pub(crate) fn taken(train: &UpgradePath, profile: &Profile) -> Vec<String> {
    let changing = train.changing().iter().flat_map(|changing| changing.taken(profile)).map(stand_in);
    [FUNCTION.to_owned()].into_iter().chain(changing).collect()
}

fn stand_in(function: &str) -> String {
    // The prefix takes nothing from a name that is as long as may be.
    let end = function.floor_char_boundary(NAME_BYTES_MAX - PREFIX.len());
    format!("{PREFIX}{}", &function[..end])
}

/// The function that every node takes.
pub(crate) const FUNCTION: &str = "workload.work";

/// Before the name of the service's function.
const PREFIX: &str = "workload:";

/// Bytes of a function's name that a node takes by default.
const NAME_BYTES_MAX: usize = 255;
