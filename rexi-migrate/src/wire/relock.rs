//! Whether a new lock may take the place of an old one: what a release speaks is frozen, and only appending is left.
//!
//! Allowed are a new wire version, a new kind that no node of a locked version sends, a version for the retirement of a
//! kind or a function, a new function, and variants at the end of a function's enum. Everything else changes what nodes
//! in the field rely on; for that, the caller has to state that no release has shipped what was locked.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::diff::{Carrier, Change, Diff, Effect, compare};
use super::functions::FunctionLock;
use super::kind::ChangeKind;
use super::lock::Lock;

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
        match parts.iter().find(|part| !version(part) && ![ALL, HELLO, FUNCTIONS].contains(&part.as_str())) {
            Some(part) => {
                Err(format!("{part:?} is not a part of the lock: use v1 and the like, {HELLO}, {FUNCTIONS}, {ALL}"))
            }
            None => Ok(Self(parts)),
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
        for (name, function) in &old.functions {
            if let Some((why, what)) = broken(function, self.functions.get(name)) {
                add(why, FUNCTIONS, format!("function {name}: {what}"));
            }
        }
        found
    }

    /// Whether the lock's own rows contradict themselves: a message that is sent before it is understood.
    pub fn contradictions(&self) -> Vec<Change> {
        let without = Self { rows: Default::default(), ..self.clone() };
        let mut changes = Diff::new(&without, self).changes;
        changes.retain(|change| change.kind == ChangeKind::RowEarly);
        changes
    }
}

/// Why a change of what is locked is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frozen {
    Hello,
    VersionGone,
    Frame,
    NewFrameSent,
    FunctionGone,
    FunctionRow,
    FunctionRetired,
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
