//! The handshake: the first frame each way, and the verdict that both sides compute alike.
//!
//! Illegal skew is impossible to run: two nodes may speak only if they are of one cluster, are of one release or of two
//! that follow each other, share a wire version, and each takes what the other says now, for every migration. The hello
//! itself has no version of its own to negotiate; what it may gain later goes into extensions, which a node that does
//! not know them passes over.

mod layout;
mod refusal;

use std::sync::Arc;

use semver::Version;

#[cfg(feature = "schema")]
pub(crate) use self::layout::show;
pub use self::refusal::{Party, Refusal, Saying};
use crate::function::Release;
use crate::guards::Guards;
use crate::migration::{Form, Forms, MigrationKey};
use crate::name::{Incarnation, NodeName};
use crate::phase::{Phase, Servers};
use crate::record::RecordWord;
use crate::table::FunctionTable;
use crate::version::{VersionRange, WireVersion};

/// What a node says of itself before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The cluster that it is of.
    pub cluster: Arc<str>,
    /// Its name; the certificate must name it too.
    pub node: NodeName,
    /// Its life, as the node that it speaks to may count it.
    pub incarnation: Incarnation,
    /// The latest life of the other node that it has met, unless it is connected to that. The other's life is to come
    /// after it.
    pub last_met: Option<Incarnation>,
    /// Its release.
    pub release: Version,
    /// The release as its train names it, of which the release may be a patch.
    pub stop: Release,
    /// The stop before it; `None` for the first of a train.
    pub follows: Option<Release>,
    /// The wire versions it speaks.
    pub wire: VersionRange,
    /// Where it stands in each migration of its train, rexi's own first. Their places number them on this connection.
    pub migrations: Vec<Standing>,
    /// The functions that it takes. Their places number them on this connection.
    pub functions: FunctionTable,
    /// What it says of its cluster's record.
    pub record: RecordWord,
    /// Optional abilities, a bit each; unknown bits are ignored. None is defined yet.
    pub capabilities: u64,
    /// Bytes of the longest frame it takes.
    pub frame_bytes_max: u32,
    /// Bytes of the longest payload it takes.
    pub payload_bytes_max: u32,
}

/// Where a node stands in one migration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The migration.
    pub key: MigrationKey,
    /// What it says now.
    pub phase: Phase,
    /// How often that has changed in this incarnation.
    pub epoch: u64,
    /// The highest phase that its release and its operator let it reach.
    pub ceiling: Phase,
    /// The forms that it takes.
    pub takes: Forms,
    /// The members that, as far as it knows, still say the old form. At most 4 are named.
    pub holdouts: Vec<NodeName>,
}

/// What two nodes have settled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Agreement {
    /// The wire version that both will use.
    pub wire: WireVersion,
}

/// Whether two nodes may speak, and how. The same whichever of the two asks.
///
/// # Errors
/// [`Refusal`] names both nodes, their releases and what stands between them.
pub fn verdict(one: &Hello, other: &Hello) -> Result<Agreement, Box<Refusal>> {
    verdict_guarded(one, other, Guards::default())
}

