//! The compatibility rows of a service's own functions: what `compat.rs` is for rexi's messages, by release of the
//! service instead of wire version.
//!
//! A function is accepted at least one release before any release emits it, and is retired only when no release within
//! one step still emits it, for which it is silent first. The node asks its own row before it registers or casts; the
//! verifier reads all rows.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use semver::Version;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A service's release as its rows and its train name it: major, minor, patch; written `1.2` or `1.2.3`. A pre-release
/// or a build counts as its release, since it has the same code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release(pub u64, pub u64, pub u64);

/// A text that does not name a release.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a release, such as 1.1 or 1.1.3")]
pub struct ReleaseError {
    /// What was given.
    pub text: String,
}

impl Release {
    /// Reads `1`, `1.2` or `1.2.3`, so that a constant can be written as a text; what is left out is 0.
    ///
    /// # Panics
    /// Where the text is none of these; in a constant, that does not compile.
    pub const fn parse(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut parts = [0_u64; 3];
        let (mut part, mut digits, mut at) = (0, 0, 0);
        while at < bytes.len() {
            match bytes[at] {
                digit @ b'0'..=b'9' if digits < DIGITS_MAX => {
                    parts[part] = parts[part] * 10 + (digit - b'0') as u64;
                    digits += 1;
                }
                b'.' if digits > 0 && part < 2 => {
                    part += 1;
                    digits = 0;
                }
                _ => panic!("a release is written as 1, 1.2 or 1.2.3"),
            }
            at += 1;
        }
        assert!(digits > 0, "a release is written as 1, 1.2 or 1.2.3");
        Self(parts[0], parts[1], parts[2])
    }

    /// Whether it comes before `other`, in a constant too.
    pub const fn is_before(self, other: Self) -> bool {
        let (Self(major, minor, patch), Self(other_major, other_minor, other_patch)) = (self, other);
        major < other_major
            || major == other_major && (minor < other_minor || minor == other_minor && patch < other_patch)
    }

    /// Whether `other` is this release or a patch of it.
    pub fn is_patched_by(self, other: Self) -> bool {
        (self.0, self.1) == (other.0, other.1) && self.2 <= other.2
    }
}

impl From<&Version> for Release {
    fn from(version: &Version) -> Self {
        Self(version.major, version.minor, version.patch)
    }
}

impl From<Release> for Version {
    fn from(Release(major, minor, patch): Release) -> Self {
        Self::new(major, minor, patch)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(major, minor, 0) => write!(f, "{major}.{minor}"),
            Self(major, minor, patch) => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

impl FromStr for Release {
    type Err = ReleaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = Version::parse(text).or_else(|_| Version::parse(&format!("{text}.0")));
        version.map(|version| Self::from(&version)).map_err(|_| ReleaseError { text: text.to_owned() })
    }
}

impl TryFrom<String> for Release {
    type Error = ReleaseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Release> for String {
    fn from(release: Release) -> Self {
        release.to_string()
    }
}

/// One function's life in the releases of the service that has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionRow {
    /// Its registered name.
    pub name: Cow<'static, str>,
    /// The first release that runs it when it is asked.
    pub accepted_since: Release,
    /// The first release that may ask for it.
    pub emitted_since: Release,
    /// The first release that asks for it no more, while it still runs it; `None`: up to the last that has it. What is
    /// ever to be retired needs one, or the last release that asks would meet the first that has it no more.
    pub silent_since: Option<Release>,
    /// The first release that neither has it nor asks for it; `None`: not retired yet.
    pub retired_in: Option<Release>,
}

impl FunctionRow {
    /// Whether a node of that release runs the function.
    pub fn accepted(&self, release: Release) -> bool {
        self.accepted_since <= release && !self.retired(release)
    }

    /// Whether a node of that release may ask for the function.
    pub fn emitted(&self, release: Release) -> bool {
        let silent = self.silent_since.is_some_and(|silent_since| silent_since <= release);
        self.emitted_since <= release && !silent && !self.retired(release)
    }

    fn retired(&self, release: Release) -> bool {
        self.retired_in.is_some_and(|retired_in| retired_in <= release)
    }
}

impl fmt::Display for FunctionRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, accepted_since, emitted_since, silent_since, retired_in } = self;
        write!(f, "{name} (accepted since {accepted_since}, emitted since {emitted_since}, ")?;
        if let Some(silent_since) = silent_since {
            write!(f, "silent since {silent_since}, ")?;
        }
        match retired_in {
            Some(retired_in) => write!(f, "retired in {retired_in})"),
            None => f.write_str("not retired)"),
        }
    }
}

