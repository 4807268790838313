//! The network: per connection one ordered lane each way, payloads beside it in no order, and nobody who tells both
//! ends at the same time that it is gone.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use rexi_proto::{
    BulkId, ConnectionId, FrameBuffer, HELLO_BYTES_MAX, HandshakeError, Hello, Kind, Peer, Presence, Profile,
    ServerAddress, Session, decode,
};

use super::ledger::Life;
use super::notes::{Place, words};
use super::{Cluster, Node};

/// A connection, or what is left of one.
pub(crate) struct Wire {
    ends: [End; 2],
    cut: bool,
}

/// One end, and what is on its way to it.
struct End {
    of: Life,
    hello: Hello,
    stage: Stage,
    hello_in: Option<Vec<u8>>,
    lane: VecDeque<u8>,
    bulk: Vec<(BulkId, Bytes)>,
    parting: Option<Parting>,
    /// Members that send to the singleton, as this end's node could know when its hello was made.
    holdouts: Vec<Life>,
    /// Frames of an unknown kind that were put on the lane to this end, and how many it has counted.
    unknown: (u64, u64),
    /// Whether a frame that is too long for its message was put on the lane.
    long: bool,
    /// What arrives, cut into frames, where notes are taken.
    heard: FrameBuffer,
}

enum Stage {
    Opening,
    Agreed(Box<Session>),
    Connected(ConnectionId),
    Closed,
}

/// What comes of a connection when another one is in its place.
struct Late {
    connection: ConnectionId,
    lane: Vec<u8>,
    bulk: Vec<(BulkId, Bytes)>,
}

/// How the other end has let go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parting {
    Lost,
    Departed,
}

impl End {
    fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Closed)
    }

    fn is_quiet(&self) -> bool {
        self.lane.is_empty() || !self.is_open()
    }
}

impl Cluster {
    pub(super) fn wires(&self) -> usize {
        self.wires.len()
    }

    /// Opens a connection; an older one between the two is not touched.
    pub(super) fn dial(&mut self, a: usize, b: usize) {
        let Some((a, b)) = self.pair(a, b) else { return };
        if self.nodes[b].is_none()
            || self.wires.iter().filter(|wire| wire.is_between(a, b) && wire.is_open()).count() > 1
        {
            return;
        }
        let hellos = [a, b].map(|i| {
            let node = self.nodes[i].as_ref().expect("both live");
            (node.life(), node.rollout.hello(node.incarnation, &node.limits))
        });
        let bytes = |hello: &Hello| {
            let mut out = BytesMut::new();
            hello.encode(&mut out);
            Some(out.to_vec())
        };
        let [(life_a, hello_a), (life_b, hello_b)] = hellos;
        let end = |of: Life, hello, hello_in| End {
            holdouts: self.known_holdouts(of.0),
            unknown: (0, 0),
            long: false,
            heard: FrameBuffer::new(1 << 20),
            of,
            hello,
            stage: Stage::Opening,
            hello_in,
            lane: VecDeque::new(),
            bulk: Vec::new(),
            parting: None,
        };
        let (to_a, to_b) = (bytes(&hello_b), bytes(&hello_a));
        let ends = [end(life_a, hello_a, to_a), end(life_b, hello_b, to_b)];
        self.wires.retain(|wire| wire.ends.iter().any(End::is_open));
        self.wires.push(Wire { ends, cut: false });
    }

