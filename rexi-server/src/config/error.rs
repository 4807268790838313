//! What can be wrong with a configuration. Each error names the place, the key, and what would be right.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rexi_proto::{
    LimitsError, Migration, NodeName, NodeNameError, Phase, PhaseError, Profile, Release, Stage, TrainError,
};
use thiserror::Error;

use crate::engine::OperatorListError;
use crate::follow::{CeilingsError, PeerAddress, PeerAddressError};

/// Where a value was given: a file and mostly a line, or the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigPlace {
    /// The file's path, or `environment`.
    pub origin: String,
    /// The line of the file, from 1.
    pub line: Option<usize>,
}

/// Why a configuration is refused.
///
/// The author of the file or the variable is at fault, unless a variant says otherwise. Nothing was started or changed.
/// Trying again helps once the text has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file could not be read. The environment may be at fault.
    #[error("cannot read {}: {reason}; check the path and who may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The text is not TOML.
    #[error("{place}: not TOML: {reason}")]
    Syntax {
        /// Where.
        place: ConfigPlace,
        /// What the parser said.
        reason: String,
    },
    /// A key has no meaning here.
    #[error("{place}: unknown key `{key}`; the nearest known key is `{nearest}`; allowed here: {}", allowed.join(", "))]
    UnknownKey {
        /// Where.
        place: ConfigPlace,
        /// The key, with its table.
        key: String,
        /// The known key that differs least from it, with its table.
        nearest: String,
        /// The keys of the table.
        allowed: Vec<&'static str>,
    },
    /// A key that is needed is not there.
    #[error("{place}: no key `{key}`; set it to {wanted}")]
    MissingKey {
        /// Where.
        place: ConfigPlace,
        /// The key, with its table.
        key: String,
        /// What to set it to.
        wanted: &'static str,
    },
    /// A value is of another type.
    #[error("{place}: `{key}` must be {wanted}, not of type {found}")]
    WrongType {
        /// Where.
        place: ConfigPlace,
        /// The key, with its table.
        key: String,
        /// What it must be.
        wanted: &'static str,
        /// The type found, in TOML's words.
        found: &'static str,
    },
    /// A text is not a number, or not one that the key can hold.
    #[error("{place}: {key} = {value} is not a number that the key can hold; give a whole number from 0 up")]
    BadNumber {
        /// Where.
        place: ConfigPlace,
        /// The key, with its table.
        key: String,
        /// What was given.
        value: String,
    },
    /// A text is none of the words that the key knows.
    #[error("{place}: `{key}` = {value:?} is none of: {}", words.join(", "))]
    BadWord {
        /// Where.
        place: ConfigPlace,
        /// The key, or the variable.
        key: String,
        /// The text.
        value: String,
        /// The words.
        words: Vec<&'static str>,
    },
    /// An operator has no name, or is allowed something that is nothing.
    #[error("{place}: `{key}`: {reason}")]
    BadOperator {
        /// Where.
        place: ConfigPlace,
        /// The key.
        key: String,
        /// Why.
        reason: OperatorListError,
    },
    /// An entry of a list of names and values is not a name and a value.
    #[error(
        "{place}: {key}: {value:?} is not an entry; give name=value for each, separated by commas, the value {wanted}"
    )]
    BadList {
        /// Where.
        place: ConfigPlace,
        /// The variable.
        key: String,
        /// The entry.
        value: String,
        /// What a value is.
        wanted: &'static str,
    },
    /// A list from the environment names nobody. Where a list is not wanted, the variable is to be unset.
    #[error("{place}: {key} names nobody: unset it, or give name=value for each, separated by commas")]
    EmptyList {
        /// Where.
        place: ConfigPlace,
        /// The variable.
        key: String,
    },
    /// A variable that is a key's holds nothing. Where it is not wanted, it is to be unset.
    #[error("{place}: {key} holds nothing: unset it, or give it a value")]
    EmptyVariable {
        /// Where.
        place: ConfigPlace,
        /// The variable.
        key: String,
    },
    /// A variable is no key's, and was meant to be.
    #[error("{place}: {key} is no key's variable; the nearest that is one is {nearest}")]
    UnknownVariable {
        /// Where.
        place: ConfigPlace,
        /// The variable.
        key: String,
        /// The known variable that differs least from it.
        nearest: String,
    },
    /// A key has two variables, and both are set.
    #[error("{place}: {key} and {other} set the same key: unset one of them")]
    SetTwice {
        /// Where.
        place: ConfigPlace,
        /// The one variable.
        key: String,
        /// The other.
        other: &'static str,
    },
    /// A variable that is a key's is not text.
    #[error("{place}: {key} is not UTF-8 text")]
    NotUnicode {
        /// Where.
        place: ConfigPlace,
        /// The variable.
        key: String,
    },
    /// A list from the environment has a name twice.
    #[error("{place}: {key} has {name:?} twice: name each once")]
    NamedTwice {
        /// Where.
        place: ConfigPlace,
        /// The variable.
        key: String,
        /// The name.
        name: String,
    },
    /// The limits contradict each other.
    #[error("{place}: limits: {reason}")]
    Limits {
        /// Where.
        place: ConfigPlace,
        /// Which two.
        reason: LimitsError,
    },
    /// A text is not a node name.
    #[error("{place}: `{key}`: {reason}")]
    BadName {
        /// Where.
        place: ConfigPlace,
        /// The key, with its table.
        key: String,
        /// What is wrong with it.
        reason: NodeNameError,
    },
    /// A text is not an address.
    #[error("{place}: {key} = {value:?} is not an IP address and port, such as \"127.0.0.1:4001\" or \"[::1]:4001\"")]
    BadAddress {
        /// Where.
        place: ConfigPlace,
        /// The key, with its table.
        key: String,
        /// What was given.
        value: String,
    },
    /// A text does not say where a member can be dialed.
    #[error("{place}: {key} = {value:?}: {reason}")]
    BadPeerAddress {
        /// Where.
        place: ConfigPlace,
        /// The key, with its table.
        key: String,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: PeerAddressError,
    },
    /// Two members have one address, or one host and port.
    #[error("{place}: {first} and {second} have the same address, {address}; give each node its own")]
    DuplicateAddress {
        /// Where the second was found.
        place: ConfigPlace,
        /// The address.
        address: PeerAddress,
        /// The one.
        first: NodeName,
        /// The other.
        second: NodeName,
    },
    /// The train does not have the release, or contradicts itself.
    #[error("{place}: {key}: {reason}")]
    Release {
        /// Where.
        place: ConfigPlace,
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: Box<TrainError>,
    },
    /// A text says no phases.
    #[error("{place}: {key}: {reason}; {}", allows(profile))]
    BadCeilings {
        /// Where.
        place: ConfigPlace,
        /// The key, with its table.
        key: String,
        /// What is wrong with it.
        reason: CeilingsError,
        /// The release that the node runs.
        profile: Box<Profile>,
    },
    /// The train does not have a migration that is named, or has several and none is named.
    #[error("{place}: {key} = {value:?}: {reason}")]
    ImpossibleCeilings {
        /// Where.
        place: ConfigPlace,
        /// The key, with its table.
        key: String,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: Box<PhaseError>,
    },
    /// The release cannot be in a phase: it is above what the release can do, or below what it still can.
    #[error("{place}: {key} = {value:?} is impossible; {}", allows(profile))]
    ImpossiblePhase {
        /// Where.
        place: ConfigPlace,
        /// The key, with its table.
        key: String,
        /// What was given.
        value: String,
        /// The release that the node runs.
        profile: Box<Profile>,
    },
    /// The cluster's name cannot be one.
    #[error("{place}: {key} = {value:?} is not a cluster's name: use 1 to 64 bytes of a-z, 0-9, '-' and '.'")]
    BadCluster {
        /// Where.
        place: ConfigPlace,
        /// The key.
        key: String,
        /// What was given.
        value: String,
    },
}

impl fmt::Display for ConfigPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.origin),
            None => f.write_str(&self.origin),
        }
    }
}

/// The phases that the release allows of each migration.
fn allows(profile: &Profile) -> String {
    let of = |(migration, stage): (&Migration, Stage)| {
        let phases: Vec<_> = Phase::ALL.into_iter().filter(|&phase| stage.allows(phase)).map(Phase::as_str).collect();
        match profile.only_migration() {
            Some(only) if only == migration => Some(phases.join(", ")),
            Some(_) => None,
            None => Some(format!("{migration} {}", phases.join(" or "))),
        }
    };
    let allowed: Vec<String> = profile.migrations().filter_map(of).collect();
    format!("release {} allows: {}", Release::from(profile.release()), allowed.join(", "))
}
