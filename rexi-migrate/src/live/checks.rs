//! The checks by name: whether a cluster may take a step, from what its members tell.
//!
//! A check knows what is aimed at, and is skipped, by its own words, where it cannot apply. What cannot be told is a
//! result. Most cannot be passed over; where one can, the operator does so one by one, with a reason for the trail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use rexi_proto::operate::MemberLook;
use rexi_proto::record::Digest;
use rexi_proto::{Forms, NodeName, Release, SERVER_PER_NODE};

use super::cluster::Cluster;
use crate::clock::{ago, utc};
use crate::path::UpgradePath;

/// What an operator is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To begin the record.
    Begin,
    /// To let the next release in.
    Advance(Release),
    /// To raise or take off ceilings.
    Raise,
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
    /// A report of `verify` that says SAFE for these releases, or why there is none.
    pub verified: Result<Vec<Release>, String>,
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
pub const NAMES: [(&str, bool); 17] = [
    ("members-reached", false),
    ("members-agree", false),
    ("one-cluster", false),
    ("operable", false),
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
    ("certificates", true),
    ("clocks", true),
    ("room", true),
];

/// Whether a check may be passed over; `None` where there is none of the name.
pub fn may_be_ignored(name: &str) -> Option<bool> {
    NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, may_be)| may_be)
}