    /// The hello of the other end arrives.
    pub(super) fn hello(&mut self, wire: usize, side: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        let end = &mut self.wires[at].ends[side];
        if !matches!(end.stage, Stage::Opening) {
            return;
        }
        let Some(bytes) = end.hello_in.take() else { return };
        let mut frames = FrameBuffer::new(HELLO_BYTES_MAX);
        frames.extend(&bytes);
        let frame = frames.next_frame().expect("in bounds").expect("whole");
        let theirs = Hello::decode(frame).expect("a hello");
        let (ours, index) = (end.hello.clone(), end.of.0);
        let now = self.local(index);
        let node = self.nodes[index].as_mut().expect("an open end has a living node");
        let (_, member) = self.wires[at].members(side);
        let release = Profile::train().iter().position(|profile| *profile.release() == theirs.release);
        let met = (theirs.incarnation, release.expect("all run releases of the train"));
        if node.met.get(&member).is_none_or(|&(life, _)| life <= met.0) {
            node.met.insert(member, met);
        }
        let verdict = node.rollout.handle_hello(&ours, &theirs);
        node.sync_phase(now, &mut self.ledger);
        match verdict {
            Ok(agreement) => {
                self.wires[at].ends[side].stage = Stage::Agreed(Box::new(Session::of(&ours, &theirs, agreement)));
                self.judge_holdouts(at);
            }
            Err(HandshakeError::Refused(refusal)) => {
                self.ledger.saw("a handshake was refused");
                self.ledger.note(Place::From(member, index), || format!("hello, refused: {refusal}"));
                let peer = node.peers.get_mut(&member).expect("a member");
                peer.handle_refused(now, theirs.incarnation, refusal);
                self.close_end(at, side);
            }
            Err(error) => {
                self.ledger.saw(match error {
                    HandshakeError::PhaseMoved => "a phase moved in a handshake",
                    HandshakeError::StaleIncarnation { .. } => "a stale life was refused",
                    _ => "a stranger was refused",
                });
                self.close_end(at, side);
            }
        }
        self.drain(index);
    }

    /// An end whose hellos agree becomes the connection to its peer.
    pub(super) fn connect(&mut self, wire: usize, side: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        let (index, member) = self.wires[at].members(side);
        let end = &mut self.wires[at].ends[side];
        let Stage::Agreed(session) = &end.stage else { return };
        let session = (**session).clone();
        let now = self.local(index);
        let node = self.nodes[index].as_mut().expect("an open end has a living node");
        let connection = node.peers.get_mut(&member).expect("a member").handle_connected(now, session);
        let replaced = (0..self.wires.len()).find_map(|other| {
            let side = self.wires[other].side_of(index, member)?;
            matches!(self.wires[other].ends[side].stage, Stage::Connected(_)).then_some((other, side))
        });
        let late = replaced.and_then(|(other, side)| {
            self.ledger.saw("a connection was replaced");
            let late = self.take_late(other, side);
            self.close_end(other, side);
            late
        });
        self.wires[at].ends[side].stage = Stage::Connected(connection);
        self.ledger.note(Place::From(member, index), || "connected".to_owned());
        self.drain(index);
        self.deliver_late(index, member, late);
        let apart = self.releases[index].abs_diff(self.releases[member]);
        if apart > 1 && self.is_connected(index, member) {
            self.ledger.violate("S11", &format!("{index} and {member} are connected, {apart} releases apart"));
        }
    }

    /// What is on its way to an end that is replaced.
    fn take_late(&mut self, at: usize, side: usize) -> Option<Late> {
        let end = &mut self.wires[at].ends[side];
        let Stage::Connected(connection) = end.stage else { return None };
        let (lane, bulk) = (std::mem::take(&mut end.lane).into(), std::mem::take(&mut end.bulk));
        Some(Late { connection, lane, bulk })
    }

    /// All that an old connection may still bring when a new one is in its place, to the shell that had it: its frames
    /// and payloads, and its end in both forms.
    fn deliver_late(&mut self, index: usize, member: usize, late: Option<Late>) {
        let Some(Late { connection, lane, bulk }) = late else { return };
        let now = self.local(index);
        let Some(node) = self.nodes[index].as_mut() else { return };
        let peer = node.peers.get_mut(&member).expect("a member");
        peer.handle_bytes(now, connection, &lane);
        for (id, body) in bulk {
            peer.handle_bulk(now, connection, id, body);
        }
        peer.handle_disconnected(now, connection);
        peer.handle_departed(now, connection);
        self.drain(index);
    }

    /// The writer takes what is encoded.
    pub(super) fn flush(&mut self, wire: usize, side: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        let (index, member) = self.wires[at].members(side);
        let Stage::Connected(connection) = self.wires[at].ends[side].stage else { return };
        let now = self.local(index);
        let node = self.nodes[index].as_mut().expect("an open end has a living node");
        let mut out = BytesMut::new();
        let bulk = node.peers.get_mut(&member).expect("a member").take_outgoing(now, connection, &mut out);
        if !self.wires[at].cut {
            let other = &mut self.wires[at].ends[1 - side];
            other.lane.extend(out);
            other.bulk.extend(bulk.into_iter().flatten());
        }
        self.drain(index);
    }

