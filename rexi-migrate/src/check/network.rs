//! Connections and lives: handshakes with real hellos, what breaks, who restarts as what, and phases that move.

use bytes::{Bytes, BytesMut};
use rexi_proto::{
    BulkId, ConnectionId, DownReason, FrameBuffer, HELLO_BYTES_MAX, HandshakeError, Hello, Incarnation, LimitingFactor,
    Limits, NodeName, Party, Profile, Refusal, Session,
};

use super::action::{Stop, Straggler};
use super::oracle::Oracle;
use super::scope::{Notice, Operator};
use super::state::{Late, NOW, Node, Stage, frames, name, pair};
use super::step::Stepper;
use super::witness::Case;

impl Stepper<'_> {
    /// The first frame on its way arrives.
    pub(super) fn deliver(&mut self, from: usize, to: usize) {
        let side = pair(from, to).1;
        let lane = &mut self.pair(from, to).lanes[side];
        let bytes = frames(lane).next().map_or(lane.len(), <[u8]>::len);
        let frame: Vec<u8> = lane.drain(..bytes).collect();
        self.hear(to, from, &frame);
        self.drain(to);
    }

    /// A payload on its way arrives.
    pub(super) fn deliver_payload(&mut self, from: usize, to: usize, number: usize) {
        let side = pair(from, to).1;
        let (id, body) = self.pair(from, to).bulks[side].remove(number);
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
                let peer = self.peer(at, of);
                match late {
                    Late::Frame(bytes) => peer.handle_bytes(NOW, EARLIER, &bytes),
                    Late::Payload(id, body) => peer.handle_bulk(NOW, EARLIER, id, body),
                }
            }
            Straggler::End => self.peer(at, of).handle_disconnected(NOW, EARLIER),
            Straggler::Departure => self.peer(at, of).handle_departed(NOW, EARLIER),
            Straggler::Refusal => self.peer(at, of).handle_refused(NOW, Incarnation(0), final_refusal()),
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
                self.peer(one, other).handle_connected(NOW, first);
                self.peer(other, one).handle_connected(NOW, second);
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
            self.peer(to, from).handle_connected(NOW, session);
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
            self.peer(from, to).handle_connected(NOW, session);
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
            let (lane, bulks) = (std::mem::take(&mut pair.lanes[side]), std::mem::take(&mut pair.bulks[side]));
            if may_come {
                pair.late[side].extend(frames(&lane).map(|frame| Late::Frame(frame.to_vec())));
                pair.late[side].extend(bulks.into_iter().map(|(id, body)| Late::Payload(id, body)));
            }
        }
        for call in &mut self.state.calls {
            if !call.over && (call.by, call.to) == (one, other) || (call.by, call.to) == (other, one) {
                call.lossy = true;
            }
        }
    }

    /// An end learns that its connection is gone.
    pub(super) fn disconnect(&mut self, at: usize, of: usize) {
        if self.state.nodes[at].is_up(of) {
            let peer = self.peer(at, of);
            let connection = peer.connection();
            peer.handle_disconnected(NOW, connection);
            self.drain(at);
        }
    }

    pub(super) fn restart(&mut self, index: usize, to: usize, stop: Stop) {
        let (node, members) = (&self.state.nodes[index], 0..self.state.nodes.len());
        let (at, incarnation) = (node.at, Incarnation(node.incarnation.0 + 1));
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
        let scope = self.cluster.scope();
        self.place(index, Node::start(scope, index, to, scope.train[to], incarnation));
        if self.hear_at_once() {
            others().for_each(|member| self.disconnect(member, index));
        }
    }

    /// A node leaves in good order: all that it says gets there.
    fn depart(&mut self, index: usize) {
        self.saw(Case::Departed);
        while !self.state.nodes[index].queue.is_empty() {
            self.take(index);
        }
        let others: Vec<usize> = (0..self.state.nodes.len()).filter(|&member| member != index).collect();
        others.iter().for_each(|&member| self.peer(index, member).drain());
        if let Some(singleton) = self.singleton(index) {
            singleton.drain();
            singleton.end(DownReason::Shutdown);
        }
        others.iter().for_each(|&member| self.peer(index, member).end_server());
        self.drain(index);
        if !self.state.nodes[index].jobs.is_empty() {
            self.breaks(Oracle::RunsAfterDeparture, format!("{} has left, and a job of it runs", name(index)));
        }
        for member in others {
            if !(self.state.is_live(index, member) && self.state.is_live(member, index)) {
                continue;
            }
            let side = pair(index, member).1;
            for (id, body) in std::mem::take(&mut self.pair(index, member).bulks[side]) {
                self.hear_payload(member, index, id, body);
            }
            let bytes = std::mem::take(&mut self.pair(index, member).lanes[side]);
            self.hear(member, index, &bytes);
            let peer = self.peer(member, index);
            let connection = peer.connection();
            peer.handle_departed(NOW, connection);
            self.unlink(index, member);
            self.drain(member);
        }
    }

    pub(super) fn lower(&mut self, index: usize) {
        let lowest = self.state.nodes[index].profile().lowest();
        let by = |call: &super::state::Call| call.by == index && !call.over;
        let busy = self.state.calls.iter().enumerate().any(|(at, call)| by(call) && self.state.job_of(at).is_some());
        // A refusal is an answer too, and changes nothing.
        if self.rollout(index).set_ceiling(Some(lowest)).is_ok() {
            self.state.used.flips += 1;
            self.node(index).lowered = true;
            if busy {
                self.saw(Case::FlipWithJobs);
            }
        }
        self.drain(index);
    }

    pub(super) fn lift(&mut self, index: usize) {
        let lifted = self.rollout(index).set_ceiling(None);
        let held = matches!(self.state.nodes[index].rollout.limiting_factor(), LimitingFactor::Ceiling(_));
        if lifted.is_err() || held {
            self.breaks(Oracle::CeilingStays, format!("the ceiling of {} is not lifted", name(index)));
        }
        self.node(index).lowered = false;
        self.drain(index);
    }

    pub(super) fn expire(&mut self, at: usize, of: usize) {
        self.state.used.expiries += 1;
        self.saw(Case::Expired);
        let peer = self.peer(at, of);
        if let Some(until) = peer.deadline() {
            peer.handle_timeout(until);
        }
        self.drain(at);
    }

    fn hear(&mut self, at: usize, from: usize, bytes: &[u8]) {
        let peer = self.peer(at, from);
        let connection = peer.connection();
        peer.handle_bytes(NOW, connection, bytes);
    }

    fn hear_payload(&mut self, at: usize, from: usize, id: BulkId, body: Bytes) {
        let peer = self.peer(at, from);
        let connection = peer.connection();
        peer.handle_bulk(NOW, connection, id, body);
    }

    fn hello_of(&self, index: usize) -> Hello {
        let node = &self.state.nodes[index];
        node.rollout.hello(node.incarnation, &Limits::default())
    }

    /// A node takes the hello of another, given the one that it sent itself.
    pub(super) fn take_hello(&mut self, index: usize, member: usize, ours: &Hello, theirs: &Hello) -> Option<Session> {
        let Some(theirs) = over_the_wire(theirs) else {
            self.breaks(Oracle::HelloUnread, format!("{} cannot read the hello of {}", name(index), name(member)));
            return None;
        };
        let taken = self.rollout(index).handle_hello(ours, &theirs);
        let agreed = match taken {
            Ok(agreement) => Some(Session::of(ours, &theirs, agreement)),
            Err(HandshakeError::Refused(refusal)) => {
                self.saw(Case::Refused);
                let refusal = nameless(refusal, &ours.node);
                self.peer(index, member).handle_refused(NOW, theirs.incarnation, refusal);
                None
            }
            Err(_) => None,
        };
        self.drain(index);
        agreed
    }

    /// One end connects and the other does not, so the connection is over as soon as it is there.
    fn connect_in_vain(&mut self, at: usize, of: usize, session: Session) {
        let peer = self.peer(at, of);
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
        release: Profile::train()[0].release().clone(),
        wire: Profile::train()[0].wire(),
    };
    Box::new(Refusal::NoCommonWire { first: party("own"), second: party("other") })
}

/// A hello as its receiver reads it.
pub(super) fn over_the_wire(hello: &Hello) -> Option<Hello> {
    let mut bytes = BytesMut::new();
    hello.encode(&mut bytes);
    let mut buffer = FrameBuffer::new(HELLO_BYTES_MAX);
    buffer.extend(&bytes);
    let read = Hello::decode(buffer.next_frame().ok()??).ok()?;
    (read == *hello).then_some(read)
}

/// A refusal without the nodes' names, which a peer keeps: its state must not depend on whom it stands for.
fn nameless(mut refusal: Box<Refusal>, own: &NodeName) -> Box<Refusal> {
    let rename = |party: &mut Party| {
        let name = if party.node == *own { "own" } else { "other" };
        party.node = NodeName::new(name).expect("letters make a name");
    };
    match &mut *refusal {
        Refusal::NoCommonWire { first, second } => {
            if second.node == *own {
                std::mem::swap(first, second);
            }
            [first, second].into_iter().for_each(rename);
        }
        Refusal::ServerNotHosted { sender, receiver, .. } => [sender, receiver].into_iter().for_each(rename),
        // Never kept, since it is to be tried again, or never met.
        _ => {}
    }
    refusal
}
