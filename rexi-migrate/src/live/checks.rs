//! The checks by name: whether a cluster may take a step, from what its members tell.
//!
//! A check knows what is aimed at, and is skipped, by its own words, where it cannot apply. What cannot be told is a
//! result. Most cannot be passed over; where one can, the operator does so one by one, with a reason for the trail.

mod agreement;
mod builds;
mod restart;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rexi_proto::operate::MemberLook;
use rexi_proto::record::Digest;
use rexi_proto::{MigrationKey, NodeName, Phase, Release};
use semver::Version;

use super::cluster::Cluster;
use crate::path::UpgradePath;
use crate::wire::Lock;

/// What an operator is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To begin the record.
    Begin,
    /// To let the next release in.
    Advance(Release),
    /// To raise or take off ceilings, of these migrations to these phases.
    Raise(BTreeMap<MigrationKey, Phase>),
    /// To close the way back to the releases before this one.
    Finalize(Release),
}

/// What the checks go by besides.
#[derive(Clone, Debug)]
pub struct CheckSettings {
    /// The time, in seconds since 1970.
    pub now: u64,
    /// How long the singleton must have been quiet.
    pub quiet: Duration,
    /// How long the release is watched before the next step, so that certificates last.
    pub soak: Duration,
    /// The build that the aimed release is to have.
    pub build: Option<Digest>,
    /// What a report of `verify` says SAFE for, or why there is none.
    pub verified: Result<Verified, String>,
    /// The locks of the floor's build and of the aimed release's, or why they cannot be read; `None` where none are
    /// given.
    pub locks: Option<Result<(Lock, Lock), String>>,
    /// The rexi that this tool is built with.
    pub tool: Version,
}

/// What a report of `verify` says SAFE for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The releases.
    pub releases: BTreeSet<Release>,
    /// What ran of each; of none, where it names none.
    pub builds: BTreeMap<Release, Digest>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// It could not be told.
    Unknown,
    /// It does not apply to what is aimed at.
    Skipped,
}

impl Found {
    /// As it is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

/// A check, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, which does not change.
    pub name: &'static str,
    /// What came of it.
    pub found: Found,
    /// What was seen, of whom.
    pub seen: String,
    /// What is wanted.
    pub wanted: &'static str,
    /// What to do about it, where it does not hold.
    pub todo: String,
    /// Why the operator passes over it.
    pub ignored: Option<String>,
}

/// Every check, and whether an operator may pass over it.
pub const NAMES: [(&str, bool); 22] = [
    ("members-reached", false),
    ("members-agree", false),
    ("one-cluster", false),
    ("operable", false),
    ("tool-version", false),
    ("epochs-agree", false),
    ("no-transition-open", false),
    ("connected-both-ways", false),
    ("floor-durable", false),
    ("within-window", false),
    ("next-release", false),
    ("phase-settled", false),
    ("singleton-quiet", false),
    ("builds-known", true),
    ("verified-mix", true),
    ("functions-kept", true),
    ("may-stop", true),
    ("certificates", true),
    ("clocks", true),
    ("room", true),
    ("drain-fits", true),
    ("flag-source", true),
];

/// Whether a check may be passed over; `None` where there is none of the name.
pub fn may_be_ignored(name: &str) -> Option<bool> {
    NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, may_be)| may_be)
}

/// All checks of a cluster for what is aimed at, in the order of [`NAMES`]. `train` is what this tool knows.
pub fn preflight(cluster: &Cluster, aim: &Aim, train: &UpgradePath, settings: &CheckSettings) -> Vec<Check> {
    let on = On { cluster, aim, train, settings };
    let found: [(Outcome, &'static str); 22] = [
        (on.members_reached(), "every member answers itself, now"),
        (on.members_agree(), "all list the same members, and so does the record"),
        (on.one_cluster(), "all are of one cluster, by name and by the record's origin"),
        (on.operable(), "every member keeps the record, in a release that this tool knows"),
        (on.tool_version(), "this tool is as new as every member"),
        (on.epochs_agree(), "the same record on every disk"),
        (on.no_transition_open(), "no change is under way"),
        (on.connected_both_ways(), "every member is connected to every other, as both see it"),
        (on.floor_durable(), "every disk takes what is written and synced"),
        (on.within_window(), "every release that runs may run, and may after it"),
        (on.next_release(), "the release that follows in the train"),
        (on.phase_settled(), "every member says all that its release can say"),
        (on.singleton_quiet(), "nothing goes to the singleton any more, for as long as --quiet says"),
        (on.builds_known(), "one build of each release, and the one that --build names"),
        (on.verified_mix(), "a report of `verify` that says SAFE for these releases, in the builds that run"),
        (on.functions_kept(), "no change between the wire locks of the two builds breaks"),
        (on.may_stop(), "every service says that its node may stop"),
        (on.certificates(), "no certificate expires within --soak and seven days"),
        (on.clocks(), "no two clocks are more than a second apart"),
        (on.room(), "a fifth of every total is free"),
        (on.drain_fits(), "no job has run for longer than a node that leaves gives it"),
        (on.flag_source(), "every source of ceilings is heard, and lets its node go as far as it has to"),
    ];
    NAMES.into_iter().zip(found).map(|((name, _), (outcome, wanted))| outcome.check(name, wanted)).collect()
}

enum Outcome {
    Pass(String),
    Fail(String, String),
    Unknown(String, String),
    Skipped(String),
}

impl Outcome {
    fn check(self, name: &'static str, wanted: &'static str) -> Check {
        let (found, seen, todo) = match self {
            Self::Pass(seen) => (Found::Pass, seen, String::new()),
            Self::Fail(seen, todo) => (Found::Fail, seen, todo),
            Self::Unknown(seen, todo) => (Found::Unknown, seen, todo),
            Self::Skipped(why) => (Found::Skipped, why, String::new()),
        };
        Check { name, found, seen, wanted, todo, ignored: None }
    }

    /// A pass where it holds, else a failure.
    fn when(holds: bool, pass: impl Into<String>, fail: impl Into<String>, todo: impl Into<String>) -> Self {
        if holds { Self::Pass(pass.into()) } else { Self::Fail(fail.into(), todo.into()) }
    }

    /// A pass where nobody is at fault, else a failure that names those who are.
    fn of(faults: &[String], pass: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::when(faults.is_empty(), pass, faults.join("; "), todo)
    }
}

struct On<'a> {
    cluster: &'a Cluster,
    aim: &'a Aim,
    train: &'a UpgradePath,
    settings: &'a CheckSettings,
}

impl On<'_> {
    fn looks(&self) -> impl Iterator<Item = (&NodeName, &MemberLook)> {
        self.cluster.answered()
    }
}

#[cfg(test)]
mod tests;