    pub(super) fn flush_node(&mut self, wire: usize, index: usize) {
        for side in 0..2 {
            if self.wires.get(wire).is_some_and(|w| w.ends[side].of.0 == index) {
                self.flush(wire, side);
            }
        }
    }

    /// So many bytes of the ordered lane arrive; all of them for a large number.
    pub(super) fn deliver(&mut self, wire: usize, side: usize, bytes: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        let (index, member) = self.wires[at].members(side);
        let end = &mut self.wires[at].ends[side];
        let Stage::Connected(connection) = end.stage else { return };
        let bytes = if bytes > 200 { end.lane.len() } else { bytes.min(end.lane.len()) };
        let bytes: Vec<u8> = end.lane.drain(..bytes).collect();
        self.overhear(at, side, &bytes);
        let now = self.local(index);
        let node = self.nodes[index].as_mut().expect("an open end has a living node");
        let peer = node.peers.get_mut(&member).expect("a member");
        let before = peer.stats().unknown_frames;
        peer.handle_bytes(now, connection, &bytes);
        let counted = peer.stats().unknown_frames - before;
        self.wires[at].ends[side].unknown.1 += counted;
        self.drain(index);
        self.judge_frames(at, side);
    }

    /// Takes down the messages that arrive.
    fn overhear(&mut self, at: usize, side: usize, bytes: &[u8]) {
        let (index, member) = self.wires[at].members(side);
        let peer = self.nodes[index].as_ref().and_then(|node| node.peers.get(&member));
        let (Some(Presence::Up(session, _)), true) = (peer.map(Peer::presence), self.ledger.notes.is_some()) else {
            return;
        };
        let (wire, heard) = (session.wire, &mut self.wires[at].ends[side].heard);
        heard.extend(bytes);
        while let Ok(Some(frame)) = heard.next_frame() {
            let what = decode(wire, frame).map_or_else(|error| error.to_string(), |message| words(&message));
            self.ledger.note(Place::From(member, index), || what);
        }
    }

    /// What was put on the lane beside the protocol's own frames was counted or refused, and nothing else was.
    fn judge_frames(&mut self, at: usize, side: usize) {
        let Some(end) = self.wires.get(at).map(|wire| &wire.ends[side]) else { return };
        if !matches!(end.stage, Stage::Connected(_)) || !end.lane.is_empty() {
            return;
        }
        let (sent, counted) = end.unknown;
        if counted < sent {
            self.ledger.violate("S10", "a frame of an unknown kind was not counted");
        } else if counted > sent {
            self.ledger.violate("S9", "a node sent what its peer does not know");
        } else if end.long {
            self.ledger.violate("S8", "bytes behind a message's last field were passed over");
        }
    }

    /// The members that send to the singleton and have told this node so: nothing is on its way between the two.
    fn known_holdouts(&self, witness: usize) -> Vec<Life> {
        let known = |node: &&Node| {
            let peer = node.peers.get(&witness);
            let quiet = |wire: &Wire| !wire.is_between(witness, node.index) || wire.ends.iter().all(End::is_quiet);
            node.rollout.phase().cast_target() == ServerAddress::Singleton
                && self.is_connected(witness, node.index)
                && peer.is_some_and(|peer| !peer.wants_write())
                && self.wires.iter().all(quiet)
        };
        self.nodes.iter().flatten().filter(known).map(Node::life).collect()
    }

