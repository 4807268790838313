//! Nodes and every connection between them, with handshakes taken apart: what may happen there, one thing at a time.
//!
//! Several connections of two nodes may be open at once, and an end learns of its loss whenever its driver says so. A
//! hello of a life that is over may so be read last. As in a shell, an earlier connection is closed when a later one is
//! attached, and one to an earlier life than that of the last is let go.

use std::sync::Arc;
use std::time::Duration;

use rexi_proto::{
    CloseCode, ConnectionId, Form, HandshakeError, Incarnation, Kind, Phase, PhaseError, Pool, Presence, Refusal,
    Saying, Session, Unlimited,
};

use super::case::Case;
use super::network::{UNKNOWN_KIND, Way, over_the_wire, planted};
use super::node::{NodeModel, name};
use super::observer::Observer;
use super::rule::Rule;
use super::wire::{End, EndStage, Holdout, Parting, Wire};

/// All nodes, and what is between them.
#[derive(Clone, Debug)]
pub struct World<P: Pool = Unlimited> {
    /// Each shared with other copies of the world until it is touched.
    pub nodes: Vec<Arc<NodeModel<P>>>,
    /// Every connection.
    pub wires: Vec<Arc<Wire>>,
    /// What was noted of all that happened.
    pub notes: Observer,
    /// The time.
    pub now: Duration,
    /// Whether a writer takes what is encoded at once.
    pub eager: bool,
}

/// The life of a node that would start now.
pub(crate) const CLOCK: Incarnation = Incarnation(1 << 20);

/// What comes of a connection when another one is in its place.
#[derive(Debug)]
pub struct Late {
    connection: ConnectionId,
    way: Way,
}

impl<P: Pool + Clone> World<P> {
    /// Nodes that have just started, and know nobody.
    pub fn new(nodes: Vec<NodeModel<P>>, eager: bool) -> Self {
        let (wires, now) = (Vec::new(), Duration::ZERO);
        let placed = nodes.iter().cloned().map(Arc::new).collect();
        let mut world = Self { nodes: placed, wires, notes: Observer::default(), now, eager };
        nodes.into_iter().for_each(|node| world.place(node));
        world
    }

    /// Puts a node that has just started into its place.
    pub fn place(&mut self, mut node: NodeModel<P>) {
        node.started = self.now;
        self.notes.started(node.index, node.stop());
        for migration in node.migrations() {
            node.judge_raise(migration, node.profile().stage_at(migration).lowest(), &mut self.notes);
        }
        let index = node.index;
        self.nodes[index] = Arc::new(node);
    }

    /// A node, to be changed.
    pub fn node(&mut self, index: usize) -> &mut NodeModel<P> {
        Arc::make_mut(&mut self.nodes[index])
    }

    /// A connection, to be changed.
    pub fn wire(&mut self, at: usize) -> &mut Wire {
        Arc::make_mut(&mut self.wires[at])
    }

    /// The time since a node has started.
    pub fn local(&self, index: usize) -> Duration {
        self.now - self.nodes[index].started
    }

    /// Whether both ends of a connection of the two are attached.
    pub fn is_connected(&self, one: usize, other: usize) -> bool {
        self.wires.iter().any(|wire| wire.is_between(one, other) && wire.is_attached())
    }

    /// Whether nothing is on its way between the two.
    pub fn is_quiet(&self, one: usize, other: usize) -> bool {
        let silent = |end: &End| end.way.lane.is_empty() || !end.is_open();
        self.wires.iter().all(|wire| !wire.is_between(one, other) || wire.ends.iter().all(silent))
    }

    /// The attached end of `index` to `member`: its connection and its side.
    pub fn attached(&self, index: usize, member: usize) -> Option<(usize, usize)> {
        let side = |wire: &Wire| (0..2).find(|&side| wire.of(side) == (index, member) && wire.ends[side].is_attached());
        self.wires.iter().enumerate().find_map(|(at, wire)| Some((at, side(wire)?)))
    }

    /// Something is done at a node in the observer's sight, and then all that follows.
    pub fn at(&mut self, index: usize, act: impl FnOnce(&mut NodeModel<P>, Duration, &mut Observer)) {
        let now = self.local(index);
        act(Arc::make_mut(&mut self.nodes[index]), now, &mut self.notes);
        self.drain(index);
    }