/// All checks of a cluster for what is aimed at, in the order of [`NAMES`]. `train` is what this tool knows.
pub fn preflight(cluster: &Cluster, aim: &Aim, train: &UpgradePath, settings: &CheckSettings) -> Vec<Check> {
    let on = On { cluster, aim, train, settings };
    let found: [(Outcome, &'static str); 17] = [
        (on.members_reached(), "every member answers itself, now"),
        (on.members_agree(), "all list the same members, and so does the record"),
        (on.one_cluster(), "all are of one cluster, by name and by the record's origin"),
        (on.operable(), "every member keeps the record, in a release that this tool knows"),
        (on.epochs_agree(), "the same record on every disk"),
        (on.no_transition_open(), "no change is under way"),
        (on.connected_both_ways(), "every member is connected to every other, as both see it"),
        (on.floor_durable(), "every disk takes what is written and synced"),
        (on.within_window(), "every release that runs may run, and may after it"),
        (on.next_release(), "the release that follows in the train"),
        (on.phase_settled(), "every member says all that its release can say"),
        (on.singleton_quiet(), "nothing goes to the singleton any more, for as long as --quiet says"),
        (on.builds_known(), "one build of each release, and the one that --build names"),
        (on.verified_mix(), "a report of `verify` that says SAFE for these releases"),
        (on.certificates(), "no certificate expires within --soak and seven days"),
        (on.clocks(), "no two clocks are more than a second apart"),
        (on.room(), "a fifth of every total is free"),
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

    fn members_reached(&self) -> Outcome {
        let silent: Vec<String> = self.cluster.silent().map(|(node, why)| format!("{node}: {why}")).collect();
        let answered = self.looks().count();
        if silent.is_empty() {
            return Outcome::Pass(format!("{answered} of {answered} answered"));
        }
        let todo = "start it, or mend the way to it; a member that never returns is forgotten: `live forget`";
        Outcome::Unknown(silent.join("; "), todo.to_owned())
    }

    fn members_agree(&self) -> Outcome {
        let record = self.cluster.record();
        let joined = |nodes: &BTreeSet<NodeName>| nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
        let all: BTreeSet<NodeName> = self.looks().flat_map(|(_, look)| look.members.iter().cloned()).collect();
        let differ = self.looks().filter(|(_, look)| look.members != all);
        let mut faults: Vec<String> =
            differ.map(|(node, look)| format!("{node} lists {}", joined(&look.members))).collect();
        let unlisted = record.into_iter().flat_map(|record| record.members.difference(&all));
        faults.extend(unlisted.map(|node| format!("nobody lists {node}, which the record has")));
        let todo = "give every member the same list, one that is in the record too; then look again";
        Outcome::of(&faults, format!("all list {}", joined(&all)), todo)
    }

    fn one_cluster(&self) -> Outcome {
        let names: BTreeSet<&str> = self.looks().map(|(_, look)| &*look.cluster).collect();
        let origins: BTreeSet<Digest> =
            self.cluster.kept().filter_map(|(_, kept)| Some(kept.record.as_ref()?.origin)).collect();
        let mut faults = Vec::new();
        if names.len() > 1 {
            faults.push(format!("they call it {}", names.iter().copied().collect::<Vec<_>>().join(", ")));
        }
        if origins.len() > 1 {
            faults.push(format!("{} records that began apart", origins.len()));
        }
        Outcome::of(&faults, names.into_iter().next().unwrap_or("nobody answered"), "see whose address is whose")
    }

    fn operable(&self) -> Outcome {
        let unkept = self.looks().filter(|(_, look)| look.answer.is_none());
        let mut faults: Vec<String> = unkept.map(|(node, _)| format!("{node} keeps no record")).collect();
        let unknown = self.looks().filter(|(_, look)| self.train.place(look.life.release).is_none());
        faults.extend(unknown.map(|(node, look)| format!("{node} runs {}, unknown to this tool", look.life.release)));
        let todo = "give it `rollout.state`; use the tool of the newest release that runs";
        Outcome::of(&faults, "all keep the record", todo)
    }

    fn epochs_agree(&self) -> Outcome {
        if let (Aim::Begin, None) = (self.aim, self.cluster.record()) {
            return Outcome::Pass("nobody has a record yet".to_owned());
        }
        let digests = self.cluster.digests();
        let distinct: BTreeSet<_> = digests.values().collect();
        let epoch = self.cluster.record().map_or(0, |record| record.epoch);
        let of = |(node, digest): (&&NodeName, &Option<Digest>)| match digest {
            Some(digest) => format!("{node} has {digest:?}"),
            None => format!("{node} has none"),
        };
        let faults = if distinct.len() > 1 { digests.iter().map(of).collect() } else { Vec::new() };
        Outcome::of(&faults, format!("epoch {epoch} on every disk"), "`live resume` brings the rest to it")
    }

    fn no_transition_open(&self) -> Outcome {
        match self.cluster.transition() {
            None => Outcome::Pass("none is open".to_owned()),
            Some(open) => {
                let since = ago(open.at, self.settings.now);
                let seen = format!("{} asked to {}, {since}", open.by, open.what);
                Outcome::Fail(seen, "`live resume` ends it forwards, `live abort` backwards".to_owned())
            }
        }
    }

    fn connected_both_ways(&self) -> Outcome {
        // Who does not answer is a matter of another check.
        let silent: BTreeSet<&NodeName> = self.cluster.silent().map(|(node, _)| node).collect();
        let down = self.looks().flat_map(|(node, look)| {
            let down = look.peers.iter().filter(|(peer, seen)| !seen.is_connected && !silent.contains(peer));
            down.map(move |(peer, seen)| {
                let why = seen.problem.as_deref().unwrap_or("it was not met yet");
                format!("{node} to {peer}: {why}")
            })
        });
        let faults: Vec<String> = down.collect();
        if let (Aim::Begin, None) = (self.aim, self.cluster.record())
            && !faults.is_empty()
        {
            return Outcome::Skipped("without a record they wait for one before they meet".to_owned());
        }
        Outcome::of(&faults, "all are", "see `last_error` of that peer in the member's /status")
    }

    fn floor_durable(&self) -> Outcome {
        let problem = |(node, look): (&NodeName, &MemberLook)| Some(format!("{node}: {}", look.disk_problem.as_ref()?));
        let anew = |node: &NodeName, since: u64| format!("{node}: its disk came new at epoch {since}");
        let mut faults: Vec<String> = self.looks().filter_map(problem).collect();
        faults.extend(self.cluster.kept().filter_map(|(node, kept)| Some(anew(node, kept.anew?))));
        let todo = "mend the disk and start the node again; one that came new is forgotten: `live forget --wiped`";
        Outcome::of(&faults, "all do", todo)
    }

    fn within_window(&self) -> Outcome {
        let Some(record) = self.cluster.record() else { return Outcome::Skipped("there is no record yet".to_owned()) };
        // What runs below the floor that is to be would be stopped by it.
        let may_run = |release: Release| match self.aim {
            Aim::Finalize(to) => record.admits(release) && release >= *to,
            _ => record.admits(release),
        };
        let outside = self.looks().filter(|(_, look)| !may_run(look.life.release));
        let faults: Vec<String> = outside.map(|(node, look)| format!("{node} runs {}", look.life.release)).collect();
        Outcome::of(&faults, format!("{} to {}", record.floor, record.top), "run a release there that may run after it")
    }

    fn next_release(&self) -> Outcome {
        match (self.aim, self.cluster.record()) {
            (Aim::Begin, _) => {
                let stops = self.cluster.stops();
                let places: Vec<_> = stops.iter().filter_map(|&stop| self.train.place(stop)).collect();
                let near = stops.len() <= 2 && places.windows(2).all(|pair| pair[0].is_near(pair[1]));
                let names = stops.iter().map(Release::to_string).collect::<Vec<_>>().join(", ");
                let seen = format!("they run {names}");
                Outcome::when(near, seen.clone(), seen, "bring all to one release, or to two that follow")
            }
            (Aim::Raise, _) => Outcome::Skipped("no release is aimed at".to_owned()),
            (_, None) => Outcome::Fail("there is no record yet".to_owned(), "begin one with `live init`".to_owned()),
            (Aim::Finalize(to), Some(record)) => {
                let (pass, fail) = (format!("{to} is the top"), format!("the top is {}", record.top));
                Outcome::when(*to == record.top, pass, fail, "only the top can be finalized")
            }
            (Aim::Advance(to), Some(record)) => {
                let Some(to_place) = self.train.place(*to) else {
                    let todo = "use the tool that is built with that release".to_owned();
                    return Outcome::Unknown(format!("this tool's train does not have {to}"), todo);
                };
                let follows =
                    self.train.place(record.floor).is_some_and(|floor| floor.is_near(to_place) && *to > record.floor);
                let floor = record.floor;
                let (pass, fail) = (format!("{to} follows {floor}"), format!("{to} does not follow {floor}"));
                Outcome::when(follows, pass, fail, "take the releases one by one")
            }
        }
    }

    fn phase_settled(&self) -> Outcome {
        if let Aim::Begin | Aim::Raise = self.aim {
            return Outcome::Skipped("no phase is needed for it".to_owned());
        }
        let held = self.looks().flat_map(|(node, look)| {
            let held = look.phases.iter().filter_map(|phase| Some((phase, phase.limit.as_ref()?)));
            held.map(move |(phase, limit)| format!("{node} is in {} of {}: {limit}", phase.phase, phase.migration))
        });
        let todo = "wait until all have it, lift a brake with `live lift`, or raise a ceiling";
        Outcome::of(&held.collect::<Vec<_>>(), "all do", todo)
    }

    fn singleton_quiet(&self) -> Outcome {
        let to = match self.aim {
            Aim::Advance(to) | Aim::Finalize(to) => *to,
            Aim::Begin | Aim::Raise => return Outcome::Skipped("the singleton stays".to_owned()),
        };
        let Some(place) = self.train.place(to) else {
            return Outcome::Skipped(format!("this tool's train does not have {to}"));
        };
        let keeps =
            self.train.profile(place).stage(SERVER_PER_NODE.key()).is_none_or(|stage| stage.takes() != Forms::NEW);
        if keeps {
            return Outcome::Skipped(format!("{to} still runs the singleton"));
        }
        let busy = self.looks().filter_map(|(node, look)| {
            let singleton = look.singleton.as_ref()?;
            let quiet = Duration::from_millis(singleton.quiet_ms);
            let is_busy = quiet < self.settings.quiet || singleton.queue > 0 || singleton.jobs > 0;
            let (queue, jobs) = (singleton.queue, singleton.jobs);
            let seen = format!("{node}: quiet for {} s, {queue} wait, {jobs} jobs", quiet.as_secs());
            is_busy.then_some(seen)
        });
        Outcome::of(
            &busy.collect::<Vec<_>>(),
            "all are quiet",
            "wait until the last cast to it is over, then look again",
        )
    }

    fn builds_known(&self) -> Outcome {
        let mut builds: BTreeMap<Release, BTreeSet<Digest>> = BTreeMap::new();
        for (_, look) in self.looks() {
            builds.entry(look.life.release).or_default().insert(look.life.build);
        }
        if builds.values().flatten().any(|build| *build == Digest::default()) {
            let seen = "a member could not read its own program".to_owned();
            return Outcome::Unknown(seen, "start it again, from a file that is there".to_owned());
        }
        let several = builds.iter().filter(|(_, builds)| builds.len() > 1);
        let mut faults: Vec<String> =
            several.map(|(stop, builds)| format!("{stop} runs as {} builds: {builds:?}", builds.len())).collect();
        if let (Some(wanted), Aim::Finalize(to)) = (self.settings.build, self.aim) {
            let others = builds.get(to).into_iter().flatten().filter(|build| **build != wanted);
            faults.extend(others.map(|build| format!("{to} runs as {build:?}, and not as {wanted:?}")));
        }
        let shown = builds.iter().map(|(stop, builds)| format!("{stop} {builds:?}")).collect::<Vec<_>>().join(", ");
        Outcome::of(&faults, shown, "run one build of each release")
    }

    fn verified_mix(&self) -> Outcome {
        let (floor, to) = match (self.aim, self.cluster.record()) {
            (Aim::Advance(to) | Aim::Finalize(to), Some(record)) => (record.floor, *to),
            _ => return Outcome::Skipped("no release is aimed at".to_owned()),
        };
        match &self.settings.verified {
            Ok(releases) if releases.contains(&floor) && releases.contains(&to) => {
                Outcome::Pass(format!("SAFE for {floor} and {to}"))
            }
            Ok(_) => {
                Outcome::Fail(format!("it does not have both {floor} and {to}"), "run `verify` for this train".into())
            }
            Err(why) => Outcome::Unknown(why.clone(), "run `verify --json FILE`, and give it as --report".to_owned()),
        }
    }

    fn certificates(&self) -> Outcome {
        let until = self.settings.now.saturating_add(self.settings.soak.saturating_add(CERTIFICATE_SPARE).as_secs());
        let soon = self.looks().filter(|(_, look)| look.certificate_expires < until);
        let faults: Vec<String> = soon
            .map(|(node, look)| {
                format!("{node}: at {}", utc(UNIX_EPOCH + Duration::from_secs(look.certificate_expires)))
            })
            .collect();
        Outcome::of(&faults, "none does", "renew it first")
    }

    fn clocks(&self) -> Outcome {
        let clocks = || self.looks().map(|(_, look)| look.clock);
        let (first, last) = (clocks().min().unwrap_or_default(), clocks().max().unwrap_or_default());
        let apart = Duration::from_micros(last.saturating_sub(first));
        let shown = format!("{} ms apart, the time that the answers took included", apart.as_millis());
        let todo = "let NTP set them: the lives of nodes come from clocks";
        Outcome::when(apart <= CLOCKS_APART_MAX, shown.clone(), shown, todo)
    }

    fn room(&self) -> Outcome {
        let full = self.looks().filter(|(_, look)| look.pool_left < POOL_LEFT_MIN);
        let faults: Vec<String> = full.map(|(node, look)| format!("{node}: {} % are left", look.pool_left)).collect();
        Outcome::of(&faults, "there is", "wait, or take load off: a restart moves it to the others")
    }
}

/// How long a certificate is to last beyond the soak.
const CERTIFICATE_SPARE: Duration = Duration::from_hours(7 * 24);

/// How far apart clocks may be.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(1);

/// Percent of each total that is to be free.
const POOL_LEFT_MIN: u8 = 20;

#[cfg(test)]
mod tests;
