//! Which phase a node is in, and who holds it there.
//!
//! The phase is the lowest of what the release allows, the operator's ceiling and the flag source's word, and it moves
//! only to where every member hosts what the node would then send to. A member that has not said hello holds it. In:
//! hellos, announcements, ceilings, members that join and leave. Out: the phase and the one thing that limits it.
//! Telling the peers of a change is left to the caller of these methods.

use std::collections::BTreeMap;
use std::fmt;

use semver::Version;
use thiserror::Error;

use crate::guards::Guards;
use crate::hello::{Agreement, Hello, Refusal, verdict_guarded};
use crate::limits::Limits;
use crate::mutant::Mutants;
use crate::name::{Incarnation, NodeName};
use crate::phase::{Phase, ServerAddress, Servers};
use crate::release::Profile;

/// The state of one node's rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rollout {
    node: NodeName,
    profile: Profile,
    operator: Option<Phase>,
    source: Option<Phase>,
    phase: Phase,
    epoch: u64,
    /// Whether the phase stays as it is, whatever members and operators say.
    held: bool,
    /// Whether it is known who the members are.
    listed: bool,
    members: BTreeMap<NodeName, Option<Announced>>,
    guards: Guards,
}

/// What a member last said of itself. It holds until the member says otherwise, also while it is away: a node that is
/// down for good must not hold the rest, and what it comes back as is judged by its hello.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Announced {
    incarnation: Incarnation,
    epoch: u64,
    release: Version,
    phase: Phase,
    hosts: Servers,
}

/// What keeps a node's phase from being higher.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitingFactor {
    /// The release allows no more.
    Release(Version),
    /// The operator's ceiling.
    Ceiling(Phase),
    /// The flag source.
    Source(Phase),
    /// It is not known yet who the members are.
    Unlisted,
    /// A member that has not said hello since this node started, or since it joined.
    Unknown(NodeName),
    /// A member that does not host what this node would send to.
    NotHosted(NodeName, Version, ServerAddress),
}

impl fmt::Display for LimitingFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(release) => write!(f, "release {release} allows no more"),
            Self::Ceiling(phase) => write!(f, "the operator's ceiling is {phase}"),
            Self::Source(phase) => write!(f, "the flag source says {phase}"),
            Self::Unlisted => write!(f, "the list of members has not come yet"),
            Self::Unknown(member) => write!(f, "member {member} has not said hello yet"),
            Self::NotHosted(member, release, server) => {
                write!(f, "member {member} (release {release}) does not run the {server}")
            }
        }
    }
}

/// A phase that cannot be had. The caller is at fault or too early; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PhaseError {
    /// The release does not allow it, now or ever.
    #[error("release {release} does not allow the phase {wanted}; it allows {lowest} to {highest}")]
    NotAllowed {
        /// The phase asked for.
        wanted: Phase,
        /// This node's release.
        release: Version,
        /// The release's lowest phase.
        lowest: Phase,
        /// The release's highest phase.
        highest: Phase,
    },
    /// A member has already removed what this node would send to again.
    #[error("cannot go back to {wanted}: member {member} (release {release}) no longer runs the {server}")]
    Blocked {
        /// The phase asked for.
        wanted: Phase,
        /// Who stands in the way.
        member: NodeName,
        /// Its release.
        release: Version,
        /// What it does not run.
        server: ServerAddress,
    },
}

/// Why a handshake came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The two may not speak.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The node is not among the members.
    #[error("{0} is not a member of this cluster; add it to the peers of this node")]
    NotAMember(NodeName),
    /// A later life of that node has been met already.
    #[error(
        "{node} says it started {} us after 1970, but a later start of it, at {}, is known; is it running twice, or \
         was its clock set back?",
        old.0, known.0
    )]
    StaleIncarnation {
        /// The node.
        node: NodeName,
        /// The incarnation it claims.
        old: Incarnation,
        /// The incarnation known.
        known: Incarnation,
    },
    /// Our own phase has changed since our hello; dial again.
    #[error("our phase has changed since our hello")]
    PhaseMoved,
}

impl Rollout {
    /// The rollout of `node`, in its release's lowest phase until all `members` (itself left out) have said hello.
    pub fn new(node: NodeName, profile: Profile, members: impl IntoIterator<Item = NodeName>) -> Self {
        Self::start(node, profile, members, true)
    }

    /// As [`Rollout::new`], of a node that has yet to learn who its members are: these are not all of them. It is held
    /// in its lowest phase until [`Rollout::note_listed`], or it would take itself for a cluster of its own.
    pub fn unlisted(node: NodeName, profile: Profile, members: impl IntoIterator<Item = NodeName>) -> Self {
        Self::start(node, profile, members, false)
    }

    fn start(node: NodeName, profile: Profile, members: impl IntoIterator<Item = NodeName>, listed: bool) -> Self {
        let members = members.into_iter().filter(|member| *member != node).map(|member| (member, None)).collect();
        let phase = profile.lowest();
        let (operator, source, guards) = (None, None, Guards::default());
        let (epoch, held) = (0, false);
        let mut rollout = Self { node, profile, operator, source, phase, epoch, held, listed, members, guards };
        rollout.settle();
        rollout
    }

