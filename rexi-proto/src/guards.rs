//! The guards of the protocol that a broken variant may take away, each under a name.
//!
//! The core asks here where a rule has a variant without it; so the core reads as the protocol, and all that breaks it
//! on purpose stands in this file. Without the feature `mutants` a guard is its plain condition, at no cost. One that
//! takes nothing says what the protocol always does. docs/safety.md says where each is asked.

mod record;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::BytesMut;

use crate::compat::{self, Kind};
use crate::error::{DecodeError, EncodeError};
use crate::in_order::InOrder;
use crate::limits::START_AHEAD_MAX;
use crate::link::Presence;
use crate::message::{Body, Message, Reply, Sent};
use crate::migration::{Form, Forms};
use crate::mutant::{Mutant, Mutants};
use crate::name::{CallRef, Incarnation, NodeName, PeerId};
use crate::peer::{ConnectionId, PeerConfig};
use crate::phase::{Phase, ServerAddress, Servers};
use crate::server::Caller;
use crate::version::{VersionRange, WireVersion};
use crate::wire::{self, FrameWriter};

/// As [`wire::encode`], by a node that may be broken on purpose.
///
/// # Errors
/// As [`wire::encode`].
pub fn encode_by(
    version: WireVersion,
    message: &Message,
    frame_bytes_max: u32,
    out: &mut BytesMut,
    mutants: Mutants,
) -> Result<(), EncodeError> {
    wire::encode_guarded(version, message, frame_bytes_max, out, Guards::without(mutants))
}

/// As [`wire::decode`], by a node that may be broken on purpose.
///
/// # Errors
/// As [`wire::decode`].
pub fn decode_by(version: WireVersion, frame: &[u8], mutants: Mutants) -> Result<Message, DecodeError> {
    wire::decode_guarded(version, frame, Guards::without(mutants))
}

/// The guards that stand in one node: all of them, by default and in every release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Guards(Mutants);

impl Guards {
    /// All but those that `mutants` take away.
    pub(crate) const fn without(mutants: Mutants) -> Self {
        Self(mutants)
    }

    const fn lacks(self, mutant: Mutant) -> bool {
        self.0.has(mutant)
    }
}

/// Kills, jobs and streams.
impl Guards {
    /// A kill goes to where its cast went, and to where the phase says. The phase alone is not enough: a caller whose
    /// phase has moved on could no longer reach its own job.
    pub(crate) fn kill_goes_to_both(self, phase: Phase, sent_to: ServerAddress) -> Servers {
        if self.lacks(Mutant::KillOnlyPerNode) {
            return Servers::PER_NODE;
        }
        if self.lacks(Mutant::KillOnlySingleton) {
            return Servers::SINGLETON;
        }
        if self.lacks(Mutant::KillFollowsPhase) {
            return Servers::NONE.with(phase.cast_target());
        }
        phase.kill_targets().with(sent_to)
    }

    /// A kill ends also a cast that waits for its payload.
    pub(crate) fn kill_ends_held_casts(self) -> bool {
        !self.lacks(Mutant::KillPassesHeld)
    }

    /// What a kill ends beside the job of its own caller: nothing.
    pub(crate) fn killed_beside<J>(
        self,
        jobs: &InOrder<(Caller, CallRef), J>,
        caller: Caller,
        call: CallRef,
    ) -> Vec<(Caller, CallRef)> {
        if self.lacks(Mutant::KillAnyCaller) {
            return jobs.keys().copied().filter(|&(of, number)| of != caller && number == call).collect();
        }
        Vec::new()
    }

    /// A kill that met no job is kept in mind.
    pub(crate) fn kill_leaves_tombstone(self) -> bool {
        !self.lacks(Mutant::NoTombstones)
    }

    /// Makes room at a bound, which may be zero: then nothing is there to be dropped.
    pub(crate) fn drop_oldest<T>(self, kept: &mut VecDeque<T>) {
        let oldest = kept.pop_front();
        assert!(oldest.is_some() || !self.lacks(Mutant::ZeroBoundPanics), "nothing is there to be dropped");
    }

    /// A server ends the jobs of a caller whose life is over.
    pub(crate) fn callers_end_ends_jobs(self) -> bool {
        !self.lacks(Mutant::ForgetIgnored)
    }

