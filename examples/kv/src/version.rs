//! What a replica holds of a key: a value, or that it was deleted, with the version by which replicas compare.

use std::fmt;
use std::str::FromStr;

use rexi_server::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The age of an entry: of two, the higher one is the later. No two writes have the same.
///
/// The counter decides. Two nodes that have counted alike are told apart by their names, and two writes of one node by
/// a number. A node that was killed may have left a write behind that it does not know of, so its next life counts as
/// another writer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// One more than the highest that the writer had seen.
    pub counter: u64,
    /// The node that wrote.
    pub writer: String,
    /// The start of that node's process, in microseconds since 1970.
    pub life: u64,
    /// A number that the process gives to no other write.
    pub write: u64,
}

/// The latest that is known of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was written, relative to others.
    pub version: Version,
    /// The value; `None` where the key was deleted, which has to be remembered like a value.
    pub value: Option<Bytes>,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counter, writer, life, write } = self;
        write!(f, "{counter}@{writer}/{life}/{write}")
    }
}

/// A text that is not a version. Its author is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a version is counter@writer/life/write")]
pub struct VersionError;

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let (counter, rest) = text.split_once('@').ok_or(VersionError)?;
        let mut parts = rest.splitn(3, '/');
        let mut part = || parts.next().ok_or(VersionError);
        let (writer, life, write) = (part()?.to_owned(), part()?, part()?);
        let number = |text: &str| text.parse().map_err(|_| VersionError);
        Ok(Self { counter: number(counter)?, writer, life: number(life)?, write: number(write)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(counter: u64, writer: &str, life: u64, write: u64) -> Version {
        Version { counter, writer: writer.to_owned(), life, write }
    }

    #[test]
    fn the_counter_decides_then_the_writer_then_its_life_then_its_write() {
        let ordered = [
            version(1, "n9", 9, 9),
            version(2, "n1", 9, 9),
            version(2, "n2", 1, 9),
            version(2, "n2", 2, 1),
            version(2, "n2", 2, 2),
        ];
        assert!(ordered.is_sorted_by(|earlier, later| earlier < later));
    }

    #[test]
    fn a_version_is_shown_with_all_that_sets_it_apart() {
        assert_eq!(version(7, "n1", 1_700, 3).to_string(), "7@n1/1700/3");
        assert_eq!("7@n1/1700/3".parse(), Ok(version(7, "n1", 1_700, 3)));
        for bad in ["", "7", "7@n1", "7@n1/1/", "x@n1/1/1", "7@n1/1/1/1"] {
            assert_eq!(bad.parse::<Version>(), Err(VersionError), "{bad}");
        }
    }
}
