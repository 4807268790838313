//! Which phase a node is in, migration by migration, and who holds it there.
//!
//! The phase is the lowest of what the release allows, the operator's ceiling and the flag source's word, and it moves
//! only to where every member takes what the node would then say. A member that has not said hello holds it. In:
//! hellos, announcements, ceilings, members that join and leave. Out: the phases and the one thing that limits each.
//! Telling the peers of a change is left to the caller of these methods.
//!
//! A migration has a number in its node's hello, its place in the profile; rexi's own is number 0.

mod error;
mod kept;
mod track;

use std::collections::BTreeMap;
use std::sync::Arc;

use semver::Version;

pub use self::error::{HandshakeError, LimitingFactor, PhaseError};
pub use self::track::PhaseNow;
use self::track::{Track, Word};
use crate::function::Release;
use crate::guards::Guards;
use crate::hello::{Agreement, Hello, Saying, Standing, verdict_guarded};
use crate::limits::Limits;
use crate::migration::{Form, Migration, MigrationKey, Stage};
use crate::mutant::Mutants;
use crate::name::{Incarnation, NodeName};
use crate::phase::Phase;
use crate::record::Kept;
use crate::release::Profile;
use crate::table::FunctionTable;

/// The state of one node's rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rollout {
    node: NodeName,
    cluster: Arc<str>,
    profile: Profile,
    /// One for each migration of the profile.
    tracks: Vec<Track>,
    /// Whether it is known who the members are.
    listed: bool,
    members: BTreeMap<NodeName, Option<Announced>>,
    /// The life that this node says to be, to members that had met a later one than its own.
    lives: BTreeMap<NodeName, Incarnation>,
    /// What the node keeps of the cluster's record, if it keeps one.
    kept: Option<Arc<Kept>>,
    /// Whether it serves without a record.
    serves_unrecorded: bool,
    guards: Guards,
}