    /// The jobs that a resume ends: the kill of what is no longer open was lost.
    pub(crate) fn killed_meanwhile<'a>(
        self,
        jobs: &'a BTreeSet<CallRef>,
        open: &'a BTreeSet<CallRef>,
    ) -> impl Iterator<Item = &'a CallRef> {
        jobs.difference(open).filter(move |_| !self.lacks(Mutant::ResumeKeepsJobs))
    }

    /// The calls that a resume answers: the cast or the reply of what has no job was lost.
    pub(crate) fn lost_meanwhile<'a>(
        self,
        open: &'a BTreeSet<CallRef>,
        jobs: &'a BTreeSet<CallRef>,
    ) -> impl Iterator<Item = &'a CallRef> {
        open.difference(jobs).filter(move |_| !self.lacks(Mutant::ResumeTellsNothing))
    }

    /// A caller answers a job that asks for its stream, once it knows what to say.
    pub(crate) fn answers_stream(self, knows: bool) -> bool {
        knows && !self.lacks(Mutant::StreamUnanswered)
    }

    /// What a caller says of a stream goes to where its cast went, whatever its phase is now.
    pub(crate) fn acks_follow_cast(self, phase: Phase, sent_to: ServerAddress) -> ServerAddress {
        if self.lacks(Mutant::AcksFollowPhase) { phase.cast_target() } else { sent_to }
    }

    /// What a job says that it has sent counts in all its parts.
    pub(crate) fn heard_whole(self, sent: Sent) -> Sent {
        let question = if self.lacks(Mutant::ResponseNotMissed) { None } else { sent.question };
        Sent { question, ..sent }
    }
}

/// Servers and casts.
impl Guards {
    /// A cast goes to where the phase says when it leaves for the wire, wherever it was made for.
    pub(crate) fn routed_when_sent(self, made_for: ServerAddress, phase: Phase) -> ServerAddress {
        if self.lacks(Mutant::RoutedWhenCast) { made_for } else { phase.cast_target() }
    }

    /// A server serves from the start, whatever the phase of its node.
    pub(crate) fn serves(self, server: ServerAddress, node: &PeerConfig, presence: &Presence, now: Duration) -> bool {
        let late = self.lacks(Mutant::LatePerNodeServers)
            && server == ServerAddress::PerNode
            && matches!(presence, Presence::Up(_, since) if now < *since + LATE);
        let gated = self.lacks(Mutant::OwnPhaseGate)
            && server == ServerAddress::PerNode
            && node.phase().cast_target() != server;
        node.hosts.contains(server) && !late && !gated
    }

    /// A per-node server outlives its connection.
    pub(crate) fn hosts_after_reconnect(self, hosts: Servers) -> Servers {
        if self.lacks(Mutant::LostPerNodeServer) { hosts.without(ServerAddress::PerNode) } else { hosts }
    }

    /// A cast to a server that is not here is answered.
    pub(crate) fn missing_server_is_told(self) -> bool {
        !self.lacks(Mutant::SilentMissingServer)
    }

    /// A caller is a peer in one of its lives, for both servers.
    pub(crate) fn caller(self, peer: PeerId, incarnation: Incarnation, server: ServerAddress) -> Caller {
        let shared = server == ServerAddress::Singleton && self.lacks(Mutant::SharedJobKey);
        Caller {
            peer: if shared { PeerId(0) } else { peer },
            incarnation: if self.lacks(Mutant::LifelessJobKey) { Incarnation(0) } else { incarnation },
        }
    }
}

/// What comes late from a connection, or a life, that was replaced.
impl Guards {
    /// Frames count on the connection in use.
    pub(crate) fn heeds_frames(self, of: ConnectionId, in_use: ConnectionId) -> bool {
        of == in_use || self.lacks(Mutant::OldFramesHeeded)
    }

    /// So do payloads.
    pub(crate) fn heeds_payload(self, of: ConnectionId, in_use: ConnectionId) -> bool {
        of == in_use || self.lacks(Mutant::OldPayloadJoins)
    }

    /// So does its end.
    pub(crate) fn heeds_end(self, of: ConnectionId, in_use: ConnectionId) -> bool {
        of == in_use || self.lacks(Mutant::OldEndHeeded)
    }

    /// So does the peer's departure.
    pub(crate) fn heeds_departure(self, of: ConnectionId, in_use: ConnectionId) -> bool {
        of == in_use || self.lacks(Mutant::OldDepartureHeeded)
    }

    /// A refusal counts unless a later life of the peer is known.
    pub(crate) fn heeds_refusal(self, of: Incarnation, known: Option<Incarnation>) -> bool {
        known.is_none_or(|known| of >= known) || self.lacks(Mutant::OldRefusalHeeded)
    }

    /// A connection is let go once a later life of the peer has said hello.
    pub(crate) fn connection_ends_with_its_life(self, of: Option<Incarnation>, latest: Incarnation) -> bool {
        of.is_some_and(|of| of < latest) && !self.lacks(Mutant::PastConnectionKept)
    }

