//! Whether a new lock may take the place of an old one: what a release speaks is frozen, and only appending is left.
//!
//! Allowed are a new wire version, a new kind that no node of a locked version sends, a version for the retirement of a
//! kind or a function, a new function that is not called yet, variants at the end of a function's enum, and a release
//! behind the others. Everything else changes what nodes in the field rely on; for that, the caller has to state that
//! no release has shipped what was locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use rexi_proto::Release;
use thiserror::Error;

use super::diff::{Carrier, Change, Diff, Effect, compare, missed};
use super::functions::FunctionLock;
use super::kind::ChangeKind;
use super::lock::Lock;
use super::train::{Missed, TrainChange};

/// What is locked and was never shipped, so that it may change still.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unshipped(BTreeSet<String>);

/// A lock that may not take the place of the old one. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("it changes what is locked:\n  {}", .0.join("\n  "))]
pub struct Refused(pub Vec<String>);

impl Unshipped {
    /// Nothing: all that is locked is in the field.
    pub fn nothing() -> Self {
        Self::default()
    }

    fn has(&self, part: &str) -> bool {
        self.0.contains(ALL) || self.0.contains(part)
    }
}

impl FromStr for Unshipped {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: BTreeSet<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
        let version = |part: &str| part.strip_prefix('v').is_some_and(|number| number.parse::<u16>().is_ok());
        let release = |part: &str| part.parse::<Release>().ok().map(|release| release.to_string());
        let known = |part: &String| version(part) || [ALL, HELLO, FUNCTIONS, TRAIN].contains(&part.as_str());
        match parts.iter().find(|part| !known(part) && release(part).is_none()) {
            Some(part) => Err(format!(
                "{part:?} is not a part of the lock: use v1 and the like, a release such as 3.2, {HELLO}, {FUNCTIONS}, \
                 {TRAIN}, {ALL}"
            )),
            None => Ok(Self(parts.into_iter().map(|part| release(&part).unwrap_or(part)).collect())),
        }
    }
}

impl fmt::Display for Unshipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(String::as_str).collect::<Vec<_>>().join(","))
    }
}

const ALL: &str = "all";
const HELLO: &str = "hello";
const FUNCTIONS: &str = "functions";
const TRAIN: &str = "train";

impl Lock {
    /// Whether this lock may take the place of `old`.
    ///
    /// # Errors
    /// [`Refused`] names every locked thing that would change.
    pub fn may_replace(&self, old: &Self, unshipped: &Unshipped) -> Result<(), Refused> {
        let frozen = self.frozen(old).into_iter().filter(|(_, part, _)| !unshipped.has(part));
        let refused: Vec<String> = frozen.map(|(_, _, place)| place).collect();
        if refused.is_empty() { Ok(()) } else { Err(Refused(refused)) }
    }

    /// What of `old` this lock changes although nodes rely on it: why, the part that it is of, and where.
    pub(super) fn frozen(&self, old: &Self) -> Vec<(Frozen, String, String)> {
        let mut found = Vec::new();
        let mut add = |why, part: &str, place: String| found.push((why, part.to_owned(), place));
        if old.hello.is_some() && self.hello != old.hello {
            add(Frozen::Hello, HELLO, "the hello, which is frozen since 1.0".to_owned());
        }
        for (version, frames) in &old.versions {
            let Some(now) = self.versions.get(version) else {
                add(Frozen::VersionGone, version, format!("{version} is gone"));
                continue;
            };
            for (number, frame) in frames.iter().filter(|(number, frame)| now.get(number) != Some(*frame)) {
                add(Frozen::Frame, version, format!("{version} {}, kind {number}", frame.kind));
            }
            let added = now.iter().filter(|(number, frame)| !frames.contains_key(number) && frame.emitted);
            for (number, frame) in added {
                let place = format!("{version} {}, kind {number}: new, and sent to nodes that lack it", frame.kind);
                add(Frozen::NewFrameSent, version, place);
            }
        }
        match (&old.train, &self.train) {
            (Some(old), Some(new)) => {
                for TrainChange { kind, release, what, .. } in new.changes(old).into_iter().filter(|of| of.breaks) {
                    let part = release.map_or_else(|| TRAIN.to_owned(), |release| release.to_string());
                    let why = match kind {
                        ChangeKind::ReleaseGone => Frozen::ReleaseGone,
                        ChangeKind::ReleaseCame => Frozen::ReleaseCame,
                        ChangeKind::TrainRenamed => Frozen::TrainRenamed,
                        _ => Frozen::Release,
                    };
                    add(why, &part, format!("the train: {what}"));
                }
            }
            (Some(_), None) => add(Frozen::TrainGone, TRAIN, "the train is gone".to_owned()),
            (None, _) => {}
        }
        for (name, missed) in self.missed(old) {
            add(Frozen::FunctionMissed, FUNCTIONS, format!("function {name}: {missed}"));
        }
        for (name, function) in &old.functions {
            if let Some((why, what)) = broken(function, self.functions.get(name)) {
                add(why, FUNCTIONS, format!("function {name}: {what}"));
            }
        }
        found
    }

