//! Why a node does not start.

use std::net::SocketAddr;

use rexi_proto::record::Bar;
use rexi_proto::{FunctionRow, FunctionTableError, LimitsError, MigrationKey, NodeName, PhaseError};
use thiserror::Error;

use crate::follow::{MembershipError, PhaseSourceError};
use crate::net::IdentityError;
use crate::node::EXIT_CONFIG;
use crate::state::StateError;

/// A node that did not start. The caller or the environment is at fault; nothing is left running.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The node's certificate, key or roots are not valid.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The members cannot be found as the configuration says. Correct its name, or build the feature in.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The configuration names no identity.
    #[error(
        "the configuration of {0} has no [identity] table; give it the keys ca, cert and key there, each the path of a \
         PEM file, or give the node its identity in code with Node::builder"
    )]
    NoIdentity(NodeName),
    /// Two limits contradict each other.
    #[error("limits: {0}")]
    Limits(#[from] LimitsError),
    /// The phase asked for is not to be had.
    #[error(transparent)]
    Phase(#[from] PhaseError),
    /// The flag source cannot be read.
    #[error(transparent)]
    PhaseSource(#[from] PhaseSourceError),
    /// A function was registered twice.
    #[error("two functions are called {0:?}; names must differ")]
    FunctionTwice(String),
    /// A check of the service's readiness has a name that another has, one of the node's own, or one that is no word.
    #[error(
        "{0:?} cannot name a ready check: use one word that no other check has, nor started, admitting, admitted, \
         recorded"
    )]
    ReadyCheckName(String),
    /// A layer is for a function that the node does not have.
    #[error("a layer is for the function {0:?}, which is not registered; register it, or correct the name")]
    LayerWithoutFunction(String),
    /// A typed function is served that no release of the train has.
    #[error("no release of the train ({releases}) has the function {row}; do not serve it, or correct its row")]
    FunctionInNoRelease {
        /// The function's row.
        row: Box<FunctionRow>,
        /// The releases of the train.
        releases: String,
    },
    /// A function is of a migration that the node's train does not have.
    #[error("a function of the migration {0} is served, which the node's train does not have; declare it in a release")]
    UnknownMigration(MigrationKey),
    /// There are more functions, or longer names, than a handshake can list.
    #[error(transparent)]
    Functions(#[from] FunctionTableError),
    /// The cluster's name cannot be one.
    #[error("{0:?} is not a cluster's name: use 1 to 64 bytes of a-z, 0-9, '-' and '.'")]
    ClusterName(String),
    /// A peer was given twice, or is the node itself.
    #[error("{0} is named twice among the node and its peers; names must differ")]
    PeerTwice(NodeName),
    /// There are more members than may be.
    #[error(
        "{members} members, counting the node itself, but at most {max} are allowed; are they all of this cluster?"
    )]
    TooManyMembers {
        /// Members given.
        members: usize,
        /// Members at most.
        max: usize,
    },
    /// The directory of state cannot be used, or what it holds cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The record of the cluster does not let this release run. Nothing was opened.
    #[error("{0} does not start: {1}")]
    Barred(NodeName, Bar),
    /// A peer's address is of another family than the one that the node listens on, and so dials from.
    #[error("{peer} at {address} cannot be dialed from {listen}: one is IPv4, the other IPv6; use one family for all")]
    AddressFamily {
        /// The peer.
        peer: NodeName,
        /// Its address.
        address: SocketAddr,
        /// The node's address.
        listen: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on udp {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

impl StartError {
    /// What a process that does not start for it ends with: [`EXIT_CONFIG`] where starting it again changes nothing
    /// before somebody has seen to it, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::State(StateError::InUse { .. }) => 1,
            Self::State(_) | Self::Barred(..) => EXIT_CONFIG,
            _ => 1,
        }
    }
}