    /// What was encoded for a connection ends with it.
    pub(crate) fn unwritten_ends_with_connection(self) -> bool {
        !self.lacks(Mutant::UnwrittenKept)
    }

    /// What is encoded is handed to the writer once; `out` is empty before.
    pub(crate) fn hand_over_once(self, unwritten: &mut BytesMut, out: &mut BytesMut) {
        std::mem::swap(unwritten, out);
        if self.lacks(Mutant::WrittenTwice) {
            let again = out.clone();
            out.extend_from_slice(&again);
        }
    }
}

/// Hellos and their verdict.
impl Guards {
    /// Two nodes speak a version that both know.
    pub(crate) fn common_wire(self, one: VersionRange, other: VersionRange) -> Option<WireVersion> {
        let older = self.lacks(Mutant::WireUnchecked).then(|| one.newest.min(other.newest));
        one.newest_common(other).or(older)
    }

    /// Two nodes speak only if they are of one release, or of two that follow each other.
    pub(crate) fn are_near(self, near: bool) -> bool {
        near || self.lacks(Mutant::NeighboursUnchecked)
    }

    /// Two nodes speak only if the one takes what the other says.
    pub(crate) fn verdict_asks_form(self, takes: Forms, says: Form) -> bool {
        takes.contains(says) || self.lacks(Mutant::HostsUnchecked)
    }

    /// Another that still says a form stands in the way of a node that has removed it.
    pub(crate) fn holdout_counts(self, holdout: &NodeName, remover: &NodeName) -> bool {
        holdout != remover && !self.lacks(Mutant::HoldoutsIgnored)
    }

    /// A node speaks for those that still say a form while it takes that form itself.
    pub(crate) fn witness_speaks(self, has_removed: bool) -> bool {
        !has_removed || self.lacks(Mutant::HoldoutsOfRemovers)
    }

    /// The hellos are judged again with the phase of now.
    pub(crate) fn phase_judged_again(self, said: Phase, now: Phase) -> Phase {
        if self.lacks(Mutant::SingleVerdict) { said } else { now }
    }

    /// A connection is taken if the peer still takes what we say.
    pub(crate) fn connection_asks_form(self, takes: Forms, phase: Phase) -> bool {
        takes.contains(phase.says()) || self.lacks(Mutant::ConnectUnchecked)
    }

    /// It is kept over a change of our phase if the peer takes what we say now.
    pub(crate) fn new_phase_asks_form(self, takes: Forms, phase: Phase) -> bool {
        takes.contains(phase.says()) || self.lacks(Mutant::PhaseUnchecked)
    }

    /// A hello of an earlier life than the one known is refused.
    pub(crate) fn is_dead_life(self, says: Incarnation, known: Incarnation) -> bool {
        known > says && !self.lacks(Mutant::DeadLifeWelcome)
    }

    /// The life that a node says to be to a peer that has met a later one, which is over: the next.
    pub(crate) fn life_after(self, met: Incarnation) -> Option<Incarnation> {
        met.0.checked_add(1).map(Incarnation).filter(|_| !self.lacks(Mutant::ShutOutByLaterLife))
    }

    /// A start that lies far ahead of the clock is not believed.
    pub(crate) fn is_far_ahead(self, start: Incarnation, clock: Incarnation) -> bool {
        let ahead = Duration::from_micros(start.0.saturating_sub(clock.0));
        ahead > START_AHEAD_MAX && !self.lacks(Mutant::FarStartBelieved)
    }

    /// A hello counts, whatever versions it names.
    pub(crate) fn hello_counts(self, wire: VersionRange) -> bool {
        !self.lacks(Mutant::ProbeOfTheNext) || wire.contains(WireVersion::V3)
    }

    /// What a hello says counts, unless a later word of the same life is known.
    pub(crate) fn knows_later(self, known: (Incarnation, u64), says: (Incarnation, u64)) -> bool {
        let later = known.0 == says.0 && known.1 > says.1 && !self.lacks(Mutant::EarlierEpochBelieved);
        later || self.lacks(Mutant::FirstReleaseBelieved)
    }

    /// An announcement counts if it is of the life that is known.
    pub(crate) fn is_known_life(self, says: Incarnation, known: Incarnation) -> bool {
        says == known || self.lacks(Mutant::EarlierLifeBelieved)
    }

    /// And if it is later than the last.
    pub(crate) fn is_later_word(self, epoch: u64, known: u64) -> bool {
        epoch > known || self.lacks(Mutant::EarlierEpochBelieved)
    }
}

/// The phase.
impl Guards {
    /// A node says that it takes what its release takes, whatever its phase.
    pub(crate) fn announced_forms(self, of_release: Forms, phase: Phase) -> Forms {
        if self.lacks(Mutant::HostsFollowPhase) { Forms::of(phase.says()) } else { of_release }
    }