    /// The same rollout, broken on purpose; by none in a release.
    #[must_use]
    pub fn with_mutants(mut self, mutants: Mutants) -> Self {
        self.guards = Guards::without(mutants);
        self.settle();
        self
    }

    /// The phase the node is in.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How often the phase has changed.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The same rollout in a cluster whose nodes bear other names. For a search that takes clusters which differ in
    /// names alone for one; `rename` must not give two nodes the same name.
    #[must_use]
    pub fn renamed(&self, rename: impl Fn(&NodeName) -> NodeName) -> Self {
        let members = self.members.iter().map(|(name, said)| (rename(name), said.clone())).collect();
        Self { node: rename(&self.node), members, ..self.clone() }
    }

    /// The release's profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What this node says of itself in a handshake.
    pub fn hello(&self, incarnation: Incarnation, limits: &Limits) -> Hello {
        let sends_to_singleton =
            |(_, said): &(&NodeName, &Option<Announced>)| said.as_ref().is_some_and(Announced::sends_to_singleton);
        Hello {
            node: self.node.clone(),
            incarnation,
            release: self.profile.release().clone(),
            wire: self.profile.wire(),
            phase: self.phase,
            phase_epoch: self.epoch,
            ceiling: self.wanted(),
            hosts: self.guards.announced_hosts(self.profile.hosts(), self.phase),
            holdouts: self.members.iter().filter(sends_to_singleton).map(|(name, _)| name.clone()).collect(),
            capabilities: 0,
            frame_bytes_max: limits.frame_bytes_max,
            payload_bytes_max: limits.payload_bytes_max,
        }
    }

    /// Takes a member's hello, given the one that we sent it. What it says of itself counts as announced even where the
    /// two may not speak: after a failure of all nodes in mid-upgrade, no node could be raised otherwise.
    ///
    /// # Errors
    /// [`HandshakeError`]; the member's word is then noted all the same, unless it is no member or stale.
    pub fn handle_hello(&mut self, ours: &Hello, theirs: &Hello) -> Result<Agreement, HandshakeError> {
        if theirs.node == self.node {
            return verdict_guarded(ours, theirs, self.guards).map_err(HandshakeError::Refused);
        }
        let guards = self.guards;
        let known = self.members.get_mut(&theirs.node);
        let known = known.ok_or_else(|| HandshakeError::NotAMember(theirs.node.clone()))?;
        if let Some(known) = known.as_ref()
            && guards.is_dead_life(theirs.incarnation, known.incarnation)
        {
            let (node, old, known) = (theirs.node.clone(), theirs.incarnation, known.incarnation);
            return Err(HandshakeError::StaleIncarnation { node, old, known });
        }
        let said = (theirs.incarnation, theirs.phase_epoch);
        let overtaken = |known: &Announced| guards.knows_later((known.incarnation, known.epoch), said);
        if !known.as_ref().is_some_and(overtaken) && guards.hello_counts(theirs.wire) {
            *known = Some(Announced {
                incarnation: theirs.incarnation,
                epoch: theirs.phase_epoch,
                release: theirs.release.clone(),
                phase: theirs.phase,
                hosts: theirs.hosts,
            });
        }
        self.settle();
        let agreement = verdict_guarded(ours, theirs, self.guards).map_err(HandshakeError::Refused)?;
        let now = Hello { phase: guards.phase_judged_again(ours.phase, self.phase), ..ours.clone() };
        verdict_guarded(&now, theirs, guards).map_err(|_| HandshakeError::PhaseMoved).map(|_| agreement)
    }

    /// Takes a connected member's word that its phase has changed. An older word than the last is passed over.
    /// So is one of an earlier life, which may still be read when a later one has already said hello.
    pub fn handle_announce(&mut self, member: &NodeName, incarnation: Incarnation, epoch: u64, phase: Phase) {
        if let Some(Some(known)) = self.members.get_mut(member)
            && self.guards.is_known_life(incarnation, known.incarnation)
            && self.guards.is_later_word(epoch, known.epoch)
        {
            known.epoch = epoch;
            known.phase = phase;
        }
        self.settle();
    }

    /// Sets or lifts the operator's ceiling.
    ///
    /// # Errors
    /// [`PhaseError`] where the release does not allow the phase, or a member stands in the way of going back to it.
    pub fn set_ceiling(&mut self, ceiling: Option<Phase>) -> Result<(), PhaseError> {
        self.check(ceiling)?;
        if self.guards.ceiling_is_kept() {
            self.operator = ceiling;
            self.settle();
        }
        Ok(())
    }

    /// Takes the flag source's word; `None` where it has no opinion.
    ///
    /// # Errors
    /// As [`Rollout::set_ceiling`].
    pub fn set_source(&mut self, source: Option<Phase>) -> Result<(), PhaseError> {
        self.check(source)?;
        self.source = source;
        self.settle();
        Ok(())
    }