    /// Does all that a node's parts want done, closing of connections included.
    pub fn drain(&mut self, index: usize) {
        let now = self.local(index);
        loop {
            let closes = Arc::make_mut(&mut self.nodes[index]).drain(now, &mut self.notes);
            if closes.is_empty() {
                break;
            }
            for close in closes {
                if close.code == CloseCode::BadFrame && self.take_long(index, close.member) {
                    self.notes.saw(Case::LongRefused);
                } else {
                    self.notes.closed(index, &close);
                }
                if let Some((at, side)) = self.attached(index, close.member) {
                    self.close_end(at, side);
                }
                self.node(index).disconnect(now, close.member);
            }
        }
        if self.eager {
            for member in self.nodes[index].touched_peers() {
                self.write(index, member);
            }
        }
    }

    /// The writer of a node takes what is encoded for another; what is lost with its connection goes nowhere.
    pub fn write(&mut self, index: usize, member: usize) {
        let now = self.local(index);
        let Some(written) = self.node(index).write(now, member) else { return };
        self.notes.wrote(index, member, &written);
        let Some((at, side)) = self.attached(index, member) else { return };
        let wire = self.wire(at);
        if !wire.cut && wire.ends[1 - side].is_open() {
            let way = &mut wire.ends[1 - side].way;
            way.lane.extend_from_slice(&written.lane);
            way.bulk.extend(written.bulk);
        }
    }

    /// A connection is opened, and both hellos are made; it gets this place among all.
    pub fn dial(&mut self, one: usize, other: usize, place: usize) {
        let first = self.nodes[one].hello_to(other);
        let second = self.nodes[other].hello_to(one);
        let ends = [
            End::opening(first.clone(), second.clone(), self.known_holdouts(one)),
            End::opening(second, first, self.known_holdouts(other)),
        ];
        let wire = Wire { between: [one, other], ends, cut: false };
        self.wires.insert(place, Arc::new(wire));
    }

    /// The hello of the other end arrives.
    pub fn hear(&mut self, at: usize, side: usize) {
        let (index, member) = self.wires[at].of(side);
        let EndStage::Opening(hellos, holdouts) = &self.wires[at].ends[side].stage else { return };
        if self.wires[at].cut {
            return;
        }
        let [ours, theirs] = &**hellos;
        let (ours, holdouts) = (ours.clone(), holdouts.clone());
        let Some(theirs) = over_the_wire(theirs) else {
            let what = format!("{} cannot read the hello of {}", name(index), name(member));
            return self.notes.breaks(Rule::HelloUnread, what);
        };
        let train = &self.nodes[index].train;
        let release = (0..train.len()).find(|&release| *train.at(release).release() == theirs.release);
        let changes = theirs.migrations.iter().map(|standing| standing.epoch).sum();
        let said = (theirs.incarnation, changes, release.expect("all run releases of the train"));
        let earlier = self.nodes[index].seen[member].hello.is_some_and(|(life, ..)| theirs.incarnation < life);
        if earlier {
            self.notes.saw(Case::EarlierLife);
        }
        let now = self.local(index);
        let node = Arc::make_mut(&mut self.nodes[index]);
        let verdict = node.rollout_mut().handle_hello(&ours, &theirs, CLOCK);
        if !matches!(verdict, Err(HandshakeError::StartsAhead { .. })) {
            let read = &mut node.seen[member].hello;
            *read = (*read).max(Some(said));
        }
        node.tell_phases(now, &mut self.notes);
        match verdict {
            Ok(agreement) => {
                if earlier {
                    let (index, member) = (name(index), name(member));
                    let what = format!("{index} agrees with an earlier life of {member} than the last that said hello");
                    self.notes.breaks(Rule::EarlierLifeAgreed, what);
                }
                let session = Session::of(&ours, &theirs, agreement);
                self.wire(at).ends[side].stage = EndStage::Agreed(session, holdouts);
            }
            Err(error) => {
                self.close_end(at, side);
                self.end_handshake(index, member);
                match error {
                    HandshakeError::Refused(refusal) => {
                        let by_holdout = matches!(*refusal, Refusal::OldFormInUse { .. });
                        self.notes.saw(if by_holdout { Case::HoldoutNamed } else { Case::HandshakeRefused });
                        self.node(index).peer_mut(member).handle_refused(now, theirs.incarnation, refusal);
                    }
                    HandshakeError::PhaseMoved => self.notes.saw(Case::PhaseMoved),
                    HandshakeError::Outlived { .. } => self.notes.saw(Case::Outlived),
                    HandshakeError::StartsAhead { .. } => self.notes.saw(Case::StartsAhead),
                    _ => {}
                }
            }
        }
        self.drain(index);
    }

