//! The way out to one peer: is it there, what is ready to be written, and what waits for it in a bounded buffer.
//!
//! While the peer is there and keeps up, frames are encoded straight into the bytes that the writer will take. Frames
//! for a peer that is away or slow wait, first in, first out; beyond the bound the oldest is given back, so that its
//! caller can be told. Nothing is written twice. Source: rexi_buffer.erl; R41 to R46 of docs/rexi.md, where its order
//! is changed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::error::EncodeError;
use crate::guards::Guards;
use crate::hello::{Agreement, Hello, Refusal};
use crate::limits::{CALL_REF_BYTES_MAX, FRAME_OVERHEAD_BYTES, Limits};
use crate::message::{Body, BulkId, Cast, ItemBatch, Message, Reply, Response};
use crate::migration::Forms;
use crate::name::Incarnation;
use crate::phase::{Phase, Servers};
use crate::pool::{Pool, Total, grow, shrink};
use crate::table::FunctionTable;
use crate::version::WireVersion;
use crate::wire;

/// What a completed handshake has settled with a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The peer's life.
    pub incarnation: Incarnation,
    /// The wire version of both.
    pub wire: WireVersion,
    /// The servers that the peer runs.
    pub hosts: Servers,
    /// The forms that the peer takes, of each migration of ours.
    pub takes: Arc<[Forms]>,
    /// The epochs of the phases that our hello named.
    pub said: Arc<[u64]>,
    /// The functions that the peer takes.
    pub functions: FunctionTable,
    /// Bytes of the longest frame the peer takes.
    pub frame_bytes_max: u32,
    /// Bytes of the longest payload the peer takes.
    pub payload_bytes_max: u32,
}

impl Session {
    /// What our node keeps of two hellos that agree.
    pub fn of(ours: &Hello, theirs: &Hello, agreement: Agreement) -> Self {
        Self {
            incarnation: theirs.incarnation,
            wire: agreement.wire,
            hosts: theirs.hosts(),
            functions: theirs.functions.clone(),
            takes: ours.migrations.iter().map(|own| theirs.takes(&own.key, ours.stop)).collect(),
            said: ours.migrations.iter().map(|own| own.epoch).collect(),
            frame_bytes_max: theirs.frame_bytes_max,
            payload_bytes_max: theirs.payload_bytes_max,
        }
    }

    /// With a peer that takes what a node in this phase of rexi's own migration does, and has the same bounds.
    pub fn with_twin(
        incarnation: Incarnation,
        wire: WireVersion,
        phase: Phase,
        functions: FunctionTable,
        limits: &Limits,
    ) -> Self {
        Self {
            incarnation,
            functions,
            wire,
            hosts: phase.hosts(),
            takes: [phase.takes()].into(),
            said: [0].into(),
            frame_bytes_max: limits.frame_bytes_max,
            payload_bytes_max: limits.payload_bytes_max,
        }
    }

    /// Numbers of calls that surely fit into one frame to the peer.
    pub(crate) fn calls_per_frame(&self) -> usize {
        (self.frame_bytes_max as usize).saturating_sub(FRAME_OVERHEAD_BYTES) / CALL_REF_BYTES_MAX
    }
}

/// Whether a peer is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Connected since then.
    Up(Session, Duration),
    /// Not connected; given up at that time.
    Away(Duration),
    /// Not connected for longer than the stability period.
    Gone,
    /// Refused by the handshake for as long as both keep their releases.
    Refused(Box<Refusal>),
}

/// The outbound half of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) presence: Presence,
    /// Encoded frames that the writer has not taken yet.
    unwritten: BytesMut,
    /// Payloads that go on QUIC streams of their own, behind the frames that point to them.
    bulk: Vec<(BulkId, Bytes)>,
    /// Payloads that the shell has not sent yet, and their bytes.
    bulk_count: usize,
    bulk_bytes: usize,
    next_bulk: u64,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    waited: u64,
    dropped: u64,
    guards: Guards,
}

/// A frame in the buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Waiting {
    pub(crate) message: Message,
    pub(crate) since: Duration,
}

