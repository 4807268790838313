//! The cluster as a [`Model`]: where it begins, what a step does, and which states count as one.

use std::sync::Arc;

use rexi_proto::{Incarnation, Unlimited};

use super::action::Action;
use super::judge;
use super::oracle::Oracles;
use super::scope::Scope;
use super::share::Shared;
use super::state::{Pair, Printed, Stage, State, Used};
use super::step::Stepper;
use super::turns::{Turns, print_pair};
use super::witness::{CASES, SENTENCES, met};
use crate::model::{Build, NodeModel, Observer, Way};
use crate::search::{Broken, Fingerprint, Model};

/// All clusters that a scope admits.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(super) scope: Scope,
    pub(super) turns: Turns,
    pub(super) shared: Arc<Shared>,
    /// What its nodes are built with.
    pub(super) build: Build,
    /// Where every node begins, as a place in the scope's train.
    pub(super) start: Vec<usize>,
    /// What is asked: all, but in tests of what each is for.
    pub(super) oracles: Oracles,
}

impl Cluster {
    /// The clusters of a scope: every node begins in the first release, and none is connected.
    pub fn new(scope: Scope) -> Self {
        let start = vec![0; scope.nodes];
        let (turns, oracles) = (Turns::new(scope.nodes, scope.symmetry), Oracles::ALL);
        let build = Build::new(scope.nodes, &scope.train, scope.limits(), Unlimited, scope.mutants);
        let build = Build { in_turns: scope.parts, ..build };
        Self { turns, shared: Arc::default(), build, scope, start, oracles }
    }

    /// The same, but each node begins at a place of the train of its own. Symmetric as ever: nodes differ in what they
    /// run alone.
    pub fn starting_at(scope: Scope, start: Vec<usize>) -> Self {
        Self { start, ..Self::new(scope) }
    }

    /// What the clusters are bounded by.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    fn begin(&self) -> State {
        let mut notes = Observer::default();
        let nodes = self.start.iter().enumerate().map(|(index, &at)| {
            let mut node = Printed::new(NodeModel::start(index, at, Incarnation(1), &self.build));
            notes.started(index, node.stop());
            node.node.forget_touched();
            self.print_all(&mut node);
            Arc::new(node)
        });
        let mut pair = Pair::default();
        pair.prints = print_pair(&pair);
        let pair = Arc::new(pair);
        let mut state = State {
            nodes: nodes.collect(),
            pairs: vec![pair; self.scope.nodes * (self.scope.nodes - 1) / 2],
            notes,
            used: Used::default(),
            broken: None,
            print: Fingerprint::default(),
        };
        state.print = self.turns.print(&state);
        state
    }

    /// All prints of a node that has just started.
    pub(super) fn print_all(&self, node: &mut Printed) {
        for member in node.members() {
            node.prints.peers[member] = Fingerprint::of(node.peer(member));
        }
        self.turns.print_rollout(node);
        self.turns.print_singleton(node);
        self.turns.print_node(node);
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn initial(&self) -> Vec<State> {
        vec![self.begin()]
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
        match &state.broken {
            Some(broken) => Err((**broken).clone()),
            None => judge::judge(self.oracles, state),
        }
    }

    fn fingerprint(&self, state: &State) -> Fingerprint {
        state.print
    }

    fn cases(&self) -> &[&'static str] {
        &SENTENCES
    }

    fn met(&self, state: &State) -> u64 {
        met(&CASES, state.notes.met)
    }

    fn is_goal(&self, state: &State) -> bool {
        let last = self.scope.train.len() - 1;
        let idle = |node: &Arc<Printed>| {
            node.release == last && node.jobs.is_empty() && node.queue.is_empty() && !node.is_behind()
        };
        let silent = |pair: &Arc<Pair>| pair.stage == Stage::Up && pair.ways.iter().all(Way::is_empty);
        state.nodes.iter().all(idle)
            && state.pairs.iter().all(silent)
            && state.notes.calls.iter().all(|call| !call.is_open())
    }
}
