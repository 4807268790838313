//! The record of a few members as a [`Model`]: where it begins, what a step does, which states count as one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rexi_proto::NodeName;
use rexi_proto::record::{ClusterChange, ClusterRecord, Digest, Intent, Keeper, KeeperAsk, Kept};

use super::action::Action;
use super::bounds::Bounds;
use super::state::{Disk, Flight, Node, Process, State, Used};
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
        let is_listed = |index: &usize| lists_all || self.bounds.joiner != Some(*index);
        (0..self.bounds.nodes).filter(is_listed).map(name).collect()
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

    /// The first member has what it alone knows to be decided, and the others have their yes.
    fn go_half_way(&self, state: &mut State, first: &ClusterRecord) {
        let members = self.members(false);
        let intent = Arc::new(Intent {
            cluster: Arc::clone(&first.cluster),
            epoch: 2,
            attempt: 1,
            previous: first.digest(),
            change: ClusterChange::Finalize { floor: first.top },
            members: members.clone(),
            lives: BTreeMap::new(),
            by: "operator".into(),
            at: 0,
        });
        let record = Arc::new(intent.record(Some(first)).expect("it follows"));
        for index in 0..members.len() {
            let node = state.node(index);
            let vote = (index > 0).then(|| Arc::clone(&intent));
            let held = if index > 0 { first.clone() } else { (*record).clone() };
            let kept = Kept { record: Some(Arc::new(held)), vote, ..Kept::nothing(name(index)) };
            node.disk = Disk::Holds(kept.clone());
            if let Some(process) = &mut node.process {
                process.keeper = Keeper::new(kept).with_mutants(self.bounds.mutants);
            }
        }
        // Its driver is gone.
        let flight = Flight { from: (0, 0), round: 0, to: 1, ask: KeeperAsk::Take(record, name(0)) };
        state.flights.push(Arc::new(flight));
    }

    fn node(&self, index: usize, record: &Arc<ClusterRecord>) -> Arc<Node> {
        let Bounds { begun, joiner, mutants, .. } = self.bounds;
        let record = (begun && joiner != Some(index)).then(|| Arc::clone(record));
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
        if self.bounds.half_way {
            self.go_half_way(&mut state, &record);
        }
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
        let lost = |index: &usize| self.bounds.lost.contains(index) && state.nodes[*index].is_lost;
        let members: Vec<usize> = (0..self.bounds.nodes).filter(|index| !lost(index)).collect();
        let settled = |index: &usize| {
            let node = &state.nodes[*index];
            let kept = node.disk.kept()?;
            let process = node.process.as_ref().filter(|process| process.writing.is_none())?;
            let is_served = process.keeper.may_start(self.bounds.releases[process.release]).is_ok();
            let is_at_rest = kept.vote.is_none() && kept.fence.is_none() && kept.anew.is_none();
            (is_served && is_at_rest).then(|| kept.record.clone()).flatten()
        };
        let mut records = members.iter().map(settled);
        let first = records.next().flatten();
        let is_one = first.is_some() && records.all(|record| record == first);
        let is_forgotten = self.to_forget(state).is_empty();
        let has_nothing = |node: &Arc<Node>| {
            let kept = node.disk.kept();
            kept.is_none_or(|kept| kept.record.is_none() && kept.vote.is_none() && kept.fence.is_none())
        };
        let nobody_began = !self.bounds.begun && state.nodes.iter().all(has_nothing);
        state.drivers.iter().all(Option::is_none) && is_forgotten && (is_one || nobody_began)
    }
}
