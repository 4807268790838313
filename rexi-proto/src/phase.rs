//! What a phase of the upgrade means: which servers a node hosts, where its casts go, where its kills go.
//!
//! Pure functions, so that server, checker and simulator cannot differ in what a phase means.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::migration::{Form, Forms};

/// Which of a node's servers a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerAddress {
    /// The one server that takes the requests of all nodes.
    Singleton,
    /// The server that takes the requests of one remote node only: the sender's.
    PerNode,
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Singleton => "singleton",
            Self::PerNode => "per-node server",
        })
    }
}

/// A set of [`ServerAddress`]es.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Servers(u8);

impl Servers {
    /// No server.
    pub const NONE: Self = Self(0);
    /// The singleton alone.
    pub const SINGLETON: Self = Self(1);
    /// The per-node servers alone.
    pub const PER_NODE: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);

    /// Whether `server` is in the set.
    pub const fn contains(self, server: ServerAddress) -> bool {
        self.0 & Self::of(server).0 != 0
    }

    /// The set with `server` in it.
    #[must_use]
    pub const fn with(self, server: ServerAddress) -> Self {
        Self(self.0 | Self::of(server).0)
    }

    /// The set without `server`.
    #[must_use]
    pub const fn without(self, server: ServerAddress) -> Self {
        Self(self.0 & !Self::of(server).0)
    }

    /// The servers of the set, the singleton first.
    pub fn iter(self) -> impl Iterator<Item = ServerAddress> {
        [ServerAddress::Singleton, ServerAddress::PerNode].into_iter().filter(move |&s| self.contains(s))
    }

    const fn of(server: ServerAddress) -> Self {
        match server {
            ServerAddress::Singleton => Self::SINGLETON,
            ServerAddress::PerNode => Self::PER_NODE,
        }
    }
}

impl From<Form> for ServerAddress {
    fn from(form: Form) -> Self {
        match form {
            Form::Old => Self::Singleton,
            Form::New => Self::PerNode,
        }
    }
}

impl From<Forms> for Servers {
    fn from(forms: Forms) -> Self {
        Self(forms.bits())
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::NONE => "none",
            Self::SINGLETON => "singleton",
            Self::PER_NODE => "per-node",
            _ => "singleton and per-node",
        })
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A phase of the upgrade: what a node does now. Ordered from the oldest behaviour to the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Phase {
    /// One server, all casts go to it.
    Singleton,
    /// Per-node servers run beside the singleton; casts still go to the singleton.
    Introduce,
    /// Casts go to the per-node servers, kills to both.
    Switch,
    /// The singleton is gone.
    Remove,
}

impl Phase {
    /// Every phase, oldest first.
    pub const ALL: [Self; 4] = [Self::Singleton, Self::Introduce, Self::Switch, Self::Remove];

    /// The forms that a node in this phase takes.
    pub const fn takes(self) -> Forms {
        match self {
            Self::Singleton => Forms::OLD,
            Self::Introduce | Self::Switch => Forms::BOTH,
            Self::Remove => Forms::NEW,
        }
    }

    /// The form that it says.
    pub const fn says(self) -> Form {
        match self {
            Self::Singleton | Self::Introduce => Form::Old,
            Self::Switch | Self::Remove => Form::New,
        }
    }

    /// The servers that a node in this phase of rexi's own migration runs.
    pub fn hosts(self) -> Servers {
        self.takes().into()
    }

    /// The server that casts, monitors and pings go to.
    pub fn cast_target(self) -> ServerAddress {
        self.says().into()
    }

    /// The servers that a kill goes to, beside the one that its cast went to.
    pub const fn kill_targets(self) -> Servers {
        match self {
            Self::Singleton | Self::Introduce => Servers::SINGLETON,
            Self::Switch => Servers::BOTH,
            Self::Remove => Servers::PER_NODE,
        }
    }

    /// The phase's name in files, in the environment and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Singleton => "singleton",
            Self::Introduce => "introduce",
            Self::Switch => "switch",
            Self::Remove => "remove",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no phase. The caller is at fault; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a phase: use one of singleton, introduce, switch, remove")]
#[non_exhaustive]
pub struct UnknownPhase {
    /// What was given.
    pub text: String,
}

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.as_str().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| UnknownPhase { text: text.to_owned() })
    }
}

impl TryFrom<String> for Phase {
    type Error = UnknownPhase;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Phase> for String {
    fn from(phase: Phase) -> Self {
        phase.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_hosts_what_it_casts_to() {
        for phase in Phase::ALL {
            assert!(phase.hosts().contains(phase.cast_target()), "{phase} does not serve itself");
            assert!(phase.kill_targets().contains(phase.cast_target()), "{phase} cannot kill what it casts");
            assert_eq!(phase.as_str().parse(), Ok(phase));
        }
        assert!("Switch ".parse::<Phase>().is_ok());
        assert!("switched".parse::<Phase>().is_err());
    }

    #[test]
    fn a_set_loses_the_server_that_is_taken_out_and_no_other() {
        let (singleton, per_node) = (ServerAddress::Singleton, ServerAddress::PerNode);
        assert_eq!(Servers::BOTH.without(singleton), Servers::PER_NODE);
        assert_eq!(Servers::BOTH.without(per_node), Servers::SINGLETON);
        assert_eq!(Servers::PER_NODE.without(singleton), Servers::PER_NODE);
        assert_eq!(Servers::PER_NODE.without(per_node), Servers::NONE);
    }

    #[test]
    fn sets_and_phases_are_told_by_their_names() {
        let sets = [
            (Servers::NONE, "none"),
            (Servers::SINGLETON, "singleton"),
            (Servers::PER_NODE, "per-node"),
            (Servers::BOTH, "singleton and per-node"),
        ];
        for (set, name) in sets {
            assert_eq!((set.to_string(), format!("{set:?}")), (name.to_owned(), name.to_owned()));
        }
        for phase in Phase::ALL {
            assert_eq!(Phase::try_from(String::from(phase)), Ok(phase), "as serde writes and reads it");
        }
    }
}
