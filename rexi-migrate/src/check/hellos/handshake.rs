//! The handshake taken apart: a dial makes both hellos, and each end then reads, judges and attaches on its own.

use std::sync::Arc;

use rexi_proto::{HandshakeError, Incarnation, Profile, Refusal, Session};

use super::super::state::NOW;
use super::oracle::Oracle;
use super::state::{End, Stage, State, Wire};
use super::step::Stepper;
use super::witness::Case;
use crate::model::{name, over_the_wire};

impl Stepper<'_> {
    pub(super) fn dial(&mut self, low: usize, high: usize) {
        self.state.used.dials += 1;
        let hellos = [low, high].map(|index| self.state.nodes[index].hello());
        let end = |index: usize, ours: usize| End {
            stage: Stage::Opening(
                Box::new([hellos[ours].clone(), hellos[1 - ours].clone()]),
                known_holdouts(&self.state, index),
            ),
            lane: Vec::new(),
            lost: false,
        };
        let wire = Wire { between: [low, high], ends: [end(low, 0), end(high, 1)], cut: false };
        // Of connections of different pairs none is the older.
        let at = self.state.wires.iter().rposition(|other| other.between <= wire.between).map_or(0, |at| at + 1);
        self.state.wires.insert(at, Arc::new(wire));
    }

    /// The hello of the other end arrives.
    pub(super) fn hear(&mut self, at: usize, side: usize) {
        let (index, member) = self.state.wires[at].of(side);
        let Stage::Opening(hellos, holdouts) = self.state.wires[at].ends[side].stage.clone() else { return };
        let [ours, theirs] = *hellos;
        let Some(theirs) = over_the_wire(&theirs) else {
            return self
                .breaks(Oracle::HelloUnread, format!("{} cannot read the hello of {}", name(index), name(member)));
        };
        let known = Profile::train();
        let release = known.iter().position(|profile| *profile.release() == theirs.release);
        let release = release.expect("all run releases of the train");
        let said = (theirs.incarnation, theirs.phase_epoch, release);
        let read = &mut self.node(index).seen[member].hello;
        let earlier = read.is_some_and(|(life, ..)| theirs.incarnation < life);
        *read = (*read).max(Some(said));
        if earlier {
            self.saw(Case::EarlierLife);
        }
        let verdict = self.node(index).rollout.handle_hello(&ours, &theirs);
        match verdict {
            Ok(agreement) => {
                if earlier {
                    let (index, member) = (name(index), name(member));
                    let what = format!("{index} agrees with an earlier life of {member} than the last that said hello");
                    self.breaks(Oracle::EarlierLifeAgreed, what);
                }
                let session = Session::of(&ours, &theirs, agreement);
                self.wire(at).ends[side].stage = Stage::Agreed(session, holdouts);
            }
            Err(error) => {
                self.close_end(at, side);
                match error {
                    HandshakeError::Refused(refusal) => {
                        let by_holdout = matches!(*refusal, Refusal::SingletonInUse { .. });
                        self.saw(if by_holdout { Case::HoldoutNamed } else { Case::Refused });
                        self.peer(index, member).handle_refused(NOW, theirs.incarnation, refusal);
                    }
                    HandshakeError::PhaseMoved => self.saw(Case::PhaseMoved),
                    _ => {}
                }
            }
        }
        self.drain(index);
    }

    pub(super) fn attach(&mut self, at: usize, side: usize) {
        let (index, member) = self.state.wires[at].of(side);
        let Stage::Agreed(session, holdouts) = self.state.wires[at].ends[side].stage.clone() else { return };
        if session.phase_epoch != self.state.nodes[index].rollout.epoch() {
            self.saw(Case::PhaseMoved);
        }
        let life = session.incarnation;
        let latest = &mut self.node(index).seen[member].attached;
        if latest.is_some_and(|latest| life < latest) {
            // As the shell does: a later life was attached since the hellos, so this connection is of the past.
            self.saw(Case::OfThePast);
            return self.close_end(at, side);
        }
        *latest = Some(life);
        self.judge_holdouts(index, member, life, &holdouts);
        let replaced = self.state.attached(index, member);
        self.peer(index, member).handle_connected(NOW, session);
        if let Some((other, side)) = replaced {
            self.saw(Case::Replaced);
            self.close_end(other, side);
        }
        self.wire(at).ends[side].stage = Stage::Attached;
        self.drain(index);
    }
}

/// The nodes that send to the singleton and of which `witness` must know it: it names them, or it is attached to them
/// and nothing is on its way.
fn known_holdouts(state: &State, witness: usize) -> Vec<(usize, Incarnation)> {
    let named = state.nodes[witness].hello().holdouts;
    let others = state.nodes.iter().enumerate().filter(|&(index, _)| index != witness);
    let told = |index: usize| state.is_connected(witness, index) && state.is_quiet(witness, index);
    let known =
        others.filter(|(index, node)| node.needs_singleton() && (named.contains(&name(*index)) || told(*index)));
    known.map(|(index, node)| (index, node.life)).collect()
}
