//! Connections and lives: handshakes with real hellos, what breaks, who restarts as what, and phases that move.

use bytes::Bytes;
use rexi_proto::{
    BulkId, ConnectionId, HandshakeError, Hello, Incarnation, NodeName, Party, Refusal, Session, WireVersion,
};
use semver::Version;

use super::action::{Stop, Straggler};
use super::scope::{Notice, Operator};
use super::state::{Late, NOW, Stage, pair};
use super::step::Stepper;
use crate::model::{CLOCK, Case, NodeModel, Rule, Way, frames, name, over_the_wire};

impl Stepper<'_> {
    /// The first frame on its way arrives.
    pub(super) fn deliver(&mut self, from: usize, to: usize) {
        let side = pair(from, to).1;
        let frame = self.pair(from, to).ways[side].take_frame();
        self.hear(to, from, &frame);
        self.drain(to);
    }

    /// All frames on their way arrive, in one read.
    pub(super) fn deliver_all(&mut self, from: usize, to: usize) {
        let side = pair(from, to).1;
        let frames = std::mem::take(&mut self.pair(from, to).ways[side].lane);
        self.hear(to, from, &frames);
        self.drain(to);
    }

    /// A payload on its way arrives.
    pub(super) fn deliver_payload(&mut self, from: usize, to: usize, number: usize) {
        let side = pair(from, to).1;
        let (id, body) = self.pair(from, to).ways[side].bulk.remove(number);
        self.hear_payload(to, from, id, body);
        self.drain(to);
    }

    /// Something of an earlier connection comes to `at`, which has another by now.
    pub(super) fn straggle(&mut self, at: usize, of: usize, straggler: Straggler) {
        self.state.used.stragglers += 1;
        self.saw(Case::Straggler);
        match straggler {
            Straggler::OnItsWay(number) => {
                let side = pair(of, at).1;
                let late = self.pair(of, at).late[side].remove(number);
                let peer = self.node(at).peer_mut(of);
                match late {
                    Late::Frame(bytes) => peer.handle_bytes(NOW, EARLIER, &bytes),
                    Late::Payload(id, body) => peer.handle_bulk(NOW, EARLIER, id, body),
                }
            }
            Straggler::End => self.node(at).peer_mut(of).handle_disconnected(NOW, EARLIER),
            Straggler::Departure => self.node(at).peer_mut(of).handle_departed(NOW, EARLIER),
            Straggler::Refusal => self.node(at).peer_mut(of).handle_refused(NOW, Incarnation(0), final_refusal()),
        }
        if self.state.used.stragglers == self.cluster.scope().stragglers {
            // Nothing more comes late, so that what is left makes no difference.
            for low in 0..self.state.nodes.len() {
                (low + 1..self.state.nodes.len())
                    .for_each(|high| self.pair(low, high).late.iter_mut().for_each(Vec::clear));
            }
        }
        self.drain(at);
    }

    /// Both nodes dial, say hello and answer at once.
    pub(super) fn connect(&mut self, one: usize, other: usize) {
        let hellos = [one, other].map(|index| self.hello_of(index));
        self.unlink(one, other);
        let first = self.take_hello(one, other, &hellos[0], &hellos[1]);
        let second = self.take_hello(other, one, &hellos[1], &hellos[0]);
        match (first, second) {
            (Some(first), Some(second)) => {
                self.pair(one, other).stage = Stage::Up;
                self.node(one).peer_mut(other).handle_connected(NOW, first);
                self.node(other).peer_mut(one).handle_connected(NOW, second);
                self.drain(one);
                self.drain(other);
            }
            (Some(session), None) => self.connect_in_vain(one, other, session),
            (None, Some(session)) => self.connect_in_vain(other, one, session),
            (None, None) => {}
        }
    }

    pub(super) fn dial(&mut self, from: usize, to: usize) {
        let hello = Box::new(self.hello_of(from));
        self.unlink(from, to);
        self.pair(from, to).stage = Stage::Dialed(pair(from, to).1, hello);
    }

    pub(super) fn accept(&mut self, from: usize, to: usize) {
        let Stage::Dialed(side, dialer) = self.pair(from, to).stage.clone() else { return };
        let ours = self.hello_of(to);
        if let Some(session) = self.take_hello(to, from, &ours, &dialer) {
            self.pair(from, to).stage = Stage::Accepted(side, Box::new([*dialer, ours]));
            self.node(to).peer_mut(from).handle_connected(NOW, session);
            return self.drain(to);
        }
        self.unlink(from, to);
        // The listener's hello gets there all the same, so that both know why.
        if let Some(session) = self.take_hello(from, to, &dialer, &ours) {
            self.connect_in_vain(from, to, session);
        }
    }

    pub(super) fn complete(&mut self, from: usize, to: usize) {
        let Stage::Accepted(_, hellos) = self.pair(from, to).stage.clone() else { return };
        let [dialer, listener] = *hellos;
        if let Some(session) = self.take_hello(from, to, &dialer, &listener) {
            self.pair(from, to).stage = Stage::Up;
            self.node(from).peer_mut(to).handle_connected(NOW, session);
            return self.drain(from);
        }
        self.sever(from, to);
    }

    /// A connection breaks, with all that is on its way.
    pub(super) fn sever(&mut self, one: usize, other: usize) {
        self.unlink(one, other);
        if self.hear_at_once() {
            self.disconnect(one, other);
            self.disconnect(other, one);
        }
    }

    /// Whether an end learns at once that its connection is gone.
    pub(super) fn hear_at_once(&self) -> bool {
        self.cluster.scope().notice == Notice::AtOnce
    }

    /// The connection no longer exists; its ends have yet to learn of it.
    pub(super) fn unlink(&mut self, one: usize, other: usize) {
        let may_come = self.state.used.stragglers < self.cluster.scope().stragglers;
        let pair = self.pair(one, other);
        pair.stage = Stage::Down;
        for side in 0..2 {
            let Way { lane, bulk } = std::mem::take(&mut pair.ways[side]);
            if may_come {
                pair.late[side].extend(frames(&lane).map(|frame| Late::Frame(frame.to_vec())));
                pair.late[side].extend(bulk.into_iter().map(|(id, body)| Late::Payload(id, body)));
            }
        }
        self.state.notes.lost(one, other);
    }

    /// An end learns that its connection is gone.
    pub(super) fn disconnect(&mut self, at: usize, of: usize) {
        if self.state.nodes[at].is_up(of) {
            self.at(at, |node, _| node.disconnect(NOW, of));
        }
    }

    pub(super) fn restart(&mut self, index: usize, to: usize, stop: Stop) {
        let (node, members) = (&self.state.nodes[index], 0..self.state.nodes.len());
        let (at, life) = (node.release, Incarnation(node.life.0 + 1));
        if !node.jobs.is_empty() {
            self.saw(Case::RestartWithJobs);
        }
        match to.cmp(&at) {
            _ if self.cluster.scope().operator == Operator::Careless => self.state.used.crashes += 1,
            std::cmp::Ordering::Less => {
                self.saw(Case::Rollback);
                self.state.used.rollbacks += 1;
            }
            std::cmp::Ordering::Equal => self.state.used.crashes += 1,
            std::cmp::Ordering::Greater => {}
        }
        if stop == Stop::Leave {
            self.depart(index);
        }
        let others = || members.clone().filter(|&member| member != index);
        others().for_each(|member| self.unlink(index, member));
        for member in others() {
            // A process that has just started has no earlier connection.
            let side = pair(member, index).1;
            self.pair(member, index).late[side].clear();
        }
        self.state.notes.buried(index, Incarnation(life.0 - 1));
        self.place(NodeModel::start(index, to, life, &self.cluster.build));
        if self.hear_at_once() {
            others().for_each(|member| self.disconnect(member, index));
        }
    }

    /// A node leaves in good order: all that it says gets there.
    fn depart(&mut self, index: usize) {
        self.saw(Case::Departed);
        self.at(index, |node, _| node.leave());
        if !self.state.nodes[index].jobs.is_empty() {
            let what = format!("{} has left, and a job of it runs", name(index));
            self.state.notes.breaks(Rule::RunsAfterDeparture, what);
        }
        for member in self.state.nodes[index].members() {
            if !(self.state.is_live(index, member) && self.state.is_live(member, index)) {
                continue;
            }
            while self.state.nodes[member].is_peer_behind(index) {
                self.at(member, |node, _| node.go_on(Some(index)));
            }
            let side = pair(index, member).1;
            let Way { lane, bulk } = std::mem::take(&mut self.pair(index, member).ways[side]);
            bulk.into_iter().for_each(|(id, body)| self.hear_payload(member, index, id, body));
            self.hear(member, index, &lane);
            let peer = self.node(member).peer_mut(index);
            let connection = peer.connection();
            peer.handle_departed(NOW, connection);
            self.unlink(index, member);
            self.drain(member);
        }
    }

    fn hear(&mut self, at: usize, from: usize, bytes: &[u8]) {
        let peer = self.node(at).peer_mut(from);
        let connection = peer.connection();
        peer.handle_bytes(NOW, connection, bytes);
    }

    fn hear_payload(&mut self, at: usize, from: usize, id: BulkId, body: Bytes) {
        let peer = self.node(at).peer_mut(from);
        let connection = peer.connection();
        peer.handle_bulk(NOW, connection, id, body);
    }

    /// The writer of a node takes what is encoded for another.
    pub(super) fn write(&mut self, index: usize, member: usize) {
        let Some(written) = self.node(index).write(NOW, member) else { return };
        let peer = self.node(index).peer_mut(member);
        written.bulk.iter().for_each(|(_, body)| peer.handle_bulk_sent(NOW, peer.connection(), body.len()));
        self.state.notes.wrote(index, member, &written);
        // Where the other end is gone, and this one has not heard, it goes nowhere.
        if self.state.is_live(index, member) {
            let way = &mut self.pair(index, member).ways[pair(index, member).1];
            way.lane.extend_from_slice(&written.lane);
            way.bulk.extend(written.bulk);
        }
    }

    /// A node's state has let go of a connection.
    pub(super) fn close(&mut self, index: usize, member: usize) {
        if self.state.is_live(index, member) {
            self.unlink(index, member);
            if self.hear_at_once() {
                self.disconnect(member, index);
            }
        }
        self.node(index).disconnect(NOW, member);
    }

    fn hello_of(&self, index: usize) -> Hello {
        self.state.nodes[index].hello()
    }

    /// A node takes the hello of another, given the one that it sent itself.
    pub(super) fn take_hello(&mut self, index: usize, member: usize, ours: &Hello, theirs: &Hello) -> Option<Session> {
        let Some(theirs) = over_the_wire(theirs) else {
            let what = format!("{} cannot read the hello of {}", name(index), name(member));
            self.state.notes.breaks(Rule::HelloUnread, what);
            return None;
        };
        let taken = self.node(index).rollout_mut().handle_hello(ours, &theirs, CLOCK);
        if let (Err(_), Some(met)) = (&taken, self.state.nodes[index].met(member)) {
            self.node(index).peer_mut(member).handle_met(NOW, met);
        }
        let agreed = match taken {
            Ok(agreement) => Some(Session::of(ours, &theirs, agreement)),
            Err(HandshakeError::Refused(refusal)) => {
                self.saw(Case::Refused);
                let refusal = nameless(refusal, &ours.node);
                self.node(index).peer_mut(member).handle_refused(NOW, theirs.incarnation, refusal);
                None
            }
            Err(_) => None,
        };
        self.drain(index);
        agreed
    }

    /// One end connects and the other does not, so the connection is over as soon as it is there.
    fn connect_in_vain(&mut self, at: usize, of: usize, session: Session) {
        let peer = self.node(at).peer_mut(of);
        let connection = peer.handle_connected(NOW, session);
        peer.handle_disconnected(NOW, connection);
        self.drain(at);
    }
}

