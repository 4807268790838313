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

    pub(super) fn members(&self, lists_all: bool, state: Option<&State>) -> BTreeSet<NodeName> {
        let is_dropped = |index: usize| state.is_some_and(|state| state.nodes[index].is_dropped);
        let is_listed = |index: &usize| (lists_all || self.bounds.joiner != Some(*index)) && !is_dropped(*index);
        (0..self.bounds.nodes).filter(is_listed).map(name).collect()
    }

    /// The number of a member.
    pub(super) fn index(&self, member: &NodeName) -> usize {
        (0..self.bounds.nodes).find(|&index| name(index) == *member).expect("a member has a number")
    }

    /// What all members say yes to, after a record or before there is one.
    fn intent(&self, before: Option<&ClusterRecord>, change: ClusterChange) -> Arc<Intent> {
        Arc::new(Intent {
            cluster: CLUSTER.into(),
            epoch: before.map_or(1, |record| record.epoch + 1),
            attempt: 1,
            previous: before.map_or_else(Digest::default, ClusterRecord::digest),
            change,
            members: self.members(false, None),
            lives: BTreeMap::new(),
            by: "operator".into(),
            at: 0,
        })
    }

    /// The record that there is at first.
    fn first_record(&self) -> Arc<ClusterRecord> {
        let Bounds { releases, window: (floor, top), .. } = &self.bounds;
        let begin = ClusterChange::Begin { floor: releases[*floor], top: releases[*top] };
        Arc::new(self.intent(None, begin).record(None).expect("it may begin so"))
    }

    /// The change that is half-way at first, and what it becomes.
    fn half_way(&self, first: &ClusterRecord) -> Option<(Arc<Intent>, Arc<ClusterRecord>)> {
        self.bounds.half_way.then(|| {
            let intent = self.intent(Some(first), ClusterChange::Finalize { floor: first.top });
            let record = intent.record(Some(first)).expect("it follows");
            (intent, Arc::new(record))
        })
    }

    fn node(&self, kept: Kept) -> Arc<Node> {
        let keeper = Keeper::new(kept.clone()).with_mutants(self.bounds.mutants);
        let disk = if kept.record.is_some() { Disk::Holds(kept) } else { Disk::Empty };
        let (release, asked) = (self.bounds.runs, BTreeMap::new());
        let process = Some(Process { keeper, writing: None, release, asked, tickets: 0 });
        Arc::new(Node {
            disk,
            process,
            starts: 1,
            lists_all: false,
            is_lost: false,
            is_emptied: false,
            is_dropped: false,
        })
    }
}

impl Model for Records {
    type State = State;
    type Action = Action;

    fn initial(&self) -> Vec<State> {
        let wishes = self.bounds.wishes.len();
        let first = self.first_record();
        let half_way = self.half_way(&first);
        let kept = |index: usize| {
            let nothing = Kept::nothing(name(index));
            match &half_way {
                _ if !self.bounds.begun || self.bounds.joiner == Some(index) => nothing,
                // It alone knows that the change is decided.
                Some((_, record)) if index == 0 => Kept { record: Some(Arc::clone(record)), ..nothing },
                _ => {
                    let vote = half_way.as_ref().map(|(intent, _)| Arc::clone(intent));
                    Kept { record: Some(Arc::clone(&first)), vote, ..nothing }
                }
            }
        };
        // Its driver is gone.
        let given = |(_, record): &(_, Arc<ClusterRecord>)| {
            let ask = KeeperAsk::Take(Arc::clone(record), name(0));
            Arc::new(Flight { from: (0, 0), round: 0, to: 1, ask })
        };
        let mut state = State {
            nodes: (0..self.bounds.nodes).map(|index| self.node(kept(index))).collect(),
            drivers: vec![None; wishes.max(2)],
            flights: half_way.iter().map(given).collect(),
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
        let nobody_began = !self.bounds.begun && members.iter().all(|&index| has_nothing(&state.nodes[index]));
        state.drivers.iter().all(Option::is_none) && is_forgotten && (is_one || nobody_began)
    }
}

/// The cluster of the search.
pub(super) const CLUSTER: &str = "c";