/// The verdict of a node by its guards.
pub(crate) fn verdict_guarded(one: &Hello, other: &Hello, guards: Guards) -> Result<Agreement, Box<Refusal>> {
    let (first, second) = if one.node <= other.node { (one, other) } else { (other, one) };
    let both = || (first.party(), second.party());
    if first.node == second.node {
        return Err(Box::new(Refusal::SameName { first: first.party() }));
    }
    if first.cluster != second.cluster {
        let ((first, second), clusters) = (both(), (Arc::clone(&first.cluster), Arc::clone(&second.cluster)));
        return Err(Box::new(Refusal::OtherCluster {
            first,
            first_cluster: clusters.0,
            second,
            second_cluster: clusters.1,
        }));
    }
    if !guards.are_near(first.is_near(second)) {
        let (first, second) = both();
        return Err(Box::new(Refusal::NotNeighbours { first, second }));
    }
    let Some(wire) = guards.common_wire(first.wire, second.wire) else {
        let (first, second) = both();
        return Err(Box::new(Refusal::NoCommonWire { first, second }));
    };
    for (sender, receiver) in [(first, second), (second, first)] {
        if let Some(refusal) = unheard(sender, receiver, guards) {
            return Err(Box::new(refusal));
        }
    }
    // A node that has removed a form meets the members one by one, and may not have met the one that still says it. So
    // each member also speaks for those that it knows of, unless it has removed the form as well: then no member that
    // says it can be connected to either, and to keep the two apart protects nobody.
    for (remover, witness) in [(first, second), (second, first)] {
        for standing in &witness.migrations {
            let in_the_way = standing.holdouts.iter().find(|node| guards.holdout_counts(node, &remover.node));
            let removed_by = |node: &Hello, other: &Hello| !node.takes(&standing.key, other.stop).contains(Form::Old);
            let counts = guards.witness_speaks(removed_by(witness, remover));
            if let (true, true, Some(holdout)) = (removed_by(remover, witness), counts, in_the_way) {
                let (holdout, witness, remover) = (holdout.clone(), witness.party(), remover.party());
                let saying = Saying { migration: standing.key.clone(), form: Form::Old };
                return Err(Box::new(Refusal::OldFormInUse { saying, holdout, witness, remover }));
            }
        }
    }
    Ok(Agreement { wire })
}

/// Why `receiver` may not hear `sender`: it does not take what is said now in one of the migrations of either.
fn unheard(sender: &Hello, receiver: &Hello, guards: Guards) -> Option<Refusal> {
    let keys = sender.migrations.iter().chain(&receiver.migrations).map(|standing| &standing.key);
    keys.into_iter().find_map(|key| {
        let phase = sender.phase(key, receiver.stop);
        let takes = receiver.takes(key, sender.stop);
        if guards.verdict_asks_form(takes, phase.says()) {
            return None;
        }
        let ceiling = sender.standing(key).map_or(phase, |standing| standing.ceiling);
        Some(Refusal::NotTaken {
            sender: sender.party(),
            phase,
            saying: Saying { migration: key.clone(), form: phase.says() },
            receiver: receiver.party(),
            can_be_raised: takes.contains(ceiling.says()),
        })
    })
}

impl Hello {
    fn party(&self) -> Party {
        Party { node: self.node.clone(), release: self.release.clone(), wire: self.wire }
    }

    /// Whether the two are of one release, or of two that follow each other.
    pub fn is_near(&self, other: &Self) -> bool {
        self.stop == other.stop || self.follows == Some(other.stop) || other.follows == Some(self.stop)
    }

    /// Where the node stands in rexi's own migration.
    ///
    /// # Panics
    /// Where a hello that was not decoded has no migration at all: the caller's fault.
    pub fn servers(&self) -> &Standing {
        &self.migrations[0]
    }

    /// The servers that the node runs.
    ///
    /// # Panics
    /// As [`Hello::servers`].
    pub fn hosts(&self) -> Servers {
        self.servers().takes.into()
    }

    /// Where the node stands in a migration that its train has.
    pub fn standing(&self, key: &MigrationKey) -> Option<&Standing> {
        self.migrations.iter().find(|standing| standing.key == *key)
    }

    /// The forms that the node takes of a migration that a node of the release `other` has. One that an older train
    /// does not have yet is old to it; one that a newer train does not have any more is done.
    pub(crate) fn takes(&self, key: &MigrationKey, other: Release) -> Forms {
        self.standing(key).map_or_else(|| self.phase_unknown(other).takes(), |standing| standing.takes)
    }

    /// What the node says of it: as [`Hello::takes`].
    pub(crate) fn phase(&self, key: &MigrationKey, other: Release) -> Phase {
        self.standing(key).map_or_else(|| self.phase_unknown(other), |standing| standing.phase)
    }

    fn phase_unknown(&self, other: Release) -> Phase {
        if self.stop > other { Phase::Remove } else { Phase::Singleton }
    }
}

#[cfg(test)]
mod tests;