    /// A handshake of a node has come to its end: no connection to an earlier life than the last is in use.
    fn end_handshake(&mut self, index: usize, member: usize) {
        if let Some(met) = self.nodes[index].met(member) {
            self.at(index, |node, now, _| node.peer_mut(member).handle_met(now, met));
        }
    }

    /// An end whose hellos agree becomes the connection to its peer. Gives what may still come of the one before.
    pub fn attach(&mut self, at: usize, side: usize) -> Option<Late> {
        let (index, member) = self.wires[at].of(side);
        let EndStage::Agreed(session, _) = &self.wires[at].ends[side].stage else { return None };
        let (session, now) = (session.clone(), self.local(index));
        let phases = self.nodes[index].rollout.phases();
        if !phases.iter().map(|now| now.epoch).eq(session.said.iter().copied()) {
            self.notes.saw(Case::PhaseMoved);
        }
        if self.nodes[index].met(member).is_some_and(|met| session.incarnation < met) {
            // As the shell does: a later life has said hello since, so this connection is of the past.
            self.notes.saw(Case::OfThePast);
            self.close_end(at, side);
            self.end_handshake(index, member);
            return None;
        }
        self.judge_holdouts(at, side);
        let replaced = self.attached(index, member);
        let peer = self.node(index).peer_mut(member);
        let connection = peer.connection();
        peer.handle_connected(now, session);
        let late = replaced.map(|(other, side)| {
            self.notes.saw(Case::Replaced);
            let way = std::mem::take(&mut self.wire(other).ends[side].way);
            self.close_end(other, side);
            Late { connection, way }
        });
        if self.notes.faulty {
            self.notes.lost(index, member);
        }
        self.wire(at).ends[side].stage = EndStage::Attached;
        self.drain(index);
        late
    }

    /// All that an earlier connection may still bring when another is in its place, to the node that had it: its frames
    /// and payloads, and its end in both forms.
    pub fn deliver_late(&mut self, index: usize, member: usize, late: Late) {
        let Late { connection, way } = late;
        self.at(index, |node, now, _| {
            let peer = node.peer_mut(member);
            peer.handle_bytes(now, connection, &way.lane);
            way.bulk.into_iter().for_each(|(id, body)| peer.handle_bulk(now, connection, id, body));
            peer.handle_disconnected(now, connection);
            peer.handle_departed(now, connection);
        });
    }

    /// So many bytes of the lane arrive at an attached end, or, if not told how many, a frame.
    pub fn deliver(&mut self, at: usize, side: usize, bytes: Option<usize>) {
        let (index, member) = self.wires[at].of(side);
        let way = &mut self.wire(at).ends[side].way;
        let bytes = match bytes {
            Some(bytes) => way.lane.drain(..bytes.min(way.lane.len())).collect(),
            None => way.take_frame(),
        };
        let now = self.local(index);
        let peer = self.node(index).peer_mut(member);
        let before = peer.stats().unknown_frames;
        peer.handle_bytes(now, peer.connection(), &bytes);
        let counted = peer.stats().unknown_frames - before;
        self.wire(at).ends[side].planted.counted += counted;
        self.drain(index);
        self.judge_planted(at, side);
    }

    /// A payload arrives at an attached end, that of this place, and the writer on the other end is told.
    pub fn deliver_bulk(&mut self, at: usize, side: usize, place: usize) {
        let (index, member) = self.wires[at].of(side);
        let (id, body) = self.wire(at).ends[side].way.bulk.swap_remove(place);
        let bytes = body.len();
        self.at(index, |node, now, _| {
            let peer = node.peer_mut(member);
            peer.handle_bulk(now, peer.connection(), id, body);
        });
        if self.wires[at].ends[1 - side].is_attached() {
            self.at(member, |node, now, _| {
                let peer = node.peer_mut(index);
                peer.handle_bulk_sent(now, peer.connection(), bytes);
            });
        }
    }

