//! A train: the releases that a cluster goes through, in order, each with its profile; and how a release is written.
//!
//! In: a text such as `1.0,1.1,1.2,2.0`. Out: profiles by their [`Place`]. Whether neighbours may run side by side is
//! not checked here: the handshake has to refuse that, and a rehearsal of an illegal train must show that it does.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rexi_proto::{Phase, Profile};
use semver::Version;
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// A release by its version, written `1.1` or `1.1.3`. Ordered by version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release(Version);

impl Release {
    /// The release's version.
    pub fn version(&self) -> &Version {
        &self.0
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { major, minor, .. } = self.0;
        if self.0 == Version::new(major, minor, 0) { write!(f, "{major}.{minor}") } else { self.0.fmt(f) }
    }
}

impl FromStr for Release {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = Version::parse(text).or_else(|_| Version::parse(&format!("{text}.0")));
        version.map(Self).map_err(|_| TrainError::NoRelease { text: text.to_owned() })
    }
}

impl TryFrom<String> for Release {
    type Error = TrainError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Release> for String {
    fn from(release: Release) -> Self {
        release.to_string()
    }
}

/// A release by its place in a train, the first of which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u8);

impl Place {
    /// As an index.
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// Whether the other is the same or a neighbour.
    pub fn is_near(self, other: Self) -> bool {
        self.0.abs_diff(other.0) <= 1
    }
}

/// The releases to go through, in order: at least one. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Train(Arc<[Profile]>);

/// Why a text is not a train. The operator is at fault; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Not a version.
    #[error("{text:?} is not a release, such as 1.1")]
    NoRelease {
        /// What was given.
        text: String,
    },
    /// No release of this number is known.
    #[error("{text:?} is no release: use one of {known}")]
    UnknownRelease {
        /// What was given.
        text: String,
        /// The releases that there are.
        known: String,
    },
    /// Nothing to go through.
    #[error("a train needs at least one release of {known}")]
    Empty {
        /// The releases that there are.
        known: String,
    },
    /// More stops than a run can have.
    #[error("a train of {count} releases is too long: use at most {RELEASES_MAX}")]
    TooLong {
        /// How many were given.
        count: usize,
    },
}

impl Train {
    /// Each place, the first release's first.
    pub fn places(&self) -> impl DoubleEndedIterator<Item = Place> + Clone + use<> {
        (0..=self.last().0).map(Place)
    }

    /// The place of the last release.
    pub fn last(&self) -> Place {
        Place(u8::try_from(self.0.len() - 1).expect("a train is short"))
    }

    /// What the release at a place may do at run time.
    ///
    /// # Panics
    /// Where the train ends before: the caller's fault.
    pub fn profile(&self, place: Place) -> &Profile {
        &self.0[place.index()]
    }

    /// The release at a place.
    ///
    /// # Panics
    /// As [`Train::profile`].
    pub fn release(&self, place: Place) -> Release {
        Release(self.profile(place).release().clone())
    }

    /// The releases, in order.
    pub fn releases(&self) -> Vec<Release> {
        self.places().map(|place| self.release(place)).collect()
    }

    /// Where a release stands first.
    pub fn place(&self, release: &Release) -> Option<Place> {
        self.places().find(|&place| self.profile(place).release() == release.version())
    }

    /// The release that a text names.
    ///
    /// # Errors
    /// [`TrainError::UnknownRelease`] where the train does not have it.
    pub fn find(&self, text: &str) -> Result<Place, TrainError> {
        let place = text.parse().ok().and_then(|release| self.place(&release));
        place.ok_or_else(|| TrainError::UnknownRelease { text: text.to_owned(), known: self.known() })
    }

    /// Another train of these releases, in any order, as a text such as `1.0,1.1` names them.
    ///
    /// # Errors
    /// [`TrainError`] where the text names none, too many, or one that this train does not have.
    pub fn select(&self, text: &str) -> Result<Self, TrainError> {
        if text.trim().is_empty() {
            return Err(TrainError::Empty { known: self.known() });
        }
        let count = text.split(',').count();
        if count > RELEASES_MAX {
            return Err(TrainError::TooLong { count });
        }
        let profile = |release: &str| self.find(release.trim()).map(|place| self.profile(place).clone());
        text.split(',').map(profile).collect::<Result<_, _>>().map(Self)
    }

    fn known(&self) -> String {
        self.to_string().replace(',', ", ")
    }
}

impl Default for Train {
    /// The whole upgrade of the demo cluster.
    fn default() -> Self {
        Self(Profile::train().into())
    }
}

impl FromStr for Train {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::default().select(text)
    }
}

