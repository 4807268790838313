//! What must hold of a record in every state, and of what operators are told.

use rexi_proto::record::{Answer, Bar, ClusterChange, ClusterRecord, CommandOutcome, Driver, Kept, SeenLife};

use super::state::{Disk, Node, State};
use super::step::Stepper;
use crate::model::name;
use crate::verdict::invariant::Invariant;

impl Stepper<'_> {
    /// Judges what a step has led to.
    pub(super) fn judge(&mut self, before: &State) {
        self.judge_releases();
        self.judge_disks(before);
        self.judge_given_up();
    }

    /// S12: no process serves whose release its own disk forbids.
    fn judge_releases(&mut self) {
        for index in 0..self.state.nodes.len() {
            let node = &self.state.nodes[index];
            let Some(process) = &node.process else { continue };
            let release = self.model.bounds.releases[process.release];
            let Some(kept) = node.disk.held() else { continue };
            if let Some(floor) = kept.record.as_ref().map(|record| record.floor)
                && release < floor
            {
                self.breaks(Invariant::S12, format!("{} serves {release}, below the floor {floor}", name(index)));
            } else if let Err(bar @ (Bar::BelowFloor { .. } | Bar::BelowPendingFloor { .. } | Bar::AboveTop { .. })) =
                kept.admits(release)
            {
                self.breaks(Invariant::S12, format!("{} serves: {bar}", name(index)));
            }
        }
    }

    /// S12: what is on a disk never falls. S14: no two disks hold different records of one epoch.
    fn judge_disks(&mut self, before: &State) {
        let record = |disk: &Disk| disk.held().and_then(|kept| kept.record.clone());
        for index in 0..self.state.nodes.len() {
            let [was, is] = [before, &self.state].map(|state| record(&state.nodes[index].disk));
            if let (Some(was), Some(is)) = (was, is)
                && (is.epoch < was.epoch || is.floor < was.floor)
            {
                let (from, to) = ((was.epoch, was.floor), (is.epoch, is.floor));
                let what = format!("the disk of {} falls from epoch {} and {}", name(index), from.0, from.1);
                self.breaks(Invariant::S12, format!("{what} to epoch {} and {}", to.0, to.1));
            }
            for other in 0..index {
                let [one, two] =
                    [other, index].map(|at| self.state.nodes[at].disk.kept().and_then(|kept| kept.record.clone()));
                let (Some(one), Some(two)) = (one, two) else { continue };
                // What a member has kept that was forgotten is void.
                let is_void = |record: &ClusterRecord, of: usize| {
                    record.forgotten.get(&name(of)).is_some_and(|&at| at >= one.epoch)
                };
                // So is what one has begun that the others were told is no more.
                let is_dropped = [other, index].iter().any(|&at| self.state.nodes[at].is_dropped);
                let is_abandoned = is_dropped && one.origin != two.origin;
                if one.epoch == two.epoch
                    && one != two
                    && !is_void(&one, index)
                    && !is_void(&two, other)
                    && !is_abandoned
                {
                    let what =
                        format!("{} and {} have different records of epoch {}", name(other), name(index), one.epoch);
                    self.breaks(Invariant::S14, what);
                }
            }
        }
    }

    /// L5: what was given up does not become the record after all.
    fn judge_given_up(&mut self) {
        for index in 0..self.state.nodes.len() {
            let record = self.state.nodes[index].disk.kept().and_then(|kept| kept.record.clone());
            let is_given_up = |record: &ClusterRecord| {
                let is_it = |&(epoch, attempt, of): &(u64, u64, Option<u64>)| {
                    epoch == record.epoch
                        && of.map_or(record.attempt <= attempt, |at| (record.attempt, record.at) == (attempt, at))
                };
                self.state.given_up.iter().any(is_it)
            };
            // A member that was forgotten before there was a record may have begun one of its own.
            let is_abandoned = self.state.nodes[index].is_lost && !self.model.bounds.begun;
            if !is_abandoned && record.is_some_and(|record| is_given_up(&record)) {
                let what = format!("{} has a record that its operator was told is given up", name(index));
                self.breaks(Invariant::L5, what);
            }
        }
    }

    /// L5: what a member answers is what its disk holds.
    pub(super) fn judge_answer(&mut self, index: usize, answer: &Answer) {
        let is_so = match &self.state.nodes[index].disk {
            Disk::Holds(kept) => *kept == answer.kept,
            Disk::Empty => answer.kept == Kept::nothing(name(index)),
            Disk::Corrupt(_) => false,
        };
        let is_broken = self.state.nodes[index].process.as_ref().is_some_and(|process| process.keeper.is_broken());
        if !is_so && !is_broken {
            self.breaks(Invariant::L5, format!("{} says what is not on its disk", name(index)));
        }
    }

    /// S14: a yes is that of the process that was looked at.
    pub(super) fn judge_yes(&mut self, index: usize, before: &Disk, life: &SeenLife) {
        let vote = |disk: &Disk| disk.kept().and_then(|kept| kept.vote.clone());
        if let Some(yes) = vote(&self.state.nodes[index].disk)
            && vote(before).as_ref() != Some(&yes)
            && yes.lives.get(&name(index)) != Some(life)
        {
            self.breaks(Invariant::S14, format!("{} says yes as another process than was looked at", name(index)));
        }
    }

    /// L5: what an operator is told is what the disks say.
    pub(super) fn judge_outcome(&mut self, operator: usize, driver: &Driver, outcome: &CommandOutcome) {
        let intent = driver.intent();
        match outcome {
            CommandOutcome::Done(epoch) => {
                let members = intent.map(|intent| intent.members.clone()).unwrap_or_default();
                let made = |kept: &Kept| {
                    kept.epoch() >= *epoch
                        && intent.is_none_or(|intent| kept.epoch() > intent.epoch || is_made(&intent.change, kept))
                };
                // What was on a disk that has been emptied since is not known.
                let lacks = |node: &Node| !node.is_emptied && !node.disk.kept().is_some_and(made);
                let mut members = members.iter().map(|member| self.model.index(member));
                if let Some(lacking) = members.find(|&index| lacks(&self.state.nodes[index])) {
                    let what = format!("operator {operator} is told that it is done, and {} lacks it", name(lacking));
                    self.breaks(Invariant::L5, what);
                }
            }
            // It may have been tried more than once.
            CommandOutcome::Refused(_) | CommandOutcome::Unknown(_) => {
                if let Some(intent) = driver.tried().or(intent) {
                    self.state.given_up.insert((intent.epoch, intent.attempt, Some(intent.at)));
                }
            }
            CommandOutcome::Aborted { epoch, attempt } => {
                self.state.given_up.insert((*epoch, *attempt, None));
            }
            _ => {}
        }
    }
}

fn is_made(change: &ClusterChange, kept: &Kept) -> bool {
    change.is_made(kept.record.as_deref()) || matches!(change, ClusterChange::Begin { .. }) && kept.record.is_some()
}