    /// Puts the node into `phase` and keeps it there, whatever the members say. For tests: the handshake still refuses
    /// a node that must not be spoken to, but nothing waits for the members.
    ///
    /// # Errors
    /// [`PhaseError::NotAllowed`].
    pub fn hold(&mut self, phase: Phase) -> Result<(), PhaseError> {
        if !self.profile.allows(phase) {
            return Err(self.not_allowed(phase));
        }
        (self.operator, self.phase, self.held) = (Some(phase), phase, true);
        self.epoch += 1;
        Ok(())
    }

    /// Takes a member in. It has not said hello, so it keeps the phase from being raised; nothing is lowered for it.
    /// `false`, and nothing changed: it is one already, or the node itself.
    pub fn add_member(&mut self, member: NodeName) -> bool {
        let is_new = member != self.node && !self.members.contains_key(&member);
        if is_new {
            self.members.insert(member, None);
        }
        is_new
    }

    /// Lets a member go, and what it has said with it: if it stood in the way, the phase may rise. One of the same name
    /// that joins later is another member. `false`: it is none.
    pub fn remove_member(&mut self, member: &NodeName) -> bool {
        let was_one = self.members.remove(member).is_some();
        self.settle();
        was_one
    }

    /// Whether it is known who the members are.
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// It is known now who the members are.
    pub fn note_listed(&mut self) {
        self.listed = true;
        self.settle();
    }

    /// What keeps the phase from being higher: the first of release, operator, source and members by name that does.
    pub fn limiting_factor(&self) -> LimitingFactor {
        let wanted = self.wanted();
        if self.phase < wanted
            && let Some(obstacle) = self.obstacle(wanted)
        {
            return obstacle;
        }
        match (self.operator, self.source) {
            (Some(phase), _) if phase <= self.phase && phase < self.profile.highest() => LimitingFactor::Ceiling(phase),
            (_, Some(phase)) if phase <= self.phase && phase < self.profile.highest() => LimitingFactor::Source(phase),
            _ => LimitingFactor::Release(self.profile.release().clone()),
        }
    }

    fn check(&self, phase: Option<Phase>) -> Result<(), PhaseError> {
        let Some(wanted) = phase else { return Ok(()) };
        if !self.profile.allows(wanted) {
            return Err(self.not_allowed(wanted));
        }
        let server = wanted.cast_target();
        let in_the_way = self.members.iter().find_map(|(name, said)| {
            said.as_ref().filter(|said| !said.hosts.contains(server)).map(|said| (name.clone(), said.release.clone()))
        });
        match in_the_way {
            Some((member, release)) if self.guards.lowering_asks_hosts(wanted, self.phase) => {
                Err(PhaseError::Blocked { wanted, member, release, server })
            }
            _ => Ok(()),
        }
    }

    fn not_allowed(&self, wanted: Phase) -> PhaseError {
        let (lowest, highest) = (self.profile.lowest(), self.profile.highest());
        PhaseError::NotAllowed { wanted, release: self.profile.release().clone(), lowest, highest }
    }

    /// Moves the phase to the highest that no member stands in the way of. Lowering was checked when it was asked for,
    /// and a member that removes the singleton later is kept out by the handshake.
    fn settle(&mut self) {
        if self.held {
            return;
        }
        let wanted = self.guards.may_rise_to(self.wanted(), self.phase);
        let free = |&phase: &Phase| phase <= wanted && (phase <= self.phase || self.obstacle(phase).is_none());
        let settled = Phase::ALL.into_iter().rev().find(free).unwrap_or(self.phase);
        if settled != self.phase {
            self.phase = settled;
            self.epoch += 1;
        }
    }

    /// The phase that release, operator and source would have.
    fn wanted(&self) -> Phase {
        let highest = self.profile.highest();
        highest.min(self.operator.unwrap_or(highest)).min(self.source.unwrap_or(highest))
    }

    /// The member that stands in the way of `phase`, if one does.
    fn obstacle(&self, phase: Phase) -> Option<LimitingFactor> {
        if !self.listed {
            return Some(LimitingFactor::Unlisted);
        }
        let server = phase.cast_target();
        let hosts = |said: &Option<Announced>| said.as_ref().is_some_and(|said| said.hosts.contains(server));
        if !self.guards.waits_for_all(self.members.values().map(hosts)) {
            return None;
        }
        self.members.iter().find_map(|(name, said)| match said {
            None => self.guards.unknown_is_not_ready().then(|| LimitingFactor::Unknown(name.clone())),
            Some(said) if said.hosts.contains(server) => None,
            Some(said) => Some(LimitingFactor::NotHosted(name.clone(), said.release.clone(), server)),
        })
    }
}

impl Announced {
    fn sends_to_singleton(&self) -> bool {
        self.phase.cast_target() == ServerAddress::Singleton
    }
}

#[cfg(test)]
mod tests;