    /// A connection breaks with all that is on its way, and nobody knows yet.
    pub fn cut(&mut self, at: usize) {
        let [one, other] = self.wires[at].between;
        self.lose(one, other);
        let wire = self.wire(at);
        wire.cut = true;
        for end in &mut wire.ends {
            end.way.clear();
            end.parting = None;
            (end.planted.unknown, end.planted.long) = (end.planted.counted, false);
        }
    }

    /// An open end learns that its connection is gone, if it is.
    pub fn notice(&mut self, at: usize, side: usize) {
        let (index, member) = self.wires[at].of(side);
        let Some(parting) = self.wires[at].loss(side) else { return };
        let was_attached = self.wires[at].ends[side].is_attached();
        self.close_end(at, side);
        if was_attached {
            self.at(index, |node, now, _| {
                let peer = node.peer_mut(member);
                match parting {
                    Parting::Lost => peer.handle_disconnected(now, peer.connection()),
                    Parting::Departed => peer.handle_departed(now, peer.connection()),
                }
            });
        } else {
            self.end_handshake(index, member);
        }
    }

    /// An end is gone. What it has sent may still be read.
    pub fn close_end(&mut self, at: usize, side: usize) {
        self.part(at, side, Parting::Lost);
    }

    /// An end is gone in that way.
    fn part(&mut self, at: usize, side: usize, parting: Parting) {
        let [one, other] = self.wires[at].between;
        self.lose(one, other);
        let wire = self.wire(at);
        wire.ends[side].stage = EndStage::Closed;
        wire.ends[side].way.clear();
        if !wire.cut {
            wire.ends[1 - side].parting = Some(parting);
        }
    }

    fn lose(&mut self, one: usize, other: usize) {
        self.notes.faulty = true;
        self.notes.lost(one, other);
    }

    /// The life of a node is over, and its ends of connections with it.
    pub fn stop(&mut self, index: usize, parting: Parting) {
        let life = self.nodes[index].life;
        if !self.nodes[index].jobs.is_empty() {
            self.notes.saw(Case::RestartWithJobs);
        }
        self.notes.buried(index, life);
        let node = self.node(index);
        node.down = true;
        node.jobs.clear();
        for at in 0..self.wires.len() {
            for side in 0..2 {
                let wire = &self.wires[at];
                if wire.of(side).0 == index && wire.ends[side].is_open() {
                    self.part(at, side, parting);
                }
            }
        }
    }

    /// A node leaves in good order: all that it says is written.
    pub fn depart(&mut self, index: usize) {
        self.notes.saw(Case::Departed);
        self.at(index, |node, _, _| node.leave());
        for member in self.nodes[index].members() {
            self.write(index, member);
            self.drain(index);
        }
        if !self.nodes[index].jobs.is_empty() {
            let what = format!("{} has left, and a job of it runs", name(index));
            self.notes.breaks(Rule::RunsAfterDeparture, what);
        }
        self.stop(index, Parting::Departed);
    }

    /// The operator of a node sets the ceiling of a migration.
    ///
    /// # Errors
    /// Those of [`NodeModel::lower`].
    pub fn lower(&mut self, index: usize, (migration, ceiling): (usize, Phase)) -> Result<(), PhaseError> {
        let others = self.nodes[index].members().filter(|&member| self.is_connected(index, member));
        let connected: Vec<_> = others.map(|member| (member, self.nodes[member].takes(migration))).collect();
        let now = self.local(index);
        let node = Arc::make_mut(&mut self.nodes[index]);
        let set = node.lower(now, (migration, ceiling), &connected, &mut self.notes);
        self.drain(index);
        set
    }