/// The number of an earlier connection: any that is not in use.
const EARLIER: ConnectionId = ConnectionId(u64::MAX);

/// A refusal that stands for as long as both keep their releases.
fn final_refusal() -> Box<Refusal> {
    let party = |node: &str| Party {
        node: NodeName::new(node).expect("letters make a name"),
        release: Version::new(1, 0, 0),
        wire: WireVersion::V1.into(),
    };
    Box::new(Refusal::NotNeighbours { first: party("own"), second: party("other") })
}

/// A refusal without the nodes' names, which a peer keeps: its state must not depend on whom it stands for.
fn nameless(mut refusal: Box<Refusal>, own: &NodeName) -> Box<Refusal> {
    let rename = |party: &mut Party| {
        let name = if party.node == *own { "own" } else { "other" };
        party.node = NodeName::new(name).expect("letters make a name");
    };
    match &mut *refusal {
        Refusal::NotNeighbours { first, second } | Refusal::NoCommonWire { first, second } => {
            if second.node == *own {
                std::mem::swap(first, second);
            }
            [first, second].into_iter().for_each(rename);
        }
        Refusal::NotTaken { sender, receiver, .. } => [sender, receiver].into_iter().for_each(rename),
        // Never kept, since it is to be tried again, or never met.
        _ => {}
    }
    refusal
}