impl fmt::Display for Train {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let releases: Vec<String> = self.releases().iter().map(Release::to_string).collect();
        f.write_str(&releases.join(","))
    }
}

impl Serialize for Train {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.releases().serialize(serializer)
    }
}

/// How a node process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It is asked to end its jobs and leave.
    Drain,
    /// SIGKILL, with whatever it had in flight.
    Kill,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drain => "drain",
            Self::Kill => "kill -9",
        })
    }
}

/// One step of a rehearsal. Nodes are numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Every node starts at the train's first release, and the load with them.
    StartAll {
        /// The first release.
        release: Release,
    },
    /// One node is stopped and starts as another release.
    Restart {
        /// Which node.
        node: usize,
        /// What it ran.
        from: Release,
        /// What it starts as.
        to: Release,
        /// How it is stopped.
        how: Stop,
    },
    /// Every node has to reach the phase by itself.
    AwaitPhase {
        /// The phase.
        phase: Phase,
    },
    /// The operator sets or lifts the ceiling of every node's phase while jobs run; every node has to reach `reach`.
    Ceiling {
        /// The ceiling; `None` lifts it.
        ceiling: Option<Phase>,
        /// The phase that follows from it.
        reach: Phase,
    },
    /// The load stops until every call and job has ended, and goes on: what was lost or orphaned shows here, before the
    /// next restart takes the evidence along.
    Settle,
    /// The load stops, what is under way ends, every node leaves.
    Finish,
}

impl Step {
    /// Whether the step stops a node with SIGKILL.
    pub fn is_kill(&self) -> bool {
        matches!(self, Self::Restart { how: Stop::Kill, .. })
    }
}

/// The steps of a rehearsal, in order: the same for the same arguments.
///
/// Each leg (all nodes, one by one in a seeded order, to the next release) has at least one `kill -9` and one drain
/// where there are two nodes or more and `kill_share` is neither 0 nor 1. Where 1.2 is first reached the phase is
/// flipped with jobs in flight, and where it is reached from 1.1 all nodes go back to 1.1 and forward again before. The
/// cluster has to settle after each leg and after the flips.
pub fn plan(train: &Train, nodes: usize, seed: u64, kill_share: f64) -> Vec<Step> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut at = Place(0);
    let first = train.profile(at);
    let mut steps = vec![Step::StartAll { release: train.release(at) }, Step::AwaitPhase { phase: first.highest() }];
    let mut flipped = false;
    if flips(first) {
        steps.extend(hot_flips(first));
        flipped = true;
    }
    for next in train.places().skip(1) {
        let mut leg = |from, to| leg(&mut rng, nodes, (train.profile(from), train.profile(to)), kill_share);
        steps.extend(leg(at, next));
        if flips(train.profile(next)) && !flipped {
            if train.profile(at).hosts() == train.profile(next).hosts() {
                steps.extend(leg(next, at));
                steps.extend(leg(at, next));
            }
            steps.extend(hot_flips(train.profile(next)));
            flipped = true;
        }
        at = next;
    }
    steps.push(Step::Finish);
    steps
}

/// Whether the release has a phase to lower to and to raise again while it runs.
fn flips(profile: &Profile) -> bool {
    profile.lowest() < profile.highest()
}

fn leg(rng: &mut Xoshiro256PlusPlus, nodes: usize, (from, to): (&Profile, &Profile), kill_share: f64) -> Vec<Step> {
    let mut order: Vec<usize> = (0..nodes).collect();
    order.shuffle(rng);
    let mut kills: Vec<bool> = order.iter().map(|_| rng.random_bool(kill_share.clamp(0.0, 1.0))).collect();
    if nodes >= 2 && kill_share > 0.0 && kill_share < 1.0 && kills.iter().all(|&kill| kill == kills[0]) {
        let odd_one = rng.random_range(0..nodes);
        kills[odd_one] = !kills[odd_one];
    }
    let restart = |(node, kill)| Step::Restart {
        node,
        from: Release(from.release().clone()),
        to: Release(to.release().clone()),
        how: if kill { Stop::Kill } else { Stop::Drain },
    };
    let mut steps: Vec<Step> = order.into_iter().zip(kills).map(restart).collect();
    steps.extend([Step::AwaitPhase { phase: to.highest() }, Step::Settle]);
    steps
}

fn hot_flips(profile: &Profile) -> Vec<Step> {
    let (low, high) = (profile.lowest(), profile.highest());
    let round = [Step::Ceiling { ceiling: Some(low), reach: low }, Step::Ceiling { ceiling: None, reach: high }];
    round.iter().cycle().take(2 * FLIP_ROUNDS).cloned().chain([Step::Settle]).collect()
}

/// The most releases a train may name: each restarts every node once.
pub const RELEASES_MAX: usize = 32;

