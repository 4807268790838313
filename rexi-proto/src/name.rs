//! Who is who: node names, incarnations, and the numbers of calls, monitors and jobs.
//!
//! A node's name is its identity: a server is found by the authenticated name of the peer it serves, never by a hash
//! of it, so that two peers cannot share one (G1 and S7 of docs/safety.md).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A node's name: a lower-case DNS name of 1 to 253 bytes, since a certificate's subject alternative name must equal
/// it.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

/// Why a text is not a node name. The caller is at fault; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{name:?} is not a node name: use 1 to 253 bytes of labels of a-z, 0-9 and '-', joined by '.', none empty, over 63 \
     bytes, or with '-' at an end"
)]
#[non_exhaustive]
pub struct NodeNameError {
    /// What was given.
    pub name: String,
}

impl NodeName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NodeNameError`] where the text is not a lower-case DNS name.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NodeNameError> {
        let name = name.as_ref();
        let labels_ok = name.split('.').all(|label| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        });
        if name.len() <= NAME_BYTES_MAX && labels_ok {
            Ok(Self(name.into()))
        } else {
            Err(NodeNameError { name: start_of(name, 260) })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<String> for NodeName {
    type Error = NodeNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.as_str().to_owned()
    }
}

/// One life of a node, from start to exit: microseconds since 1970 when it started.
///
/// A later start has a greater incarnation. A peer refuses one that is older than the one it is connected to; one that
/// is older than what it was connected to, a node replaces towards that peer by the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// That of a node that starts so long after 1970.
    pub fn since_1970(start: Duration) -> Self {
        Self(u64::try_from(start.as_micros()).unwrap_or(u64::MAX))
    }
}

/// A caller's number for one of its casts, unique within the caller's incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallRef(pub u64);

/// A watcher's number for one of its monitors, unique within the watcher's incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MonitorRef(pub u64);

/// A server's own number for a job it accepted. Never on the wire and never used twice, so that the late end of a
/// killed worker cannot be taken for the end of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A node's own number for one of its members. Never on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// Bytes of a name in all, and of each of its labels, as in DNS (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// The start of a text for an error that quotes it: of at most so many characters once it is quoted.
pub(crate) fn start_of(text: &str, most: usize) -> String {
    let mut length = 0;
    let fits = |c: &char| {
        length += c.escape_debug().count();
        length <= most
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_by_how_long_it_is_when_quoted() {
        assert_eq!(start_of("plain", 80), "plain");
        for text in ["a".repeat(500), "\u{1f}".repeat(500), "\u{10ffff}é".repeat(500)] {
            let quoted = format!("{:?}", start_of(&text, 80));
            assert!((70..=82).contains(&quoted.chars().count()), "{quoted}");
        }
    }

    #[test]
    fn names_are_lower_case_dns_names() {
        for good in ["n1", "db-3.example", "a", &"a".repeat(63)] {
            assert_eq!(NodeName::new(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "a..b", "N1", "-a", "a-", "a_b", "é", "a b"] {
            assert!(NodeName::new(bad).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn a_name_has_253_bytes_at_most_and_a_label_63() {
        let label = "a".repeat(63);
        let of = |bytes: usize| [&*label, &label, &label, &"a".repeat(bytes - 3 * 64)].join(".");
        for (name, good) in [(of(253), true), (of(254), false), (label.clone(), true), (format!("{label}a"), false)] {
            assert_eq!(NodeName::new(&name).is_ok(), good, "{} bytes", name.len());
        }
    }

    #[test]
    fn a_name_is_itself_in_reports_and_as_serde_writes_it() {
        let name = NodeName::new("db-3.example").expect("a name");
        assert_eq!((format!("{name:?}"), String::from(name)), ("db-3.example".to_owned(), "db-3.example".to_owned()));
    }
}
