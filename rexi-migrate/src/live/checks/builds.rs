//! Checks of the programs that run, or are to: whether they are known, were verified together, and fit by their locks.

use std::collections::{BTreeMap, BTreeSet};

use rexi_proto::Release;
use rexi_proto::record::Digest;

use super::{Aim, On, Outcome};
use crate::verdict::conclusion::Conclusion;
use crate::wire::{Diff, TrainLock};

impl On<'_> {
    pub(super) fn builds_known(&self) -> Outcome {
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

    pub(super) fn verified_mix(&self) -> Outcome {
        let (floor, to) = match (self.aim, self.cluster.record()) {
            (Aim::Advance(to) | Aim::Finalize(to), Some(record)) => (record.floor, *to),
            _ => return Outcome::Skipped("no release is aimed at".to_owned()),
        };
        let verified = match &self.settings.verified {
            Ok(verified) => verified,
            Err(why) => {
                return Outcome::Unknown(why.clone(), "run `verify --json FILE`, and give it as --report".to_owned());
            }
        };
        if let Some(missing) = [floor, to].into_iter().find(|stop| !verified.releases.contains(stop)) {
            return Outcome::Fail(format!("it does not have {missing}"), "run `verify` for this train".to_owned());
        }
        let named = self.settings.build.map(|build| (to, "--build", build));
        let of_members = self.looks().map(|(node, look)| (look.life.release, node.as_str(), look.life.build));
        let run: Vec<_> = of_members.filter(|(stop, ..)| [floor, to].contains(stop)).chain(named).collect();
        if let Some((stop, ..)) = run.iter().find(|(stop, ..)| !verified.builds.contains_key(stop)) {
            let todo = "run `verify` with its rehearsal, and --release for what is another program";
            return Outcome::Unknown(format!("it does not say which build of {stop} it ran"), todo.to_owned());
        }
        if let Some((_, node, _)) = run.iter().find(|(.., build)| *build == Digest::default()) {
            let todo = "start it again, from a file that is there".to_owned();
            return Outcome::Unknown(format!("{node} could not read its own program"), todo);
        }
        let others = run.iter().filter(|(stop, _, build)| verified.builds[stop] != *build);
        let faults: Vec<String> = others
            .map(|(stop, node, build)| {
                format!("{node} has {build:?} of {stop}, verified is {:?}", verified.builds[stop])
            })
            .collect();
        Outcome::of(&faults, format!("SAFE for {floor} and {to}"), "run `verify` with the programs that run")
    }

    pub(super) fn functions_kept(&self) -> Outcome {
        let (floor, to) = match (self.aim, self.cluster.record()) {
            (Aim::Advance(to), Some(record)) => (record.floor, *to),
            _ => return Outcome::Skipped("no release is let in".to_owned()),
        };
        let (old, new) = match &self.settings.locks {
            None => return Outcome::Skipped("no locks were given: --locks".to_owned()),
            Some(Err(why)) => return Outcome::Unknown(why.clone(), LOCKS_WANTED.to_owned()),
            Some(Ok((old, new))) => (old, new),
        };
        for (lock, stop) in [(old, floor), (new, to)] {
            let lacks = |train: &TrainLock| train.releases.iter().all(|of| of.release != stop);
            if lock.train.as_ref().is_some_and(lacks) {
                return Outcome::Unknown(format!("the lock for {stop} does not have it"), LOCKS_WANTED.to_owned());
            }
        }
        let diff = Diff::new(old, new);
        let breaks: Vec<String> = diff.breaks().map(|change| format!("{}: {}", change.place, change.what)).collect();
        match diff.verdict() {
            Conclusion::Safe => Outcome::Pass(format!("{} changes, and none breaks", diff.changes.len())),
            Conclusion::CouldNotTell => {
                let todo = "look at `wire diff` of the two locks".to_owned();
                Outcome::Unknown("the search for a break was cut short".to_owned(), todo)
            }
            Conclusion::Unsafe => {
                let shown = breaks.iter().take(BREAKS_SHOWN).cloned().collect::<Vec<_>>().join("; ");
                let more = if breaks.len() > BREAKS_SHOWN { ", the first of them" } else { "" };
                let todo = "see `wire diff` of the two: a change that breaks is a new wire version or function";
                Outcome::Fail(format!("{} BREAK{more}: {shown}", breaks.len()), todo.to_owned())
            }
        }
    }
}

const LOCKS_WANTED: &str = "give the lock of the floor's build, and then that of the release's";

/// Breaks that are told; `wire diff` tells all.
const BREAKS_SHOWN: usize = 3;
