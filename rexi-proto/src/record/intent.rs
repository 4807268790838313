//! What all members are asked to say yes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClusterChange, Digest};
use crate::function::Release;
use crate::name::{Incarnation, NodeName};

/// A change that is to become the record of the next epoch, with all that a yes to it depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Intent {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The epoch of the record that would follow.
    pub epoch: u64,
    /// Which try at that epoch this is; the first is 1. No member says yes twice to different intents of one attempt.
    pub attempt: u64,
    /// The digest of the record before; of nothing, before the first.
    pub previous: Digest,
    /// What is to change.
    pub change: ClusterChange,
    /// Who is asked, and who the members are after it.
    pub members: BTreeSet<NodeName>,
    /// What each of them was when it was looked at.
    pub lives: BTreeMap<NodeName, SeenLife>,
    /// The operator.
    pub by: Arc<str>,
    /// When the operator asked, in seconds since 1970.
    pub at: u64,
}

/// What a process is, so that a yes is not taken for that of another: a program may be replaced between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeenLife {
    /// When it started.
    pub incarnation: Incarnation,
    /// Its release.
    pub release: Release,
    /// What its program is: the digest of the file.
    pub build: Digest,
}

impl Intent {
    /// What the intent is known by: of all that it says.
    pub fn id(&self) -> Digest {
        let mut text = String::new();
        self.render(&mut text);
        Digest::of(&text)
    }

    /// The lowest release that may run once this is the record; `None` where the floor stays.
    pub fn floor(&self) -> Option<Release> {
        match self.change {
            ClusterChange::Begin { floor, .. } | ClusterChange::Finalize { floor } => Some(floor),
            _ => None,
        }
    }

    /// Who is asked first: what this one refuses is recorded nowhere.
    pub fn turnstile(&self) -> Option<&NodeName> {
        self.members.first()
    }

    /// The change in words, as a part of a sentence.
    pub fn told(&self) -> String {
        self.change.told()
    }
}
