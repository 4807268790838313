//! One step between nodes that say hello: what happens is the model's, what it costs and what of it is past is here.
//!
//! A writer takes what is encoded at once: what it would hold back is lost with its connection, as what is on its way
//! is by a cut.

use std::sync::Arc;

use rexi_proto::{Incarnation, PhaseError};

use super::action::{Action, Clock};
use super::model::Hellos;
use super::state::{FAR_AHEAD, State};
use crate::model::{Cases, EndStage, NodeModel, Parting, Rule, Wire, name};

/// A state on its way to the next.
pub(super) struct Stepper<'a> {
    pub(super) model: &'a Hellos,
    pub(super) state: State,
}

impl<'a> Stepper<'a> {
    pub(super) fn new(model: &'a Hellos, state: &State) -> Self {
        let mut state = State { broken: None, ..state.clone() };
        state.world.notes.met = Cases::default();
        Self { model, state }
    }

    pub(super) fn apply(&mut self, action: Action) {
        let world = &mut self.state.world;
        match action {
            Action::Dial(one, other) => self.dial(one, other),
            Action::Hear(at, side) => world.hear(at, side),
            Action::Attach(at, side) => drop(world.attach(at, side)),
            Action::Deliver(at, side) => world.deliver(at, side, None),
            Action::Cut(at) => self.cut(at),
            Action::Notice(at, side) => world.notice(at, side),
            Action::Restart(index, release, clock) => self.restart(index, release, clock),
            Action::Twin(index) => self.twin(index),
            Action::Return(index) => self.return_first(index),
            Action::Lower(index, migration) => self.lower(index, migration),
            Action::Lift(index, migration) => world.at(index, |node, _, notes| node.lift(migration, notes)),
        }
    }

    /// The finished state.
    pub(super) fn seal(mut self) -> State {
        self.judge_notes();
        let world = &mut self.state.world;
        for index in 0..world.nodes.len() {
            if world.nodes[index].is_touched() {
                let node = world.node(index);
                node.touched_peers().for_each(|member| node.peer_mut(member).forget_past(|_| false));
                node.forget_touched();
            }
        }
        world.wires.retain(|wire| wire.is_open());
        self.state.print_anew();
        self.state
    }

    /// What was noted and is asked is what the step broke.
    pub(super) fn judge_notes(&mut self) {
        self.state.broken = self.model.oracles.broken(&mut self.state.world.notes);
    }

    fn dial(&mut self, low: usize, high: usize) {
        self.state.used.dials += 1;
        // Of connections of different pairs none is the older.
        let wires = &self.state.world.wires;
        let place = wires.iter().rposition(|other| other.between <= [low, high]).map_or(0, |at| at + 1);
        self.state.world.dial(low, high, place);
    }

    fn cut(&mut self, at: usize) {
        self.state.used.cuts += 1;
        self.state.world.cut(at);
        let Wire { ends, .. } = self.state.world.wire(at);
        // The other's hello is lost too, and nothing was made of the connection yet.
        let opening = ends.iter_mut().filter(|end| matches!(end.stage, EndStage::Opening(..)));
        opening.for_each(|end| end.stage = EndStage::Closed);
    }

    fn restart(&mut self, index: usize, release: usize, clock: Clock) {
        let used = &mut self.state.used;
        used.restarts += 1;
        used.clocks += u8::from(clock != Clock::Forward);
        let life = match clock {
            Clock::Forward => Incarnation(self.state.world.nodes[index].life.0 + 1),
            // Below the first, and no two alike.
            Clock::Back => Incarnation(used.restarts.into()),
            Clock::FarAhead => FAR_AHEAD,
        };
        self.state.world.stop(index, Parting::Lost);
        self.state.world.place(self.model.node(index, release, life));
    }

    fn twin(&mut self, index: usize) {
        self.state.used.twins += 1;
        let (release, life) = (self.state.world.nodes[index].release, self.state.world.nodes[index].life);
        self.part_from_all(index);
        self.state.aside[index] = Some(Arc::clone(&self.state.world.nodes[index]));
        self.state.world.place(self.model.node(index, release, Incarnation(life.0 + 1)));
    }

    fn return_first(&mut self, index: usize) {
        self.state.world.stop(index, Parting::Lost);
        if let Some(first) = self.state.aside[index].take() {
            self.state.world.nodes[index] = first;
        }
    }

    /// A node loses all its connections, and knows it.
    fn part_from_all(&mut self, index: usize) {
        for at in 0..self.state.world.wires.len() {
            let Some(side) = (0..2).find(|&side| self.state.world.wires[at].of(side).0 == index) else { continue };
            let member = self.state.world.wires[at].of(side).1;
            let was_attached = self.state.world.wires[at].ends[side].is_attached();
            self.state.world.close_end(at, side);
            if was_attached {
                self.state.world.at(index, |node, now, _| node.disconnect(now, member));
            }
        }
    }

    fn lower(&mut self, index: usize, migration: usize) {
        let lowest = self.state.world.nodes[index].profile().stage_at(migration).lowest();
        match self.state.world.lower(index, (migration, lowest)) {
            Ok(()) => self.state.used.lowers += 1,
            Err(PhaseError::Blocked { .. }) => {}
            Err(error) => {
                let what = format!("{} is not lowered: {error}", name(index));
                self.state.world.notes.breaks(Rule::NotLowered, what);
            }
        }
    }
}

impl Hellos {
    /// A node that has just started. Nobody casts, so it has no use for a singleton.
    pub(super) fn node(&self, index: usize, release: usize, life: Incarnation) -> NodeModel {
        let mut node = NodeModel::start(index, release, life, &self.build);
        node.singleton = None;
        node.seen = vec![Default::default(); self.bounds.nodes];
        node
    }
}
