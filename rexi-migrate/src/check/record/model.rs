//! The record of a few members as a [`Model`]: where it begins, what a step does, which states count as one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rexi_proto::NodeName;
use rexi_proto::record::{ClusterChange, ClusterRecord, Digest, Intent, Keeper, Kept};

use super::action::Action;
use super::bounds::Bounds;
use super::state::{Disk, Node, Process, State, Used};
use super::step::Stepper;
use super::witness::SENTENCES;
use crate::model::name;
use crate::search::{Broken, Fingerprint, Model};

/// All that may come of a record within bounds.
#[derive(Clone, Debug)]
pub struct Records {
    pub(super) bounds: Bounds,
}

impl Records {
    /// The model within these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds }
    }

    pub(super) fn members(&self, lists_all: bool) -> BTreeSet<NodeName> {
        let unlisted = if lists_all { 0 } else { self.bounds.unlisted };
        (0..self.bounds.nodes - unlisted).map(name).collect()
    }

    /// The number of a member.
    pub(super) fn index(&self, member: &NodeName) -> usize {
        (0..self.bounds.nodes).find(|&index| name(index) == *member).expect("a member has a number")
    }

    /// The record that there is at first.
    fn first_record(&self) -> Arc<ClusterRecord> {
        let Bounds { releases, window: (floor, top), .. } = &self.bounds;
        let intent = Intent {
            cluster: "c".into(),
            epoch: 1,
            attempt: 1,
            previous: Digest::default(),
            change: ClusterChange::Begin { floor: releases[*floor], top: releases[*top] },
            members: self.members(false),
            lives: BTreeMap::new(),
            by: "operator".into(),
            at: 0,
        };
        Arc::new(intent.record(None).expect("it may begin so"))
    }

    fn node(&self, index: usize, record: &Arc<ClusterRecord>) -> Arc<Node> {
        let Bounds { begun, nodes, unlisted, mutants, .. } = self.bounds;
        let record = (begun && index < nodes - unlisted).then(|| Arc::clone(record));
        let kept = Kept { record, ..Kept::nothing(name(index)) };
        let keeper = Keeper::new(kept.clone()).with_mutants(mutants);
        let disk = if kept.record.is_some() { Disk::Holds(kept) } else { Disk::Empty };
        let (release, asked) = (self.bounds.runs, BTreeMap::new());
        let process = Some(Process { keeper, writing: None, release, asked, tickets: 0 });
        Arc::new(Node { disk, process, starts: 1, lists_all: false, is_lost: false, is_emptied: false })
    }
}

impl Model for Records {
    type State = State;
    type Action = Action;

    fn initial(&self) -> Vec<State> {
        let wishes = self.bounds.wishes.len();
        let record = self.first_record();
        let mut state = State {
            nodes: (0..self.bounds.nodes).map(|index| self.node(index, &record)).collect(),
            drivers: vec![None; wishes.max(2)],
            flights: Vec::new(),
            wishes: (0..wishes.max(2)).map(|wish| wish < wishes).collect(),
            used: Used::default(),
            given_up: BTreeSet::new(),
            met: 0,
            broken: None,
            print: Fingerprint::default(),
        };
        state.print_anew();
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn step(&self, state: &State, action: &Action) -> Option<State> {
        let mut stepper = Stepper { model: self, state: State { met: 0, ..state.clone() } };
        stepper.apply(*action);
        stepper.judge(state);
        let mut state = stepper.state;
        state.forget_given_up();
        state.print_anew();
        Some(state)
    }

    fn check(&self, state: &State) -> Result<(), Broken> {
        state.broken.as_deref().map_or(Ok(()), |broken| Err(broken.clone()))
    }

    fn fingerprint(&self, state: &State) -> Fingerprint {
        state.print
    }

    fn cases(&self) -> &[&'static str] {
        &SENTENCES
    }

    fn met(&self, state: &State) -> u64 {
        state.met
    }

    fn is_goal(&self, state: &State) -> bool {
        let lost = |index: &usize| self.bounds.lost == Some(*index) && state.nodes[*index].is_lost;
        let members: Vec<usize> = (0..self.bounds.nodes).filter(|index| !lost(index)).collect();
        let settled = |index: &usize| {
            let node = &state.nodes[*index];
            let kept = node.disk.kept()?;
            let process = node.process.as_ref().filter(|process| process.writing.is_none())?;
            let is_served = process.keeper.may_start(self.bounds.releases[process.release]).is_ok();
            (is_served && kept.vote.is_none() && kept.fence.is_none()).then(|| kept.record.clone()).flatten()
        };
        let mut records = members.iter().map(settled);
        let first = records.next().flatten();
        let is_one = first.is_some() && records.all(|record| record == first);
        let has_lost = (0..self.bounds.nodes).any(|index| lost(&index));
        let is_forgotten = !has_lost || self.bounds.lost.is_none_or(|lost| self.is_forgotten(state, lost));
        let has_nothing = |node: &Arc<Node>| {
            let kept = node.disk.kept();
            kept.is_none_or(|kept| kept.record.is_none() && kept.vote.is_none() && kept.fence.is_none())
        };
        let nobody_began = !self.bounds.begun && state.nodes.iter().all(has_nothing);
        state.drivers.iter().all(Option::is_none) && is_forgotten && (is_one || nobody_began)
    }
}
