//! Hellos in every order as a [`Model`]: where it begins, what a step does, which states count as one.

use rexi_proto::{Limits, Unlimited};

use super::super::witness::met;
use super::action::Action;
use super::bounds::Bounds;
use super::judge::judge;
use super::oracle::Oracles;
use super::state::{FIRST, State, Used};
use super::step::Stepper;
use super::witness::{CASES, SENTENCES};
use crate::model::{Build, World};
use crate::search::{Broken, Fingerprint, Model};

/// All that may come of hellos within bounds.
#[derive(Clone, Debug)]
pub struct Hellos {
    pub(super) bounds: Bounds,
    /// What its nodes are built with.
    pub(super) build: Build,
    /// What is asked: all, but in tests of what each is for.
    pub(super) oracles: Oracles,
}

impl Hellos {
    /// The model within these bounds.
    pub fn new(bounds: Bounds) -> Self {
        let Bounds { nodes, mutants, ref train, .. } = bounds;
        let build = Build::new(nodes, train, Limits::default(), Unlimited, mutants);
        Self { bounds, build, oracles: Oracles::ALL }
    }

    /// Nodes of one release that have just started, and know nobody.
    fn strangers(&self, release: usize) -> State {
        let nodes = (0..self.bounds.nodes).map(|index| self.node(index, release, FIRST));
        let world = World::new(nodes.collect(), true);
        let aside = vec![None; self.bounds.nodes];
        let state = State { world, aside, used: Used::default(), broken: None, print: Fingerprint::default() };
        Stepper { model: self, state }.seal()
    }

    /// The same nodes, each connected to each other, and all said. Nothing is taken from the budget.
    fn acquainted(&self, strangers: &State) -> State {
        let mut state = strangers.clone();
        for high in 0..self.bounds.nodes {
            for low in 0..high {
                state = self.after(&state, Action::Dial(low, high));
            }
        }
        loop {
            let mut actions = Vec::new();
            self.possible(&state, &mut actions);
            let passes =
                |action: &&Action| matches!(action, Action::Hear(..) | Action::Attach(..) | Action::Deliver(..));
            let Some(&action) = actions.iter().find(passes) else { break };
            state = self.after(&state, action);
        }
        state.used = Used::default();
        state.print_anew();
        state
    }

    /// The state after an action; what was broken before stays so.
    fn after(&self, state: &State, action: Action) -> State {
        let mut stepper = Stepper::new(self, state);
        stepper.apply(action);
        let after = stepper.seal();
        State { broken: state.broken.clone().or(after.broken.clone()), ..after }
    }
}

impl Model for Hellos {
    type State = State;
    type Action = Action;

    fn initial(&self) -> Vec<State> {
        let both = |&release: &usize| {
            let strangers = self.strangers(release);
            let acquainted = self.acquainted(&strangers);
            // What breaks on the way there is found from the strangers, with its trace.
            let whole = acquainted.broken.is_none();
            [strangers].into_iter().chain(whole.then_some(acquainted))
        };
        self.bounds.starts.iter().flat_map(both).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn step(&self, state: &State, action: &Action) -> Option<State> {
        let mut stepper = Stepper::new(self, state);
        stepper.apply(*action);
        Some(stepper.seal())
    }

    fn check(&self, state: &State) -> Result<(), Broken> {
        state.broken.as_ref().map_or_else(|| judge(self.oracles, state), |broken| Err((**broken).clone()))
    }

    fn fingerprint(&self, state: &State) -> Fingerprint {
        state.print
    }

    fn cases(&self) -> &[&'static str] {
        &SENTENCES
    }

    fn met(&self, state: &State) -> u64 {
        met(&CASES, state.world.notes.met)
    }
}
