//! A release: what a service deploys, and the bounds that this sets on what a node may do at run time.

use semver::Version;
use thiserror::Error;

use crate::phase::{Phase, ServerAddress, Servers};
use crate::version::{VersionRange, WireVersion};

/// A release's profile: its version, the phases it may be in, the servers it runs and the wire versions it speaks.
///
/// The four of the demo cluster are [`Profile::train`]; a service declares its own with [`Profile::new`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    release: Version,
    lowest: Phase,
    highest: Phase,
    wire: VersionRange,
}

/// Why a profile contradicts itself. The caller is at fault; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The version's text, with its pre-release and build parts, is too long for a handshake.
    #[error("release {release}: its text has {bytes} bytes, allowed are {RELEASE_BYTES_MAX}")]
    ReleaseTooLong {
        /// The release.
        release: Version,
        /// Bytes of its text.
        bytes: usize,
    },
    /// The phases are in the wrong order.
    #[error("release {release}: its lowest phase is {lowest}, which is above its highest, {highest}")]
    PhasesReversed {
        /// The release.
        release: Version,
        /// The lowest phase given.
        lowest: Phase,
        /// The highest phase given.
        highest: Phase,
    },
    /// Two phases of one release need different servers, so a change of phase would have to start or stop one.
    #[error(
        "release {release} may not span {lowest} to {highest}: {lowest} hosts {}, {highest} hosts {}; put them into \
         two releases", lowest.hosts(), highest.hosts()
    )]
    HostsDiffer {
        /// The release.
        release: Version,
        /// The lowest phase given.
        lowest: Phase,
        /// The highest phase given.
        highest: Phase,
    },
    /// The wire range is empty or names a version that these crates do not have.
    #[error("release {release}: {wire} is not a range of wire versions out of v1..v3")]
    WireRange {
        /// The release.
        release: Version,
        /// The range given.
        wire: VersionRange,
    },
    /// The release needs a server that one of its wire versions cannot address.
    #[error("release {release} runs the {server}, which wire {version} has no address for; leave {version} out")]
    Unaddressable {
        /// The release.
        release: Version,
        /// The server.
        server: ServerAddress,
        /// The wire version.
        version: WireVersion,
    },
}

impl Profile {
    /// Declares a release that may be in the phases `lowest` to `highest` and speaks `wire`.
    ///
    /// # Errors
    /// [`ProfileError`] where the parts contradict each other.
    pub fn new(release: Version, lowest: Phase, highest: Phase, wire: VersionRange) -> Result<Self, ProfileError> {
        let bytes = release.to_string().len();
        if bytes > RELEASE_BYTES_MAX {
            return Err(ProfileError::ReleaseTooLong { release, bytes });
        }
        if lowest > highest {
            return Err(ProfileError::PhasesReversed { release, lowest, highest });
        }
        if lowest.hosts() != highest.hosts() {
            return Err(ProfileError::HostsDiffer { release, lowest, highest });
        }
        if !wire.is_valid() || wire.newest > WireVersion::V3 {
            return Err(ProfileError::WireRange { release, wire });
        }
        let unaddressable = |server, version| ProfileError::Unaddressable { release: release.clone(), server, version };
        if wire.contains(WireVersion::V1) && !lowest.hosts().contains(ServerAddress::Singleton) {
            return Err(unaddressable(ServerAddress::PerNode, WireVersion::V1));
        }
        if wire.contains(WireVersion::V1) && highest.cast_target() == ServerAddress::PerNode {
            return Err(unaddressable(ServerAddress::PerNode, WireVersion::V1));
        }
        if wire.contains(WireVersion::V3) && lowest.hosts().contains(ServerAddress::Singleton) {
            return Err(unaddressable(ServerAddress::Singleton, WireVersion::V3));
        }
        Ok(Self { release, lowest, highest, wire })
    }

    /// The demo cluster's releases, oldest first: 1.0, 1.1, 1.2 and 2.0. CHANGELOG.md has them as a table.
    pub fn train() -> [Self; 4] {
        let release = |major, minor, lowest, highest, oldest, newest| {
            let wire = VersionRange::new(oldest, newest);
            Self::new(Version::new(major, minor, 0), lowest, highest, wire)
                .expect("the train's profiles are consistent")
        };
        let (v1, v2, v3) = (WireVersion::V1, WireVersion::V2, WireVersion::V3);
        [
            release(1, 0, Phase::Singleton, Phase::Singleton, v1, v1),
            release(1, 1, Phase::Introduce, Phase::Introduce, v1, v2),
            release(1, 2, Phase::Introduce, Phase::Switch, v2, v2),
            release(2, 0, Phase::Remove, Phase::Remove, v2, v3),
        ]
    }

    /// The release's version.
    pub fn release(&self) -> &Version {
        &self.release
    }

    /// The phase that the release starts in.
    pub fn lowest(&self) -> Phase {
        self.lowest
    }

    /// The phase that the release may be raised to.
    pub fn highest(&self) -> Phase {
        self.highest
    }

    /// The servers that the release runs, whatever its phase.
    pub fn hosts(&self) -> Servers {
        self.lowest.hosts()
    }

    /// The wire versions that the release speaks.
    pub fn wire(&self) -> VersionRange {
        self.wire
    }

    /// Whether the release may be in `phase`.
    pub fn allows(&self, phase: Phase) -> bool {
        (self.lowest..=self.highest).contains(&phase)
    }
}

/// Bytes of a release's text, so that a hello stays within its own bound.
const RELEASE_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_train_is_the_one_of_the_design() {
        let rows: Vec<String> = Profile::train()
            .iter()
            .map(|p| format!("{} {}-{} hosts {} speaks {}", p.release, p.lowest, p.highest, p.hosts(), p.wire))
            .collect();
        assert_eq!(
            rows,
            [
                "1.0.0 singleton-singleton hosts singleton speaks v1",
                "1.1.0 introduce-introduce hosts singleton and per-node speaks v1..v2",
                "1.2.0 introduce-switch hosts singleton and per-node speaks v2",
                "2.0.0 remove-remove hosts per-node speaks v2..v3",
            ]
        );
    }

    #[test]
    fn a_profile_that_contradicts_itself_is_refused() {
        let new = |lowest, highest, oldest, newest| {
            let wire = VersionRange::new(WireVersion(oldest), WireVersion(newest));
            Profile::new(Version::new(9, 0, 0), lowest, highest, wire).map_err(|e| e.to_string())
        };
        let refused = |result: Result<Profile, String>, part: &str| {
            let text = result.expect_err("refused");
            assert!(text.contains(part), "{text}");
        };
        let long = format!("1.0.0+{}", "a".repeat(250)).parse().expect("a version");
        let wire = VersionRange::new(WireVersion::V2, WireVersion::V2);
        let long = Profile::new(long, Phase::Switch, Phase::Switch, wire);
        refused(long.map_err(|e| e.to_string()), "its text has 256 bytes");
        refused(new(Phase::Switch, Phase::Introduce, 2, 2), "above its highest");
        refused(new(Phase::Switch, Phase::Remove, 2, 2), "put them into two releases");
        refused(new(Phase::Introduce, Phase::Switch, 3, 2), "not a range");
        refused(new(Phase::Introduce, Phase::Switch, 2, 4), "not a range");
        refused(new(Phase::Introduce, Phase::Switch, 1, 2), "no address");
        refused(new(Phase::Introduce, Phase::Switch, 2, 3), "no address");
        refused(new(Phase::Remove, Phase::Remove, 1, 3), "no address");
    }
}
