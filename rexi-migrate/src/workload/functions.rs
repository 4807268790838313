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
        let stand_in_of = |changing: &Changing| match changing {
            Changing::Function(row) => Called::Function(stand_in(&row.name)),
            Changing::Migration(_, migration) => Called::Migration(migration.with_functions(stand_in)),
        };
        Self { changing: called_by(train, profile).map(stand_in_of).collect() }
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

    fn of(&self, call: CallNumber) -> Option<&Called> {
        self.changing.get(call.turn(self.changing.len()))
    }
}

/// The service's functions that a node of each release calls, for a judge.
pub(crate) fn called(train: &UpgradePath) -> BTreeMap<Release, Vec<String>> {
    let name = |changing: &Changing| match changing {
        Changing::Function(row) => row.name.to_string(),
        Changing::Migration(_, migration) => migration.key().to_string(),
    };
    let profiles = (0..train.len()).map(|number| train.at(number));
    profiles.map(|profile| (profile.stop(), called_by(train, profile).map(name).collect())).collect()
}

/// What a node of a release calls of what changes; of a migration in some form, always.
fn called_by<'a>(train: &'a UpgradePath, profile: &Profile) -> impl Iterator<Item = &'a Changing> {
    let release = profile.stop();
    train.changing().iter().filter(move |changing| match changing {
        Changing::Function(row) => row.emitted(release),
        Changing::Migration(..) => true,
    })
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