/// Digits of one part of a release's text: what always fits.
const DIGITS_MAX: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(retired_in: Option<Release>) -> FunctionRow {
        let (accepted_since, emitted_since) = (Release(1, 1, 0), Release(1, 2, 0));
        FunctionRow { name: "f".into(), accepted_since, emitted_since, silent_since: None, retired_in }
    }

    #[test]
    fn a_function_is_accepted_then_emitted_then_retired() {
        let row = row(Some(Release(2, 0, 0)));
        let at = |release| (row.accepted(release), row.emitted(release));
        assert_eq!(at(Release(1, 0, 9)), (false, false));
        assert_eq!(at(Release(1, 1, 0)), (true, false));
        assert_eq!(at(Release(1, 1, 9)), (true, false));
        assert_eq!(at(Release(1, 2, 0)), (true, true));
        assert_eq!(at(Release(1, 99, 0)), (true, true));
        assert_eq!(at(Release(2, 0, 0)), (false, false));
        assert_eq!(at(Release(3, 0, 0)), (false, false));
    }

    #[test]
    fn a_function_that_is_to_go_is_run_for_longer_than_it_is_asked_for() {
        let row = FunctionRow { silent_since: Some(Release(1, 3, 0)), ..row(Some(Release(2, 0, 0))) };
        let at = |release| (row.accepted(release), row.emitted(release));
        assert_eq!(at(Release(1, 2, 9)), (true, true));
        assert_eq!(at(Release(1, 3, 0)), (true, false));
        assert_eq!(at(Release(2, 0, 0)), (false, false));
        let says = "f (accepted since 1.1, emitted since 1.2, silent since 1.3, retired in 2.0)";
        assert_eq!(row.to_string(), says);
    }

    #[test]
    fn a_row_says_its_life() {
        assert_eq!(row(None).to_string(), "f (accepted since 1.1, emitted since 1.2, not retired)");
        assert!(row(Some(Release(2, 0, 0))).to_string().ends_with("retired in 2.0)"));
    }

    #[test]
    fn a_release_is_written_as_short_as_it_can_be_read() {
        for (text, release) in [("1.2", Release(1, 2, 0)), ("1.2.3", Release(1, 2, 3)), ("0.0", Release(0, 0, 0))] {
            assert_eq!((release.to_string().as_str(), text.parse()), (text, Ok(release)));
        }
        assert_eq!("1.2.3-rc.1+build".parse(), Ok(Release(1, 2, 3)));
        for wrong in ["", "1", "1.", "v1.2", "1.2.3.4", "1.2-rc.1"] {
            let refused = wrong.parse::<Release>().expect_err("refused").to_string();
            assert_eq!(refused, format!("{wrong:?} is not a release, such as 1.1 or 1.1.3"));
        }
    }

    #[test]
    fn a_release_is_read_from_its_text() {
        assert_eq!(Release::parse("1"), Release(1, 0, 0));
        assert_eq!(Release::parse("1.10"), Release(1, 10, 0));
        assert_eq!(Release::parse("1.2.33"), Release(1, 2, 33));
        assert_eq!(Release::parse("999999999999999999"), Release(999_999_999_999_999_999, 0, 0), "18 digits");
        for wrong in ["", ".", "1.", "1.2.3.4", "1.x", "-1", "1..2", "1000000000000000000"] {
            let panic = std::panic::catch_unwind(|| Release::parse(wrong)).expect_err(wrong);
            assert_eq!(panic.downcast_ref(), Some(&"a release is written as 1, 1.2 or 1.2.3"), "{wrong:?}");
        }
    }

    #[test]
    fn a_pre_release_counts_as_its_release() {
        let version = Version::parse("1.2.0-rc.1+5").expect("a version");
        assert_eq!(Release::from(&version), Release(1, 2, 0));
    }

    #[test]
    fn the_order_in_constants_is_the_order() {
        let releases = [Release(0, 9, 9), Release(1, 0, 0), Release(1, 0, 1), Release(1, 1, 0), Release(2, 0, 0)];
        for a in releases {
            for b in releases {
                assert_eq!(a.is_before(b), a < b, "{a} {b}");
            }
        }
    }
}
