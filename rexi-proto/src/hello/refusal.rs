//! Why two nodes may not speak.

use std::fmt;
use std::sync::Arc;

use semver::Version;
use thiserror::Error;

use crate::migration::{Form, MigrationKey, SERVER_PER_NODE};
use crate::name::NodeName;
use crate::phase::{Phase, ServerAddress};
use crate::version::VersionRange;

/// One of the two in a [`Refusal`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Party {
    /// Its name.
    pub node: NodeName,
    /// Its release.
    pub release: Version,
    /// Its wire versions.
    pub wire: VersionRange,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (release {}, wire {})", self.node, self.release, self.wire)
    }
}

/// A form of a migration, as it is told: the server that casts go to, or the function that is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Saying {
    /// The migration.
    pub migration: MigrationKey,
    /// Its form.
    pub form: Form,
}

impl Saying {
    /// The server that it is, in rexi's own migration.
    fn server(&self) -> Option<ServerAddress> {
        (self.migration == *SERVER_PER_NODE.key()).then(|| self.form.into())
    }

    /// What a node does that says the form: "sends to the singleton".
    pub fn said(&self) -> impl fmt::Display {
        match self.server() {
            Some(server) => format!("sends to the {server}"),
            None => format!("says the {} of {}", self.form, self.migration),
        }
    }

    /// What a node does not do that does not take it: "does not run the singleton".
    pub fn not_taken(&self) -> impl fmt::Display {
        match self.server() {
            Some(server) => format!("{} the {server}", self.not()),
            None => format!("{} the {} of {}", self.not(), self.form, self.migration),
        }
    }

    /// The same without what it is: "does not run".
    fn not(&self) -> &'static str {
        if self.server().is_some() { "does not run" } else { "does not take" }
    }
}

/// Why two nodes may not speak. Neither is at fault alone; nothing was exchanged but the hellos.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// They are of two clusters: one has an address of the other's. Final.
    #[error(
        "another cluster: {first} is of {first_cluster:?} and {second} of {second_cluster:?}; one of them has an \
         address of the other's cluster"
    )]
    OtherCluster {
        /// The one whose name sorts first.
        first: Party,
        /// Its cluster.
        first_cluster: Arc<str>,
        /// The other.
        second: Party,
        /// Its cluster.
        second_cluster: Arc<str>,
    },
    /// Neither follows the other in the train. Final for these two releases.
    #[error("not neighbours: {first} and {second} are more than one release apart")]
    NotNeighbours {
        /// The one whose name sorts first.
        first: Party,
        /// The other.
        second: Party,
    },
    /// They share no wire version. Final for these two releases.
    #[error("no common wire version: {first} and {second}")]
    NoCommonWire {
        /// The one whose name sorts first.
        first: Party,
        /// The other.
        second: Party,
    },
    /// One says a form that the other does not take. Final if the sender cannot be raised, otherwise try again.
    #[error(
        "form not taken: {sender} is in phase {phase} and {}, which {receiver} {}{}", saying.said(), saying.not(),
        if *can_be_raised { "; it may be raised" } else { "" }
    )]
    NotTaken {
        /// The one that says it.
        sender: Party,
        /// Its phase.
        phase: Phase,
        /// What it says.
        saying: Saying,
        /// The one that does not take it.
        receiver: Party,
        /// Whether the sender's release and operator let it reach a phase in which the two may speak.
        can_be_raised: bool,
    },
    /// One has removed a form while a third member still says it. To be tried again.
    #[error(
        "old form still in use: {holdout} {}, as {witness} knows, and {remover} {} it", saying.said(), saying.not()
    )]
    OldFormInUse {
        /// What is still said.
        saying: Saying,
        /// The member in the way.
        holdout: NodeName,
        /// Who knows of it.
        witness: Party,
        /// The one that has removed it.
        remover: Party,
    },
    /// Both claim to be the same node.
    #[error("two nodes call themselves {first}")]
    SameName {
        /// The name, with the release of either.
        first: Party,
    },
}

impl Refusal {
    /// Whether the refusal holds for as long as both keep their releases and their operators' ceilings.
    pub fn is_final(&self) -> bool {
        match self {
            Self::OtherCluster { .. }
            | Self::NotNeighbours { .. }
            | Self::NoCommonWire { .. }
            | Self::SameName { .. } => true,
            Self::NotTaken { can_be_raised, .. } => !can_be_raised,
            Self::OldFormInUse { .. } => false,
        }
    }
}