    /// Whether the lock's own rows contradict themselves: a message that is sent before it is understood, a function
    /// that is called where a neighbour does not have it.
    pub fn contradictions(&self) -> Vec<Change> {
        let without = Self { rows: Default::default(), ..self.clone() };
        let mut changes = Diff::new(&without, self).changes;
        changes.retain(|change| change.kind == ChangeKind::RowEarly);
        changes.extend(self.missed(&Self::empty()).iter().map(|(name, why)| missed(name, why)));
        changes
    }

    /// Functions that differ from `old` and are called where they are not: as the train shows, or the row by itself.
    pub(super) fn missed(&self, old: &Self) -> BTreeMap<String, Missed> {
        let missed = |(name, function): (&String, &FunctionLock)| {
            let (row, known) = (function.row(name), old.functions.get(name));
            let missed = match &self.train {
                _ if function.migration.is_some() => None,
                Some(train) => train.missed(&row),
                // What is locked for the first time may be of the service's first release.
                None => Missed::by_itself(&row, known.is_none() && *old != Self::empty()),
            };
            missed.filter(|_| known != Some(function)).map(|missed| (name.clone(), missed))
        };
        self.functions.iter().filter_map(missed).collect()
    }
}

/// Why a change of what is locked is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frozen {
    Hello,
    VersionGone,
    Frame,
    NewFrameSent,
    TrainGone,
    TrainRenamed,
    Release,
    ReleaseGone,
    ReleaseCame,
    FunctionMissed,
    FunctionGone,
    FunctionRow,
    FunctionRetired,
    FunctionSilent,
    FunctionAnswers,
    FunctionTypes,
}

/// What of a locked function would break, if anything does.
fn broken(old: &FunctionLock, new: Option<&FunctionLock>) -> Option<(Frozen, &'static str)> {
    let Some(new) = new else {
        return old.retired_in.is_none().then_some((Frozen::FunctionGone, "gone, and was never retired"));
    };
    if (&old.accepted_since, &old.emitted_since) != (&new.accepted_since, &new.emitted_since) {
        return Some((Frozen::FunctionRow, "its row changed"));
    }
    if old.silent_since.is_some() && old.silent_since != new.silent_since {
        return Some((Frozen::FunctionSilent, "it fell silent, and in another release"));
    }
    if old.retired_in.is_some() && old.retired_in != new.retired_in {
        return Some((Frozen::FunctionRetired, "it was retired, and in another release"));
    }
    let (roots, now) = (old.roots(), new.roots());
    if roots.iter().map(|(what, _)| what).ne(now.iter().map(|(what, _)| what)) {
        return Some((Frozen::FunctionAnswers, "it answers differently"));
    }
    let changes = roots.iter().zip(&now).flat_map(|((what, old), (_, new))| compare(what, Carrier::Typed, old, new));
    let breaks =
        |change: &Change| change.old_to_new.effect > Effect::Safe || change.new_to_old.effect > Effect::WhenSent;
    changes
        .into_iter()
        .any(|change| breaks(&change))
        .then_some((Frozen::FunctionTypes, "its types changed: a change of a type is a new function"))
}