    /// Nobody without a singleton is let in where the other end knows of a third that still sends to one.
    fn judge_holdouts(&mut self, at: usize) {
        for side in 0..2 {
            let (witness, remover) = self.wires[at].members(side);
            let other = self.wires[at].ends[1 - side].of;
            let Some(hosts) = self.nodes[remover].as_ref().filter(|n| n.life() == other) else { continue };
            let hosts = hosts.rollout.profile().hosts();
            let remains = |life: &&Life| {
                let node = self.nodes[life.0].as_ref().filter(|node| node.life() == **life);
                life.0 != remover && node.is_some_and(|n| n.rollout.phase().cast_target() == ServerAddress::Singleton)
            };
            let holdout = self.wires[at].ends[side].holdouts.iter().find(remains);
            if let (false, Some(&(holdout, _))) = (hosts.contains(ServerAddress::Singleton), holdout) {
                let text = format!("{witness} speaks with {remover}, which has no singleton, while {holdout} uses it");
                return self.ledger.violate("S13", &text);
            }
        }
    }

    /// A payload arrives, whichever.
    pub(super) fn deliver_bulk(&mut self, wire: usize, side: usize, pick: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        let (index, member) = self.wires[at].members(side);
        let end = &mut self.wires[at].ends[side];
        let Stage::Connected(connection) = end.stage else { return };
        if end.bulk.is_empty() {
            return;
        }
        let (id, body) = end.bulk.swap_remove(pick % end.bulk.len());
        let bytes = body.len();
        let now = self.local(index);
        let node = self.nodes[index].as_mut().expect("an open end has a living node");
        node.peers.get_mut(&member).expect("a member").handle_bulk(now, connection, id, body);
        self.drain(index);
        // The sender has been told.
        let now = self.local(member);
        if let Stage::Connected(connection) = self.wires[at].ends[1 - side].stage {
            let node = self.nodes[member].as_mut().expect("an open end has a living node");
            node.peers.get_mut(&index).expect("a member").handle_bulk_sent(now, connection, bytes);
            self.drain(member);
        }
    }

    /// A node sends what no version has.
    pub(super) fn send_unknown(&mut self, wire: usize, side: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        if !matches!(self.wires[at].ends[1 - side].stage, Stage::Connected(_)) || self.wires[at].cut {
            return;
        }
        let (index, sender) = self.wires[at].members(side);
        let peer = self.nodes[sender].as_ref().and_then(|node| node.peers.get(&index));
        if let Some(Presence::Up(session, _)) = peer.map(Peer::presence) {
            let version_bits = u8::try_from(session.wire.0 << 6).expect("three versions");
            self.wires[at].ends[side].lane.extend([3, 0, 0, 0, 45 | version_bits, 1, 2]);
            self.wires[at].ends[side].unknown.0 += 1;
        }
    }

    /// A node sends a message with a byte behind its last field.
    pub(super) fn send_long(&mut self, wire: usize, side: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        if !matches!(self.wires[at].ends[1 - side].stage, Stage::Connected(_)) || self.wires[at].cut {
            return;
        }
        let (index, sender) = self.wires[at].members(side);
        let peer = self.nodes[sender].as_ref().and_then(|node| node.peers.get(&index));
        if let Some(Presence::Up(session, _)) = peer.map(Peer::presence) {
            let version_bits = u8::try_from(session.wire.0 << 6).expect("three versions");
            let end = &mut self.wires[at].ends[side];
            end.lane.extend([3, 0, 0, 0, Kind::Ping as u8 | version_bits, 100, 2]);
            end.long = true;
        }
    }

    /// Whether a frame that is too long was sent to this node by that member; each connection ends with its first.
    pub(super) fn take_long(&mut self, index: usize, member: usize) -> bool {
        self.wires.iter_mut().any(|wire| {
            let side = wire.side_of(index, member);
            side.is_some_and(|side| std::mem::take(&mut wire.ends[side].long))
        })
    }

    /// All that is on its way arrives, and every queue is worked off.
    pub(super) fn exchange(&mut self) {
        for at in 0..self.wires.len() {
            for side in [0, 1, 0, 1] {
                self.hello(at, side);
                self.connect(at, side);
                self.flush(at, side);
                self.deliver(at, 1 - side, usize::MAX);
                while self.wires.get(at).is_some_and(|wire| wire.has_bulk(1 - side)) {
                    self.deliver_bulk(at, 1 - side, 0);
                }
            }
        }
        for node in 0..self.nodes.len() {
            self.step_singleton(node, usize::MAX);
        }
    }