/// Which bound a frame was dropped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The peer's own.
    ForPeer,
    /// The node's, over all peers.
    InAll,
}

impl Link {
    pub(crate) fn new(presence: Presence, guards: Guards) -> Self {
        Self {
            presence,
            unwritten: BytesMut::new(),
            bulk: Vec::new(),
            bulk_count: 0,
            bulk_bytes: 0,
            next_bulk: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waited: 0,
            dropped: 0,
            guards,
        }
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.presence {
            Presence::Up(session, _) => Some(session),
            _ => None,
        }
    }

    /// Whether a frame may be encoded now: the peer is there, keeps up, and nothing waits that came before.
    pub(crate) fn is_clear(&self, limits: &Limits) -> bool {
        self.waiting.is_empty() && self.has_room(limits)
    }

    /// Whether the writer keeps up with what is encoded.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        self.session().is_some()
            && self.unwritten.len() < limits.unwritten_bytes_max
            && self.bulk_bytes < limits.buffered_bytes_max
            && self.bulk_count < limits.bulk_frames_max / 2
    }

    /// Whether more is encoded than answers and all that goes past the buffer can explain: the peer asks on and does
    /// not read.
    pub(crate) fn is_overrun(&self, limits: &Limits) -> bool {
        self.unwritten.len() > limits.unwritten_bytes_max + OVERRUN_FRAMES_MAX * limits.frame_bytes_max as usize
    }

    /// Encodes a message behind all that is encoded already. A payload above the threshold is taken out of its frame.
    pub(crate) fn encode(&mut self, message: &mut Message, limits: &Limits) -> Result<(), EncodeError> {
        let Presence::Up(session, _) = &self.presence else { unreachable!("callers ask whether the peer is there") };
        let (wire, frame_bytes_max) = (session.wire, session.frame_bytes_max);
        let inline_bytes_max = (limits.inline_bytes_max as usize).min(frame_bytes_max as usize / 2);
        let bulk = take_bulk(message, inline_bytes_max, BulkId(self.next_bulk));
        wire::encode_guarded(wire, message, frame_bytes_max, &mut self.unwritten, self.guards)?;
        if let Some(bulk) = bulk {
            self.next_bulk += 1;
            self.bulk_count += 1;
            self.bulk_bytes += bulk.1.len();
            self.bulk.push(bulk);
        }
        Ok(())
    }

    /// Puts a message into the buffer. What had to be dropped for it is returned, oldest first: frames that wait for
    /// this peer and no other, whichever bound they were in the way of, or the message itself where that is not enough.
    pub(crate) fn wait(
        &mut self,
        message: Message,
        now: Duration,
        limits: &Limits,
        pool: &mut impl Pool,
    ) -> Vec<(Message, Full)> {
        self.waited += 1;
        let mut dropped = Vec::new();
        while let Err(full) = self.reserve(payload_bytes(&message), limits, pool) {
            self.dropped += 1;
            match self.take_waiting(pool) {
                Some(oldest) => dropped.push((oldest.message, full)),
                None => {
                    dropped.push((message, full));
                    return dropped;
                }
            }
        }
        self.waiting.push_back(Waiting { message, since: now });
        dropped
    }

    /// Makes room in the counts for a frame with so much payload.
    fn reserve(&mut self, bytes: usize, limits: &Limits, pool: &mut impl Pool) -> Result<(), Full> {
        let mut frames = self.waiting.len();
        if frames >= limits.buffered_frames_max || self.waiting_bytes + bytes > limits.buffered_bytes_max {
            return Err(Full::ForPeer);
        }
        if !grow(pool, Total::BufferedFrames, &mut frames, 1) {
            return Err(Full::InAll);
        }
        if !grow(pool, Total::BufferedBytes, &mut self.waiting_bytes, bytes) {
            shrink(pool, Total::BufferedFrames, &mut frames, 1);
            return Err(Full::InAll);
        }
        Ok(())
    }

    /// Takes the oldest frame out of the buffer.
    pub(crate) fn take_waiting(&mut self, pool: &mut impl Pool) -> Option<Waiting> {
        let mut frames = self.waiting.len();
        let oldest = self.waiting.pop_front()?;
        shrink(pool, Total::BufferedFrames, &mut frames, 1);
        shrink(pool, Total::BufferedBytes, &mut self.waiting_bytes, payload_bytes(&oldest.message));
        Some(oldest)
    }

    /// Takes all casts out of the buffer, oldest first.
    pub(crate) fn take_waiting_casts(&mut self, pool: &mut impl Pool) -> Vec<Cast> {
        let mut casts = Vec::new();
        for _ in 0..self.waiting.len() {
            match self.waiting.pop_front() {
                Some(Waiting { message: Message::Cast(_, cast), .. }) => casts.push(cast),
                other => self.waiting.extend(other),
            }
        }
        self.recount_waiting(self.waiting.len() + casts.len(), pool);
        casts
    }

    /// Forgets what waits, but for the frames that `keep` holds.
    pub(crate) fn retain_waiting(&mut self, pool: &mut impl Pool, keep: impl Fn(&Message) -> bool) {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| keep(&waiting.message));
        self.recount_waiting(before, pool);
    }

    /// Some of `before` frames were taken out.
    fn recount_waiting(&mut self, mut before: usize, pool: &mut impl Pool) {
        let gone = before - self.waiting.len();
        shrink(pool, Total::BufferedFrames, &mut before, gone);
        let rest: usize = self.waiting.iter().map(|waiting| payload_bytes(&waiting.message)).sum();
        let gone = self.waiting_bytes - rest;
        shrink(pool, Total::BufferedBytes, &mut self.waiting_bytes, gone);
    }

    /// Forgets what was encoded for a connection that is gone.
    pub(crate) fn forget_unwritten(&mut self) {
        if self.guards.unwritten_ends_with_connection() {
            self.unwritten.clear();
        }
        self.bulk.clear();
        (self.bulk_count, self.bulk_bytes) = (0, 0);
        self.next_bulk = 0;
    }

    /// Swaps what is encoded with `out`, which must be empty, and hands over the payloads that go behind it.
    pub(crate) fn take_unwritten(&mut self, out: &mut BytesMut) -> Vec<(BulkId, Bytes)> {
        self.guards.hand_over_once(&mut self.unwritten, out);
        std::mem::take(&mut self.bulk)
    }

    /// The shell has sent a payload of so many bytes.
    pub(crate) fn bulk_sent(&mut self, bytes: usize) {
        self.bulk_count = self.bulk_count.saturating_sub(1);
        self.bulk_bytes = self.bulk_bytes.saturating_sub(bytes);
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    pub(crate) fn buffered(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(crate) fn waited(&self) -> u64 {
        self.waited
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets how much has waited and was dropped, and which hello of ours began the session: nothing asks for it once
    /// the peer is there.
    pub(crate) fn forget_past(&mut self) {
        (self.waited, self.dropped) = (0, 0);
        if let Presence::Up(session, _) = &mut self.presence {
            session.said = Arc::default();
        }
    }
}

/// Frames of full length that may go past the buffer: resumes, batches of kills, and the ends of calls whose answers
/// the buffer has dropped.
const OVERRUN_FRAMES_MAX: usize = 4;

fn payload_bytes(message: &Message) -> usize {
    match message {
        Message::Cast(_, Cast { body: Body::Inline(bytes), .. })
        | Message::Reply(Reply { body: Body::Inline(bytes), .. })
        | Message::Response(_, Response { body: Body::Inline(bytes), .. }) => bytes.len(),
        Message::Items(ItemBatch { list, .. }) => list.bytes().len(),
        _ => 0,
    }
}

/// Takes a payload above the threshold out of its message, which then names it by `id`.
fn take_bulk(message: &mut Message, inline_bytes_max: usize, id: BulkId) -> Option<(BulkId, Bytes)> {
    let (Message::Cast(_, Cast { body, .. })
    | Message::Reply(Reply { body, .. })
    | Message::Response(_, Response { body, .. })) = message
    else {
        return None;
    };
    match body {
        Body::Inline(bytes) if bytes.len() > inline_bytes_max => {
            let bytes = std::mem::take(bytes);
            let length = u32::try_from(bytes.len()).expect("payloads are bounded by a limit of 32 bits");
            *body = Body::Bulk(id, length);
            Some((id, bytes))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Called;
    use crate::message::DownReason;
    use crate::name::{CallRef, MonitorRef};
    use crate::phase::ServerAddress;
    use crate::pool::{NodePool, Unlimited};
    use crate::story::functions;

    fn cast(call: u64, bytes: usize) -> Message {
        let body = Body::Inline(vec![7; bytes].into());
        let (call, function) = (CallRef(call), Called::Number(0));
        Message::Cast(ServerAddress::PerNode, Cast { call, function, time_left: None, nonce: 0, trace: None, body })
    }

    fn call(message: &Message) -> u64 {
        match message {
            Message::Cast(_, cast) => cast.call.0,
            other => panic!("no cast: {other:?}"),
        }
    }

    fn up(frame_bytes_max: u32) -> Link {
        let limits = Limits { frame_bytes_max, ..Limits::default() };
        let session = Session::with_twin(Incarnation(1), WireVersion::V3, Phase::Remove, functions(), &limits);
        Link::new(Presence::Up(session, Duration::ZERO), Guards::default())
    }

    fn away() -> Link {
        Link::new(Presence::Away(Duration::from_secs(15)), Guards::default())
    }

    #[test]
    fn the_buffer_holds_its_bound_drops_the_oldest_beyond_and_recovers() {
        let limits = Limits::default();
        assert_eq!(limits.buffered_frames_max, 2_000, "as in the original");
        let mut link = away();
        for i in 0..2_000 {
            assert_eq!(link.wait(cast(i, 1), Duration::ZERO, &limits, &mut Unlimited), []);
        }
        let dropped = link.wait(cast(2_000, 1), Duration::ZERO, &limits, &mut Unlimited);
        assert_eq!(dropped.iter().map(|(message, _)| call(message)).collect::<Vec<_>>(), [0]);
        assert_eq!((link.buffered(), link.dropped()), (2_000, 1));
        assert_eq!(link.take_waiting(&mut Unlimited).map(|waiting| call(&waiting.message)), Some(1));
        assert_eq!(link.wait(cast(2_001, 1), Duration::ZERO, &limits, &mut Unlimited), [], "there is room again");
        let order: Vec<u64> =
            std::iter::from_fn(|| link.take_waiting(&mut Unlimited)).map(|waiting| call(&waiting.message)).collect();
        assert_eq!(order, (2..=2_001).collect::<Vec<_>>(), "first in, first out");
        assert_eq!(link.waiting_bytes, 0);
    }

    #[test]
    fn the_buffer_holds_its_bytes_and_drops_as_many_as_it_must() {
        let limits = Limits { buffered_bytes_max: 100, ..Limits::default() };
        let mut link = away();
        for i in 0..4 {
            assert_eq!(link.wait(cast(i, 25), Duration::ZERO, &limits, &mut Unlimited), []);
        }
        let dropped = link.wait(cast(4, 26), Duration::ZERO, &limits, &mut Unlimited);
        assert_eq!(dropped.iter().map(|(message, _)| call(message)).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((link.buffered(), link.buffered_bytes()), (3, 76));
        assert_eq!(link.wait(cast(5, 24), Duration::ZERO, &limits, &mut Unlimited), []);
        link.retain_waiting(&mut Unlimited, |message| call(message) == 5);
        assert_eq!((link.buffered(), link.waiting_bytes), (1, 24));
    }

    /// Two members: 2 frames and 20 bytes each as a floor, 3 frames and 30 bytes in the pool.
    fn pool() -> NodePool {
        let limits = Limits { buffered_frames_total_max: 7, buffered_bytes_total_max: 70, ..Limits::default() };
        let mut pool = NodePool::new(&limits, 2, Servers::PER_NODE);
        assert!((pool.floor(Total::BufferedFrames), pool.floor(Total::BufferedBytes)) == (1, 17));
        assert!(pool.take(Total::BufferedFrames, 2) && pool.take(Total::BufferedBytes, 6));
        pool
    }

    #[test]
    fn buffers_that_are_full_in_all_drop_the_oldest_of_who_needs_room_and_of_nobody_else() {
        let (limits, mut pool) = (Limits::default(), pool());
        let (mut greedy, mut other) = (away(), away());
        for i in 0..4 {
            assert_eq!(greedy.wait(cast(i, 1), Duration::ZERO, &limits, &mut pool), []);
        }
        let dropped = greedy.wait(cast(4, 1), Duration::ZERO, &limits, &mut pool);
        assert!(matches!(&dropped[..], [(message, Full::InAll)] if call(message) == 0));
        assert_eq!(other.wait(cast(0, 17), Duration::ZERO, &limits, &mut pool), [], "its floor is its own");
        let dropped = other.wait(cast(1, 1), Duration::ZERO, &limits, &mut pool);
        assert!(matches!(&dropped[..], [(message, Full::InAll)] if call(message) == 0));
        greedy.take_waiting(&mut pool).expect("four wait");
        assert_eq!(other.wait(cast(2, 17), Duration::ZERO, &limits, &mut pool), [], "there is room again");
        assert_eq!((greedy.buffered(), other.buffered()), (3, 2));
    }

    #[test]
    fn a_payload_for_which_there_is_no_room_in_all_is_dropped_itself_and_all_room_comes_back() {
        let (limits, mut pool) = (Limits::default(), pool());
        let whole = pool.clone();
        let mut link = away();
        assert_eq!(link.wait(cast(0, 47), Duration::ZERO, &limits, &mut pool), [], "17 of its own, 30 of the pool");
        let dropped = link.wait(cast(1, 48), Duration::ZERO, &limits, &mut pool);
        let dropped: Vec<_> = dropped.iter().map(|(message, full)| (call(message), *full)).collect();
        assert_eq!(dropped, [(0, Full::InAll), (1, Full::InAll)]);
        assert_eq!((link.buffered(), link.dropped(), &pool), (0, 2, &whole));
        for i in 2..5 {
            assert_eq!(link.wait(cast(i, 10), Duration::ZERO, &limits, &mut pool), []);
        }
        link.retain_waiting(&mut pool, |message| call(message) == 3);
        assert_eq!((link.waiting_bytes, pool.left(Total::BufferedFrames)), (10, 3));
        assert_eq!(link.take_waiting_casts(&mut pool).len(), 1);
        assert_eq!((link.waiting_bytes, pool), (0, whole));
    }

    #[test]
    fn there_is_room_until_the_writer_falls_behind_and_when_it_catches_up() {
        let limits =
            Limits { unwritten_bytes_max: 40, buffered_bytes_max: 100, inline_bytes_max: 16, ..Limits::default() };
        let mut link = up(1 << 20);
        while link.has_room(&limits) {
            link.encode(&mut cast(1, 8), &limits).expect("it fits");
        }
        assert!(link.unwritten.len() >= 40 && !link.is_clear(&limits));
        let mut out = BytesMut::new();
        assert!(link.take_unwritten(&mut out).is_empty());
        assert!(link.is_clear(&limits) && !link.has_unwritten());
        link.encode(&mut cast(2, 100), &limits).expect("it goes beside its frame");
        assert!(!link.has_room(&limits), "payloads in transfer are bounded too");
        out.clear();
        assert_eq!(link.take_unwritten(&mut out).len(), 1);
        assert!(!link.has_room(&limits), "it is in transfer still");
        link.bulk_sent(100);
        assert!(link.has_room(&limits));
    }

    #[test]
    fn a_payload_at_the_threshold_stays_in_its_frame_and_one_byte_more_does_not() {
        let limits = Limits { inline_bytes_max: 16, ..Limits::default() };
        let mut link = up(1 << 20);
        link.encode(&mut cast(1, 16), &limits).expect("it fits");
        assert!(link.bulk.is_empty());
        link.encode(&mut cast(2, 17), &limits).expect("it fits");
        link.encode(&mut cast(3, 18), &limits).expect("it fits");
        assert_eq!(link.bulk.iter().map(|(id, body)| (id.0, body.len())).collect::<Vec<_>>(), [(0, 17), (1, 18)]);
    }

    #[test]
    fn a_peer_with_short_frames_gets_payloads_beside_them() {
        let mut link = up(1_024);
        link.encode(&mut cast(1, 600), &Limits::default()).expect("it goes beside its frame");
        assert_eq!(link.bulk.len(), 1);
        let mut down = Message::Down(MonitorRef(1), DownReason::Shutdown);
        link.encode(&mut down, &Limits::default()).expect("it fits");
        let calls = (0..200).map(|i| CallRef(u64::MAX - i)).collect();
        let mut resume = Message::Resume(ServerAddress::PerNode, calls);
        let before = link.unwritten.len();
        assert!(matches!(link.encode(&mut resume, &Limits::default()), Err(EncodeError::TooLong { max: 1_024, .. })));
        assert_eq!(link.unwritten.len(), before, "nothing of it is left behind");
    }

    #[test]
    fn a_new_connection_starts_from_nothing() {
        let limits = Limits { inline_bytes_max: 16, ..Limits::default() };
        let mut link = up(1 << 20);
        link.encode(&mut cast(1, 17), &limits).expect("it fits");
        link.forget_unwritten();
        assert!(!link.has_unwritten() && link.bulk.is_empty() && link.bulk_bytes == 0);
        link.encode(&mut cast(2, 17), &limits).expect("it fits");
        assert_eq!(link.bulk[0].0, BulkId(0));
    }

    #[test]
    fn encoded_bytes_reach_their_bound_and_one_more_byte_of_it_is_room() {
        let mut link = up(1 << 20);
        link.encode(&mut cast(1, 8), &Limits::default()).expect("it fits");
        let bytes = link.unwritten.len();
        assert!(!link.has_room(&Limits { unwritten_bytes_max: bytes, ..Limits::default() }));
        assert!(link.has_room(&Limits { unwritten_bytes_max: bytes + 1, ..Limits::default() }));
    }

    #[test]
    fn half_as_many_payloads_are_in_transfer_as_frames_may_wait_for_theirs() {
        let limits = Limits { inline_bytes_max: 16, bulk_frames_max: 6, ..Limits::default() };
        let mut link = up(1 << 20);
        for call in 0..3 {
            assert!(link.has_room(&limits), "{call} are in transfer");
            link.encode(&mut cast(call, 17), &limits).expect("it goes beside its frame");
        }
        assert!(!link.has_room(&limits));
        link.bulk_sent(17);
        assert!(link.has_room(&limits), "one has arrived");
    }

    #[test]
    fn a_peer_is_overrun_beyond_four_long_frames_above_the_bound() {
        let limits = Limits { unwritten_bytes_max: 100, frame_bytes_max: 50, ..Limits::default() };
        let mut link = up(1 << 20);
        link.unwritten.resize(100 + 4 * 50, 0);
        assert!(!link.is_overrun(&limits));
        link.unwritten.resize(100 + 4 * 50 + 1, 0);
        assert!(link.is_overrun(&limits));
    }

    #[test]
    fn casts_that_are_taken_from_among_others_give_back_their_room_and_no_more() {
        let (limits, mut pool) = (Limits::default(), pool());
        let mut link = away();
        let exit = |call| Message::NoSuchFunction(CallRef(call));
        for message in [cast(0, 1), exit(1), cast(2, 1), cast(3, 1)] {
            assert_eq!(link.wait(message, Duration::ZERO, &limits, &mut pool), []);
        }
        assert_eq!(pool.left(Total::BufferedFrames), 0);
        let taken: Vec<_> = link.take_waiting_casts(&mut pool).iter().map(|cast| cast.call.0).collect();
        assert_eq!((taken, pool.left(Total::BufferedFrames)), (vec![0, 2, 3], 3));
        let rest: Vec<_> = std::iter::from_fn(|| link.take_waiting(&mut pool)).map(|waiting| waiting.message).collect();
        assert_eq!(rest, [exit(1)]);
    }
}
