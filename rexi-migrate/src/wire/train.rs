//! The lock of a service's train: what each release does with each migration, and which wire versions it speaks. A
//! release that is in the field goes on doing that, whatever the sources say later.

use std::collections::BTreeMap;
use std::fmt;

use rexi_proto::{Form, FunctionRow, Migration, MigrationKey, Release, Stage};
use serde::{Deserialize, Serialize};

use super::kind::ChangeKind;
use crate::path::UpgradePath;

/// A train.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainLock {
    /// Its name.
    pub name: String,
    /// The functions of each migration of functions: whose calls become calls of which.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<MigrationKey, [String; 2]>,
    /// In order.
    pub releases: Vec<ReleaseLock>,
}

/// A release of a train.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseLock {
    /// Its number.
    pub release: Release,
    /// The wire versions that it speaks, such as `v2-v3`.
    pub wire: String,
    /// How far it goes with each migration of which it knows more than the old form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub migrations: BTreeMap<MigrationKey, String>,
}

/// What has become of a train.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrainChange {
    pub(super) kind: ChangeKind,
    /// The release that it is about; `None` for the train.
    pub(super) release: Option<Release>,
    pub(super) what: String,
    pub(super) breaks: bool,
}

/// A function that is called where it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// The first release calls it, and the other, which runs beside it, does not have it.
    Neighbour(Release, Release),
    /// It is called in the release that brings it, which runs beside one that does not have it.
    AtOnce(Release),
    /// It is retired in a release that runs beside one that calls it.
    NeverSilent(Release),
}

impl Missed {
    /// What a row shows without a train; a function that is new to a service has a release before it.
    pub(super) fn by_itself(row: &FunctionRow, is_new: bool) -> Option<Self> {
        let retired = row.retired_in.filter(|&retired| row.silent_since.is_none_or(|silent| silent >= retired));
        let at_once = Some(row.emitted_since).filter(|&emitted| is_new && emitted == row.accepted_since);
        retired.map(Self::NeverSilent).or(at_once.map(Self::AtOnce))
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Neighbour(caller, without) => {
                write!(f, "{caller} calls it, and {without}, which runs beside it, does not have it")
            }
            Self::AtOnce(release) => write!(
                f,
                "called in {release}, which brings it, beside a release without it: say `emitted` a release later"
            ),
            Self::NeverSilent(release) => write!(
                f,
                "retired in {release}, and called in the release before: say `silent` a release before `retired`"
            ),
        }
    }
}

impl TrainLock {
    /// Of the releases that a path goes through.
    pub fn of(path: &UpgradePath) -> Self {
        let release = |number: usize| {
            let profile = path.at(number);
            let known = profile.migrations().filter(|(_, stage)| *stage != Stage::Absent);
            ReleaseLock {
                release: profile.stop(),
                wire: profile.wire().to_string(),
                migrations: known.map(|(of, stage)| (of.key().clone(), format!("{stage:?}").to_lowercase())).collect(),
            }
        };
        let functions = |(migration, _): (&Migration, Stage)| {
            let [old, new] = [Form::Old, Form::New].map(|form| migration.function(form).map(str::to_owned));
            Some((migration.key().clone(), [old?, new?]))
        };
        Self {
            name: path.at(0).train().to_owned(),
            functions: path.at(0).migrations().filter_map(functions).collect(),
            releases: (0..path.len()).map(release).collect(),
        }
    }

    /// What has changed since `old`.
    pub(super) fn changes(&self, old: &Self) -> Vec<TrainChange> {
        let mut changes = Vec::new();
        let mut add = |kind, release, what: String, breaks| changes.push(TrainChange { kind, release, what, breaks });
        if self.name != old.name {
            add(ChangeKind::TrainRenamed, None, format!("{} is called {} now", old.name, self.name), true);
        }
        for (key, [from, to]) in &old.functions {
            if self.functions.get(key).is_some_and(|now| now != &[from.clone(), to.clone()]) {
                let what = format!("{key} is of other functions than {from} and {to}");
                add(ChangeKind::ReleaseChanged, None, what, true);
            }
        }
        let place = |of: &Self, release| of.releases.iter().position(|known| known.release == release);
        // The first that both have: what stands before it in the old lock is of the past.
        let first = old.releases.iter().position(|known| place(self, known.release).is_some());
        for (at, known) in old.releases.iter().enumerate() {
            let (release, number) = (Some(known.release), known.release);
            match place(self, number) {
                None => {
                    let of_the_past = first.is_some_and(|first| at < first);
                    let what =
                        format!("{number} is gone{}", if of_the_past { ", which no release follows now" } else { "" });
                    add(ChangeKind::ReleaseGone, release, what, !of_the_past);
                }
                Some(now) if self.releases[now] != *known => {
                    let [old, new] = [known, &self.releases[now]].map(ReleaseLock::says);
                    add(ChangeKind::ReleaseChanged, release, format!("{number}: {old} -> {new}"), true);
                }
                Some(_) => {}
            }
        }
        let last = old.releases.last().and_then(|last| place(self, last.release));
        for (at, new) in self.releases.iter().enumerate().filter(|(_, new)| place(old, new.release).is_none()) {
            let appended = last.is_none_or(|last| at > last);
            let how =
                if appended { "comes after the others" } else { "stands between, or before, releases in the field" };
            add(ChangeKind::ReleaseCame, Some(new.release), format!("{} {how}", new.release), !appended);
        }
        let kept = |of: &Self, other: &Self| {
            let releases = of.releases.iter().map(|known| known.release);
            releases.filter(|&release| place(other, release).is_some()).collect::<Vec<_>>()
        };
        if kept(old, self) != kept(self, old) {
            add(ChangeKind::ReleaseChanged, None, "the releases follow each other in another order".to_owned(), true);
        }
        changes
    }

    /// The first call of a function that meets a neighbour which does not have it. One of a migration follows that.
    pub(super) fn missed(&self, row: &FunctionRow) -> Option<Missed> {
        if self.functions.values().flatten().any(|of| **of == *row.name) {
            return None;
        }
        let releases = self.releases.iter().map(|known| known.release);
        let mut pairs = releases.clone().zip(releases.skip(1)).flat_map(|(one, other)| [(one, other), (other, one)]);
        let missed = pairs.find(|&(caller, other)| row.emitted(caller) && !row.accepted(other));
        missed.map(|(caller, without)| Missed::Neighbour(caller, without))
    }
}

impl ReleaseLock {
    fn says(&self) -> String {
        let migrations = self.migrations.iter().map(|(key, stage)| format!(", {key} {stage}"));
        format!("wire {}{}", self.wire, migrations.collect::<String>())
    }
}