    /// Puts a frame onto the lane to an end that no node sends: of an unknown kind, or too long for its message.
    pub fn plant(&mut self, at: usize, side: usize, long: bool) {
        let (index, sender) = self.wires[at].of(side);
        if !self.wires[at].ends[1 - side].is_attached() || self.wires[at].cut {
            return;
        }
        let Presence::Up(session, _) = self.nodes[sender].peer(index).presence() else { return };
        let frame = planted(session.wire, if long { Kind::Ping as u8 } else { UNKNOWN_KIND });
        let end = &mut self.wire(at).ends[side];
        end.way.lane.extend(frame);
        end.planted.long |= long;
        end.planted.unknown += u64::from(!long);
    }

    /// Whether a frame that is too long was sent to this node by that member; each connection ends with its first.
    fn take_long(&mut self, index: usize, member: usize) -> bool {
        let long = |wire: &Wire| (0..2).find(|&side| wire.of(side) == (index, member) && wire.ends[side].planted.long);
        let found = self.wires.iter().enumerate().find_map(|(at, wire)| Some((at, long(wire)?)));
        found.is_some_and(|(at, side)| std::mem::take(&mut self.wire(at).ends[side].planted.long))
    }

    /// What was planted was counted or refused, and nothing else was.
    fn judge_planted(&mut self, at: usize, side: usize) {
        let end = &self.wires[at].ends[side];
        if !end.is_attached() || !end.way.lane.is_empty() {
            return;
        }
        let planted = end.planted;
        if planted.counted < planted.unknown {
            self.notes.breaks(Rule::UnknownUncounted, "a frame of an unknown kind was not counted");
        }
        if planted.counted > planted.unknown {
            self.notes.breaks(Rule::KindUnknownToPeer, "a node sent what its peer does not know");
        }
        if planted.long {
            self.notes.breaks(Rule::LongPassedOver, "bytes behind a message's last field were passed over");
        }
    }

    /// The nodes that say the old form of a migration and of which `witness` must know it: it names them, or it is
    /// attached to them and nothing is on its way.
    fn known_holdouts(&self, witness: usize) -> Vec<Holdout> {
        let hello = self.nodes[witness].hello();
        let told = |node: &NodeModel<P>| {
            self.is_connected(witness, node.index)
                && self.is_quiet(witness, node.index)
                && !node.peer(witness).wants_write()
        };
        let known = |node: &Arc<NodeModel<P>>, migration: usize| {
            let named = &hello.migrations[migration].holdouts;
            node.says_old(migration) && (named.contains(&name(node.index)) || told(node))
        };
        let others = self.nodes.iter().filter(|node| node.index != witness && !node.down);
        let of = |node: &Arc<NodeModel<P>>| {
            let (index, life) = (node.index, node.life);
            let all = node.migrations().filter(|&migration| known(node, migration));
            all.map(|migration| Holdout { node: index, life, migration }).collect::<Vec<_>>()
        };
        others.flat_map(of).collect()
    }

    /// Nobody lets in a node that has removed a form who takes that form and knew, when it said hello, of a third that
    /// still says it. (One that has removed it as well is no way to the third.)
    pub fn judge_holdouts(&mut self, at: usize, side: usize) {
        let (witness, member) = self.wires[at].of(side);
        let Some((life, known)) = self.wires[at].ends[side].known_holdouts() else { return };
        let remover = &self.nodes[member];
        if remover.life_to(witness) != life || remover.down {
            return;
        }
        let remains = |holdout: &&Holdout| {
            let node = &self.nodes[holdout.node];
            holdout.node != member
                && self.nodes[witness].takes(holdout.migration).contains(Form::Old)
                && !remover.takes(holdout.migration).contains(Form::Old)
                && node.life == holdout.life
                && !node.down
                && node.says_old(holdout.migration)
        };
        if let Some(&Holdout { node, migration, .. }) = known.iter().find(remains) {
            let (witness, remover, third) = (name(witness), name(member), name(node));
            let (migration, _) = self.nodes[node].profile().migrations().nth(migration).expect("the train has it");
            let saying = Saying { migration: migration.key().clone(), form: Form::Old };
            let (not_taken, said) = (saying.not_taken(), saying.said());
            let what = format!("{witness} attaches to {remover}, which {not_taken}, and {third} {said}");
            self.notes.breaks(Rule::HoldoutLeftBehind, what);
        }
    }
}