    /// Nothing passes any more, and nobody knows yet.
    pub(super) fn cut(&mut self, wire: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        let wire = &mut self.wires[at];
        if wire.is_open() && !wire.cut {
            self.ledger.faulty = true;
            wire.cut = true;
            let (a, b) = wire.members(0);
            self.ledger.note(Place::Lost(a, b), || "all that is on its way".to_owned());
            let wire = &mut self.wires[at];
            for end in &mut wire.ends {
                end.lane.clear();
                end.bulk.clear();
                (end.unknown.0, end.long) = (end.unknown.1, false);
                end.hello_in = None;
                end.parting = None;
            }
        }
    }

    /// An end notices that its connection is gone, if it is.
    pub(super) fn notice(&mut self, wire: usize, side: usize) {
        let Some(at) = self.wire_at(wire) else { return };
        let (index, member) = self.wires[at].members(side);
        let end = &self.wires[at].ends[side];
        let parting = if self.wires[at].cut { Some(Parting::Lost) } else { end.parting };
        let Some(parting) = parting.filter(|_| end.is_open()) else { return };
        let stage = std::mem::replace(&mut self.wires[at].ends[side].stage, Stage::Closed);
        let now = self.local(index);
        if let (Stage::Connected(connection), Some(node)) = (stage, self.nodes[index].as_mut()) {
            let peer = node.peers.get_mut(&member).expect("a member");
            match parting {
                Parting::Lost => peer.handle_disconnected(now, connection),
                Parting::Departed => peer.handle_departed(now, connection),
            }
            self.drain(index);
        }
    }

    /// A node's state has let go of the connection that it uses for this member.
    pub(super) fn close_connected(&mut self, index: usize, member: usize) {
        for at in 0..self.wires.len() {
            if let Some(side) = self.wires[at].side_of(index, member)
                && let Stage::Connected(connection) = self.wires[at].ends[side].stage
            {
                let now = self.local(index);
                self.close_end(at, side);
                let node = self.nodes[index].as_mut().expect("it has just spoken");
                node.peers.get_mut(&member).expect("a member").handle_disconnected(now, connection);
            }
        }
    }

    /// A node is gone, and its ends with it.
    pub(super) fn abandon_wires(&mut self, index: usize, departed: bool) {
        for at in 0..self.wires.len() {
            for side in 0..2 {
                if self.wires[at].ends[side].of.0 == index && self.wires[at].ends[side].is_open() {
                    self.close_end(at, side);
                    if departed && !self.wires[at].cut {
                        self.wires[at].ends[1 - side].parting = Some(Parting::Departed);
                    }
                }
            }
        }
    }

    pub(super) fn is_connected(&self, a: usize, b: usize) -> bool {
        self.wires.iter().any(|w| w.is_between(a, b) && w.ends.iter().all(|e| matches!(e.stage, Stage::Connected(_))))
    }

    fn close_end(&mut self, at: usize, side: usize) {
        let wire = &mut self.wires[at];
        self.ledger.faulty = true;
        wire.ends[side].stage = Stage::Closed;
        wire.ends[side].lane.clear();
        wire.ends[side].bulk.clear();
        if !wire.cut {
            wire.ends[1 - side].parting = Some(Parting::Lost);
        }
    }

    fn wire_at(&self, wire: usize) -> Option<usize> {
        (!self.wires.is_empty()).then(|| wire % self.wires.len())
    }
}

impl Wire {
    fn is_between(&self, a: usize, b: usize) -> bool {
        let [x, y] = [self.ends[0].of.0, self.ends[1].of.0];
        (x, y) == (a, b) || (x, y) == (b, a)
    }

    fn is_open(&self) -> bool {
        self.ends.iter().any(End::is_open)
    }

    fn members(&self, side: usize) -> (usize, usize) {
        (self.ends[side].of.0, self.ends[1 - side].of.0)
    }

    /// The side of `index` in a connection with `member`.
    fn side_of(&self, index: usize, member: usize) -> Option<usize> {
        (0..2).find(|&side| self.members(side) == (index, member))
    }

    fn has_bulk(&self, side: usize) -> bool {
        matches!(self.ends[side].stage, Stage::Connected(_)) && !self.ends[side].bulk.is_empty()
    }
}