/// How often the phase is lowered and raised again with jobs in flight.
pub const FLIP_ROUNDS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn train(text: &str) -> Train {
        text.parse().expect("a train")
    }

    fn default_plan(seed: u64) -> Vec<Step> {
        plan(&Train::default(), 5, seed, 0.4)
    }

    #[test]
    fn a_seed_repeats_its_plan_and_seeds_differ() {
        assert_eq!(default_plan(7), default_plan(7));
        assert!((0..20).any(|seed| default_plan(seed) != default_plan(7)));
    }

    #[test]
    fn every_default_plan_kills_at_least_four_times_and_each_leg_kills_and_drains() {
        for seed in 0..500 {
            let steps = default_plan(seed);
            assert!(steps.iter().filter(|step| step.is_kill()).count() >= 4, "seed {seed}");
            let restarts: Vec<&Step> = steps.iter().filter(|step| matches!(step, Step::Restart { .. })).collect();
            assert_eq!(restarts.len(), 25);
            for leg in restarts.chunks(5) {
                let kills = leg.iter().filter(|step| step.is_kill()).count();
                assert!((1..5).contains(&kills), "seed {seed}: {leg:?}");
            }
        }
    }

    #[test]
    fn a_share_of_none_or_all_is_kept_to_the_letter() {
        for (share, kills) in [(0.0, 0), (1.0, 25)] {
            let steps = plan(&Train::default(), 5, 3, share);
            assert_eq!(steps.iter().filter(|step| step.is_kill()).count(), kills);
        }
    }

    #[test]
    fn every_node_goes_through_every_release_and_back_once() {
        for nodes in [2, 3, 5, 32] {
            let steps = plan(&Train::default(), nodes, 11, 0.4);
            for node in 0..nodes {
                let mut at = "1.0".to_owned();
                let mut path = vec![at.clone()];
                for step in &steps {
                    if let Step::Restart { node: who, from, to, .. } = step
                        && *who == node
                    {
                        assert_eq!(from.to_string(), at);
                        at = to.to_string();
                        path.push(at.clone());
                    }
                }
                assert_eq!(path, ["1.0", "1.1", "1.2", "1.1", "1.2", "2.0"]);
            }
        }
    }

    #[test]
    fn the_flips_come_after_the_leg_back_and_before_the_removal() {
        let steps = default_plan(1);
        let first_flip = steps.iter().position(|s| matches!(s, Step::Ceiling { .. })).expect("a flip");
        let flips: Vec<&Step> = steps.iter().filter(|s| matches!(s, Step::Ceiling { .. })).collect();
        assert_eq!(&steps[first_flip..first_flip + 4].iter().collect::<Vec<_>>(), &flips);
        assert_eq!(*flips[0], Step::Ceiling { ceiling: Some(Phase::Introduce), reach: Phase::Introduce });
        assert_eq!(*flips[1], Step::Ceiling { ceiling: None, reach: Phase::Switch });
        let to = |step: &Step| matches!(step, Step::Restart { to, .. } if to.to_string() == "2.0");
        assert!(steps[..first_flip].iter().all(|s| !to(s)));
        assert_eq!(steps[first_flip + 4..].iter().filter(|s| to(s)).count(), 5);
        assert_eq!(steps[first_flip - 2..first_flip], [Step::AwaitPhase { phase: Phase::Switch }, Step::Settle]);
        assert_eq!(steps[first_flip + 4], Step::Settle, "what the flips left behind shows before the next restart");
        assert_eq!(steps.last(), Some(&Step::Finish));
    }

    #[test]
    fn illegal_trains_are_planned_for_the_handshake_to_refuse() {
        for text in ["1.0,1.2", "1.1,2.0", "2.0,1.0", "1.2,1.0"] {
            let steps = plan(&train(text), 3, 5, 0.4);
            let to = train(text).releases()[1].clone();
            let reached = |s: &&Step| matches!(s, Step::Restart { to: reached, .. } if *reached == to);
            assert_eq!(steps.iter().filter(reached).count(), 3, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_train_is_refused_with_what_is_allowed() {
        let refused = |text: &str| text.parse::<Train>().expect_err("refused").to_string();
        assert_eq!(refused("1.0,1.3"), r#""1.3" is no release: use one of 1.0, 1.1, 1.2, 2.0"#);
        assert_eq!(refused("1.0,"), r#""" is no release: use one of 1.0, 1.1, 1.2, 2.0"#);
        assert!(refused(" ").contains("at least one release"));
        assert!(refused(&["1.0"; 33].join(",")).contains("at most 32"));
        assert_eq!(train("1.0, 1.1.0").to_string(), "1.0,1.1");
    }
}