    /// A ceiling that was accepted is kept to.
    pub(crate) fn ceiling_is_kept(self) -> bool {
        !self.lacks(Mutant::CeilingIgnored)
    }

    /// To go below the phase of now needs members that take the form.
    pub(crate) fn lowering_asks_forms(self, wanted: Phase, now: Phase) -> bool {
        wanted < now && !self.lacks(Mutant::LoweringUnchecked)
    }

    /// The phase may rise to what is wanted.
    pub(crate) fn may_rise_to(self, wanted: Phase, now: Phase) -> Phase {
        if self.lacks(Mutant::NeverRaised) { wanted.min(now) } else { wanted }
    }

    /// The phase rises only once every member takes what it says, however many do.
    pub(crate) fn waits_for_all(self, run_it: impl ExactSizeIterator<Item = bool>) -> bool {
        let members = run_it.len();
        let half = || run_it.filter(|&runs| runs).count() * 2 >= members;
        !(self.lacks(Mutant::MajorityIsEnough) && half())
    }

    /// A member that has not said hello is not ready.
    pub(crate) fn unknown_is_not_ready(self) -> bool {
        !self.lacks(Mutant::UnknownIsReady)
    }

    /// A peer that was refused for the phase is not, once that has changed.
    pub(crate) fn refusal_ends_with_phase(self) -> bool {
        !self.lacks(Mutant::RefusalOutlived)
    }

    /// A peer's state is told of each later phase of its node.
    pub(crate) fn hears_phase(self, epoch: u64, known: u64) -> bool {
        epoch > known && !self.lacks(Mutant::PhaseUnheard)
    }

    /// The peer is told of it.
    pub(crate) fn phase_is_announced(self) -> bool {
        !self.lacks(Mutant::AnnounceUnsent)
    }
}

/// The wire.
impl Guards {
    /// Kills go out in one frame where the version that was negotiated has it.
    pub(crate) fn may_send_kill_all(self, version: WireVersion) -> bool {
        compat::emitted(Kind::KillAll, version) || self.lacks(Mutant::UngatedKillAll)
    }

    /// A message is encoded for a version that emits it.
    pub(crate) fn may_encode(self, kind: Kind, version: WireVersion) -> bool {
        compat::emitted(kind, version) || self.lacks(Mutant::UngatedEncoder)
    }

    /// The kind that a frame says: its message's own.
    pub(crate) fn written_as(self, kind: Kind) -> Kind {
        let is_reply = matches!(kind, Kind::Reply | Kind::Item | Kind::Question);
        if is_reply && self.lacks(Mutant::EarlyTaggedReply) { Kind::TaggedReply } else { kind }
    }

    /// Writes what no release emits yet, or this version lacks. `false`, as it always is but for a variant: it did not.
    pub(crate) fn wrote_early(self, version: WireVersion, message: &Message, frame: &mut FrameWriter<'_>) -> bool {
        let ungated = version == WireVersion::V1 && self.lacks(Mutant::UngatedEncoder);
        match message {
            Message::KillAll(ServerAddress::Singleton, calls) if ungated => {
                frame.header(&calls.iter().map(|call| call.0).collect::<Vec<u64>>());
                true
            }
            Message::NoSuchServer(ServerAddress::Singleton, call) if ungated => {
                frame.header(&call.0);
                true
            }
            Message::Reply(Reply { call, number, form, body }) if self.lacks(Mutant::EarlyTaggedReply) => {
                let bulk = if let Body::Bulk(id, bytes) = body { Some((id.0, *bytes)) } else { None };
                frame.header(&(call.0, *number, *form as u8, bulk));
                frame.payload(body);
                true
            }
            _ => false,
        }
    }

    /// The kind of this number, where the version that was negotiated has it.
    pub(crate) fn understood(self, kind: u8, version: WireVersion) -> Option<Kind> {
        let known = |&kind: &Kind| kind != Kind::TaggedReply || !self.lacks(Mutant::UnreadTaggedReply);
        compat::accepted(kind, version).filter(known)
    }

    /// A frame is consumed whole.
    pub(crate) fn is_consumed(self, rest: &[u8]) -> bool {
        rest.is_empty() || self.lacks(Mutant::TrailingBytes)
    }

    /// A frame of a kind that is not known is counted and answered.
    pub(crate) fn unknown_is_answered(self) -> bool {
        !self.lacks(Mutant::UnknownDropped)
    }
}

/// How late the per-node servers of that variant are.
const LATE: Duration = Duration::from_millis(500);