/// What a member last said of itself. It holds until the member says otherwise, also while it is away: a node that is
/// down for good must not hold the rest, and what it comes back as is judged by its hello.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Announced {
    incarnation: Incarnation,
    release: Version,
    /// The release as its train names it.
    stop: Release,
    /// One for each migration of *our* profile.
    words: Arc<[Word]>,
    /// Which of ours each of the member's migrations is, by its number.
    numbers: Arc<[Option<u8>]>,
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
        let tracks = profile.migrations().map(|(_, stage)| Track::new(stage)).collect();
        let (cluster, lives, guards) = (profile.train().into(), BTreeMap::new(), Guards::default());
        let (kept, serves_unrecorded) = (None, false);
        let mut rollout =
            Self { node, cluster, profile, tracks, listed, members, lives, kept, serves_unrecorded, guards };
        rollout.settle();
        rollout
    }

    /// The same rollout in a cluster of another name than the train's.
    #[must_use]
    pub fn in_cluster(self, cluster: Arc<str>) -> Self {
        Self { cluster, ..self }
    }

    /// The same rollout, broken on purpose; by none in a release.
    #[must_use]
    pub fn with_mutants(mut self, mutants: Mutants) -> Self {
        self.guards = Guards::without(mutants);
        self.settle();
        self
    }

    /// The phase that the node is in, of rexi's own migration.
    pub fn server_phase(&self) -> Phase {
        self.tracks[0].phase
    }

    /// The phase that the node is in, of the migration of this number.
    ///
    /// # Panics
    /// Where the train has fewer: the caller's fault.
    pub fn phase_at(&self, number: usize) -> Phase {
        self.tracks[number].phase
    }

    /// The phase that the node is in, of a migration; `None` where its train does not have it.
    pub fn phase(&self, key: &MigrationKey) -> Option<Phase> {
        self.profile.place(key).map(|place| self.tracks[place].phase)
    }

    /// The phase of each migration, by number, and how often it has changed.
    pub fn phases(&self) -> Arc<[PhaseNow]> {
        self.tracks.iter().map(Track::now).collect()
    }

    /// How often any phase has changed.
    pub fn changes(&self) -> u64 {
        self.tracks.iter().map(|track| track.epoch).sum()
    }

    /// The same rollout in a cluster whose nodes bear other names. For a search that takes clusters which differ in
    /// names alone for one; `rename` must not give two nodes the same name.
    #[must_use]
    pub fn renamed(&self, rename: impl Fn(&NodeName) -> NodeName) -> Self {
        let members = self.members.iter().map(|(name, said)| (rename(name), said.clone())).collect();
        let lives = self.lives.iter().map(|(name, life)| (rename(name), *life)).collect();
        Self { node: rename(&self.node), members, lives, ..self.clone() }
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &Arc<str> {
        &self.cluster
    }

    /// The release's profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What this node, which started in that `incarnation`, says of itself in a handshake with a member.
    pub fn hello_to(
        &self,
        member: &NodeName,
        is_connected: bool,
        incarnation: Incarnation,
        functions: &FunctionTable,
        limits: &Limits,
    ) -> Hello {
        let last_met = self.last_met(member).filter(|_| !is_connected);
        Hello { last_met, ..self.hello(self.life_to(member, incarnation), functions, limits) }
    }

    /// The latest life of a member that has said hello to this node.
    pub fn last_met(&self, member: &NodeName) -> Option<Incarnation> {
        self.members.get(member).and_then(Option::as_ref).map(|said| said.incarnation)
    }

    /// The life that this node says to be to a member: that in which it started, or one after the latest that the
    /// member has met, so that a clock that was set back, or a second process of its name, shuts nobody out.
    pub fn life_to(&self, member: &NodeName, incarnation: Incarnation) -> Incarnation {
        self.lives.get(member).copied().unwrap_or(incarnation).max(incarnation)
    }

    /// What this node says of itself to whoever asks.
    pub fn hello(&self, incarnation: Incarnation, functions: &FunctionTable, limits: &Limits) -> Hello {
        let standing = |(place, (migration, stage)): (usize, (&Migration, Stage))| {
            let track = &self.tracks[place];
            let says_old =
                |said: &Option<Announced>| said.as_ref().is_some_and(|said| said.words[place].says() == Form::Old);
            let holdouts = self.members.iter().filter(|(_, said)| says_old(said)).map(|(name, _)| name.clone());
            Standing {
                key: migration.key().clone(),
                phase: track.phase,
                epoch: track.epoch,
                ceiling: track.wanted(stage),
                takes: self.guards.announced_forms(stage.takes(), track.phase),
                holdouts: holdouts.collect(),
            }
        };
        Hello {
            cluster: Arc::clone(&self.cluster),
            node: self.node.clone(),
            incarnation,
            last_met: None,
            release: self.profile.release().clone(),
            stop: self.profile.stop(),
            follows: self.profile.follows(),
            wire: self.profile.wire(),
            migrations: self.profile.migrations().enumerate().map(standing).collect(),
            functions: functions.clone(),
            record: self.record_word(),
            capabilities: 0,
            frame_bytes_max: limits.frame_bytes_max,
            payload_bytes_max: limits.payload_bytes_max,
        }
    }

    /// Takes a member's hello, given the one that we sent it and the life of a node that would start now. What it says
    /// of itself counts as announced even where the two may not speak: after a failure of all nodes in mid-upgrade, no
    /// node could be raised otherwise.
    ///
    /// # Errors
    /// [`HandshakeError`]; the member's word is then noted all the same, unless it is no member, or its life is no
    /// longer, or not yet, possible.
    pub fn handle_hello(
        &mut self,
        ours: &Hello,
        theirs: &Hello,
        clock: Incarnation,
    ) -> Result<Agreement, HandshakeError> {
        if theirs.node == self.node || theirs.cluster != self.cluster {
            return verdict_guarded(ours, theirs, self.guards).map_err(HandshakeError::Refused);
        }
        let guards = self.guards;
        let meeting = self.meet(ours, theirs);
        let known = self.members.get_mut(&theirs.node);
        let known = known.ok_or_else(|| HandshakeError::NotAMember(theirs.node.clone()))?;
        // What this node has met, and the next, which it has asked for, it takes whatever its clock says now.
        let asked_for =
            known.as_ref().is_some_and(|known| theirs.incarnation.0 <= known.incarnation.0.saturating_add(1));
        if !asked_for && guards.is_far_ahead(theirs.incarnation, clock) {
            let (node, start) = (theirs.node.clone(), theirs.incarnation);
            return Err(HandshakeError::StartsAhead { node, start, clock });
        }
        let outlived = theirs.last_met.filter(|&met| met > ours.incarnation);
        let outlived = outlived.and_then(|met| Some((met, guards.life_after(met)?)));
        if let Some((_, next)) = outlived {
            self.lives.insert(theirs.node.clone(), next);
        }
        if let Some(known) = known.as_ref()
            && guards.is_dead_life(theirs.incarnation, known.incarnation)
        {
            let (node, old, known) = (theirs.node.clone(), theirs.incarnation, known.incarnation);
            return Err(match ours.last_met == Some(known) {
                true => HandshakeError::Outlived { node, old, known },
                false => HandshakeError::StaleIncarnation { node, old, known },
            });
        }
        meeting?;
        if guards.hello_counts(theirs.wire) {
            *known = Some(Announced::of(theirs, &self.profile, known.as_ref(), guards));
        }
        self.settle();
        if let Some((known, _)) = outlived {
            return Err(HandshakeError::Outlived { node: ours.node.clone(), old: ours.incarnation, known });
        }
        let agreement = verdict_guarded(ours, theirs, self.guards).map_err(HandshakeError::Refused)?;
        let now = Hello { migrations: self.judged_again(&ours.migrations), ..ours.clone() };
        verdict_guarded(&now, theirs, guards).map_err(|_| HandshakeError::PhaseMoved).map(|_| agreement)
    }

    /// What our hello said, with the phases of now.
    fn judged_again(&self, said: &[Standing]) -> Vec<Standing> {
        let now = |(place, standing): (usize, &Standing)| {
            let phase = self.guards.phase_judged_again(standing.phase, self.tracks[place].phase);
            Standing { phase, ..standing.clone() }
        };
        said.iter().enumerate().map(now).collect()
    }

    /// Takes a connected member's word that its phase has changed, of the migration that bears this number in the
    /// member's hello. An older word than the last is passed over. So is one of an earlier life, which may still be
    /// read when a later one has already said hello, and one of a migration that this node does not know.
    pub fn handle_announce(&mut self, member: &NodeName, incarnation: Incarnation, number: u8, now: PhaseNow) {
        if let Some(Some(known)) = self.members.get_mut(member)
            && self.guards.is_known_life(incarnation, known.incarnation)
            && let Some(Some(place)) = known.numbers.get(usize::from(number)).copied()
            && let word = &mut Arc::make_mut(&mut known.words)[usize::from(place)]
            && self.guards.is_later_word(now.epoch, word.epoch)
        {
            (word.epoch, word.phase) = (now.epoch, now.phase);
        }
        self.settle();
    }

    /// Sets or lifts the operator's ceiling of a migration.
    ///
    /// # Errors
    /// [`PhaseError`] where the release does not allow the phase, or a member stands in the way of going back to it.
    pub fn set_ceiling(&mut self, key: &MigrationKey, ceiling: Option<Phase>) -> Result<(), PhaseError> {
        let place = self.check(key, ceiling)?;
        if self.guards.ceiling_is_kept() {
            self.tracks[place].operator = ceiling;
            self.settle();
        }
        Ok(())
    }

    /// Takes the flag source's word of a migration; `None` where it has no opinion.
    ///
    /// # Errors
    /// As [`Rollout::set_ceiling`].
    pub fn set_source(&mut self, key: &MigrationKey, source: Option<Phase>) -> Result<(), PhaseError> {
        let place = self.check(key, source)?;
        self.tracks[place].source = source;
        self.settle();
        Ok(())
    }

    /// The highest phase of each migration that the flag source has an opinion of, by its last word.
    pub fn of_source(&self) -> impl Iterator<Item = (&MigrationKey, Phase)> {
        let keys = self.profile.migrations().map(|(migration, _)| migration.key());
        keys.zip(&self.tracks).filter_map(|(key, track)| Some((key, track.source?)))
    }

    /// Puts the node into a `phase` of a migration and keeps it there, whatever the members say. For tests: the
    /// handshake still refuses a node that must not be spoken to, but nothing waits for the members.
    ///
    /// # Errors
    /// [`PhaseError::UnknownMigration`] and [`PhaseError::NotAllowed`].
    pub fn hold(&mut self, key: &MigrationKey, phase: Phase) -> Result<(), PhaseError> {
        let place = self.allowed(key, phase)?;
        let track = &mut self.tracks[place];
        (track.operator, track.phase, track.held) = (Some(phase), phase, true);
        track.epoch += 1;
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
        self.lives.remove(member);
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

    /// What keeps the phase of a migration from being higher: the first of release, operator, source and members by
    /// name that does. `None` where the train does not have it.
    pub fn limiting_factor(&self, key: &MigrationKey) -> Option<LimitingFactor> {
        let place = self.profile.place(key)?;
        let (track, stage) = (&self.tracks[place], self.stage(place));
        let wanted = track.wanted(stage);
        if track.phase < wanted
            && let Some(obstacle) = self.obstacle(place, wanted)
        {
            return Some(obstacle);
        }
        let holds = |phase: Phase| phase <= track.phase && phase < stage.highest();
        Some(match (track.operator, track.source, track.record) {
            (Some(phase), ..) if holds(phase) => LimitingFactor::Ceiling(phase),
            (_, Some(phase), _) if holds(phase) => LimitingFactor::Source(phase),
            (.., Some(phase)) if holds(phase) => LimitingFactor::Record(phase),
            _ => LimitingFactor::Release(self.profile.release().clone()),
        })
    }

    fn stage(&self, place: usize) -> Stage {
        self.profile.migrations[place].1
    }

    fn saying(&self, place: usize, form: Form) -> Saying {
        Saying { migration: self.profile.migrations[place].0.key().clone(), form }
    }

    /// The place of a migration of which the phase may be asked for.
    fn check(&self, key: &MigrationKey, phase: Option<Phase>) -> Result<usize, PhaseError> {
        let Some(wanted) = phase else { return self.place(key) };
        let place = self.allowed(key, wanted)?;
        let form = wanted.says();
        let in_the_way = self.members.iter().find_map(|(name, said)| {
            let removed = said.as_ref().filter(|said| !said.words[place].takes.contains(form));
            removed.map(|said| (name.clone(), said.release.clone()))
        });
        match in_the_way {
            Some((member, release)) if self.guards.lowering_asks_forms(wanted, self.tracks[place].phase) => {
                Err(PhaseError::Blocked { wanted, member, release, saying: self.saying(place, form) })
            }
            _ => Ok(place),
        }
    }

    fn place(&self, key: &MigrationKey) -> Result<usize, PhaseError> {
        self.profile.place(key).ok_or_else(|| {
            let known = self.profile.migrations().map(|(migration, _)| migration.key().to_string());
            PhaseError::UnknownMigration { migration: key.clone(), known: known.collect::<Vec<_>>().join(", ") }
        })
    }

    fn allowed(&self, key: &MigrationKey, wanted: Phase) -> Result<usize, PhaseError> {
        let place = self.place(key)?;
        let stage = self.stage(place);
        if stage.allows(wanted) {
            return Ok(place);
        }
        let (release, lowest, highest) = (self.profile.release().clone(), stage.lowest(), stage.highest());
        Err(PhaseError::NotAllowed { wanted, migration: key.clone(), release, lowest, highest })
    }

    /// Moves each phase to the highest that no member stands in the way of. Lowering was checked when it was asked for,
    /// and a member that removes the old form later is kept out by the handshake.
    fn settle(&mut self) {
        for place in 0..self.tracks.len() {
            let track = &self.tracks[place];
            if track.held {
                continue;
            }
            let now = track.phase;
            let wanted = self.guards.may_rise_to(track.wanted(self.stage(place)), now);
            let free = |&phase: &Phase| phase <= wanted && (phase <= now || self.obstacle(place, phase).is_none());
            let settled = Phase::ALL.into_iter().rev().find(free).unwrap_or(now);
            if settled != now {
                let track = &mut self.tracks[place];
                track.phase = settled;
                track.epoch += 1;
            }
        }
    }

    /// The member that stands in the way of the `phase` of a migration, if one does.
    fn obstacle(&self, place: usize, phase: Phase) -> Option<LimitingFactor> {
        if !self.listed {
            return Some(LimitingFactor::Unlisted);
        }
        let form = phase.says();
        let takes = |said: &Announced| said.words[place].takes.contains(form);
        let ready = |said: &Option<Announced>| said.as_ref().is_some_and(takes);
        if !self.guards.waits_for_all(self.members.values().map(ready)) {
            return None;
        }
        self.members.iter().find_map(|(name, said)| match said {
            None => self.guards.unknown_is_not_ready().then(|| LimitingFactor::Unknown(name.clone())),
            Some(said) if takes(said) => None,
            Some(said) => Some(LimitingFactor::NotTaken(name.clone(), said.release.clone(), self.saying(place, form))),
        })
    }
}

impl Announced {
    /// What a hello says, but for what a later word of the same life has overtaken.
    fn of(theirs: &Hello, ours: &Profile, known: Option<&Self>, guards: Guards) -> Self {
        let stop = ours.stop();
        let word = |(place, (migration, _)): (usize, (&Migration, Stage))| {
            let key = migration.key();
            let said = Word {
                epoch: theirs.standing(key).map_or(0, |standing| standing.epoch),
                phase: theirs.phase(key, stop),
                takes: theirs.takes(key, stop),
            };
            let before = known.map(|known| (known.incarnation, known.words[place]));
            match before {
                Some((life, before)) if guards.knows_later((life, before.epoch), (theirs.incarnation, said.epoch)) => {
                    before
                }
                _ => said,
            }
        };
        let words = ours.migrations().enumerate().map(word).collect();
        let number = |standing: &Standing| ours.place(&standing.key).and_then(|place| u8::try_from(place).ok());
        let numbers = theirs.migrations.iter().map(number).collect();
        let (incarnation, release) = (theirs.incarnation, theirs.release.clone());
        Self { incarnation, release, stop: theirs.stop, words, numbers }
    }
}

#[cfg(test)]
mod tests;
