//! One migration of a node: what it says now, and what of it is wanted; and what a member says of it.

use crate::migration::{Form, Forms, Stage};
use crate::phase::Phase;

/// A phase, and how often it has changed in its node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PhaseNow {
    /// How often.
    pub epoch: u64,
    /// The phase.
    pub phase: Phase,
}

/// Where this node stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Track {
    pub(super) operator: Option<Phase>,
    pub(super) source: Option<Phase>,
    pub(super) record: Option<Phase>,
    pub(super) phase: Phase,
    pub(super) epoch: u64,
    /// Whether the phase stays as it is, whatever members and operators say.
    pub(super) held: bool,
}

/// A member's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word {
    pub(super) epoch: u64,
    pub(super) phase: Phase,
    pub(super) takes: Forms,
}

impl Track {
    pub(super) fn new(stage: Stage) -> Self {
        Self { operator: None, source: None, record: None, phase: stage.lowest(), epoch: 0, held: false }
    }

    pub(super) fn now(&self) -> PhaseNow {
        PhaseNow { epoch: self.epoch, phase: self.phase }
    }

    /// The phase that release, operator, source and record would have.
    pub(super) fn wanted(&self, stage: Stage) -> Phase {
        [self.operator, self.source, self.record].into_iter().flatten().fold(stage.highest(), Phase::min)
    }
}

impl Word {
    pub(super) fn says(self) -> Form {
        self.phase.says()
    }
}
