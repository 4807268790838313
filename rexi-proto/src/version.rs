//! Wire versions: what a node can speak, and what a pair of nodes settles on.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// A version of the wire format. Each has one frozen file under `wire/`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WireVersion(pub u16);

impl WireVersion {
    /// No server address: everything goes to the singleton.
    pub const V1: Self = Self(1);
    /// Messages name the server they are for; batched kills; the answer "no such server".
    pub const V2: Self = Self(2);
    /// No singleton, so no address either.
    pub const V3: Self = Self(3);
}

impl fmt::Display for WireVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Debug for WireVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The wire versions that a node speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VersionRange {
    /// Oldest.
    pub oldest: WireVersion,
    /// Newest; never below `oldest` in a range that passed [`VersionRange::is_valid`].
    pub newest: WireVersion,
}

impl VersionRange {
    /// The range from `oldest` to `newest`.
    pub const fn new(oldest: WireVersion, newest: WireVersion) -> Self {
        Self { oldest, newest }
    }

    /// Whether the range holds a version at all, and none is 0.
    pub fn is_valid(self) -> bool {
        self.oldest.0 > 0 && self.oldest <= self.newest
    }

    /// Whether `version` lies in the range.
    pub fn contains(self, version: WireVersion) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }

    /// The newest version that both ranges hold, if there is one.
    pub fn newest_common(self, other: Self) -> Option<WireVersion> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest && newest >= other.oldest).then_some(newest)
    }
}

impl From<WireVersion> for VersionRange {
    fn from(version: WireVersion) -> Self {
        Self::new(version, version)
    }
}

impl From<RangeInclusive<WireVersion>> for VersionRange {
    fn from(versions: RangeInclusive<WireVersion>) -> Self {
        Self::new(*versions.start(), *versions.end())
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            write!(f, "{}", self.oldest)
        } else {
            write!(f, "{}..{}", self.oldest, self.newest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_settles_on_the_newest_version_both_speak() {
        let range = |a, b| VersionRange::new(WireVersion(a), WireVersion(b));
        let cases = [
            (range(1, 1), range(1, 2), Some(1)),
            (range(1, 2), range(2, 2), Some(2)),
            (range(2, 2), range(2, 3), Some(2)),
            (range(2, 3), range(2, 3), Some(3)),
            (range(1, 1), range(2, 2), None),
            (range(1, 1), range(2, 3), None),
        ];
        for (a, b, settled) in cases {
            assert_eq!(a.newest_common(b), settled.map(WireVersion), "{a} with {b}");
            assert_eq!(b.newest_common(a), settled.map(WireVersion), "{b} with {a}");
        }
    }

    #[test]
    fn a_range_holds_a_version_and_none_is_zero() {
        let range = |a, b| VersionRange::new(WireVersion(a), WireVersion(b));
        for (range, valid) in [(range(1, 1), true), (range(1, 2), true), (range(2, 1), false), (range(0, 1), false)] {
            assert_eq!(range.is_valid(), valid, "{range}");
        }
    }

    #[test]
    fn versions_and_ranges_are_told_in_short() {
        let range = VersionRange::new(WireVersion::V1, WireVersion::V3);
        assert_eq!(format!("{:?} {} {range}", WireVersion::V1, WireVersion::V2), "v1 v2 v1..v3");
        assert_eq!(VersionRange::new(WireVersion::V2, WireVersion::V2).to_string(), "v2");
    }
}
