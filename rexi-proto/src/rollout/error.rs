//! What limits a phase, and what cannot be had.

use std::fmt;

use semver::Version;
use thiserror::Error;

use crate::hello::{Refusal, Saying};
use crate::migration::MigrationKey;
use crate::name::{Incarnation, NodeName};
use crate::phase::Phase;
use crate::record::Apart;

/// What keeps a node's phase from being higher.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitingFactor {
    /// The release allows no more.
    Release(Version),
    /// The operator's ceiling.
    Ceiling(Phase),
    /// The flag source.
    Source(Phase),
    /// The cluster's record, or a brake.
    Record(Phase),
    /// It is not known yet who the members are.
    Unlisted,
    /// A member that has not said hello since this node started, or since it joined.
    Unknown(NodeName),
    /// A member that does not take what this node would say.
    NotTaken(NodeName, Version, Saying),
}

impl fmt::Display for LimitingFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(release) => write!(f, "release {release} allows no more"),
            Self::Ceiling(phase) => write!(f, "the operator's ceiling is {phase}"),
            Self::Source(phase) => write!(f, "the flag source says {phase}"),
            Self::Record(phase) => write!(f, "the cluster's record, or a brake, says {phase}"),
            Self::Unlisted => write!(f, "the list of members has not come yet"),
            Self::Unknown(member) => write!(f, "member {member} has not said hello yet"),
            Self::NotTaken(member, release, saying) => {
                write!(f, "member {member} (release {release}) {}", saying.not_taken())
            }
        }
    }
}

/// A phase that cannot be had. The caller is at fault or too early; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PhaseError {
    /// The train does not have the migration.
    #[error("the train has no migration {migration}: it has {known}")]
    UnknownMigration {
        /// What was asked for.
        migration: MigrationKey,
        /// What there is.
        known: String,
    },
    /// No migration is named, and the train goes on in several.
    #[error(
        "the phase {wanted} is for one migration, and the train goes on in several: say which of {known}, as in \
         {}={wanted}", known.split(", ").nth(1).unwrap_or("migration")
    )]
    NoneNamed {
        /// The phase asked for.
        wanted: Phase,
        /// The migrations that there are, rexi's own first.
        known: String,
    },
    /// The release does not allow it, now or ever.
    #[error("release {release} does not allow the phase {wanted} of {migration}; it allows {lowest} to {highest}")]
    NotAllowed {
        /// The migration.
        migration: MigrationKey,
        /// The phase asked for.
        wanted: Phase,
        /// This node's release.
        release: Version,
        /// The release's lowest phase.
        lowest: Phase,
        /// The release's highest phase.
        highest: Phase,
    },
    /// A member has already removed what this node would say again.
    #[error("cannot go back to {wanted}: member {member} (release {release}) {}", saying.not_taken())]
    Blocked {
        /// The phase asked for.
        wanted: Phase,
        /// Who stands in the way.
        member: NodeName,
        /// Its release.
        release: Version,
        /// What it does not take.
        saying: Saying,
    },
}

/// Why a handshake came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The two may not speak.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The node is not among the members.
    #[error("{0} is not a member of this cluster; add it to the peers of this node")]
    NotAMember(NodeName),
    /// A node says that it started more than a day after now: its clock was ahead, or ours is behind.
    #[error(
        "{node} says it started {} h ahead of this node's clock; set the clock of whichever is wrong, and start that \
         node again", start.0.saturating_sub(clock.0) / 3_600_000_000
    )]
    StartsAhead {
        /// The node.
        node: NodeName,
        /// The incarnation it claims.
        start: Incarnation,
        /// That of a node that would start now.
        clock: Incarnation,
    },
    /// A later life of that node was met, and is over: the node goes on above it. Dial again.
    #[error(
        "{node} started {} us after 1970, and a start of it at {} was met, which is over: it goes on as a later one",
        old.0, known.0
    )]
    Outlived {
        /// The node.
        node: NodeName,
        /// The incarnation it has claimed.
        old: Incarnation,
        /// The latest that was met.
        known: Incarnation,
    },
    /// A later life of that node is connected, or was since the hellos.
    #[error(
        "{node} says it started {} us after 1970, but a later start of it, at {}, is connected; is it running twice?",
        old.0, known.0
    )]
    StaleIncarnation {
        /// The node.
        node: NodeName,
        /// The incarnation it claims.
        old: Incarnation,
        /// The incarnation known.
        known: Incarnation,
    },
    /// The record of the cluster keeps the two apart.
    #[error("{0}")]
    Apart(Apart),
    /// Neither has a record, and this node serves with none only where it is told to.
    #[error("no record is known here, nor to {0}: begin one with `live init`")]
    NoRecord(NodeName),
    /// The node has an earlier record, or none, and is to be given ours; dial again.
    #[error("{0} is behind, and is given this node's record")]
    TheyAreBehind(NodeName),
    /// We have an earlier record, or none, and are given that of the node; dial again.
    #[error("this node is behind, and is given the record of {0}")]
    WeAreBehind(NodeName),
    /// Our own record has moved on since our hello; dial again.
    #[error("our record has changed since our hello")]
    RecordMoved,
    /// Our own phase has changed since our hello; dial again.
    #[error("our phase has changed since our hello")]
    PhaseMoved,
}

impl HandshakeError {
    /// Whether the next dial meets what has changed by now: the ordinary course.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::PhaseMoved | Self::RecordMoved | Self::Outlived { .. } => true,
            Self::NoRecord(_) | Self::TheyAreBehind(_) | Self::WeAreBehind(_) => true,
            Self::Refused(_) | Self::NotAMember(_) | Self::StartsAhead { .. } => false,
            Self::StaleIncarnation { .. } | Self::Apart(_) => false,
        }
    }
}
